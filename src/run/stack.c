// See stack.h.
#include "run/stack.h"

#include <string.h>

#include "base/checked.h"

enum { FIRST_ROWS = 16 };  // where it is not known how many there will be

static size_t row_bytes(const RunTensor *whole) {
  size_t bytes = dtype_size(whole->dtype);
  for (int i = 1; i < whole->rank; i++) bytes *= (size_t)whole->dims[i];
  return bytes;
}

static Status take_rows(Stack *stack, Device *device, RunTensor type, int64_t rows, RunTensor *out) {
  size_t bytes;
  type.storage = NULL;
  type.dims[0] = rows;
  if (!checked_mul((size_t)rows, row_bytes(&type), &bytes) || bytes > TENSOR_MAX_BYTES) return status_out_of_memory();
  if (type.dtype == DTYPE_STRING) return run_tensor_new_on_host(device, type.dtype, type.rank, type.dims, out);
  TRY(places_take(stack->places, device, &type, out));
  // Where an earlier call had more rows there is room for them.
  if (bytes) rows = MIN(stack->most, (int64_t)(out->storage->room / row_bytes(&type)));
  out->dims[0] = MAX(rows, type.dims[0]);
  out->storage->bytes = run_tensor_bytes(out);
  return OK;
}

static Status begin(Stack *stack, Device *device, const RunTensor *row) {
  RunTensor type = {.dtype = row->dtype, .rank = row->rank + 1};
  if (type.rank > MAX_RANK) FAIL(ERROR_UNSUPPORTED, "rank %d is more than %d", type.rank, MAX_RANK);
  if (row->rank) memcpy(type.dims + 1, row->dims, (size_t)row->rank * sizeof *row->dims);
  return take_rows(stack, device, type, stack->sure ? stack->most : MIN(stack->most, FIRST_ROWS), &stack->whole);
}

static bool is_alike(const RunTensor *whole, const RunTensor *row) {
  return whole->dtype == row->dtype && whole->rank == row->rank + 1 &&
         !memcmp(whole->dims + 1, row->dims, (size_t)row->rank * sizeof *row->dims);
}

static Status put(Device *device, const RunTensor *to, size_t at, const RunTensor *from) {
  size_t bytes = from->storage->bytes;
  void *memory;
  if (!bytes) return OK;
  if (to->storage->host_memory) {
    TRY(run_tensor_host(from, &memory));
    memcpy((char *)to->storage->host_memory + at, memory, bytes);
    return OK;
  }
  char *place = (char *)to->storage->device_memory + at;
  if (!from->storage->device_memory) return device->upload(device, place, from->storage->host_memory, bytes);
  return device->copy(device, place, from->storage->device_memory, bytes);
}

static Status grow(Stack *stack, Device *device) {
  RunTensor before = stack->whole, after;
  int64_t rows = before.dims[0];
  TRY(take_rows(stack, device, before, rows <= stack->most / 2 ? rows * 2 : stack->most, &after));
  Status status = put(device, &after, 0, &before);
  if (status) {
    run_tensor_drop(&after);
    return status;
  }
  run_tensor_drop(&stack->whole);
  stack->whole = after;
  return OK;
}

Status stack_push(Stack *stack, Device *device, const RunTensor *row) {
  if (row->kind != VALUE_TENSOR)
    FAIL(ERROR_INVALID_MODEL, "an iteration yields a sequence or nothing where a tensor is stacked");
  if (!stack->count) TRY(begin(stack, device, row));
  else if (!is_alike(&stack->whole, row)) FAIL(ERROR_INVALID_MODEL, "iterations yield slices of different shapes");
  if (stack->count == stack->whole.dims[0]) TRY(grow(stack, device));
  int64_t at = stack->reverse ? stack->most - 1 - stack->count : stack->count;
  TRY(put(device, &stack->whole, (size_t)at * row_bytes(&stack->whole), row));
  stack->count++;
  return OK;
}

static Status make_empty(Device *device, const Value *declared, int axis, RunTensor *out) {
  int64_t dims[MAX_RANK] = {0};
  int rank = MAX(declared->rank, 1);
  if (axis < 0) axis += rank;
  for (int i = 0; i < rank && i < declared->rank; i++)
    if (dim_is_static(declared->dims[i]) && i != axis) dims[i] = declared->dims[i];
  return run_tensor_new_on_host(device, declared->dtype == DTYPE_COUNT ? DTYPE_F32 : declared->dtype, rank, dims, out);
}

// Rows go from the first axis to another one, on the host.
static Status move_axis(const RunTensor *whole, Device *device, int axis, RunTensor *out) {
  int64_t dims[MAX_RANK];
  void *bytes;
  TRY(run_tensor_host(whole, &bytes));
  size_t count = (size_t)whole->dims[0], row = row_bytes(whole), inner = row, outer = 1;
  for (int i = 0; i < whole->rank; i++) dims[i] = i < axis ? whole->dims[i + 1] : i == axis ? whole->dims[0] : whole->dims[i];
  for (int i = 0; i < axis; i++) outer *= (size_t)dims[i];
  if (outer) inner /= outer;
  TRY(run_tensor_new_on_host(device, whole->dtype, whole->rank, dims, out));
  char *to = out->storage->host_memory;
  for (size_t o = 0; o < outer; o++)
    for (size_t n = 0; n < count; n++, to += inner) memcpy(to, (char *)bytes + n * row + o * inner, inner);
  return OK;
}

Status stack_finish(Stack *stack, Device *device, const Value *declared, int axis, RunTensor *out) {
  if (!stack->count) return make_empty(device, declared, axis, out);
  RunTensor *whole = &stack->whole;
  whole->dims[0] = stack->count;
  whole->storage->bytes = run_tensor_bytes(whole);
  if (axis < 0) axis += whole->rank;
  if (axis < 0 || axis >= whole->rank)
    FAIL(ERROR_INVALID_MODEL, "rows of rank %d are stacked along axis %d", whole->rank - 1, axis);
  if (axis) return move_axis(whole, device, axis, out);
  run_tensor_share(out, whole);
  return OK;
}
