// See slices.h.
#include "run/slices.h"

#include <string.h>

// Another axis comes first, on the host.
static Status put_axis_first(Device *device, const RunTensor *from, int axis, RunTensor *out) {
  int64_t dims[MAX_RANK];
  void *bytes;
  TRY(run_tensor_host(from, &bytes));
  size_t outer = 1, inner = dtype_size(from->dtype), count = (size_t)from->dims[axis];
  dims[0] = from->dims[axis];
  for (int i = 0; i < from->rank; i++) {
    if (i < axis) outer *= (size_t)from->dims[i];
    if (i > axis) inner *= (size_t)from->dims[i];
    if (i != axis) dims[i < axis ? i + 1 : i] = from->dims[i];
  }
  TRY(run_tensor_new_on_host(device, from->dtype, from->rank, dims, out));
  char *to = out->storage->host_memory;
  for (size_t n = 0; n < count; n++)
    for (size_t o = 0; o < outer; o++, to += inner) memcpy(to, (char *)bytes + (o * count + n) * inner, inner);
  return OK;
}

Status slices_begin(LoopMemory *memory, Device *device, int input, const RunTensor *given, int axis, Slices *slices) {
  RunTensor ordered;
  if (axis) TRY(put_axis_first(device, given, axis, &ordered));
  else run_tensor_share(&ordered, given);
  Status status = loop_memory_bring(&memory->scanned[input], device, &ordered, slices->known, &slices->whole);
  run_tensor_drop(&ordered);
  return status;
}

Status slices_take(const Slices *slices, LoopMemory *memory, Device *device, int input, int64_t number, RunTensor *out) {
  const RunTensor *whole = &slices->whole;
  RunTensor type = {.dtype = whole->dtype, .rank = whole->rank - 1};
  void *bytes;
  if (type.rank) memcpy(type.dims, whole->dims + 1, (size_t)type.rank * sizeof *type.dims);
  size_t size = run_tensor_bytes(&type), at = size * (size_t)(slices->reverse ? whole->dims[0] - 1 - number : number);
  if (slices->known || type.dtype == DTYPE_STRING) {
    TRY(run_tensor_host(whole, &bytes));
    TRY(run_tensor_new_on_host(device, type.dtype, type.rank, type.dims, out));
    if (size) memcpy(out->storage->host_memory, (char *)bytes + at, size);
    return OK;
  }
  TRY(run_tensor_device(whole, &bytes));
  TRY(places_take(&memory->given[input], device, &type, out));
  return device->copy(device, out->storage->device_memory, (char *)bytes + at, size);
}
