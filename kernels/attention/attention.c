// See attention.h.
#include "kernels/attention/attention.h"

#include "base/checked.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/matmul/matmul.h"
#include "kernels/rowwise/rowwise.h"
#include "kernels/view/view.h"

enum { ATTENTION_LOOKS = 300 };

#define WANT(condition, why) \
  if (!(condition)) return why

static bool is_number(DType dtype) { return dtype == DTYPE_F16 || dtype == DTYPE_BF16 || dtype == DTYPE_F32; }

static const Instruction *code_of(const Program *program, int number) { return &program->code[number]; }

static bool is_op(const Program *program, int number, Opcode op) {
  return code_of(program, number)->op == op && is_number(code_of(program, number)->dtype);
}

// ---- The softmax

// number: what a row's weights are; moves on to the weights themselves where NaN among them is made 0.
static bool skip_guard(const Program *p, int *number) {
  const Instruction *select = code_of(p, *number);
  if (select->op != OP_select) return false;
  const Instruction *test = code_of(p, select->args[0]), *zero = code_of(p, select->args[1]);
  if (test->op != OP_isnan || test->args[0] != select->args[2] || zero->op != OP_const || zero->number != 0) return false;
  *number = select->args[2];
  return true;
}

// exp(x - max x) / sum(exp(x - max x)): gives the number of x.
static const char *read_softmax(const Program *p, int *x, bool *zero_nan) {
  WANT(p->output_count == 1, "its softmax gives several results");
  int number = p->outputs[0];
  if (is_op(p, number, OP_cast)) number = code_of(p, number)->args[0];
  *zero_nan = skip_guard(p, &number);
  WANT(is_op(p, number, OP_div), "what is between its products is no softmax");
  int weight = code_of(p, number)->args[0], sum = code_of(p, number)->args[1];
  WANT(is_op(p, weight, OP_exp) && is_op(p, sum, OP_reduce_sum) && code_of(p, sum)->args[0] == weight,
       "what is between its products is no softmax");
  int difference = code_of(p, weight)->args[0];
  WANT(is_op(p, difference, OP_sub), "its softmax does not subtract the maximum");
  int most = code_of(p, difference)->args[1];
  *x = code_of(p, difference)->args[0];
  WANT(is_op(p, most, OP_reduce_max) && code_of(p, most)->args[0] == *x, "its softmax does not subtract the maximum");
  return NULL;
}

static bool is_along_last_axis(const Node *node) {
  int count;
  const int64_t *axes = node_ints(node, "axes", &count);
  return count == 1 && axes[0] == node->outputs[0]->rank - 1;
}

// ---- What stands between

// Whether the value has all elements of another that it broadcasts to.
static bool fills(const Value *value, const Value *whole) {
  int more = whole->rank - value->rank;
  if (more < 0) return false;
  for (int i = 0; i < whole->rank; i++) {
    int64_t size;
    if (i < more ? !dim_get_constant(whole->graph->dims, whole->dims[i], &size) || size != 1
                 : whole->dims[i] != value->dims[i - more])
      return false;
  }
  return true;
}

// Nodes are only counted while there is room: one more than that is too many.
static void take_node(Attention *a, Node *node) {
  if (a->node_count < ATTENTION_NODES) a->nodes[a->node_count] = node;
  a->node_count++;
}

static bool regroups_batch(const Node *node) {
  if (node->op != &op_reshape) return false;
  const Value *from = node->inputs[0], *to = node->outputs[0];
  return from->rank >= 2 && to->rank >= 2 && from->dims[from->rank - 2] == to->dims[to->rank - 2] &&
         from->dims[from->rank - 1] == to->dims[to->rank - 1];
}

// What makes the value, views that only regroup batch axes aside.
static Node *maker_of(const Value *value) {
  while (value->producer && regroups_batch(value->producer)) value = value->producer->inputs[0];
  return value->producer;
}

static void take_views(Attention *a, const Value *value) {
  for (; value->producer && regroups_batch(value->producer); value = value->producer->inputs[0]) take_node(a, value->producer);
}

static bool is_pointwise(const Node *node) { return node->op == &op_elementwise && node->output_count == 1; }

static bool is_product(const Node *node) { return fused_anchor(node)->op == &op_matmul; }

static int find_product(const Node *node, int depth, int *looks) {
  for (int i = 0; i < node->input_count; i++) {
    const Value *value = node->inputs[i];
    if (!fills(value, node->outputs[0])) continue;
    const Node *maker = maker_of(value);
    if (!maker) continue;
    if (is_product(maker)) return i;
    if (is_pointwise(maker) && depth < ATTENTION_NODES && --*looks > 0 && find_product(maker, depth + 1, looks) >= 0) return i;
  }
  return -1;
}

// The operand of a node that leads back to a product over pointwise nodes of its size; -1: none does. Nodes that read several others which read the same ones
// have more ways back than could be gone, so only so many nodes are looked at.
static int product_operand(const Node *node) {
  int looks = ATTENTION_LOOKS;
  return find_product(node, 0, &looks);
}

// Counts places along the axes of the softmax. Views regroup batch axes alone: a matrix' own are the last two of each.
static bool count_as_softmax(Program *program, int rank, int softmax_rank) {
  for (int i = 0; i < program->count; i++) {
    Instruction *code = &program->code[i];
    if (rank == softmax_rank || (code->op != OP_index && code->op != OP_extent)) continue;
    if (code->args[0] < rank - 2) return false;
    code->args[0] += softmax_rank - rank;
  }
  return true;
}

// Puts a program in front of the score, whose input `sum` it makes of its own input `from`. What its result would be rounded to is not stored.
static const char *prepend(Attention *a, int sum, const Node *node, const Program *program, int from, Value *const *operands) {
  Program *score = a->score, *before = program_copy(score->arena, program);
  WANT(before->output_count == 1, "what its softmax takes is one of several results");
  WANT(count_as_softmax(before, node->outputs[0]->rank, a->softmax->outputs[0]->rank),
       "its places are counted in several ways");
  int result = before->outputs[0], map[ATTENTION_INPUTS], count = score->input_count;
  if (is_op(before, result, OP_cast)) before->outputs[0] = code_of(before, result)->args[0];
  WANT(count + before->input_count - 1 <= ATTENTION_INPUTS, "it has too many operands");
  for (int i = 0; i < before->input_count; i++) {
    map[i] = i == from ? sum : count++;
    if (i != from) a->inputs[map[i]] = (AttentionInput){operands[i], node->outputs[0]};
  }
  score->input_count = count;
  program_inline(score, sum, before, 0, map);
  return NULL;
}

static const char *prepend_epilogue(Attention *a, int sum) {
  const Fused *first = &a->first;
  Value *operands[FUSED_OPERANDS + 1] = {NULL};
  for (int i = 1; i < first->program->input_count; i++) operands[i] = fused_operand(first, first->anchor->input_count + i - 1);
  return prepend(a, sum, first->node, first->program, 0, operands);
}

// From the value that the score takes as its input `sum`, back to the product.
static const char *read_sums(Attention *a, int sum, const Value *value, Arena *arena) {
  const char *why = NULL;
  for (;;) {
    Node *node = maker_of(value);
    take_views(a, value);
    take_node(a, node);
    if (is_product(node)) {
      a->scores = node;
      return fused_read(node, arena, &a->first) ? prepend_epilogue(a, sum) : NULL;
    }
    int from = product_operand(node);
    why = prepend(a, sum, node, node_program(node, "program"), from, node->inputs);
    if (why) return why;
    value = node->inputs[from];
  }
}

// The program of what the softmax takes, from the sums of the first product on.
static const char *read_score(Attention *a, Arena *arena) {
  const Node *softmax = a->softmax;
  int from = product_operand(softmax);
  WANT(from >= 0, "its softmax takes no product");
  Program *score = a->score = program_copy(arena, node_program(softmax, "program"));
  int x, *used = arena_array(arena, int, (size_t)MAX(score->input_count, softmax->input_count) + 1);
  for (int i = score->input_count; i < softmax->input_count; i++) used[i] = -1;  // there, but not read
  const char *why = read_softmax(score, &x, &a->zero_nan);
  if (why) return why;
  score->outputs[0] = x;
  WANT(program_prune(score, used) <= ATTENTION_INPUTS, "it has too many operands");
  WANT(!program_has_reduction(score) && used[from] >= 0, "what its softmax takes is reduced, or no product");
  for (int i = 0; i < softmax->input_count; i++)
    if (used[i] >= 0 && i != from) a->inputs[used[i]] = (AttentionInput){softmax->inputs[i], softmax->outputs[0]};
  return read_sums(a, used[from], softmax->inputs[from], arena);
}

static bool is_plain_product(const Fused *fused) {
  return fused->anchor->op == &op_matmul && fused->anchor->input_count == 2 && fused_operand(fused, 0)->rank >= 2 &&
         fused_operand(fused, 1)->rank >= 2;
}

const char *attention_read(Node *product, Arena *arena, Attention *out) {
  *out = (Attention){.product = product};
  fused_read(product, arena, &out->last);
  WANT(is_plain_product(&out->last), "it does not end in a product");
  const Value *weights = fused_operand(&out->last, 0), *y = product->outputs[0];
  Node *softmax = out->softmax = maker_of(weights);
  WANT(softmax && softmax->op == &op_rowwise && softmax->output_count == 1 && is_along_last_axis(softmax),
       "no softmax along the last axis makes its second product's first operand");
  WANT(weights->rank == y->rank, "its values have more batch axes");
  for (int i = 0; i + 1 < y->rank; i++) WANT(weights->dims[i] == y->dims[i], "its values have more batch axes");
  take_node(out, product);
  take_views(out, weights);
  take_node(out, softmax);
  const char *why = read_score(out, arena);
  if (why) return why;
  WANT(is_plain_product(&out->first), "its first product has zero points");
  DType dtype = fused_operand(&out->first, 0)->dtype;
  WANT(fused_operand(&out->first, 1)->dtype == dtype && fused_operand(&out->last, 1)->dtype == dtype,
       "its operands have different types");
  WANT(out->node_count <= ATTENTION_NODES, "too much stands between its products");
  return NULL;
}
