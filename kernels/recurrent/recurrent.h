// LSTM, GRU and plain recurrent layers.
#pragma once
#include "ir/op.h"

extern const OpDef op_recurrent;

typedef enum RecurrentKind { RECURRENT_LSTM, RECURRENT_GRU, RECURRENT_RNN, RECURRENT_KINDS } RecurrentKind;
typedef enum RecurrentFunction {
  FUNCTION_RELU,
  FUNCTION_TANH,
  FUNCTION_SIGMOID,
  FUNCTION_AFFINE,
  FUNCTION_LEAKY_RELU,
  FUNCTION_THRESHOLDED_RELU,
  FUNCTION_SCALED_TANH,
  FUNCTION_HARD_SIGMOID,
  FUNCTION_ELU,
  FUNCTION_SOFTSIGN,
  FUNCTION_SOFTPLUS,
  RECURRENT_FUNCTIONS
} RecurrentFunction;
typedef struct RecurrentActivation {
  RecurrentFunction function;
  double alpha, beta;
} RecurrentActivation;

// The attributes, read and checked: what an implementation and the reference start from.
typedef struct RecurrentSpec {
  RecurrentKind kind;
  int gates;       // rows of w and r are gates * hidden; gate order iofc, zrh
  int directions;  // 1 or 2
  bool reversed;   // direction 0 runs backwards
  int functions;   // activations of a direction: 3, 2, 1
  RecurrentActivation activations[2][3];
  double clip;  // 0: none
  bool linear_before_reset, input_forget;
} RecurrentSpec;
MUST_CHECK Status recurrent_read(const Node *node, RecurrentSpec *out);
double recurrent_activate(const RecurrentActivation *activation, double x);
