// Gathers along an axis on the CPU: rows of tables (embeddings), picks of single slices. Indices are checked before anything is moved.
#include <string.h>
#include "base/checked.h"
#include "kernels/implementation.h"
#include "kernels/gather/gather.h"
#include "kernels/meaning.h"

enum { GRAIN_BYTES = 1 << 15 };

typedef struct GatherState {
  DType index_dtype;
  int64_t outer, size, count;  // y[outer][count][row]
  int64_t outer_bytes, step_bytes, row_bytes;
} GatherState;

// x: [outer axes, axis, packed row]; the outer ones merged.
static bool read_strides(const Site *site, GatherState *state) {
  const TensorDesc *x = &site->inputs[0];
  int axis = (int)node_int(site->node, "axis", 0);
  int64_t element = (int64_t)dtype_size(x->dtype), packed = 1, outer = 1, outer_stride = 0;
  for (int i = x->rank - 1; i > axis; i--) {
    if (x->dims[i] != 1 && x->strides[i] != packed) return false;
    packed *= x->dims[i];
  }
  for (int i = axis - 1; i >= 0; i--) {
    if (x->dims[i] == 1) continue;
    if (outer != 1 && x->strides[i] != outer_stride * outer) return false;
    if (outer == 1) outer_stride = x->strides[i];
    outer *= x->dims[i];
  }
  *state = (GatherState){.index_dtype = site->inputs[1].dtype,
                         .outer = outer,
                         .size = x->dims[axis],
                         .count = desc_count(&site->inputs[1]),
                         .outer_bytes = outer_stride * element,
                         .step_bytes = x->strides[axis] * element,
                         .row_bytes = packed * element};
  return true;
}

static bool supports(const Site *site) {
  GatherState state;
  REQUIRE(site, desc_is_row_major(&site->inputs[1]) && desc_is_row_major(&site->outputs[0]),
          "indices or the result are not row-major");
  REQUIRE(site, read_strides(site, &state), "what an index names lies in more than one piece, or is strings");
  return true;
}

static Status open_state(const HostParameters *parameters, Arena *arena, ThreadPool *pool, void **out,
                         size_t *workspace_bytes) {
  const Site *site = parameters->site;
  GatherState *state = arena_new_of(arena, GatherState);
  read_strides(site, state);
  *workspace_bytes = 0;
  *out = state;
  return OK;
}

typedef struct Job {
  const GatherState *state;
  char *y;
  const char *x, *indices;
} Job;

static int64_t index_at(const GatherState *state, const void *indices, int64_t i) {
  int64_t index = state->index_dtype == DTYPE_I64 ? ((const int64_t *)indices)[i]
                  : state->index_dtype == DTYPE_I32
                      ? ((const int32_t *)indices)[i]
                      : element_get_i(state->index_dtype, (const char *)indices + (size_t)i * dtype_size(state->index_dtype));
  return index < 0 ? index + state->size : index;
}

static void run_rows(void *context, int64_t begin, int64_t end) {
  const Job *job = context;
  const GatherState *state = job->state;
  for (int64_t i = begin; i < end; i++) {
    int64_t outer = i / state->count, index = index_at(state, job->indices, i % state->count);
    memcpy(job->y + i * state->row_bytes, job->x + outer * state->outer_bytes + index * state->step_bytes,
           (size_t)state->row_bytes);
  }
}

static Status run(void *context, const HostCall *call) {
  const GatherState *state = context;
  for (int64_t i = 0; i < state->count; i++) {
    int64_t index = index_at(state, call->inputs[1], i);
    if (index < 0 || index >= state->size)
      FAIL(ERROR_INVALID_ARGUMENT, "index %lld is outside an axis of size %lld",
           (long long)(index < 0 ? index - state->size : index), (long long)state->size);
  }
  Job job = {state, call->outputs[0], call->inputs[0], call->inputs[1]};
  parallel_for(call->pool, state->outer * state->count, MAX(GRAIN_BYTES / MAX(state->row_bytes, (int64_t)1), (int64_t)1),
               run_rows, &job);
  return OK;
}

static const HostRoutine routine = {"gather", open_state, run};

const Implementation cpu_gather = {
    .name = "rows",
    .backend = BACKEND_CPU,
    .op = &op_gather,
    .supports = supports,
    .ways = one_way,
    .host = &routine,
};
