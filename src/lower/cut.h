// Cutting a specialised graph into what can run, what the host does then, and what remains; see specialise.h.
#pragma once
#include "lower/open_rest.h"

// Every input's type is known; of a sequence, its elements'.
bool inputs_are_static(const Node *node);
// Sizes that the node's own attributes speak of are known.
bool attributes_are_known(const Node *node);

// leaves: the graph's inputs, with the elements of sequences in their places; ready's inputs are theirs.
// open: NULL where what remains is of these sizes alone (open_rest.h).
MUST_CHECK Status cut_graph(Graph *work, Value *const *leaves, int leaf_count, const SpecialiseHooks *hooks, OpenRest *open,
                            Arena *arena, Stage **out);
