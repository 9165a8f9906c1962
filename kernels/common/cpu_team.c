// See cpu_team.h.
#include "kernels/common/cpu_team.h"
#include <dlfcn.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdlib.h>

CpuTeam cpu_team_find(void) {
  CpuTeam team = {0};
  *(void **)&team.set_threads = dlsym(RTLD_DEFAULT, "omp_set_num_threads");
  *(void **)&team.get_threads = dlsym(RTLD_DEFAULT, "omp_get_max_threads");
  if (!team.get_threads) team.set_threads = NULL;
  return team;
}

int cpu_team_enter(const CpuTeam *team, const ThreadPool *pool) {
  if (!team->set_threads) return 0;
  int before = team->get_threads(), wanted = thread_pool_size(pool);
  if (before != wanted) team->set_threads(wanted);
  return before;
}

void cpu_team_leave(const CpuTeam *team, int before) {
  if (team->set_threads && team->get_threads() != before) team->set_threads(before);
}

// The entry point that compilers call for `#pragma omp parallel`; LLVM's and Intel's run-times have it too.
typedef void OmpParallel(void (*body)(void *), void *argument, unsigned threads, unsigned flags);

// GNU's run-time lets idle threads spin for some 16 ms, unless it keeps more threads than there are cores: then for some 50 us. Where
// others want the cores too, the long spin makes a team wait for its own sleeping members: ResNet-50 took 394 ms instead
// of 79 on two cores with a load of six. So that the short spin holds for teams as wide as the machine, a crowd of two
// parked threads makes one more.
typedef struct Team {
  OmpParallel *parallel;
  bool crowded;
  pthread_t crowd;
  sem_t stop;
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

static void release(void *context) {
  Team *team = context;
  if (team->crowded) {
    sem_post(&team->stop);
    pthread_join(team->crowd, NULL);
    sem_destroy(&team->stop);
  }
  free(team);
}

static void fork_team(void *context, void (*body)(void *), void *argument, int threads) {
  ((Team *)context)->parallel(body, argument, (unsigned)threads, 0);
}

ThreadPool *cpu_pool_new(int threads) {
  OmpParallel *parallel;
  *(void **)&parallel = dlsym(RTLD_DEFAULT, "GOMP_parallel");
  Team *team = parallel ? calloc(1, sizeof *team) : NULL;
  if (!team) return thread_pool_new(threads);
  team->parallel = parallel;
  ThreadPool *pool = thread_pool_borrow(threads, (ThreadLender){fork_team, release, team});
  int (*processors)(void);
  *(void **)&processors = dlsym(RTLD_DEFAULT, "omp_get_num_procs");
  if (pool && processors && thread_pool_size(pool) > 1 && thread_pool_size(pool) >= processors()) start_crowd(team);
  return pool;
}

static void set_flush(void *context) {
  bool flush = *(const bool *)context;
#if defined(__x86_64__)
  enum { FLUSH_RESULTS = 1 << 15, FLUSH_OPERANDS = 1 << 6 };
  unsigned mode = __builtin_ia32_stmxcsr() & ~(unsigned)(FLUSH_RESULTS | FLUSH_OPERANDS);
  __builtin_ia32_ldmxcsr(flush ? mode | FLUSH_RESULTS | FLUSH_OPERANDS : mode);
#elif defined(__aarch64__)
  enum { FLUSH = 1 << 24 };
  uint64_t mode;
  __asm__ volatile("mrs %0, fpcr" : "=r"(mode));
  mode = flush ? mode | FLUSH : mode & ~(uint64_t)FLUSH;
  __asm__ volatile("msr fpcr, %0" : : "r"(mode));
#else
  (void)flush;
#endif
}

void cpu_pool_flush(ThreadPool *pool, bool flush) { thread_pool_each(pool, set_flush, &flush); }
