// What a call may use: memory that is charged and given back, seconds, cancelling, and who is told of it.
#include <criterion/criterion.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/budget.h"
#include "base/memory.h"
#include "base/recover.h"
#include "base/thread.h"

static void expect(Status status, ErrorCode code, const char *says) {
  cr_assert(status, "nothing failed; expected '%s'", says);
  cr_expect_eq(status_code(status), code, "%s", status_message(status));
  cr_expect(strstr(status_message(status), says), "'%s' does not say '%s'", status_message(status), says);
  status_free(status);
}

// ---- memory ------------------------------------------------------------------------------------------------------------------

static Status fill(Arena *arena) {
  for (;;) arena_alloc(arena, 1000);
  return OK;
}

static Status fill_and_free(Arena *none) {
  for (int i = 0; i < 1000; i++) {
    Arena *arena = arena_new();
    arena_alloc(arena, 100000);
    void *memory;
    TRY(memory_take(100000, &memory));
    TRY(memory_grow(&memory, 10, 200000));
    memory_free(memory);
    arena_free(arena);
  }
  return OK;
}

Test(budget, arenas_stop_at_the_limit_of_memory) {
  Budget budget = {0};
  Arena *arena = arena_new();
  budget_enter(&budget, &(BudgetLimits){.memory = 5 << 20});
  expect(RECOVER_GUARD(fill(arena)), ERROR_LIMIT, "limit of 5242880 bytes");
  cr_expect(arena_used(arena) > 2 << 20 && arena_used(arena) < 5 << 20, "%zu bytes were used", arena_used(arena));
  expect(budget_spend(1), ERROR_LIMIT, "bytes");  // it stays exceeded until the call ends
  arena_free(arena);
  budget_leave(&budget);
  cr_expect_eq(budget.held, 0);
}

Test(budget, what_is_given_back_counts_no_more) {
  Budget budget = {0};
  budget_enter(&budget, &(BudgetLimits){.memory = 1 << 20});
  Status status = RECOVER_GUARD(fill_and_free(NULL));
  cr_expect(!status, "%s", status_message(status));
  cr_expect_eq(budget.held, 0);
  budget_leave(&budget);
}

Test(budget, large_memory_is_refused_with_the_limit) {
  Budget budget = {0};
  Arena *arena = arena_new();
  void *memory;
  budget_enter(&budget, &(BudgetLimits){.memory = 1 << 20});
  expect(memory_take(2 << 20, &memory), ERROR_LIMIT, "limit of 1048576 bytes");
  budget_leave(&budget);
  budget_enter(&budget, &(BudgetLimits){.memory = 1 << 20});
  expect(arena_try_alloc(arena, 2 << 20, 64, &memory), ERROR_LIMIT, "limit of 1048576 bytes");
  budget_leave(&budget);
  arena_free(arena);
  status_free(memory_take(SIZE_MAX - 10, &memory));
  cr_expect_null(memory);
}

Test(budget, holds_over_the_calls_of_an_object) {
  Budget budget = {0};
  BudgetLimits limits = {.memory = 1 << 20};
  void *first, *second;
  budget_enter(&budget, &limits);
  cr_assert(!memory_take(600000, &first));
  budget_leave(&budget);
  budget_enter(&budget, &limits);
  expect(memory_take(600000, &second), ERROR_LIMIT, "bytes");
  budget_leave(&budget);
  budget_enter(&budget, &limits);
  memory_free(first);
  cr_assert(!memory_take(600000, &second));
  memory_free(second);
  budget_leave(&budget);
}

// ---- time and patience -------------------------------------------------------------------------------------------------------

static Status work_for_ever(void *context) {
  for (;;) budget_step(WORK_NODE);
  return OK;
}

Test(budget, time_ends) {
  Budget budget = {0};
  budget_enter(&budget, &(BudgetLimits){.seconds = 0.01});
  expect(RECOVER_GUARD(work_for_ever(NULL)), ERROR_LIMIT, "0.01 s");
  budget_leave(&budget);
  cr_expect(!budget_spend(1000000));  // nobody's budget
  cr_expect(budget_work(&budget) >= WORK_NODE);
}

static void *cancel_soon(void *context) {
  usleep(20000);
  atomic_store((atomic_bool *)context, true);
  return NULL;
}

Test(budget, cancelled_from_another_thread) {
  atomic_bool cancelled = false;
  Budget budget = {0};
  pthread_t thread;
  budget_enter(&budget, &(BudgetLimits){.cancelled = &cancelled});
  pthread_create(&thread, NULL, cancel_soon, &cancelled);
  expect(RECOVER_GUARD(work_for_ever(NULL)), ERROR_CANCELLED, "cancelled");
  pthread_join(thread, NULL);
  budget_leave(&budget);
}

typedef struct Seen {
  int calls, patience;
  bool elsewhere;
  pthread_t thread;
  char stage[32];
} Seen;

static bool watch(void *context, const char *stage, double fraction, double seconds_left) {
  Seen *seen = context;
  seen->elsewhere |= !pthread_equal(pthread_self(), seen->thread);
  strncpy(seen->stage, stage, sizeof seen->stage - 1);
  return ++seen->calls < seen->patience;
}

Test(budget, the_watcher_is_called_and_may_cancel) {
  Seen seen = {.patience = 3, .thread = pthread_self()};
  Budget budget = {0};
  budget_enter(&budget, &(BudgetLimits){.progress = watch, .context = &seen});
  budget_stage("counting", 0, -1);
  expect(RECOVER_GUARD(work_for_ever(NULL)), ERROR_CANCELLED, "progress");
  budget_leave(&budget);
  cr_expect_eq(seen.calls, 3);
  cr_expect_str_eq(seen.stage, "counting");
}

// ---- threads -----------------------------------------------------------------------------------------------------------------

static void work_in_pieces(void *context, int64_t begin, int64_t end) {
  for (int64_t i = begin; i < end; i++)
    for (int k = 0; k < 1000; k++) {
      Status status = budget_spend(1000);
      if (!status) continue;
      status_free(status);
      return;
    }
  atomic_fetch_add((_Atomic int64_t *)context, end - begin);
}

static Status loop_for_years(ThreadPool *pool) {
  _Atomic int64_t finished = 0;
  parallel_for(pool, INT64_MAX / 2, 1000000, work_in_pieces, &finished);
  return OK;
}

Test(budget, threads_inherit_it_and_only_the_caller_is_watched) {
  Seen seen = {.patience = 4, .thread = pthread_self()};
  Budget budget = {0};
  ThreadPool *pool = thread_pool_new(3);
  budget_enter(&budget, &(BudgetLimits){.progress = watch, .context = &seen});
  expect(RECOVER_GUARD(loop_for_years(pool)), ERROR_CANCELLED, "progress");
  budget_leave(&budget);
  cr_expect(!seen.elsewhere);
  thread_pool_free(pool);
}

typedef struct Quitting {
  atomic_bool cancelled;
  _Atomic int64_t covered;
} Quitting;

static void cancel_at_once(void *context, int64_t begin, int64_t end) {
  Quitting *quitting = context;
  atomic_store(&quitting->cancelled, true);
  atomic_fetch_add(&quitting->covered, end - begin);
}

static Status loop_alone(void *context) {
  parallel_for(NULL, INT64_MAX, 1, cancel_at_once, context);
  return OK;
}

Test(budget, a_loop_on_one_thread_is_asked_between_its_pieces) {
  Quitting quitting = {0};
  Budget budget = {0};
  budget_enter(&budget, &(BudgetLimits){.cancelled = &quitting.cancelled});
  expect(RECOVER_GUARD(loop_alone(&quitting)), ERROR_CANCELLED, "cancelled");
  budget_leave(&budget);
  cr_expect(quitting.covered > 0 && quitting.covered < INT64_MAX / 2);
}

static Status sleep_long(void *context) {
  for (int i = 0; i < 1000 && !budget_is_over(budget_current()); i++) usleep(10000);
  return OK;
}

static Status hoard(void *context) { return fill(context); }

Test(budget, what_is_watched_runs_elsewhere) {
  Seen seen = {.patience = 5, .thread = pthread_self()};
  Budget budget = {0};
  budget_enter(&budget, &(BudgetLimits){.progress = watch, .context = &seen});
  expect(thread_watched(sleep_long, NULL), ERROR_CANCELLED, "progress");
  budget_leave(&budget);
  cr_expect(!seen.elsewhere);
  Arena *arena = arena_new();
  budget_enter(&budget, &(BudgetLimits){.memory = 1 << 20});
  expect(thread_watched(hoard, arena), ERROR_LIMIT, "bytes");
  budget_leave(&budget);
  arena_free(arena);
}
