// Strings at the interface: arrays of `const char *` on the host. The caller's stay the caller's; what a session lends it has copied,
// since a result may be an input handed on, and lives until the run after the next one: the next may take it as an input.
#include "api/api.h"

Status api_check_strings(const Tensor *tensor, const char *name) {
  const char *const *strings = tensor->data;
  for (int64_t i = 0, count = tensor_count(tensor); i < count; i++)
    if (!strings[i]) FAIL(ERROR_INVALID_ARGUMENT, "input '%s': string %lld is NULL", name, (long long)i);
  return OK;
}

void api_turn_strings(ingot_session *session) {
  Arena **oldest = &session->strings[session->strings_turn ^= 1];
  if (*oldest) arena_reset(*oldest);
  else *oldest = arena_new();
}

void api_lend_strings(ingot_session *session, const char *const *from, const char **to, int64_t count) {
  Arena *arena = session->strings[session->strings_turn];
  for (int64_t i = 0; i < count; i++) to[i] = arena_string(arena, from[i]);
}
