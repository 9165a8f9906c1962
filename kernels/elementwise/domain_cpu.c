// Elementwise and rowwise nodes on the CPU: the strips engine, groups of rows shared among threads. Each thread that is inside
// the loop takes one of as many scratch areas as the pool has threads.
#include <stdatomic.h>
#include <string.h>
#include "base/checked.h"
#include "kernels/elementwise/domain.h"

enum { GRAIN_ELEMENTS = 1 << 15 };  // a thread is worth waking for some ten microseconds of work

typedef struct DomainState {
  Strips *strips;
  size_t scratch_bytes;  // of each area
  int area_count;
  atomic_flag *taken;  // of each area
} DomainState;

typedef struct DomainJob {
  const DomainState *state;
  const CpuCall *call;
} DomainJob;

static bool computable(DType dtype) { return dtype_kind(dtype) != KIND_COMPLEX && dtype_kind(dtype) != KIND_STRING; }

bool domain_cpu_supports(const Site *site) {
  for (int i = 0; i < site->node->input_count; i++)
    if (!site->inputs[i].absent && !computable(site->inputs[i].dtype)) return false;
  return true;
}

static Status site_domain(const Site *site, int *rank, int64_t *domain, bool *reduced) {
  const Node *node = site->node;
  const Program *program = node_program(node, "program");
  const Attribute *given = node_attribute(node, "dims");
  *rank = given ? given->count : site->outputs[0].rank;
  for (int i = 0; i < *rank; i++) domain[i] = 1;
  // Outputs and inputs together show every axis; only what neither shows comes from the attribute.
  for (int i = 0; i < node->output_count + node->input_count; i++) {
    const TensorDesc *desc = i < node->output_count ? &site->outputs[i] : &site->inputs[i - node->output_count];
    for (int k = 0; k < desc->rank && !desc->absent; k++)
      if (desc->dims[k] != 1) domain[k + *rank - desc->rank] = desc->dims[k];
  }
  for (int i = 0; given && i < *rank; i++)
    if (!dim_get_constant(node->graph->dims, given->dims[i], &domain[i]) && domain[i] == 1 && program_has_reduction(program))
      FAIL(ERROR_INTERNAL, "size %d of the domain is still symbolic", i);
  memset(reduced, 0, sizeof(bool) * MAX_RANK);
  int count;
  const int64_t *axes = node_ints(node, "axes", &count);
  for (int i = 0; i < count; i++) reduced[axes[i]] = true;
  return OK;
}

Status domain_cpu_prepare(const Site *site, Arena *arena, ThreadPool *pool, void **out, size_t *workspace_bytes) {
  int rank;
  int64_t domain[MAX_RANK];
  bool reduced[MAX_RANK];
  TRY(site_domain(site, &rank, domain, reduced));
  DomainState *state = arena_new_of(arena, DomainState);
  state->strips = strips_new(arena, node_program(site->node, "program"), false, rank, domain, reduced, site->inputs,
                             site->node->input_count, site->outputs);
  state->scratch_bytes = align_up(state->strips->scratch_bytes, 4096);
  state->area_count = thread_pool_size(pool);
  state->taken = arena_array(arena, atomic_flag, (size_t)state->area_count);
  for (int i = 0; i < state->area_count; i++) atomic_flag_clear(&state->taken[i]);
  *workspace_bytes = state->scratch_bytes * (size_t)state->area_count;
  *out = state;
  return OK;
}

// At most area_count threads are inside, so one is free, now or in a moment.
static int take_area(const DomainState *state) {
  for (int i = 0;; i = (i + 1) % state->area_count)
    if (!atomic_flag_test_and_set_explicit(&state->taken[i], memory_order_acquire)) return i;
}

static void run_groups(void *context, int64_t begin, int64_t end) {
  const DomainJob *job = context;
  const DomainState *state = job->state;
  int area = take_area(state);
  char *scratch = (char *)job->call->workspace + state->scratch_bytes * (size_t)area;
  strips_run(state->strips, job->call->inputs, job->call->outputs, scratch, begin, end);
  atomic_flag_clear_explicit(&state->taken[area], memory_order_release);
}

Status domain_cpu_run(void *context, const CpuCall *call) {
  const DomainState *state = context;
  DomainJob job = {state, call};
  int64_t group = MAX(state->strips->box_rows * state->strips->row_extent, 1);
  parallel_for(call->pool, state->strips->group_count, MAX(GRAIN_ELEMENTS / group, 1), run_groups, &job);
  return OK;
}
