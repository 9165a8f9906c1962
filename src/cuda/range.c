// See range.h.
#include "cuda/range.h"

#include "base/checked.h"

// What is reserved costs nothing, but is not endless.
enum { ROOM = 16, LEAST_ADDRESSES = 1 << 30, MINIMUM_GRANULARITY = 0 };
enum { PLACE_DEVICE = 1, STAYS = 1, READ_AND_WRITE = 3 };

static CudaMemoryProperties properties_of(const CudaContext *context) {
  return (CudaMemoryProperties){.type = STAYS, .place = {PLACE_DEVICE, context->device}};
}

Status cuda_range_offered(CudaContext *context, bool *out) {
  int offered = 0;
  *out = false;
  if (context->allocator) return OK;
  CUDA_TRY(context, cuDeviceGetAttribute(&offered, CUDA_DEVICE_VIRTUAL_MEMORY, context->device));
  *out = offered != 0;
  return OK;
}

static Status granularity(CudaContext *context, size_t *bytes) {
  CudaMemoryProperties properties = properties_of(context);
  CUDA_TRY(context, cuMemGetAllocationGranularity(bytes, &properties, MINIMUM_GRANULARITY));
  return OK;
}

static Status reserve(CudaContext *context, CudaRange *range, size_t bytes, size_t unit) {
  size_t total, wanted;
  CUDA_TRY(context, cuDeviceTotalMem(&total, context->device));
  if (!checked_mul(bytes, ROOM, &wanted) || wanted > total) wanted = total;
  size_t addresses = align_up(MAX(MAX(wanted, (size_t)LEAST_ADDRESSES), bytes), unit);
  CUDA_TRY(context, cuMemAddressReserve(&range->base, addresses, 0, 0, 0));
  range->addresses = addresses;
  return OK;
}

// The memory stays until it is unmapped.
static Status add_memory(CudaContext *context, CudaRange *range, size_t more) {
  const CudaMemoryProperties properties = properties_of(context);
  const CudaMemoryAccess access = {properties.place, READ_AND_WRITE};
  const CudaAddress end = range->base + range->bytes;
  CudaMemoryHandle handle;
  CudaResult result = context->driver->cuMemCreate(&handle, more, &properties, 0);
  if (result == CUDA_OUT_OF_MEMORY) return cuda_refused(context, more);
  if (result) return cuda_error(context, result, "cuMemCreate");
  result = context->driver->cuMemMap(end, more, 0, handle, 0);
  context->driver->cuMemRelease(handle);
  if (result) return cuda_error(context, result, "cuMemMap");
  result = context->driver->cuMemSetAccess(end, more, &access, 1);
  if (result) {
    context->driver->cuMemUnmap(end, more);
    return cuda_error(context, result, "cuMemSetAccess");
  }
  range->bytes += more;
  cuda_count_allocated(context, more, 0);
  return OK;
}

Status cuda_range_grow(CudaContext *context, CudaRange *range, size_t bytes, bool *moved) {
  size_t unit;
  *moved = false;
  if (bytes <= range->bytes) return OK;
  TRY(granularity(context, &unit));
  if (bytes > range->addresses) {
    cuda_range_close(context, range);
    *moved = true;
    TRY(reserve(context, range, bytes, unit));
  }
  return add_memory(context, range, align_up(bytes, unit) - range->bytes);
}

void cuda_range_close(CudaContext *context, CudaRange *range) {
  if (range->bytes) {
    cuda_settle(context);
    context->driver->cuMemUnmap(range->base, range->bytes);
    cuda_count_allocated(context, 0, range->bytes);
  }
  if (range->addresses) context->driver->cuMemAddressFree(range->base, range->addresses);
  *range = (CudaRange){0};
}
