// See index_form.h. A walk from the value back to what makes it, as far as it consists of programs over integers, views, counts and constants.
#include "passes/index_form.h"

#include <stdlib.h>
#include <string.h>

#include "kernels/meaning.h"
#include "passes/programs.h"

enum { MOST_NODES = 48, MOST_INPUTS = 2, LONGEST_PROGRAM = 24, LARGEST_CONSTANT = 1 << 16, LARGEST_NUMBER = 1 << 30 };

typedef struct Walk {
  DimTable *dims;
  int nodes;  // that may still be looked at
} Walk;

static bool walk(Walk *w, const Value *value, IndexForm *form);

static bool is_index_type(DType dtype) { return dtype == DTYPE_I64 || dtype == DTYPE_I32 || dtype == DTYPE_BOOL; }

bool index_form_is_constant(const IndexForm *form, int rank) {
  for (int i = 0; i < rank; i++)
    if (form->steps[i] != 0) return false;
  return true;
}

bool index_form_bounds(DimTable *table, const IndexForm *form, int rank, const Dim *dims, Dim *low, Dim *high) {
  *low = *high = form->base;
  for (int i = 0; i < rank; i++) {
    Dim most = dim_mul(table, form->steps[i], dim_sub(table, dims[i], 1));
    if (dim_at_least(table, form->steps[i], 0)) *high = dim_add(table, *high, most);
    else if (dim_at_least(table, 0, form->steps[i])) *low = dim_add(table, *low, most);
    else return false;
  }
  return true;
}

Dim dim_with_elements(DimTable *table, Dim dim, int rank, const Dim *dims) {
  int64_t constant;
  if (dim_get_constant(table, dim, &constant)) return dim;
  if (dim_op(table, dim) == DIM_SYMBOL) {
    for (int i = 0; i < rank; i++)
      if (dims[i] == dim) return dim_add(table, dim, 1);
    return dim;
  }
  Dim a = dim_with_elements(table, dim_operand(table, dim, 0), rank, dims);
  return dim_make(table, dim_op(table, dim), a, dim_with_elements(table, dim_operand(table, dim, 1), rank, dims));
}

static bool constant_form(Walk *w, const Tensor *tensor, IndexForm *form) {
  int64_t count = tensor_count(tensor), strides[MAX_RANK], steps[MAX_RANK], base;
  if (!count || count > LARGEST_CONSTANT) return false;
  dims_strides(tensor->rank, tensor->dims, strides);
  for (int64_t at = 0; at < count; at++)
    if (llabs(tensor_get_i(tensor, at)) > LARGEST_NUMBER) return false;
  base = tensor_get_i(tensor, 0);
  for (int i = 0; i < tensor->rank; i++) {
    steps[i] = tensor->dims[i] > 1 ? tensor_get_i(tensor, strides[i]) - base : 0;
    form->steps[i] = dim_constant(w->dims, steps[i]);
  }
  for (int64_t at = 0; at < count; at++) {
    int64_t expected = base;
    for (int i = 0; i < tensor->rank; i++) expected += at / strides[i] % tensor->dims[i] * steps[i];
    if (tensor_get_i(tensor, at) != expected) return false;
  }
  form->base = dim_constant(w->dims, base);
  return true;
}

static bool contents_form(Walk *w, const Value *value, IndexForm *form) {
  int count = value->contents_count;
  if (!count || (value->rank != 1 && count > 1)) return false;
  form->base = value->contents[0];
  Dim step = count > 1 ? dim_sub(w->dims, value->contents[1], form->base) : 0;
  for (int i = 0; i < value->rank; i++) form->steps[i] = step;
  for (int i = 1; i < count; i++)
    if (dim_sub(w->dims, value->contents[i], value->contents[i - 1]) != step) return false;
  return true;
}

// --- Programs.

typedef struct Forms {
  Walk *walk;
  const Node *node;
  int rank;
  Dim domain[MAX_RANK];
  IndexForm values[LONGEST_PROGRAM];
} Forms;

static void add_scaled(const Forms *f, IndexForm *to, const IndexForm *by, Dim scale) {
  DimTable *table = f->walk->dims;
  to->base = dim_add(table, to->base, dim_mul(table, by->base, scale));
  for (int i = 0; i < f->rank; i++) to->steps[i] = dim_add(table, to->steps[i], dim_mul(table, by->steps[i], scale));
}

static bool input_form(const Forms *f, const Value *value, IndexForm *out) {
  IndexForm own;
  if (!value || value->rank > f->rank || !walk(f->walk, value, &own)) return false;
  *out = (IndexForm){.base = own.base};
  for (int i = 0; i < value->rank; i++) out->steps[f->rank - value->rank + i] = value->dims[i] == 1 ? 0 : own.steps[i];
  return true;
}

static IndexForm difference(const Forms *f, const IndexForm *a, const IndexForm *b) {
  IndexForm out = *a;
  add_scaled(f, &out, b, dim_constant(f->walk->dims, -1));
  return out;
}

static bool decided(IndexForm *out, bool known, bool truth) {
  *out = (IndexForm){.base = truth};
  return known;
}

static bool compare_forms(const Forms *f, Opcode op, const IndexForm *a, const IndexForm *b, IndexForm *out) {
  IndexForm apart = difference(f, a, b);
  DimTable *table = f->walk->dims;
  Dim low, high, minus_one = dim_constant(table, -1);
  if (!index_form_bounds(table, &apart, f->rank, f->domain, &low, &high)) return false;
  low = dim_with_elements(table, low, f->rank, f->domain);
  high = dim_with_elements(table, high, f->rank, f->domain);
  bool less = dim_at_least(table, minus_one, high), greater = dim_at_least(table, low, 1), equal = low == 0 && high == 0;
  bool at_least = dim_at_least(table, low, 0), at_most = dim_at_least(table, 0, high);
  switch (op) {
    case OP_eq: return decided(out, equal || less || greater, equal);
    case OP_ne: return decided(out, equal || less || greater, !equal);
    case OP_lt: return decided(out, less || at_least, less);
    case OP_ge: return decided(out, less || at_least, !less);
    case OP_gt: return decided(out, greater || at_most, greater);
    default: return decided(out, greater || at_most, !greater);
  }
}

static bool multiply_forms(const Forms *f, const IndexForm *a, const IndexForm *b, IndexForm *out) {
  bool first = index_form_is_constant(a, f->rank);
  if (!first && !index_form_is_constant(b, f->rank)) return false;
  *out = (IndexForm){0};
  add_scaled(f, out, first ? b : a, first ? a->base : b->base);
  return true;
}

static bool is_truth(const Forms *f, const IndexForm *form) {
  return index_form_is_constant(form, f->rank) && (form->base == 0 || form->base == 1);
}

static bool cast_form(const Forms *f, DType to, const IndexForm *a, IndexForm *out) {
  *out = *a;
  return to != DTYPE_BOOL || is_truth(f, a) || compare_forms(f, OP_ne, a, &(IndexForm){0}, out);
}

static bool logic_form(const Forms *f, Opcode op, const IndexForm *a, const IndexForm *b, IndexForm *out) {
  if (!is_truth(f, a) || (b && !is_truth(f, b))) return false;
  bool x = a->base, y = b && b->base;
  return decided(out, true, op == OP_and ? x && y : op == OP_or ? x || y : op == OP_xor ? x != y : !x);
}

static bool instruction_form(Forms *f, const Instruction *code, IndexForm *out) {
  const IndexForm *a = &f->values[code->args[0]], *b = &f->values[code->args[1]], *c = &f->values[code->args[2]];
  *out = (IndexForm){0};
  switch (code->op) {
    case OP_const: out->base = dim_constant(f->walk->dims, code->integer); return true;
    case OP_input: return input_form(f, f->node->inputs[code->args[0]], out);
    case OP_index: out->steps[code->args[0]] = 1; return true;
    case OP_extent: out->base = f->domain[code->args[0]]; return true;
    case OP_add: *out = *a, add_scaled(f, out, b, 1); return true;
    case OP_sub: *out = difference(f, a, b); return true;
    case OP_neg: *out = difference(f, out, a); return true;
    case OP_mul: return multiply_forms(f, a, b, out);
    case OP_cast: return cast_form(f, code->dtype, a, out);
    case OP_eq:
    case OP_ne:
    case OP_lt:
    case OP_le:
    case OP_gt:
    case OP_ge: return compare_forms(f, code->op, a, b, out);
    case OP_and:
    case OP_or:
    case OP_xor: return logic_form(f, code->op, a, b, out);
    case OP_not: return code->dtype == DTYPE_BOOL && logic_form(f, code->op, a, NULL, out);  // of integers it turns every bit
    case OP_select: *out = a->base ? *b : *c; return is_truth(f, a);
    default: return false;
  }
}

static bool program_form(Walk *w, const Node *node, IndexForm *form) {
  const Program *program = node_program(node, "program");
  Forms f = {.walk = w, .node = node};
  if (node->output_count != 1 || program->count > LONGEST_PROGRAM || node_attribute(node, "axes")) return false;
  f.rank = node_domain(node, f.domain);
  if (f.rank < 0) return false;
  for (int i = 0; i < program->count; i++)
    if (!is_index_type(program->code[i].dtype) || !instruction_form(&f, &program->code[i], &f.values[i])) return false;
  *form = f.values[program->outputs[0]];
  return true;
}

// --- Views and what else hands on.

// Axes of one element come and go.
static bool reshape_form(const Value *in, const Value *out, const IndexForm *from, IndexForm *form) {
  int at = 0;
  *form = (IndexForm){.base = from->base};
  for (int i = 0; i < out->rank; i++) {
    if (out->dims[i] == 1) continue;
    while (at < in->rank && in->dims[at] == 1) at++;
    if (at == in->rank || in->dims[at] != out->dims[i]) return index_form_is_constant(from, in->rank);
    form->steps[i] = from->steps[at++];
  }
  while (at < in->rank && in->dims[at] == 1) at++;
  return at == in->rank || index_form_is_constant(from, in->rank);
}

// Along an axis that is not there any more, or may be repeated, nothing may change.
static bool view_form(Walk *w, const Node *node, IndexForm *form) {
  const Value *in = node->inputs[0], *out = node->outputs[0];
  IndexForm from;
  ViewMap map = {0};
  bool met[MAX_RANK] = {0};
  if (!walk(w, in, &from)) return false;
  node->op->view(node, &map);
  if (map.regroups) return reshape_form(in, out, &from, form);
  *form = (IndexForm){.base = from.base};
  for (int i = 0; i < out->rank; i++) {
    const ViewAxis *axis = &map.axes[i];
    if (axis->source < 0) continue;
    met[axis->source] = true;
    form->base = dim_add(w->dims, form->base, dim_mul(w->dims, from.steps[axis->source], axis->start));
    form->steps[i] = dim_mul(w->dims, from.steps[axis->source], dim_constant(w->dims, axis->step));
  }
  for (int i = 0; i < in->rank; i++)
    if (!met[i] && in->dims[i] != 1 && from.steps[i] != 0) return false;
  return true;
}

static bool own_form(Walk *w, const Node *node, IndexForm *form) {
  IndexForm inputs[MOST_INPUTS];
  if (node->input_count > MOST_INPUTS) return false;
  for (int i = 0; i < node->input_count; i++)
    if (!node->inputs[i] || !walk(w, node->inputs[i], &inputs[i])) return false;
  return node->op->index_form(node, inputs, form);
}

static bool walk(Walk *w, const Value *value, IndexForm *form) {
  const Node *node = value->producer;
  *form = (IndexForm){0};
  if (value->kind != VALUE_TENSOR || value->rank < 0 || !is_index_type(value->dtype)) return false;
  if (value->constant) return constant_form(w, value->constant, form);
  if (value->contents && contents_form(w, value, form)) return true;
  if (!node || --w->nodes < 0) return false;
  if (node->op->index_form) return own_form(w, node, form);
  if (node->op->has_program) return program_form(w, node, form);
  return node->op->view && view_form(w, node, form);
}

bool index_form_of(const Value *value, IndexForm *form) {
  return walk(&(Walk){.dims = value->graph->dims, .nodes = MOST_NODES}, value, form);
}
