// See cpu_strips.h.
#include "kernels/elementwise/cpu_strips.h"
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

void cpu_strips_run(CpuStrips *strips, ThreadPool *pool, void *const *inputs, void *const *outputs, void *workspace) {
  Job job = {strips, inputs, outputs, workspace};
  int64_t group = MAX(strips->strips->box_rows * strips->strips->row_extent, 1);
  parallel_for(pool, strips->strips->group_count, MAX(GRAIN_ELEMENTS / group, 1), run_groups, &job);
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
