// What the harnesses share. Each is one file with LLVMFuzzerTestOneInput, linked with libFuzzer; `./dev fuzz SECONDS` runs them all, and a
// fixed number of their runs is part of the tests. Limits are those that a careful caller sets: what stays within them is no finding.
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ingot/ingot.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

enum { FUZZ_MEMORY = 256 << 20 };
#define FUZZ_SECONDS 2.0

#define FUZZ_EXPECT(condition, ...)         \
  do {                                      \
    if (!(condition)) {                     \
      fprintf(stderr, "fuzz: "__VA_ARGS__); \
      fputs("\n", stderr);                  \
      abort();                              \
    }                                       \
  } while (0)

// Creates a session on the CPU, runs it on small made-up inputs where its inputs are small, and frees all but the engine.
void fuzz_run_engine(ingot_engine *engine);
void fuzz_config(ingot_config *config);
// An error, if there is one, must say something; frees it. Returns whether there was none.
int fuzz_passed(ingot_error *error);
