// See mma_attention.h: from the region's body and its operands to sizes, strides and copies.
#include <string.h>

#include "kernels/attention/mma_attention.h"
#include "kernels/tile/mma_config.h"
#include "kernels/control/region.h"
#include "kernels/matmul/matmul_problem.h"

enum { LARGEST_HEAD = 256 };

bool mma_attention_batch(const Value *value, Walk *walk, int64_t *dims) {
  if (!value_get_dims(value, dims)) return false;
  for (int i = 0; i < value->rank - 2; i++) walk_add(walk, i, dims[i], 1);
  return true;
}

// The operands of one of the two products; what the other one makes has no site, and is not asked for.
static bool read_product(const Site *site, const Graph *body, const Fused *fused, int64_t k, const TensorDesc *result,
                         Operand *a, Operand *b) {
  TensorDesc inputs[2] = {{.absent = true}, {.absent = true}};
  Operand *operands[2] = {a, b};
  for (int i = 0; i < 2; i++) {
    if (!operands[i]) continue;
    operands[i]->input = region_input(body, fused_operand(fused, i));
    if (operands[i]->input < 0) return false;
    inputs[i] = site->inputs[operands[i]->input];
    broadcast_strides(&inputs[i], result->rank, operands[i]->batch);
  }
  const Site product = {.node = fused->anchor, .inputs = inputs, .outputs = result, .device = site->device};
  MatmulProblem p = {.m = result->dims[result->rank - 2], .n = result->dims[result->rank - 1], .k = k};
  if (a) {
    p.a_m = inputs[0].strides[inputs[0].rank - 2], p.a_k = inputs[0].strides[inputs[0].rank - 1];
    memcpy(p.a_batch, a->batch, sizeof p.a_batch);
    a->copy = matmul_a_vector(&product, &p, &a->fast) * (int)dtype_size(inputs[0].dtype);
    a->outer = a->fast ? p.a_m : p.a_k;
  }
  p.b_k = inputs[1].strides[inputs[1].rank - 2], p.b_n = inputs[1].strides[inputs[1].rank - 1];
  memcpy(p.b_batch, b->batch, sizeof p.b_batch);
  b->copy = matmul_b_vector(&product, &p, &b->fast) * (int)dtype_size(inputs[1].dtype);
  b->outer = b->fast ? p.b_n : p.b_k;
  return b->copy && (!a || a->copy);
}

// The second product as if it were alone: of its operands only what its epilogue reads is described.
static bool read_epilogue(const Site *site, const Graph *body, Arena *arena, MmaAttention *out) {
  const Fused *last = &out->a.last;
  TensorDesc *inputs = arena_array(arena, TensorDesc, (size_t)last->operand_count);
  for (int i = last->anchor->input_count; i < last->operand_count; i++) {
    int input = region_input(body, fused_operand(last, i));
    if (input < 0) return false;
    inputs[i] = site->inputs[input];
  }
  out->product = (Site){
      .node = last->anchor, .epilogue = last->program, .inputs = inputs, .outputs = site->outputs, .device = site->device};
  return true;
}

static bool read_sizes(const Site *site, MmaAttention *out, TensorDesc *scores) {
  const TensorDesc *y = &site->outputs[0];
  const Value *sums = out->a.scores->outputs[0], *q = fused_operand(&out->a.first, 0);
  int64_t dims[MAX_RANK];
  *scores = (TensorDesc){.dtype = DTYPE_F32, .rank = sums->rank};
  if (!mma_attention_batch(sums, &out->scores_batch, scores->dims) || !value_get_dims(q, dims)) return false;
  out->m = scores->dims[sums->rank - 2], out->n = scores->dims[sums->rank - 1];
  out->d = dims[q->rank - 1], out->dv = y->dims[y->rank - 1];
  for (int i = 0; i < y->rank - 2; i++) walk_add(&out->output.batch, i, y->dims[i], 1);
  walk_add(&out->output.row, y->rank - 2, out->m, 1);
  walk_add(&out->output.column, y->rank - 1, out->dv, 1);
  out->batch = walk_count(&out->output.batch);
  return out->m > 0 && out->n > 0 && out->d > 0 && out->dv > 0 && out->batch > 0 && out->d <= LARGEST_HEAD &&
         out->dv <= LARGEST_HEAD && out->m <= INT32_MAX && out->n <= INT32_MAX / 2 &&
         out->batch == walk_count(&out->scores_batch) && out->batch <= INT32_MAX / ceil_div(out->m, 16);
}

// Coordinates and sizes are known of rows and columns: batch axes may be regrouped on the way.
static bool score_is_emitted(const MmaAttention *m) {
  const Program *score = m->a.score;
  int rank = m->a.softmax->outputs[0]->rank;
  for (int i = 0; i < score->count; i++)
    if ((score->code[i].op == OP_index || score->code[i].op == OP_extent) && score->code[i].args[0] < rank - 2) return false;
  return true;
}

bool mma_attention_read(const Site *site, Arena *arena, MmaAttention *out) {
  const Graph *body = region_body(site->node);
  if (body->output_count != 1 || !body->outputs[0]->producer) return false;
  *out = (MmaAttention){0};
  if (attention_read(body->outputs[0]->producer, arena, &out->a)) return false;
  int inside = 0;
  FOR_NODES(node, body) inside++;
  TensorDesc scores;
  out->dtype = fused_operand(&out->a.last, 1)->dtype;
  if (inside != out->a.node_count || dtype_size(out->dtype) != 2 || !mma_dtype_supported(site, out->dtype) ||
      !score_is_emitted(out) || !read_sizes(site, out, &scores))
    return false;
  for (int i = 0; i < out->a.score->input_count; i++) {
    if (!out->a.inputs[i].value) continue;
    out->score_inputs[i] = region_input(body, out->a.inputs[i].value);
    if (out->score_inputs[i] < 0) return false;
  }
  return read_product(site, body, &out->a.first, out->d, &scores, &out->q, &out->k) &&
         read_product(site, body, &out->a.last, out->n, &site->outputs[0], NULL, &out->v) &&
         read_epilogue(site, body, arena, out);
}
