// Pieces of attention: heads taken apart and put together, products over them, turning by position. Grouped queries need no copies of
// keys: the query heads that share a key head become further rows of one product.
#include "onnx/ops/heads.h"

Value *split_heads(Builder *b, Value *x, int64_t heads) {
  if (b->status || !x) return NULL;
  Dim dims[] = {x->dims[0], x->dims[1], heads, dim_div(b->graph->dims, x->dims[2], heads)};
  return build_transpose(b, build_reshape(b, x, 4, dims), (int[]){0, 2, 1, 3});
}

Value *merge_heads(Builder *b, Value *x) {
  if (b->status || !x) return NULL;
  Dim dims[] = {x->dims[0], x->dims[2], dim_mul(b->graph->dims, x->dims[1], x->dims[3])};
  return build_reshape(b, build_transpose(b, x, (int[]){0, 2, 1, 3}), 3, dims);
}

// [B, H, L, D] seen as [B, key heads, group * L, D], and back.
static Value *group_rows(Builder *b, Value *x, Dim heads, Dim rows) {
  if (b->status || !x || x->dims[1] == heads) return x;
  return build_reshape(b, x, 4, (Dim[]){x->dims[0], heads, rows, x->dims[3]});
}

static Dim grouped_rows(Builder *b, const Value *q, Dim heads) {
  return dim_mul(b->graph->dims, dims_quotient(b->graph->dims, &q->dims[1], 1, &heads, 1), q->dims[2]);
}

Value *head_products(Builder *b, Value *q, Value *k) {
  if (b->status || !q || !k) return NULL;
  Dim rows = grouped_rows(b, q, k->dims[1]);
  Value *products = build_matmul(b, group_rows(b, q, k->dims[1], rows), build_swap(b, k, 2, 3));
  if (q->dims[1] == k->dims[1]) return products;
  return build_reshape(b, products, 4, (Dim[]){q->dims[0], q->dims[1], q->dims[2], k->dims[2]});
}

Value *head_mix(Builder *b, Value *weights, Value *v) {
  if (b->status || !weights || !v) return NULL;
  Value *y = build_matmul(b, group_rows(b, weights, v->dims[1], grouped_rows(b, weights, v->dims[1])), v);
  if (weights->dims[1] == v->dims[1]) return y;
  return build_reshape(b, y, 4, (Dim[]){weights->dims[0], weights->dims[1], weights->dims[2], v->dims[3]});
}

static Value *slice_last(Builder *b, Value *x, Dim start, Dim count, int64_t step) {
  if (b->status || !x) return NULL;
  Dim starts[MAX_RANK] = {0}, dims[MAX_RANK];
  int64_t steps[MAX_RANK];
  for (int i = 0; i < x->rank; i++) {
    steps[i] = 1;
    dims[i] = x->dims[i];
  }
  starts[x->rank - 1] = start;
  dims[x->rank - 1] = count;
  steps[x->rank - 1] = step;
  return build_slice(b, x, starts, steps, dims);
}

// x1 * first + sign * x2 * second
static Value *turned(Builder *b, Value *x1, Value *first, Value *x2, Value *second, Opcode op) {
  if (b->status) return NULL;
  Program *p = program_new(b->graph->arena, 4);
  int in[4];
  for (int i = 0; i < 4; i++) in[i] = program_input(p, i, x1->dtype);
  program_output(p, op2(p, op, op2(p, OP_mul, in[0], in[1]), op2(p, OP_mul, in[2], in[3])));
  return build_elementwise(b, p, 4, (Value *[]){x1, first, x2, second});
}

Value *rotary_turn(Builder *b, Value *x, Value *cosines, Value *sines, Dim turns, bool interleaved) {
  if (b->status || !x) return NULL;
  Dim whole = x->dims[3], half = dim_div(b->graph->dims, turns, 2);
  Value *x1 = slice_last(b, x, 0, half, interleaved ? 2 : 1);
  Value *x2 = slice_last(b, x, interleaved ? 1 : half, half, interleaved ? 2 : 1);
  Value *real = turned(b, x1, cosines, x2, sines, OP_sub), *imaginary = turned(b, x1, sines, x2, cosines, OP_add), *y;
  if (interleaved) {
    int64_t last = 4;
    y = build_concat2(b, build_unsqueeze(b, real, &last, 1), build_unsqueeze(b, imaginary, &last, 1), 4);
    y = build_reshape(b, y, 4, (Dim[]){x->dims[0], x->dims[1], x->dims[2], turns});
  } else {
    y = build_concat2(b, real, imaginary, 3);
  }
  if (turns != whole) y = build_concat2(b, y, slice_last(b, x, turns, dim_sub(b->graph->dims, whole, turns), 1), 3);
  return y;
}
