// Pooling on the CPU without oneDNN, and maxima over channels that lie innermost: of every type, means of floats, with NaN and infinities as the reference has them. An output line is a run along
// the axis that is innermost in memory, be it the channels or a row of the image; the taps that see it are combined one after the other by the loops
// of strips (ir/strip.h), in the registers' types: maxima in the tensor's own, sums in double. No operand is copied, whatever its strides.
#include "kernels/pool/cpu_pool.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "base/checked.h"
#include "ir/interpret.h"
#include "kernels/common/cpu_own.h"
#include "kernels/meaning.h"
#include "kernels/pool/pool.h"

enum { MOST_LINE = 256, MOST_AXES = 3 };

// What a window sees along one axis, by the output's place.
typedef struct Reach {
  int64_t taps, stride, dilation, pad;
  int64_t *inside, *padded;  // how many taps lie in the input; and in the input with its padding
} Reach;

typedef struct Pool {
  CpuOwn own;
  bool average, counts_padding;
  int axes, inner;  // inner: the axis of lines
  Reach reach[MOST_AXES];
  const StripTable *table;
  RegisterClass class;
  StripCompute *combine;
  StripLoad *load;
  StripStore *store;
  int64_t lines;
} Pool;

static bool is_average(const Site *site) { return strcmp(node_string(site->node, "kind", ""), "average") == 0; }

static Status read_geometry(const Site *site, Window *window) {
  int count;
  Dim kernel[MAX_RANK];
  const int64_t *sizes = node_ints(site->node, "kernel", &count);
  for (int i = 0; i < count; i++) kernel[i] = sizes[i];
  return window_read(site->node, count, kernel, window);
}

// Taps of the kernel whose place start + k * dilation lies in [0, size).
static void taps_within(const Reach *reach, int64_t start, int64_t size, int64_t *first, int64_t *last) {
  int64_t step = reach->dilation;
  *first = start >= 0 ? 0 : MIN(ceil_div(-start, step), reach->taps);
  *last = MIN(MAX(size - start > 0 ? ceil_div(size - start, step) : 0, *first), reach->taps);
}

// A signed integer's maximum of nothing is 0, not the least number.
static bool sees_always(const Site *site, const Window *window) {
  const TensorDesc *x = &site->inputs[0], *y = &site->outputs[0];
  for (int i = 0; i < window->axes; i++) {
    Reach reach = {window->kernel[i], window->stride[i], window->dilation[i], window->pad_begin[i], NULL, NULL};
    for (int64_t q = 0; q < y->dims[2 + i]; q++) {
      int64_t first, last;
      taps_within(&reach, q * reach.stride - reach.pad, x->dims[2 + i], &first, &last);
      if (first == last) return false;
    }
  }
  return true;
}

static bool supports(const Site *site) {
  const Node *node = site->node;
  const TensorDesc *x = &site->inputs[0], *y = &site->outputs[0];
  bool average = is_average(site), floats = dtype_is_float(x->dtype);
  if (node->output_count != 1 || x->rank > 2 + MOST_AXES || desc_count(x) == 0 || desc_count(y) == 0) return false;
  if (!average && strcmp(node_string(node, "kind", ""), "max") != 0) return false;
  if (average ? !floats : !floats && !dtype_is_integer(x->dtype)) return false;
  if (dtype_bits(x->dtype) < 8 || (node->epilogue && x->dtype != DTYPE_F32) || (!node->epilogue && y->dtype != x->dtype))
    return false;
  if (node->epilogue && node->epilogue->code[0].op != OP_input) return false;
  for (int i = node->epilogue_first; node->epilogue && i < node->input_count; i++)
    if (site->inputs[i].absent) return false;
  if (pool_exceeds_input(node, x->dims)) return false;
  Window window;
  Status status = read_geometry(site, &window);
  bool fine = !status && (floats || sees_always(site, &window));
  status_free(status);
  return fine;
}

static void make_reach(Pool *pool, const Window *window) {
  const TensorDesc *x = &pool->own.site.inputs[0], *y = &pool->own.site.outputs[0];
  for (int i = 0; i < window->axes; i++) {
    Reach *reach = &pool->reach[i];
    int64_t count = y->dims[2 + i];
    *reach = (Reach){
        .taps = window->kernel[i], .stride = window->stride[i], .dilation = window->dilation[i], .pad = window->pad_begin[i]};
    reach->inside = arena_array(pool->own.arena, int64_t, (size_t)count);
    reach->padded = arena_array(pool->own.arena, int64_t, (size_t)count);
    for (int64_t q = 0; q < count; q++) {
      int64_t start = q * reach->stride - reach->pad, first, last;
      taps_within(reach, start, x->dims[2 + i], &first, &last);
      reach->inside[q] = last - first;
      taps_within(reach, start + reach->pad, x->dims[2 + i] + reach->pad + window->pad_end[i], &first, &last);
      reach->padded[q] = last - first;
    }
  }
}

// The axis that is innermost in the result, and long enough to be worth it.
static int inner_axis(const TensorDesc *y) {
  int inner = y->rank - 1;
  for (int i = 1; i < y->rank; i++)
    if (y->dims[i] > 1 && (y->dims[inner] == 1 || llabs(y->strides[i]) < llabs(y->strides[inner]))) inner = i;
  return inner;
}

static Status prepare(const Site *site, Arena *arena, ThreadPool *pool_, void **state, size_t *workspace_bytes) {
  Pool *pool = arena_new_of(arena, Pool);
  const TensorDesc *x = &site->inputs[0], *y = &site->outputs[0];
  Window window;
  TRY(read_geometry(site, &window));
  pool->own = (CpuOwn){.arena = arena, .pool = pool_, .site = *site, .kind = GEMM_FLOATS, .result = *y};
  pool->average = is_average(site);
  pool->counts_padding = node_int(site->node, "count_include_pad", 0) != 0;
  pool->axes = window.axes;
  make_reach(pool, &window);
  if (site->node->epilogue) cpu_own_result(&pool->own, y->strides, true);
  pool->inner = inner_axis(y);
  pool->lines = desc_count(y) / y->dims[pool->inner];
  pool->table = strip_table_best();
  pool->class = pool->average ? REGISTER_F64 : register_class(x->dtype, false);
  pool->combine = pool->table->compute[pool->average ? OP_add : OP_max][pool->class];
  pool->load = pool->table->load[x->dtype][pool->class];
  pool->store = pool->table->store[pool->own.result.dtype][pool->class];
  cpu_own_finish(&pool->own);
  *state = pool;
  *workspace_bytes = pool->own.workspace_bytes;
  return OK;
}

// ---- One line ---------------------------------------------------------------------------------------------------------------

typedef struct Line {
  const Pool *pool;
  const char *x;
  char *y;
  int64_t index[MAX_RANK];  // of its first output
  int64_t begin, count;     // along the inner axis
  _Alignas(64) double sums[MOST_LINE], loaded[MOST_LINE];
} Line;

static void clear(Line *line) {
  const Pool *pool = line->pool;
  DType dtype = pool->own.site.inputs[0].dtype;
  int64_t least = pool->class == REGISTER_I64 ? (int64_t)(UINT64_MAX << (dtype_bits(dtype) - 1)) : 0;
  strip_fill(pool->class, line->sums, pool->average ? 0 : -INFINITY, least, line->count);
}

// Combines one tap, at `offset` elements from the image's start along the outer axes, with the outputs that see it.
static void combine_tap(Line *line, int64_t offset, int64_t tap) {
  const Pool *pool = line->pool;
  const TensorDesc *x = &pool->own.site.inputs[0];
  int64_t begin = 0, end = line->count, stride = x->strides[pool->inner], at = line->begin;
  if (pool->inner >= 2) {
    const Reach *reach = &pool->reach[pool->inner - 2];
    int64_t shift = tap * reach->dilation - reach->pad;  // output q sees x at q * stride + shift
    int64_t low = shift < 0 ? ceil_div(-shift, reach->stride) : 0, size = x->dims[pool->inner];
    int64_t high = size - shift > 0 ? ceil_div(size - shift, reach->stride) : 0;
    begin = MAX(low - line->begin, 0), end = MIN(high - line->begin, line->count);
    at = (line->begin + begin) * reach->stride + shift;
    stride *= reach->stride;
  }
  if (begin >= end) return;
  size_t item = register_size(pool->class);
  void *sums = (char *)line->sums + (size_t)begin * item;
  const void *from = line->x + (offset + at * x->strides[pool->inner]) * (int64_t)dtype_size(x->dtype), *loaded = line->loaded;
  if (stride == 1 && x->dtype == DTYPE_F32 && pool->class == REGISTER_F32) loaded = from;
  else pool->load(line->loaded, from, stride, end - begin);
  pool->combine(sums, sums, loaded, NULL, end - begin);
}

// All taps of the axes from `axis` on.
static void combine_taps(Line *line, int axis, int64_t offset) {
  const Pool *pool = line->pool;
  const TensorDesc *x = &pool->own.site.inputs[0];
  while (axis < pool->axes && 2 + axis == pool->inner) axis++;
  if (axis == pool->axes) {
    int64_t taps = pool->inner >= 2 ? pool->reach[pool->inner - 2].taps : 1;
    for (int64_t tap = 0; tap < taps; tap++) combine_tap(line, offset, tap);
    return;
  }
  const Reach *reach = &pool->reach[axis];
  int64_t start = line->index[2 + axis] * reach->stride - reach->pad, first, last;
  taps_within(reach, start, x->dims[2 + axis], &first, &last);
  for (int64_t tap = first; tap < last; tap++)
    combine_taps(line, axis + 1, offset + (start + tap * reach->dilation) * x->strides[2 + axis]);
}

static void divide(Line *line) {
  const Pool *pool = line->pool;
  int64_t outer = 1;
  for (int i = 0; i < pool->axes; i++)
    if (2 + i != pool->inner)
      outer *= (pool->counts_padding ? pool->reach[i].padded : pool->reach[i].inside)[line->index[2 + i]];
  const Reach *reach = pool->inner >= 2 ? &pool->reach[pool->inner - 2] : NULL;
  const int64_t *counts = reach ? (pool->counts_padding ? reach->padded : reach->inside) + line->begin : NULL;
  for (int64_t i = 0; i < line->count; i++) {
    int64_t divisor = outer * (counts ? counts[i] : 1);
    line->sums[i] = divisor ? line->sums[i] / (double)divisor : 0;
  }
}

static void run_line(Line *line) {
  const Pool *pool = line->pool;
  const TensorDesc *x = &pool->own.site.inputs[0], *y = &pool->own.result;
  int64_t offset = 0, to = 0;
  for (int i = 0; i < y->rank; i++) {
    if (i < 2 && i != pool->inner) offset += line->index[i] * x->strides[i];
    if (i != pool->inner) to += line->index[i] * y->strides[i];
  }
  for (line->begin = 0; line->begin < y->dims[pool->inner]; line->begin += line->count) {
    line->count = MIN(y->dims[pool->inner] - line->begin, (int64_t)MOST_LINE);
    clear(line);
    combine_taps(line, 0, offset);
    if (pool->average) divide(line);
    pool->store(line->y + (to + line->begin * y->strides[pool->inner]) * (int64_t)dtype_size(y->dtype), y->strides[pool->inner],
                line->sums, line->count);
  }
}

typedef struct Job {
  const Pool *pool;
  const void *x;
  void *y;
} Job;

static void run_lines(void *context, int64_t begin, int64_t end) {
  const Job *job = context;
  const TensorDesc *y = &job->pool->own.result;
  Line line;
  line.pool = job->pool, line.x = job->x, line.y = job->y;
  for (int64_t i = begin; i < end; i++) {
    int64_t rest = i;
    for (int k = y->rank - 1; k >= 0; k--) {
      line.index[k] = k == job->pool->inner ? 0 : rest % y->dims[k];
      if (k != job->pool->inner) rest /= y->dims[k];
    }
    run_line(&line);
  }
}

static Status run(void *state, const CpuCall *call) {
  enum { GRAIN = 1 << 15 };
  const Pool *pool = state;
  Job job = {pool, call->inputs[0], cpu_own_y(&pool->own, call)};
  int64_t work = pool->own.result.dims[pool->inner];
  for (int i = 0; i < pool->axes; i++) work *= pool->reach[i].taps;
  parallel_for(call->pool, pool->lines, MAX(GRAIN / MAX(work, (int64_t)1), (int64_t)1), run_lines, &job);
  cpu_own_pass((CpuOwn *)&pool->own, call);
  return OK;
}

const CpuTactic cpu_own_pool = {"strips_pool", &op_pool, supports, prepare, run};
