// The operator contract: what an operator means. A core operator is one OpDef, defined in its family's folder (its shape
// inference, its reference) and listed in kernels/ops.c. The IR knows operators only through this struct.
//
// Operator identity is the pointer: `node->op == &op_matmul`.
#pragma once
#include "ir/graph.h"

typedef struct Builder Builder;  // kernels/build.h

typedef struct AttributeSpec {
  const char *name;
  AttributeKind kind;
  bool required;
} AttributeSpec;

// What a reference works with. Inputs are row-major host tensors, NULL where absent.
typedef struct Reference {
  const Node *node;
  Arena *arena;                 // outputs and scratch
  const Tensor *const *inputs;  // node->input_count of them
  Tensor *outputs;              // node->output_count of them
} Reference;

// What an operator makes of images whose channels are innermost in memory.
typedef enum ImageOrder {
  IMAGE_INDIFFERENT,
  IMAGE_FOLLOWS,  // writes in the order of what it reads
  IMAGE_GAINS,    // is faster for it: worth a copy
} ImageOrder;

// What a view reads: for each axis of its output the input's axis that it moves along.
typedef struct ViewAxis {
  int source;    // -1: none, so that the same elements come again
  Dim start;     // where on that axis it begins
  int64_t step;  // of that axis, for one of the output; negative: backwards
} ViewAxis;
typedef struct ViewMap {
  bool regroups;            // the axes are others: all elements, in row-major order
  ViewAxis axes[MAX_RANK];  // by the output's, where it does not
} ViewMap;

// Integers that follow from where they stand: a base, and a step for each axis times the coordinate along it. All may be symbolic.
typedef struct IndexForm {
  Dim base;
  Dim steps[MAX_RANK];  // by axis of the value
} IndexForm;

// Of a linear operator whose input 1 holds weights: where channels lie, to each of which every weight belongs.
typedef struct Channels {
  int result_axis, weight_axis;
  int64_t groups;  // the weights' axis goes over the channels of one of so many groups, which lie along axis 0
  bool scattered;  // a result sees some of its channel's weights, or none
} Channels;

struct OpDef {
  const char *name;            // "conv"
  const char *help;            // one line for documentation and `ingot inspect`
  int min_inputs, max_inputs;  // max -1: any number
  int min_outputs, max_outputs;
  const AttributeSpec *attributes;  // ends with a NULL name; NULL: it may have any (`deferred`)
  // Sets dtype, rank and dims of every output. Reports what is wrong with inputs or attributes. Dims may be symbolic.
  // Must not assume constants unless the attribute list says so. Output dims that depend on data are dim_fresh symbols.
  Status (*infer)(Node *node);
  // Computes the outputs of one node on the host. Plain loops; sums in double (int64 for integers). NULL only for operators that the executor itself expands (if, loop, scan, call).
  Status (*reference)(Reference *reference);
  bool takes_epilogue;     // an anchor: a program behind it may be done in one step with it (kernels/fused.h)
  bool data_dependent;     // an output's size is known only after it ran
  bool random;             // never folded, never merged
  bool has_program;        // a scalar program over its operands, pointwise or with reductions
  bool is_control;         // holds graphs of which the host runs one, or one again and again
  bool is_list;            // gives no tensor but what holds some, or nothing
  bool takes_zero_points;  // input 2 + i is subtracted from input i
  bool exact_values;       // about the bits or the exact value of numbers, or about what graphs inside hold: f32 stays f32
  ImageOrder image;
  // Of a view, which moves elements of input 0 without arithmetic: where they come from. Types are known; axes of the input that are open are taken for others than
  // the output's, unless they are written alike. NULL: it is no view.
  void (*view)(const Node *node, ViewMap *out);
  int index_operand;  // the input that holds indices, which are to be looked at even where no element is moved; 0: none
  // How many axes of input 0 those run along, and which: one, or one for each place along their last axis; 0: that is open. NULL without indices.
  int (*indexed_axes)(const Node *node, int *axes);
  // The same work over axes in another order: what is axis i of the result, and of operands of its rank, becomes axis perm[i]. Tells `out`, a node like it, unless it
  // is NULL. False where the node is bound to its order; NULL: always so.
  bool (*permute)(const Node *node, const int64_t *perm, Node *out);
  void (*channels)(const Node *node, Channels *out);  // NULL: it is no such operator
  // How many multiply-adds, or steps that take as long, an element of the first result costs, on average; 0: that is open. NULL: one, or what a program says.
  int64_t (*terms)(const Node *node);
  // Of integers, the form of the result by those of the inputs; false: it has none. NULL where a view or a program tells it, or nothing does.
  bool (*index_form)(const Node *node, const IndexForm *inputs, IndexForm *out);
  // Of a data-dependent one: the same by an operator that writes into memory for all there may be, and tells how many there are; `counted` behind it gives the result (kernels/sort/reserved.h).
  // NULL where that cannot be, or b's status says why not.
  Value *(*reserve)(Builder *b, const Node *node);
  // What the verifier asks of a node besides, where inference would put right what is wrong. NULL: nothing.
  Status (*check)(const Node *node);
};

// By name, in a NULL-terminated table such as core_ops (kernels/ops.h); NULL: not there.
const OpDef *op_find(const OpDef *const *ops, const char *name);
