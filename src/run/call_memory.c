// See call_memory.h.
#include "run/call_memory.h"

#include <stdlib.h>
#include <string.h>

#include "base/checked.h"

static void drop(RunTensor *tensor) {
  if (tensor->storage) tensor->storage->staged--;
  run_tensor_drop(tensor);
}

void call_memory_drop(RunTensor *tensors, int count) {
  for (int i = 0; tensors && i < count; i++) drop(&tensors[i]);
}

void call_memories_free(CallMemories *memories) {
  for (int i = 0; i < memories->count; i++) {
    CallMemory *memory = memories->stages[i];
    call_memory_drop(memory->inputs, memory->input_count);
    call_memory_drop(memory->outputs, memory->output_count);
    free(memory->inputs);
    free(memory->outputs);
    free(memory);
  }
  free(memories->stages);
  *memories = (CallMemories){0};
}

static Status grow(RunTensor **tensors, int *count, int wanted) {
  if (wanted <= *count) return OK;
  RunTensor *grown = realloc(*tensors, (size_t)wanted * sizeof *grown);
  if (!grown) return status_out_of_memory();
  memset(grown + *count, 0, (size_t)(wanted - *count) * sizeof *grown);
  *tensors = grown;
  *count = wanted;
  return OK;
}

static Status add_stage(CallMemories *memories) {
  CallMemory **stages = realloc(memories->stages, (size_t)(memories->count + 1) * sizeof *stages);
  if (!stages) return status_out_of_memory();
  memories->stages = stages;
  stages[memories->count] = calloc(1, sizeof **stages);
  if (!stages[memories->count]) return status_out_of_memory();
  memories->count++;
  return OK;
}

Status call_memory_of(CallMemories *memories, int stage, int inputs, int outputs, CallMemory **out) {
  while (memories->count <= stage) TRY(add_stage(memories));
  CallMemory *memory = memories->stages[stage];
  TRY(grow(&memory->inputs, &memory->input_count, inputs));
  TRY(grow(&memory->outputs, &memory->output_count, outputs));
  *out = memory;
  return OK;
}

static void share(RunTensor *to, const RunTensor *from) {
  run_tensor_share(to, from);
  to->storage->staged++;
}

// Sizes that grow by little, as of a text that is written, are not worth memory of their own each.
static Status make_larger(Device *device, const RunTensor *type, RunTensor *newest) {
  size_t bytes = run_tensor_bytes(type), before = newest->storage ? newest->storage->room : 0;
  RunTensor larger;
  TRY(run_tensor_allocate(device, type, MAX(bytes, before + before / 4), &larger));
  drop(newest);
  larger.storage->staged = 1;
  *newest = larger;
  return OK;
}

Status call_memory_place(Device *device, const RunTensor *type, RunTensor *newest, RunTensor *mine) {
  size_t bytes = run_tensor_bytes(type);
  if (!mine->storage) {
    if (!newest->storage || newest->storage->room < bytes) TRY(make_larger(device, type, newest));
    share(mine, newest);
  }
  Storage *storage = mine->storage;
  *mine = *type;
  mine->storage = storage;
  // The host's copy of an earlier result is out of date.
  storage_forget_host(storage);
  storage->bytes = bytes;
  return OK;
}

void call_memory_let_go(RunTensor *tensors, int count, const Storage *storage) {
  for (int i = 0; i < count; i++)
    if (tensors[i].storage == storage) drop(&tensors[i]);
}

void call_memories_let_go(CallMemories *memories, const Storage *storage) {
  for (int i = 0; i < memories->count; i++)
    call_memory_let_go(memories->stages[i]->outputs, memories->stages[i]->output_count, storage);
}
