// What a rowwise node's axes, passes and tensors are; see rowwise_plan.h.
#include "kernels/rowwise/rowwise_plan.h"
#include "kernels/program/generate.h"

bool row_plan_reduces(const RowPlan *p, int instruction) { return opcode_info(p->program->code[instruction].op)->reduces; }

static bool follows(const RowPlan *p, int instruction) {
  return p->moments[instruction] >= 0 && p->moments[instruction] != instruction;
}
bool row_plan_feeds(const RowPlan *p, int instruction, int pass) {
  return p->needed[instruction] && row_plan_reduces(p, instruction) && !follows(p, instruction) && p->pass[instruction] == pass;
}

bool row_plan_still(const RowPlan *p, int tensor) {
  for (int i = p->outer; i < p->nest.rank; i++)
    if (!extent_is(p->nest.strides[tensor][i], 0)) return false;
  return true;
}

size_t row_plan_partial_bytes(const RowPlan *p, int instruction) {
  if (p->moments[instruction] == instruction) return 24;
  return row_plan_is_arg(p->program->code[instruction].op) ? 16 : 8;
}

size_t row_plan_largest_partial(const RowPlan *p) {
  size_t largest = 8;
  for (int i = 0; i < p->program->count; i++)
    if (p->needed[i] && row_plan_reduces(p, i)) largest = MAX(largest, row_plan_partial_bytes(p, i));
  return largest;
}

// What an axis of the domain is in every call, some input says that is as long.
static void find_open(RowPlan *p) {
  for (int t = 0; t < p->input_count; t++) {
    const TensorDesc *x = &p->site->inputs[t];
    for (int i = 0; i < x->rank; i++) {
      Extent *extent = &p->extents[i + p->rank - x->rank], own = desc_extent(x, i);
      if (own.open && own.now == extent->now && !extent->open) *extent = own;
    }
  }
  int64_t row = 1;
  for (int i = 0; i < p->rank; i++)
    if (p->reduced[i]) row *= p->extents[i].now;
  if (row > INT32_MAX) p->dims = NULL;  // arguments are ints
  for (int i = 0; i < p->rank && !p->dims; i++) p->extents[i] = extent_static(p->extents[i].now);
}

static void read_domain(RowPlan *p) {
  const Node *node = p->site->node;
  int count = 0;
  const Dim *dims = node_dims(node, "dims", &count);
  if (dims) {
    p->rank = count;
    for (int i = 0; i < count; i++) p->extents[i] = extent_static(dims[i]);
  } else {
    for (int t = 0; t < p->input_count; t++) p->rank = MAX(p->rank, p->site->inputs[t].rank);
    for (int i = 0; i < p->rank; i++) p->extents[i] = extent_static(1);
    for (int t = 0; t < p->input_count; t++) {
      const TensorDesc *x = &p->site->inputs[t];
      for (int i = 0; i < x->rank; i++)
        if (x->dims[i] != 1) p->extents[i + p->rank - x->rank] = extent_static(x->dims[i]);
    }
  }
  const int64_t *axes = node_ints(node, "axes", &count);
  for (int i = 0; i < count; i++)
    if (axes[i] >= 0 && axes[i] < p->rank) p->reduced[axes[i]] = true;
  if (p->dims) find_open(p);
}

static void find_passes(RowPlan *p) {
  p->passes = 0;
  for (int i = 0; i < p->program->count; i++) {
    const Instruction *instruction = &p->program->code[i];
    if (!p->needed[i]) continue;
    p->pass[i] = 0;
    for (int k = 0; k < opcode_info(instruction->op)->arity; k++) {
      int from = instruction->args[k];
      p->pass[i] = MAX(p->pass[i], p->pass[from] + (row_plan_reduces(p, from) && !follows(p, from)));
    }
    if (row_plan_reduces(p, i) && !follows(p, i)) p->passes = MAX(p->passes, p->pass[i] + 1);
  }
}

static void read_program(RowPlan *p) {
  const Program *program = p->program;
  size_t count = (size_t)program->count;
  p->level = arena_array(p->arena, uint8_t, count);
  p->needed = arena_array(p->arena, bool, count);
  p->pass = arena_array(p->arena, int, count);
  p->moments = arena_array(p->arena, int, count);
  p->used = arena_array(p->arena, bool, (size_t)MAX(p->input_count, 1));
  program_levels(program, p->level);
  program_needed(program, p->needed);
  for (int i = 0; i < program->count; i++) {
    p->moments[i] = -1;
    if (p->needed[i] && program->code[i].op == OP_input) p->used[program->code[i].args[0]] = true;
  }
  find_passes(p);
  for (int o = 0; o < program->output_count; o++) p->stores_elements |= p->level[program->outputs[o]] != 0;
}

// The sum over the elements whose squared distances from a later value instruction i sums up, or -1.
static int sum_behind(const RowPlan *p, int i) {
  const Instruction *code = p->program->code;
  if (!p->needed[i] || code[i].op != OP_reduce_sum || !dtype_is_float(code[i].dtype)) return -1;
  const Instruction *square = &code[code[i].args[0]];
  if (square->op != OP_mul || square->args[0] != square->args[1]) return -1;
  const Instruction *distance = &code[square->args[0]];
  if (distance->op != OP_sub || p->level[distance->args[0]] == p->level[distance->args[1]]) return -1;
  int element = distance->args[p->level[distance->args[0]] ? 0 : 1];
  for (int sum = 0; sum < i; sum++)
    if (p->needed[sum] && code[sum].op == OP_reduce_sum && code[sum].args[0] == element && p->pass[sum] < p->pass[i] &&
        code[element].dtype == code[i].dtype)
      return sum;
  return -1;
}

void row_plan_use_moments(RowPlan *p) {
  for (int i = 0; i < p->program->count && p->row > 1; i++) {
    int sum = sum_behind(p, i);
    if (sum >= 0) p->moments[i] = p->moments[sum] = sum;
  }
  find_passes(p);
}

// Kept axes first; reduced axes of extent 1 are as good as kept.
static void place_axes(RowPlan *p, int place[MAX_RANK], Extent extents[MAX_RANK]) {
  int order[MAX_RANK], count = 0;
  for (int part = 0; part < 2; part++) {
    for (int i = 0; i < p->rank; i++)
      if (p->reduced[i] == part) order[count++] = i;
    if (part == 0) p->outer = count;
  }
  p->all_rows = p->whole_row = extent_static(1);
  for (int i = 0; i < p->rank; i++) {
    place[order[i]] = i;
    extents[i] = p->extents[order[i]];
    if (i < p->outer) p->all_rows = extent_mul(p->dims, p->all_rows, extents[i]);
    else p->whole_row = extent_mul(p->dims, p->whole_row, extents[i]);
  }
  p->rows = extent_typical(p->dims, p->all_rows);
  p->row = extent_typical(p->dims, p->whole_row);
}

static double typical_count(const RowPlan *p, const TensorDesc *desc) {
  double count = 1;
  for (int i = 0; i < desc->rank; i++)
    count *= p->dims ? (double)extent_typical(p->dims, desc_extent(desc, i)) : (double)desc->dims[i];
  return count;
}

// The input that costs the most decides.
static int find_main(const RowPlan *p) {
  double most = -1;
  int main = p->input_count;
  for (int t = 0; t < p->input_count; t++) {
    double bytes = typical_count(p, &p->site->inputs[t]) * (double)dtype_size(p->site->inputs[t].dtype);
    if (!p->used[t] || bytes <= most) continue;
    most = bytes;
    main = t;
  }
  return main;
}

static void make_nest(RowPlan *p) {
  const Program *program = p->program;
  int place[MAX_RANK];
  Extent extents[MAX_RANK];
  place_axes(p, place, extents);
  p->nest = nest_new(p->dims, p->arguments, p->rank, extents);
  for (int t = 0; t < p->input_count + p->output_count; t++) {
    const TensorDesc *desc = row_plan_operand(p, t);
    Extent strides[MAX_RANK] = {0};
    int lead = p->rank - desc->rank;
    for (int i = 0; i < desc->rank; i++)
      if (i + lead >= 0 && !nest_broadcasts(&p->nest, desc, i, place[i + lead]))
        strides[place[i + lead]] = p->dims ? desc_stride(desc, i) : extent_static(desc->strides[i]);
    nest_add_strides(&p->nest, strides);
  }
  bool args = false;
  for (int axis = 0; axis < MAX_RANK; axis++) p->index_tensor[axis] = -1;
  for (int i = 0; i < program->count; i++) {
    const Instruction *instruction = &program->code[i];
    if (instruction->op == OP_index && p->index_tensor[instruction->args[0]] < 0)
      p->index_tensor[instruction->args[0]] = nest_add_index(&p->nest, place[instruction->args[0]]);
    args |= p->needed[i] && row_plan_is_arg(instruction->op);
  }
  p->row_tensor = -1;
  if (args) {
    Extent strides[MAX_RANK] = {0};
    Extent stride = extent_static(1);
    for (int i = p->rank - 1; i >= p->outer; i--) {
      strides[i] = stride;
      stride = extent_mul(p->dims, stride, extents[i]);
    }
    p->row_tensor = nest_add_strides(&p->nest, strides);
  }
  p->main = find_main(p);
  nest_collapse(&p->nest, p->main, &p->outer);
  p->open = nest_is_open(&p->nest);
  // Both parts keep at least one axis, so that the text need not ask.
  if (p->outer == 0) nest_insert(&p->nest, p->outer++);
  if (p->outer == p->nest.rank) nest_insert(&p->nest, p->outer);
}

void row_plan_analyse(RowPlan *p) {
  read_domain(p);
  read_program(p);
  make_nest(p);
}
