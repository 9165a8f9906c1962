// What is wrong with a model: everything at once, so that one run of a tool shows the whole of it.
#pragma once
#include "onnx/model.h"

typedef struct Problem {
  ErrorCode code;       // ERROR_INVALID_MODEL, or ERROR_UNSUPPORTED where the model is right and Ingot lacks something
  const char *message;  // names the node, its operator and what was expected
} Problem;

typedef struct Problems {
  Arena *arena;
  Problem *items;
  uint32_t count, capacity;
  int omitted;  // found beyond those listed
} Problems;

// Appends to *out (zeroed before, but for the arena). The model is good where count stays 0.
MUST_CHECK Status onnx_validate(const Model *model, Problems *out);
// One status that lists them: OK where there are none.
MUST_CHECK Status problems_status(const Problems *problems);
