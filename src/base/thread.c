// The pool hands out one loop at a time. Inference runs thousands of short loops, so starting one is a store and
// finishing one waits only for threads that have joined it: one atomic word holds the loop's number, whether it is open,
// and how many workers are inside. A worker joins by raising the count of an open loop; the caller closes the loop once
// the chunks are gone and waits for the count to reach zero. A worker that wakes late finds the loop closed and never
// looks at it. Workers spin for SPIN_SECONDS after a loop, since the next one is usually that close, then park; waking a
// parked thread costs some 50 us. Nobody spins where there are fewer cores than threads.
#include "base/thread.h"
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include "base/budget.h"
#include "base/checked.h"
#include "base/recover.h"
#include "base/thread_parts.h"

#define SPIN_SECONDS 20e-6
enum { CHUNKS_PER_THREAD = 4, CHUNKS_WHERE_WATCHED = 32, MOST_THREADS = 1024, CACHE_LINE = 64 };

// State: number of the loop in the upper half; OPEN; workers inside in the bits below.
#define OPEN (1ull << 31)
#define INSIDE (OPEN - 1)
static uint32_t number_of(uint64_t state) { return (uint32_t)(state >> 32); }

struct ThreadPool {
  _Alignas(CACHE_LINE) _Atomic uint64_t state;
  _Alignas(CACHE_LINE) _Atomic int64_t next_chunk;
  // The loop; written by the caller while nobody is inside.
  _Alignas(CACHE_LINE) void (*fn)(void *context, int64_t begin, int64_t end);
  void *context;
  Budget *budget;  // the caller's
  int64_t count, chunk, chunk_count;
  // Parking.
  pthread_mutex_t mutex;
  pthread_cond_t work, done;
  _Atomic int parked;
  _Atomic bool stopping;
  _Atomic(Status) failure;  // the first thing a thread was unwound with in this loop
  double spin_seconds;
  ThreadLender lender;  // fork NULL: the workers are ours
  int worker_count;
  pthread_t workers[];
};

double time_now(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static struct timespec time_after(double seconds) {
  struct timespec at;
  clock_gettime(CLOCK_MONOTONIC, &at);
  at.tv_nsec += (long)(seconds * 1e9);
  at.tv_sec += at.tv_nsec / 1000000000;
  at.tv_nsec %= 1000000000;
  return at;
}

void thread_condition_init(pthread_cond_t *cond) {
  pthread_condattr_t monotonic;
  pthread_condattr_init(&monotonic);
  pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
  pthread_cond_init(cond, &monotonic);
  pthread_condattr_destroy(&monotonic);
}

void thread_wait_and_poll(pthread_cond_t *cond, pthread_mutex_t *mutex) {
  struct timespec until = time_after(BUDGET_POLL_SECONDS);
  pthread_cond_timedwait(cond, mutex, &until);
  pthread_mutex_unlock(mutex);
  status_free(budget_poll());  // whoever waits asks again in the end
  pthread_mutex_lock(mutex);
}

static inline void pause_briefly(void) {
  for (int i = 0; i < 16; i++) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
  }
}

static Status take_chunks(ThreadPool *pool) {
  int64_t index;
  while ((index = atomic_fetch_add_explicit(&pool->next_chunk, 1, memory_order_relaxed)) < pool->chunk_count) {
    int64_t begin = index * pool->chunk;
    pool->fn(pool->context, begin, begin + MIN(pool->chunk, pool->count - begin));
    if (pool->budget) TRY(budget_poll());
  }
  return OK;
}

// No thread is unwound out of the loop, the caller's neither, while others are inside: parallel_for does that at the end.
static void run_chunks(void *context) {
  ThreadPool *pool = context;
  Budget *before = budget_inherit(pool->budget);
  Status status = RECOVER_GUARD(take_chunks(pool)), none = OK;
  budget_inherit(before);
  if (!status) return;
  atomic_store_explicit(&pool->next_chunk, pool->chunk_count, memory_order_relaxed);  // what is left would be in vain
  if (!atomic_compare_exchange_strong(&pool->failure, &none, status)) status_free(status);
}

static void forward_failure(ThreadPool *pool) {
  if (!atomic_load_explicit(&pool->failure, memory_order_relaxed)) return;
  recover_unwind(atomic_exchange(&pool->failure, OK));
}

// Waits for a loop other than seen, or the end. Returns the state that shows it.
static uint64_t wait_for_work(ThreadPool *pool, uint32_t seen) {
  double limit = pool->spin_seconds > 0 ? time_now() + pool->spin_seconds : 0;
  do {
    uint64_t state = atomic_load(&pool->state);
    if (number_of(state) != seen || atomic_load(&pool->stopping)) return state;
    pause_briefly();
  } while (limit > 0 && time_now() < limit);
  uint64_t state;
  pthread_mutex_lock(&pool->mutex);
  // Raised before state is read, as parallel_for stores state before it reads parked: one of them sees the other.
  atomic_fetch_add(&pool->parked, 1);
  while (number_of(state = atomic_load(&pool->state)) == seen && !atomic_load(&pool->stopping))
    pthread_cond_wait(&pool->work, &pool->mutex);
  atomic_fetch_sub(&pool->parked, 1);
  pthread_mutex_unlock(&pool->mutex);
  return state;
}

static bool join_loop(ThreadPool *pool, uint64_t state, uint32_t *seen) {
  *seen = number_of(state);
  while (number_of(state) == *seen && (state & OPEN))
    if (atomic_compare_exchange_weak(&pool->state, &state, state + 1)) return true;
  return false;
}

static void leave_loop(ThreadPool *pool) {
  uint64_t before = atomic_fetch_sub(&pool->state, 1);
  if ((before & OPEN) || (before & INSIDE) != 1) return;
  pthread_mutex_lock(&pool->mutex);
  pthread_cond_signal(&pool->done);
  pthread_mutex_unlock(&pool->mutex);
}

static void *work(void *context) {
  ThreadPool *pool = context;
  for (uint32_t seen = 0;;) {
    uint64_t state = wait_for_work(pool, seen);
    if (atomic_load(&pool->stopping)) return NULL;
    if (!join_loop(pool, state, &seen)) continue;
    run_chunks(pool);
    leave_loop(pool);
  }
}

int thread_cores(void) {
  cpu_set_t cores;
  if (sched_getaffinity(0, sizeof cores, &cores) == 0) return CPU_COUNT(&cores);
  long online = sysconf(_SC_NPROCESSORS_ONLN);  // more cores than cpu_set_t has bits
  return online > 0 ? (int)online : 1;
}

bool thread_start(pthread_t *thread, void *(*fn)(void *), void *context) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  bool started = pthread_create(thread, NULL, fn, context) == 0;
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (started) pthread_setname_np(*thread, "ingot-worker");
  return started;
}

static void start_workers(ThreadPool *pool, int count) {
  while (pool->worker_count < count && thread_start(&pool->workers[pool->worker_count], work, pool)) pool->worker_count++;
}

static ThreadPool *pool_make(int threads) {
  int cores = thread_cores();
  size_t size = align_up(sizeof(ThreadPool) + sizeof(pthread_t) * (size_t)threads, CACHE_LINE);
  ThreadPool *pool = aligned_alloc(CACHE_LINE, size);
  if (!pool) return NULL;
  *pool = (ThreadPool){.spin_seconds = threads <= cores ? SPIN_SECONDS : 0};
  pthread_mutex_init(&pool->mutex, NULL);
  thread_condition_init(&pool->work);
  thread_condition_init(&pool->done);
  return pool;
}

static int wanted_threads(int threads) { return MIN(threads > 0 ? threads : thread_cores(), (int)MOST_THREADS); }

ThreadPool *thread_pool_new(int threads) {
  threads = wanted_threads(threads);
  ThreadPool *pool = pool_make(threads);
  if (pool) start_workers(pool, threads - 1);
  return pool;
}

ThreadPool *thread_pool_for_bytes(int threads, size_t bytes) {
  enum { WORTH = 8 << 20, SHARE = 4 << 20 };
  if (bytes < WORTH || threads == 1) return NULL;
  return thread_pool_new((int)MIN((size_t)wanted_threads(threads), bytes / SHARE));
}

ThreadPool *thread_pool_borrow(int threads, ThreadLender lender) {
  threads = wanted_threads(threads);
  ThreadPool *pool = pool_make(threads);
  if (!pool) return NULL;
  pool->lender = lender;
  pool->worker_count = threads - 1;
  return pool;
}

void thread_pool_free(ThreadPool *pool) {
  if (!pool) return;
  pthread_mutex_lock(&pool->mutex);
  atomic_store(&pool->stopping, true);
  pthread_cond_broadcast(&pool->work);
  pthread_mutex_unlock(&pool->mutex);
  for (int i = 0; i < pool->worker_count && !pool->lender.fork; i++) pthread_join(pool->workers[i], NULL);
  pthread_cond_destroy(&pool->done);
  pthread_cond_destroy(&pool->work);
  pthread_mutex_destroy(&pool->mutex);
  free(pool);
}

int thread_pool_size(const ThreadPool *pool) { return pool ? pool->worker_count + 1 : 1; }

// As many as there are chunks for.
static void wake_parked(ThreadPool *pool, int64_t wanted) {
  int parked = atomic_load(&pool->parked);
  if (parked == 0) return;
  pthread_mutex_lock(&pool->mutex);  // whoever counted as parked is now waiting
  pthread_mutex_unlock(&pool->mutex);
  if (wanted >= parked) {
    pthread_cond_broadcast(&pool->work);
    return;
  }
  for (int64_t i = 0; i < wanted; i++) pthread_cond_signal(&pool->work);
}

static void wait_until_left(ThreadPool *pool) {
  double limit = pool->spin_seconds > 0 ? time_now() + pool->spin_seconds : 0;
  do {
    if ((atomic_load(&pool->state) & INSIDE) == 0) return;
    pause_briefly();
  } while (limit > 0 && time_now() < limit);
  pthread_mutex_lock(&pool->mutex);
  while (atomic_load(&pool->state) & INSIDE) {
    if (pool->budget) thread_wait_and_poll(&pool->done, &pool->mutex);
    else pthread_cond_wait(&pool->done, &pool->mutex);
  }
  pthread_mutex_unlock(&pool->mutex);
}

static void run_alone(int64_t count, int64_t chunk, void (*fn)(void *context, int64_t begin, int64_t end), void *context) {
  for (int64_t begin = 0; begin < count; begin += MIN(chunk, count - begin)) {
    Status status = begin ? budget_poll() : OK;
    if (status) recover_unwind(status);
    fn(context, begin, begin + MIN(chunk, count - begin));
  }
}

void parallel_for(ThreadPool *pool, int64_t count, int64_t grain, void (*fn)(void *context, int64_t begin, int64_t end),
                  void *context) {
  if (count <= 0) return;
  // A loop may be all that a model does: where the call may be ended, it is asked for between its pieces.
  bool watched = budget_is_watched();
  int64_t wanted_chunks = (int64_t)thread_pool_size(pool) * (watched ? CHUNKS_WHERE_WATCHED : CHUNKS_PER_THREAD);
  int64_t even = count / wanted_chunks + (count % wanted_chunks != 0);
  int64_t chunk = MAX(MAX(grain, (int64_t)1), even);
  if (thread_pool_size(pool) == 1 || chunk >= count) {
    run_alone(count, watched ? chunk : count, fn, context);
    return;
  }
  pool->fn = fn;
  pool->context = context;
  pool->budget = budget_current();
  pool->count = count;
  pool->chunk = chunk;
  pool->chunk_count = count / chunk + (count % chunk != 0);
  atomic_store_explicit(&pool->next_chunk, 0, memory_order_relaxed);
  if (pool->lender.fork) {
    pool->lender.fork(pool->lender.context, run_chunks, pool, (int)MIN(pool->chunk_count, thread_pool_size(pool)));
    forward_failure(pool);
    return;
  }
  uint64_t number = (uint64_t)number_of(atomic_load(&pool->state)) + 1;
  atomic_store(&pool->state, number << 32 | OPEN);
  wake_parked(pool, pool->chunk_count - 1);
  run_chunks(pool);
  atomic_fetch_and(&pool->state, ~(uint64_t)OPEN);
  wait_until_left(pool);
  forward_failure(pool);
}

typedef struct Watched {
  Status (*fn)(void *context);
  void *context;
  Budget *budget;
  Status status;
  bool done;
  pthread_mutex_t mutex;
  pthread_cond_t finished;
} Watched;

static void *run_watched(void *context) {
  Watched *watched = context;
  Budget *before = budget_inherit(watched->budget);
  Status status = RECOVER_GUARD(watched->fn(watched->context));
  budget_inherit(before);
  pthread_mutex_lock(&watched->mutex);
  watched->status = status;
  watched->done = true;
  pthread_cond_signal(&watched->finished);
  pthread_mutex_unlock(&watched->mutex);
  return NULL;
}

Status thread_watched(Status (*fn)(void *context), void *context) {
  Watched watched = {.fn = fn, .context = context, .budget = budget_current()};
  pthread_t thread;
  if (!watched.budget) return fn(context);
  pthread_mutex_init(&watched.mutex, NULL);
  thread_condition_init(&watched.finished);
  bool started = thread_start(&thread, run_watched, &watched);
  if (!started) run_watched(&watched);
  pthread_mutex_lock(&watched.mutex);
  while (!watched.done) thread_wait_and_poll(&watched.finished, &watched.mutex);
  pthread_mutex_unlock(&watched.mutex);
  if (started) pthread_join(thread, NULL);
  pthread_cond_destroy(&watched.finished);
  pthread_mutex_destroy(&watched.mutex);
  return watched.status ? watched.status : budget_poll();
}
