// See allocations.h.
#include "tests/memory/allocations.h"
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static _Atomic long count, live, fail_at;
static _Atomic bool sticks;
static _Atomic(const char *) refused;

void allocations_start(long fail, bool sticky) {
  atomic_store(&sticks, sticky);
  atomic_store(&refused, NULL);
  atomic_store(&count, 0);
  atomic_store(&fail_at, fail);
}

long allocations_stop(void) {
  atomic_store(&fail_at, 0);
  return atomic_load(&count);
}

const char *allocations_refused(void) { return atomic_load(&refused); }
long allocations_live(void) { return atomic_load(&live); }

static bool refuse(const char *function) {
  long number = atomic_fetch_add(&count, 1) + 1, at = atomic_load(&fail_at);
  bool now = at && (number == at || (number > at && atomic_load(&sticks)));
  const char *none = NULL;
  if (!now) return false;
  atomic_compare_exchange_strong(&refused, &none, function);
  errno = ENOMEM;
  return true;
}

static void *counted(void *memory) {
  if (memory) atomic_fetch_add(&live, 1);
  return memory;
}

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
void __real_free(void *memory);
char *__real_strdup(const char *text);
void *__real_mmap(void *address, size_t size, int protection, int flags, int fd, off_t offset);
int __real_munmap(void *address, size_t size);
int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *), void *argument);
void *__real_dlopen(const char *name, int flags);
FILE *__real_fopen(const char *path, const char *mode);

void *__wrap_malloc(size_t size) { return refuse("malloc") ? NULL : counted(__real_malloc(size)); }
void *__wrap_calloc(size_t items, size_t size) { return refuse("calloc") ? NULL : counted(__real_calloc(items, size)); }
void *__wrap_aligned_alloc(size_t alignment, size_t size) {
  return refuse("aligned_alloc") ? NULL : counted(__real_aligned_alloc(alignment, size));
}
char *__wrap_strdup(const char *text) { return refuse("strdup") ? NULL : counted(__real_strdup(text)); }
void *__wrap_realloc(void *memory, size_t size) {
  if (refuse("realloc")) return NULL;
  return memory ? __real_realloc(memory, size) : counted(__real_realloc(NULL, size));
}
void __wrap_free(void *memory) {
  if (memory) atomic_fetch_sub(&live, 1);
  __real_free(memory);
}
void *__wrap_mmap(void *address, size_t size, int protection, int flags, int fd, off_t offset) {
  if (refuse("mmap")) return MAP_FAILED;
  void *mapped = __real_mmap(address, size, protection, flags, fd, offset);
  if (mapped != MAP_FAILED) atomic_fetch_add(&live, 1);
  return mapped;
}
int __wrap_munmap(void *address, size_t size) {
  atomic_fetch_sub(&live, 1);
  return __real_munmap(address, size);
}
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *), void *argument) {
  if (refuse("pthread_create")) return EAGAIN;
  return __real_pthread_create(thread, attributes, start, argument);
}
void *__wrap_dlopen(const char *name, int flags) { return refuse("dlopen") ? NULL : __real_dlopen(name, flags); }
FILE *__wrap_fopen(const char *path, const char *mode) { return refuse("fopen") ? NULL : __real_fopen(path, mode); }
