// Model to graph. Each ONNX node is translated into core nodes in the order of the file, with the names of its inputs looked up in
// the scope it stands in. Local functions are inlined: their body is a scope of its own in the same graph, so nothing of them
// is left but origins. An If whose condition is known is imported as the branch it takes; exporters write branches that
// would not even be well typed for the shapes at hand.
#include "onnx/import.h"
#include <string.h>
#include "base/checked.h"
#include "ir/bindings.h"
#include "kernels/build.h"
#include "kernels/ops.h"
#include "onnx/importer.h"
#include "onnx/validate.h"

// The version of the file format from which on an initializer that is an input is a default.
enum { OVERRIDABLE_SINCE = 4 };
// Nodes beyond those of the file, by unfolding; a node takes some 2 KB. Names of calls inside calls are no longer than this.
enum { MAX_UNFOLDED = 100000, MAX_CALL_DEPTH = 64, MAX_PREFIX = 200 };

// --- Names

const char *onnx_domain(const char *domain) { return !domain || strcmp(domain, "ai.onnx") == 0 ? "" : domain; }

int opset_version(OpsetList opsets, const char *domain) {
  // Models older than opset imports are of opset 1.
  int64_t version = opsets.count == 0 && !domain[0] ? 1 : 0;
  for (size_t i = 0; i < opsets.count; i++)
    if (strcmp(onnx_domain(opsets.sets[i]->domain), domain) == 0 && opsets.sets[i]->version > version)
      version = opsets.sets[i]->version;
  if (version == 0) return schema_newest_opset(domain);
  return version > INT32_MAX ? INT32_MAX : (int)version;
}

bool opset_imported(OpsetList opsets, const char *domain) {
  bool found = opsets.count == 0 && !domain[0];
  for (size_t i = 0; i < opsets.count; i++) found |= strcmp(onnx_domain(opsets.sets[i]->domain), domain) == 0;
  return found;
}

const char *onnx_node_name(const Onnx__Node *node) {
  if (node->name && node->name[0]) return node->name;
  for (size_t i = 0; i < node->n_output; i++)
    if (node->output[i][0]) return node->output[i];
  return "";
}

static const char *function_key(Arena *arena, const char *domain, const char *name, const char *overload) {
  return arena_printf(arena, "%s\n%s\n%s", onnx_domain(domain), name ? name : "", overload ? overload : "");
}

FunctionTable *function_table_new(const Model *model, Arena *arena) {
  FunctionTable *table = string_map_new(arena);
  for (size_t i = 0; i < model->proto->n_functions; i++) {
    Onnx__Function *function = model->proto->functions[i];
    string_map_set(table, function_key(arena, function->domain, function->name, function->overload), function);
  }
  return table;
}

const Onnx__Function *function_find(const FunctionTable *table, const char *domain, const char *name, const char *overload) {
  if (string_map_count(table) == 0) return NULL;
  Arena *arena = arena_scratch();
  const Onnx__Function *function = string_map_get(table, function_key(arena, domain, name, overload));
  arena_free(arena);
  return function;
}

Scope *scope_new(Importer *importer, Graph *graph, Scope *outer, const char *prefix) {
  Scope *scope = arena_new_of(importer->arena, Scope);
  scope->importer = importer;
  scope->graph = graph;
  scope->outer = outer;
  scope->values = string_map_new(importer->arena);
  scope->prefix = prefix;
  return scope;
}

Value *scope_find(const Scope *scope, const char *name) {
  for (; scope; scope = scope->outer) {
    Value *value = string_map_get(scope->values, name);
    if (value) return value;
  }
  return NULL;
}

static Status find_input(const Scope *scope, const char *name, int index, Value **out) {
  *out = NULL;
  if (!name[0]) return OK;
  *out = scope_find(scope, name);
  // A formal input that the function's caller left out is known by name and absent.
  bool formal = false;
  for (size_t i = 0; scope->call && i < scope->call->function->n_input; i++)
    formal |= strcmp(scope->call->function->input[i], name) == 0;
  if (!*out && !formal) FAIL(ERROR_INVALID_MODEL, "input %d, '%s', is not computed by anything before it", index, name);
  return OK;
}

Status find_output(Scope *scope, const char *name, Value **out) {
  *out = name ? scope_find(scope, name) : NULL;
  if (!*out) FAIL(ERROR_INVALID_MODEL, "output '%s' of graph '%s' is not computed", name ? name : "", scope->graph->name);
  return OK;
}

// Values made since `mark` are the node's own and take the ONNX name; others are passed on under one more name.
static void bind(Scope *scope, const char *name, Value *value, uint32_t mark) {
  string_map_set(scope->values, name, value);
  if (value->graph == scope->graph && value->id >= mark && !value->is_input && !value->is_output)
    value_rename(scope->graph, value, arena_printf(scope->graph->arena, "%s%s", scope->prefix, name));
}

// --- Origins: the calls a node is inside of, and the node itself

typedef struct SavedOrigins {
  Origin *origins;
  int count;
} SavedOrigins;

static SavedOrigins push_origin(Scope *scope, const Onnx__Node *proto) {
  Graph *graph = scope->graph;
  SavedOrigins saved = {graph->current_origins, graph->current_origin_count};
  Origin *origins = arena_array(graph->arena, Origin, (size_t)saved.count + 1);
  if (saved.count) memcpy(origins, saved.origins, sizeof *origins * (size_t)saved.count);
  origins[saved.count] = (Origin){.name = arena_string(graph->arena, onnx_node_name(proto)),
                                  .op_type = arena_string(graph->arena, proto->op_type)};
  graph->current_origins = origins;
  graph->current_origin_count = saved.count + 1;
  return saved;
}

static void pop_origin(Scope *scope, SavedOrigins saved) {
  scope->graph->current_origins = saved.origins;
  scope->graph->current_origin_count = saved.count;
}

// --- One node

typedef struct NodeInputs {
  Value **values;
  int count;
} NodeInputs;

static Status gather_inputs(Scope *scope, const Onnx__Node *proto, NodeInputs *out) {
  out->count = (int)proto->n_input;
  out->values = arena_array(scope->importer->arena, Value *, proto->n_input + 3);
  for (int i = 0; i < out->count; i++) TRY(find_input(scope, proto->input[i], i, &out->values[i]));
  while (out->count && !out->values[out->count - 1]) out->count--;
  return OK;
}

static Status import_call(Scope *scope, const Onnx__Node *proto, const Onnx__Function *function, const NodeInputs *inputs) {
  Importer *importer = scope->importer;
  Call call = {.function = function, .outer = scope->call};
  int depth = 0;
  for (const Call *at = scope->call; at; at = at->outer, depth++)
    if (at->function == function) FAIL(ERROR_INVALID_MODEL, "function '%s' calls itself", function->name);
  if (depth >= MAX_CALL_DEPTH) FAIL(ERROR_INVALID_MODEL, "functions are nested more than %d deep", MAX_CALL_DEPTH);
  Argument *arguments;
  resolve_arguments(scope, proto->n_attribute, proto->attribute, &arguments, &call.argument_count);
  call.arguments = arguments;
  const char *prefix = scope->prefix, *name = onnx_node_name(proto);
  if (strlen(prefix) + strlen(name) < MAX_PREFIX) prefix = arena_printf(importer->arena, "%s%s/", prefix, name);
  Scope *body = scope_new(importer, scope->graph, NULL, prefix);
  body->call = arena_copy(importer->arena, &call, sizeof call);
  body->opsets = function->n_opset_import ? (OpsetList){function->n_opset_import, function->opset_import} : scope->opsets;
  for (size_t i = 0; i < function->n_input && i < (size_t)inputs->count; i++)
    if (inputs->values[i]) string_map_set(body->values, function->input[i], inputs->values[i]);
  uint32_t mark = scope->graph->next_value_id;
  TRY(import_nodes(body, function->n_node, function->node));
  for (size_t i = 0; i < proto->n_output && i < function->n_output; i++) {
    if (!proto->output[i][0]) continue;
    Value *value;
    TRY(find_output(body, function->output[i], &value));
    bind(scope, proto->output[i], value, mark);
  }
  return OK;
}

static const Onnx__Graph *find_graph(const Argument *arguments, int count, const char *name, Scope **scope) {
  for (int i = 0; i < count; i++) {
    if (strcmp(arguments[i].name, name) != 0) continue;
    *scope = arguments[i].scope;
    return arguments[i].proto->g;
  }
  return NULL;
}

// True (through *done) where the node is an If whose branch is known; it is then imported in place.
static Status import_taken_branch(Scope *scope, const Onnx__Node *proto, const NodeInputs *inputs, const Argument *arguments,
                                  int argument_count, bool *done) {
  *done = false;
  bool is_if = strcmp(proto->op_type, "If") == 0 && !onnx_domain(proto->domain)[0];
  if (!is_if || inputs->count != 1 || !inputs->values[0] || !inputs->values[0]->constant) return OK;
  if (tensor_count(inputs->values[0]->constant) != 1) return OK;
  bool condition = tensor_get_i(inputs->values[0]->constant, 0) != 0;
  Scope *around;
  const Onnx__Graph *branch = find_graph(arguments, argument_count, condition ? "then_branch" : "else_branch", &around);
  if (!branch) return OK;
  Scope *body = scope_new(scope->importer, scope->graph, around, scope->prefix);
  body->call = around->call;
  body->opsets = around->opsets;
  uint32_t mark = scope->graph->next_value_id;
  TRY(import_initializers(body, branch));
  TRY(import_nodes(body, branch->n_node, branch->node));
  for (size_t i = 0; i < proto->n_output; i++) {
    if (!proto->output[i][0]) continue;
    if (i >= branch->n_output) FAIL(ERROR_INVALID_MODEL, "its branch has %zu outputs", branch->n_output);
    Value *value;
    TRY(find_output(body, branch->output[i]->name, &value));
    bind(scope, proto->output[i], value, mark);
  }
  *done = true;
  return OK;
}

static Status translate(Scope *scope, const Onnx__Node *proto, NodeInputs *inputs, const Argument *arguments,
                        int argument_count) {
  Graph *graph = scope->graph;
  Node attributes = {.graph = graph};
  TRY(set_arguments(scope, &attributes, arguments, argument_count));
  if (has_graphs(arguments, argument_count)) {
    Value **captured;
    int captured_count;
    // A Loop without trip count and condition still has places for them.
    if (strcmp(proto->op_type, "Loop") == 0 && inputs->count < 2) inputs->count = 2;
    TRY(import_graph_arguments(scope, &attributes, proto->op_type, inputs->count, inputs->values, arguments, argument_count,
                               &captured, &captured_count));
    Value **all = arena_array(graph->arena, Value *, (size_t)inputs->count + (size_t)captured_count + 1);
    memcpy(all, inputs->values, sizeof *all * (size_t)inputs->count);
    memcpy(all + inputs->count, captured, sizeof *all * (size_t)captured_count);
    *inputs = (NodeInputs){all, inputs->count + captured_count};
  }
  Translation t = {
      .graph = graph,
      .op_type = arena_string(graph->arena, proto->op_type),
      .domain = arena_string(graph->arena, onnx_domain(proto->domain)),
      .name = arena_string(graph->arena, onnx_node_name(proto)),
      .opset = opset_version(scope->opsets, onnx_domain(proto->domain)),
      .input_count = inputs->count,
      .inputs = inputs->values,
      .output_count = (int)proto->n_output,
      .outputs = arena_array(graph->arena, Value *, proto->n_output + 1),
      .attributes = &attributes,
  };
  const OnnxOp *op = onnx_op_find(t.domain, t.op_type, t.opset, &t.opset);
  // Of an operator with any number of outputs the unnamed ones count too: Split cuts a piece for each.
  bool counted = op && op->max_outputs < 0;
  while (!counted && t.output_count && !proto->output[t.output_count - 1][0]) t.output_count--;
  uint32_t mark = graph->next_value_id;
  TRY(translate_run(&t));
  if (t.deferred)
    log_add(&scope->importer->model->log, LOG_VERBOSE, "node '%s' (%s) waits for values known at run time", t.name, t.op_type);
  for (int i = 0; i < t.output_count; i++)
    if (t.outputs[i] && proto->output[i][0]) bind(scope, proto->output[i], t.outputs[i], mark);
  return OK;
}

static Status import_node(Scope *scope, const Onnx__Node *proto) {
  NodeInputs inputs;
  Argument *arguments;
  int argument_count;
  bool done;
  if (scope->importer->nodes_left-- <= 0)
    FAIL(ERROR_INVALID_MODEL, "its functions and loops unfold to more than %d nodes beyond those of the file", MAX_UNFOLDED);
  TRY(gather_inputs(scope, proto, &inputs));
  const Onnx__Function *function = function_find(scope->importer->functions, proto->domain, proto->op_type, proto->overload);
  if (function) return import_call(scope, proto, function, &inputs);
  resolve_arguments(scope, proto->n_attribute, proto->attribute, &arguments, &argument_count);
  TRY(import_taken_branch(scope, proto, &inputs, arguments, argument_count, &done));
  return done ? OK : translate(scope, proto, &inputs, arguments, argument_count);
}

// Translations name the node themselves; anything else is named here.
static Status name_node(Status status, const Onnx__Node *proto) {
  if (!status || strncmp(status_message(status), "node '", 6) == 0) return status;
  return status_context(status, "node '%s' (%s)", onnx_node_name(proto), proto->op_type);
}

Status import_nodes(Scope *scope, size_t count, Onnx__Node *const *nodes) {
  for (size_t i = 0; i < count; i++) {
    SavedOrigins saved = push_origin(scope, nodes[i]);
    Status status = import_node(scope, nodes[i]);
    pop_origin(scope, saved);
    if (status) return name_node(status, nodes[i]);
  }
  return OK;
}

// --- The graph around them

static void add_initializer(Scope *scope, const char *name, const Tensor *tensor) {
  Value *value = graph_add_constant(scope->graph, arena_printf(scope->graph->arena, "%s%s", scope->prefix, name), tensor);
  string_map_set(scope->values, name, value);
}

Status import_initializers(Scope *scope, const Onnx__Graph *proto) {
  TensorSource *source = scope->importer->model->tensors;
  Tensor tensor;
  for (size_t i = 0; i < proto->n_initializer; i++) {
    TRY(onnx_read_tensor(source, proto->initializer[i], &tensor));
    add_initializer(scope, proto->initializer[i]->name, &tensor);
  }
  for (size_t i = 0; i < proto->n_sparse_initializer; i++) {
    TRY(onnx_read_sparse_tensor(source, proto->sparse_initializer[i], &tensor));
    add_initializer(scope, proto->sparse_initializer[i]->values->name, &tensor);
  }
  return OK;
}

// An initializer that is also an input is its default: callers may give another value.
static Status add_overridable(Scope *scope, const Onnx__ValueInfo *info, Value *initial) {
  DeclaredKind kind;
  DeclaredType type;
  TRY(read_declared(scope->graph, info, &kind, &type));
  const Tensor *tensor = initial->constant;
  if (kind == DECLARED_OTHER)
    FAIL(ERROR_INVALID_MODEL, "input '%s' is declared as %s, its initializer is a tensor", info->name,
         type_text(scope->graph->arena, info->type));
  if (type.known && type.dtype != tensor->dtype)
    FAIL(ERROR_INVALID_MODEL, "input '%s' is %s, its initializer %s", info->name, dtype_name(type.dtype),
         dtype_name(tensor->dtype));
  bool fits = type.known && type.rank == tensor->rank;
  for (int i = 0; fits && i < tensor->rank; i++) fits = !dim_is_static(type.dims[i]) || type.dims[i] == tensor->dims[i];
  int rank = type.rank < 0 ? -1 : tensor->rank;  // without a declared shape, another value may have another rank
  Value *input = graph_add_input(scope->graph, info->name, tensor->dtype, rank, fits ? type.dims : initial->dims);
  input->initial = initial->constant;
  value_rename(scope->graph, input, info->name);
  string_map_set(scope->values, info->name, input);
  return OK;
}

// Exporters call sizes alike that are not. A name that comes again is a symbol of its own, until an operator would have to broadcast
// one to the other: then they are taken for one.
static void tell_apart(DimTable *table, IntMap *seen, DeclaredType *type) {
  for (int i = 0; i < type->rank; i++) {
    Dim dim = type->dims[i];
    if (dim_is_static(dim)) continue;
    if (int_map_get(seen, (uint64_t)dim)) type->dims[i] = dim_namesake(table, dim);
    else int_map_set(seen, (uint64_t)dim, type);
  }
}

static void learn_united(void *bindings, Dim namesake, Dim symbol) { bindings_learn(bindings, namesake, symbol); }

static void unite(Graph *graph) {
  Bindings bindings = bindings_new(graph);
  dim_for_united(graph->dims, learn_united, &bindings);
  bindings_apply_everywhere(&bindings, graph);
}

static Status import_inputs(Scope *scope, const Onnx__Graph *proto) {
  IntMap *seen = int_map_new(scope->importer->arena);
  for (size_t i = 0; i < proto->n_input; i++) {
    const char *name = proto->input[i]->name;
    DeclaredKind kind;
    DeclaredType type;
    Value *initial = scope_find(scope, name);
    if (initial && scope->importer->model->proto->ir_version < OVERRIDABLE_SINCE) continue;  // then each had to be an input
    if (initial) {
      TRY(add_overridable(scope, proto->input[i], initial));
      continue;
    }
    TRY(read_declared(scope->graph, proto->input[i], &kind, &type));
    tell_apart(scope->graph->dims, seen, &type);
    // Of a sequence or an optional the elements' type; their shapes are each their own.
    if (kind == DECLARED_OTHER) dtype_from_onnx(feedable_tensor(proto->input[i]->type)->tensor->elem_type, &type.dtype);
    Value *value = graph_add_input(scope->graph, name, type.dtype, type.rank, type.dims);
    value->kind = declared_value_kind(proto->input[i], kind);
    TRY(value_check_size(value));
    string_map_set(scope->values, name, value);
  }
  return OK;
}

static void warn_of_types(const Scope *scope, const Onnx__ValueInfo *info, const Value *value) {
  DeclaredKind kind;
  DeclaredType type;
  Status status = read_declared(scope->graph, info, &kind, &type);
  if (!status && type.known && value->dtype != DTYPE_COUNT && type.dtype != value->dtype)
    log_add(&scope->importer->model->log, LOG_WARNING, "output '%s' is declared as %s but is %s", info->name,
            dtype_name(type.dtype), dtype_name(value->dtype));
  status_free(status);
}

// Nobody in the model reads it or speaks of its sizes, so that the declared type of a result which only the run knows harms nothing, and
// tells the caller.
static Status declare_result(const Onnx__ValueInfo *info, Value *value) {
  DeclaredKind kind;
  DeclaredType type;
  if (!value->producer || value->producer->op != &op_deferred || value->uses || value->rank >= 0) return OK;
  TRY(read_declared(value->graph, info, &kind, &type));
  if (kind == DECLARED_NOTHING || (value->kind == VALUE_SEQUENCE && kind != DECLARED_OTHER)) return OK;
  for (int i = 0; i < type.rank; i++)
    if (!dim_is_static(type.dims[i])) type.dims[i] = dim_fresh(value->graph->dims, "waits");
  const Onnx__Type *inner = kind == DECLARED_OTHER ? feedable_tensor(info->type) : NULL;
  if (inner && dtype_from_onnx(inner->tensor->elem_type, &type.dtype)) type.known = true;
  if (type.known) value_set_type(value, type.dtype, type.rank, type.dims);
  value->kind = declared_value_kind(info, kind);
  return OK;
}

static Status import_outputs(Scope *scope, const Onnx__Graph *proto) {
  for (size_t i = 0; i < proto->n_output; i++) {
    const char *name = proto->output[i]->name;
    Value *value;
    TRY(find_output(scope, name, &value));
    warn_of_types(scope, proto->output[i], value);
    // An input or another output that passes through is copied: a value of the graph has one name, and it may be the model's for two of them.
    if (value->is_input || value->is_output) TRY(translate_copy(scope->graph, NULL, value, &value));
    TRY(declare_result(proto->output[i], value));
    const Value *taken = graph_find_value(scope->graph, name);
    if (taken && (taken->is_input || taken->is_output)) value->given_as = arena_string(scope->graph->arena, name);
    else value_rename(scope->graph, value, name);
    graph_mark_output(scope->graph, value);
  }
  return OK;
}

static Status import_graph(Importer *importer, Graph **out) {
  const Onnx__Model *proto = importer->model->proto;
  const Onnx__Graph *main = proto->graph;
  Graph *graph = graph_new(importer->arena, core_ops, main->name ? main->name : "");
  Scope *scope = scope_new(importer, graph, NULL, "");
  scope->opsets = (OpsetList){proto->n_opset_import, proto->opset_import};
  TRY(import_initializers(scope, main));
  TRY(import_inputs(scope, main));
  TRY(import_nodes(scope, main->n_node, main->node));
  TRY(import_outputs(scope, main));
  graph->current_origins = NULL;
  graph->current_origin_count = 0;
  unite(graph);
  graph_remove_unused(graph);
  *out = graph;
  return OK;
}

// Those of the main graph and of graphs in its nodes: what is imported once.
static size_t count_nodes(const Onnx__Graph *graph) {
  size_t count = graph->n_node;
  for (size_t i = 0; i < graph->n_node; i++)
    for (size_t k = 0; k < graph->node[i]->n_attribute; k++)
      if (graph->node[i]->attribute[k]->g) count += count_nodes(graph->node[i]->attribute[k]->g);
  return count;
}

Status onnx_import(const Model *model, Arena *arena, Graph **out) {
  Problems problems = {.arena = arena_scratch()};
  *out = NULL;
  Status status = onnx_validate(model, &problems);
  if (!status) status = problems_status(&problems);
  arena_free(problems.arena);
  if (status) return status;
  Importer importer = {.model = model,
                       .arena = arena,
                       .nodes_left = (int)MIN(count_nodes(model->proto->graph), (size_t)INT32_MAX / 4) + MAX_UNFOLDED};
  importer.functions = function_table_new(model, arena);
  return import_graph(&importer, out);
}
