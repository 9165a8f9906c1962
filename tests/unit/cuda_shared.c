// Things shared in a context: made once, kept as long as somebody has them, whoever comes first.
#include "cuda/shared.h"

#include <criterion/criterion.h>
#include <stdatomic.h>

static atomic_int made, freed;

static void count_freed(void *context) {
  (void)context;
  atomic_fetch_add(&freed, 1);
}

// argument: how it ends; NULL well.
static Status make(void *argument, Arena *arena, void **out) {
  atomic_fetch_add(&made, 1);
  arena_on_free(arena, count_freed, NULL);
  *out = arena_string(arena, "thing");
  if (argument) FAIL(ERROR_UNSUPPORTED, "%s", (const char *)argument);
  return OK;
}

static CudaContext context = {.mutex = PTHREAD_MUTEX_INITIALIZER};
static void reset(void) { made = freed = 0; }

Test(cuda_shared, is_made_once_and_freed_by_the_last, .init = reset) {
  CudaShared *first, *second, *other;
  cr_assert_null(cuda_shared_take(&context, (Hash128){1, 2}, make, NULL, &first));
  cr_assert_null(cuda_shared_take(&context, (Hash128){1, 3}, make, NULL, &other));
  cr_assert_null(cuda_shared_take(&context, (Hash128){1, 2}, make, NULL, &second));
  cr_assert_eq(first, second);
  cr_assert_neq(first, other);
  cr_assert_str_eq(cuda_shared_get(second), "thing");
  cr_assert_eq(made, 2);
  cuda_shared_drop(&context, first);
  cr_assert_eq(freed, 0);
  cuda_shared_drop(&context, second);
  cr_assert_eq(freed, 1);
  cuda_shared_drop(&context, other);
  cuda_shared_drop(&context, NULL);
  cr_assert_eq(freed, 2);
  cr_assert_null(context.shared);
}

Test(cuda_shared, what_could_not_be_made_is_not_kept, .init = reset) {
  CudaShared *out;
  Status status = cuda_shared_take(&context, (Hash128){4, 4}, make, "no", &out);
  cr_assert_eq(status_code(status), ERROR_UNSUPPORTED);
  status_free(status);
  cr_assert_eq(freed, 1);
  cr_assert_null(context.shared);
  cr_assert_null(cuda_shared_take(&context, (Hash128){4, 4}, make, NULL, &out));
  cuda_shared_drop(&context, out);
}

enum { THREADS = 8, ROUNDS = 2000 };

static void *take_and_drop(void *argument) {
  for (int i = 0; i < ROUNDS; i++) {
    CudaShared *shared;
    cr_assert_null(cuda_shared_take(&context, (Hash128){5, (uint64_t)i % 3}, make, NULL, &shared));
    cr_assert_str_eq(cuda_shared_get(shared), "thing");
    cuda_shared_drop(&context, shared);
  }
  return argument;
}

Test(cuda_shared, threads_may_meet, .init = reset) {
  pthread_t threads[THREADS];
  for (int i = 0; i < THREADS; i++) cr_assert_eq(pthread_create(&threads[i], NULL, take_and_drop, NULL), 0);
  for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
  cr_assert_eq(made, freed);
  cr_assert_null(context.shared);
}
