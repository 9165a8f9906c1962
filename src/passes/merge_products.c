// Products of one operand with constant matrices, and with the same to be done behind, are one product with all their columns, of which each result is a slice: one launch
// instead of three for the queries, keys and values of an attention, and more columns for the multiprocessors of a GPU that one product does not fill. So are convolutions of
// one image with the same windows, as the branches of an inception block begin with: their filters are the columns. No tile is wider for it than the widest of them has anyway, the image is read
// once, and of what they make readers find each pixel's slice on whole sectors.
//
// Results must be read through views, or by what reads slices where they lie: products by products, images by convolutions, pools and concatenations. Whatever else reads one would be fused behind it
// if it stayed alone.
#include <string.h>

#include "kernels/conv/conv.h"
#include "kernels/gather/gather.h"
#include "kernels/matmul/matmul.h"
#include "kernels/meaning.h"
#include "kernels/pool/pool.h"
#include "kernels/view/view.h"
#include "kernels/control/region.h"
#include "passes/fused_region.h"
#include "passes/programs.h"

enum { MOST_PRODUCTS = 16, ALIGNED = 8 };  // columns: a slice begins where vectors may

typedef struct Product {
  Node *node;
  Fused fused;
  int axis;  // of its columns in the result
} Product;

typedef struct Products {
  Product items[MOST_PRODUCTS];  // in order
  int count;
  int64_t columns;  // of all
} Products;

static bool is_conv(const Product *product) { return product->fused.anchor->op == &op_conv; }

// The axis of the columns in an operand, of which the first is the weights.
static int axis_in(const Product *product, int operand) {
  if (operand == 1) return is_conv(product) ? 0 : 1;
  return product->axis - (product->node->outputs[0]->rank - fused_operand(&product->fused, operand)->rank);
}

static int64_t columns_of(const Product *product) {
  return fused_operand(&product->fused, 1)->constant->dims[axis_in(product, 1)];
}

// One number for each column.
static bool is_by_column(const Product *product, int operand) {
  const Value *value = fused_operand(&product->fused, operand);
  int axis = value && value->constant ? axis_in(product, operand) : -1;
  return axis >= 0 && value->constant->dims[axis] == columns_of(product) &&
         tensor_count(value->constant) == columns_of(product);
}

static bool reads_in_place(const Node *reader, bool image) {
  const OpDef *op = fused_anchor(reader)->op;
  if (reader->op->view) return true;
  return image ? op == &op_conv || op == &op_pool || op == &op_concat : op == &op_matmul;
}

static bool is_read_in_place(const Value *value, bool image) {
  for (const Use *use = value->uses; use; use = use->next)
    if (!reads_in_place(use->node, image)) return false;
  return value->uses && !value->is_output;
}

static bool is_plain(const Fused *fused) {
  const Value *weights = fused->anchor->input_count == 2 ? fused_operand(fused, 1) : NULL;
  if (!weights || !weights->constant) return false;
  return fused->anchor->op == &op_conv ? node_int(fused->anchor, "group", 1) == 1 : weights->rank == 2;
}

static bool may_merge(Node *node, Arena *scratch, Product *out) {
  const Value *y = node->outputs[0];
  out->node = node;
  fused_read(node, scratch, &out->fused);
  const Fused *fused = &out->fused;
  bool image = is_conv(out);
  if ((!image && fused->anchor->op != &op_matmul) || !is_plain(fused) || y->rank < 2) return false;
  out->axis = image ? 1 : y->rank - 1;
  if (image && y->order[y->rank - 1] != out->axis) return false;
  int64_t columns = columns_of(out);
  if (!columns || columns % ALIGNED || !is_read_in_place(y, image)) return false;
  for (int i = 2; i < fused->operand_count; i++)
    if (!is_by_column(out, i)) return false;
  return !fused->program || !reads_coordinates(fused->program);
}

static bool same_type(const Value *a, const Value *b) { return a->dtype == b->dtype && a->rank == b->rank; }

// All extents but that of the columns.
static bool same_windows(const Product *a, const Product *b) {
  const Tensor *one = fused_operand(&a->fused, 1)->constant, *other = fused_operand(&b->fused, 1)->constant;
  for (int i = 0; i < one->rank; i++)
    if (i != axis_in(a, 1) && one->dims[i] != other->dims[i]) return false;
  return true;
}

// Whether the two do the same with columns of their own.
static bool are_alike(const Product *first, const Product *second) {
  const Fused *a = &first->fused, *b = &second->fused;
  if (fused_operand(a, 0) != fused_operand(b, 0) || a->operand_count != b->operand_count || !a->program != !b->program)
    return false;
  if (a->program && !program_equal(a->program, b->program)) return false;
  if (!same_type(a->node->outputs[0], b->node->outputs[0])) return false;
  if (!node_work_equal(a->anchor, b->anchor)) return false;
  for (int i = 1; i < a->operand_count; i++)
    if (!same_type(fused_operand(a, i), fused_operand(b, i))) return false;
  return same_windows(first, second);
}

// Where it should stand among the others: what begins a concatenation last, what ends one first, so that it lies there and in the concatenation too (lower/lines.h).
static int rank_of(const Product *product) {
  const Node *reader = only_user(product->node->outputs[0]);
  if (!is_conv(product) || !reader || reader->op != &op_concat) return 1;
  if (reader->inputs[0] == product->node->outputs[0]) return 2;
  return reader->inputs[reader->input_count - 1] == product->node->outputs[0] ? 0 : 1;
}

static bool stands_before(const Product *a, const Product *b) {
  int rank = rank_of(a), other = rank_of(b);
  return rank != other ? rank < other : node_is_before(a->node, b->node);
}

static void insert(Products *p, const Product *product) {
  int at = p->count++;
  for (; at && stands_before(product, &p->items[at - 1]); at--) p->items[at] = p->items[at - 1];
  p->items[at] = *product;
  p->columns += columns_of(product);
}

static bool is_first(const Products *p, const Node *node) {
  for (int i = 0; i < p->count; i++)
    if (node_is_before(p->items[i].node, node)) return false;
  return true;
}

static bool is_there(const Products *p, const Node *node) {
  for (int i = 0; i < p->count; i++)
    if (p->items[i].node == node) return true;
  return false;
}

// Those like the root; false where they are too many.
static bool find_alike(const Product *root, Products *p, Arena *scratch) {
  Product other;
  for (const Use *use = fused_operand(&root->fused, 0)->uses; use; use = use->next) {
    if (is_there(p, use->node) || !may_merge(use->node, scratch, &other) || !are_alike(root, &other)) continue;
    if (p->count == MOST_PRODUCTS) return false;
    insert(p, &other);
  }
  return true;
}

// Their operands side by side along the axis of the columns.
static Status join_constants(const Products *p, int operand, Graph *graph, Value **out) {
  const Value *first = fused_operand(&p->items[0].fused, operand);
  const Tensor *like = first->constant;
  int axis = axis_in(&p->items[0], operand);
  int64_t dims[MAX_RANK], rows = dims_count(axis, like->dims);
  memcpy(dims, like->dims, sizeof dims);
  dims[axis] = p->columns;
  Tensor joined;
  TRY(tensor_new(graph->arena, like->dtype, like->rank, dims, &joined));
  size_t each = (size_t)dims_count(like->rank - axis - 1, like->dims + axis + 1) * dtype_size(like->dtype);
  char *to = joined.data;
  for (int64_t row = 0; row < rows; row++)
    for (int i = 0; i < p->count; i++) {
      const Tensor *part = fused_operand(&p->items[i].fused, operand)->constant;
      size_t bytes = (size_t)columns_of(&p->items[i]) * each;
      memcpy(to, (const char *)part->data + (size_t)row * bytes, bytes);
      to += bytes;
    }
  *out = graph_add_constant(graph, first->name, &joined);
  memcpy((*out)->order, first->order, sizeof first->order);
  return OK;
}

// Like the first, with the columns of all.
static Status add_merged(Rewrite *r, const Products *p, Node **out) {
  const Fused *first = &p->items[0].fused;
  Value *operands[FUSED_OPERANDS + 2] = {fused_operand(first, 0)};
  for (int i = 1; i < first->operand_count; i++) TRY(join_constants(p, i, rewrite_graph(r), &operands[i]));
  FusedParts parts = {.anchor = first->anchor, .operands = operands, .reads = operands + 2, .result = first->node->outputs[0]};
  if (first->program) {
    parts.program = program_copy(rewrite_graph(r)->arena, first->program);
    parts.behind = region_body(first->node)->last;
    return add_fused(r, &parts, out);
  }
  *out = rewrite_like(r, p->items[0].node);
  node_set_input(*out, 1, operands[1]);
  return OK;
}

// The columns from `first` on that were the product's take the place of its result.
static Status replace_by_slice(Rewrite *r, Value *all, int64_t first, const Product *product) {
  Value *was = product->node->outputs[0];
  DimTable *table = rewrite_graph(r)->dims;
  Dim starts[MAX_RANK], dims[MAX_RANK];
  int64_t steps[MAX_RANK];
  for (int i = 0; i < was->rank; i++) {
    starts[i] = dim_constant(table, i == product->axis ? first : 0);
    dims[i] = was->dims[i];
    steps[i] = 1;
  }
  Node *slice = rewrite_add(r, &op_slice, 1, &all, 1);
  node_set_dims(slice, "starts", starts, was->rank);
  node_set_ints(slice, "steps", steps, was->rank);
  node_set_dims(slice, "dims", dims, was->rank);
  return rewrite_values_by(r, &was, slice);
}

static Status merge(Rewrite *r) {
  Product root;
  Products p = {0};
  WANT(!rewrite_options(r)->in_region, "it is part of a region");
  WANT(may_merge(matched(r, "root"), rewrite_scratch(r), &root),
       "it is no product with a constant, and constants by column behind it, whose result is read where it lies");
  WANT(find_alike(&root, &p, rewrite_scratch(r)) && p.count > 1, "nothing like it, or too much, reads what it reads");
  WANT(is_first(&p, root.node), "another one comes first");
  Node *merged;
  TRY(add_merged(r, &p, &merged));
  TRY(node_infer(merged));
  memcpy(merged->outputs[0]->order, root.node->outputs[0]->order, sizeof merged->outputs[0]->order);
  for (int i = 0; i < p.count; i++) rewrite_cover(r, p.items[i].node);
  int64_t first = 0;
  for (int i = 0; i < p.count; i++) {
    TRY(replace_by_slice(r, merged->outputs[0], first, &p.items[i]));
    first += columns_of(&p.items[i]);
  }
  return OK;
}

static bool is_product(const Node *node) { return fused_anchor(node)->op == &op_matmul; }
static bool is_convolution(const Node *node) { return fused_anchor(node)->op == &op_conv; }

static const Rule rule_merge_products = {
    .name = "merge_products",
    .help = "products of one operand with constant matrices are one, of which each result is a slice",
    .pattern = "matmul|region(...)",
    .exactness = EXACT,
    .device = CUDA_ONLY,
    .root = is_product,
    .tells_misses = true,
    .apply = merge};
static const Rule rule_merge_convs = {
    .name = "merge_convs",
    .help = "convolutions of one image with the same windows are one, of which each result is a slice",
    .pattern = "conv|region(...)",
    .exactness = EXACT,
    .device = CUDA_ONLY,
    .root = is_convolution,
    .tells_misses = true,
    .apply = merge};

const Pass pass_merge_products = {.name = "merge_products",
                                  .help = "makes one product of those that read the same",
                                  .rules = (const Rule *const[]){&rule_merge_products, &rule_merge_convs, NULL}};
