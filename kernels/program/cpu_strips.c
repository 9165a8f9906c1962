// See cpu_strips.h.
#include "kernels/program/cpu_strips.h"
#include <stdatomic.h>
#include "base/checked.h"

enum { GRAIN_ELEMENTS = 1 << 15 };  // a thread is worth waking for some ten microseconds of work

struct CpuStrips {
  Strips *strips;
  size_t area_bytes;
  int area_count;
  atomic_flag *taken;  // of each area
};

typedef struct Job {
  CpuStrips *strips;
  void *const *inputs, *const *outputs;
  char *workspace;
} Job;

CpuStrips *cpu_strips_new(Arena *arena, ThreadPool *pool, Strips *strips, size_t *workspace_bytes) {
  CpuStrips *shared = arena_new_of(arena, CpuStrips);
  shared->strips = strips;
  shared->area_bytes = align_up(strips->scratch_bytes, 4096);
  shared->area_count = thread_pool_size(pool);
  shared->taken = arena_array(arena, atomic_flag, (size_t)shared->area_count);
  for (int i = 0; i < shared->area_count; i++) atomic_flag_clear(&shared->taken[i]);
  *workspace_bytes = shared->area_bytes * (size_t)shared->area_count;
  return shared;
}

// At most area_count threads are inside, so one is free, now or in a moment.
static int take_area(CpuStrips *strips) {
  for (int i = 0;; i = (i + 1) % strips->area_count)
    if (!atomic_flag_test_and_set_explicit(&strips->taken[i], memory_order_acquire)) return i;
}

static void run_groups(void *context, int64_t begin, int64_t end) {
  const Job *job = context;
  int area = take_area(job->strips);
  strips_run(job->strips->strips, job->inputs, job->outputs, job->workspace + job->strips->area_bytes * (size_t)area, begin,
             end);
  atomic_flag_clear_explicit(&job->strips->taken[area], memory_order_release);
}

// ---- Rows that are too few for all threads: the chunks of each are shared

typedef struct Sharing {
  const Job *job;
  int64_t group, step;
  int phase;
  atomic_llong next;
} Sharing;

static bool take_chunks(void *context, int64_t *begin, int64_t *end) {
  Sharing *sharing = context;
  int64_t count = sharing->job->strips->strips->chunk_count;
  *begin = atomic_fetch_add(&sharing->next, sharing->step);
  *end = MIN(*begin + sharing->step, count);
  return *begin < count;
}

static void run_shares(void *context, int64_t begin, int64_t end) {
  Sharing *sharing = context;
  const Job *job = sharing->job;
  for (int64_t area = begin; area < end; area++)
    strips_share_phase(job->strips->strips, job->inputs, job->outputs, job->workspace + job->strips->area_bytes * (size_t)area,
                       sharing->group, sharing->phase, take_chunks, sharing);
}

static void run_shared(const Job *job, ThreadPool *pool) {
  enum { SHARES_EACH = 4 };
  CpuStrips *shared = job->strips;
  const Strips *strips = shared->strips;
  int64_t least = MAX(GRAIN_ELEMENTS / SHARES_EACH / MAX(strips->box_rows * strips->box_length, 1), 1);
  int64_t step = MAX(strips->chunk_count / ((int64_t)shared->area_count * SHARES_EACH), least);
  for (int64_t group = 0; group < strips->group_count; group++)
    for (int phase = 0; phase < strips->phase_count; phase++) {
      Sharing sharing = {.job = job, .group = group, .step = step, .phase = phase};
      parallel_for(pool, shared->area_count, 1, run_shares, &sharing);
      strips_join_phase(strips, job->inputs, job->outputs, job->workspace, shared->area_bytes, shared->area_count, group,
                        phase);
    }
}

void cpu_strips_run(CpuStrips *strips, ThreadPool *pool, void *const *inputs, void *const *outputs, void *workspace) {
  Job job = {strips, inputs, outputs, workspace};
  const Strips *plan = strips->strips;
  int64_t group = MAX(plan->box_rows * plan->row_extent, 1);
  if (plan->divisible && plan->chunk_count > 1 && 2 * plan->group_count <= strips->area_count && group >= 2 * GRAIN_ELEMENTS) {
    run_shared(&job, pool);
    return;
  }
  parallel_for(pool, plan->group_count, MAX(GRAIN_ELEMENTS / group, 1), run_groups, &job);
}

CpuStrips *cpu_strips_elementwise(Arena *arena, ThreadPool *pool, const Program *program, const TensorDesc *inputs,
                                  const TensorDesc *y, size_t *workspace_bytes) {
  static const bool reduced[MAX_RANK];
  Strips *strips = strips_new(arena, program, false, y->rank, y->dims, reduced, inputs, program->input_count, y);
  return cpu_strips_new(arena, pool, strips, workspace_bytes);
}

CpuStrips *cpu_strips_copy(Arena *arena, ThreadPool *pool, const TensorDesc *x, const TensorDesc *y, size_t *workspace_bytes) {
  Program *program = program_new(arena, 1);
  program_output(program, program_input(program, 0, x->dtype));
  return cpu_strips_elementwise(arena, pool, program, x, y, workspace_bytes);
}
