// What the specification says of an operator's attributes, inputs and types, and whether a node keeps to it. What breaks it is refused:
// a misspelt attribute would otherwise be its default, an undefined type a guess. Knows nothing of protobuf: nodes come from models and,
// where they have waited, from engines.
#pragma once
#include "ir/graph.h"

typedef struct Schema {
  const char *domain, *name;
  int since;
  const char *attributes, *inputs, *outputs, *types;  // see onnx/ops/schemas.py
} Schema;

typedef struct GivenAttribute {
  const char *name;
  const char *kinds;  // what it may be taken for, separated by spaces: "int ints"
  const char *text;   // where it is one string, not terminated; else NULL
  size_t length;
  bool has_number;  // it is one integer
  int64_t number;
} GivenAttribute;

const Schema *schema_find(const char *domain, const char *name, int version);  // NULL where none
int schema_newest_opset(const char *domain);                                   // 0 where the domain is unknown
// Each names what was expected. An attribute is known to the operator, of its kind, and its value one that the specification lists.
MUST_CHECK Status schema_check_attribute(const Schema *schema, const GivenAttribute *given);
MUST_CHECK Status schema_check_required(const Schema *schema, size_t count, const GivenAttribute *given);
MUST_CHECK Status schema_check_arity(const Schema *schema, int inputs, int outputs);
bool schema_requires(const Schema *schema, int input);  // it may not be left out between others
// Types and ranks of the inputs as far as they are known; NULL where absent.
MUST_CHECK Status schema_check_inputs(const Schema *schema, int count, Value *const *inputs);
