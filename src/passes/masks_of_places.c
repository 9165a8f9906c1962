// Constants that are a causal mask, written out by models of known sizes: one element up to a diagonal, another behind it. Counted by what reads them, they take no memory, and
// attention skips the keys that they leave out (kernels/attention/score_bounds.h). A rule of fold_constants.
#include <math.h>
#include <string.h>

#include "base/budget.h"
#include "base/checked.h"
#include "kernels/view/view.h"
#include "passes/places.h"
#include "passes/programs.h"

// Smaller ones cost nothing to read, larger ones are too much to look at.
enum { LEAST_SIDE = 16, MOST_ELEMENTS = 1 << 24, FAR_AHEAD = 6, MOST_USERS = 2 };

typedef struct Steps {
  const char *data;
  size_t size;  // of an element
  int64_t matrices, rows, columns;
  int64_t ahead;  // columns above row + ahead hold the other element
} Steps;

static const char *element_at(const Steps *s, int64_t matrix, int64_t row, int64_t column) {
  return s->data + (size_t)((matrix * s->rows + row) * s->columns + column) * s->size;
}

static const char *kept(const Steps *s) { return element_at(s, 0, s->rows - 1, 0); }
static const char *other(const Steps *s) { return element_at(s, 0, 0, s->columns - 1); }
static bool is_element(const Steps *s, const char *at, const char *element) { return !memcmp(at, element, s->size); }

// The last diagonal, from the lowest on, that begins as the lowest does.
static int64_t last_kept_diagonal(const Steps *s) {
  int64_t at = 1 - s->rows;
  while (at + 1 < s->columns && is_element(s, element_at(s, 0, MAX(-(at + 1), 0), MAX(at + 1, 0)), kept(s))) at++;
  return at;
}

static bool steps_in_row(const Steps *s, int64_t matrix, int64_t row) {
  int64_t keeps = MIN(MAX(row + s->ahead + 1, 0), s->columns);
  for (int64_t column = 0; column < s->columns; column++)
    if (!is_element(s, element_at(s, matrix, row, column), column < keeps ? kept(s) : other(s))) return false;
  return true;
}

// Weights are told from a mask by their first few elements.
static bool read_steps(const Tensor *tensor, Steps *out) {
  int rank = tensor->rank;
  int64_t count = tensor_count(tensor);
  if (rank < 2 || dtype_bits(tensor->dtype) < 8 || !count || count > MOST_ELEMENTS) return false;
  int64_t rows = tensor->dims[rank - 2], columns = tensor->dims[rank - 1];
  if (rows < LEAST_SIDE || columns < LEAST_SIDE) return false;
  *out = (Steps){tensor->data, dtype_size(tensor->dtype), count / (rows * columns), rows, columns, 0};
  if (is_element(out, kept(out), other(out))) return false;
  out->ahead = last_kept_diagonal(out);
  for (int64_t matrix = 0; matrix < out->matrices; matrix++)
    for (int64_t row = 0; row < rows; row++) {
      budget_step(1);
      if (!steps_in_row(out, matrix, row)) return false;
    }
  return true;
}

static int element_in(Program *program, const Tensor *tensor, const char *element) {
  Tensor one = {.dtype = tensor->dtype, .data = (void *)element};
  return dtype_is_float(one.dtype) ? program_const_f(program, one.dtype, tensor_get_f(&one, 0))
                                   : program_const_i(program, one.dtype, tensor_get_i(&one, 0));
}

// Sizes are small: positions have 32 bits.
static const Program *program_of_steps(Arena *arena, const Tensor *tensor, const Steps *s) {
  Program *program = program_new(arena, 0);
  int last = program_index(program, DTYPE_I32, tensor->rank - 2);
  int column = program_index(program, DTYPE_I32, tensor->rank - 1);
  if (s->ahead) last = program_op2(program, OP_add, last, program_const_i(program, DTYPE_I32, s->ahead));
  if (tensor->dtype == DTYPE_BOOL) {
    program_output(program, program_op2(program, *kept(s) ? OP_le : OP_gt, column, last));
    return program;
  }
  int is_kept = program_op2(program, OP_le, column, last);
  int yes = element_in(program, tensor, kept(s)), no = element_in(program, tensor, other(s));
  program_output(program, program_op3(program, OP_select, is_kept, yes, no));
  return program;
}

static bool is_maskable(const Value *value) {
  DTypeKind kind = dtype_kind(value->dtype);
  return value->constant && !value->open && (kind == KIND_FLOAT || kind == KIND_SIGNED || kind == KIND_BOOL);
}

static const Program *program_of_mask(const Value *value) {
  Steps steps;
  if (!value || !is_maskable(value) || !read_steps(value->constant, &steps)) return NULL;
  if (dtype_is_float(value->dtype) &&
      (isnan(element_get_f(value->dtype, kept(&steps))) || isnan(element_get_f(value->dtype, other(&steps)))))
    return NULL;
  return program_of_steps(value->graph->arena, value->constant, &steps);
}

// Elsewhere a product takes a mask as its epilogue's operand, but no program that counts.
static bool leads_to_rows(const Value *value, int depth) {
  int users = 0;
  for (const Use *use = value->uses; use && users < MOST_USERS; use = use->next, users++) {
    const Node *user = use->node;
    budget_step(1);
    if (user->op == &op_rowwise) return true;
    bool passes = user->op == &op_elementwise || user->op->view;
    if (passes && depth < FAR_AHEAD && user->output_count == 1 && leads_to_rows(user->outputs[0], depth + 1)) return true;
  }
  return false;
}

static Status causal_masks(Rewrite *r) {
  Node *root = matched(r, "root");
  Dim domain[MAX_RANK];
  int rank = node_domain(root, domain), found = 0;
  const Program *mask = NULL;
  for (int i = 0; i < root->input_count && !mask; i++)
    if (root->inputs[i] && root->inputs[i]->rank <= rank) mask = program_of_mask(root->inputs[found = i]);
  WANT(mask, "none of its operands is a mask of what is behind a diagonal");
  WANT(leads_to_rows(root->outputs[0], 0), "no rows are reduced behind it");
  Node *made = rewrite_add(r, &op_elementwise, 0, NULL, root->output_count);
  Program *program = program_with_inner(node_program(root, "program"), found, mask, root->inputs[found], rank);
  WANT(set_program_over(made, root, program, root->input_count, root->inputs, 0),
       "how many elements there are is open without it");
  return rewrite_root_by(r, made);
}

static bool may_mask(const Node *node) { return node->output_count == 1 && reads_little(node); }

const Rule rule_causal_masks = {.name = "causal_masks",
                                .help = "a constant mask of what is behind a diagonal is counted by what reads it",
                                .pattern = "elementwise(...)",
                                .exactness = EXACT,
                                .device = CUDA_ONLY,
                                .root = may_mask,
                                .apply = causal_masks};
