// Rowwise kernels as text: reductions, softmax, normalisations, arg-reductions and whatever is fused with them.
//
// The domain's axes fall into kept ones (a point of them is a row) and reduced ones (a point of them is a step of a row).
// A program with nested reductions runs in passes over each row: pass p feeds the reductions that depend on results of pass
// p - 1, and a last pass writes element-level outputs. Element-level instructions are computed anew in each pass, from
// inputs that stay in registers when a row is short enough, so that memory is read once.
//
// Who computes a row (Shape):
//   lanes    a group of up to 32 lanes of a warp; short rows, contiguous along the row
//   block    all threads of a block; long rows
//   columns  a block of X x Y threads, x along kept axes that are contiguous, y along the row: for reduced axes that are not
//            innermost
// Few long rows are split over blocks: each pass becomes a launch that leaves partial results in the workspace, which the next
// launch combines in a fixed order.
// Traffic: inputs once (once a pass when a row does not fit in registers). Limit on the chip: memory bandwidth.
#include <math.h>
#include <string.h>
#include "base/checked.h"
#include "kernels/elementwise/generate.h"
#include "kernels/elementwise/nest.h"

extern const OpDef op_rowwise;

typedef enum Shape { SHAPE_LANES, SHAPE_BLOCK, SHAPE_COLUMNS } Shape;
enum { MAX_THREADS = 512, REGISTER_BYTES = 128 };

typedef struct Generator {
  const Site *site;
  const Program *program;
  Arena *arena;
  int input_count, output_count;
  int rank;
  int64_t extents[MAX_RANK];
  bool reduced[MAX_RANK];
  Nest nest;          // inputs, outputs, index tensors, row index; kept axes first
  int outer;          // how many axes are kept
  int64_t rows, row;  // rows, and elements of a row
  int index_tensor[MAX_RANK];
  int row_tensor;  // the linear index within the row, or -1
  bool *used;
  uint8_t *level;
  bool *needed;
  int *pass;   // of a reduction: the pass that feeds it; of others: the first pass in which it is known
  int passes;  // with reductions
  bool stores_elements;
  int main;  // the tensor whose layout decides the shape
  Shape shape;
  int vector, lanes, rows_per_block, splits;
  int64_t steps;  // vectors in a row
  int cached;     // steps a thread keeps in registers; 0: none
} Generator;

static const TensorDesc *operand(const Generator *g, int tensor) {
  return tensor < g->input_count ? &g->site->inputs[tensor] : &g->site->outputs[tensor - g->input_count];
}
static bool reduces(const Generator *g, int instruction) { return opcode_info(g->program->code[instruction].op)->reduces; }
static bool is_arg(Opcode op) { return op >= OP_reduce_argmax && op <= OP_reduce_argmin_last; }

// --- Analysis

static void read_domain(Generator *g) {
  const Node *node = g->site->node;
  int count = 0;
  const Dim *dims = node_dims(node, "dims", &count);
  if (dims) {
    g->rank = count;
    for (int i = 0; i < count; i++) g->extents[i] = dims[i];
  } else {
    for (int t = 0; t < g->input_count; t++) g->rank = MAX(g->rank, g->site->inputs[t].rank);
    for (int i = 0; i < g->rank; i++) g->extents[i] = 1;
    for (int t = 0; t < g->input_count; t++) {
      const TensorDesc *x = &g->site->inputs[t];
      for (int i = 0; i < x->rank; i++)
        if (x->dims[i] != 1) g->extents[i + g->rank - x->rank] = x->dims[i];
    }
  }
  const int64_t *axes = node_ints(node, "axes", &count);
  for (int i = 0; i < count; i++)
    if (axes[i] >= 0 && axes[i] < g->rank) g->reduced[axes[i]] = true;
}

static void find_passes(Generator *g) {
  const Program *program = g->program;
  size_t count = (size_t)program->count;
  g->level = arena_array(g->arena, uint8_t, count);
  g->needed = arena_array(g->arena, bool, count);
  g->pass = arena_array(g->arena, int, count);
  g->used = arena_array(g->arena, bool, (size_t)MAX(g->input_count, 1));
  program_levels(program, g->level);
  program_needed(program, g->needed);
  for (int i = 0; i < program->count; i++) {
    const Instruction *instruction = &program->code[i];
    if (!g->needed[i]) continue;
    if (instruction->op == OP_input) g->used[instruction->args[0]] = true;
    for (int k = 0; k < opcode_info(instruction->op)->arity; k++) {
      int from = instruction->args[k];
      g->pass[i] = MAX(g->pass[i], g->pass[from] + reduces(g, from));
    }
    if (reduces(g, i)) g->passes = MAX(g->passes, g->pass[i] + 1);
  }
  for (int o = 0; o < program->output_count; o++) g->stores_elements |= g->level[program->outputs[o]] != 0;
}

static void make_nest(Generator *g) {
  const Program *program = g->program;
  // Kept axes first; reduced axes of extent 1 are as good as kept.
  int order[MAX_RANK], place[MAX_RANK], count = 0;
  for (int part = 0; part < 2; part++) {
    for (int i = 0; i < g->rank; i++)
      if (g->reduced[i] == part) order[count++] = i;
    if (part == 0) g->outer = count;
  }
  int64_t extents[MAX_RANK];
  g->rows = g->row = 1;
  for (int i = 0; i < g->rank; i++) {
    place[order[i]] = i;
    extents[i] = g->extents[order[i]];
    *(i < g->outer ? &g->rows : &g->row) *= extents[i];
  }
  g->nest = nest_new(g->arena, g->rank, extents);
  for (int t = 0; t < g->input_count + g->output_count; t++) {
    const TensorDesc *desc = operand(g, t);
    int64_t strides[MAX_RANK] = {0};
    int lead = g->rank - desc->rank;
    for (int i = 0; i < desc->rank; i++)
      if (desc->dims[i] != 1 && i + lead >= 0) strides[place[i + lead]] = desc->strides[i];
    nest_add_strides(&g->nest, strides);
  }
  bool args = false;
  for (int axis = 0; axis < MAX_RANK; axis++) g->index_tensor[axis] = -1;
  for (int i = 0; i < program->count; i++) {
    const Instruction *instruction = &program->code[i];
    if (instruction->op == OP_index && g->index_tensor[instruction->args[0]] < 0)
      g->index_tensor[instruction->args[0]] = nest_add_index(&g->nest, place[instruction->args[0]]);
    args |= g->needed[i] && is_arg(instruction->op);
  }
  g->row_tensor = -1;
  if (args) {
    int64_t strides[MAX_RANK] = {0}, stride = 1;
    for (int i = g->rank - 1; i >= g->outer; i--) {
      strides[i] = stride;
      stride *= extents[i];
    }
    g->row_tensor = nest_add_strides(&g->nest, strides);
  }
  // The input that costs the most decides.
  double most = -1;
  g->main = g->input_count;
  for (int t = 0; t < g->input_count; t++) {
    double bytes = (double)desc_count(&g->site->inputs[t]) * (double)dtype_size(g->site->inputs[t].dtype);
    if (!g->used[t] || bytes <= most) continue;
    most = bytes;
    g->main = t;
  }
  nest_collapse(&g->nest, g->main, &g->outer);
  // Both parts keep at least one axis, so that the text need not ask.
  if (g->outer == 0) nest_insert(&g->nest, g->outer++);
  if (g->outer == g->nest.rank) nest_insert(&g->nest, g->outer);
}

static int power_of_two_at_least(int64_t n, int most) {
  int power = 1;
  while (power < n && power < most) power *= 2;
  return power;
}

static void choose_shape(Generator *g) {
  const Nest *nest = &g->nest;
  int inner = nest->rank - 1, multiprocessors = MAX(g->site->device->multiprocessors, 1);
  int64_t along_row = nest->strides[g->main][inner], along_rows = nest->strides[g->main][g->outer - 1];
  g->splits = g->vector = 1;
  g->rows_per_block = 1;
  if (along_row != 1 && along_rows == 1 && nest->extents[g->outer - 1] >= 4) {
    g->shape = SHAPE_COLUMNS;
    g->lanes = power_of_two_at_least(ceil_div(g->row, 4), ceil_div(g->rows, 32) < multiprocessors ? 32 : 8);
    g->rows_per_block = g->lanes < 4 ? 128 / g->lanes : 32;
    g->steps = g->row;
  } else {
    size_t size = dtype_size(operand(g, g->main)->dtype);
    if (along_row == 1) g->vector = (int)MIN(16 / MIN(size, 16), 8);
    while (g->vector > 1 && (nest->extents[inner] % g->vector || g->row / g->vector < 8)) g->vector /= 2;
    g->steps = g->row / g->vector;
    bool few = g->rows < 8 * multiprocessors;
    if (g->steps <= 256 && !(few && g->steps > 128)) {
      g->shape = SHAPE_LANES;
      g->lanes = power_of_two_at_least(g->steps, 32);
      int threads = g->rows * g->lanes < 128 * multiprocessors ? 64 : 128;
      g->rows_per_block = MAX(threads / g->lanes, 1);
    } else {
      g->shape = SHAPE_BLOCK;
      g->lanes = MAX(power_of_two_at_least(ceil_div(g->steps, 4), few ? 1024 : MAX_THREADS), 64);
    }
  }
  // A row in registers: all its element inputs, REGISTER_BYTES a thread.
  int64_t kept = ceil_div(g->steps, g->lanes), bytes = 0;
  for (int t = 0; t < g->input_count; t++)
    if (g->used[t]) bytes += (int64_t)MAX(dtype_size(g->site->inputs[t].dtype), 2) * g->vector * kept;
  if (g->passes + g->stores_elements > 1 && bytes <= REGISTER_BYTES && kept <= 16) g->cached = (int)kept;
  // Splitting costs a launch a pass: only for rows too few to fill the chip and long enough to matter.
  int64_t blocks = ceil_div(g->rows, g->rows_per_block);
  if (g->shape != SHAPE_LANES && blocks * 4 <= multiprocessors &&
      g->steps >= 64 * (int64_t)g->lanes / (g->shape == SHAPE_COLUMNS ? 4 : 8)) {
    int64_t wanted = ceil_div(2 * (int64_t)multiprocessors, blocks), possible = g->steps / (4 * (int64_t)g->lanes);
    g->splits = (int)MAX(MIN(MIN(wanted, possible), 256), 1);
    if (g->splits > 1) g->cached = 0;
  }
}

// --- Text

typedef struct Emitter {
  Generator *g;
  Text *text;
  const char **values;  // of row-level instructions, and of element-level ones in the pass being written
  const char *index_type;
} Emitter;

static const char *accumulator_type(const Generator *g, int i) {
  DType dtype = g->program->code[g->program->code[i].args[0]].dtype;
  const char *type;
  switch (dtype_kind(dtype)) {
    case KIND_SIGNED: type = "i64"; break;
    case KIND_UNSIGNED: type = "u64"; break;
    default: type = value_type(dtype); break;
  }
  return is_arg(g->program->code[i].op) ? arena_printf(g->arena, "Arg<%s>", type) : type;
}
static size_t accumulator_size(const Generator *g, int i) { return is_arg(g->program->code[i].op) ? 16 : 8; }

static const char *reducer(Opcode op) {
  switch (op) {
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

static const char *identity(const Generator *g, int i) {
  const Instruction *instruction = &g->program->code[i];
  DType dtype = g->program->code[instruction->args[0]].dtype;
  bool most = instruction->op == OP_reduce_max;
  switch (instruction->op) {
    case OP_reduce_sum: return "0";
    case OP_reduce_prod: return "1";
    case OP_reduce_max:
    case OP_reduce_min: break;
    default: return "{0, -1}";
  }
  if (dtype == DTYPE_F64)
    return most ? "__longlong_as_double(0xfff0000000000000ll)" : "__longlong_as_double(0x7ff0000000000000ll)";
  if (dtype_is_float(dtype)) return most ? "__uint_as_float(0xff800000u)" : "__uint_as_float(0x7f800000u)";
  if (dtype == DTYPE_BOOL) return most ? "false" : "true";
  if (dtype == DTYPE_U64 && !most) return "18446744073709551615ull";
  return arena_printf(g->arena, "Element_%s::%s", dtype_name(dtype), most ? "least" : "most");
}

static void add_parameters(Emitter *e) {
  const Generator *g = e->g;
  for (int t = 0; t < g->input_count + g->output_count; t++) {
    bool input = t < g->input_count;
    text_add(e->text, "%s%sElement_%s::Stored *%s%d", t ? ", " : "", input ? "const " : "", dtype_name(operand(g, t)->dtype),
             input ? "x" : "y", input ? t : t - g->input_count);
  }
  if (g->splits > 1) text_add(e->text, ", char *workspace");
}

static char *offset_of(const Generator *g, int tensor) { return nest_offset(&g->nest, tensor, 0, g->nest.rank); }
static bool still(const Generator *g, int tensor) {
  for (int i = g->outer; i < g->nest.rank; i++)
    if (g->nest.strides[tensor][i]) return false;
  return true;
}

// Fills `to` (an array of V stored elements) from input t at the current coordinates.
static void add_load(Emitter *e, int t, const char *to) {
  const Generator *g = e->g;
  int inner = g->nest.rank - 1;
  int64_t stride = g->nest.strides[t][inner];
  const char *dtype = dtype_name(operand(g, t)->dtype);
  char *offset = offset_of(g, t);
  if (stride == 1 && g->vector > 1) {
    int alignment =
        MIN(nest_alignment(&g->nest, t, inner, operand(g, t)->offset, g->vector), 16 / (int)dtype_size(operand(g, t)->dtype));
    text_add(e->text, "#pragma unroll\n  for (int i = 0; i < V; i += %d) {\n", alignment);
    text_add(e->text, "    const Vector<Element_%s::Stored, %d> part = load_vector<%d>(x%d + (%s) + i);\n", dtype, alignment,
             alignment, t, offset);
    text_add(e->text, "#pragma unroll\n    for (int j = 0; j < %d; j++) %s[i + j] = part[j];\n  }\n", alignment, to);
  } else {
    text_add(e->text, "#pragma unroll\n  for (int i = 0; i < V; i++) %s[i] = x%d[%s + i * (%lldll)];\n", to, t, offset,
             (long long)stride);
  }
}

// Loads that every pass shares: inputs that stand still along the row, and the row itself where it stays in registers.
static void add_row_loads(Emitter *e) {
  const Generator *g = e->g;
  for (int t = 0; t < g->input_count; t++)
    if (g->used[t] && still(g, t))
      text_add(e->text, "  const Element_%s::Value same%d = Element_%s::get(x%d[%s]);\n", dtype_name(operand(g, t)->dtype), t,
               dtype_name(operand(g, t)->dtype), t, nest_offset(&g->nest, t, 0, g->outer));
  if (!g->cached) return;
  for (int t = 0; t < g->input_count; t++)
    if (g->used[t] && !still(g, t))
      text_add(e->text, "  Element_%s::Stored row%d[%d][V];\n", dtype_name(operand(g, t)->dtype), t, g->cached);
  text_add(e->text,
           "#pragma unroll\n  for (int k = 0; k < %d; k++) {\n  const %s step = lane + k * LANES;\n  if (step < %lld) {\n",
           g->cached, e->index_type, (long long)g->steps);
  nest_emit_coordinates(e->text, &g->nest, g->outer, g->nest.rank - g->outer, "step", g->vector);
  for (int t = 0; t < g->input_count; t++)
    if (g->used[t] && !still(g, t)) add_load(e, t, arena_printf(g->arena, "row%d[k]", t));
  text_add(e->text, "  } }\n");
}

static ProgramNames leaf_names(Emitter *e) {
  const Generator *g = e->g;
  const char **inputs = arena_array(g->arena, const char *, (size_t)MAX(g->input_count, 1));
  DType *dtypes = arena_array(g->arena, DType, (size_t)MAX(g->input_count, 1));
  const char **indices = arena_array(g->arena, const char *, MAX_RANK);
  for (int t = 0; t < g->input_count; t++) {
    dtypes[t] = operand(g, t)->dtype;
    const char *dtype = dtype_name(dtypes[t]);
    inputs[t] = still(g, t) ? arena_printf(g->arena, "same%d", t)
                : g->cached ? arena_printf(g->arena, "Element_%s::get(row%d[k][i])", dtype, t)
                            : arena_printf(g->arena, "Element_%s::get(a%d[i])", dtype, t);
  }
  for (int axis = 0; axis < MAX_RANK; axis++) {
    int t = g->index_tensor[axis];
    if (t >= 0)
      indices[axis] =
          arena_printf(g->arena, "(%s + i * %lld)", offset_of(g, t), (long long)g->nest.strides[t][g->nest.rank - 1]);
  }
  return (ProgramNames){inputs, dtypes, indices, g->extents, g->row, "v"};
}

// Marks the element-level instructions that `root` is computed from.
static void mark_elements(const Generator *g, int root, bool *marks) {
  if (!g->level[root] || marks[root]) return;
  marks[root] = true;
  const Instruction *instruction = &g->program->code[root];
  for (int k = 0; k < opcode_info(instruction->op)->arity; k++) mark_elements(g, instruction->args[k], marks);
}

// Row-level instructions that are known before pass `pass` begins.
static void add_row_instructions(Emitter *e, int pass) {
  const Generator *g = e->g;
  ProgramNames names = leaf_names(e);
  for (int i = 0; i < g->program->count; i++) {
    if (!g->needed[i] || g->level[i] || e->values[i] || reduces(g, i) || g->pass[i] > pass) continue;
    text_add(e->text, "  ");
    instruction_emit_cuda(e->text, g->program, i, &names, e->values);
  }
}

// The reduction's result as the value of its instruction.
static void add_result(Emitter *e, int i) {
  const Generator *g = e->g;
  const Instruction *instruction = &g->program->code[i];
  char *value = arena_printf(g->arena, is_arg(instruction->op) ? "acc%d.index" : "acc%d", i);
  text_add(e->text, "  const %s v%d = ", value_type(instruction->dtype), i);
  if (dtype_is_integer(instruction->dtype))
    text_add(e->text, "Element_%s::wrap((i64)%s);\n", dtype_name(instruction->dtype), value);
  else text_add(e->text, "(%s)%s;\n", value_type(instruction->dtype), value);
  e->values[i] = arena_printf(g->arena, "v%d", i);
}

// The loop over the steps of a row that this thread (and this block, if the row is split) takes; `marks` says which
// element-level instructions to compute. The body's end is the caller's.
static void open_loop(Emitter *e, const bool *marks) {
  const Generator *g = e->g;
  if (g->cached) {
    text_add(e->text,
             "#pragma unroll\n  for (int k = 0; k < %d; k++) {\n  const %s step = lane + k * LANES;\n  if (step < %lld) {\n",
             g->cached, e->index_type, (long long)g->steps);
  } else if (g->splits > 1) {
    text_add(e->text, "#pragma unroll 4\n  for (%s step = first_step + lane; step < last_step; step += LANES) {\n  {\n",
             e->index_type);
  } else {
    text_add(e->text, "#pragma unroll 4\n  for (%s step = lane; step < %lld; step += LANES) {\n  {\n", e->index_type,
             (long long)g->steps);
  }
  nest_emit_coordinates(e->text, &g->nest, g->outer, g->nest.rank - g->outer, "step", g->vector);
  for (int t = 0; t < g->input_count && !g->cached; t++) {
    bool read = false;
    for (int i = 0; i < g->program->count; i++)
      read |= marks[i] && g->program->code[i].op == OP_input && g->program->code[i].args[0] == t;
    if (!read || still(g, t)) continue;
    text_add(e->text, "  Element_%s::Stored a%d[V];\n", dtype_name(operand(g, t)->dtype), t);
    add_load(e, t, arena_printf(g->arena, "a%d", t));
  }
}
static void add_element_instructions(Emitter *e, const bool *marks) {
  const Generator *g = e->g;
  ProgramNames names = leaf_names(e);
  for (int i = 0; i < g->program->count; i++) {
    if (!marks[i]) continue;
    e->values[i] = NULL;
    text_add(e->text, "    ");
    instruction_emit_cuda(e->text, g->program, i, &names, e->values);
  }
}

// Feeds the reductions of one pass and combines the threads' results (the block's, where rows are split).
static void add_pass(Emitter *e, int pass) {
  const Generator *g = e->g;
  const Program *program = g->program;
  bool *marks = arena_array(g->arena, bool, (size_t)program->count);
  for (int i = 0; i < program->count; i++) {
    if (!g->needed[i] || !reduces(g, i) || g->pass[i] != pass) continue;
    mark_elements(g, program->code[i].args[0], marks);
    text_add(e->text, "  %s acc%d = %s;\n", accumulator_type(g, i), i, identity(g, i));
  }
  open_loop(e, marks);
  text_add(e->text, "#pragma unroll\n  for (int i = 0; i < V; i++) {\n");
  add_element_instructions(e, marks);
  for (int i = 0; i < program->count; i++) {
    if (!g->needed[i] || !reduces(g, i) || g->pass[i] != pass) continue;
    Opcode op = program->code[i].op;
    const char *type = accumulator_type(g, i), *value = e->values[program->code[i].args[0]];
    if (is_arg(op))
      text_add(e->text, "    acc%d = %s::combine(acc%d, %s{%s, (i64)(%s) + i * %lld});\n", i, reducer(op), i, type, value,
               nest_offset(&g->nest, g->row_tensor, g->outer, g->nest.rank - g->outer),
               (long long)g->nest.strides[g->row_tensor][g->nest.rank - 1]);
    else text_add(e->text, "    acc%d = %s::combine<%s>(acc%d, (%s)%s);\n", i, reducer(op), type, i, type, value);
  }
  text_add(e->text, "  } } }\n");
  for (int i = 0; i < program->count; i++) {
    if (!g->needed[i] || !reduces(g, i) || g->pass[i] != pass) continue;
    const char *type = accumulator_type(g, i), *reduce = reducer(program->code[i].op);
    switch (g->shape) {
      case SHAPE_LANES: text_add(e->text, "  acc%d = reduce_lanes<%s, LANES>(acc%d);\n", i, reduce, i); break;
      case SHAPE_BLOCK:
        text_add(e->text, "  __shared__ %s shared%d[LANES / 32];\n  acc%d = reduce_block<%s, LANES / 32>(acc%d, shared%d);\n",
                 type, i, i, reduce, i, i);
        break;
      case SHAPE_COLUMNS:
        text_add(e->text, "  __shared__ %s shared%d[LANES][%d];\n  acc%d = reduce_columns<%s, LANES>(acc%d, shared%d);\n", type,
                 i, g->rows_per_block, i, reduce, i, i);
        break;
    }
  }
}

static void add_row_stores(Emitter *e) {
  const Generator *g = e->g;
  text_add(e->text, "  if (valid && lane == 0%s) {\n", g->splits > 1 ? " && split == 0" : "");
  for (int o = 0; o < g->output_count; o++) {
    int from = g->program->outputs[o];
    if (g->level[from]) continue;
    text_add(e->text, "    y%d[%s] = %s;\n", o, nest_offset(&g->nest, g->input_count + o, 0, g->outer),
             stored_expression(g->arena, g->site->outputs[o].dtype, g->program->code[from].dtype, e->values[from]));
  }
  text_add(e->text, "  }\n");
}

static void add_element_stores(Emitter *e) {
  const Generator *g = e->g;
  bool *marks = arena_array(g->arena, bool, (size_t)g->program->count);
  int inner = g->nest.rank - 1;
  for (int o = 0; o < g->output_count; o++) mark_elements(g, g->program->outputs[o], marks);
  open_loop(e, marks);
  for (int o = 0; o < g->output_count; o++)
    if (g->level[g->program->outputs[o]])
      text_add(e->text, "  Element_%s::Stored r%d[V];\n", dtype_name(g->site->outputs[o].dtype), o);
  text_add(e->text, "#pragma unroll\n  for (int i = 0; i < V; i++) {\n");
  add_element_instructions(e, marks);
  for (int o = 0; o < g->output_count; o++) {
    int from = g->program->outputs[o];
    if (!g->level[from]) continue;
    text_add(e->text, "    r%d[i] = %s;\n", o,
             stored_expression(g->arena, g->site->outputs[o].dtype, g->program->code[from].dtype, e->values[from]));
  }
  text_add(e->text, "  }\n  if (valid) {\n");
  for (int o = 0; o < g->output_count; o++) {
    if (!g->level[g->program->outputs[o]]) continue;
    int t = g->input_count + o;
    int64_t stride = g->nest.strides[t][inner];
    const TensorDesc *y = &g->site->outputs[o];
    if (stride == 1)
      text_add(e->text, "  element_store<Element_%s, V, %d>(y%d + (%s), r%d);\n", dtype_name(y->dtype),
               nest_alignment(&g->nest, t, inner, y->offset, g->vector), o, offset_of(g, t), o);
    else
      text_add(e->text, "#pragma unroll\n  for (int i = 0; i < V; i++) y%d[%s + i * (%lldll)] = r%d[i];\n", o, offset_of(g, t),
               (long long)stride, o);
  }
  text_add(e->text, "  } } }\n");
}

// Bytes of one split's partial results before reduction i, and of all.
static int64_t workspace_offset(const Generator *g, int until) {
  int64_t bytes = 0;
  for (int i = 0; i < until; i++)
    if (g->needed[i] && reduces(g, i)) bytes += (int64_t)accumulator_size(g, i) * g->rows * g->splits;
  return bytes;
}

static void add_partial_store(Emitter *e, int pass) {
  const Generator *g = e->g;
  text_add(e->text, "  if (valid && lane == 0) {\n");
  for (int i = 0; i < g->program->count; i++)
    if (g->needed[i] && reduces(g, i) && g->pass[i] == pass)
      text_add(e->text, "    ((%s *)(workspace + %lldll))[(i64)split * %lldll + row] = acc%d;\n", accumulator_type(g, i),
               (long long)workspace_offset(g, i), (long long)g->rows, i);
  text_add(e->text, "  }\n");
}

// The results of an earlier launch's pass: all splits, in order.
static void add_partial_loads(Emitter *e, int pass) {
  const Generator *g = e->g;
  for (int i = 0; i < g->program->count; i++) {
    if (!g->needed[i] || !reduces(g, i) || g->pass[i] != pass) continue;
    const char *type = accumulator_type(g, i);
    text_add(e->text, "  %s acc%d = %s;\n", type, i, identity(g, i));
    text_add(e->text,
             "#pragma unroll 4\n  for (int s = 0; s < %d; s++) acc%d = %s::combine<>(acc%d, ((const %s *)(workspace + "
             "%lldll))[(i64)s * %lldll + row]);\n",
             g->splits, i, reducer(g->program->code[i].op), i, type, (long long)workspace_offset(g, i), (long long)g->rows);
    add_result(e, i);
  }
}

static void add_mapping(Emitter *e) {
  const Generator *g = e->g;
  text_add(e->text, "  constexpr int LANES = %d, V = %d;\n", g->lanes, g->vector);
  const char *block = "blockIdx.x";
  if (g->splits > 1) {
    int64_t part = ceil_div(ceil_div(g->steps, g->splits), g->lanes) * g->lanes;
    text_add(e->text, "  const int split = blockIdx.x %% %d;\n", g->splits);
    text_add(
        e->text,
        "  const %s first_step = split * %lldll, last_step = first_step + %lldll < %lldll ? first_step + %lldll : %lldll;\n",
        e->index_type, (long long)part, (long long)part, (long long)g->steps, (long long)part, (long long)g->steps);
    block = arena_printf(g->arena, "(blockIdx.x / %d)", g->splits);
  }
  switch (g->shape) {
    case SHAPE_LANES:
      text_add(e->text, "  const int lane = threadIdx.x %% LANES;\n  %s row = (%s)%s * %d + threadIdx.x / LANES;\n",
               e->index_type, e->index_type, block, g->rows_per_block);
      break;
    case SHAPE_BLOCK: text_add(e->text, "  const int lane = threadIdx.x;\n  %s row = %s;\n", e->index_type, block); break;
    case SHAPE_COLUMNS:
      text_add(e->text, "  const int lane = threadIdx.y;\n  %s row = (%s)%s * %d + threadIdx.x;\n", e->index_type,
               e->index_type, block, g->rows_per_block);
      break;
  }
  // Threads past the last row compute it again, so that all meet at barriers and shuffles; they store nothing.
  text_add(e->text, "  const bool valid = row < %lld;\n  if (!valid) row = %lld;\n", (long long)g->rows,
           (long long)g->rows - 1);
  nest_emit_coordinates(e->text, &g->nest, 0, g->outer, "row", 0);
}

// One launch: passes [first, last), and then stores if `store`.
static void emit_launch(Generator *g, Text *text, const char *entry, int first, int last, bool store) {
  Emitter emitter = {g, text, arena_array(g->arena, const char *, (size_t)g->program->count),
                     nest_is_small(&g->nest) ? "u32" : "u64"};
  Emitter *e = &emitter;
  int threads = g->shape == SHAPE_BLOCK ? g->lanes : g->rows_per_block * g->lanes;
  text_add(text, "extern \"C\" __global__ void __launch_bounds__(%d) %s(", threads, entry);
  add_parameters(e);
  text_add(text, ") {\n");
  add_mapping(e);
  add_row_loads(e);
  for (int pass = 0; pass < last; pass++) {
    if (pass < first) add_partial_loads(e, pass);
    add_row_instructions(e, pass < first ? pass + 1 : pass);
    if (pass < first) continue;
    add_pass(e, pass);
    if (!store || g->splits > 1) continue;
    for (int i = 0; i < g->program->count; i++)
      if (g->needed[i] && reduces(g, i) && g->pass[i] == pass) add_result(e, i);
  }
  if (!store) {
    add_partial_store(e, last - 1);
  } else {
    add_row_instructions(e, g->passes);
    add_row_stores(e);
    if (g->stores_elements) add_element_stores(e);
  }
  text_add(text, "}\n");
}

static Status launch(Generator *g, Emission *out, const char *source, const char *entry) {
  unsigned threads = (unsigned)(g->shape == SHAPE_BLOCK ? g->lanes : g->rows_per_block * g->lanes);
  unsigned grid[3] = {(unsigned)(ceil_div(g->rows, g->rows_per_block) * g->splits), 1, 1}, block[3] = {threads, 1, 1};
  if (g->shape == SHAPE_COLUMNS) block[0] = (unsigned)g->rows_per_block, block[1] = (unsigned)g->lanes;
  Launch *kernel = emit_kernel(out, source, entry, grid, block);
  for (int t = 0; t < g->input_count; t++) emit_buffer(out, kernel, BUFFER_INPUT, t);
  for (int o = 0; o < g->output_count; o++) emit_buffer(out, kernel, BUFFER_OUTPUT, o);
  if (g->splits > 1) emit_workspace(out, kernel, 0);
  return OK;
}

static bool supports(const Site *site) {
  for (int i = 0; i < site->node->input_count; i++)
    if (site->inputs[i].absent || dtype_kind(site->inputs[i].dtype) == KIND_STRING) return false;
  return true;
}

static int candidates(const Site *site, CudaContext *cuda, Candidate *out, int limit) {
  out[0] = (Candidate){.name = "generated"};
  return 1;
}

static Status emit(const Site *site, const Candidate *candidate, CudaContext *cuda, Emission *out) {
  const Program *program = node_program(site->node, "program");
  Generator generator = {.site = site,
                         .program = program,
                         .arena = out->arena,
                         .input_count = site->node->input_count,
                         .output_count = site->node->output_count};
  Generator *g = &generator;
  read_domain(g);
  find_passes(g);
  make_nest(g);
  if (g->rows == 0 || (g->row == 0 && g->passes == 0)) return OK;
  choose_shape(g);
  Text text = text_new(g->arena);
  text_add(&text, GENERATED_INCLUDES "#include \"kernels/rowwise/reduce.cuh\"\n");
  if (g->splits == 1) {
    emit_launch(g, &text, "rowwise", 0, g->passes, true);
    return launch(g, out, text_get(&text), "rowwise");
  }
  for (int pass = 0; pass < g->passes; pass++)
    emit_launch(g, &text, arena_printf(g->arena, "rowwise_pass%d", pass), pass, pass + 1, false);
  emit_launch(g, &text, "rowwise_last", g->passes, g->passes, true);
  out->workspace_bytes = MAX(out->workspace_bytes, (size_t)workspace_offset(g, program->count));
  for (int pass = 0; pass < g->passes; pass++)
    TRY(launch(g, out, text_get(&text), arena_printf(g->arena, "rowwise_pass%d", pass)));
  return launch(g, out, text_get(&text), "rowwise_last");
}

const Tactic rowwise_tactic = {"rowwise", &op_rowwise, false, supports, candidates, emit};
