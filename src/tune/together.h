// Which of the changes that measuring sites alone suggests are worth making together: what is fastest between cold and warm neighbours of its own need not be in the plan.
#pragma once
#include <stdbool.h>

#include "base/status.h"

typedef struct Together {
  // How many times as long a run takes with the changes of `trial` as with those of `current`, measured in turns.
  Status (*compare)(void *context, const bool *current, const bool *trial, double *ratio);
  bool (*is_over)(void *context);  // time for further comparisons
  void *context;
} Together;

typedef struct TogetherFound {
  int compared, left_out;  // trials; changes that are not taken
  double ratio;            // of a run with those that are to one with none: at most 1
} TogetherFound;

// taken: for each change whether it is made, in the order of their worth. None is taken where none is faster.
MUST_CHECK Status choose_together(const Together *together, int count, bool *taken, TogetherFound *found);
