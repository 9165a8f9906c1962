// The joining of two program nodes into one.
#pragma once
#include "passes/rule.h"

// Replaces producer and consumer, the root, two program nodes where consumer uses outputs of producer, by one node in consumer's place. Outputs of producer that others
// use stay outputs. Refuses where the two do not join: other domains, other reduced axes, results that would change their shape, or a program that grows too long.
bool may_take_in(const Node *consumer);  // whether it is short enough for any
MUST_CHECK Status join_nodes(Rewrite *rewrite, Node *producer, Node *consumer);
