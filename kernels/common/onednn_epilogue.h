// Epilogues as oneDNN can fuse them: a bias and a chain of functions and binary operations on the accumulator. A scalar program has
// no such shape written on it, so it is recognised: from the result down to the accumulator, one link at a time. What is
// not recognised runs as a pass of its own (cpu_pass.h), so that no site is refused for its epilogue.
#pragma once
#include "kernels/common/onednn.h"

enum { EPILOGUE_LINKS = 10 };

// What is to be fused. Axes may have been merged: operands broadcast to y as it is here.
typedef struct EpilogueSource {
  const Program *program;      // NULL: no epilogue
  const TensorDesc *operands;  // of the program's inputs 1, 2, ...
  int first_input;             // the node input that operands[0] is
  const TensorDesc *y;
  int channel_axis;
  int bias_rank;  // of the bias as the operation takes it: 1, or that of y; 0: it takes none
} EpilogueSource;

typedef struct EpilogueLink {
  dnnl_alg_kind_t algorithm;  // dnnl_eltwise_* or dnnl_binary_*
  float alpha, beta;          // of a function
  int operand;                // of a binary operation: number in `operands`; else -1
  bool in_place;              // an addition of what y holds before the call: the operand must be copied there
} EpilogueLink;

typedef struct OnednnEpilogue {
  int bias;  // operand number of a packed f32 vector along the channel axis, or -1
  int count;
  EpilogueLink links[EPILOGUE_LINKS];
  // Filled by onednn_epilogue_add: what to set before a run.
  int argument_count;
  int inputs[EPILOGUE_LINKS + 1], arguments[EPILOGUE_LINKS + 1];
} OnednnEpilogue;

// False where some part is not recognised. Everything is f32.
bool onednn_epilogue_match(const EpilogueSource *source, OnednnEpilogue *out);
// Makes the one addition of a tensor that lies as y does work in place; -1 where there is none, else its operand number.
int onednn_epilogue_add_in_place(OnednnEpilogue *epilogue, const EpilogueSource *source);
// Sets the links as post-operations of one->attributes, before it is described; a NULL epilogue takes them away.
MUST_CHECK Status onednn_epilogue_set(Onednn *one, const OnednnEpilogue *epilogue, const EpilogueSource *source);
void onednn_bias_desc(const EpilogueSource *source, dnnl_memory_desc_t *out);
// After onednn_make: the arguments of operands and bias; before each run: their addresses.
MUST_CHECK Status onednn_epilogue_add(Onednn *one, OnednnEpilogue *epilogue, const EpilogueSource *source);
void onednn_epilogue_bind(Onednn *one, const OnednnEpilogue *epilogue, void *const *node_inputs);
