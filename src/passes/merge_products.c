// Products of one operand with constant matrices, and with the same to be done behind, are one product with all their columns, of which each result is a slice: one launch
// instead of three for the queries, keys and values of an attention, and more columns for the multiprocessors of a GPU that one product does not fill.
//
// Results must be read through views, or by products, which read slices where they lie; whatever else reads one would be fused behind it if it stayed alone.
#include <string.h>

#include "kernels/matmul/matmul.h"
#include "kernels/view/view.h"
#include "kernels/control/region.h"
#include "passes/fused_region.h"
#include "passes/programs.h"

enum { MOST_PRODUCTS = 16, ALIGNED = 8 };  // columns: a slice begins where vectors may

typedef struct Product {
  Node *node;
  Fused fused;
} Product;

typedef struct Products {
  Product items[MOST_PRODUCTS];  // in order
  int count;
  int64_t columns;  // of all
} Products;

static int64_t columns_of(const Product *product) { return fused_operand(&product->fused, 1)->constant->dims[1]; }

// One number for each column.
static bool is_by_column(const Value *value, int64_t columns) {
  if (!value || !value->constant || !value->rank || value->constant->dims[value->rank - 1] != columns) return false;
  return tensor_count(value->constant) == columns;
}

static bool is_read_in_place(const Value *value) {
  for (const Use *use = value->uses; use; use = use->next)
    if (!use->node->op->view && fused_anchor(use->node)->op != &op_matmul) return false;
  return value->uses && !value->is_output;
}

static bool may_merge(Node *node, Arena *scratch, Product *out) {
  out->node = node;
  fused_read(node, scratch, &out->fused);
  const Fused *fused = &out->fused;
  if (fused->anchor->op != &op_matmul || fused->anchor->input_count != 2) return false;
  const Value *weights = fused_operand(fused, 1);
  if (!weights->constant || weights->rank != 2) return false;
  int64_t columns = columns_of(out);
  if (!columns || columns % ALIGNED || node->outputs[0]->rank < 2 || !is_read_in_place(node->outputs[0])) return false;
  for (int i = 2; i < fused->operand_count; i++)
    if (!is_by_column(fused_operand(fused, i), columns)) return false;
  return !fused->program || !reads_coordinates(fused->program);
}

static bool same_type(const Value *a, const Value *b) { return a->dtype == b->dtype && a->rank == b->rank; }

// Whether the two do the same with columns of their own.
static bool are_alike(const Fused *a, const Fused *b) {
  if (fused_operand(a, 0) != fused_operand(b, 0) || a->operand_count != b->operand_count || !a->program != !b->program)
    return false;
  if (a->program && !program_equal(a->program, b->program)) return false;
  if (!same_type(a->node->outputs[0], b->node->outputs[0])) return false;
  if (node_int(a->anchor, "dtype", -1) != node_int(b->anchor, "dtype", -1)) return false;
  for (int i = 1; i < a->operand_count; i++)
    if (!same_type(fused_operand(a, i), fused_operand(b, i))) return false;
  return true;
}

static void insert(Products *p, const Product *product) {
  int at = p->count++;
  for (; at && node_is_before(product->node, p->items[at - 1].node); at--) p->items[at] = p->items[at - 1];
  p->items[at] = *product;
  p->columns += columns_of(product);
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
    if (is_there(p, use->node) || !may_merge(use->node, scratch, &other) || !are_alike(&root->fused, &other.fused)) continue;
    if (p->count == MOST_PRODUCTS) return false;
    insert(p, &other);
  }
  return true;
}

// Their operands side by side along the last axis.
static Status join_constants(const Products *p, int operand, Graph *graph, Value **out) {
  const Value *first = fused_operand(&p->items[0].fused, operand);
  const Tensor *like = first->constant;
  int64_t dims[MAX_RANK], columns = like->dims[like->rank - 1];
  memcpy(dims, like->dims, sizeof dims);
  dims[like->rank - 1] = p->columns;
  Tensor joined;
  TRY(tensor_new(graph->arena, like->dtype, like->rank, dims, &joined));
  int64_t rows = tensor_count(like) / columns;
  size_t size = dtype_size(like->dtype);
  char *to = joined.data;
  for (int64_t row = 0; row < rows; row++)
    for (int i = 0; i < p->count; i++) {
      const Tensor *part = fused_operand(&p->items[i].fused, operand)->constant;
      size_t bytes = (size_t)columns_of(&p->items[i]) * size;
      memcpy(to, (const char *)part->data + (size_t)row * bytes, bytes);
      to += bytes;
    }
  *out = graph_add_constant(graph, first->name, &joined);
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

// The columns from `first` on that were the node's take the place of its result.
static Status replace_by_slice(Rewrite *r, Value *all, int64_t first, Node *node) {
  Value *was = node->outputs[0];
  DimTable *table = rewrite_graph(r)->dims;
  Dim starts[MAX_RANK], dims[MAX_RANK];
  int64_t steps[MAX_RANK];
  for (int i = 0; i < was->rank; i++) {
    bool last = i == was->rank - 1;
    starts[i] = dim_constant(table, last ? first : 0);
    dims[i] = was->dims[i];
    steps[i] = 1;
  }
  Node *slice = rewrite_add(r, &op_slice, 1, &all, 1);
  node_set_dims(slice, "starts", starts, was->rank);
  node_set_ints(slice, "steps", steps, was->rank);
  node_set_dims(slice, "dims", dims, was->rank);
  return rewrite_values_by(r, &was, slice);
}

static Status merge_products(Rewrite *r) {
  Product root;
  Products p = {0};
  WANT(!rewrite_options(r)->in_region, "it is part of a region");
  WANT(may_merge(matched(r, "root"), rewrite_scratch(r), &root),
       "it is no product with a matrix, and constants by column behind it, whose result is read where it lies");
  WANT(find_alike(&root, &p, rewrite_scratch(r)) && p.count > 1, "no product like it, or too many, read what it reads");
  WANT(p.items[0].node == root.node, "another one comes first");
  Node *merged;
  TRY(add_merged(r, &p, &merged));
  TRY(node_infer(merged));
  for (int i = 0; i < p.count; i++) rewrite_cover(r, p.items[i].node);
  int64_t first = 0;
  for (int i = 0; i < p.count; i++) {
    TRY(replace_by_slice(r, merged->outputs[0], first, p.items[i].node));
    first += columns_of(&p.items[i]);
  }
  return OK;
}

static bool is_product(const Node *node) { return fused_anchor(node)->op == &op_matmul; }

static const Rule rule_merge_products = {
    .name = "merge_products",
    .help = "products of one operand with constant matrices are one, of which each result is a slice",
    .pattern = "matmul|region(...)",
    .exactness = EXACT,
    .device = CUDA_ONLY,
    .root = is_product,
    .tells_misses = true,
    .apply = merge_products};

const Pass pass_merge_products = {.name = "merge_products",
                                  .help = "makes one product of those that read the same",
                                  .rules = (const Rule *const[]){&rule_merge_products, NULL}};
