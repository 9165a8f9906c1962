// The translation contract: each ONNX operator is a short function that appends core operators to a graph.
//
// A translation sees its inputs as IR values. Where an ONNX operator takes a shape, axes, pads or such as an *input*, the
// translation asks for its content (translate_dims, translate_constant). If that is not known yet, because it is
// computed from data, the macro NEED_* leaves the translation: the driver removes what it appended and keeps the operator as a
// `deferred` node, which is translated again when the executor knows the value. So every operator supports run-time
// operands, and none has to say so twice. Translations know nothing of protobuf and are part of the run-time library.
#pragma once
#include "kernels/deferred.h"
#include "ir/op.h"

typedef struct OnnxOp OnnxOp;

typedef struct Translation {
  Graph *graph;  // append here
  Node *at;      // insert before this node (NULL: at the end)
  const char *op_type, *domain, *name;
  int opset;  // version of `domain` in force
  // Trailing absent inputs are not counted. An operator with graphs (If, Loop, Scan) has the values that its graphs capture as
  // further inputs after its own; the graphs take them as further inputs after theirs, in the same order (each graph takes all of
  // them). The attribute "captures" (int) says how many they are; captured constants are copied into the graphs instead.
  int input_count;
  Value *const *inputs;    // NULL where absent
  int output_count;        // how many outputs the model asks for
  Value **outputs;         // to fill; an output nobody asked for may stay NULL
  const Node *attributes;  // read with node_int(t->attributes, "axis", -1) and friends; graphs are imported already
  // Set by NEED_*: the translation has to wait; for the content of which input, -1 where it waits for types alone.
  bool deferred;
  int wants;
} Translation;

typedef Status (*Translate)(Translation *t);

struct OnnxOp {
  const char *domain;  // "" for ai.onnx
  const char *name;
  int since, until;            // opset versions served, inclusive; until 0: no end
  int min_inputs, max_inputs;  // max -1: any number
  int min_outputs, max_outputs;
  Translate translate;
};

extern const OnnxOp *const onnx_ops[];  // NULL-terminated list of {…, NULL name}-terminated tables, one a file (ops.c)
// The translation in force in an opset. An operator below the opset that introduced it is taken as its first version: *version says
// which one is meant. NULL where none is: the domain has no such operator, or no longer (onnx_op_known).
const OnnxOp *onnx_op_find(const char *domain, const char *name, int opset, int *version);
bool onnx_op_known(const char *domain, const char *name);  // some version of it is translated

// Runs a translation; on deferral appends a `deferred` node instead. Also defers when an input's dtype or rank is unknown.
// After an error the graph is as it was.
MUST_CHECK Status translate_run(Translation *t);
// Translates a `deferred` node whose needed inputs are now constants, in place, and removes it. If it still cannot be, the
// node stays: *done says which. Uses of its outputs become uses of the results (NULL: the caller need not know them; an output
// nobody uses may have none); nodes behind it keep the types they had, so infer them again, in order.
MUST_CHECK Status translate_deferred(Node *node, Value **results, bool *done);
// As build_copy, of any value: a sequence, and one of which nothing is known yet.
MUST_CHECK Status translate_copy(Graph *graph, Node *at, Value *x, Value **out);

// What is known of an input.
bool translate_has(const Translation *t, int input);                                       // present
bool translate_dims(const Translation *t, int input, const Dim **dims, int *count);        // integer content, maybe symbolic
bool translate_ints(const Translation *t, int input, const int64_t **values, int *count);  // integer content, all static
const Tensor *translate_constant(const Translation *t, int input);                         // any constant, or NULL
static inline void translate_wait(Translation *t, int input) {
  t->deferred = true;
  t->wants = input;
}
#define NEED_DIMS(t, input, dims, count)                  \
  do {                                                    \
    if (!translate_dims((t), (input), (dims), (count))) { \
      translate_wait((t), (input));                       \
      return OK;                                          \
    }                                                     \
  } while (0)
#define NEED_INTS(t, input, values, count)                  \
  do {                                                      \
    if (!translate_ints((t), (input), (values), (count))) { \
      translate_wait((t), (input));                         \
      return OK;                                            \
    }                                                       \
  } while (0)
#define NEED_CONSTANT(t, input, tensor)                    \
  do {                                                     \
    if (!(*(tensor) = translate_constant((t), (input)))) { \
      translate_wait((t), (input));                        \
      return OK;                                           \
    }                                                      \
  } while (0)

// An error that names the node and operator: "node 'x' (Conv): " + message.
#define TRANSLATE_FAIL(t, code, ...) \
  return status_context(status_make((code), __VA_ARGS__), "node '%s' (%s)", (t)->name, (t)->op_type)
