// Plans as text. What reads back for the CPU must print and read back to the same text, and it runs: whatever it says, within its buffers. Plans for a
// GPU are only read.
#include "base/budget.h"
#include "base/recover.h"
#include "run/device.h"
#include "tests/fuzz/fuzz.h"

enum { MOST_BYTES = 1 << 16 };

static const void *some_bytes(void *context, Hash128 name, size_t bytes) {
  static _Alignas(64) char zeros[MOST_BYTES];
  return bytes <= sizeof zeros ? zeros : NULL;
}
static const PlanContents contents = {.constant = some_bytes};

static Status print_and_compare(const Plan *plan, Arena *arena) {
  Text first = text_new(arena), second = text_new(arena);
  Plan *again;
  plan_print(&first, plan, NULL, NULL);
  TRY(plan_parse(text_get(&first), first.length, plan->device, &contents, arena, &again));
  plan_print(&second, again, NULL, NULL);
  FUZZ_EXPECT(!strcmp(text_get(&first), text_get(&second)), "not the same again:\n%s\n%s", text_get(&first), text_get(&second));
  return OK;
}

// Exactly as much memory as each value takes, so that a sanitizer sees a byte too many.
static void **make_memory(const Plan *plan, PlanBufferKind kind, int count) {
  void **memory = calloc((size_t)count + 1, sizeof *memory);
  for (uint32_t b = 0; b < plan->buffer_count; b++) {
    const PlanBuffer *buffer = &plan->buffers[b];
    if (buffer->kind == kind && !memory[buffer->index] && buffer->bytes <= MOST_BYTES)
      memory[buffer->index] = calloc(1, buffer->bytes ? buffer->bytes : 1);
  }
  return memory;
}

static void free_memory(void **memory, int count) {
  for (int i = 0; i < count; i++) free(memory[i]);
  free(memory);
}

static bool is_small(const Plan *plan) {
  for (uint32_t b = 0; b < plan->buffer_count; b++)
    if (plan->buffers[b].kind != PLAN_ARENA && plan->buffers[b].bytes > MOST_BYTES) return false;
  return plan->arena_bytes <= 16 * MOST_BYTES;
}

static Status run(Device *device, Plan *plan, Arena *arena) {
  const Graph *graph = plan->graph;
  Executable *executable;
  if (!is_small(plan)) return OK;
  TRY(device->load(device, plan, arena, &executable));
  void **inputs = make_memory(plan, PLAN_INPUT, graph->input_count),
       **outputs = make_memory(plan, PLAN_OUTPUT, graph->output_count);
  Status status = device->run(device, executable, inputs, outputs);
  free_memory(inputs, graph->input_count);
  free_memory(outputs, graph->output_count);
  return status;
}

static Status check(const char *text, size_t size, Device *cpu, Arena *arena) {
  static const DeviceInfo gpu = {.kind = DEVICE_CUDA, .name = "a GPU", .sm = 90};
  bool for_gpu = size > 11 && !memcmp(text, "plan for sm", 11);
  Plan *plan;
  TRY(plan_parse(text, size, for_gpu ? &gpu : &cpu->info, &contents, arena, &plan));
  Status status = print_and_compare(plan, arena);
  FUZZ_EXPECT(!status || status_code(status) == ERROR_LIMIT || status_code(status) == ERROR_OUT_OF_MEMORY,
              "what was printed does not parse: %s", status_message(status));
  return status || for_gpu ? status : run(cpu, plan, arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
  Budget budget = {0};
  const BudgetLimits limits = {.memory = FUZZ_MEMORY, .seconds = FUZZ_SECONDS};
  Device *cpu;
  Status status = cpu_device_new(&(DeviceOptions){.kind = DEVICE_CPU, .threads = 1}, &cpu);
  FUZZ_EXPECT(!status, "%s", status_message(status));
  budget_enter(&budget, &limits);
  Arena *arena = arena_new();
  status = RECOVER_GUARD(check((const char *)bytes, size, cpu, arena));
  FUZZ_EXPECT(!status || *status_message(status), "an error without a message");
  FUZZ_EXPECT(!status || status_code(status) != ERROR_INTERNAL, "an internal error: %s", status_message(status));
  status_free(status);
  arena_free(arena);
  budget_leave(&budget);
  cpu->free(cpu);
  return 0;
}
