// A small pool: parallel loops on the host, and background jobs (kernel compilation). One pool serves one session at a
// time; sessions in different threads own different pools.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/status.h"

typedef struct ThreadPool ThreadPool;
// threads counts the caller of parallel_for; threads <= 0: one for each core this process may use. Where the system
// refuses threads the pool is smaller, and NULL at worst, which is a pool of one.
ThreadPool *thread_pool_new(int threads);
// For work that touches each byte about once: one thread for each 4 MiB at most. NULL, which is a pool of one, where fewer than 8 MiB do not pay for it.
ThreadPool *thread_pool_for_bytes(int threads, size_t bytes);
// A pool without threads of its own, for hosts that keep threads already.
typedef struct ThreadLender {
  // Calls body(argument) about that many times, in as many threads, of which the caller may be one; returns when all have.
  void (*fork)(void *context, void (*body)(void *argument), void *argument, int threads);
  void *context;
} ThreadLender;
ThreadPool *thread_pool_borrow(int threads, ThreadLender lender);  // where memory is out: NULL
void thread_pool_free(ThreadPool *pool);                           // NULL is fine; not while a loop runs
int thread_pool_size(const ThreadPool *pool);                      // 1 for NULL
// Calls fn(context, begin, end) on disjoint ranges covering [0, count), each at least grain long but the last, and
// returns when all are done; what the calls wrote is then visible here. The calling thread takes part. pool NULL, or a
// count of one grain: runs here. Not reentrant from inside fn. The calls inherit the caller's budget (budget.h). Where a call is unwound (see
// recover.h) or the budget is exceeded, chunks not begun are left out, and the caller is unwound with the first such failure.
void parallel_for(ThreadPool *pool, int64_t count, int64_t grain, void (*fn)(void *context, int64_t begin, int64_t end),
                  void *context);
// Calls fn(context) on a thread of its own while this one looks after its budget: for what takes long in one piece. Without a budget, or
// where no thread can be had, fn is called here. A budget that was exceeded meanwhile is an error even where fn succeeded.
MUST_CHECK Status thread_watched(Status (*fn)(void *context), void *context);
double time_now(void);  // seconds, monotonic
