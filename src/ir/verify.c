// The verifier. It trusts nothing but the list of nodes: links, use lists, names, types, attributes and programs are each
// checked against what graph.h and the operator's row promise. Use lists are proved exact by counting: every recorded use
// is a real one, none is recorded twice, and there are as many as there are inputs.
#include "ir/verify.h"
#include <string.h>
#include "ir/dim_table.h"
#include "ir/token.h"
#include "ir/op.h"

// One graph, of those that are verified together.
typedef struct Verifier {
  const Graph *graph;
  IntMap *held;  // graphs that nodes hold, by address: shared by all
  int depth;
  Arena *scratch;
  uint32_t *position;    // by node id: 1 and up in list order; 0: not in the list
  uint32_t *first_use;   // by node id: number of the first input in `recorded`
  uint8_t *recorded;     // by input number: seen in some use list
  uint8_t *visited;      // by value id
  int64_t inputs, uses;  // present inputs of nodes; records in use lists
} Verifier;

static const char *node_name(const Node *node) { return node->output_count ? node->outputs[0]->name : "(no outputs)"; }

#define NODE_FAIL(node, format, ...) \
  FAIL(ERROR_INVALID_MODEL, "node '%s' (%s): " format, node_name(node), (node)->op->name __VA_OPT__(, ) __VA_ARGS__)
#define VALUE_FAIL(value, format, ...) \
  FAIL(ERROR_INVALID_MODEL, "value '%s': " format, (value)->name __VA_OPT__(, ) __VA_ARGS__)

// The list itself, and that every node has what the checks after it read.
static Status check_links(Verifier *v) {
  const Graph *graph = v->graph;
  const Node *previous = NULL;
  uint32_t count = 0, inputs = 0;
  FOR_NODES(node, graph) {
    if (++count > graph->next_node_id) FAIL(ERROR_INVALID_MODEL, "graph '%s': the list of nodes does not end", graph->name);
    if (node->graph != graph || node->previous != previous || node->id >= graph->next_node_id || v->position[node->id] ||
        !node->op)
      FAIL(ERROR_INVALID_MODEL, "graph '%s': node number %u is not linked properly", graph->name, count);
    v->position[node->id] = count;
    v->first_use[node->id] = inputs;
    inputs += (uint32_t)node->input_count;
    previous = node;
  }
  if (previous != graph->last || count != (uint32_t)graph->node_count)
    FAIL(ERROR_INVALID_MODEL, "graph '%s': has %u nodes where %d are counted", graph->name, count, graph->node_count);
  v->recorded = arena_array(v->scratch, uint8_t, inputs);
  return OK;
}

static Status check_constant(const Value *value) {
  const Tensor *tensor = value->constant;
  bool agrees = tensor->dtype == value->dtype && tensor->rank == value->rank;
  for (int i = 0; agrees && i < value->rank; i++) agrees = tensor->dims[i] == value->dims[i];
  if (!agrees) VALUE_FAIL(value, "its type is not that of its constant");
  if (value->producer) VALUE_FAIL(value, "has both a producer and a constant");
  return OK;
}

static Status check_uses(Verifier *v, const Value *value) {
  for (const Use *use = value->uses; use; use = use->next) {
    const Node *node = use->node;
    if (node->graph && node->graph != v->graph)
      VALUE_FAIL(value, "is read by node '%s' of graph '%s', which sees nothing of graph '%s'", node_name(node),
                 node->graph->name, v->graph->name);
    if (!node->graph || !v->position[node->id]) VALUE_FAIL(value, "is recorded as used by a node that is not in the graph");
    if (use->index < 0 || use->index >= node->input_count || node->inputs[use->index] != value)
      VALUE_FAIL(value, "is recorded as input %d of node '%s', which it is not", use->index, node_name(node));
    uint8_t *recorded = &v->recorded[v->first_use[node->id] + (uint32_t)use->index];
    if (*recorded) VALUE_FAIL(value, "is recorded twice as input %d of node '%s'", use->index, node_name(node));
    *recorded = true;
    v->uses++;
  }
  return OK;
}

static Status check_value(Verifier *v, const Value *value) {
  const Graph *graph = v->graph;
  if (value->graph != graph || value->id >= graph->next_value_id) VALUE_FAIL(value, "belongs to another graph");
  if (v->visited[value->id]) return OK;
  v->visited[value->id] = true;
  if (graph_find_value(graph, value->name) != value) VALUE_FAIL(value, "its name belongs to another value");
  if (value->rank < -1 || value->rank > MAX_RANK) VALUE_FAIL(value, "has the rank %d", value->rank);
  unsigned axes = 0;
  for (int i = 0; i < value->rank; i++) axes |= 1u << value->order[i];
  if (value->rank >= 0 && axes != (1u << value->rank) - 1) VALUE_FAIL(value, "its order is not a permutation of its axes");
  TRY(value_check_size(value));
  int64_t count = 1, dim;
  bool is_static = value->rank >= 0;
  for (int i = 0; i < value->rank; i++) {
    bool known = dim_get_constant(graph->dims, value->dims[i], &dim);
    if (known && dim < 0) VALUE_FAIL(value, "dimension %d is negative", i);
    is_static = is_static && known;
    if (is_static) count *= dim;
  }
  if (value->contents && is_static && count != value->contents_count)
    VALUE_FAIL(value, "has %lld elements, of which %d are said to be known", (long long)count, value->contents_count);
  if (value->constant) TRY(check_constant(value));
  if (!value->producer && !value->constant && !value->is_input) VALUE_FAIL(value, "has no producer");
  return check_uses(v, value);
}

static Status check_ends(Verifier *v) {
  const Graph *graph = v->graph;
  for (int i = 0; i < graph->input_count; i++) {
    const Value *input = graph->inputs[i];
    if (!input->is_input || input->producer) VALUE_FAIL(input, "is listed as an input of graph '%s' but is none", graph->name);
    if (input->constant) VALUE_FAIL(input, "is an input and a constant");
    if (input->graph == graph && input->id < graph->next_value_id && v->visited[input->id])
      VALUE_FAIL(input, "is an input of graph '%s' twice", graph->name);
    TRY(check_value(v, input));
  }
  for (int i = 0; i < graph->output_count; i++)
    if (!graph->outputs[i]->is_output)
      VALUE_FAIL(graph->outputs[i], "is an output of graph '%s' but not marked as one", graph->name);
  return OK;
}

static Status check_marked_outputs(Verifier *v, const Value *value) {
  if (value->is_output) {
    for (int i = 0; i < v->graph->output_count; i++)
      if (v->graph->outputs[i] == value) return OK;
    VALUE_FAIL(value, "is marked as an output of graph '%s' but not among them", v->graph->name);
  }
  return OK;
}

static Status check_operands(Verifier *v, const Node *node) {
  for (int i = 0; i < node->input_count; i++) {
    const Value *input = node->inputs[i];
    if (!input) continue;
    v->inputs++;
    TRY(check_value(v, input));
    TRY(check_marked_outputs(v, input));
    const Node *producer = input->producer;
    if (!producer) continue;
    if (producer->graph != v->graph || !v->position[producer->id] || v->position[producer->id] >= v->position[node->id])
      NODE_FAIL(node, "its input '%s' is not made before it", input->name);
  }
  for (int i = 0; i < node->output_count; i++) {
    const Value *output = node->outputs[i];
    if (output->producer != node || output->producer_index != i || output->is_input)
      NODE_FAIL(node, "its output '%s' has another producer", output->name);
    TRY(check_value(v, output));
    TRY(check_marked_outputs(v, output));
  }
  return OK;
}

static Status check_counts(const Node *node) {
  const OpDef *op = node->op;
  if (node->input_count < op->min_inputs || (op->max_inputs >= 0 && node->input_count > op->max_inputs))
    NODE_FAIL(node, "has %d inputs; the operator takes %d to %d", node->input_count, op->min_inputs, op->max_inputs);
  if (node->output_count < op->min_outputs || (op->max_outputs >= 0 && node->output_count > op->max_outputs))
    NODE_FAIL(node, "has %d outputs; the operator makes %d to %d", node->output_count, op->min_outputs, op->max_outputs);
  for (int i = 0; i < op->min_inputs; i++)
    if (!node->inputs[i]) NODE_FAIL(node, "its input %d is absent but not optional", i);
  return OK;
}

static const AttributeSpec *find_spec(const OpDef *op, const char *name) {
  for (const AttributeSpec *spec = op->attributes; spec && spec->name; spec++)
    if (strcmp(spec->name, name) == 0) return spec;
  return NULL;
}

static Status verify_graph(const Graph *graph, IntMap *held, int depth);

// What one node says of a graph that it holds must not change another node.
static Status check_held(const Verifier *v, const Node *node, const Graph *inner) {
  uint64_t key = (uint64_t)(uintptr_t)inner;
  if (inner->dims != node->graph->dims) NODE_FAIL(node, "graph '%s' does not share its dimensions", inner->name);
  if (int_map_get(v->held, key)) NODE_FAIL(node, "graph '%s' is held twice", inner->name);
  int_map_set(v->held, key, v->held);
  return verify_graph(inner, v->held, v->depth + 1);
}

static Status check_attributes(const Verifier *v, const Node *node) {
  for (int i = 0; i < node->attribute_count; i++) {
    const Attribute *attribute = &node->attributes[i];
    const AttributeSpec *spec = find_spec(node->op, attribute->name);
    bool any = !node->op->attributes;  // a deferred node has those of an ONNX operator
    if (!spec && !any) NODE_FAIL(node, "the operator has no attribute '%s'", attribute->name);
    if (spec && spec->kind != attribute->kind)
      NODE_FAIL(node, "attribute '%s' is of another kind than the operator's", attribute->name);
    if (node_attribute(node, attribute->name) != attribute) NODE_FAIL(node, "attribute '%s' occurs twice", attribute->name);
    Status status = OK;
    if (attribute->kind == ATTR_PROGRAM) status = program_check(attribute->program);
    if (attribute->kind == ATTR_GRAPH) status = check_held(v, node, attribute->graph);
    TRY(status_context(status, "node '%s' (%s), attribute '%s'", node_name(node), node->op->name, attribute->name));
  }
  for (const AttributeSpec *spec = node->op->attributes; spec && spec->name; spec++)
    if (spec->required && !node_attribute(node, spec->name)) NODE_FAIL(node, "lacks the attribute '%s'", spec->name);
  return OK;
}

// What inference leaves open, an unknown rank or type or a new symbol, may have become known since.
static Status compare_types(const Node *node, const Value *recorded, const Value *inferred, DimMark mark) {
  const DimTable *table = node->graph->dims;
  if (inferred->dtype != DTYPE_COUNT && recorded->dtype != inferred->dtype)
    NODE_FAIL(node, "output '%s' is %s where inference says %s", recorded->name, dtype_name(recorded->dtype),
              dtype_name(inferred->dtype));
  if (recorded->kind != inferred->kind) NODE_FAIL(node, "output '%s' is of another kind than inference says", recorded->name);
  if (inferred->rank < 0) return OK;
  if (recorded->rank != inferred->rank)
    NODE_FAIL(node, "output '%s' has rank %d where inference says %d", recorded->name, recorded->rank, inferred->rank);
  for (int i = 0; i < inferred->rank; i++) {
    if (recorded->dims[i] == inferred->dims[i] || dim_is_newer(table, inferred->dims[i], mark)) continue;
    Arena *arena = arena_scratch();
    Text said = text_new(arena), found = text_new(arena);
    dim_print(&said, table, recorded->dims[i]);
    dim_print(&found, table, inferred->dims[i]);
    Status status =
        status_make(ERROR_INVALID_MODEL, "node '%s' (%s): dimension %d of output '%s' is %s where inference says %s",
                    node_name(node), node->op->name, i, recorded->name, text_get(&said), text_get(&found));
    arena_free(arena);
    return status;
  }
  return OK;
}

static bool holds_graph(const Node *node) {
  for (int i = 0; i < node->attribute_count; i++)
    if (node->attributes[i].kind == ATTR_GRAPH) return true;
  return false;
}

// Runs inference on the node itself and puts everything back: the outputs, and symbols it made, so that verifying changes
// no name. Inference of a node with subgraphs may keep new symbols inside them, so those stay.
static Status check_inference(Verifier *v, Node *node) {
  if (!node->op->infer) return OK;
  DimTable *table = node->graph->dims;
  DimMark mark = dim_mark(table);
  Value *saved = arena_array(v->scratch, Value, (size_t)node->output_count);
  for (int i = 0; i < node->output_count; i++) saved[i] = *node->outputs[i];
  Status status = node_infer(node);
  for (int i = 0; i < node->output_count && !status; i++) status = compare_types(node, &saved[i], node->outputs[i], mark);
  for (int i = 0; i < node->output_count; i++) *node->outputs[i] = saved[i];
  if (!holds_graph(node)) dim_rewind(table, mark);
  return status;
}

static Status check_own(const Node *node) {
  if (!node->op->check) return OK;
  return status_context(node->op->check(node), "node '%s' (%s)", node_name(node), node->op->name);
}

static Status check_all(Verifier *v) {
  const Graph *graph = v->graph;
  TRY(check_links(v));
  TRY(check_ends(v));
  FOR_NODES(node, graph) {
    TRY(check_operands(v, node));
    TRY(check_counts(node));
    TRY(check_attributes(v, node));
    TRY(check_own(node));
    TRY(check_inference(v, node));
  }
  for (int i = 0; i < graph->output_count; i++) {
    const Value *output = graph->outputs[i];
    TRY(check_value(v, output));
    const Node *producer = output->producer;
    if (producer && (producer->graph != graph || !v->position[producer->id]))
      VALUE_FAIL(output, "its producer is not in graph '%s'", graph->name);
  }
  // Every recorded use was a real one and none came twice: as many as inputs means all.
  if (v->uses != v->inputs)
    FAIL(ERROR_INVALID_MODEL, "graph '%s': %lld uses are recorded for %lld inputs", graph->name, (long long)v->uses,
         (long long)v->inputs);
  return OK;
}

static Status verify_graph(const Graph *graph, IntMap *held, int depth) {
  if (depth > TOKEN_MAX_NESTING) FAIL(ERROR_INVALID_MODEL, "graphs nest deeper than %d", TOKEN_MAX_NESTING);
  Arena *scratch = arena_scratch();
  Verifier verifier = {.graph = graph, .held = held, .depth = depth, .scratch = scratch};
  verifier.position = arena_array(scratch, uint32_t, graph->next_node_id);
  verifier.first_use = arena_array(scratch, uint32_t, graph->next_node_id);
  verifier.visited = arena_array(scratch, uint8_t, graph->next_value_id);
  Status status = check_all(&verifier);
  arena_free(scratch);
  return status;
}

Status graph_verify(const Graph *graph) {
  Arena *scratch = arena_scratch();
  Status status = verify_graph(graph, int_map_new(scratch), 0);
  arena_free(scratch);
  return status;
}
