// What one step of a recurrent layer does with its gates, as a scalar program: the arithmetic of every kind, activation and option, ready for
// whatever runs programs.
#pragma once
#include "kernels/recurrent/recurrent.h"

// Where the inputs of a cell's program are. The gates are what the input and the state contribute, biases included.
typedef struct CellInputs {
  int input_gates[4], state_gates[4];
  int h, c;         // the state before the step
  int peephole[3];  // of i, o, f; or -1
} CellInputs;

// lstm: outputs h, c. rnn, and gru with linear_before_reset: output h.
Program *cell_program(Arena *arena, const RecurrentSpec *spec, int direction, bool peepholes, CellInputs *inputs);
// gru otherwise takes two: the first gives the update gate z and the state behind the reset gate; the second sees, as state gate 2, what that state
// contributes, and z as input `z`, and gives h.
Program *cell_reset_program(Arena *arena, const RecurrentSpec *spec, int direction, CellInputs *inputs);
Program *cell_update_program(Arena *arena, const RecurrentSpec *spec, int direction, CellInputs *inputs, int *z);
