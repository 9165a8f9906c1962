// Memory of the host application's instead of malloc's, where it asks for that: the blocks of arenas and what memory_take gives. It comes
// with the budget of the thread (budget.h), and each allocation remembers whose it is. Same layout as the public ingot_allocator.
#pragma once
#include <stddef.h>

typedef struct Allocator {
  size_t size;  // of the public struct
  void *(*allocate)(void *context, size_t bytes, size_t alignment);
  void (*release)(void *context, void *memory, size_t bytes);
  void *context;
} Allocator;

void *allocator_allocate(const Allocator *allocator, size_t bytes, size_t alignment);
void allocator_release(const Allocator *allocator, void *memory, size_t bytes);
