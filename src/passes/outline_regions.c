// What the device computes as one step becomes a region. Here only what it looks like is asked; whether some implementation takes it with the sizes at hand, each plan
// finds out, and takes regions apart that none does.
#include <string.h>

#include "kernels/attention/attention.h"
#include "kernels/conv/conv.h"
#include "kernels/gather/assembly.h"
#include "kernels/gather/gather.h"
#include "kernels/matmul/matmul.h"
#include "kernels/meaning.h"
#include "kernels/tile/prologue_source.h"
#include "kernels/view/view.h"
#include "passes/programs.h"
#include "passes/rule.h"

static bool multiplies_what_is_made(const Node *node) {
  Arena *scratch = arena_scratch();
  Fused fused;
  fused_read(node, scratch, &fused);
  const Value *weights = fused.operand_count ? fused_operand(&fused, 0) : NULL;
  const Node *maker = weights ? weights->producer : NULL;
  arena_free(scratch);
  return maker && (maker->op == &op_rowwise || maker->op == &op_reshape);
}

// What is turned behind it is written as it lies then, if rows stay rows: otherwise a copy would do it.
static void lie_as_turned(Value *value) {
  const Node *user = only_user(value);
  int count = 0;
  const int64_t *perm = user && user->op == &op_transpose ? node_ints(user, "perm", &count) : NULL;
  if (!perm || count != value->rank || perm[count - 1] != count - 1) return;
  for (int i = 0; i < count; i++) value->order[i] = (uint8_t)perm[i];
}

static Status outline_attention(Rewrite *r) {
  Attention attention;
  WANT(!rewrite_options(r)->in_region, "it is part of a region");
  const char *why = attention_read(matched(r, "root"), rewrite_scratch(r), &attention);
  WANT(!why, why);
  WANT(dtype_size(fused_operand(&attention.last, 1)->dtype) == 2, "it is computed in one step in half precision only");
  for (int i = 0; i < attention.node_count; i++)
    WANT(attention.nodes[i] == attention.product || only_user(attention.nodes[i]->outputs[0]),
         "others use what it computes on the way");
  Value *y = attention.product->outputs[0];
  uint8_t order[MAX_RANK];
  memcpy(order, y->order, sizeof order);
  lie_as_turned(y);
  TRY(rewrite_outline(r, attention.nodes, attention.node_count, "attention"));
  if (y->uses) memcpy(y->order, order, sizeof order);  // refused
  return OK;
}

static const Rule rule_attention = {
    .name = "outline_attention",
    .help = "a softmax between two products, in half precision, becomes a region",
    .pattern = "matmul|region(...)",
    .exactness = UNSTORED | FINITE,
    .bound = "scores and weights are not rounded to half precision in between; rows without a weight are 0 times their values",
    .device = CUDA_ONLY,
    .root = multiplies_what_is_made,
    .tells_misses = true,
    .apply = outline_attention};

// A program that its one user, a product or a convolution of single points, could do as the operand comes in.
static bool takes_prologue(const Node *node, Arena *arena) {
  Fused fused;
  fused_read(node, arena, &fused);
  const Node *anchor = fused.anchor;
  if (anchor->op == &op_matmul) return anchor->input_count == 2;
  if (anchor->op != &op_conv || anchor->input_count != 2 || node_int(anchor, "group", 1) != 1) return false;
  const Tensor *filters = fused_operand(&fused, 1)->constant;
  int count = 0;
  const int64_t *pads = node_ints(anchor, "pads", &count);
  for (int i = 0; i < count; i++)
    if (pads[i]) return false;
  for (int i = 2; filters && i < filters->rank; i++)
    if (filters->dims[i] != 1) return false;
  return filters;
}

static const char *refuses_prologue(const Node *front, const Node *root, Arena *arena) {
  enum { MOST_CODE = 16 };
  const Value *made = front->outputs[0];
  bool like_it = false;
  if (!takes_prologue(root, arena)) return "it is no product, and no convolution of single points";
  for (int i = 0; i < front->input_count; i++)
    like_it |= front->inputs[i]->dtype == made->dtype && value_same_shape(front->inputs[i], made);
  if (!dtype_is_float(made->dtype) || dtype_size(made->dtype) != 2) return "it is done in one step in half precision only";
  if (!like_it) return "what it reads has another shape or type";
  const Program *program = node_program(front, "program");
  return program->count > MOST_CODE || reads_coordinates(program) ? "it computes too much, or depends on places" : NULL;
}

static Status outline_prologue(Rewrite *r) {
  Node *nodes[] = {matched(r, "front"), matched(r, "root")};
  WANT(!rewrite_options(r)->in_region, "it is part of a region");
  const char *why = refuses_prologue(nodes[0], nodes[1], rewrite_scratch(r));
  WANT(!why, why);
  return rewrite_outline(r, nodes, 2, "prologue");
}

static const Rule rule_prologue = {
    .name = "outline_prologue",
    .help = "a product, or a convolution of single points, becomes a region with the pointwise node before it",
    .pattern = "conv|matmul|region(front: elementwise(...)!, ...)",
    .exactness = UNSTORED,
    .bound = "the operand is rounded to its type once",
    .device = CUDA_ONLY,
    .tells_misses = true,
    .apply = outline_prologue};

// What an anchor makes is worked on while it is at hand, by the pointwise root; where others want it as it is, it is written too.
static Status outline_behind(Rewrite *r, Node *const *moving, int count, const char *name) {
  Node *anchor = matched(r, "anchor"), *root = matched(r, "root");
  Node **nodes = arena_array(rewrite_scratch(r), Node *, (size_t)count + 1);
  const Value *whole = anchor->outputs[0];
  WANT(!rewrite_options(r)->in_region, "it is part of a region");
  WANT(root->output_count == 1 && value_same_shape(root->outputs[0], whole), "its result has another shape");
  WANT(!memcmp(root->outputs[0]->order, whole->order, sizeof whole->order), "its result lies in another order");
  WANT(!reads_coordinates(node_program(root, "program")), "it depends on places");
  for (int i = 0; i < count; i++) rewrite_cover(r, nodes[i] = moving[i]);
  nodes[count] = root;
  return rewrite_outline(r, nodes, count + 1, name);
}

enum { MOST_MOVING = 16 };

// Concatenations and slices that are there for what follows alone, one upon the other.
typedef struct Moving {
  Node *nodes[MOST_MOVING];
  int count;
} Moving;

static bool is_in(const Moving *moving, const Node *node) {
  for (int i = 0; i < moving->count; i++)
    if (moving->nodes[i] == node) return true;
  return false;
}

static bool serves_only(const Moving *moving, const Value *value) {
  for (const Use *use = value->uses; use; use = use->next)
    if (!is_in(moving, use->node)) return false;
  return !value->is_output;
}

// Adds what makes a concatenation's operands, as long as something is found; slices that are cut from what stays outside stand there as views.
static void add_moving(Moving *moving) {
  for (bool more = true; more;) {
    more = false;
    for (int i = 0; i < moving->count; i++)
      for (int k = 0; k < moving->nodes[i]->input_count && moving->count < MOST_MOVING; k++) {
        Node *before = moving->nodes[i]->inputs[k]->producer;
        if (is_in(moving, before) || !(assembly_joins(before) || assembly_cuts(before))) continue;
        if (!serves_only(moving, before->outputs[0])) continue;
        moving->nodes[moving->count++] = before;
        more = true;
      }
  }
}

static bool ends_outside(const void *context, const Value *value) { return !is_in(context, value->producer); }

// What stands in front of a concatenation and goes into one step with it: other concatenations with what cuts them up. Where there is none, it stands alone.
static bool find_moving(Node *concat, Moving *moving) {
  AssemblyBox boxes[MOST_BOXES];
  bool joins = false;
  *moving = (Moving){{concat}, 1};
  if (!assembly_joins(concat)) return false;
  add_moving(moving);
  for (int i = 1; i < moving->count; i++) joins |= moving->nodes[i]->op == &op_concat;
  if (joins && assembly_boxes(concat->outputs[0], ends_outside, moving, boxes) >= 0) return true;
  moving->count = 1;
  return false;
}

static Status outline_assembly(Rewrite *r) {
  Node *root = matched(r, "root");
  Moving moving;
  WANT(!rewrite_options(r)->in_region, "it is part of a region");
  WANT(find_moving(root, &moving), "no other concatenation makes what it joins, for it alone");
  for (const Use *use = root->outputs[0]->uses; use; use = use->next)
    WANT(use->node->op != &op_elementwise, "a program behind it goes with it");
  for (int i = 1; i < moving.count; i++) rewrite_cover(r, moving.nodes[i]);
  return rewrite_outline(r, moving.nodes, moving.count, "assembled");
}

static bool joins_cuts(const Node *node) {
  if (node->op != &op_concat) return false;
  for (int i = 0; i < node->input_count; i++)
    if (assembly_cuts(node->inputs[i]->producer) || assembly_joins(node->inputs[i]->producer)) return true;
  return false;
}

static const Rule rule_assembly = {
    .name = "outline_assembly",
    .help = "concatenations of pieces of concatenations become a region: each piece goes to its place at once",
    .pattern = "concat(...)",
    .exactness = EXACT,
    .device = CUDA_ONLY,
    .root = joins_cuts,
    .tells_misses = true,
    .apply = outline_assembly};

// Whether the one product behind would do the program as its operand comes in, which writes nothing more: by the sizes that are known.
static bool product_does_it(const Node *front, Arena *arena) {
  const Value *made = front->outputs[0];
  const Node *user = only_user(made);
  if (!user || value_use_count(made) != 1 || user->inputs[0] != made || refuses_prologue(front, user, arena)) return false;
  const Value *y = user->outputs[0];
  bool is_conv = fused_anchor(user)->op == &op_conv;
  int64_t k, columns, dims[MAX_RANK];
  if (!dim_get_constant(made->graph->dims, made->dims[is_conv ? 1 : made->rank - 1], &k) ||
      !dim_get_constant(y->graph->dims, y->dims[is_conv ? 1 : y->rank - 1], &columns) || columns == 0)
    return false;
  double rows = value_get_dims(y, dims) ? (double)dims_count(y->rank, dims) / (double)columns : 0;
  return prologue_takes_sizes(k, rows, columns);
}

static Status outline_concat(Rewrite *r) {
  Moving moving;
  find_moving(matched(r, "anchor"), &moving);
  return outline_behind(r, moving.nodes, moving.count, "joined");
}

static const Rule rule_concat = {.name = "outline_concat",
                                 .help = "a concatenation becomes a region with a pointwise node behind it",
                                 .pattern = "elementwise(..., anchor: concat(...), ...)",
                                 .exactness = EXACT,
                                 .device = CUDA_ONLY,
                                 .root = reads_little,
                                 .tells_misses = true,
                                 .apply = outline_concat};

static Status outline_pool(Rewrite *r) {
  const Node *pool = matched(r, "anchor"), *root = matched(r, "root");
  WANT(pool->output_count == 1 && dtype_is_float(pool->outputs[0]->dtype), "it pools integers, or gives out places");
  WANT(!product_does_it(root, rewrite_scratch(r)), "the product behind it does it");
  return outline_behind(r, (Node *[]){matched(r, "anchor")}, 1, "pooled");
}

static const Rule rule_pool = {.name = "outline_pool",
                               .help = "a pool becomes a region with a pointwise node behind it",
                               .pattern = "elementwise(..., anchor: pool(...), ...)",
                               .exactness = UNSTORED,
                               .bound = "the pool's result is not rounded to half precision before the program",
                               .device = CUDA_ONLY,
                               .root = reads_little,
                               .tells_misses = true,
                               .apply = outline_pool};

const Pass pass_outline_prologues = {.name = "outline_prologues",
                                     .help = "gives anchors the pointwise nodes before them",
                                     .rules = (const Rule *const[]){&rule_prologue, NULL}};
const Pass pass_outline_regions = {
    .name = "outline_regions",
    .help = "makes a region of what one step computes",
    .rules = (const Rule *const[]){&rule_attention, &rule_assembly, &rule_concat, &rule_pool, NULL}};
