// A small pool: parallel loops on the host, and background jobs (kernel compilation). One pool serves one session at a
// time; sessions in different threads own different pools.
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "base/status.h"

typedef struct ThreadPool ThreadPool;
// threads counts the caller of parallel_for; threads <= 0: one for each core this process may use. Where the system
// refuses threads the pool is smaller, and NULL at worst, which is a pool of one.
ThreadPool *thread_pool_new(int threads);
// A pool without threads of its own, for hosts of a library that keeps threads already: two sets of them that spin on the same
// cores slow each other down.
typedef struct ThreadLender {
  // Calls body(argument) once in each of about that many threads, of which the caller is one; returns when all have. The same
  // caller gets the same threads again.
  void (*fork)(void *context, void (*body)(void *), void *argument, int threads);
  void (*release)(void *context);  // when the pool is freed; NULL: nothing to do
  void *context;
} ThreadLender;
ThreadPool *thread_pool_borrow(int threads, ThreadLender lender);  // where memory is out: NULL, and released
void *thread_pool_lender(const ThreadPool *pool);  // the lender's context; NULL where the threads are the pool's own
void thread_pool_free(ThreadPool *pool);           // NULL is fine; not while a loop runs
int thread_pool_size(const ThreadPool *pool);      // 1 for NULL
// Calls fn(context, begin, end) on disjoint ranges covering [0, count), each at least grain long but the last, and
// returns when all are done; what the calls wrote is then visible here. The calling thread takes part. pool NULL, or a
// count of one grain: runs here. Not reentrant from inside fn. The calls inherit the caller's budget (budget.h). Where a call is unwound (see
// recover.h) or the budget is exceeded, chunks not begun are left out, and the caller is unwound with the first such failure.
void parallel_for(ThreadPool *pool, int64_t count, int64_t grain, void (*fn)(void *context, int64_t begin, int64_t end),
                  void *context);
// Calls fn(context) once in each thread of the pool, the caller included: for what threads keep to themselves. fn allocates nothing.
void thread_pool_each(ThreadPool *pool, void (*fn)(void *context), void *context);
// Calls fn(context) on a thread of its own while this one looks after its budget: for what takes long in one piece. Without a budget, or
// where no thread can be had, fn is called here. A budget that was exceeded meanwhile is an error even where fn succeeded.
MUST_CHECK Status thread_watched(Status (*fn)(void *context), void *context);
double time_now(void);  // seconds, monotonic
