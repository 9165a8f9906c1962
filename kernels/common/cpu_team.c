// The threads that CPU tactics run on. oneDNN, as distributions build it, forks into the OpenMP run-time's team, whose idle threads
// spin for milliseconds. A pool of ours beside it would fight that team for the cores, so our loops run on the same team.
#include "kernels/cpu_tactic.h"
#include <dlfcn.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>
#include "kernels/common/onednn_library.h"

// The entry point that compilers call for `#pragma omp parallel`; LLVM's and Intel's run-times have it too.
typedef void OmpParallel(void (*body)(void *), void *argument, unsigned threads, unsigned flags);

// GNU's run-time lets idle threads spin for some 16 ms, unless it keeps more threads than there are cores: then for some 50 us. On an idle
// machine the long spin is better: ResNet-50 takes 28.5 ms on two cores, 32.5 with the short one. Where others want the cores
// it makes a team wait for its own sleeping members: 394 ms against 79 with a load of six. So the team looks how often its
// threads are pushed off their cores, and when that is often, a crowd of two parked threads makes one more than there are cores.
enum { CROWD_ABOVE = 200, LONELY_BELOW = 60 };  // times a second and thread; 20 where nobody else is, 900 under a load of six
#define LOOK_SECONDS 0.05                       // of work

typedef struct Team {
  OmpParallel *parallel;
  bool may_crowd, crowded;
  pthread_t crowd;
  sem_t stop;
  double worked;  // since the last look
  int64_t pushed_before;
  _Atomic int64_t pushed;
} Team;

static void do_nothing(void *argument) {}

static void *crowd(void *context) {
  Team *team = context;
  team->parallel(do_nothing, NULL, 2, 0);
  while (sem_wait(&team->stop)) continue;  // interrupted by a debugger
  return NULL;
}

static void start_crowd(Team *team) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);  // the host's handlers run on the host's threads
  team->crowded = sem_init(&team->stop, 0, 0) == 0 && pthread_create(&team->crowd, NULL, crowd, team) == 0;
  pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static void stop_crowd(Team *team) {
  if (!team->crowded) return;
  sem_post(&team->stop);
  pthread_join(team->crowd, NULL);
  sem_destroy(&team->stop);
  team->crowded = false;
}

static void release(void *context) {
  stop_crowd(context);
  free(context);
}

// How often this thread was taken off its core while it had work.
static void count_pushes(void *context) {
  struct rusage usage;
  if (getrusage(RUSAGE_THREAD, &usage) == 0) atomic_fetch_add(&((Team *)context)->pushed, usage.ru_nivcsw);
}

void cpu_pool_worked(ThreadPool *pool, double seconds) {
  Team *team = thread_pool_lender(pool);
  if (!team || !team->may_crowd) return;
  team->worked += seconds;
  if (team->worked < LOOK_SECONDS) return;
  atomic_store(&team->pushed, 0);
  thread_pool_each(pool, count_pushes, team);
  int64_t pushed = atomic_load(&team->pushed);
  double rate = (double)(pushed - team->pushed_before) / (team->worked * thread_pool_size(pool));
  if (rate > CROWD_ABOVE && !team->crowded) start_crowd(team);
  if (rate < LONELY_BELOW) stop_crowd(team);
  team->pushed_before = pushed;
  team->worked = 0;
}

static void fork_team(void *context, void (*body)(void *), void *argument, int threads) {
  ((Team *)context)->parallel(body, argument, (unsigned)threads, 0);
}

// The OpenMP run-time's state is the process's, and so is this.
static _Atomic pid_t team_process;

Status cpu_pool_check_fork(void) {
  pid_t process = atomic_load(&team_process);
  if (!process || process == getpid()) return OK;
  FAIL(ERROR_UNSUPPORTED, "this process was forked from one that ran on the CPU's threads, and has none: fork before, or exec");
}

ThreadPool *cpu_pool_new(int threads) {
  OmpParallel *parallel;
  const OnednnLibrary *library = onednn_library();
  *(void **)&parallel = library ? dlsym(library->handle, "GOMP_parallel") : NULL;
  Team *team = parallel ? calloc(1, sizeof *team) : NULL;
  if (!team) return thread_pool_new(threads);
  team->parallel = parallel;
  atomic_store(&team_process, getpid());
  ThreadPool *pool = thread_pool_borrow(threads, (ThreadLender){fork_team, release, team});
  int (*processors)(void);
  *(void **)&processors = dlsym(library->handle, "omp_get_num_procs");
  if (pool) team->may_crowd = processors && thread_pool_size(pool) > 1 && thread_pool_size(pool) >= processors();
  return pool;
}
