// Typing a graph that a node holds: from the node's inputs to the body's, through the body, and back to the node's outputs.
#pragma once
#include "kernels/meaning.h"

MUST_CHECK Status body_read(const Node *node, const char *attribute, int input_count, Graph **out);
// Gives a body input a type; *changed is set if it had another one.
void body_set_input(Value *input, const Value *like, bool *changed);
void body_set_type(Value *input, DType dtype, int rank, const Dim *dims, bool *changed);
MUST_CHECK Status body_infer(Graph *body);

// Loop-carried states: node inputs [first, first + count) enter the body's inputs [in, ...) and come back as its outputs [out, ...).
// A dim that an iteration changes becomes a symbol of the body's own, a rank that changes becomes unknown; then the body is
// inferred again, until nothing changes. Types the node's outputs [0, count).
typedef struct BodyStates {
  int first, in, out, count;
} BodyStates;
MUST_CHECK Status body_infer_states(Node *node, Graph *body, BodyStates states, bool changed);

// A dim of the body as the node's graph may know it: itself if its symbols come from outside, else a symbol of the node's own,
// the same one at every inference.
Dim body_outer_dim(const Node *node, Dim dim, int output, int axis);
Dim body_own_dim(const Node *node, int output, int axis);
