// What depends on constants alone is computed now, by the reference. Results larger than their inputs (an expanded scalar) stay
// computed at run time: views cost nothing there, and a program may be part of what reads it. Those that at the end are still steps of their own are computed
// after all, unless they are large.
#include <string.h>

#include "ir/graph_value.h"
#include "kernels/reference.h"
#include "kernels/view/view.h"
#include "passes/places.h"
#include "passes/programs.h"

enum { MAX_GROWN_BYTES = 1 << 16, MAX_STEP_BYTES = 1 << 20 };

static bool foldable(const Node *node, Arena *scratch, size_t most) {
  if (!node->op->reference || node->op->random || node->op->data_dependent || !node->output_count) return false;
  size_t in = 0, out = 0;
  for (int i = 0; i < node->input_count; i++) {
    if (!node->inputs[i]) continue;
    if (!node->inputs[i]->constant) return false;
    in += tensor_bytes(node->inputs[i]->constant);
  }
  for (int i = 0; i < node->output_count; i++) {
    const Value *value = node->outputs[i];
    if (value->dtype == DTYPE_COUNT || !value_is_static(value)) return false;
    size_t bytes = dtype_size(value->dtype);
    for (int k = 0; k < value->rank; k++) bytes *= (size_t)value->dims[k];
    out += bytes;
  }
  // Attributes may be symbolic where the output's shape is not.
  StringMap *symbols = string_map_new(scratch);
  node_note_symbols(node, symbols);
  if (string_map_count(symbols)) return false;
  return out <= in || out <= most;
}

// A number that is repeated stays one, which programs take in.
static bool repeats_number(const Node *node) {
  const Value *value = node->op == &op_expand ? node->inputs[0] : NULL;
  return value && value->constant && dtype_is_float(value->dtype) && tensor_count(value->constant) == 1;
}

// Whether a choice, or a cast of what is no float, gave one number everywhere: a mask that masks nothing. Floats that happen to be equal are weights.
static bool is_one_number(const Node *node, const Tensor *result) {
  bool chosen = false;
  for (int i = 0; i < node->input_count; i++) chosen = chosen || (node->inputs[i] && !dtype_is_float(node->inputs[i]->dtype));
  size_t size = dtype_size(result->dtype), bytes = tensor_bytes(result);
  const char *data = result->data;
  return chosen && node->op == &op_elementwise && dtype_is_float(result->dtype) && dtype_bits(result->dtype) >= 8 &&
         bytes > size && !memcmp(data, data + size, bytes - size);
}

static Status repeat_number(Rewrite *r, const Tensor *result) {
  Graph *graph = rewrite_graph(r);
  Tensor one = *result;
  one.rank = 0;
  Value *number = graph_add_constant(graph, NULL, &one);
  Node *expand = rewrite_add(r, &op_expand, 1, &number, 1);
  Dim dims[MAX_RANK];
  for (int i = 0; i < result->rank; i++) dims[i] = dim_constant(graph->dims, result->dims[i]);
  node_set_dims(expand, "dims", dims, result->rank);
  return rewrite_root_by(r, expand);
}

static bool would_round(const Rewrite *r, const Node *node) {
  for (int i = 0; i < node->output_count; i++)
    if (!node->op->view && rewrite_rounds_constants(r, node->outputs[i]->dtype)) return true;
  return false;
}

static Status compute(Rewrite *r, size_t most) {
  Node *node = matched(r, "root");
  Graph *graph = rewrite_graph(r);
  WANT(foldable(node, rewrite_scratch(r), most), "not all of it is constant");
  WANT(!repeats_number(node), "it is a number that is repeated");
  WANT(!would_round(r, node), "a region keeps more digits of it than a constant has");
  const Tensor **inputs = arena_array(graph->arena, const Tensor *, node->input_count);
  Tensor *outputs = arena_array(graph->arena, Tensor, node->output_count);
  for (int i = 0; i < node->input_count; i++) inputs[i] = node->inputs[i] ? node->inputs[i]->constant : NULL;
  TRY(reference_run(node, graph->arena, inputs, outputs));
  if (node->output_count == 1 && is_one_number(node, &outputs[0])) return repeat_number(r, &outputs[0]);
  for (int i = 0; i < node->output_count; i++) {
    Value *constant = graph_add_constant(graph, NULL, &outputs[i]);
    value_copy_open(constant, node->outputs[i]);  // it is another in a call of other sizes
    TRY(rewrite_replace(r, node->outputs[i], constant));
  }
  return OK;
}

static Status fold_constant(Rewrite *r) { return compute(r, MAX_GROWN_BYTES); }

static Status fold_step(Rewrite *r) {
  WANT(!matched(r, "root")->op->view, "a view is no step");
  return compute(r, MAX_STEP_BYTES);
}

// Bits of zeros: -0 is something else.
static bool is_zeros(const Value *value) {
  if (!value) return false;
  const Tensor *tensor = repeated_constant(value);
  const char *bytes = tensor ? tensor->data : NULL;
  for (size_t i = 0; tensor && i < tensor_bytes(tensor); i++)
    if (bytes[i]) return false;
  return tensor && dtype_is_float(tensor->dtype);
}

static Status zero_states(Rewrite *r) {
  enum { FIRST_STATE = 5, LAST_STATE = 6 };
  Node *root = matched(r, "root");
  bool any = false;
  for (int i = FIRST_STATE; i <= LAST_STATE && i < root->input_count; i++) any = any || is_zeros(root->inputs[i]);
  WANT(any, "its initial states are not zero");
  for (int i = FIRST_STATE; i <= LAST_STATE && i < root->input_count; i++)
    if (is_zeros(root->inputs[i])) rewrite_set_input(r, root, i, NULL);
  return OK;
}

static const Rule rule_zero_states = {.name = "zero_states",
                                      .help = "initial states of zeros, which a recurrence has by itself, go",
                                      .pattern = "recurrent(...)",
                                      .exactness = EXACT,
                                      .apply = zero_states};
static const Rule fold_constants = {.name = "fold_constants",
                                    .help = "computes a node whose operands are constants",
                                    .pattern = "*(...)",
                                    .exactness = EXACT,
                                    .apply = fold_constant};
static const Rule fold_steps = {
    .name = "fold_steps",
    .help = "computes a step whose operands are constants, where its result is no larger than a mebibyte",
    .pattern = "*(...)",
    .exactness = EXACT,
    .apply = fold_step};

const Pass pass_fold_steps = {"fold_steps", "computes the steps that would give the same in every run",
                              (const Rule *const[]){&fold_steps, NULL}};
const Pass pass_fold_constants = {
    "fold_constants", "computes what depends on constants alone",
    (const Rule *const[]){&fold_constants, &rule_zero_states, &rule_known_elements, &rule_view_of_number,
                          &rule_positions_inside, &rule_slices_by_places, &rule_elements_by_places, &rule_coordinates_by_places,
                          &rule_causal_masks, NULL}};
