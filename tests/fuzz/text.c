// The text form of graphs. What parses must be well formed, print, and parse again to the same text.
#include "base/recover.h"
#include "tests/fuzz/fuzz.h"
#include "ir/graph_text.h"
#include "ir/verify.h"
#include "kernels/ops.h"

static Status check(const uint8_t *bytes, size_t size, Arena *arena) {
  static const char blob[4096];
  Graph *graph, *again;
  TRY(graph_parse(arena, core_ops, (const char *)bytes, size, blob, sizeof blob, &graph));
  TRY(graph_verify(graph));
  Text first = text_new(arena), second = text_new(arena);
  graph_print(&first, graph, NULL);
  Status status = graph_parse(arena, core_ops, text_get(&first), first.length, NULL, 0, &again);
  FUZZ_EXPECT(!status, "what was printed does not parse: %s\n%s", status_message(status), text_get(&first));
  graph_print(&second, again, NULL);
  FUZZ_EXPECT(!strcmp(text_get(&first), text_get(&second)), "not the same again:\n%s\n%s", text_get(&first), text_get(&second));
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
