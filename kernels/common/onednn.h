// oneDNN as CPU implementations use it: an operation cut into slices (onednn_split.h), a primitive with its memory objects for each, made once in prepare;
// run fills in addresses and executes them on the pool, and allocates nothing. Everything is f32. What the library cannot do to a result, or not
// exactly, is done to each slice once it is computed, while the cache has it. Scratch memory is the caller's. Everything is released with the arena.
#pragma once
#include "base/hash.h"
#include "base/thread.h"
#include "kernels/common/onednn_library.h"
#include "kernels/site.h"

enum { ONEDNN_RANK = 10, ONEDNN_LINKS = 10, ONEDNN_OPERANDS = 8 };

typedef struct OnednnTensor {
  int rank;  // 0: there is none
  int64_t dims[ONEDNN_RANK], strides[ONEDNN_RANK];
  bool any;  // weights that lie as the library likes: they are packed
} OnednnTensor;
OnednnTensor onednn_tensor(const TensorDesc *desc);

typedef enum OnednnKind { ONEDNN_MATMUL, ONEDNN_CONV, ONEDNN_CONV_TRANSPOSE } OnednnKind;

typedef struct OnednnWindow {
  int64_t strides[ONEDNN_RANK], dilations[ONEDNN_RANK];  // dilations as oneDNN counts them: 0 is dense
  int64_t pad_begin[ONEDNN_RANK], pad_end[ONEDNN_RANK];
} OnednnWindow;

typedef struct OnednnOperation {
  OnednnKind kind;
  OnednnTensor x, weights, bias, y;
  OnednnWindow window;
} OnednnOperation;

// What is done to the accumulator before it is stored, one link after the other, each rounded to f32.
typedef enum OnednnFunction {
  ONEDNN_RELU,  // alpha: the slope below zero
  ONEDNN_TANH,
  ONEDNN_ELU,
  ONEDNN_SQUARE,
  ONEDNN_ABS,
  ONEDNN_SQRT,
  ONEDNN_LINEAR,  // alpha * x + beta
  ONEDNN_SOFTPLUS,
  ONEDNN_SIGMOID,
  ONEDNN_EXP,
  ONEDNN_GELU_TANH,
  ONEDNN_SWISH,
  ONEDNN_LOG,
  ONEDNN_CLIP,  // to alpha .. beta
  ONEDNN_GELU_ERF,
  ONEDNN_MISH,
  ONEDNN_HARDSWISH,
  ONEDNN_ADD,  // from here on with an operand
  ONEDNN_MUL,
  ONEDNN_MAX,
  ONEDNN_MIN,
  ONEDNN_DIV,
  ONEDNN_SUB,
  ONEDNN_ADD_TO_Y  // what y holds before the call
} OnednnFunction;

typedef struct OnednnLink {
  OnednnFunction function;
  float alpha, beta;
  OnednnTensor operand;  // of ONEDNN_ADD ... ONEDNN_SUB
} OnednnLink;

// A program over y, whose input 0 is what the library stored; the others are broadcast to y.
typedef struct OnednnTail {
  const Program *program;  // NULL: nothing is left to do
  bool clips;              // all it does is to bring y to low .. high
  float low, high;
  int count;  // of the other inputs
  DType dtypes[ONEDNN_OPERANDS];
  OnednnTensor operands[ONEDNN_OPERANDS];
} OnednnTail;

// Whose address is set.
enum {
  ONEDNN_X,
  ONEDNN_WEIGHTS,
  ONEDNN_BIAS,
  ONEDNN_Y,
  ONEDNN_SCRATCH,
  ONEDNN_LINK,
  ONEDNN_OPERAND = ONEDNN_LINK + ONEDNN_LINKS,  // of the tail
  ONEDNN_ROLES = ONEDNN_OPERAND + ONEDNN_OPERANDS
};

typedef struct OnednnPart OnednnPart;
typedef struct Onednn {
  const OnednnLibrary *library;
  ThreadPool *pool;
  Arena *arena;
  OnednnEngine engine;
  OnednnAttributes attributes;
  OnednnOperation operation;
  int link_count;
  OnednnLink links[ONEDNN_LINKS];
  OnednnTail tail;    // of what will be described, set by its user
  OnednnPart *parts;  // each computes a slice, on one thread
  int part_count;     // 0: there is nothing for what was described
  Arena *slices;      // what the parts are described by, until they are made
  void *data[ONEDNN_ROLES];
  size_t scratch_bytes;
} Onednn;

MUST_CHECK Status onednn_new(Arena *arena, ThreadPool *pool, Onednn **out);
// Describes the operation, replacing an earlier one. *fast, unless NULL, says whether oneDNN has more than plain loops for it. An operation
// it has nothing for gives *fast = false and OK; part_count is then 0.
MUST_CHECK Status onednn_describe(Onednn *one, const OnednnOperation *operation, const OnednnLink *links, int link_count,
                                  bool *fast);
const char *onednn_implementation(const Onednn *one);  // oneDNN's name of what it would use: "brgconv:avx512_core"
// Makes the primitives of the description, and their memory objects.
MUST_CHECK Status onednn_make(Onednn *one);
static inline void onednn_set(Onednn *one, int role, void *data) { one->data[role] = data; }
MUST_CHECK Status onednn_run(Onednn *one);  // scratch_bytes of memory are set as ONEDNN_SCRATCH
// Weights in the layout the primitives want, which onednn_set then gets.
size_t onednn_weights_bytes(const Onednn *one);
// What that layout is: equal for primitives that may share packed weights.
Hash128 onednn_weights_form(const Onednn *one);
MUST_CHECK Status onednn_pack(Onednn *one, const OnednnTensor *from, const float *weights, void *packed);
