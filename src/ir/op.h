// The operator contract: what an operator means. A core operator is one OpDef, defined in its family's folder (its shape
// inference, its reference) and listed in kernels/ops.c. The IR knows operators only through this struct.
//
// Operator identity is the pointer: `node->op == &op_matmul`.
#pragma once
#include "ir/graph.h"

typedef struct AttributeSpec {
  const char *name;
  AttributeKind kind;
  bool required;
} AttributeSpec;

// What a reference works with. Inputs are row-major host tensors, NULL where absent.
typedef struct Reference {
  const Node *node;
  Arena *arena;                 // outputs and scratch
  const Tensor *const *inputs;  // node->input_count of them; the epilogue's extra operands are among them
  Tensor *outputs;              // node->output_count of them
} Reference;

// What an operator makes of images whose channels are innermost in memory.
typedef enum ImageOrder {
  IMAGE_INDIFFERENT,
  IMAGE_FOLLOWS,  // writes in the order of what it reads
  IMAGE_GAINS,    // is faster for it: worth a copy
} ImageOrder;

struct OpDef {
  const char *name;            // "conv"
  const char *help;            // one line for documentation and `ingot inspect`
  int min_inputs, max_inputs;  // of the operator itself, without epilogue operands; max -1: any number
  int min_outputs, max_outputs;
  const AttributeSpec *attributes;  // ends with a NULL name; NULL: it may have any (`deferred`)
  // Sets dtype, rank and dims of every output. Reports what is wrong with inputs or attributes. Dims may be symbolic.
  // Must not assume constants unless the attribute list says so. Output dims that depend on data are dim_fresh symbols.
  Status (*infer)(Node *node);
  // Computes the outputs of one node on the host, without its epilogue (reference_run applies that). Plain loops; sums in
  // double (int64 for integers). NULL only for operators that the executor itself expands (if, loop, scan, call).
  Status (*reference)(Reference *reference);
  bool takes_epilogue;  // a fused program may follow it
  bool data_dependent;  // an output's size is known only after it ran
  bool random;          // never folded, never merged
  bool is_view;         // no arithmetic: an affine re-indexing of input 0
  bool has_program;     // a scalar program over its operands, pointwise or with reductions
  bool exact_values;    // about the bits or the exact value of numbers, or about what graphs inside hold: f32 stays f32
  ImageOrder image;
  int index_operand;  // the input that holds indices, which are to be looked at even where no element is moved; 0: none
  // What the verifier asks of a node besides, where inference would put right what is wrong. NULL: nothing.
  Status (*check)(const Node *node);
};

// By name, in a NULL-terminated table such as core_ops (kernels/ops.h); NULL: not there.
const OpDef *op_find(const OpDef *const *ops, const char *name);
