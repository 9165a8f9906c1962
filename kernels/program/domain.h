// The domain of elementwise and rowwise nodes: what both families infer, compute as reference and run on the CPU. `axes`, the
// reduced axes, is absent in elementwise nodes; everything else is the same.
#pragma once
#include "kernels/implementation.h"
#include "kernels/program/strips.h"

MUST_CHECK Status domain_infer(Node *node);
// What the node goes over: its `dims`, or what the shapes of its inputs broadcast to; *rank is -1 where that of an input is open.
MUST_CHECK Status domain_shape(const Node *node, int *rank, Dim *domain);
bool domain_permute(const Node *node, const int64_t *perm, Node *out);  // bound to its axes where it has `dims` or tells places
MUST_CHECK Status domain_reference(Reference *reference);
// A program on row-major host tensors in double precision: the domain is dims, outputs are given and typed.
MUST_CHECK Status domain_compute(Arena *arena, const Program *program, int rank, const int64_t *dims, const bool *reduced,
                                 const Tensor *const *inputs, int input_count, Tensor *outputs);
// On the CPU, for both.
bool domain_cpu_supports(const Site *site);
extern const HostRoutine domain_cpu_routine;
