// Subgraphs. An ONNX subgraph sees the names around it; ours stand alone, so what a subgraph captures becomes further inputs of its
// node and of itself. Captured constants are copied instead: a copy costs a pointer, and translations inside can read them.
//
// A loop's state may change its shape from one iteration to the next. Which dims stay is found by trying: the body is imported with
// the types of the initial values, and where a state comes out with other dims than it went in with, these become symbols of the body's own
// and the body is imported again; so what the body says of its states' sizes is said in symbols that its inputs have. Inference knows
// them by their name (kernels/control/body.c).
#include <string.h>
#include "base/checked.h"
#include "kernels/build.h"
#include "onnx/free_names.h"
#include "onnx/importer.h"

enum { MAX_TRIES = 4 };

// --- Captures

typedef struct Captures {
  Scope *scope;  // where captured names are looked up
  StringMap *seen;
  const char **names;
  uint32_t count, capacity;
} Captures;

static void capture(void *context, const char *name) {
  Captures *captures = context;
  if (string_map_get(captures->seen, name)) return;
  string_map_set(captures->seen, name, (void *)name);
  *ARENA_PUSH(captures->scope->importer->arena, captures->names, captures->count, captures->capacity) = name;
}

// --- One body

typedef struct BodyInput {
  ValueKind kind;
  DeclaredType type;
  bool loose[MAX_RANK];  // dims found to change from round to round
  bool as_vector;        // a scalar that the body declares as a vector of one and uses as such
} BodyInput;

static Status add_own_inputs(Scope *scope, const Onnx__Graph *proto, const BodyInput *inputs) {
  for (size_t i = 0; i < proto->n_input; i++) {
    const char *name = proto->input[i]->name ? proto->input[i]->name : "";
    const DeclaredType *type = &inputs[i].type;
    Value *value = graph_add_input(scope->graph, name[0] ? name : NULL, type->dtype, type->rank, type->dims);
    value->kind = inputs[i].kind;
    TRY(value_check_size(value));
    Builder b = {.graph = scope->graph};
    if (inputs[i].as_vector) value = build_reshape(&b, value, 1, (Dim[]){1});
    TRY(b.status);
    string_map_set(scope->values, name, value);
  }
  return OK;
}

// A condition that is handed on as it came, seen through the vector it was made for the body.
static Value *handed_on(const BodyInput *inputs, size_t count, const Graph *graph, Value *value) {
  for (size_t i = 0; i < count; i++)
    if (inputs[i].as_vector && value->producer && value->producer->inputs[0] == graph->inputs[i] && value->rank == 1)
      return graph->inputs[i];
  return value;
}

static void add_captured(Scope *scope, const Captures *captures) {
  for (uint32_t i = 0; i < captures->count; i++) {
    const Value *outer = scope_find(captures->scope, captures->names[i]);
    if (!outer) continue;  // the node that reads it will say so
    Value *value;
    if (outer->constant) {
      value = graph_add_constant(scope->graph, outer->name, outer->constant);
    } else {
      value = graph_add_input(scope->graph, outer->name, outer->dtype, outer->rank, outer->dims);
      value->kind = outer->kind;
      if (outer->contents) graph_set_contents(value, outer->contents, outer->contents_count);
    }
    string_map_set(scope->values, captures->names[i], value);
  }
}

static Status import_body(const Captures *captures, const Onnx__Graph *proto, const BodyInput *inputs, Graph **out) {
  Scope *around = captures->scope;
  Graph *graph = graph_new_inside(around->graph, proto->name ? proto->name : "");
  Scope *scope = scope_new(around->importer, graph, NULL, "");
  scope->call = around->call;
  scope->opsets = around->opsets;
  // Origins are set anew around each node; outside of nodes there are the outer node's.
  graph->current_origins = around->graph->current_origins;
  graph->current_origin_count = around->graph->current_origin_count;
  TRY(add_own_inputs(scope, proto, inputs));
  add_captured(scope, captures);
  TRY(import_initializers(scope, proto));
  TRY(import_nodes(scope, proto->n_node, proto->node));
  for (size_t i = 0; i < proto->n_output; i++) {
    Value *value;
    TRY(find_output(scope, proto->output[i]->name, &value));
    graph_mark_output(graph, handed_on(inputs, proto->n_input, graph, value));
  }
  *out = graph;
  return OK;
}

// --- Types of a body's own inputs

static BodyInput of_value(const Value *value) {
  BodyInput out = {.kind = value->kind, .type = {.known = true, .dtype = value->dtype, .rank = value->rank}};
  for (int i = 0; i < value->rank; i++) out.type.dims[i] = value->dims[i];
  return out;
}

// ONNX Runtime gives the body a vector of one where it declares one.
static BodyInput scalar_of(DType dtype, const BodyInput *declared) {
  return (BodyInput){.type = {.known = true, .dtype = dtype, .rank = 0}, .as_vector = declared->type.rank == 1};
}

static BodyInput without_axis(const Value *value, int64_t axis) {
  BodyInput out = of_value(value);
  if (out.type.rank <= 0) return out;
  axis = axis < 0 ? axis + out.type.rank : axis;
  if (axis < 0 || axis >= out.type.rank) return out;
  out.type.rank--;
  for (int i = (int)axis; i < out.type.rank; i++) out.type.dims[i] = out.type.dims[i + 1];
  return out;
}

// Node inputs and body inputs as each operator pairs them. `states` is the number of values that go round.
typedef struct BodyPlan {
  BodyInput *inputs;
  int first_state, states;  // among the body's inputs
  int first_result;         // among the body's outputs
} BodyPlan;

static void plan_loop(BodyPlan *plan, size_t count, int input_count, Value *const *inputs) {
  if (count > 0) plan->inputs[0] = scalar_of(DTYPE_I64, &plan->inputs[0]);
  if (count > 1) plan->inputs[1] = scalar_of(DTYPE_BOOL, &plan->inputs[1]);
  plan->first_state = 2;
  plan->first_result = 1;
  plan->states = MAX((int)count - 2, 0);
  for (int i = 2; i < (int)count && i < input_count; i++)
    if (inputs[i]) plan->inputs[i] = of_value(inputs[i]);
}

// Before opset 9 there was a leading optional input of lengths, and axis 0 was a batch that the body does not see.
static void plan_scan(BodyPlan *plan, const Node *node, size_t count, int input_count, Value *const *inputs, bool batched) {
  int scans = (int)node_int(node, "num_scan_inputs", 0), axis_count, skip = batched ? 1 : 0;
  const int64_t *axes = node_ints(node, "scan_input_axes", &axis_count);
  plan->states = MAX((int)count - scans, 0);
  for (int i = 0; i < (int)count && i + skip < input_count; i++) {
    Value *value = inputs[i + skip];
    if (!value) continue;
    int scan = i - plan->states;
    plan->inputs[i] = batched ? without_axis(value, 0) : of_value(value);
    if (scan < 0) continue;
    if (batched) {
      Value inner = *value;
      inner.rank = plan->inputs[i].type.rank;
      memcpy(inner.dims, plan->inputs[i].type.dims, sizeof inner.dims);
      plan->inputs[i] = without_axis(&inner, 0);
    } else {
      plan->inputs[i] = without_axis(value, axes && scan < axis_count ? axes[scan] : 0);
    }
  }
}

static Status plan_declared(Graph *graph, const Onnx__Graph *proto, BodyPlan *plan) {
  for (size_t i = 0; i < proto->n_input; i++) {
    DeclaredKind kind;
    TRY(read_declared(graph, proto->input[i], &kind, &plan->inputs[i].type));
    plan->inputs[i].kind = declared_value_kind(proto->input[i], kind);
  }
  return OK;
}

// Makes the dims that a round changes unknown. True where nothing had to change.
static bool settle_state(Graph *outer, BodyInput *input, const Value *out) {
  if (input->kind == VALUE_OPTIONAL) return true;
  if (out->kind != input->kind) {
    *input = (BodyInput){.kind = VALUE_OPTIONAL, .type = {.dtype = DTYPE_COUNT, .rank = -1}};
    return false;
  }
  if (input->kind != VALUE_TENSOR || input->type.rank < 0) return true;
  if (out->rank != input->type.rank) {
    input->type.rank = -1;
    return false;
  }
  bool settled = true;
  for (int k = 0; k < input->type.rank; k++) {
    if (out->dims[k] == input->type.dims[k] || input->loose[k]) continue;
    input->loose[k] = true;
    input->type.dims[k] = dim_fresh(outer->dims, "carried");
    settled = false;
  }
  return settled;
}

static bool settle(Graph *outer, const BodyPlan *plan, const Graph *body) {
  bool settled = true;
  for (int i = 0; i < plan->states && plan->first_result + i < body->output_count; i++)
    settled &= settle_state(outer, &plan->inputs[plan->first_state + i], body->outputs[plan->first_result + i]);
  return settled;
}

// Where trying does not end soon, every state is left to the run.
static void give_up(const BodyPlan *plan) {
  for (int i = 0; i < plan->states; i++)
    if (plan->inputs[plan->first_state + i].kind == VALUE_TENSOR) plan->inputs[plan->first_state + i].type.rank = -1;
}

static Status import_one(Captures *captures, const Onnx__Graph *proto, BodyPlan *plan, Graph **out) {
  for (int i = 0; i < MAX_TRIES; i++) {
    TRY(import_body(captures, proto, plan->inputs, out));
    if (settle(captures->scope->graph, plan, *out)) return OK;
  }
  give_up(plan);
  return import_body(captures, proto, plan->inputs, out);
}

// --- All graphs of a node

static bool is_graph(const Argument *argument) {
  return attribute_kind(argument->proto) == ONNX__ATTRIBUTE__KIND__GRAPH && argument->proto->g;
}

bool has_graphs(const Argument *arguments, int count) {
  for (int i = 0; i < count; i++)
    if (is_graph(&arguments[i])) return true;
  return false;
}

static Status import_argument(Captures *captures, Node *node, const char *op_type, int input_count, Value *const *inputs,
                              const Argument *argument) {
  const Onnx__Graph *proto = argument->proto->g;
  Scope *scope = captures->scope;
  BodyPlan plan = {.inputs = arena_array(scope->importer->arena, BodyInput, proto->n_input + 1)};
  Graph *body;
  TRY(plan_declared(scope->graph, proto, &plan));
  bool batched = opset_version(scope->opsets, "") < 9;
  if (strcmp(op_type, "Loop") == 0) plan_loop(&plan, proto->n_input, input_count, inputs);
  if (strcmp(op_type, "Scan") == 0) plan_scan(&plan, node, proto->n_input, input_count, inputs, batched);
  TRY(import_one(captures, proto, &plan, &body));
  node_set_graph(node, argument->name, body);
  return OK;
}

Status import_graph_arguments(Scope *scope, Node *node, const char *op_type, int input_count, Value *const *inputs,
                              const Argument *arguments, int count, Value ***captured, int *captured_count) {
  Importer *importer = scope->importer;
  Captures captures = {.scope = scope, .seen = string_map_new(importer->arena)};
  for (int i = 0; i < count; i++) {
    if (!is_graph(&arguments[i])) continue;
    captures.scope = arguments[i].scope;  // the same for all of one node, but for odd uses of references
    graph_free_names(importer->arena, arguments[i].proto->g, capture, &captures);
  }
  *captured = arena_array(importer->arena, Value *, captures.count + 1);
  *captured_count = 0;
  for (uint32_t i = 0; i < captures.count; i++) {
    Value *value = scope_find(captures.scope, captures.names[i]);
    if (value && !value->constant) (*captured)[(*captured_count)++] = value;
  }
  node_set_int(node, "captures", *captured_count);
  for (int i = 0; i < count; i++)
    if (is_graph(&arguments[i]))
      TRY(status_context(import_argument(&captures, node, op_type, input_count, inputs, &arguments[i]), "graph '%s'",
                         arguments[i].name));
  return OK;
}
