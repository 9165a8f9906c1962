// Epilogues as oneDNN can fuse them: a bias and a chain of functions and binary operations on the accumulator. A scalar program has
// no such shape written on it, so it is recognised: from the result down to the accumulator, one link at a time, each link one step of the
// program, rounded as that step is. Steps are never merged where that could round otherwise: x + c - c stays two links, a division stays one.
// Two exceptions: activations that models spell out (GELU, swish and their kin) become the library's own, whose result differs from that of the
// spelt steps by less than 1e-5 of the greater of the two and 1, where these do not overflow; a bias is added before or after the products, as the
// library likes. What the library does otherwise at the edges is not given to it: its maxima, minima and exponentials drop NaN, ReLU makes NaN of minus
// infinity in some of its kernels, logarithms take subnormal numbers for none. From there on, or where a step is not recognised from the start, the
// rest of the program is a tail that runs on each slice while the cache has it (onednn.h).
#pragma once
#include "kernels/common/onednn.h"

// What is to be fused. Axes may have been merged: operands broadcast to y as it is here.
typedef struct EpilogueSource {
  const Program *program;      // NULL: no epilogue
  const TensorDesc *operands;  // of the program's inputs 1, 2, ...
  int first_input;             // the node input that operands[0] is
  const TensorDesc *y;
  int channel_axis;
  int bias_rank;  // of the bias as the operation takes it: 1, or that of y; 0: it takes none
} EpilogueSource;

enum { EPILOGUE_CONSTANT = -1 };
typedef struct EpilogueLink {
  OnednnFunction function;
  float alpha, beta;  // of a function; alpha: the constant
  int at;             // the instruction whose result it makes
  int operand;  // of a binary operation: number in `operands`, or EPILOGUE_CONSTANT; ONEDNN_ADD_TO_Y: it must be copied there
} EpilogueLink;

typedef struct OnednnEpilogue {
  int bias, bias_at;  // operand number of a packed f32 vector along the channel axis, or -1; the instruction that adds it
  int count;
  EpilogueLink links[ONEDNN_LINKS];
  const Program *tail;  // NULL: the links are all
} OnednnEpilogue;

// The links that there are, then the tail. Everything is f32.
void onednn_epilogue_match(const EpilogueSource *source, Arena *arena, OnednnEpilogue *out);
// Everything is the tail.
void onednn_epilogue_leave(const EpilogueSource *source, OnednnEpilogue *out);
// Makes the one addition of a tensor that lies as y does work in place; -1 where there is none, else its operand number.
int onednn_epilogue_add_in_place(OnednnEpilogue *epilogue, const EpilogueSource *source);
// The epilogue as the library takes it: fills links, returns how many.
int onednn_epilogue_links(const OnednnEpilogue *epilogue, const EpilogueSource *source, OnednnLink *links);
OnednnTail onednn_epilogue_tail(const OnednnEpilogue *epilogue, const EpilogueSource *source);
OnednnTensor onednn_epilogue_bias(const EpilogueSource *source);
// Before each run: the addresses of operands and bias. The epilogue holds the constants: it lives as long as the primitive.
void onednn_epilogue_bind(Onednn *one, const OnednnEpilogue *epilogue, const EpilogueSource *source, void *const *node_inputs);
