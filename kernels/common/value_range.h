// What integers a value can hold, as far as its type and the arithmetic that makes it tell. Differences of 8-bit integers, which quantised models
// are made of, need 32 bits for their type and 9 for their content.
#pragma once
#include "ir/graph.h"

bool value_fits_i16(const Value *value);
