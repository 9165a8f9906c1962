// Matrix products on the CPU, by oneDNN: f32, narrower floats through f32 copies. Batch axes are merged as far as the strides allow, into the
// rows where b has none, so that a linear layer is one product; a constant b is then packed once. Transposed operands are
// read as they lie.
#include "kernels/implementation.h"
#include <string.h>
#include "base/checked.h"
#include "kernels/common/cpu_anchor.h"
#include "kernels/matmul/matmul.h"

// The problem with all tensors at one rank: [batch.., rows, columns], size 1 where a tensor broadcasts.
typedef struct Product {
  int rank;
  TensorDesc *tensors;  // a, b, y, then the epilogue's operands
  int count;
} Product;
enum { A, B, Y, OPERANDS };

static bool supports(const Site *site) { return cpu_anchor_supports(site); }

static TensorDesc at_rank(const TensorDesc *desc, int rank, bool operand) {
  TensorDesc out = *desc;
  out.rank = rank;
  for (int i = 0; i < rank; i++) {
    int own = i - (rank - desc->rank);
    out.dims[i] = own < 0 || (desc->strides[own] == 0 && (i < rank - 2 || operand)) ? 1 : desc->dims[own];
    out.strides[i] = own < 0 ? 0 : desc->strides[own];
  }
  return out;
}

// One of the matrix axes is packed, the other does not overlap it, nothing runs backwards.
static bool is_readable(const TensorDesc *desc, bool transposed_too) {
  int rank = desc->rank;
  if (desc->dtype != DTYPE_F32) return false;
  for (int i = 0; i < rank; i++)
    if (desc->dims[i] > 1 && desc->strides[i] < (i < rank - 2 ? 0 : 1)) return false;
  int64_t rows = desc->dims[rank - 2], columns = desc->dims[rank - 1], row = desc->strides[rank - 2],
          column = desc->strides[rank - 1];
  bool by_rows = (columns == 1 || column == 1) && (rows == 1 || row >= columns);
  bool by_columns = (rows == 1 || row == 1) && (columns == 1 || column >= rows);
  return by_rows || (transposed_too && by_columns);
}

static void packed_strides(const TensorDesc *desc, int64_t *strides) {
  int64_t stride = 1;
  for (int i = desc->rank - 1; i >= 0; i--) {
    strides[i] = stride;
    stride *= desc->dims[i];
  }
}

// Axes of size 1 get strides that look packed: oneDNN compares them.
static void tidy(TensorDesc *desc) {
  int rank = desc->rank;
  int64_t *strides = desc->strides, rows = desc->dims[rank - 2], columns = desc->dims[rank - 1];
  bool transposed = columns > 1 && strides[rank - 1] != 1;
  if (columns == 1) strides[rank - 1] = 1;
  if (rows == 1) strides[rank - 2] = transposed ? 1 : columns;
  int64_t extent = transposed ? columns * strides[rank - 1] : rows * strides[rank - 2];
  for (int i = rank - 3; i >= 0; i--) {
    if (desc->dims[i] == 1) strides[i] = extent;
    extent = MAX(extent, strides[i] * desc->dims[i]);
  }
}

// Axes i and i + 1 as one, of a tensor that broadcasts to dims.
static bool merged(const TensorDesc *desc, const int64_t *dims, int i, int64_t *dim, int64_t *stride) {
  if (dims[i] == 1 || dims[i + 1] == 1) {
    int kept = dims[i] == 1 ? i + 1 : i;
    *dim = desc->dims[kept], *stride = desc->strides[kept];
    return true;
  }
  *dim = desc->dims[i] * desc->dims[i + 1], *stride = desc->strides[i + 1];
  if (desc->dims[i] == 1 && desc->dims[i + 1] == 1) return true;
  return desc->dims[i] == dims[i] && desc->dims[i + 1] == dims[i + 1] &&
         desc->strides[i] == desc->strides[i + 1] * desc->dims[i + 1];
}

static void drop_axis(TensorDesc *desc, int axis) {
  desc->rank--;
  memmove(desc->dims + axis, desc->dims + axis + 1, sizeof(int64_t) * (size_t)(desc->rank - axis));
  memmove(desc->strides + axis, desc->strides + axis + 1, sizeof(int64_t) * (size_t)(desc->rank - axis));
}

static bool merge(Product *product, int axis) {
  bool into_rows = axis == product->rank - 3;
  int64_t dims[MAX_RANK], dim, stride;
  memcpy(dims, product->tensors[Y].dims, sizeof dims);
  for (int t = 0; t < product->count; t++) {
    const TensorDesc *desc = &product->tensors[t];
    if (t == B && into_rows ? desc->dims[axis] != 1 : !merged(desc, dims, axis, &dim, &stride)) return false;
  }
  for (int t = 0; t < product->count; t++) {
    TensorDesc *desc = &product->tensors[t];
    if (t != B || !into_rows) {
      merged(desc, dims, axis, &dim, &stride);
      desc->dims[axis + 1] = dim, desc->strides[axis + 1] = stride;
    }
    drop_axis(desc, axis);
  }
  product->rank--;
  return true;
}

static void merge_all(Product *product) {
  for (int axis = product->rank - 4; axis >= 0; axis--) merge(product, axis);
  while (product->rank > 2 && merge(product, product->rank - 3)) continue;
}

// Such a program's places and sizes are those of the axes that the site has.
static bool counts_places(const Program *program) { return program_has(program, OP_index) || program_has(program, OP_extent); }

// Stages what cannot be read as it is, or, with `dense`, all that is not packed; then merges axes.
static Status prepare_product(const Site *site, Arena *arena, ThreadPool *pool, bool dense, CpuAnchor **out, bool *pack,
                              bool *fast) {
  TRY(cpu_anchor_new(site, arena, pool, out));
  CpuAnchor *anchor = *out;
  const Node *node = site->node;
  int64_t strides[MAX_RANK];
  const TensorDesc *b = &site->inputs[B];
  bool constant = b->constant && desc_count(b) == b->dims[b->rank - 1] * b->dims[b->rank - 2];
  for (int i = A; i <= B; i++) {
    packed_strides(&site->inputs[i], strides);
    if (i == B && constant) {  // what is packed is the tensor's row-major content
      anchor->inputs[i].dtype = DTYPE_F32;
      memcpy(anchor->inputs[i].strides, strides, sizeof strides);
    } else if (dense || !is_readable(&site->inputs[i], true)) {
      cpu_anchor_stage(anchor, i, strides);
    }
  }
  packed_strides(&site->outputs[0], strides);
  if (dense || !is_readable(&site->outputs[0], false)) cpu_anchor_stage_result(anchor, strides);

  int operand_count = site_input_count(site) - node->input_count, rank = site->outputs[0].rank;
  Product product = {.rank = rank, .count = OPERANDS + operand_count};
  product.tensors = arena_array(arena, TensorDesc, product.count);
  for (int i = A; i <= B; i++) product.tensors[i] = at_rank(&anchor->inputs[i], rank, false);
  product.tensors[Y] = at_rank(&anchor->y, rank, false);
  for (int i = 0; i < operand_count; i++)
    product.tensors[OPERANDS + i] = at_rank(&site->inputs[node->input_count + i], rank, true);
  if (!counts_places(site->epilogue)) merge_all(&product);
  for (int i = A; i <= Y; i++) tidy(&product.tensors[i]);
  for (int i = A; i <= B; i++) anchor->inputs[i] = product.tensors[i];
  anchor->y = product.tensors[Y];
  cpu_anchor_source(anchor, product.rank - 1);
  anchor->source.operands = product.tensors + OPERANDS;
  anchor->source.bias_rank = product.rank;
  *pack = constant;
  OnednnOperation operation = {.kind = ONEDNN_MATMUL,
                               .x = onednn_tensor(&anchor->inputs[A]),
                               .weights = onednn_tensor(&anchor->inputs[B]),
                               .y = onednn_tensor(&anchor->y)};
  operation.weights.any = constant;
  return cpu_anchor_describe(anchor, &operation, fast);
}

static Status open_state(const HostParameters *parameters, Arena *arena, ThreadPool *pool, void **state,
                         size_t *workspace_bytes) {
  const Site *site = parameters->site;
  CpuAnchor *anchor;
  bool pack, fast;
  TRY(prepare_product(site, arena, pool, false, &anchor, &pack, &fast));
  if (!fast) TRY(prepare_product(site, arena, pool, true, &anchor, &pack, &fast));
  if (!anchor->one->part_count) FAIL(ERROR_UNSUPPORTED, "oneDNN has no matrix product for '%s'", site->node->outputs[0]->name);
  OnednnTensor plain = onednn_tensor(&anchor->inputs[B]);
  *state = anchor;
  return cpu_anchor_finish(anchor, pack ? &plain : NULL, workspace_bytes);
}

static const HostRoutine routine = {"onednn_matmul", open_state, cpu_anchor_run};

const Implementation cpu_matmul = {
    .name = "onednn_matmul",
    .backend = BACKEND_CPU,
    .op = &op_matmul,
    .library = LIBRARY_ONEDNN,
    .supports = supports,
    .ways = one_way,
    .share = 0.6,
    .host = &routine,
};
