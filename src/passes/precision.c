// Half precision on request: every fp32 value inside the graph becomes fp16 or bf16, constants are converted, and casts
// appear at the graph's own inputs and outputs, whose types do not change. An anchor with its epilogue, a region, is one node here. Programs keep computing in fp32 inside; only what is stored
// is narrow. Operators with graphs inside and operators not translated yet keep fp32, behind casts.
#include <float.h>
#include <math.h>
#include <string.h>

#include "base/checked.h"
#include "kernels/build.h"
#include "kernels/control/region.h"
#include "kernels/fused.h"
#include "kernels/view/view.h"
#include "passes/programs.h"

enum { MAX_WIDE_ELEMENTS = 16384 };

static bool is_fused(const Node *node) { return fused_anchor(node) != node; }

static bool keeps_f32(const Node *node) {
  const OpDef *op = fused_anchor(node)->op;
  return op->exact_values || op->data_dependent;
}

// fp16 ends at 65504: a mask of -3.4e38 must stay finite, or a row of it gives NaN.
static Status narrow_constant(Graph *graph, const Tensor *from, DType dtype, Tensor *to) {
  TRY(tensor_new(graph->arena, dtype, from->rank, from->dims, to));
  const float *values = from->data;
  int64_t count = tensor_count(from);
  for (int64_t i = 0; i < count; i++) {
    float value = values[i];
    if (dtype == DTYPE_F16 && isfinite(value)) value = fminf(fmaxf(value, -65504.0f), 65504.0f);
    tensor_set_f(to, i, value);
  }
  return OK;
}

// Comes from where `cause` does, the node that it is for.
static Value *cast_before(Graph *graph, Node *at, Value *value, DType dtype, const Node *cause, Status *status) {
  Builder b = {.graph = graph, .at = at};
  Value *cast = build_cast(&b, value, dtype);
  if (cause && !b.status) node_merge_origins(cast->producer, cause);
  *status = b.status;
  return cast;
}

// What only the caller reads is stored as the caller wants it.
static bool is_for_caller(const Value *value) { return value->is_output && !value->uses; }

// Which instructions give a number that f16 has no room for, or something of one: powers of e are what they are, as those of a softmax behind a mask.
static const bool *find_large(const Program *program) {
  bool *large = arena_array(program->arena, bool, (size_t)program->count + 1);
  for (int i = 0; i < program->count; i++) {
    const Instruction *in = &program->code[i];
    large[i] = in->op == OP_const && dtype_is_float(in->dtype) && isfinite(in->number) && fabs(in->number) > 65504.0;
    for (int k = 0; k < opcode_info(in->op)->arity && in->op != OP_exp; k++) large[i] = large[i] || large[in->args[k]];
  }
  return large;
}

// What a program stores is narrow; what large constants in it have a part in is clamped like stored ones.
static void narrow_program(const Node *node, Program *program, DType dtype) {
  const bool *large = find_large(program);
  for (int i = 0; i < program->output_count; i++) {
    int result = program->outputs[i];
    if (program->code[result].dtype != DTYPE_F32 || is_for_caller(node->outputs[i])) continue;
    if (large[result] && dtype == DTYPE_F16) {
      result = program_op2(program, OP_max, result, program_const_f(program, DTYPE_F32, -65504.0));
      result = program_op2(program, OP_min, result, program_const_f(program, DTYPE_F32, 65504.0));
    }
    program->outputs[i] = program_cast(program, dtype, result);
  }
}

typedef struct Narrowing {
  Graph *graph;
  DType dtype;
  IntMap *constants, *casts;  // by value id
  int changes;
} Narrowing;

// The narrow form of an input value of a node.
static Status narrow_input(Narrowing *n, Node *node, int index) {
  Value *value = node->inputs[index];
  if (!value || value->dtype != DTYPE_F32) return OK;
  if (value->constant) {
    // Programs read either; what is small there (an epsilon, a norm's scale) is not worth rounding.
    if (is_program_node(node) && tensor_count(value->constant) <= MAX_WIDE_ELEMENTS) return OK;
    Value *narrow = int_map_get(n->constants, value->id);
    if (!narrow) {
      Tensor tensor;
      TRY(narrow_constant(n->graph, value->constant, n->dtype, &tensor));
      narrow = graph_add_constant(n->graph, value->name, &tensor);
      int_map_set(n->constants, value->id, narrow);
      n->changes++;
    }
    node_set_input(node, index, narrow);
    return OK;
  }
  if (is_program_node(node)) return OK;  // programs read either
  Value *cast = int_map_get(n->casts, value->id);
  if (!cast) {
    Status status;
    Node *at = value->producer ? value->producer->next : n->graph->first;
    cast = cast_before(n->graph, at, value, n->dtype, node, &status);
    TRY(status);
    int_map_set(n->casts, value->id, cast);
  }
  node_set_input(node, index, cast);
  return OK;
}

static Status widen_inputs(Narrowing *n, Node *node) {
  for (int i = 0; i < node->input_count; i++) {
    Value *value = node->inputs[i];
    if (!value || value->constant || value->dtype != n->dtype || !int_map_get(n->casts, (uint64_t)value->id | 1ull << 40))
      continue;
    Status status;
    Value *cast = cast_before(n->graph, node, value, DTYPE_F32, node, &status);
    TRY(status);
    node_set_input(node, i, cast);
  }
  return OK;
}

static Status narrow_node(Narrowing *n, Node *node) {
  if (keeps_f32(node)) return widen_inputs(n, node);
  bool floats = false;
  for (int i = 0; i < node->input_count; i++)
    floats |= node->inputs[i] && (node->inputs[i]->dtype == DTYPE_F32 || node->inputs[i]->dtype == n->dtype);
  bool makes = false, was_f32[8] = {false};
  for (int i = 0; i < node->output_count; i++) {
    bool f32 = node->outputs[i]->dtype == DTYPE_F32;
    makes |= f32;
    if (i < 8) was_f32[i] = f32;
  }
  if (!floats && !makes) return OK;
  for (int i = 0; i < node->input_count; i++) TRY(narrow_input(n, node, i));
  Node *anchor = is_fused(node) ? region_body(node)->first : node, *behind = is_fused(node) ? region_body(node)->last : node;
  if (is_program_node(behind)) {
    Program *program = program_copy(n->graph->arena, node_program(behind, "program"));
    narrow_program(node, program, n->dtype);
    node_set_program(behind, "program", program);
  }
  if (node_attribute(anchor, "dtype") && node_int(anchor, "dtype", 0) == DTYPE_F32) node_set_int(anchor, "dtype", n->dtype);
  uint8_t orders[8][MAX_RANK];
  for (int i = 0; i < node->output_count && i < 8; i++) memcpy(orders[i], node->outputs[i]->order, MAX_RANK);
  TRY(node_infer(node));
  for (int i = 0; i < node->output_count && i < 8; i++) {
    memcpy(node->outputs[i]->order, orders[i], MAX_RANK);
    // Values this pass made narrow, for nodes that keep fp32.
    if (was_f32[i] && node->outputs[i]->dtype == n->dtype)
      int_map_set(n->casts, (uint64_t)node->outputs[i]->id | 1ull << 40, node);
  }
  n->changes++;
  return OK;
}

static Status run(Graph *graph, const PassOptions *options, int *changes) {
  if (options->precision == DTYPE_COUNT || options->in_region) return OK;
  // Branches and bodies keep the types of the model: their graph's inputs and outputs must not change.
  Narrowing n = {
      .graph = graph, .dtype = options->precision, .constants = int_map_new(graph->arena), .casts = int_map_new(graph->arena)};
  DType *outputs = arena_array(graph->arena, DType, graph->output_count);
  for (int i = 0; i < graph->output_count; i++) outputs[i] = graph->outputs[i]->dtype;
  Node *last = graph->last;
  for (Node *node = graph->first; node; node = node == last ? NULL : node->next) TRY(narrow_node(&n, node));
  for (int i = 0; i < graph->output_count; i++) {
    Value *value = graph->outputs[i];
    if (value->dtype == outputs[i]) continue;
    // The output keeps its name and type; the narrow value behind it gets another.
    Status status;
    Value *cast = cast_before(graph, NULL, value, outputs[i], value->producer, &status);
    TRY(status);
    graph_replace_output(graph, i, cast);
  }
  *changes += n.changes;
  return OK;
}

const Pass pass_precision = {"precision", "stores fp32 values as fp16 or bf16 where asked for", .run = run};
