// See cpu_team.h.
#include "kernels/common/cpu_team.h"
#include <dlfcn.h>
#include <stddef.h>

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

static void fork_team(void (*body)(void *), void *argument, int threads) {
  OmpParallel *parallel;
  *(void **)&parallel = dlsym(RTLD_DEFAULT, "GOMP_parallel");
  parallel(body, argument, (unsigned)threads, 0);
}

ThreadPool *cpu_pool_new(int threads) {
  return dlsym(RTLD_DEFAULT, "GOMP_parallel") ? thread_pool_borrow(threads, fork_team) : thread_pool_new(threads);
}
