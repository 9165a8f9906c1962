// The reductions of a rowwise kernel as text: what threads accumulate, how their results become one, and what split rows leave in the
// workspace. The device's part is in reduce.cuh.
#include "kernels/program/generate.h"
#include "kernels/rowwise/rowwise_text.h"

static Opcode opcode(const RowPlan *p, int i) { return p->program->code[i].op; }
static DType fed_dtype(const RowPlan *p, int i) { return p->program->code[p->program->code[i].args[0]].dtype; }

static const char *value_type_of(const RowPlan *p, int i) {
  switch (dtype_kind(fed_dtype(p, i))) {
    case KIND_SIGNED: return "i64";
    case KIND_UNSIGNED: return "u64";
    default: return value_type(fed_dtype(p, i));
  }
}
static const char *accumulator_type(const RowPlan *p, int i) {
  const char *type = value_type_of(p, i);
  if (p->moments[i] == i) return arena_printf(p->arena, "Moments<%s>", type);
  return row_plan_is_arg(opcode(p, i)) ? arena_printf(p->arena, "Arg<%s>", type) : type;
}

static const char *reducer(const RowPlan *p, int i) {
  if (p->moments[i] == i) return "ReduceMoments";
  switch (opcode(p, i)) {
    case OP_reduce_sum: return "ReduceSum";
    case OP_reduce_prod: return "ReduceProd";
    case OP_reduce_max: return "ReduceMax";
    case OP_reduce_min: return "ReduceMin";
    case OP_reduce_argmax: return "ReduceArgmax";
    case OP_reduce_argmin: return "ReduceArgmin";
    case OP_reduce_argmax_last: return "ReduceArgmaxLast";
    default: return "ReduceArgminLast";
  }
}

static const char *identity(const RowPlan *p, int i) {
  DType dtype = fed_dtype(p, i);
  bool most = opcode(p, i) == OP_reduce_max;
  if (p->moments[i] == i) return arena_printf(p->arena, "%s{0, 0, 0}", accumulator_type(p, i));
  switch (opcode(p, i)) {
    case OP_reduce_sum: return "0";
    case OP_reduce_prod: return "1";
    case OP_reduce_max:
    case OP_reduce_min: break;
    default: return arena_printf(p->arena, "%s{0, -1}", accumulator_type(p, i));
  }
  if (dtype == DTYPE_F64)
    return most ? "__longlong_as_double(0xfff0000000000000ll)" : "__longlong_as_double(0x7ff0000000000000ll)";
  if (dtype_is_float(dtype)) return most ? "__uint_as_float(0xff800000u)" : "__uint_as_float(0x7f800000u)";
  if (dtype == DTYPE_BOOL) return most ? "false" : "true";
  if (dtype == DTYPE_U64 && !most) return "18446744073709551615ull";
  return arena_printf(p->arena, "Element_%s::%s", dtype_name(dtype), most ? "least" : "most");
}

static const char *row_length(const RowPlan *p) { return extent_text(p->arguments, p->whole_row, false); }

char *reduction_result(const Emitter *e, int i) {
  const RowPlan *p = e->p;
  DType dtype = p->program->code[i].dtype;
  const char *value = arena_printf(p->arena, "acc%d[i]", i);
  if (p->moments[i] == i) value = arena_printf(p->arena, "acc%d[i].total(%s)", i, row_length(p));
  else if (p->moments[i] >= 0) {
    const Instruction *distance = &p->program->code[p->program->code[p->program->code[i].args[0]].args[0]];
    value = arena_printf(p->arena, "acc%d[i].about(%s, %s)", p->moments[i],
                         e->values[distance->args[p->level[distance->args[0]] ? 1 : 0]], row_length(p));
  } else if (row_plan_is_arg(opcode(p, i))) value = arena_printf(p->arena, "place_of(acc%d[i])", i);
  if (dtype_is_integer(dtype)) return arena_printf(p->arena, "Element_%s::wrap((i64)%s)", dtype_name(dtype), value);
  return arena_printf(p->arena, "(%s)%s", value_type(dtype), value);
}

// --- Passes

void add_accumulators(Emitter *e, int pass) {
  const RowPlan *p = e->p;
  for (int i = 0; i < p->program->count; i++) {
    if (!row_plan_feeds(p, i, pass)) continue;
    text_add(e->text, "  %s acc%d[R];\n", accumulator_type(p, i), i);
    text_add(e->text, "#pragma unroll\n  for (int i = 0; i < R; i++) acc%d[i] = %s;\n", i, identity(p, i));
  }
}

void add_feed(Emitter *e, int i) {
  const RowPlan *p = e->p;
  const char *type = value_type_of(p, i), *value = e->values[p->program->code[i].args[0]], *row = e->row;
  if (p->moments[i] == i)
    text_add(e->text, "    acc%d[%s].add((%s)%s, k == 0%s%s);\n", i, row, type, value, p->owned > 1 ? "" : " && i == 0",
             p->cached ? "" : arena_printf(p->arena, " && first == %s", row_begin(p)));
  else if (row_plan_is_arg(opcode(p, i)))
    text_add(e->text, "    acc%d[%s] = %s::combine(acc%d[%s], %s{%s, (i64)(%s) + i * %s});\n", i, row, reducer(p, i), i, row,
             accumulator_type(p, i), value, nest_offset(&p->nest, p->row_tensor, p->outer, p->nest.rank - p->outer),
             extent_text(p->arguments, p->nest.strides[p->row_tensor][p->axis], false));
  else
    text_add(e->text, "    acc%d[%s] = %s::combine<%s>(acc%d[%s], (%s)%s);\n", i, row, reducer(p, i), type, i, row, type,
             value);
}

// Before the moments of several threads are combined, these count from the same value.
static void add_rebase_of(Emitter *e, int i) {
  switch (e->p->shape) {
    case SHAPE_LANES: text_add(e->text, "  rebase_lanes<LANES>(acc%d[0], taken);\n", i); break;
    case SHAPE_BLOCK:
      text_add(e->text, "  __shared__ %s middle%d;\n  rebase_block(acc%d[0], taken, &middle%d);\n", value_type_of(e->p, i), i,
               i, i);
      break;
    case SHAPE_COLUMNS: text_add(e->text, "  rebase_columns<COLUMNS, COLUMNS * LANES>(acc%d, taken, shared);\n", i); break;
  }
}

void add_combination(Emitter *e, int pass) {
  const RowPlan *p = e->p;
  for (int i = 0; i < p->program->count; i++) {
    if (!row_plan_feeds(p, i, pass)) continue;
    const char *type = accumulator_type(p, i), *reduce = reducer(p, i);
    switch (p->shape) {
      case SHAPE_LANES: text_add(e->text, "  acc%d[0] = reduce_lanes<%s, LANES>(acc%d[0]);\n", i, reduce, i); break;
      case SHAPE_BLOCK:
        text_add(e->text,
                 "  __shared__ %s shared%d[LANES / 32];\n  acc%d[0] = reduce_block<%s, LANES / 32>(acc%d[0], shared%d);\n",
                 type, i, i, reduce, i, i);
        break;
      case SHAPE_COLUMNS:
        text_add(e->text, "  reduce_columns<%s, COLUMNS, COLUMNS * LANES>(acc%d, shared);\n", reduce, i);
        break;
    }
  }
}

// A thread's first element may lie far from all others. As often as the number of loads behind it has doubled, moments move to the
// mean so far, so that few squares hold that distance.
static void add_recentring_of(Emitter *e, int i) {
  const RowPlan *p = e->p;
  text_add(e->text, "  if (const %s chunks = (first - (%s)) / %lld + 1; (chunks & (chunks - 1)) == 0 && first + %lld < %s) {\n",
           e->index_type, row_begin(p), (long long)p->unroll * p->lanes, (long long)(p->unroll - 1) * p->lanes, row_end(p));
  text_add(e->text, "    const int count = (int)chunks * %d;\n", p->unroll * (p->owned > 1 ? 1 : p->vector));
  text_add(e->text, "#pragma unroll\n    for (int i = 0; i < R; i++) acc%d[i].rebase(acc%d[i].middle(count), count);\n  }\n", i,
           i);
}

void add_recentring(Emitter *e, int pass) {
  for (int i = 0; i < e->p->program->count && !e->p->cached; i++)
    if (row_plan_feeds(e->p, i, pass) && e->p->moments[i] == i) add_recentring_of(e, i);
}
void add_rebase(Emitter *e, int pass) {
  for (int i = 0; i < e->p->program->count; i++)
    if (row_plan_feeds(e->p, i, pass) && e->p->moments[i] == i) add_rebase_of(e, i);
}

// --- Splits

// Bytes of all splits' partial results of the reductions before number `until`.
static int64_t workspace_offset(const RowPlan *p, int until) {
  int64_t bytes = 0;
  for (int i = 0; i < until; i++)
    if (row_plan_feeds(p, i, p->pass[i])) bytes += (int64_t)row_plan_partial_bytes(p, i) * p->rows * p->splits;
  return bytes;
}
int64_t row_text_workspace(const RowPlan *p) { return workspace_offset(p, p->program->count); }

static char *partial_at(const RowPlan *p, int i, const char *split) {
  return arena_printf(p->arena, "((%s *)(workspace + %lldll))[%s * %lldll + row * R + i]", accumulator_type(p, i),
                      (long long)workspace_offset(p, i), split, (long long)p->rows);
}

void add_partial_stores(Emitter *e, int pass) {
  const RowPlan *p = e->p;
  text_add(e->text, "  if (valid && lane == 0) {\n#pragma unroll\n  for (int i = 0; i < R; i++) {\n");
  for (int i = 0; i < p->program->count; i++) {
    if (!row_plan_feeds(p, i, pass)) continue;
    if (p->moments[i] == i)
      text_add(e->text, "    acc%d[i].rebase(acc%d[i].middle(taken_by(split)), taken_by(split));\n", i, i);
    text_add(e->text, "    %s = acc%d[i];\n", partial_at(p, i, "split"), i);
  }
  text_add(e->text, "  } }\n");
}

void add_partial_loads(Emitter *e, int pass) {
  const RowPlan *p = e->p;
  add_accumulators(e, pass);
  for (int i = 0; i < p->program->count; i++)
    if (row_plan_feeds(p, i, pass) && p->moments[i] == i)
      text_add(e->text, "#pragma unroll\n  for (int i = 0; i < R; i++) acc%d[i].from = %s.from;\n", i, partial_at(p, i, "0"));
  text_add(e->text, "  for (int s = lane; s < %d; s += LANES) {\n#pragma unroll\n  for (int i = 0; i < R; i++) {\n", p->splits);
  for (int i = 0; i < p->program->count; i++) {
    if (!row_plan_feeds(p, i, pass)) continue;
    text_add(e->text, "    %s part%d = %s;\n", accumulator_type(p, i), i, partial_at(p, i, "s"));
    if (p->moments[i] == i) text_add(e->text, "    part%d.rebase(acc%d[i].from, taken_by(s));\n", i, i);
    text_add(e->text, "    acc%d[i] = %s::combine<>(acc%d[i], part%d);\n", i, reducer(p, i), i, i);
  }
  text_add(e->text, "  } }\n");
}
