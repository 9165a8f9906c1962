// See allocator.h.
#include "base/allocator.h"

#include "base/recover.h"

void *allocator_allocate(const Allocator *allocator, size_t bytes, size_t alignment) {
  HostVisit visit;
  host_enter(&visit);
  void *memory = allocator->allocate(allocator->context, bytes, alignment);
  host_leave(&visit);
  return memory;
}

void allocator_release(const Allocator *allocator, void *memory, size_t bytes) {
  HostVisit visit;
  host_enter(&visit);
  allocator->release(allocator->context, memory, bytes);
  host_leave(&visit);
}
