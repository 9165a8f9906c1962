// pool: the maximum, mean or p-norm of sliding windows. Padding never wins a maximum. A mean divides by the elements of x
// under the window or, with count_include_pad, by those of the padded x: what ceil_mode lets a window see beyond the
// padding does not count. Indices of maxima are positions in all of x; storage_order 1 counts the spatial axes column-major.
#include "kernels/pool/pool.h"
#include <math.h>
#include <string.h>
#include "base/checked.h"
#include "kernels/meaning.h"

typedef enum PoolKind { POOL_MAX, POOL_AVERAGE, POOL_LP, POOL_KINDS } PoolKind;
static const char *const kind_names[POOL_KINDS] = {"max", "average", "lp"};

static Status read_kind(const Node *node, PoolKind *out) {
  const char *name = node_string(node, "kind", "");
  for (int i = 0; i < POOL_KINDS; i++)
    if (strcmp(name, kind_names[i]) == 0) {
      *out = (PoolKind)i;
      return OK;
    }
  FAIL(ERROR_INVALID_MODEL, "unknown kind '%s'", name);
}

bool pool_is_average(const Node *node) { return strcmp(node_string(node, "kind", ""), kind_names[POOL_AVERAGE]) == 0; }

Status pool_read_window(const Node *node, int axes, Window *out) {
  int count;
  Dim kernel[MAX_RANK];
  const int64_t *sizes = node_ints(node, "kernel", &count);
  if (count != axes || axes > MAX_RANK - 2) FAIL(ERROR_INVALID_MODEL, "a kernel of %d axes over %d", count, axes);
  for (int i = 0; i < axes; i++) {
    if (sizes[i] < 1 || sizes[i] > INT32_MAX) FAIL(ERROR_INVALID_MODEL, "kernel size %lld", (long long)sizes[i]);
    kernel[i] = sizes[i];
  }
  return window_read(node, axes, kernel, out);
}

bool pool_exceeds_input(const Node *node, const int64_t *dims) {
  enum { SLACK = 64 };
  int count;
  const int64_t *sizes = node_ints(node, "kernel", &count);
  for (int i = 0; i < count; i++)
    if (sizes[i] > 2 * dims[2 + i] + SLACK) return true;
  return false;
}

static Status infer_pool(Node *node) {
  Value *x;
  PoolKind kind;
  Window window;
  Dim dims[MAX_RANK];
  TRY(meaning_require(node, 0, &x));
  TRY(read_kind(node, &kind));
  if (x->rank < 3) FAIL(ERROR_INVALID_MODEL, "the input has rank %d; at least 3 is expected", x->rank);
  if (dtype_kind(x->dtype) == KIND_STRING || dtype_kind(x->dtype) == KIND_COMPLEX ||
      (kind == POOL_LP && !dtype_is_float(x->dtype)))
    FAIL(ERROR_INVALID_MODEL, "no %s pooling of %s", kind_names[kind], dtype_name(x->dtype));
  TRY(pool_read_window(node, x->rank - 2, &window));
  dims[0] = x->dims[0];
  dims[1] = x->dims[1];
  for (int i = 0; i < window.axes; i++) {
    dims[2 + i] = window_output(node->graph->dims, &window, i, x->dims[2 + i], node_int(node, "ceil_mode", 0) != 0);
    int64_t constant;
    if (dim_get_constant(node->graph->dims, dims[2 + i], &constant) && constant < 0)
      FAIL(ERROR_INVALID_MODEL, "the kernel is larger than the padded input along axis %d", 2 + i);
  }
  value_set_type(node->outputs[0], x->dtype, x->rank, dims);
  if (!meaning_wants(node, 1)) return OK;
  if (kind != POOL_MAX) FAIL(ERROR_INVALID_MODEL, "only maxima have indices");
  value_set_type(node->outputs[1], DTYPE_I64, x->rank, dims);
  return OK;
}

static int64_t output_size(const Window *window, int axis, int64_t in, bool ceil_mode) {
  int64_t stride = window->stride[axis];
  int64_t room = in + window->pad_begin[axis] + window->pad_end[axis] - window->dilation[axis] * (window->kernel[axis] - 1) - 1;
  if (room < 0) return ceil_mode && room > -stride && in + window->pad_begin[axis] > 0 ? 1 : 0;
  if (!ceil_mode) return room / stride + 1;
  return MIN(ceil_div(room, stride) + 1, ceil_div(in + window->pad_begin[axis], stride));
}

// The geometry of one call; strides are those of one plane of x.
typedef struct PoolCall {
  Window window;
  int64_t in[MAX_RANK], kernel[MAX_RANK], strides[MAX_RANK];
  int64_t column_strides[MAX_RANK];  // of indices, for storage_order 1
} PoolCall;

typedef struct PoolResult {
  double sum, maximum;
  int64_t integer_sum, integer_maximum;
  int64_t at, taps_inside, taps_padded;  // `at`: linear in the plane, -1 if no tap was inside
} PoolResult;

static PoolResult pool_window(const PoolCall *call, const Tensor *x, int64_t plane, const int64_t *position, PoolKind kind,
                              double p) {
  PoolResult result = {.at = -1};
  bool in_ints = dtype_computes_in_int(x->dtype), is_unsigned = x->dtype == DTYPE_U64;
  int axes = call->window.axes;
  // Only taps inside the tensor are visited: a kernel may be far larger than it.
  int64_t low[MAX_RANK], extent[MAX_RANK], tap[MAX_RANK] = {0};
  result.taps_padded = 1;
  bool empty = false;
  for (int i = 0; i < axes; i++) {
    int64_t start = position[i] * call->window.stride[i] - call->window.pad_begin[i], step = call->window.dilation[i];
    low[i] = start >= 0 ? 0 : MIN(ceil_div(-start, step), call->kernel[i]);
    extent[i] = MIN(MAX(ceil_div(call->in[i] - start, step), low[i]), call->kernel[i]) - low[i];
    result.taps_padded *= MIN(MAX(ceil_div(call->in[i] + call->window.pad_end[i] - start, step), 0), call->kernel[i]);
    empty = empty || extent[i] == 0;
  }
  if (empty) return result;
  do {
    int64_t offset = 0;
    for (int i = 0; i < axes; i++)
      offset +=
          (position[i] * call->window.stride[i] + (low[i] + tap[i]) * call->window.dilation[i] - call->window.pad_begin[i]) *
          call->strides[i];
    result.taps_inside++;
    if (in_ints) {
      int64_t value = tensor_get_i(x, plane + offset);
      bool larger = is_unsigned ? (uint64_t)value > (uint64_t)result.integer_maximum : value > result.integer_maximum;
      if (result.at < 0 || larger) result.integer_maximum = value, result.at = offset;
      result.integer_sum += value;
    } else {
      double value = tensor_get_f(x, plane + offset);
      bool larger = value > result.maximum || (isnan(value) && !isnan(result.maximum));
      if (result.at < 0 || larger) result.maximum = value, result.at = offset;
      result.sum += kind == POOL_LP ? pow(fabs(value), p) : value;
    }
  } while (index_next(axes, extent, tap));
  return result;
}

static int64_t column_major(const PoolCall *call, int64_t offset) {
  int64_t at = 0;
  for (int i = 0; i < call->window.axes; i++) at += offset / call->strides[i] % call->in[i] * call->column_strides[i];
  return at;
}

static void store_result(Tensor *out, int64_t n, PoolKind kind, const PoolResult *result, bool count_pad, double p) {
  int64_t divisor = count_pad ? result->taps_padded : result->taps_inside;
  if (dtype_computes_in_int(out->dtype)) {
    int64_t mean = divisor ? result->integer_sum / divisor : 0;
    tensor_set_i(out, n, kind == POOL_MAX ? result->integer_maximum : mean);
    return;
  }
  switch (kind) {
    case POOL_MAX: tensor_set_f(out, n, result->at < 0 ? -INFINITY : result->maximum); break;
    case POOL_AVERAGE: tensor_set_f(out, n, divisor ? result->sum / (double)divisor : 0); break;
    default: tensor_set_f(out, n, pow(result->sum, 1 / p)); break;
  }
}

static Status reference_pool(Reference *r) {
  const Tensor *x = r->inputs[0];
  int axes = x->rank - 2;
  PoolCall call = {0};
  PoolKind kind;
  int64_t dims[MAX_RANK] = {x->dims[0], x->dims[1]};
  bool ceil_mode = node_int(r->node, "ceil_mode", 0) != 0, count_pad = node_int(r->node, "count_include_pad", 0) != 0;
  bool columns = node_int(r->node, "storage_order", 0) != 0;
  double p = (double)node_int(r->node, "p", 2);
  TRY(read_kind(r->node, &kind));
  TRY(pool_read_window(r->node, axes, &call.window));
  for (int i = 0; i < axes; i++) {
    call.in[i] = x->dims[2 + i];
    call.kernel[i] = call.window.kernel[i];
    call.column_strides[i] = i == 0 ? 1 : call.column_strides[i - 1] * call.in[i - 1];
    dims[2 + i] = output_size(&call.window, i, call.in[i], ceil_mode);
  }
  dims_strides(axes, call.in, call.strides);
  Tensor *out, *indices = NULL;
  TRY(reference_output(r, 0, x->dtype, x->rank, dims, &out));
  if (meaning_wants(r->node, 1)) TRY(reference_output(r, 1, DTYPE_I64, x->rank, dims, &indices));
  if (tensor_count(out) == 0) return OK;
  int64_t in_plane = dims_count(axes, call.in), n = 0;
  for (int64_t c = 0; c < dims[0] * dims[1]; c++) {
    int64_t position[MAX_RANK] = {0};
    do {
      PoolResult result = pool_window(&call, x, c * in_plane, position, kind, p);
      store_result(out, n, kind, &result, count_pad, p);
      if (indices) {
        int64_t at = result.at < 0 ? -1 : c * in_plane + (columns ? column_major(&call, result.at) : result.at);
        ((int64_t *)indices->data)[n] = at;
      }
      n++;
    } while (index_next(axes, dims + 2, position));
  }
  return OK;
}

static int64_t terms_of_pool(const Node *node) {
  int count;
  int64_t terms = 1;
  const int64_t *kernel = node_ints(node, "kernel", &count);
  for (int i = 0; i < count; i++)
    if (!checked_mul_i64(terms, kernel[i], &terms)) return 0;
  return terms;
}

const OpDef op_pool = {
    .name = "pool",
    .help = "maximum, mean or p-norm of sliding windows",
    .min_inputs = 1,
    .max_inputs = 1,
    .min_outputs = 1,
    .max_outputs = 2,
    .attributes = (const AttributeSpec[]){{"kind", ATTR_STRING, true},
                                          {"kernel", ATTR_INTS, true},
                                          {"strides", ATTR_INTS, false},
                                          {"pads", ATTR_INTS, false},
                                          {"dilations", ATTR_INTS, false},
                                          {"count_include_pad", ATTR_INTS, false},
                                          {"p", ATTR_INTS, false},
                                          {"storage_order", ATTR_INTS, false},
                                          {"ceil_mode", ATTR_INTS, false},
                                          {0}},
    .infer = infer_pool,
    .reference = reference_pool,
    .terms = terms_of_pool,
    .takes_epilogue = true,
    .image = IMAGE_FOLLOWS,
};
