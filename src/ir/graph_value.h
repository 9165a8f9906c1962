// What node.c, the copier and the parser need of values beyond graph.h.
#pragma once
#include "ir/graph.h"

Value *graph_new_value(Graph *graph, const char *name);  // no producer, no type yet; name as in graph_add_input
void graph_number_nodes(Graph *graph);                   // gives nodes places anew, along the list
void value_forget_name(Value *value);                    // its name becomes free
// graph_add, where each result is called like its namesake if that name is free.
Node *graph_add_named(Graph *graph, Node *at, const OpDef *op, int input_count, Value *const *inputs, int output_count,
                      Value *const *namesakes);
