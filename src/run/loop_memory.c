// See loop_memory.h.
#include "run/loop_memory.h"

#include <stdlib.h>

#include "base/memory.h"

enum { BLOCK_NUMBERS = 512 };

Status loop_memory_new(const Graph *body, LoopMemory **out) {
  LoopMemory *memory = *out = calloc(1, sizeof *memory);
  if (!memory) return status_out_of_memory();
  memory->inputs = body->input_count;
  memory->outputs = body->output_count;
  memory->given = calloc(2 * (size_t)(memory->inputs + memory->outputs) + 1, sizeof *memory->given);
  if (!memory->given) {
    loop_memory_free(memory);
    *out = NULL;
    return status_out_of_memory();
  }
  memory->scanned = memory->given + memory->inputs;
  memory->results = memory->scanned + memory->inputs;
  memory->stacks = memory->results + memory->outputs;
  memory->first_number = -1;
  return OK;
}

static int places_count(const LoopMemory *memory) { return memory->given ? 2 * (memory->inputs + memory->outputs) : 0; }

static void free_stage(LoopStage *stage) {
  for (int i = 0; i < stage->count; i++) places_free(&stage->results[i]);
  free(stage->results);
}

void loop_memory_free(LoopMemory *memory) {
  if (!memory) return;
  for (int i = 0; i < places_count(memory); i++) places_free(&memory->given[i]);
  for (int i = 0; i < memory->stage_count; i++) free_stage(&memory->stages[i]);
  free(memory->stages);
  run_tensor_drop(&memory->numbers);
  run_tensor_drop(&memory->yes);
  free(memory->given);
  free(memory);
}

size_t loop_memory_bytes(const LoopMemory *memory) {
  size_t bytes = sizeof *memory + (memory->numbers.storage ? memory->numbers.storage->room : 0);
  for (int i = 0; i < places_count(memory); i++) bytes += sizeof(Places) + places_bytes(&memory->given[i]);
  for (int s = 0; s < memory->stage_count; s++)
    for (int i = 0; i < memory->stages[s].count; i++) bytes += sizeof(Places) + places_bytes(&memory->stages[s].results[i]);
  return bytes;
}

void loop_memory_let_go(LoopMemory *memory, Storage *storage) {
  for (int i = 0; i < places_count(memory); i++) places_let_go(&memory->given[i], storage);
  for (int s = 0; s < memory->stage_count; s++)
    for (int i = 0; i < memory->stages[s].count; i++) places_let_go(&memory->stages[s].results[i], storage);
}

static Status grow_stages(LoopMemory *memory, int count) {
  if (count <= memory->stage_count) return OK;
  LoopStage *stages = realloc(memory->stages, (size_t)count * sizeof *stages);
  if (!stages) return status_out_of_memory();
  memory->stages = stages;
  while (memory->stage_count < count) stages[memory->stage_count++] = (LoopStage){0};
  return OK;
}

Status loop_memory_of_stage(LoopMemory *memory, int number, int results, Places **out) {
  TRY(grow_stages(memory, number + 1));
  LoopStage *stage = &memory->stages[number];
  if (results > stage->count) {
    Places *places = realloc(stage->results, (size_t)results * sizeof *places);
    if (!places) return status_out_of_memory();
    stage->results = places;
    while (stage->count < results) places[stage->count++] = (Places){0};
  }
  *out = stage->results;
  return OK;
}

// ---- what the host knows -----------------------------------------------------------------------------------------------------

// Numbers lie on the device a block at a time: from there one is copied without a wait, where an upload would wait for what the iterations before have enqueued.
static Status fill_block(LoopMemory *memory, Device *device, int64_t first) {
  int64_t numbers[BLOCK_NUMBERS];
  const RunTensor type = {.dtype = DTYPE_I64, .rank = 1, .dims = {BLOCK_NUMBERS}};
  if (first == memory->first_number) return OK;
  if (!memory->numbers.storage) TRY(run_tensor_allocate(device, &type, sizeof numbers, &memory->numbers));
  for (int i = 0; i < BLOCK_NUMBERS; i++) numbers[i] = first + i;
  memory->first_number = -1;
  TRY(device->upload(device, memory->numbers.storage->device_memory, numbers, sizeof numbers));
  memory->first_number = first;
  return OK;
}

Status loop_memory_number(LoopMemory *memory, Device *device, int64_t number, bool on_device, RunTensor *out) {
  const RunTensor type = {.dtype = DTYPE_I64};
  TRY(places_take(&memory->given[0], device, &type, out));
  Storage *storage = out->storage;
  if (device->info.kind == DEVICE_CPU) {
    *(int64_t *)storage->device_memory = number;
    return OK;
  }
  TRY(memory_take(sizeof number, &storage->host_memory));
  storage->owns_host = true;
  *(int64_t *)storage->host_memory = number;
  if (!on_device) return OK;
  TRY(fill_block(memory, device, number - number % BLOCK_NUMBERS));
  const int64_t *numbers = memory->numbers.storage->device_memory;
  return device->copy(device, storage->device_memory, numbers + number % BLOCK_NUMBERS, sizeof number);
}

Status loop_memory_yes(LoopMemory *memory, Device *device, RunTensor *out) {
  if (!memory->yes.storage) {
    TRY(run_tensor_new_on_host(device, DTYPE_BOOL, 0, NULL, &memory->yes));
    element_set_i(DTYPE_BOOL, memory->yes.storage->host_memory, 1);
  }
  run_tensor_share(out, &memory->yes);
  return OK;
}

// Whether it has no place: the host's memory is the device's, or it is for the host.
static bool has_no_place(const Device *device, const RunTensor *given, bool known) {
  return device->info.kind == DEVICE_CPU || known || given->kind != VALUE_TENSOR || given->dtype == DTYPE_STRING ||
         !given->storage;
}

static Status move(Places *places, Device *device, const RunTensor *given, RunTensor *out) {
  const Storage *from = given->storage;
  TRY(places_take(places, device, given, out));
  void *to = out->storage->device_memory;
  if (!from->device_memory) return device->upload(device, to, from->host_memory, from->bytes);
  return device->copy(device, to, from->device_memory, from->bytes);
}

Status loop_memory_bring(Places *places, Device *device, const RunTensor *given, bool known, RunTensor *out) {
  if (!has_no_place(device, given, known) && !given->storage->device_memory) return move(places, device, given, out);
  run_tensor_share(out, given);
  return OK;
}

Status loop_memory_bring_state(Places *places, Device *device, const RunTensor *given, bool known, RunTensor *out) {
  if (!has_no_place(device, given, known)) return move(places, device, given, out);
  run_tensor_share(out, given);
  return OK;
}
