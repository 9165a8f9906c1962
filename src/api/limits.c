// What a configuration says of the bounds of a call, and the object that cancels calls from elsewhere.
#include <stdlib.h>

#include "api/api.h"

Status api_limits(const ingot_config *given, BudgetLimits *out) {
  ingot_config config;
  TRY(api_config(given, &config));
  if (!(config.time_limit >= 0))
    FAIL(ERROR_INVALID_ARGUMENT, "time_limit is %g, which is no number of seconds", config.time_limit);
  *out = (BudgetLimits){.memory = config.memory_limit,
                        .seconds = config.time_limit,
                        .cancelled = config.cancellation ? &config.cancellation->requested : NULL,
                        .progress = config.progress,
                        .context = config.progress_context,
                        .allocator = (const Allocator *)config.host_allocator};
  return OK;
}

ingot_cancellation *ingot_cancellation_new(void) { return calloc(1, sizeof(ingot_cancellation)); }

void ingot_cancellation_request(ingot_cancellation *cancellation) {
  if (cancellation) atomic_store(&cancellation->requested, true);
}

void ingot_cancellation_reset(ingot_cancellation *cancellation) {
  if (cancellation) atomic_store(&cancellation->requested, false);
}

void ingot_cancellation_free(ingot_cancellation *cancellation) { free(cancellation); }
