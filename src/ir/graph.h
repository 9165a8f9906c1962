// The graph: values and nodes in an arena, with use lists. One graph holds the model's main graph; If, Loop, Scan and
// Call hold further graphs as attributes. A subgraph sees no outer value except through its own inputs: captured values are
// made explicit inputs when a model is imported, so that every graph stands alone.
//
// Constants are values without a producer whose `constant` is set. A graph's DimTable is shared with its subgraphs.
#pragma once
#include "ir/attribute.h"
#include "ir/program.h"

typedef struct Node Node;
typedef struct Value Value;
typedef struct OpDef OpDef;  // op.h: a row of the operator table

enum { MAX_INPUTS = 1 << 16 };

typedef struct Use {
  Node *node;
  int index;                 // input number
  struct Use *next, **link;  // link: what points here, so that a use goes without a search
} Use;

// Where a value's bytes are wanted. Shapes and other small integers that the host decides by stay on the host.
typedef enum ValueKind { VALUE_TENSOR, VALUE_SEQUENCE, VALUE_OPTIONAL } ValueKind;

struct Value {
  uint32_t id;           // unique within the graph
  const char *name;      // unique within the graph; the ONNX name where there is one
  const char *given_as;  // what callers call an output where an input or another output has that name; NULL: its own
  ValueKind kind;
  DType dtype;  // of the elements; DTYPE_COUNT: unknown until run time (only behind `deferred` nodes)
  int rank;     // -1: unknown until run time (only behind `deferred`, `if` and `loop` nodes)
  Dim dims[MAX_RANK];
  const Dim *
      open;  // of a value of a specialised graph: the dims that it has in every call, where they differ; NULL: nothing is known
  uint8_t order[MAX_RANK];  // stride order: order[0] is the logical axis that is outermost in memory; identity is row-major
  Tensor *constant;         // row-major content, or NULL; never of a graph input
  Tensor *initial;          // of a graph input that callers may leave out: what it is then; else NULL
  const Dim *contents;      // what is known of a small integer tensor's elements (row-major), or NULL; see graph_set_contents
  int contents_count;
  Node *producer;      // NULL for graph inputs and constants
  int producer_index;  // output number
  Use *uses;
  int use_count;             // of the list
  bool is_input, is_output;  // of the graph
  Graph *graph;
};

// Provenance: the ONNX nodes a node came from, through every rewrite.
typedef struct Origin {
  const char *name;  // ONNX node name, or its first output's name
  const char *op_type;
} Origin;

struct Node {
  uint32_t id;
  const OpDef *op;
  int input_count, output_count;
  Value **inputs;  // NULL where an optional input is absent
  Use **uses;      // of each input, where it is not NULL
  uint32_t input_capacity;
  Value **outputs;  // never NULL
  Attribute *attributes;
  int attribute_count;
  uint32_t attribute_capacity;
  Origin *origins;
  int origin_count;
  Node *previous, *next;  // in topological order
  int64_t place;          // grows along it; see node_is_before
  Graph *graph;           // NULL once the node is removed
};

struct Graph {
  Arena *arena;
  const OpDef *const *ops;  // the operator table, NULL-terminated (for parsing)
  DimTable *dims;
  const char *name;
  Value **inputs;
  int input_count;
  uint32_t input_capacity;
  Value **outputs;
  int output_count;
  uint32_t output_capacity;
  Node *first, *last;
  int node_count;
  uint32_t next_value_id, next_node_id;
  uint32_t next_suffix;  // for names that are taken
  StringMap *names;      // value name -> Value
  // New nodes receive these origins (set by the importer around each ONNX node, by a pass around each rewrite).
  Origin *current_origins;
  int current_origin_count;
};

Graph *graph_new(Arena *arena, const OpDef *const *ops, const char *name);
Graph *graph_new_inside(Graph *outer, const char *name);  // a subgraph: same arena, ops and DimTable

// Values. name NULL makes one ("v12"); a taken name gets a suffix. dims NULL: zeros, to be set later.
Value *graph_add_input(Graph *graph, const char *name, DType dtype, int rank, const Dim *dims);
Value *graph_add_constant(Graph *graph, const char *name, const Tensor *tensor);  // keeps the tensor's data pointer
void graph_mark_output(Graph *graph, Value *value);                // in order; the same value may be marked twice
void graph_replace_output(Graph *graph, int index, Value *value);  // value takes over the place and the name
int graph_keep_defaults(Graph *graph);  // inputs that callers may leave out become constants; returns how many
void graph_set_contents(Value *value, const Dim *contents, int count);
Value *graph_find_value(const Graph *graph, const char *name);
void value_set_type(Value *value, DType dtype, int rank, const Dim *dims);
void value_set_static(Value *value, DType dtype, int rank, const int64_t *dims);
void value_rename(Graph *graph, Value *value, const char *name);  // takes the name over from whoever has it
void value_copy_open(Value *to, const Value *from);
bool value_is_static(const Value *value);               // rank known and all dims constant
bool value_get_dims(const Value *value, int64_t *out);  // false if not static
Dim value_count_dim(Graph *graph, const Value *value);  // product of dims
// dims_fit, open dims taken for the least that they can be; and the error where a value's do not.
bool dims_may_fit(const DimTable *table, DType dtype, int rank, const Dim *dims);
MUST_CHECK Status value_check_size(const Value *value);
int value_use_count(const Value *value);  // uses by nodes; being a graph output counts as one more
bool value_same_shape(const Value *a, const Value *b);
bool value_is_row_major(const Value *value);
void value_strides(const Value *value, int64_t *strides);  // in elements, from static dims and order

// Nodes. graph_add appends before `at` (NULL: at the end) with outputs not yet typed; set attributes, then call node_infer.
Node *graph_add(Graph *graph, Node *at, const OpDef *op, int input_count, Value *const *inputs, int output_count);
void node_remove(Node *node);  // its outputs must have no uses
void node_set_input(Node *node, int index, Value *value);
int node_add_input(Node *node, Value *value);  // returns its number
// Every use of from, and its place among graph outputs, name and all, becomes to. Where from is a graph output and `to` is a
// graph input or an output already, the name that callers know would be lost: value_can_replace says no, and whoever
// replaces anyway leaves `to` its own name.
void value_replace(Value *from, Value *to);
bool value_can_replace(const Value *from, const Value *to);
void node_move_before(Node *node, Node *at);
// Operator, attributes, the counts of operands and the types of results: two nodes that are equal so do the same to whatever their operands are.
bool node_work_equal(const Node *a, const Node *b);
static inline bool node_is_before(const Node *a, const Node *b) { return a->place < b->place; }  // of one graph
MUST_CHECK Status node_infer(Node *node);  // op->infer: types the outputs from inputs and attributes
// The order that follows from what the outputs need, first to last, operands first to last: the same for a graph whose unrelated nodes stood otherwise. A node that tells a
// size stands before those whose attributes speak of it. Nodes and values are numbered along it.
void graph_sort(Graph *graph);
// What messages call it: the first ONNX node that it comes from, or its first result.
const char *node_place(const Node *node);
// The union, up to MAX_ORIGINS; a last one says where there would be more.
enum { MAX_ORIGINS = 128 };
void node_merge_origins(Node *into, const Node *from);

// Attributes. The getters return the default where absent.
Attribute *node_attribute(const Node *node, const char *name);  // NULL where absent
void node_set_ints(Node *node, const char *name, const int64_t *values, int count);
void node_set_int(Node *node, const char *name, int64_t value);
void node_set_floats(Node *node, const char *name, const double *values, int count);
void node_set_float(Node *node, const char *name, double value);
void node_set_string(Node *node, const char *name, const char *value);
void node_set_strings(Node *node, const char *name, const char *const *values, int count);
void node_set_dims(Node *node, const char *name, const Dim *values, int count);
void node_set_program(Node *node, const char *name, Program *program);
void node_set_graph(Node *node, const char *name, Graph *graph);
void node_set_tensor(Node *node, const char *name, Tensor *tensor);
void node_take_attributes(Node *node, const Node *from);  // all of them, in place of its own; what they hold is shared
void node_drop_attribute(Node *node, const char *name);
int64_t node_int(const Node *node, const char *name, int64_t otherwise);
double node_float(const Node *node, const char *name, double otherwise);
const char *node_string(const Node *node, const char *name, const char *otherwise);
const int64_t *node_ints(const Node *node, const char *name, int *count);  // NULL, *count = 0 where absent
const double *node_floats(const Node *node, const char *name, int *count);
const char *const *node_strings(const Node *node, const char *name, int *count);
const Dim *node_dims(const Node *node, const char *name, int *count);
Program *node_program(const Node *node, const char *name);
Graph *node_graph(const Node *node, const char *name);
Tensor *node_tensor(const Node *node, const char *name);

// Symbols and who tells their values; see symbols.c. The names that attributes of the graph's nodes speak of, bodies and branches too.
void node_note_symbols(const Node *node, StringMap *names);  // into the map, by name, those of one node
StringMap *graph_attribute_symbols(const Graph *graph, Arena *arena);
StringMap *graph_late_symbols(const Graph *graph, Arena *arena);      // those that the inputs do not tell
bool value_shows_symbol(const Value *value, const StringMap *names);  // one of its dims is one of these symbols
bool node_introduces_symbol(const Node *node,
                            const StringMap *names);  // ... and no input or attribute of the node has it already
// Removes nodes whose results nobody uses, but for those that tell a size others speak of. Returns how many went.
int graph_remove_unused(Graph *graph);

// Copies a whole graph (with subgraphs) into another arena; constants' bytes are shared, not copied.
Graph *graph_copy(Arena *arena, const Graph *graph);
// Gives the graph's tensors and strings bytes in its own arena, those of bodies, branches and attributes too; shared bytes stay shared.
MUST_CHECK Status graph_own_tensors(Graph *graph);
// Of a graph that will not change: the hashes of its large constants are remembered (tensor_give_name), in its copies too.
void graph_name_constants(Graph *graph);
// Copies the node into another graph; map[value->id] gives the new inputs. Outputs are typed like the old ones, dims imported.
Node *node_copy(Graph *into, const Node *node, Value *const *map);
// The same, of a node that nobody needs any more, from a graph of the same arena and DimTable: what graphs it holds go over to the copy, so
// that branches in branches are not copied once for each level.
Node *node_take(Graph *into, const Node *node, Value *const *map);

#define FOR_NODES(node, graph) for (Node *node = (graph)->first; node; node = node->next)
// Safe when the body removes `node`.
#define FOR_NODES_SAFE(node, graph)                                                \
  for (Node *node = (graph)->first, *node##_next = node ? node->next : NULL; node; \
       node = node##_next, node##_next = node ? node->next : NULL)
