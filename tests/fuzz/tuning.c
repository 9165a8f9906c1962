// Tuning databases. What parses must print, and parse again to the same text.
#include "base/recover.h"
#include "tests/fuzz/fuzz.h"
#include "lower/database.h"

static Status check(const uint8_t *bytes, size_t size, Arena *arena) {
  TuningDatabase *database, *again;
  TRY(tuning_parse(arena, arena_string_n(arena, (const char *)bytes, size), &database));
  const char *text = tuning_print(database, arena);
  Status status = tuning_parse(arena, text, &again);
  FUZZ_EXPECT(!status, "what was printed does not parse: %s\n%s", status_message(status), text);
  const char *second = tuning_print(again, arena);
  FUZZ_EXPECT(!strcmp(text, second), "not the same again:\n%s\n%s", text, second);
  return OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
  Arena *arena = arena_new();
  Status status = RECOVER_GUARD(check(bytes, size, arena));
  FUZZ_EXPECT(!status || *status_message(status), "an error without a message");
  status_free(status);
  arena_free(arena);
  return 0;
}
