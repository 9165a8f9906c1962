// The driver's interface to addresses and to the memory behind them, one apart from the other. A range is one allocation that grows: accesses beyond what is
// mapped are found as any others; that cuMemSetAccess was called is not checked.
#include <stdlib.h>
#include "tests/emulator/driver_table.h"

#define GRANULARITY ((size_t)4096)  // a real one: 2 MiB

typedef struct Memory {
  struct Memory *next;
  size_t size;
  CudaAddress mapped;  // 0: nowhere
  bool released;
} Memory;
static Memory *memories;

static bool whole(size_t size) { return size && size % GRANULARITY == 0; }

EMULATED_API CudaResult cuMemGetAllocationGranularity(size_t *bytes, const CudaMemoryProperties *properties, int option) {
  MAY_FAIL();
  *bytes = GRANULARITY;
  return properties->type == 1 && properties->place.type == 1 ? CUDA_OK : INVALID_VALUE;
}
EMULATED_API CudaResult cuMemAddressReserve(CudaAddress *address, size_t size, size_t alignment, CudaAddress wanted,
                                            uint64_t flags) {
  IN_CONTEXT();
  return whole(size) && !wanted && !flags ? memory_reserve(size, context->device, address) : INVALID_VALUE;
}
EMULATED_API CudaResult cuMemAddressFree(CudaAddress address, size_t size) {
  GIVES_BACK();
  LOCKED();
  return memory_unreserve(address, size) ? INVALID_VALUE : fault;
}
EMULATED_API CudaResult cuMemCreate(CudaMemoryHandle *handle, size_t size, const CudaMemoryProperties *properties,
                                    uint64_t flags) {
  IN_CONTEXT();
  if (!whole(size) || properties->type != 1 || properties->place.device != context->device) return INVALID_VALUE;
  CudaResult result = memory_take(size);
  Memory *memory = result ? NULL : malloc(sizeof *memory);
  if (!memory) return CUDA_OUT_OF_MEMORY;
  *memory = (Memory){memories, size, 0, false};
  memories = memory;
  live_objects++;
  *handle = (CudaMemoryHandle)(uintptr_t)memory;
  return CUDA_OK;
}

static Memory **find(CudaMemoryHandle handle) {
  Memory **at = &memories;
  while (*at && *at != (Memory *)(uintptr_t)handle) at = &(*at)->next;
  return at;
}

// Once nothing holds it.
static void let_go(Memory **at) {
  Memory *memory = *at;
  if (!memory->released || memory->mapped) return;
  *at = memory->next;
  memory_give_back(memory->size);
  free(memory);
}

EMULATED_API CudaResult cuMemRelease(CudaMemoryHandle handle) {
  GIVES_BACK();
  LOCKED();
  Memory **at = find(handle);
  if (!*at || (*at)->released) return INVALID_VALUE;
  (*at)->released = true;
  live_objects--;
  let_go(at);
  return fault;
}
EMULATED_API CudaResult cuMemMap(CudaAddress address, size_t size, size_t offset, CudaMemoryHandle handle, uint64_t flags) {
  IN_CONTEXT();
  Memory *memory = *find(handle);
  if (!memory || memory->released || memory->mapped || offset || memory->size != size) return INVALID_VALUE;
  if (memory_map(address, size)) return INVALID_VALUE;
  memory->mapped = address;
  live_objects++;
  return CUDA_OK;
}
EMULATED_API CudaResult cuMemUnmap(CudaAddress address, size_t size) {
  GIVES_BACK();
  LOCKED();
  streams_finish();  // as the driver does
  if (memory_unmap(address, size)) return INVALID_VALUE;
  for (Memory **at = &memories; *at;) {
    Memory *memory = *at;
    if (memory->mapped >= address && memory->mapped < address + size) {
      memory->mapped = 0;
      live_objects--;
      let_go(at);
    }
    if (*at == memory) at = &memory->next;
  }
  return fault;
}
EMULATED_API CudaResult cuMemSetAccess(CudaAddress address, size_t size, const CudaMemoryAccess *access, size_t count) {
  IN_CONTEXT();
  const Allocation *memory = memory_find(address);
  bool right = memory && memory->limit && address + size <= memory->end && count == 1 && access->flags == 3;
  return right && access->place.device == context->device ? CUDA_OK : INVALID_VALUE;
}
