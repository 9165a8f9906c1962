// Pooling on the CPU: maxima of every type and means of floats, in any order of axes. The axis that is innermost in memory decides. Where it is no
// axis of the window, channels mostly, an output's taps are vectors along it, and outputs that stand side by side and see as many taps are one run of
// cpu_pool_loops.h. Where it is one, rows of the image are combined first, several output rows at a time and between pads as the window sees them, and then
// what lies along the row. Types that the loops do not know, and tensors without an innermost axis, pass through a copy.
#include "kernels/implementation.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "base/checked.h"
#include "base/cpu_level.h"
#include "kernels/pool/cpu_pool_run.h"
#include "kernels/pool/pool.h"

static const PoolTable *best_table(void) {
  CpuLevel level = cpu_level();
  if (pool_table_avx512 && level >= CPU_AVX512) return pool_table_avx512;
  if (pool_table_avx2 && level >= CPU_AVX2) return pool_table_avx2;
  return &pool_table_generic;
}

// ---- Geometry ---------------------------------------------------------------------------------------------------------------

// Taps of the kernel whose place start + k * dilation lies in [0, size).
static void taps_within(const Reach *reach, int64_t start, int64_t size, int64_t *first, int64_t *last) {
  int64_t step = reach->dilation;
  *first = start >= 0 ? 0 : MIN(ceil_div(-start, step), reach->taps);
  *last = MIN(MAX(size - start > 0 ? ceil_div(size - start, step) : 0, *first), reach->taps);
}

static Reach reach_of(const Window *window, int axis) {
  return (Reach){.taps = window->kernel[axis],
                 .stride = window->stride[axis],
                 .dilation = window->dilation[axis],
                 .pad = window->pad_begin[axis]};
}

// A signed integer's maximum of nothing is 0, not the least number.
static bool sees_always(const Site *site, const Window *window) {
  const TensorDesc *x = &site->inputs[0], *y = &site->outputs[0];
  for (int i = 0; i < window->axes; i++) {
    Reach reach = reach_of(window, i);
    for (int64_t q = 0; q < y->dims[2 + i]; q++) {
      int64_t first, last;
      taps_within(&reach, q * reach.stride - reach.pad, x->dims[2 + i], &first, &last);
      if (first == last) return false;
    }
  }
  return true;
}

static void make_reach(Pool *pool, const Window *window) {
  const TensorDesc *x = &pool->x, *y = &pool->own.result;
  for (int i = 0; i < window->axes; i++) {
    Reach *reach = &pool->reach[i];
    int64_t count = y->dims[2 + i];
    *reach = reach_of(window, i);
    reach->first = arena_array(pool->own.arena, int64_t, (size_t)count);
    reach->inside = arena_array(pool->own.arena, int64_t, (size_t)count);
    reach->padded = arena_array(pool->own.arena, int64_t, (size_t)count);
    for (int64_t q = 0; q < count; q++) {
      int64_t start = q * reach->stride - reach->pad, last, first;
      taps_within(reach, start, x->dims[2 + i], &reach->first[q], &last);
      reach->inside[q] = last - reach->first[q];
      taps_within(reach, start + reach->pad, x->dims[2 + i] + reach->pad + window->pad_end[i], &first, &last);
      reach->padded[q] = last - first;
    }
  }
}

static bool sees_alike(const Pool *pool, const Reach *reach, int64_t a, int64_t b) {
  return reach->first[a] == reach->first[b] && reach->inside[a] == reach->inside[b] &&
         (!pool->counts_padding || reach->padded[a] == reach->padded[b]);
}

static void make_stretches(Pool *pool, Counted *counted) {
  int64_t count = counted->axis < 0 ? 1 : pool->own.result.dims[counted->axis];
  const Reach *reach = counted->axis >= 2 ? &pool->reach[counted->axis - 2] : NULL;
  counted->stretches = arena_array(pool->own.arena, Stretch, (size_t)count);
  for (int64_t q = 0; q < count; q++) {
    Stretch *last = counted->stretch_count ? &counted->stretches[counted->stretch_count - 1] : NULL;
    if (last && (!reach || sees_alike(pool, reach, last->begin, q))) last->count++;
    else counted->stretches[counted->stretch_count++] = (Stretch){q, 1};
  }
}

// Into about as many of one length.
static void cut_stretches(Pool *pool, Counted *counted, int64_t pieces) {
  const Stretch *whole = counted->stretches;
  int64_t total = 0, count = counted->stretch_count, most;
  for (int64_t i = 0; i < count; i++) total += whole[i].count;
  most = ceil_div(total, pieces);
  counted->stretches = arena_array(pool->own.arena, Stretch, (size_t)(count + total / most));
  counted->stretch_count = 0;
  for (int64_t i = 0; i < count; i++)
    for (int64_t done = 0; done < whole[i].count; done += most)
      counted->stretches[counted->stretch_count++] = (Stretch){whole[i].begin + done, MIN(most, whole[i].count - done)};
}

// ---- Support ----------------------------------------------------------------------------------------------------------------

static bool supports(const Site *site) {
  const Node *node = site->node;
  const TensorDesc *x = &site->inputs[0], *y = &site->outputs[0];
  bool average = pool_is_average(node), floats = dtype_is_float(x->dtype);
  REQUIRE(site, node->output_count == 1, "it gives indices, too");
  REQUIRE(site, x->rank <= 2 + POOL_AXES, "it has too many spatial axes");
  REQUIRE(site, desc_count(x) > 0 && desc_count(y) > 0, "a tensor is empty");
  REQUIRE(site, average || strcmp(node_string(node, "kind", ""), "max") == 0, "it is neither an average nor a maximum");
  REQUIRE(site, average ? floats : floats || dtype_is_integer(x->dtype),
          "elements are neither floats nor, of a maximum, integers");
  REQUIRE(site, dtype_bits(x->dtype) >= 8, "elements are of fewer than 8 bits");
  REQUIRE(site, site->epilogue ? dtype_fits_float(x->dtype) : y->dtype == x->dtype,
          "the result's type is another, or the epilogue's elements do not fit f32");
  REQUIRE(site, !site->epilogue || site->epilogue->code[0].op == OP_input, "the epilogue does not begin with the result");
  REQUIRE(site, !pool_exceeds_input(node, x->dims), "a window lies outside of the padded input");
  Window window;
  Status status = pool_read_window(node, x->rank - 2, &window);
  bool fine = !status && (floats || sees_always(site, &window));
  status_free(status);
  REQUIRE(site, fine, "its window cannot be read, or sees padding of integers only");
  return true;
}

// ---- Preparing --------------------------------------------------------------------------------------------------------------

static DType loop_dtype(const Site *site, const PoolTable *table) {
  DType dtype = site->inputs[0].dtype;
  if (pool_is_average(site->node)) return dtype == DTYPE_F64 ? dtype : DTYPE_F32;
  return table->largest[dtype] && (!site->epilogue || dtype == DTYPE_F32) ? dtype : DTYPE_F32;
}

// The axis along which x runs, or -1.
static int running_axis(const TensorDesc *x) {
  bool any = false;
  for (int i = 0; i < x->rank; i++) {
    if (x->dims[i] > 1 && x->strides[i] == 1) return i;
    any |= x->dims[i] > 1;
  }
  return any ? -1 : x->rank - 1;
}

// Dense strides in the order of those of `like`, those of axis `inner` first; -1: none is.
static void pack_like(TensorDesc *desc, const int64_t *like, int inner) {
  bool placed[MAX_RANK] = {0};
  int64_t stride = 1;
  for (int n = 0; n < desc->rank; n++) {
    int next = n ? -1 : inner;
    if (next < 0)
      for (int i = desc->rank - 1; i >= 0; i--)
        if (!placed[i] && (next < 0 || llabs(like[i]) < llabs(like[next]))) next = i;
    placed[next] = true;
    desc->strides[next] = stride;
    stride *= desc->dims[next];
  }
}

// x and y as the loops see them, with one axis innermost in both.
static void place(Pool *pool, DType dtype) {
  CpuOwn *own = &pool->own;
  const TensorDesc *x = &own->site.inputs[0], *y = &own->site.outputs[0];
  pool->x = *x, pool->x.dtype = dtype, pool->x.offset = 0;
  if (dtype != x->dtype || running_axis(x) < 0) {
    pack_like(&pool->x, desc_is_dense(x) ? x->strides : y->strides, -1);
    cpu_own_stage(own, x, &pool->x, desc_bytes(&pool->x));
  }
  pool->inner = running_axis(&pool->x);
  own->result = *y, own->result.dtype = dtype, own->result.offset = 0;
  own->y_staged = dtype != y->dtype || (y->dims[pool->inner] > 1 && y->strides[pool->inner] != 1);
  if (!own->y_staged) return;
  pack_like(&own->result, pool->x.strides, pool->inner);
  own->y_at = cpu_own_reserve(own, desc_bytes(&own->result));
}

// The axis not taken yet that is innermost in the result; one of several outputs, if there is one.
static int next_axis(const TensorDesc *y, const bool *taken) {
  int next = -1;
  for (int i = y->rank - 1; i >= 0; i--) {
    if (taken[i]) continue;
    bool nearer = next < 0 || (y->dims[i] > 1 && (y->dims[next] == 1 || llabs(y->strides[i]) < llabs(y->strides[next])));
    if (nearer) next = i;
  }
  return next;
}

// Where all outputs along an axis see as many taps, a run goes on into the next channel and the next image if these lie so.
static void join_axes(Pool *pool, Counted *counted) {
  const TensorDesc *y = &pool->own.result;
  bool joined = counted->axis >= 0;
  while (joined && counted->stretch_count == 1) {
    Stretch *all = counted->stretches;
    joined = false;
    for (int n = 0; n < pool->outer_count && !joined; n++) {
      int axis = pool->outer_axes[n];
      if (axis >= 2 || pool_x_step(pool, axis) != all->count * pool_x_step(pool, counted->axis) ||
          y->strides[axis] != all->count * y->strides[counted->axis])
        continue;
      all->count *= y->dims[axis];
      memmove(pool->outer_axes + n, pool->outer_axes + n + 1, (size_t)(--pool->outer_count - n) * sizeof *pool->outer_axes);
      joined = true;
    }
  }
}

// Where few rows of an image see as many taps, rows are better counted along its channels.
static bool prefers_channels(const Pool *pool, int axis) {
  enum { FEW_ROWS = 8 };
  if (axis < 2) return false;
  int64_t alike = 1, most = 1, count = pool->own.result.dims[axis];
  for (int64_t q = 1; q < count; q++) {
    alike = sees_alike(pool, &pool->reach[axis - 2], q - 1, q) ? alike + 1 : 1;
    most = MAX(most, alike);
  }
  return most < count && most < FEW_ROWS && pool->own.result.dims[1] > most;
}

// Rows along the line are counted along one axis, vectors along two of the image.
static void make_axes(Pool *pool) {
  const TensorDesc *y = &pool->own.result;
  bool taken[MAX_RANK] = {0};
  taken[pool->inner] = true;
  if (pool->inner < 2) taken[1 - pool->inner] = true;
  for (int n = 1; n >= 0; n--) {
    Counted *counted = &pool->counted[n];
    *counted = (Counted){.axis = n == 1 && pool->inner >= 2 ? -1 : next_axis(y, taken)};
    pool->parts_first = pool->inner >= 2 && prefers_channels(pool, counted->axis);
    if (pool->parts_first) counted->axis = 1;
    if (counted->axis >= 0) taken[counted->axis] = true;
    make_stretches(pool, counted);
  }
  for (int i = 0; i < y->rank; i++)
    if (i < 2 ? i != pool->inner && i != pool->counted[0].axis && y->dims[i] > 1 : !taken[i])
      pool->outer_axes[pool->outer_count++] = i;
  join_axes(pool, &pool->counted[0]);
  pool->outers = 1;
  for (int n = 0; n < pool->outer_count; n++) pool->outers *= y->dims[pool->outer_axes[n]];
}

// Work is handed out in parts, enough for the threads; and none so large that a call could not be ended for long.
static void make_parts(Pool *pool) {
  enum { PARTS = 4, CHANNELS = 64, MOST_TAPS = 1 << 23, LINES_BYTES = 1 << 16, PLANES_BYTES = 1 << 15 };
  int threads = thread_pool_size(pool->own.pool);
  int64_t taps = desc_count(&pool->own.result), channels = pool->own.result.dims[pool->inner];
  for (int i = 0; i < pool->axes; i++) taps *= pool->reach[i].taps;
  int64_t wanted = MAX(threads > 1 ? PARTS * threads : 1, taps / MOST_TAPS);
  pool->width = channels;
  if (pool->parts_first) {
    cut_stretches(pool, &pool->counted[0], ceil_div(desc_count(&pool->x) * (int64_t)pool->item, PLANES_BYTES));
  } else if (pool->outers < wanted) {
    cut_stretches(pool, &pool->counted[0], ceil_div(wanted, pool->outers));
    wanted = ceil_div(wanted, pool->outers * pool->counted[0].stretch_count);
    if (pool->inner < 2) pool->width = MIN((int64_t)align_up((size_t)ceil_div(channels, wanted), CHANNELS), channels);
  }
  pool->parts = pool->counted[0].stretch_count * ceil_div(channels, pool->width);
  pool->most_lines = INT64_MAX;
  if (pool->inner >= 2) return;
  int64_t line =
      pool->own.result.dims[pool->counted[1].axis] * llabs(pool_x_step(pool, pool->counted[1].axis)) * (int64_t)pool->item;
  pool->most_lines = MAX(LINES_BYTES / MAX(line, 1), 1);
}

static float divisor_at(const Pool *pool, const Reach *reach, int64_t q) {
  return (float)MAX((pool->counts_padding ? reach->padded : reach->inside)[q], 1);
}

// For each row of a line, and what lies between.
static void make_divisors(Pool *pool, const Reach *reach, int64_t outputs) {
  int64_t step = pool->columns == outputs ? pool->pitch / pool->stride : outputs;
  bool alike = true;
  pool->divisor = divisor_at(pool, reach, 0);
  for (int64_t q = 0; q < outputs; q++) alike &= divisor_at(pool, reach, q) == pool->divisor;
  if (alike) return;
  pool->divisor = 1;
  pool->divisors = arena_array(pool->own.arena, float, (size_t)(step * pool->most_rows));
  for (int64_t i = 0; i < step * pool->most_rows; i++)
    pool->divisors[i] = i % step < outputs ? divisor_at(pool, reach, i % step) : 1;
}

static void make_lines(Pool *pool) {
  const Reach *reach = &pool->reach[pool->inner - 2];
  int64_t outputs = pool->own.result.dims[pool->inner];
  int64_t span = (outputs - 1) * reach->stride + (reach->taps - 1) * reach->dilation + 1;
  pool->stride = outputs > 1 ? reach->stride : span;  // a line of rows has one output each
  pool->columns = span <= POOL_LINE ? outputs : MIN(outputs, (POOL_LINE / 2 - 1) / pool->stride + 1);
  pool->taps = span <= POOL_LINE ? reach->taps : MIN(reach->taps, (POOL_LINE / 2 - 1) / reach->dilation + 1);
  pool->pitch = ceil_div(span, pool->stride) * pool->stride;
  pool->most_rows = MAX(POOL_LINE / pool->pitch, 1);
  make_divisors(pool, reach, outputs);
}

// Maxima that begin with zero instead are those behind a ReLU.
static bool is_relu(const Program *program) {
  return program && program->count == 2 && program->code[0].op == OP_input && program->code[1].op == OP_relu &&
         program->outputs[0] == 1;
}

static void choose_loops(Pool *pool, const PoolTable *table, DType dtype) {
  enum { FEW_TAPS = 64 };
  int64_t taps = 1;
  for (int i = 0; i < pool->axes; i++) taps *= pool->reach[i].taps;
  if (pool->average) {
    bool few = taps <= FEW_TAPS;
    pool->across = few ? table->few_mean[dtype] : table->mean[dtype];
    pool->lines = few ? table->few_mean_lines[dtype] : table->mean_lines[dtype];
    if (few) pool->exact_lines = table->mean_lines[dtype];
  } else {
    pool->across = table->largest[dtype];
    pool->lines = (PoolLines){.across = pool->across, .along = table->along_largest[dtype], .item = pool->item};
    pool->has_relu = is_relu(pool->own.site.epilogue) && !pool->own.y_staged;
    if (!pool->has_relu) element_set_f(dtype, &pool->least, -INFINITY);
  }
}

static Status open_state(const HostParameters *parameters, Arena *arena, ThreadPool *threads, void **state,
                         size_t *workspace_bytes) {
  const Site *site = parameters->site;
  Pool *pool = arena_new_of(arena, Pool);
  const PoolTable *table = best_table();
  DType dtype = loop_dtype(site, table);
  Window window;
  TRY(pool_read_window(site->node, site->inputs[0].rank - 2, &window));
  *pool = (Pool){.own = {.arena = arena, .pool = threads, .site = *site, .kind = GEMM_FLOATS},
                 .average = pool_is_average(site->node),
                 .counts_padding = node_int(site->node, "count_include_pad", 0) != 0,
                 .axes = window.axes,
                 .item = dtype_size(dtype)};
  place(pool, dtype);
  make_reach(pool, &window);
  make_axes(pool);
  make_parts(pool);
  if (pool->inner >= 2) make_lines(pool);
  choose_loops(pool, table, dtype);
  if (!pool->has_relu) cpu_own_finish(&pool->own);
  *state = pool;
  *workspace_bytes = pool->own.workspace_bytes;
  return OK;
}

static const HostRoutine routine = {"pool", open_state, pool_run};

const Implementation cpu_pool = {
    .name = "own_pool",
    .backend = BACKEND_CPU,
    .op = &op_pool,
    .supports = supports,
    .ways = one_way,
    .host = &routine,
};
