// pad: x with elements added before and after each axis. Where an output coordinate lies outside x, its mode says which
// coordinate of x it repeats; "constant" says none. Removing elements is slice's business.
#include "kernels/pad/pad.h"
#include <string.h>
#include "kernels/meaning.h"

typedef enum PadMode { PAD_CONSTANT, PAD_REFLECT, PAD_EDGE, PAD_WRAP, PAD_MODES } PadMode;
static const char *const mode_names[PAD_MODES] = {"constant", "reflect", "edge", "wrap"};

static Status read_mode(const Node *node, PadMode *out) {
  const char *name = node_string(node, "mode", "constant");
  for (int i = 0; i < PAD_MODES; i++)
    if (strcmp(name, mode_names[i]) == 0) {
      *out = (PadMode)i;
      return OK;
    }
  FAIL(ERROR_INVALID_MODEL, "unknown mode '%s'", name);
}

static Status infer_pad(Node *node) {
  Value *x;
  const Dim *pads;
  int count;
  PadMode mode;
  Dim dims[MAX_RANK];
  TRY(meaning_require(node, 0, &x));
  TRY(read_mode(node, &mode));
  TRY(meaning_dims(node, "pads", 2 * MAX_RANK, &pads, &count));
  if (count != 2 * x->rank) FAIL(ERROR_INVALID_MODEL, "%d pads for a tensor of rank %d", count, x->rank);
  if (meaning_input(node, 1)) {
    Value *value;
    TRY(meaning_require(node, 1, &value));
    if (value->dtype != x->dtype)
      FAIL(ERROR_INVALID_MODEL, "the pad value is %s, the data %s", dtype_name(value->dtype), dtype_name(x->dtype));
  }
  DimTable *table = node->graph->dims;
  for (int i = 0; i < x->rank; i++) {
    int64_t constant;
    if ((dim_get_constant(table, pads[i], &constant) && constant < 0) ||
        (dim_get_constant(table, pads[x->rank + i], &constant) && constant < 0))
      FAIL(ERROR_INVALID_MODEL, "axis %d has a negative pad", i);
    dims[i] = dim_add(table, dim_add(table, x->dims[i], pads[i]), pads[x->rank + i]);
    if (mode != PAD_CONSTANT && x->dims[i] == 0 && dims[i] != 0) FAIL(ERROR_INVALID_MODEL, "axis %d has nothing to repeat", i);
  }
  value_set_type(node->outputs[0], x->dtype, x->rank, dims);
  return OK;
}

// The coordinate of x that coordinate `at` (relative to x's first element) shows; -1: the constant.
static int64_t source_of(PadMode mode, int64_t at, int64_t size) {
  if (at >= 0 && at < size) return at;
  int64_t period;
  switch (mode) {
    case PAD_EDGE: return at < 0 ? 0 : size - 1;
    case PAD_WRAP: at %= size; return at < 0 ? at + size : at;
    case PAD_REFLECT:
      if (size == 1) return 0;
      period = 2 * (size - 1);
      at %= period;
      if (at < 0) at += period;
      return at < size ? at : period - at;
    default: return -1;
  }
}

Status pad_axis(const Node *node, int64_t in, int64_t begin, int64_t out, int64_t *coordinates) {
  PadMode mode;
  TRY(read_mode(node, &mode));
  for (int64_t i = 0; i < out; i++) coordinates[i] = source_of(mode, i - begin, in);
  return OK;
}

// constant NULL: zeros.
static char *add_constants(char *to, int64_t count, size_t size, const char *constant) {
  if (!constant) memset(to, 0, (size_t)count * size);
  for (int64_t i = 0; constant && i < count; i++) memcpy(to + (size_t)i * size, constant, size);
  return to + (size_t)count * size;
}

// Row by row: each is a part of one of x's rows between constants, or all constants.
static void pad_rows(const Tensor *x, const int64_t *pads, int rank, const int64_t *dims, const char *constant, char *to) {
  int last = rank - 1;
  size_t size = dtype_size(x->dtype);
  int64_t strides[MAX_RANK], index[MAX_RANK] = {0}, lead = pads[last];
  int64_t first = MIN(MAX(lead, 0), dims[last]), end = MAX(first, MIN(lead + x->dims[last], dims[last]));
  dims_strides(rank, x->dims, strides);
  do {
    int64_t offset = first - lead;
    bool outside = false;
    for (int i = 0; i < last && !outside; i++) {
      int64_t at = index[i] - pads[i];
      outside = at < 0 || at >= x->dims[i];
      offset += at * strides[i];
    }
    int64_t before = outside ? dims[last] : first, copied = outside ? 0 : end - first;
    to = add_constants(to, before, size, constant);
    if (copied) memcpy(to, (const char *)x->data + (size_t)offset * size, (size_t)copied * size);
    to = add_constants(to + (size_t)copied * size, dims[last] - before - copied, size, constant);
  } while (index_next(last, dims, index));
}

static Status reference_pad(Reference *r) {
  const Tensor *x = r->inputs[0], *value = reference_input(r, 1);
  const int64_t *pads;
  int count, rank = x->rank;
  PadMode mode;
  int64_t dims[MAX_RANK], strides[MAX_RANK], index[MAX_RANK] = {0};
  TRY(read_mode(r->node, &mode));
  TRY(reference_dims(r, "pads", &pads, &count));
  if (count != 2 * rank) FAIL(ERROR_INVALID_MODEL, "%d pads for a tensor of rank %d", count, rank);
  for (int i = 0; i < rank; i++) {
    if (!checked_add_i64(pads[i], x->dims[i], &dims[i]) || !checked_add_i64(dims[i], pads[rank + i], &dims[i]))
      FAIL(ERROR_INVALID_MODEL, "the pads of axis %d are too large", i);
    if (mode != PAD_CONSTANT && x->dims[i] == 0 && dims[i] > 0) FAIL(ERROR_INVALID_MODEL, "axis %d has nothing to repeat", i);
  }
  Tensor *out;
  TRY(reference_output(r, 0, x->dtype, rank, dims, &out));
  if (tensor_count(out) == 0) return OK;
  size_t size = dtype_size(x->dtype);
  const char *constant = value ? value->data : NULL;
  static const char *const empty_string = "";
  if (!constant && x->dtype == DTYPE_STRING) constant = (const char *)&empty_string;
  dims_strides(rank, x->dims, strides);
  char *to = out->data;
  if (mode == PAD_CONSTANT && rank) {
    pad_rows(x, pads, rank, dims, constant, to);
    return OK;
  }
  do {
    int64_t offset = 0;
    bool outside = false;
    for (int i = 0; i < rank && !outside; i++) {
      int64_t at = source_of(mode, index[i] - pads[i], x->dims[i]);
      outside = at < 0;
      offset += at * strides[i];
    }
    if (!outside) memcpy(to, (const char *)x->data + (size_t)offset * size, size);
    else if (constant) memcpy(to, constant, size);
    else memset(to, 0, size);
    to += size;
  } while (index_next(rank, dims, index));
  return OK;
}

static bool permute_pad(const Node *node, const int64_t *perm, Node *out) {
  if (out) meaning_permute_dims(node, "pads", perm, node->outputs[0]->rank, 2, out);
  return true;
}

const OpDef op_pad = {
    .name = "pad",
    .help = "adds elements before and after each axis",
    .min_inputs = 1,
    .max_inputs = 2,
    .min_outputs = 1,
    .max_outputs = 1,
    .attributes = (const AttributeSpec[]){{"pads", ATTR_DIMS, true}, {"mode", ATTR_STRING, false}, {0}},
    .infer = infer_pad,
    .reference = reference_pad,
    .permute = permute_pad,
    .image = IMAGE_FOLLOWS,
};
