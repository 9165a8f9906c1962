// Rowwise kernels as text; see rowwise_plan.h.
//
// A thread's names: accumulators acc3[R] and row-level values w3[R] of the R rows it owns; `lane` says which of the threads
// that share the rows it is. In the loops over steps, k counts steps that are loaded together and i the V elements of a step:
// R = V different rows in columns, one row's elements otherwise (R = 1).
#include <string.h>
#include "kernels/program/generate.h"
#include "kernels/rowwise/rowwise_text.h"

static Opcode opcode(const RowPlan *p, int i) { return p->program->code[i].op; }
static const char *stored_name(const RowPlan *p, int tensor) { return dtype_name(row_plan_operand(p, tensor)->dtype); }

// --- Loads

static void add_parameters(const RowPlan *p, Text *text) {
  for (int t = 0; t < p->input_count + p->output_count; t++) {
    bool input = t < p->input_count;
    text_add(text, "%s%sElement_%s::Stored *%s%d", t ? ", " : "", input ? "const " : "", stored_name(p, t), input ? "x" : "y",
             input ? t : t - p->input_count);
  }
  if (p->splits > 1) text_add(text, ", char *workspace");
  kernel_arguments_parameters(text, p->arguments);
}

static char *offset_of(const RowPlan *p, int tensor) { return nest_offset(&p->nest, tensor, 0, p->nest.rank); }
static int alignment_of(const RowPlan *p, int tensor) {
  return nest_alignment(&p->nest, tensor, p->axis, row_plan_operand(p, tensor)->offset, p->vector);
}

// Fills `to` (an array of `count` stored elements) from input t at the current coordinates.
static void add_load(Emitter *e, int t, const char *to, int count) {
  const RowPlan *p = e->p;
  Extent stride = p->nest.strides[t][p->axis];
  char *offset = offset_of(p, t);
  if (extent_is(stride, 1) && count > 1) {
    int alignment = MIN(alignment_of(p, t), 16 / (int)dtype_size(row_plan_operand(p, t)->dtype));
    text_add(e->text, "#pragma unroll\n  for (int i = 0; i < %d; i += %d) {\n", count, alignment);
    text_add(e->text, "    const Vector<Element_%s::Stored, %d> part = load_vector<%d>(x%d + (%s) + i);\n", stored_name(p, t),
             alignment, alignment, t, offset);
    text_add(e->text, "#pragma unroll\n    for (int j = 0; j < %d; j++) %s[i + j] = part[j];\n  }\n", alignment, to);
  } else {
    text_add(e->text, "#pragma unroll\n  for (int i = 0; i < %d; i++) %s[i] = x%d[%s + i * (%s)];\n", count, to, t, offset,
             extent_text(p->arguments, stride, true));
  }
}

static bool reads(const RowPlan *p, const bool *marks, int t) {
  for (int i = 0; i < p->program->count; i++)
    if (marks[i] && opcode(p, i) == OP_input && p->program->code[i].args[0] == t) return !row_plan_still(p, t);
  return false;
}

// The loop over `count` steps from `first` on; two braces are open behind it.
static void open_steps(Emitter *e, int count, const char *first, const char *end) {
  const RowPlan *p = e->p;
  text_add(e->text, "#pragma unroll\n  for (int k = 0; k < %d; k++) {\n  const %s step = %s + k * LANES;\n  if (step < %s) {\n",
           count, e->index_type, first, end);
  nest_emit_coordinates(e->text, &p->nest, p->outer, p->nest.rank - p->outer, "step", p->owned > 1 ? 0 : p->vector);
}
static void add_step_loads(Emitter *e, const bool *marks, int count, const char *first, const char *end) {
  const RowPlan *p = e->p;
  for (int t = 0; t < p->input_count; t++)
    if (reads(p, marks, t)) text_add(e->text, "  Element_%s::Stored a%d[%d][V];\n", stored_name(p, t), t, count);
  open_steps(e, count, first, end);
  for (int t = 0; t < p->input_count; t++)
    if (reads(p, marks, t)) add_load(e, t, arena_printf(p->arena, "a%d[k]", t), p->vector);
  text_add(e->text, "  } }\n");
}

// Loads that every pass shares: inputs that stand still along the row, and the row itself where it stays in registers.
static void add_row_loads(Emitter *e) {
  const RowPlan *p = e->p;
  for (int t = 0; t < p->input_count; t++) {
    if (!p->used[t] || !row_plan_still(p, t)) continue;
    text_add(e->text, "  Element_%s::Stored same%d[R];\n", stored_name(p, t), t);
    add_load(e, t, arena_printf(p->arena, "same%d", t), p->owned);
  }
  if (p->cached) add_step_loads(e, p->needed, p->cached, row_begin(p), row_end(p));
}

// --- Instructions

// Of each axis of the domain that the program reads.
static const char *const *domain_extents(const RowPlan *p) {
  const char **texts = arena_array(p->arena, const char *, MAX_RANK);
  for (int i = 0; i < p->program->count; i++) {
    const Instruction *instruction = &p->program->code[i];
    if (instruction->op == OP_extent)
      texts[instruction->args[0]] = extent_text(p->arguments, p->extents[instruction->args[0]], true);
  }
  return texts;
}

static const char *row_extent(const RowPlan *p) {
  return program_has(p->program, OP_row_extent) ? extent_text(p->arguments, p->whole_row, true) : NULL;
}

static ProgramNames leaf_names(Emitter *e) {
  const RowPlan *p = e->p;
  const char **inputs = arena_array(p->arena, const char *, (size_t)MAX(p->input_count, 1));
  DType *dtypes = arena_array(p->arena, DType, (size_t)MAX(p->input_count, 1));
  const char **indices = arena_array(p->arena, const char *, MAX_RANK);
  for (int t = 0; t < p->input_count; t++) {
    dtypes[t] = row_plan_operand(p, t)->dtype;
    const char *dtype = dtype_name(dtypes[t]);
    inputs[t] = row_plan_still(p, t) ? arena_printf(p->arena, "Element_%s::get(same%d[%s])", dtype, t, e->row)
                                     : arena_printf(p->arena, "Element_%s::get(a%d[k][i])", dtype, t);
  }
  for (int axis = 0; axis < MAX_RANK; axis++) {
    int t = p->index_tensor[axis];
    if (t >= 0)
      indices[axis] = arena_printf(p->arena, "(%s + i * %s)", offset_of(p, t),
                                   extent_text(p->arguments, p->nest.strides[t][p->axis], false));
  }
  return (ProgramNames){inputs, dtypes, indices, domain_extents(p), row_extent(p), "v", p->narrow};
}

// Marks the element-level instructions that `root` is computed from.
static void mark_elements(const RowPlan *p, int root, bool *marks) {
  if (!p->level[root] || marks[root]) return;
  marks[root] = true;
  const Instruction *instruction = &p->program->code[root];
  for (int k = 0; k < opcode_info(instruction->op)->arity; k++) mark_elements(p, instruction->args[k], marks);
}

// Row-level instructions that are known before pass `pass` begins.
static void add_row_instructions(Emitter *e, int pass) {
  const RowPlan *p = e->p;
  ProgramNames names = leaf_names(e);
  Text body = text_new(e->text->arena);
  for (int i = 0; i < p->program->count; i++) {
    bool fed = row_plan_feeds(p, i, p->pass[i]);
    if (!p->needed[i] || p->level[i] || e->values[i] || p->pass[i] + fed > pass) continue;
    if (row_plan_reduces(p, i))
      text_add(&body, "    const %s v%d = %s;\n", value_type(p->program->code[i].dtype), i, reduction_result(e, i));
    else instruction_emit_cuda(&body, p->program, i, &names, e->values);
    if (opcode(p, i) == OP_const) continue;
    text_add(&body, "    w%d[i] = v%d;\n", i, i);
    text_add(e->text, "  %s w%d[R];\n", value_type(p->program->code[i].dtype), i);
    e->values[i] = arena_printf(p->arena, "w%d[%s]", i, e->row);
  }
  if (body.length) text_add(e->text, "#pragma unroll\n  for (int i = 0; i < R; i++) {\n%s  }\n", text_get(&body));
}

// The loop over the elements of a row that this thread (and this block, if the row is split) takes, with the element-level
// instructions that `marks` says. What is done with their values is the caller's, who closes two braces before close_loop. Backwards, what an earlier
// pass read last comes first: it is still in the cache.
static void open_loop(Emitter *e, const bool *marks, bool backwards) {
  const RowPlan *p = e->p;
  if (p->cached) {
    open_steps(e, p->cached, row_begin(p), row_end(p));
    return;
  }
  int64_t chunk = (int64_t)p->unroll * p->lanes, steps = p->splits > 1 ? p->part : p->steps;
  const char *rounds = p->all_steps.open
                           ? arena_printf(p->arena, "(%s + %lld) / %lld", row_end(p), (long long)chunk - 1, (long long)chunk)
                           : arena_printf(p->arena, "%lld", (long long)ceil_div(steps, chunk));
  if (backwards)
    text_add(e->text, "  for (%s left = %s; left-- > 0;) {\n  const %s first = %s + left * %lld;\n", e->index_type, rounds,
             e->index_type, row_begin(p), (long long)chunk);
  else
    text_add(e->text, "  for (%s first = %s; first < %s; first += %lld) {\n", e->index_type, row_begin(p), row_end(p),
             (long long)chunk);
  add_step_loads(e, marks, p->unroll, "first", row_end(p));
  open_steps(e, p->unroll, "first", row_end(p));
}
static void close_loop(Emitter *e) { text_add(e->text, e->p->cached ? "" : "  }\n"); }

static void add_element_instructions(Emitter *e, const bool *marks) {
  const RowPlan *p = e->p;
  ProgramNames names = leaf_names(e);
  text_add(e->text, "#pragma unroll\n  for (int i = 0; i < V; i++) {\n");
  for (int i = 0; i < p->program->count; i++) {
    if (!marks[i]) continue;
    e->values[i] = NULL;
    text_add(e->text, "    ");
    instruction_emit_cuda(e->text, p->program, i, &names, e->values);
  }
}

// --- Passes

// Feeds the reductions of one pass.
static void add_pass(Emitter *e, int pass) {
  const RowPlan *p = e->p;
  bool *marks = arena_array(p->arena, bool, (size_t)p->program->count);
  for (int i = 0; i < p->program->count; i++)
    if (row_plan_feeds(p, i, pass)) mark_elements(p, p->program->code[i].args[0], marks);
  add_accumulators(e, pass);
  open_loop(e, marks, false);
  add_element_instructions(e, marks);
  for (int i = 0; i < p->program->count; i++)
    if (row_plan_feeds(p, i, pass)) add_feed(e, i);
  text_add(e->text, "  } } }\n");
  add_recentring(e, pass);
  close_loop(e);
  add_rebase(e, pass);
}

// --- Stores

// What is stored of an output's value. A cast to what is stored would round twice to the same.
static char *stored_output(const Emitter *e, int o) {
  const RowPlan *p = e->p;
  const Instruction *code = p->program->code;
  DType to = p->site->outputs[o].dtype;
  int from = p->program->outputs[o], operand = code[from].args[0];
  bool cast = code[from].op == OP_cast && code[from].dtype == to && (to == DTYPE_F16 || to == DTYPE_BF16);
  if (cast && strcmp(value_type(code[operand].dtype), "float") == 0 && e->values[operand]) from = operand;
  return stored_expression(p->arena, to, code[from].dtype, e->values[from]);
}

static void add_row_stores(Emitter *e) {
  const RowPlan *p = e->p;
  text_add(e->text, "  if (valid && lane == 0%s) {\n", p->splits > 1 ? " && split == 0" : "");
  for (int o = 0; o < p->output_count; o++) {
    int from = p->program->outputs[o], t = p->input_count + o;
    if (p->level[from]) continue;
    char *stored = stored_output(e, o);
    char *offset = nest_offset(&p->nest, t, 0, p->outer);
    if (p->owned > 1 && extent_is(p->nest.strides[t][p->axis], 1))
      text_add(e->text,
               "  Element_%s::Stored r%d[R];\n#pragma unroll\n  for (int i = 0; i < R; i++) r%d[i] = %s;\n"
               "  element_store<Element_%s, R, %d>(y%d + (%s), r%d);\n",
               stored_name(p, t), o, o, stored, stored_name(p, t), alignment_of(p, t), o, offset, o);
    else
      text_add(e->text, "#pragma unroll\n  for (int i = 0; i < R; i++) y%d[%s + i * (%s)] = %s;\n", o, offset,
               extent_text(p->arguments, p->owned > 1 ? p->nest.strides[t][p->axis] : extent_static(0), true), stored);
  }
  text_add(e->text, "  }\n");
}

static void add_element_stores(Emitter *e) {
  const RowPlan *p = e->p;
  bool *marks = arena_array(p->arena, bool, (size_t)p->program->count);
  for (int o = 0; o < p->output_count; o++) mark_elements(p, p->program->outputs[o], marks);
  open_loop(e, marks, p->passes > 0);
  for (int o = 0; o < p->output_count; o++)
    if (p->level[p->program->outputs[o]])
      text_add(e->text, "  Element_%s::Stored r%d[V];\n", dtype_name(p->site->outputs[o].dtype), o);
  add_element_instructions(e, marks);
  for (int o = 0; o < p->output_count; o++) {
    int from = p->program->outputs[o];
    if (!p->level[from]) continue;
    text_add(e->text, "    r%d[i] = %s;\n", o, stored_output(e, o));
  }
  text_add(e->text, "  }\n  if (valid) {\n");
  for (int o = 0; o < p->output_count; o++) {
    if (!p->level[p->program->outputs[o]]) continue;
    int t = p->input_count + o;
    Extent stride = p->nest.strides[t][p->axis];
    if (extent_is(stride, 1))
      text_add(e->text, "  element_store<Element_%s, V, %d>(y%d + (%s), r%d);\n", stored_name(p, t), alignment_of(p, t), o,
               offset_of(p, t), o);
    else
      text_add(e->text, "#pragma unroll\n  for (int i = 0; i < V; i++) y%d[%s + i * (%s)] = r%d[i];\n", o, offset_of(p, t),
               extent_text(p->arguments, stride, true), o);
  }
  text_add(e->text, "  } } }\n");
  close_loop(e);
}

// --- Kernels

static void add_split(Emitter *e) {
  const RowPlan *p = e->p;
  int64_t part = p->part;
  text_add(e->text, "  const int split = blockIdx.x %% %d;\n", p->splits);
  text_add(e->text, "  const %s first_step = split * %lldll;\n", e->index_type, (long long)part);
  text_add(e->text, "  const %s last_step = first_step + %lldll < %lldll ? first_step + %lldll : %lldll;\n", e->index_type,
           (long long)part, (long long)p->steps, (long long)part, (long long)p->steps);
  int each = p->owned > 1 ? 1 : p->vector;
  text_add(e->text, "  auto taken_by = [](int split) { return split == %d ? %lld : %lld; };  // elements of a row\n",
           p->splits - 1, (long long)(p->steps - (p->splits - 1) * part) * each, (long long)part * each);
}

static void add_mapping(Emitter *e) {
  const RowPlan *p = e->p;
  const char *block = p->splits > 1 ? arena_printf(p->arena, "(blockIdx.x / %d)", p->splits) : "blockIdx.x";
  text_add(e->text, "  constexpr int LANES = %d, V = %d, R = %d;\n", p->lanes, p->vector, p->owned);
  if (p->splits > 1) add_split(e);
  switch (p->shape) {
    case SHAPE_LANES:
      text_add(e->text, "  const int lane = threadIdx.x %% LANES;\n  %s row = (%s)%s * %d + threadIdx.x / LANES;\n",
               e->index_type, e->index_type, block, p->block_groups);
      break;
    case SHAPE_BLOCK: text_add(e->text, "  const int lane = threadIdx.x;\n  %s row = %s;\n", e->index_type, block); break;
    case SHAPE_COLUMNS:
      text_add(e->text,
               "  constexpr int COLUMNS = %d;\n  const int lane = threadIdx.x / COLUMNS;\n"
               "  %s row = (%s)%s * COLUMNS + threadIdx.x %% COLUMNS;  // a column of R rows\n",
               p->block_groups, e->index_type, e->index_type, block);
      if (row_plan_threads(p) > 32 && p->lanes > 1 && p->passes > 0)
        text_add(e->text, "  alignas(16) __shared__ char shared[COLUMNS * LANES / 32 * COLUMNS * R * %d];\n",
                 (int)row_plan_largest_partial(p));
      else text_add(e->text, "  char *const shared = nullptr;\n");
      break;
  }
  // Threads past the last row compute it again, so that all meet at barriers and shuffles; they store nothing.
  const char *groups = extent_text(p->arguments, p->all_groups, false);
  text_add(e->text, "  const bool valid = row < %s;\n  if (!valid) row = %s - 1;\n", groups, groups);
  nest_emit_coordinates(e->text, &p->nest, 0, p->outer, "row", p->owned);
}

// How many elements of a row this thread takes.
static void add_taken(Emitter *e) {
  const RowPlan *p = e->p;
  const char *begin = row_begin(p), *end = row_end(p);
  text_add(e->text, "  const int taken = %s < %s ? (int)(((%s)%s - (%s) + LANES - 1) / LANES) * %d : 0;\n", begin, end,
           e->index_type, end, begin, p->owned > 1 ? 1 : p->vector);
}

void row_text_kernel(const RowPlan *p, Text *text, const char *entry, int first, int last, bool store) {
  Text body = text_new(p->arena);
  Emitter emitter = {p, &body, arena_array(p->arena, const char *, (size_t)p->program->count),
                     nest_is_small(&p->nest) ? "u32" : "u64", p->owned > 1 ? "i" : "0"};
  Emitter *e = &emitter;
  add_mapping(e);
  add_row_loads(e);
  add_taken(e);
  for (int pass = 0; pass < last; pass++) {
    add_row_instructions(e, pass);
    if (pass < first) add_partial_loads(e, pass);
    else add_pass(e, pass);
    add_combination(e, pass);
  }
  if (store) {
    add_row_instructions(e, p->passes);
    add_row_stores(e);
    if (p->stores_elements) add_element_stores(e);
  } else {
    add_partial_stores(e, last - 1);
  }
  if (p->open) kernel_arguments_struct(text, p->arguments);
  text_add(text, "extern \"C\" __global__ void __launch_bounds__(%d) %s(", row_plan_threads(p), entry);
  add_parameters(p, text);
  text_add(text, ") {\n  begin_kernel();\n");
  if (p->open) kernel_arguments_gather(text, p->arguments);
  text_add(text, "%s}\n", text_get(&body));
}
