// Movement of elements by index: gathers, scatters, and concat.
#pragma once
#include "ir/op.h"

extern const OpDef op_gather, op_gather_elements, op_gather_nd;
extern const OpDef op_scatter_elements, op_scatter_nd;
extern const OpDef op_concat;

// Traits: indices for the axis of the attribute `axis`; coordinates behind the axes of the attribute `batch_dims`.
int indexed_axis(const Node *node, int *axes);
int coordinate_axes(const Node *node, int *axes);
// Of gather_elements and scatter_elements: along other axes than theirs, indices are no more than the data, as far as sizes are known.
MUST_CHECK Status indices_fit(const Value *x, const Value *indices, int axis);
