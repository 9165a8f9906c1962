// See mma_attention.h: from the region's body and its operands to sizes, strides and copies.
#include <string.h>

#include "kernels/attention/mma_attention.h"
#include "kernels/tile/mma_config.h"
#include "kernels/control/region.h"
#include "kernels/matmul/matmul_problem.h"

enum { LARGEST_HEAD = 256 };

// What is known of every call's sizes of a value in the body; its graph may have another table.
static const OpenDims *open_dims(DimTable *table, Arena *arena, const Value *value, const int64_t *dims) {
  if (!table || !value->open) return NULL;
  OpenDims *open = arena_new_of(arena, OpenDims);
  for (int i = 0; i < value->rank; i++)
    open->dims[i] = extent_of(dims[i], dim_import(table, value->graph->dims, value->open[i]));
  return open;
}

bool mma_attention_batch(DimTable *table, Arena *arena, const Value *value, Walk *walk, TensorDesc *desc) {
  *desc = (TensorDesc){.dtype = value->dtype, .rank = value->rank};
  if (!value_get_dims(value, desc->dims)) return false;
  desc->open = open_dims(table, arena, value, desc->dims);
  for (int i = 0; i < value->rank - 2; i++) walk_add_extent(walk, i, desc_extent_in(table, desc, i), 1);
  return true;
}

// The operands of one of the two products; what the other one makes has no site, and is not asked for.
static bool read_product(const Site *site, DimTable *table, const Graph *body, const Fused *fused, Extent k,
                         const TensorDesc *result, Operand *a, Operand *b) {
  TensorDesc inputs[2] = {{.absent = true}, {.absent = true}};
  Operand *operands[2] = {a, b};
  for (int i = 0; i < 2; i++) {
    if (!operands[i]) continue;
    operands[i]->input = region_input(body, fused_operand(fused, i));
    REQUIRE(site, operands[i]->input >= 0, "an operand of a product is made inside of the region");
    inputs[i] = site->inputs[operands[i]->input];
    broadcast_strides(table, &inputs[i], result, operands[i]->batch);
  }
  const Site product = {.node = fused->anchor, .inputs = inputs, .outputs = result, .device = site->device};
  MatmulProblem p = {.table = table,
                     .m = desc_extent_in(table, result, result->rank - 2),
                     .n = desc_extent_in(table, result, result->rank - 1),
                     .k = k};
  if (a) {
    p.a_m = desc_stride_in(table, &inputs[0], inputs[0].rank - 2),
    p.a_k = desc_stride_in(table, &inputs[0], inputs[0].rank - 1);
    memcpy(p.a_batch, a->batch, sizeof p.a_batch);
    a->copy = matmul_a_vector(&product, &p, &a->fast) * (int)dtype_size(inputs[0].dtype);
    a->outer = a->fast ? p.a_m : p.a_k;
  }
  p.b_k = desc_stride_in(table, &inputs[1], inputs[1].rank - 2), p.b_n = desc_stride_in(table, &inputs[1], inputs[1].rank - 1);
  memcpy(p.b_batch, b->batch, sizeof p.b_batch);
  b->copy = matmul_b_vector(&product, &p, &b->fast) * (int)dtype_size(inputs[1].dtype);
  b->outer = b->fast ? p.b_n : p.b_k;
  REQUIRE(site, b->copy && (!a || a->copy), "an operand is contiguous along neither of its matrices' axes");
  return true;
}

// The second product as if it were alone: of its operands only what its epilogue reads is described.
static bool read_epilogue(const Site *site, const Graph *body, Arena *arena, MmaAttention *out) {
  const Fused *last = &out->a.last;
  TensorDesc *inputs = arena_array(arena, TensorDesc, (size_t)last->operand_count);
  for (int i = last->anchor->input_count; i < last->operand_count; i++) {
    int input = region_input(body, fused_operand(last, i));
    REQUIRE(site, input >= 0, "what the epilogue reads is made inside of the region");
    inputs[i] = site->inputs[input];
  }
  out->product = (Site){
      .node = last->anchor, .epilogue = last->program, .inputs = inputs, .outputs = site->outputs, .device = site->device};
  return true;
}

static bool read_sizes(const Site *site, Arena *arena, MmaAttention *out, TensorDesc *scores) {
  const TensorDesc *y = &site->outputs[0];
  const Value *sums = out->a.scores->outputs[0], *q = fused_operand(&out->a.first, 0);
  DimTable *table = out->table;
  int64_t dims[MAX_RANK];
  REQUIRE(site, mma_attention_batch(table, arena, sums, &out->scores_batch, scores) && value_get_dims(q, dims),
          "sizes inside of the region are open");
  scores->dtype = DTYPE_F32;
  out->m = desc_extent_in(table, scores, sums->rank - 2), out->n = desc_extent_in(table, scores, sums->rank - 1);
  out->d = dims[q->rank - 1], out->dv = y->dims[y->rank - 1];
  for (int i = 0; i < y->rank - 2; i++) walk_add_extent(&out->output.batch, i, desc_extent_in(table, y, i), 1);
  walk_add_extent(&out->output.row, y->rank - 2, desc_extent_in(table, y, y->rank - 2), 1);
  walk_add(&out->output.column, y->rank - 1, out->dv, 1);
  out->batch = walk_extent(table, &out->output.batch);
  int64_t m = out->m.now, n = out->n.now, batch = out->batch.now;
  REQUIRE(site, m > 0 && n > 0 && out->d > 0 && out->dv > 0 && batch > 0, "there is nothing to compute");
  REQUIRE(site, out->d <= LARGEST_HEAD && out->dv <= LARGEST_HEAD, "heads are larger than 256");
  REQUIRE(site, batch == walk_count(&out->scores_batch), "scores and results are of other batches");
  REQUIRE(site, m <= INT32_MAX / 2 && n <= INT32_MAX / 2 && batch <= INT32_MAX / ceil_div(m, 16),
          "rows, keys or blocks are more than 32 bits count");
  return true;
}

// Coordinates and sizes are known of rows and columns: batch axes may be regrouped on the way.
static bool score_is_emitted(const MmaAttention *m) {
  const Program *score = m->a.score;
  int rank = m->a.softmax->outputs[0]->rank;
  for (int i = 0; i < score->count; i++)
    if ((score->code[i].op == OP_index || score->code[i].op == OP_extent) && score->code[i].args[0] < rank - 2) return false;
  return true;
}

// Heads are of one size in every call, and the score asks for no sizes but by axes.
static bool takes_open(const Site *site, const MmaAttention *m) {
  const Value *q = fused_operand(&m->a.first, 0), *v = fused_operand(&m->a.last, 1);
  bool heads = (!q->open || dim_is_static(q->open[q->rank - 1])) && (!v->open || dim_is_static(v->open[v->rank - 1]));
  return site_is_open(site) && heads && !program_has(m->a.score, OP_row_extent);
}

// table: NULL takes all sizes for static.
static bool read_open(const Site *site, const Graph *body, DimTable *table, Arena *arena, MmaAttention *out) {
  TensorDesc scores;
  out->table = table;
  out->scores_batch = (Walk){0}, out->output = (OutputWalk){0};
  return read_sizes(site, arena, out, &scores) &&
         read_product(site, table, body, &out->a.first, extent_static(out->d), &scores, &out->q, &out->k) &&
         read_product(site, table, body, &out->a.last, out->n, &site->outputs[0], NULL, &out->v);
}

bool mma_attention_read(const Site *site, Arena *arena, MmaAttention *out) {
  const Graph *body = region_body(site->node);
  REQUIRE(site, body->output_count == 1 && body->outputs[0]->producer, "the region has several results");
  *out = (MmaAttention){0};
  const char *why = attention_read(body->outputs[0]->producer, arena, &out->a);
  REQUIRE(site, !why, why);
  int inside = 0;
  FOR_NODES(node, body) inside++;
  out->dtype = fused_operand(&out->a.last, 1)->dtype;
  REQUIRE(site, inside == out->a.node_count, "the region holds more than the attention");
  REQUIRE(site, dtype_size(out->dtype) == 2 && mma_dtype_supported(site, out->dtype),
          "its elements are not f16, or bf16 from sm_80 on");
  REQUIRE(site, score_is_emitted(out), "the score asks for places along the batch");
  for (int i = 0; i < out->a.score->input_count; i++) {
    if (!out->a.inputs[i].value) continue;
    out->score_inputs[i] = region_input(body, out->a.inputs[i].value);
    REQUIRE(site, out->score_inputs[i] >= 0, "what the score reads is made inside of the region");
  }
  out->bounds = score_bounds(&out->a);
  // An operand of one line now may be contiguous in no other call.
  return ((takes_open(site, out) && read_open(site, body, site->dims, arena, out)) ||
          read_open(site, body, NULL, arena, out)) &&
         read_epilogue(site, body, arena, out);
}
