// What a node knows besides its inputs: a short list of named attributes of a few kinds, so that printing, parsing,
// saving and comparing nodes is written once. Which attributes an operator has is in its row of the operator table.
#pragma once
#include "ir/dim.h"
#include "ir/tensor.h"

typedef struct Program Program;
typedef struct Graph Graph;

typedef enum AttributeKind {
  ATTR_INTS,
  ATTR_FLOATS,
  ATTR_STRING,
  ATTR_STRINGS,
  ATTR_DIMS,
  ATTR_PROGRAM,
  ATTR_GRAPH,
  ATTR_TENSOR
} AttributeKind;

typedef struct Attribute {
  const char *name;
  AttributeKind kind;
  int count;        // of ints, floats, strings and dims
  const Dim *open;  // of dims in a specialised graph: what they are in every call, where they differ; NULL: nothing is known
  union {
    const int64_t *ints;
    const double *floats;
    const char *string;
    const char *const *strings;
    const Dim *dims;
    Program *program;
    Graph *graph;
    Tensor *tensor;
  };
} Attribute;
