// What the parts of the importer share. Not for others: they use onnx/import.h.
#pragma once
#include "onnx.pb-c.h"
#include "onnx/model.h"
#include "onnx/ops/schema.h"
#include "onnx/tensor.h"
#include "onnx/ops/translate.h"

typedef struct OpsetList {
  size_t count;
  Onnx__OperatorSet *const *sets;
} OpsetList;

const char *onnx_domain(const char *domain);  // "" for the default one under each of its names
// The newest version that is known where the domain is not imported; 0: an unknown domain.
int opset_version(OpsetList opsets, const char *domain);
bool opset_imported(OpsetList opsets, const char *domain);
const char *onnx_node_name(const Onnx__Node *node);  // its name, or its first output's where it has none
// Functions of the model, by what a node says. NULL where there is none.
typedef StringMap FunctionTable;
FunctionTable *function_table_new(const Model *model, Arena *arena);
const Onnx__Function *function_find(const FunctionTable *table, const char *domain, const char *name, const char *overload);

typedef struct Importer {
  const Model *model;
  FunctionTable *functions;
  Arena *arena;        // of the graph; the model's outlives it
  int64_t nodes_left;  // bounds what nested functions and repeated loop bodies may unfold to
} Importer;

// A name space of ONNX values: the main graph, a subgraph, the body of a function, or a branch that is imported in place.
typedef struct Scope Scope;

// A resolved attribute of a node: graphs in it belong to the scope it was written in.
typedef struct Argument {
  const char *name;
  const Onnx__Attribute *proto;
  Scope *scope;
} Argument;

// The call of a local function, whose body a scope is in.
typedef struct Call {
  const Onnx__Function *function;
  const Argument *arguments;
  int argument_count;
  const struct Call *outer;
} Call;

struct Scope {
  Importer *importer;
  Graph *graph;
  Scope *outer;       // values not found here are looked up there; the same graph
  StringMap *values;  // ONNX name -> Value
  const Call *call;   // NULL outside of functions
  OpsetList opsets;
  const char *prefix;  // put before names, so that values of inlined functions can be told apart
};

Scope *scope_new(Importer *importer, Graph *graph, Scope *outer, const char *prefix);
Value *scope_find(const Scope *scope, const char *name);

// types.c
// What the model itself declares of a value. Taken for inputs; everything else is inferred, since exporters get it wrong.
typedef struct DeclaredType {
  bool known;  // a tensor type was declared
  DType dtype;
  int rank;  // -1: not declared
  Dim dims[MAX_RANK];
} DeclaredType;

typedef enum DeclaredKind { DECLARED_NOTHING, DECLARED_TENSOR, DECLARED_OTHER } DeclaredKind;
// What the model says of a value. Unknown dims become new symbols, named after the value.
MUST_CHECK Status read_declared(Graph *graph, const Onnx__ValueInfo *info, DeclaredKind *kind, DeclaredType *out);
ValueKind declared_value_kind(const Onnx__ValueInfo *info, DeclaredKind kind);
// The tensors in what a caller can give: the type itself, those of a sequence, or of an optional of either; NULL: it is none of these.
const Onnx__Type *feedable_tensor(const Onnx__Type *type);
const char *type_text(Arena *arena, const Onnx__Type *type);  // "seq(tensor(f32))"

// attributes.c
int attribute_kind(const Onnx__Attribute *proto);  // also where an old model does not say; 0 where it has no content
// For the schema. A reference to an attribute of the function's call has no value yet.
GivenAttribute attribute_given(const Onnx__Attribute *proto);
// References are resolved against the function call that scope is in; what the caller left out is left out.
void resolve_arguments(Scope *scope, size_t count, Onnx__Attribute *const *protos, Argument **out, int *out_count);
// All but graphs, which import_graph_arguments adds.
MUST_CHECK Status set_arguments(Scope *scope, Node *node, const Argument *arguments, int count);

// subgraphs.c
bool has_graphs(const Argument *arguments, int count);
// Imports the graphs among the arguments into attributes of `node`. *captured are the outer values that they take as further
// inputs.
MUST_CHECK Status import_graph_arguments(Scope *scope, Node *node, const char *op_type, int input_count, Value *const *inputs,
                                         const Argument *arguments, int count, Value ***captured, int *captured_count);

// import.c
MUST_CHECK Status import_initializers(Scope *scope, const Onnx__Graph *proto);
MUST_CHECK Status import_nodes(Scope *scope, size_t count, Onnx__Node *const *nodes);
MUST_CHECK Status find_output(Scope *scope, const char *name, Value **out);
