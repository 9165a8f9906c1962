// The names that a graph reads from outside of itself.
#pragma once
#include "base/arena.h"
#include "onnx.pb-c.h"

// Calls found(context, name) for each such name, perhaps more than once: of the graph's nodes, of the graphs in them, of its
// outputs. arena: for scratch.
void graph_free_names(Arena *arena, const Onnx__Graph *graph, void (*found)(void *context, const char *name), void *context);
