// What the passes share: numbering, iteration domains, and the joining of two program nodes into one.
#pragma once
#include "kernels/elementwise/elementwise.h"
#include "kernels/rowwise/rowwise.h"
#include "passes/passes.h"

static inline bool is_program_node(const Node *node) { return node->op == &op_elementwise || node->op == &op_rowwise; }

// The one node that uses the value, however many of its inputs; NULL where there are others or the graph gives it out.
Node *only_user(const Value *value);
// position[node->id]: place in topological order. In the graph's arena.
int *node_positions(const Graph *graph);
// The domain a program node iterates over. Returns the rank.
int node_domain(const Node *node, Dim *dims);
bool value_has_dims(const Value *value, int rank, const Dim *dims);
bool value_is_scalar(const Value *value);  // one element, whatever the rank

// Gives the program to the node after dropping inputs it does not need and merging inputs that are the same value.
void set_program_inputs(Node *node, Program *program, int input_count, Value *const *inputs, int first_input);

// Whether it is worth asking: most attempts end here, so that a node with thousands of inputs, or one that thousands use, costs no more
// than a look.
bool may_join(const Node *producer, const Node *consumer);
// Replaces producer and consumer, two program nodes where consumer uses outputs of producer, by one node in consumer's
// place. Outputs of producer that others use stay outputs. Returns NULL, having changed nothing, where the two do not join:
// other domains, other reduced axes, results that would change their shape, or a program that grows too long.
Node *join_nodes(Node *producer, Node *consumer);
