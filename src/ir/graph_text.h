// The text form: what `inspect` shows, what pass tests are written in, and what an engine file stores. Printing and
// parsing back gives the same graph. The grammar is in graph_parse.c.
#pragma once
#include "ir/graph.h"

typedef struct GraphTextOptions {
  // How constants of more than inline_limit elements print: NULL writes every element inline (so that the text stands alone);
  // otherwise the function returns the byte offset of the tensor in some blob, printed as @offset.
  uint64_t (*place)(void *context, const Tensor *tensor);
  void *context;
  int inline_limit;
  bool leave_out;  // print them as [... count] instead: a text to look at, which the parser refuses
  bool origins;    // print provenance as comments-like suffix, parsed back
} GraphTextOptions;
void graph_print(Text *text, const Graph *graph, const GraphTextOptions *options);  // options NULL: everything inline
void node_print(Text *text, const Node *node, const GraphTextOptions *options);     // its line alone

// blob gives the bytes for constants written as @offset (NULL: such constants are an error); their data points into it.
// The text is a stranger's: every name, count and offset is checked, nesting is bounded, errors name the line.
MUST_CHECK Status graph_parse(Arena *arena, const OpDef *const *ops, const char *text, size_t length, const void *blob,
                              size_t blob_size, Graph **out);
