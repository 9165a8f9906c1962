// The threads that CPU tactics run on. oneDNN, as distributions build it, forks into the OpenMP run-time's team, whose idle threads
// spin for milliseconds. A pool of ours beside it would fight that team for the cores, so our loops run on the same team. The
// run-time is found at run time, through oneDNN's own dependency: it need not be known when Ingot is built.
#pragma once
#include "base/thread.h"
#include "kernels/cpu_tactic.h"

// How many threads oneDNN uses is a setting of the calling thread. Enter sets it to the pool's size and returns what leave restores.
typedef struct CpuTeam {
  void (*set_threads)(int threads);  // NULL: no OpenMP
  int (*get_threads)(void);
} CpuTeam;
CpuTeam cpu_team_find(void);
int cpu_team_enter(const CpuTeam *team, const ThreadPool *pool);
void cpu_team_leave(const CpuTeam *team, int before);
