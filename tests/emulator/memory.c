// Device memory: one large reservation of addresses, handed out in order and never twice, so that an address that was freed stays wrong.
// Beside it the cells of every byte, which cost memory only where they are touched.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include "tests/emulator/emulator.h"

enum { ALIGNMENT = 512, GAP = 512 };
char *memory_base;
Cell *memory_base_cells;
static size_t device_next;
static Allocation *allocations;  // in the order of addresses; freed ones have end 0
static size_t allocation_count, allocation_room, live, live_bytes;

static void *reserve(size_t size) {
  void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return at == MAP_FAILED ? NULL : at;
}

bool memory_open(void) {
  if (memory_base) return true;
  memory_base = reserve(DEVICE_ADDRESSES);
  memory_base_cells = reserve(DEVICE_ADDRESSES * sizeof(Cell));
  if (!memory_base || !memory_base_cells)
    fprintf(stderr, "emulated device: it needs %zu GiB of addresses (not of memory); is there a limit on this process?\n",
            (DEVICE_ADDRESSES * (sizeof(Cell) + 1)) >> 30);
  return memory_base && memory_base_cells;
}

size_t memory_total(void) { return (size_t)16 << 30; }
size_t memory_live_bytes(void) { return live_bytes; }
int memory_live(void) { return (int)live; }

static CudaResult add(size_t size, int device, uintptr_t *at) {
  size_t room = (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT + GAP;
  if (room > DEVICE_ADDRESSES - device_next) return CUDA_OUT_OF_MEMORY;
  if (allocation_count == allocation_room) {
    allocation_room = allocation_room ? 2 * allocation_room : 256;
    Allocation *more = realloc(allocations, allocation_room * sizeof *more);
    if (!more) return CUDA_OUT_OF_MEMORY;
    allocations = more;
  }
  *at = (uintptr_t)memory_base + device_next;
  device_next += room;
  allocations[allocation_count++] = (Allocation){*at, *at + size, device};
  live++;
  return CUDA_OK;
}

CudaResult memory_take(size_t size) {
  if (size > memory_total() - live_bytes) return CUDA_OUT_OF_MEMORY;
  live_bytes += size;
  return CUDA_OK;
}
void memory_give_back(size_t size) { live_bytes -= size; }

static void spoil(uintptr_t at, size_t size) { memset((void *)at, 0xa5, size < 4096 ? size : 4096); }

CudaResult memory_alloc(size_t size, int device, CudaAddress *out) {
  uintptr_t at;
  CudaResult result = memory_take(size);
  if (result) return result;
  result = add(size, device, &at);
  if (result) {
    memory_give_back(size);
    return result;
  }
  spoil(at, size);
  *out = at;
  return CUDA_OK;
}

// The last allocation that begins at or before the address.
static Allocation *at_or_before(uintptr_t address) {
  size_t low = 0, high = allocation_count;
  while (low < high) {
    size_t middle = (low + high) / 2;
    if (allocations[middle].begin <= address) low = middle + 1;
    else high = middle;
  }
  return low ? &allocations[low - 1] : NULL;
}

const Allocation *memory_find(uintptr_t address) {
  static size_t last;
  if (last < allocation_count && address >= allocations[last].begin && address < allocations[last].end)
    return &allocations[last];
  Allocation *a = at_or_before(address);
  if (!a || address >= a->end) return NULL;
  last = (size_t)(a - allocations);
  return a;
}

static void forget(void *from, size_t size) {
  uintptr_t begin = ((uintptr_t)from + 4095) & ~(uintptr_t)4095, end = ((uintptr_t)from + size) & ~(uintptr_t)4095;
  if (end > begin) madvise((void *)begin, end - begin, MADV_DONTNEED);
}

static void forget_bytes(uintptr_t begin, size_t size) {
  forget((void *)begin, size);
  forget(memory_cells(begin), size * sizeof(Cell));
}

CudaResult memory_free(CudaAddress address) {
  Allocation *a = at_or_before(address);
  if (!a || a->begin != address || !a->end || a->limit) return 1;
  size_t size = a->end - a->begin;
  forget_bytes(a->begin, size);
  a->end = 0;
  live--;
  memory_give_back(size);
  return CUDA_OK;
}

// --- Reserved addresses. Those that were given back are had again, since they are many; none has a size that is no whole page.

typedef struct Reserved {
  struct Reserved *next;
  CudaAddress address;
  size_t size;
} Reserved;
static Reserved *given_back;

static Reserved **reserved_before(size_t size) {
  Reserved **at = &given_back;
  while (*at && (*at)->size < size) at = &(*at)->next;
  return at;
}

CudaResult memory_reserve(size_t size, int device, CudaAddress *out) {
  Reserved **before = reserved_before(size), *again = *before;
  uintptr_t at;
  if (again) {
    *before = again->next;
    at = again->address;
    free(again);
    live++;
  } else {
    CudaResult result = add(size, device, &at);
    if (result) return result;
  }
  Allocation *a = at_or_before(at);
  a->end = at, a->limit = at + size, a->device = device;
  *out = at;
  return CUDA_OK;
}

static Allocation *reservation(CudaAddress address) {
  Allocation *a = at_or_before(address);
  return a && a->limit > address ? a : NULL;
}

CudaResult memory_unreserve(CudaAddress address, size_t size) {
  Allocation *a = reservation(address);
  Reserved *again = malloc(sizeof *again);
  if (!again || !a || a->begin != address || a->limit != address + size || a->end != address) {
    free(again);
    return 1;
  }
  *again = (Reserved){given_back, address, size};
  given_back = again;
  a->end = a->limit = 0;
  live--;
  return CUDA_OK;
}

CudaResult memory_map(CudaAddress address, size_t size) {
  Allocation *a = reservation(address);
  if (!a || a->end != address || size > a->limit - address) return 1;
  a->end += size;
  spoil(address, size);
  return CUDA_OK;
}

CudaResult memory_unmap(CudaAddress address, size_t size) {
  Allocation *a = reservation(address);
  if (!a || address + size != a->end || !size) return 1;
  forget_bytes(address, size);
  a->end = address;
  return CUDA_OK;
}

// --- Pinned memory of the host.

typedef struct Pinned {
  struct Pinned *next;
  char *begin, *end;
} Pinned;
static Pinned *pinned;

CudaResult memory_alloc_host(size_t size, void **out) {
  Pinned *p = malloc(sizeof *p);
  char *at = p ? malloc(size) : NULL;
  if (!at) {
    free(p);
    return CUDA_OUT_OF_MEMORY;
  }
  *p = (Pinned){pinned, at, at + size};
  pinned = p;
  live++;
  *out = at;
  return CUDA_OK;
}

CudaResult memory_free_host(void *memory) {
  for (Pinned **at = &pinned; *at; at = &(*at)->next) {
    Pinned *p = *at;
    if (p->begin != memory) continue;
    *at = p->next;
    free(p->begin);
    free(p);
    live--;
    return CUDA_OK;
  }
  return 1;
}

bool memory_is_pinned(const void *memory) {
  for (const Pinned *p = pinned; p; p = p->next)
    if ((const char *)memory >= p->begin && (const char *)memory < p->end) return true;
  return false;
}
