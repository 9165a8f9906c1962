// Device memory: one large reservation of addresses, handed out in order and never twice, so that an address that was freed stays wrong.
// Beside it the cells of every byte, which cost memory only where they are touched.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include "tests/emulator/emulator.h"

#define RESERVED ((size_t)1 << 36)  // addresses
enum { ALIGNMENT = 512, GAP = 512 };
static char *device_base;
static Cell *device_cells;
static size_t device_next;
static Allocation *allocations;  // in the order of addresses; freed ones have end 0
static size_t allocation_count, allocation_room, live, live_bytes;

static void *reserve(size_t size) {
  void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  return at == MAP_FAILED ? NULL : at;
}

bool memory_open(void) {
  if (device_base) return true;
  device_base = reserve(RESERVED);
  device_cells = reserve(RESERVED * sizeof(Cell));
  if (!device_base || !device_cells)
    fprintf(stderr, "emulated device: it needs %zu GiB of addresses (not of memory); is there a limit on this process?\n",
            (RESERVED * (sizeof(Cell) + 1)) >> 30);
  return device_base && device_cells;
}

size_t memory_total(void) { return (size_t)16 << 30; }
size_t memory_live_bytes(void) { return live_bytes; }
int memory_live(void) { return (int)live; }
bool memory_is_device(uintptr_t address) { return address - (uintptr_t)device_base < RESERVED; }
Cell *memory_cells(uintptr_t address) { return device_cells + (address - (uintptr_t)device_base); }

CudaResult memory_alloc(size_t size, int device, CudaAddress *out) {
  size_t room = (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT + GAP;
  if (size > memory_total() - live_bytes || room > RESERVED - device_next) return CUDA_OUT_OF_MEMORY;
  if (allocation_count == allocation_room) {
    allocation_room = allocation_room ? 2 * allocation_room : 256;
    Allocation *more = realloc(allocations, allocation_room * sizeof *more);
    if (!more) return CUDA_OUT_OF_MEMORY;
    allocations = more;
  }
  uintptr_t at = (uintptr_t)device_base + device_next;
  device_next += room;
  allocations[allocation_count++] = (Allocation){at, at + size, device};
  memset((void *)at, 0xa5, size < 4096 ? size : 4096);
  live++;
  live_bytes += size;
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

CudaResult memory_free(CudaAddress address) {
  Allocation *a = at_or_before(address);
  if (!a || a->begin != address || !a->end) return 1;
  size_t size = a->end - a->begin;
  forget((void *)a->begin, size);
  forget(memory_cells(a->begin), size * sizeof(Cell));
  a->end = 0;
  live--;
  live_bytes -= size;
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
