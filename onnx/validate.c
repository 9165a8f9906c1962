// Validation. Everything the importer relies on and everything it cannot do is found here, so that a model is refused with the
// whole list of reasons; the importer then still reports what only shapes and types bring to light. Names are followed in
// topological order (onnx/sort.h); what is out of it is on a cycle. What ONNX Runtime takes too is taken with a warning.
#include "onnx/validate.h"
#include <string.h>
#include "base/text.h"
#include "onnx/importer.h"

enum { MAX_PROBLEMS = 100, MAX_CALL_DEPTH = 64 };

typedef struct Validation {
  const Model *model;
  Problems *problems;
  Arena *arena;
  FunctionTable *functions;
  StringMap *visited;  // functions whose bodies were checked
  StringMap *warned;   // of each operator once
  int call_depth;
} Validation;

// What a graph or a function body can see.
typedef struct Names {
  StringMap *made;       // so far
  StringMap *made_here;  // by any node, earlier or later: name -> Onnx__Node
  const struct Names *outer;
  OpsetList opsets;
  const char *where;  // "" for the main graph, else " in function 'f'"
  bool in_function;
} Names;

static void report(Validation *v, ErrorCode code, const char *format, ...) __attribute__((format(printf, 3, 4)));
static void report(Validation *v, ErrorCode code, const char *format, ...) {
  Problems *problems = v->problems;
  if (problems->count >= MAX_PROBLEMS) {
    problems->omitted++;
    return;
  }
  va_list args;
  va_start(args, format);
  Problem *problem = ARENA_PUSH(problems->arena, problems->items, problems->count, problems->capacity);
  problem->code = code;
  problem->message = arena_vprintf(problems->arena, format, args);
  va_end(args);
}

#define REPORT_NODE(v, names, node, code, format, ...) \
  report((v), (code), "node '%s' (%s)%s: " format, onnx_node_name(node), (node)->op_type, (names)->where, ##__VA_ARGS__)

static void report_status(Validation *v, const char *where, Status status) {
  if (status) report(v, status_code(status), "%s%s", status_message(status), where);
  status_free(status);
}

// --- Attributes

static bool holds(const Onnx__Attribute *a, int kind) {
  switch (kind) {
    case ONNX__ATTRIBUTE__KIND__TENSOR: return a->t != NULL;
    case ONNX__ATTRIBUTE__KIND__GRAPH: return a->g != NULL;
    case ONNX__ATTRIBUTE__KIND__SPARSE_TENSOR: return a->sparse_tensor != NULL;
    case ONNX__ATTRIBUTE__KIND__TYPE: return a->tp != NULL;
    default: return true;  // numbers and texts may be absent where they are zero or empty
  }
}

// How many of the content fields are there: two contradict each other.
static int contents_of(const Onnx__Attribute *a) {
  return (a->has_f != 0) + (a->has_i != 0) + (a->has_s != 0) + (a->t != NULL) + (a->g != NULL) + (a->n_floats > 0) +
         (a->n_ints > 0) + (a->n_strings > 0) + (a->n_tensors > 0) + (a->n_graphs > 0) + (a->tp != NULL) +
         (a->n_type_protos > 0) + (a->sparse_tensor != NULL) + (a->n_sparse_tensors > 0);
}

static void check_graph(Validation *v, const Onnx__Graph *graph, const Names *outer);

static void check_attribute(Validation *v, const Names *names, const Onnx__Node *node, const Onnx__Attribute *a) {
  const char *name = a->name ? a->name : "";
  if (!name[0]) REPORT_NODE(v, names, node, ERROR_INVALID_MODEL, "an attribute has no name");
  if (a->ref_attr_name && a->ref_attr_name[0]) {
    if (!names->in_function)
      REPORT_NODE(v, names, node, ERROR_INVALID_MODEL, "attribute '%s' refers to '%s' outside of a function", name,
                  a->ref_attr_name);
    return;
  }
  int kind = attribute_kind(a);
  if (kind <= ONNX__ATTRIBUTE__KIND__UNDEFINED || kind > ONNX__ATTRIBUTE__KIND__TYPES)
    REPORT_NODE(v, names, node, ERROR_INVALID_MODEL, "attribute '%s' has unknown type %d", name, kind);
  else if (!holds(a, kind) || contents_of(a) > 1)
    REPORT_NODE(v, names, node, ERROR_INVALID_MODEL, "the content of attribute '%s' is not of the type it says", name);
  if (a->g) check_graph(v, a->g, names);
  Tensor tensor;
  if (a->t) {
    Status status = onnx_read_tensor(v->model->tensors, a->t, &tensor);
    if (status) REPORT_NODE(v, names, node, status_code(status), "attribute '%s': %s", name, status_message(status));
    status_free(status);
  }
}

static void check_attributes(Validation *v, const Names *names, const Onnx__Node *node) {
  for (size_t i = 0; i < node->n_attribute; i++) {
    check_attribute(v, names, node, node->attribute[i]);
    for (size_t k = 0; k < i && node->attribute[i]->name; k++)
      if (node->attribute[k]->name && strcmp(node->attribute[k]->name, node->attribute[i]->name) == 0)
        REPORT_NODE(v, names, node, ERROR_INVALID_MODEL, "attribute '%s' is there twice", node->attribute[i]->name);
  }
}

// --- Operators

static size_t count_present(size_t count, char *const *names) {
  while (count && !names[count - 1][0]) count--;
  return count;
}

static void report_node_status(Validation *v, const Names *names, const Onnx__Node *node, Status status) {
  if (status) REPORT_NODE(v, names, node, status_code(status), "%s", status_message(status));
  status_free(status);
}

static void check_schema(Validation *v, const Names *names, const Onnx__Node *node, const Schema *schema) {
  int inputs = (int)count_present(node->n_input, node->input), outputs = (int)count_present(node->n_output, node->output);
  report_node_status(v, names, node, schema_check_arity(schema, inputs, outputs));
  GivenAttribute *given = arena_array(v->arena, GivenAttribute, node->n_attribute);
  for (size_t i = 0; i < node->n_attribute; i++) {
    given[i] = attribute_given(node->attribute[i]);
    report_node_status(v, names, node, schema_check_attribute(schema, &given[i]));
  }
  report_node_status(v, names, node, schema_check_required(schema, node->n_attribute, given));
}

static void warn_once(Validation *v, const char *message) {
  if (string_map_get(v->warned, message)) return;
  string_map_set(v->warned, message, v);
  log_add(&v->model->log, LOG_WARNING, "%s", message);
}

static void check_arity(Validation *v, const Names *names, const Onnx__Node *node, const OnnxOp *op, const Schema *schema) {
  int inputs = (int)count_present(node->n_input, node->input), outputs = (int)count_present(node->n_output, node->output);
  if (inputs < op->min_inputs || (op->max_inputs >= 0 && inputs > op->max_inputs))
    REPORT_NODE(v, names, node, ERROR_INVALID_MODEL, "it has %d inputs, expected %d to %d", inputs, op->min_inputs,
                op->max_inputs < 0 ? MAX_INPUTS : op->max_inputs);
  if (op->max_outputs >= 0 && outputs > op->max_outputs)
    REPORT_NODE(v, names, node, ERROR_INVALID_MODEL, "it has %d outputs, expected at most %d", outputs, op->max_outputs);
  for (int i = 0; i < inputs; i++)
    if (!node->input[i][0] && (schema ? schema_requires(schema, i) : i < op->min_inputs))
      REPORT_NODE(v, names, node, ERROR_INVALID_MODEL, "input %d is empty but not optional", i);
}

static void check_function(Validation *v, const Onnx__Function *function);

static void check_operator(Validation *v, const Names *names, const Onnx__Node *node) {
  const char *domain = onnx_domain(node->domain), *shown = domain[0] ? domain : "ai.onnx";
  const Onnx__Function *function = function_find(v->functions, node->domain, node->op_type, node->overload);
  if (function) {
    if (node->n_input > function->n_input || node->n_output > function->n_output)
      REPORT_NODE(v, names, node, ERROR_INVALID_MODEL, "it has %zu inputs and %zu outputs, but its function has %zu and %zu",
                  node->n_input, node->n_output, function->n_input, function->n_output);
    check_function(v, function);
    return;
  }
  int opset = opset_version(names->opsets, domain), version;
  const OnnxOp *op = onnx_op_find(domain, node->op_type, opset, &version);
  const Schema *schema = op ? schema_find(domain, node->op_type, version) : NULL;
  if (op && !opset_imported(names->opsets, domain))
    warn_once(v, arena_printf(v->arena, "domain '%s' is used but not imported: taken in version %d", shown, opset));
  if (op && version > opset)
    warn_once(v, arena_printf(v->arena, "operator %s is used in opset %d of domain '%s' but came with opset %d: taken as that",
                              node->op_type, opset, shown, version));
  if (op) check_arity(v, names, node, op, schema);
  if (schema) check_schema(v, names, node, schema);
  if (op) return;
  if (onnx_op_known(domain, node->op_type))
    REPORT_NODE(v, names, node, ERROR_UNSUPPORTED, "the operator is not supported in version %d of domain '%s'", opset, shown);
  else if (strcmp(domain, "com.microsoft.nchwc") == 0)
    REPORT_NODE(v, names, node, ERROR_UNSUPPORTED,
                "its domain '%s' is of one machine's layout: save the optimised model with ORT_ENABLE_EXTENDED at most", shown);
  else REPORT_NODE(v, names, node, ERROR_UNSUPPORTED, "the operator is unknown in domain '%s'", shown);
}

// --- Names

static const Onnx__Node *made_later(const Names *names, const char *name) { return string_map_get(names->made_here, name); }

static bool is_made(const Names *names, const char *name) {
  for (; names; names = names->outer)
    if (string_map_get(names->made, name)) return true;
  return false;
}

static void check_inputs(Validation *v, const Names *names, const Onnx__Node *node) {
  for (size_t i = 0; i < node->n_input; i++) {
    const char *name = node->input[i];
    if (!name[0] || is_made(names, name)) continue;
    const Onnx__Node *maker = made_later(names, name);
    if (maker == node) REPORT_NODE(v, names, node, ERROR_INVALID_MODEL, "input %zu, '%s', is its own output", i, name);
    else if (maker)
      REPORT_NODE(v, names, node, ERROR_INVALID_MODEL,
                  "input %zu, '%s', is made by node '%s', which needs this one: they form a cycle", i, name,
                  onnx_node_name(maker));
    else REPORT_NODE(v, names, node, ERROR_INVALID_MODEL, "input %zu, '%s', is not made by anything", i, name);
  }
}

static void make(Validation *v, const Names *names, const char *name, const char *what) {
  if (!name || !name[0]) return;
  if (string_map_get(names->made, name))
    report(v, ERROR_INVALID_MODEL, "%s '%s'%s is defined a second time", what, name, names->where);
  string_map_set(names->made, name, (void *)name);
}

static void check_node(Validation *v, const Names *names, const Onnx__Node *node) {
  if (!node->op_type || !node->op_type[0]) {
    report(v, ERROR_INVALID_MODEL, "node '%s'%s has no operator", onnx_node_name(node), names->where);
    return;
  }
  check_operator(v, names, node);
  check_inputs(v, names, node);
  check_attributes(v, names, node);
  for (size_t i = 0; i < node->n_output; i++) make(v, names, node->output[i], "value");
}

static Names names_new(Validation *v, const Names *outer, OpsetList opsets, size_t node_count, Onnx__Node *const *nodes) {
  Names names = {.outer = outer, .opsets = opsets, .where = outer ? outer->where : ""};
  names.in_function = outer && outer->in_function;
  names.made = string_map_new(v->arena);
  names.made_here = string_map_new(v->arena);
  for (size_t i = 0; i < node_count; i++)
    for (size_t k = 0; k < nodes[i]->n_output; k++)
      if (!string_map_get(names.made_here, nodes[i]->output[k])) string_map_set(names.made_here, nodes[i]->output[k], nodes[i]);
  return names;
}

// --- Functions and graphs

static void check_function(Validation *v, const Onnx__Function *function) {
  const char *key = arena_printf(v->arena, "%p", (const void *)function);
  if (string_map_get(v->visited, key)) return;
  string_map_set(v->visited, key, (void *)function);
  if (v->call_depth >= MAX_CALL_DEPTH) {
    report(v, ERROR_INVALID_MODEL, "functions are nested more than %d deep", MAX_CALL_DEPTH);
    return;
  }
  v->call_depth++;
  OpsetList opsets = {function->n_opset_import, function->opset_import};
  if (!opsets.count) opsets = (OpsetList){v->model->proto->n_opset_import, v->model->proto->opset_import};
  Names names = names_new(v, NULL, opsets, function->n_node, function->node);
  names.where = arena_printf(v->arena, " in function '%s'", function->name ? function->name : "");
  names.in_function = true;
  for (size_t i = 0; i < function->n_input; i++) make(v, &names, function->input[i], "input");
  for (size_t i = 0; i < function->n_node; i++) check_node(v, &names, function->node[i]);
  for (size_t i = 0; i < function->n_output; i++)
    if (!is_made(&names, function->output[i]))
      report(v, ERROR_INVALID_MODEL, "output '%s'%s is not made by anything", function->output[i], names.where);
  for (size_t i = 0; i < function->n_attribute_proto; i++)
    if (function->attribute_proto[i]->g || function->attribute_proto[i]->n_graphs)
      report(v, ERROR_UNSUPPORTED, "attribute '%s'%s is a graph by default", function->attribute_proto[i]->name, names.where);
  v->call_depth--;
}

static void check_initializers(Validation *v, const Onnx__Graph *graph, const Names *names) {
  Tensor tensor;
  for (size_t i = 0; i < graph->n_initializer; i++) {
    const Onnx__Tensor *proto = graph->initializer[i];
    if (!proto->name || !proto->name[0]) report(v, ERROR_INVALID_MODEL, "initializer %zu%s has no name", i, names->where);
    make(v, names, proto->name, "initializer");
    report_status(v, names->where, onnx_read_tensor(v->model->tensors, proto, &tensor));
  }
  for (size_t i = 0; i < graph->n_sparse_initializer; i++) {
    const Onnx__SparseTensor *proto = graph->sparse_initializer[i];
    if (!proto->values || !proto->values->name || !proto->values->name[0])
      report(v, ERROR_INVALID_MODEL, "sparse initializer %zu%s has no name", i, names->where);
    else make(v, names, proto->values->name, "initializer");
    report_status(v, names->where, onnx_read_sparse_tensor(v->model->tensors, proto, &tensor));
  }
}

// The main graph's inputs: what a caller cannot give.
static void check_input_type(Validation *v, const Onnx__ValueInfo *info) {
  const Onnx__Type *type = info->type, *tensor = feedable_tensor(type);
  DType dtype;
  if (!type || type->value_case == ONNX__TYPE__VALUE__NOT_SET)
    report(v, ERROR_INVALID_MODEL, "input '%s' has no type", info->name);
  else if (!tensor)
    report(v, ERROR_UNSUPPORTED, "input '%s' is of type %s, expected a tensor, a sequence of tensors, or an optional of either",
           info->name, type_text(v->arena, type));
  else if (!dtype_from_onnx(tensor->tensor->elem_type, &dtype))
    report(v, ERROR_INVALID_MODEL, "input '%s' has unknown data type %d", info->name, tensor->tensor->elem_type);
  else if (tensor->tensor->shape && tensor->tensor->shape->n_dim > MAX_RANK)
    report(v, ERROR_UNSUPPORTED, "input '%s' has rank %zu, more than %d", info->name, tensor->tensor->shape->n_dim, MAX_RANK);
}

static void check_graph_inputs(Validation *v, const Onnx__Graph *graph, const Names *names) {
  StringMap *seen = string_map_new(v->arena);
  for (size_t i = 0; i < graph->n_input; i++) {
    const char *name = graph->input[i]->name;
    if (!name || !name[0]) {
      report(v, ERROR_INVALID_MODEL, "input %zu%s has no name", i, names->where);
      continue;
    }
    if (string_map_get(seen, name)) report(v, ERROR_INVALID_MODEL, "input '%s'%s is defined a second time", name, names->where);
    string_map_set(seen, name, (void *)name);
    bool initialized = string_map_get(names->made, name);
    if (!names->outer && !initialized) check_input_type(v, graph->input[i]);
    string_map_set(names->made, name, (void *)name);
  }
}

static void check_graph(Validation *v, const Onnx__Graph *graph, const Names *outer) {
  OpsetList opsets = outer ? outer->opsets : (OpsetList){v->model->proto->n_opset_import, v->model->proto->opset_import};
  Names names = names_new(v, outer, opsets, graph->n_node, graph->node);
  check_initializers(v, graph, &names);
  check_graph_inputs(v, graph, &names);
  for (size_t i = 0; i < graph->n_node; i++) check_node(v, &names, graph->node[i]);
  for (size_t i = 0; i < graph->n_output; i++) {
    const char *name = graph->output[i]->name ? graph->output[i]->name : "";
    if (!is_made(&names, name))
      report(v, ERROR_INVALID_MODEL, "output '%s' of graph '%s'%s is not made by anything", name,
             graph->name ? graph->name : "", names.where);
  }
}

static void check_opsets(Validation *v) {
  const Onnx__Model *proto = v->model->proto;
  for (size_t i = 0; i < proto->n_opset_import; i++) {
    const char *domain = onnx_domain(proto->opset_import[i]->domain);
    if (proto->opset_import[i]->version < 1)
      report(v, ERROR_INVALID_MODEL, "domain '%s' is imported in version %lld", domain,
             (long long)proto->opset_import[i]->version);
    int newest = schema_newest_opset(domain);
    if (newest && proto->opset_import[i]->version > newest)
      report(v, ERROR_UNSUPPORTED, "domain '%s' is imported in version %lld, newer than %d, the newest known",
             domain[0] ? domain : "ai.onnx", (long long)proto->opset_import[i]->version, newest);
    for (size_t k = 0; k < i; k++)
      if (strcmp(domain, onnx_domain(proto->opset_import[k]->domain)) == 0 &&
          proto->opset_import[k]->version != proto->opset_import[i]->version)
        report(v, ERROR_INVALID_MODEL, "domain '%s' is imported in two versions", domain[0] ? domain : "ai.onnx");
  }
}

static void check_functions(Validation *v) {
  const Onnx__Model *proto = v->model->proto;
  for (size_t i = 0; i < proto->n_functions; i++) {
    const Onnx__Function *f = proto->functions[i];
    if (!f->name || !f->name[0]) report(v, ERROR_INVALID_MODEL, "function %zu has no name", i);
    else if (function_find(v->functions, f->domain, f->name, f->overload) != f)
      report(v, ERROR_INVALID_MODEL, "function '%s' of domain '%s' is defined twice", f->name, onnx_domain(f->domain));
  }
}

Status onnx_validate(const Model *model, Problems *out) {
  Arena *arena = arena_scratch();
  Validation v = {.model = model, .problems = out, .arena = arena};
  v.functions = function_table_new(model, arena);
  v.visited = string_map_new(arena);
  v.warned = string_map_new(arena);
  check_opsets(&v);
  check_functions(&v);
  check_graph(&v, model->proto->graph, NULL);
  arena_free(arena);
  return OK;
}

Status problems_status(const Problems *problems) {
  if (problems->count == 0) return OK;
  if (problems->count == 1) return status_make(problems->items[0].code, "%s", problems->items[0].message);
  Text text = text_new(problems->arena);
  ErrorCode code = ERROR_UNSUPPORTED;
  for (uint32_t i = 0; i < problems->count; i++) {
    text_add(&text, "\n  %s", problems->items[i].message);
    if (problems->items[i].code != ERROR_UNSUPPORTED) code = problems->items[i].code;
  }
  if (problems->omitted) text_add(&text, "\n  and %d more", problems->omitted);
  return status_make(code, "the model has %u problems:%s", problems->count + (unsigned)problems->omitted, text_get(&text));
}
