// Products of one operand with constant matrices, and with the same to be done behind, are one product with all their columns, of which each result is a slice: one launch
// instead of three for the queries, keys and values of an attention, and more columns for the multiprocessors of a GPU that one product does not fill.
//
// Results must be read through views, or by products, which read slices where they lie; whatever else reads one would be fused behind it if it stayed alone.
#include <string.h>

#include "kernels/matmul/matmul.h"
#include "kernels/view/view.h"
#include "passes/programs.h"
#include "passes/rule.h"

enum { MOST_PRODUCTS = 16, ALIGNED = 8 };  // columns: a slice begins where vectors may

typedef struct Products {
  Node *nodes[MOST_PRODUCTS];  // in order
  int count;
  int64_t columns;  // of all
} Products;

static int64_t columns_of(const Node *node) { return node->inputs[1]->constant->dims[1]; }

// One number for each column.
static bool is_by_column(const Value *value, int64_t columns) {
  if (!value->constant || !value->rank || value->constant->dims[value->rank - 1] != columns) return false;
  return tensor_count(value->constant) == columns;
}

static bool is_read_in_place(const Value *value) {
  for (const Use *use = value->uses; use; use = use->next)
    if (!use->node->op->view && use->node->op != &op_matmul) return false;
  return value->uses && !value->is_output;
}

static bool may_merge(const Node *node) {
  const Value *weights = node->inputs[1];
  if (node->op != &op_matmul || node_operand_count(node) != 2 || !weights->constant || weights->rank != 2) return false;
  int64_t columns = columns_of(node);
  if (!columns || columns % ALIGNED || node->outputs[0]->rank < 2 || !is_read_in_place(node->outputs[0])) return false;
  for (int i = 2; i < node->input_count; i++)
    if (!node->inputs[i] || !is_by_column(node->inputs[i], columns)) return false;
  return !node->epilogue || !reads_coordinates(node->epilogue);
}

static bool same_type(const Value *a, const Value *b) { return a->dtype == b->dtype && a->rank == b->rank; }

// Whether the two do the same with columns of their own.
static bool are_alike(const Node *a, const Node *b) {
  if (a->inputs[0] != b->inputs[0] || a->input_count != b->input_count || !a->epilogue != !b->epilogue) return false;
  if (a->epilogue && !program_equal(a->epilogue, b->epilogue)) return false;
  if (!same_type(a->outputs[0], b->outputs[0]) || node_int(a, "dtype", -1) != node_int(b, "dtype", -1)) return false;
  for (int i = 1; i < a->input_count; i++)
    if (!same_type(a->inputs[i], b->inputs[i])) return false;
  return true;
}

static void insert(Products *p, Node *node) {
  int at = p->count++;
  for (; at && node_is_before(node, p->nodes[at - 1]); at--) p->nodes[at] = p->nodes[at - 1];
  p->nodes[at] = node;
  p->columns += columns_of(node);
}

// Those like the root; false where they are too many.
static bool find_alike(Node *root, Products *p) {
  for (const Use *use = root->inputs[0]->uses; use; use = use->next) {
    if (use->index != 0 || !may_merge(use->node) || !are_alike(root, use->node)) continue;
    if (p->count == MOST_PRODUCTS) return false;
    insert(p, use->node);
  }
  return true;
}

// Their operands side by side along the last axis.
static Status join_constants(const Products *p, int input, Graph *graph, Value **out) {
  const Tensor *first = p->nodes[0]->inputs[input]->constant;
  int64_t dims[MAX_RANK], columns = first->dims[first->rank - 1];
  memcpy(dims, first->dims, sizeof dims);
  dims[first->rank - 1] = p->columns;
  Tensor joined;
  TRY(tensor_new(graph->arena, first->dtype, first->rank, dims, &joined));
  int64_t rows = tensor_count(first) / columns;
  size_t size = dtype_size(first->dtype);
  char *to = joined.data;
  for (int64_t row = 0; row < rows; row++)
    for (int i = 0; i < p->count; i++) {
      size_t bytes = (size_t)columns_of(p->nodes[i]) * size;
      memcpy(to, (const char *)p->nodes[i]->inputs[input]->constant->data + (size_t)row * bytes, bytes);
      to += bytes;
    }
  *out = graph_add_constant(graph, p->nodes[0]->inputs[input]->name, &joined);
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
  Node *root = matched(r, "root");
  Products p = {0};
  WANT(may_merge(root),
       "it is no product with a matrix, and constants by column behind it, whose result is read where it lies");
  WANT(find_alike(root, &p) && p.count > 1, "no product like it, or too many, read what it reads");
  WANT(p.nodes[0] == root, "another one comes first");
  Node *merged = rewrite_like(r, root);
  for (int i = 1; i < root->input_count; i++) {
    Value *joined;
    TRY(join_constants(&p, i, rewrite_graph(r), &joined));
    node_set_input(merged, i, joined);
  }
  TRY(node_infer(merged));
  for (int i = 0; i < p.count; i++) rewrite_cover(r, p.nodes[i]);
  int64_t first = 0;
  for (int i = 0; i < p.count; i++) {
    int64_t columns = columns_of(p.nodes[i]);
    TRY(replace_by_slice(r, merged->outputs[0], first, p.nodes[i]));
    first += columns;
  }
  return OK;
}

static const Rule rule_merge_products = {
    .name = "merge_products",
    .help = "products of one operand with constant matrices are one, of which each result is a slice",
    .pattern = "matmul(x, #w, ...)",
    .exactness = EXACT,
    .device = CUDA_ONLY,
    .tells_misses = true,
    .apply = merge_products};

const Pass pass_merge_products = {.name = "merge_products",
                                  .help = "makes one product of those that read the same",
                                  .rules = (const Rule *const[]){&rule_merge_products, NULL}};
