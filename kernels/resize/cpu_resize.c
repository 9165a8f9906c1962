// Resizing on the CPU. A nearest resize is a copy by tables. The filters are separable: one pass along each axis that changes, in f32; those that
// shrink first, so that the others have less to do. In memory order a tensor is [outer, axis, inner]: a pass adds whole
// packed runs of `inner` elements, which is why images with the channels innermost are as fast along their width as along their
// height. Narrower floats, other orders and epilogues are passes of the strips engine before and after.
#include "kernels/implementation.h"
#include <string.h>
#include "base/checked.h"
#include "kernels/common/cpu_pick.h"
#include "kernels/program/cpu_strips.h"
#include "kernels/resize/resize.h"

enum { GRAIN_ELEMENTS = 1 << 13 };

typedef struct ResizePass {
  int64_t outer, in, out, inner;
  int taps;
  const int32_t *index;
  float *weight;
} ResizePass;

typedef struct ResizeState {
  bool nearest;
  CpuPick pick;
  CpuStrips *enter, *leave;  // NULL: the tensors are used as they lie
  ResizePass passes[MAX_RANK];
  int pass_count;
  size_t buffers[2], scratch;  // in the workspace
  void **leave_inputs;
  int leave_count, first_operand;
} ResizeState;

static bool is_nearest(const Node *node) { return strcmp(node_string(node, "mode", "nearest"), "nearest") == 0; }

static bool computable(DType dtype) { return dtype_kind(dtype) != KIND_STRING && dtype_kind(dtype) != KIND_COMPLEX; }

static bool supports(const Site *site) {
  const Node *node = site->node;
  const TensorDesc *x = &site->inputs[0], *y = &site->outputs[0];
  REQUIRE(site, strcmp(node_string(node, "coordinates", "half_pixel"), "tf_crop_and_resize"), "it crops");
  REQUIRE(site, desc_count(x) > 0 && desc_count(y) > 0 && desc_is_dense(y), "a tensor is empty, or the result has holes");
  bool nearest = is_nearest(node);
  REQUIRE(site, !nearest || ((!site->epilogue || computable(x->dtype)) && x->dtype == y->dtype),
          "the result's type is another, or in no program");
  REQUIRE(site, !nearest || cpu_pick_supports(y), "the result has no contiguous axis");
  bool floats = dtype_is_float(x->dtype) && x->dtype != DTYPE_F64 && computable(y->dtype);
  REQUIRE(site, nearest || floats, "it interpolates other elements than floats of 32 bits and fewer");
  return true;
}

// The epilogue over `result`, which may be the output itself; node inputs follow it.
static void leave_by_epilogue(const Site *site, Arena *arena, ThreadPool *pool, ResizeState *state, const TensorDesc *result,
                              size_t *scratch) {
  const Node *node = site->node;
  int count = state->leave_count = site->epilogue->input_count;
  TensorDesc *inputs = arena_array(arena, TensorDesc, count);
  inputs[0] = *result;
  for (int i = 1; i < count; i++) inputs[i] = site->inputs[node->input_count + i - 1];
  state->leave = cpu_strips_elementwise(arena, pool, site->epilogue, inputs, &site->outputs[0], scratch);
}

static Status prepare_nearest(const Site *site, Arena *arena, ThreadPool *pool, ResizeState *state, const ResizeAxis *tables,
                              size_t *workspace_bytes) {
  const TensorDesc *x = &site->inputs[0], *y = &site->outputs[0];
  int64_t *offsets[MAX_RANK];
  for (int axis = 0; axis < y->rank; axis++) {
    offsets[axis] = arena_array(arena, int64_t, y->dims[axis]);
    for (int64_t i = 0; i < y->dims[axis]; i++) offsets[axis][i] = tables[axis].index[i] * x->strides[axis];
  }
  cpu_pick_plan(&state->pick, arena, y, offsets);
  if (site->epilogue) leave_by_epilogue(site, arena, pool, state, y, workspace_bytes);
  return OK;
}

// Axes of y from outermost to innermost in memory; axes of size 1 anywhere.
static void memory_order(const TensorDesc *y, int *order) {
  for (int i = 0; i < y->rank; i++) {
    int at = i;
    for (; at > 0 && y->strides[order[at - 1]] < y->strides[i]; at--) order[at] = order[at - 1];
    order[at] = i;
  }
}

// A packed f32 tensor of these dims whose axes lie in memory in this order.
static TensorDesc packed(const TensorDesc *like, const int64_t *dims, const int *order) {
  TensorDesc desc = {.dtype = DTYPE_F32, .rank = like->rank};
  memcpy(desc.dims, dims, sizeof desc.dims);
  int64_t stride = 1;
  for (int i = desc.rank - 1; i >= 0; i--) {
    desc.strides[order[i]] = stride;
    stride *= dims[order[i]];
  }
  return desc;
}

static bool lies_as(const TensorDesc *desc, const TensorDesc *wanted) {
  if (desc->dtype != wanted->dtype) return false;
  for (int i = 0; i < desc->rank; i++)
    if (desc->dims[i] != 1 && desc->strides[i] != wanted->strides[i]) return false;
  return true;
}

static void add_pass(ResizeState *state, Arena *arena, const ResizeAxis *table, int64_t *dims, const int *order, int rank,
                     int place) {
  ResizePass *pass = &state->passes[state->pass_count++];
  *pass = (ResizePass){.outer = 1, .in = table->in, .out = table->out, .inner = 1, .taps = table->taps, .index = table->index};
  for (int i = 0; i < place; i++) pass->outer *= dims[order[i]];
  for (int i = place + 1; i < rank; i++) pass->inner *= dims[order[i]];
  int64_t count = table->out * table->taps;
  pass->weight = arena_array(arena, float, count);
  for (int64_t i = 0; i < count; i++) pass->weight[i] = (float)table->weight[i];
  dims[order[place]] = table->out;
}

static void prepare_ends(const Site *site, Arena *arena, ThreadPool *pool, ResizeState *state, const int *order, bool any_pass,
                         size_t *scratch) {
  const TensorDesc *x = &site->inputs[0], *y = &site->outputs[0];
  TensorDesc source = packed(x, x->dims, order), result = packed(y, y->dims, order);
  size_t enter = 0, leave = 0;
  if (!lies_as(x, &source)) state->enter = cpu_strips_copy(arena, pool, x, &source, &enter);
  if (site->epilogue) {
    leave_by_epilogue(site, arena, pool, state, &result, &leave);
  } else if (!lies_as(y, &result) || !any_pass) {
    state->leave_count = 1;
    state->leave = cpu_strips_copy(arena, pool, &result, y, &leave);
  }
  *scratch = MAX(enter, leave);
}

static void prepare_filtered(const Site *site, Arena *arena, ThreadPool *pool, ResizeState *state, const ResizeAxis *tables,
                             size_t *workspace_bytes) {
  const TensorDesc *x = &site->inputs[0], *y = &site->outputs[0];
  int order[MAX_RANK];
  int64_t dims[MAX_RANK];
  size_t scratch, largest = 0;
  memory_order(y, order);
  memcpy(dims, x->dims, sizeof dims);
  for (int growing = 0; growing < 2; growing++)
    for (int place = 0; place < y->rank; place++) {
      const ResizeAxis *table = &tables[order[place]];
      if (!table->identity && (table->out > table->in) == growing) add_pass(state, arena, table, dims, order, y->rank, place);
    }
  prepare_ends(site, arena, pool, state, order, state->pass_count > 0, &scratch);
  for (int i = 0; i < state->pass_count; i++)
    largest = MAX(largest, (size_t)(state->passes[i].outer * state->passes[i].out * state->passes[i].inner) * sizeof(float));
  largest = align_up(MAX(largest, (size_t)desc_count(x) * sizeof(float)), 256);
  state->buffers[1] = largest;
  state->scratch = 2 * largest;
  *workspace_bytes = state->scratch + scratch;
}

static Status open_state(const HostParameters *parameters, Arena *arena, ThreadPool *pool, void **out,
                         size_t *workspace_bytes) {
  const Site *site = parameters->site;
  const TensorDesc *x = &site->inputs[0], *y = &site->outputs[0];
  static const double everything[2] = {0, 1};
  ResizeState *state = arena_new_of(arena, ResizeState);
  ResizeAxis tables[MAX_RANK];
  for (int i = 0; i < x->rank; i++) TRY(resize_axis(site->node, i, x->dims[i], y->dims[i], everything, arena, &tables[i]));
  *workspace_bytes = 0;
  *out = state;
  state->nearest = is_nearest(site->node);
  if (state->nearest) TRY(prepare_nearest(site, arena, pool, state, tables, workspace_bytes));
  else prepare_filtered(site, arena, pool, state, tables, workspace_bytes);
  state->leave_inputs = arena_array(arena, void *, MAX(state->leave_count, 1));
  state->first_operand = site->node->input_count;
  return OK;
}

typedef struct Job {
  const ResizePass *pass;
  float *to;
  const float *from;
} Job;

static void add_runs(const ResizePass *pass, float *restrict to, const float *plane, const int32_t *index,
                     const float *weight) {
  int64_t inner = pass->inner;
  const float *restrict a = plane + index[0] * inner;
  if (pass->taps == 2) {
    const float *restrict b = plane + index[1] * inner;
    float wa = weight[0], wb = weight[1];
    for (int64_t j = 0; j < inner; j++) to[j] = wa * a[j] + wb * b[j];
    return;
  }
  for (int64_t j = 0; j < inner; j++) to[j] = weight[0] * a[j];
  for (int k = 1; k < pass->taps; k++) {
    const float *restrict b = plane + index[k] * inner;
    float w = weight[k];
    if (w == 0) continue;
    for (int64_t j = 0; j < inner; j++) to[j] += w * b[j];
  }
}

// Rows of one element are a line along the axis: a gather.
static void filter_line(const ResizePass *pass, float *restrict to, const float *restrict from) {
  int taps = pass->taps;
  for (int64_t i = 0; i < pass->out; i++) {
    float sum = 0;
    for (int k = 0; k < taps; k++) sum += pass->weight[i * taps + k] * from[pass->index[i * taps + k]];
    to[i] = sum;
  }
}

static void run_lines(void *context, int64_t begin, int64_t end) {
  const Job *job = context;
  for (int64_t o = begin; o < end; o++) filter_line(job->pass, job->to + o * job->pass->out, job->from + o * job->pass->in);
}

static void run_rows(void *context, int64_t begin, int64_t end) {
  const Job *job = context;
  const ResizePass *pass = job->pass;
  for (int64_t n = begin; n < end; n++) {
    int64_t o = n / pass->out, i = n % pass->out;
    add_runs(pass, job->to + n * pass->inner, job->from + o * pass->in * pass->inner, pass->index + i * pass->taps,
             pass->weight + i * pass->taps);
  }
}

static void run_pass(const ResizePass *pass, ThreadPool *pool, float *to, const float *from) {
  Job job = {pass, to, from};
  if (pass->inner == 1)
    parallel_for(pool, pass->outer, MAX(GRAIN_ELEMENTS / (pass->out * pass->taps), (int64_t)1), run_lines, &job);
  else
    parallel_for(pool, pass->outer * pass->out, MAX(GRAIN_ELEMENTS / (pass->inner * pass->taps), (int64_t)1), run_rows, &job);
}

static void leave(const ResizeState *state, const HostCall *call, void *result, void *scratch) {
  if (!state->leave) return;
  state->leave_inputs[0] = result;
  for (int i = 1; i < state->leave_count; i++) state->leave_inputs[i] = call->inputs[state->first_operand + i - 1];
  cpu_strips_run(state->leave, call->pool, state->leave_inputs, call->outputs, scratch);
}

static Status run(void *context, const HostCall *call) {
  const ResizeState *state = context;
  if (state->nearest) {
    cpu_pick_run(&state->pick, call->pool, call->outputs[0], call->inputs[0], NULL);
    leave(state, call, call->outputs[0], call->workspace);
    return OK;
  }
  char *workspace = call->workspace;
  void *scratch = workspace + state->scratch, *current = call->inputs[0];
  int buffer = 0;
  if (state->enter) {
    current = workspace + state->buffers[buffer];
    cpu_strips_run(state->enter, call->pool, call->inputs, &current, scratch);
    buffer = 1;
  }
  for (int i = 0; i < state->pass_count; i++) {
    bool last = i + 1 == state->pass_count && !state->leave;
    void *to = last ? call->outputs[0] : workspace + state->buffers[buffer];
    run_pass(&state->passes[i], call->pool, to, current);
    current = to;
    buffer = 1 - buffer;
  }
  leave(state, call, current, scratch);
  return OK;
}

static const HostRoutine routine = {"resize", open_state, run};

const Implementation cpu_resize = {
    .name = "tables",
    .backend = BACKEND_CPU,
    .op = &op_resize,
    .supports = supports,
    .ways = one_way,
    .host = &routine,
};
