// See memory.h. What an allocation took is asked of the allocator when it is freed, so that nobody carries sizes along.
#include "base/memory.h"
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include "base/budget.h"
#include "base/checked.h"

enum { ALIGNMENT = 64 };

static Status refused(size_t bytes) {
  if (budget_is_over(budget_current())) return budget_error_or_out_of_memory();
  FAIL(ERROR_OUT_OF_MEMORY, "%zu bytes of host memory were refused", bytes);
}

Status memory_take(size_t bytes, void **out) {
  size_t size;
  *out = NULL;
  if (!checked_add(MAX(bytes, (size_t)1), ALIGNMENT - 1, &size)) return refused(bytes);
  size &= ~(size_t)(ALIGNMENT - 1);
  if (!budget_charge(size)) return refused(bytes);
  *out = aligned_alloc(ALIGNMENT, size);
  if (!*out) {
    budget_correct(-(int64_t)size);
    return refused(bytes);
  }
  budget_correct((int64_t)malloc_usable_size(*out) - (int64_t)size);  // what memory_free will give back
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
  budget_correct(-(int64_t)malloc_usable_size(memory));
  free(memory);
}
