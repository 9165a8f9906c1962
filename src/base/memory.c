// See memory.h. What an allocation took, and from whom, stands before it, so that nobody carries that along.
#include "base/memory.h"
#include <stdlib.h>
#include <string.h>
#include "base/budget.h"
#include "base/checked.h"

enum { ALIGNMENT = 64 };

typedef struct Header {
  _Alignas(ALIGNMENT) const Allocator *allocator;  // NULL: malloc
  size_t size;                                     // with the header
} Header;

static Status refused(size_t bytes) {
  if (budget_is_over(budget_current())) return budget_error_or_out_of_memory();
  FAIL(ERROR_OUT_OF_MEMORY, "%zu bytes of host memory were refused", bytes);
}

Status memory_take(size_t bytes, void **out) {
  size_t size;
  *out = NULL;
  if (!checked_add(MAX(bytes, (size_t)1), sizeof(Header) + ALIGNMENT - 1, &size)) return refused(bytes);
  size &= ~(size_t)(ALIGNMENT - 1);
  if (!budget_charge(size)) return refused(bytes);
  const Allocator *allocator = budget_allocator();
  Header *header = allocator ? allocator_allocate(allocator, size, ALIGNMENT) : aligned_alloc(ALIGNMENT, size);
  if (!header) {
    budget_correct(-(int64_t)size);
    return refused(bytes);
  }
  *header = (Header){.allocator = allocator, .size = size};
  *out = header + 1;
  return OK;
}

Status memory_grow(void **memory, size_t kept, size_t bytes) {
  void *wider;
  TRY(memory_take(bytes, &wider));
  if (kept) memcpy(wider, *memory, kept);
  memory_free(*memory);
  *memory = wider;
  return OK;
}

void memory_free(void *memory) {
  if (!memory) return;
  Header *header = (Header *)memory - 1;
  const Allocator *allocator = header->allocator;
  budget_correct(-(int64_t)header->size);
  if (allocator) allocator_release(allocator, header, header->size);
  else free(header);
}
