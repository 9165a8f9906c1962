// Which values are integers that follow from where they stand (ir/op.h): ranges, positions, counters and what models compute of them.
#pragma once
#include "ir/op.h"

bool index_form_of(const Value *value, IndexForm *form);  // false: it has none, or none that shows
bool index_form_is_constant(const IndexForm *form, int rank);
// The least and the most of its elements; false where the sign of a step is open.
bool index_form_bounds(DimTable *table, const IndexForm *form, int rank, const Dim *dims, Dim *low, Dim *high);
// The dim for those sizes alone with which a value of these dims has elements: their symbols, less one, stand for themselves. What holds of it holds where there is anything.
Dim dim_with_elements(DimTable *table, Dim dim, int rank, const Dim *dims);
