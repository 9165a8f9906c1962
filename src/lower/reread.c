// A plan through its text, for those who want to be sure that the text says all of it.
#include <string.h>

#include "lower/plan.h"

// Content by name, as the printer told it.
typedef struct Names {
  Arena *arena;
  StringMap *constants, *kernels;
} Names;

static const char *hex_of(Arena *arena, Hash128 hash) {
  char hex[33];
  hash128_hex(hash, hex);
  return arena_string(arena, hex);
}

static void note_constant(void *context, Hash128 name, const Tensor *tensor) {
  Names *names = context;
  string_map_set(names->constants, hex_of(names->arena, name), (void *)(uintptr_t)tensor);
}

static void note_kernel(void *context, Hash128 key, const char *source) {
  Names *names = context;
  string_map_set(names->kernels, hex_of(names->arena, key), (void *)(uintptr_t)source);
}

static const void *find_constant(void *context, Hash128 name, size_t bytes) {
  Names *names = context;
  const Tensor *tensor = string_map_get(names->constants, hex_of(names->arena, name));
  return tensor && tensor_bytes(tensor) == bytes ? tensor->data : NULL;
}

static const char *find_kernel(void *context, Hash128 key) {
  Names *names = context;
  return string_map_get(names->kernels, hex_of(names->arena, key));
}

static Status compare(const char *first, const char *second) {
  for (int line = 1; *first || *second; line++) {
    size_t length = strcspn(first, "\n"), other = strcspn(second, "\n");
    if (length != other || memcmp(first, second, length))
      FAIL(ERROR_INTERNAL, "a plan's line %d is '%.*s', and read back '%.*s'", line, (int)length, first, (int)other, second);
    first += length + (first[length] != 0);
    second += other + (second[other] != 0);
  }
  return OK;
}

Status plan_reread(const Plan *plan, const Compiler *compiler, Arena *arena, Plan **out) {
  Names names = {arena, string_map_new(arena), string_map_new(arena)};
  const PlanWitness witness = {note_constant, note_kernel, &names};
  const PlanContents contents = {find_constant, find_kernel, &names};
  Text first = text_new(arena), second = text_new(arena);
  plan_print(&first, plan, compiler, &witness);
  TRY(status_context(plan_parse(text_get(&first), first.length, plan->device, &contents, arena, out), "reading a plan back"));
  plan_print(&second, *out, compiler, NULL);
  return compare(text_get(&first), text_get(&second));
}
