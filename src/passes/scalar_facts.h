// What conditions of scalar rules ask of instructions.
#pragma once
#include "ir/program.h"

typedef struct ScalarFact {
  const char *name;
  int count;  // of names that it asks about
  bool (*holds)(const Program *program, const uint8_t *levels, const int *instructions);
} ScalarFact;

const ScalarFact *scalar_fact_find(const char *name);  // NULL: there is none
