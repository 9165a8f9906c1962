// The configuration: its defaults, its growth, and what of it makes no sense.
#include <string.h>

#include "api/api.h"
#include "base/checked.h"

// The shortest a caller may bring: what the first version of the struct began with.
enum { SHORTEST = offsetof(ingot_config, tuning_seconds) };

static Status check_size(size_t size) {
  if (size > sizeof(ingot_config))
    FAIL(ERROR_INVALID_ARGUMENT,
         "the caller's ingot_config has %zu bytes, that of Ingot %s has %zu: the program was compiled for a newer one", size,
         INGOT_VERSION, sizeof(ingot_config));
  if (size < SHORTEST || size % _Alignof(ingot_config))
    FAIL(ERROR_INVALID_ARGUMENT, "ingot_config.size is %zu, which no version had: call ingot_config_init first", size);
  return OK;
}

ingot_error *ingot_config_init_sized(ingot_config *config, size_t size) {
  Status status = api_require("ingot_config_init", "config", config, NULL);
  if (status) return api_error(status);
  memset(config, 0, size);
  status = check_size(size);
  if (status) return api_error(status);
  ingot_config defaults = {.size = size, .log_most = INGOT_INFO};
  memcpy(config, &defaults, size);
  return NULL;
}

Status api_config(const ingot_config *given, ingot_config *out) {
  *out = (ingot_config){.log_most = INGOT_INFO};
  if (given) {
    TRY(check_size(given->size));
    memcpy(out, given, given->size);
  }
  out->size = sizeof *out;
  return OK;
}
