// The text form: what `inspect` shows, what pass tests are written in, and what an engine file stores. Printing and
// parsing back gives the same graph. The grammar is in graph_parse.c.
#pragma once
#include "base/hash.h"
#include "ir/graph.h"

typedef struct GraphTextOptions {
  // How constants of more than inline_limit elements print: NULL writes every element inline (so that the text stands alone);
  // otherwise the function returns the byte offset of the tensor in some blob, printed as @offset, or the hash of its bytes, printed as &hash.
  uint64_t (*place)(void *context, const Tensor *tensor);
  Hash128 (*name)(void *context, const Tensor *tensor);
  void *context;
  int inline_limit;
  bool leave_out;  // print them as [... count] instead: a text to look at, which the parser refuses
  bool origins;    // print provenance as comments-like suffix, parsed back
} GraphTextOptions;
void graph_print(Text *text, const Graph *graph, const GraphTextOptions *options);  // options NULL: everything inline
void node_print(Text *text, const Node *node, const GraphTextOptions *options);     // its line alone

// Where the bytes of constants are that the text does not hold.
typedef struct GraphContents {
  const void *blob;  // of those written as @offset; NULL: such constants are an error
  size_t blob_size;
  const void *(*find)(void *context, Hash128 name,
                      size_t bytes);  // of those written as &hash: NULL where unknown; NULL: an error
  void *context;
} GraphContents;

// blob gives the bytes for constants written as @offset (NULL: such constants are an error); their data points into it.
// The text is a stranger's: every name, count and offset is checked, nesting is bounded, errors name the line.
MUST_CHECK Status graph_parse(Arena *arena, const OpDef *const *ops, const char *text, size_t length, const void *blob,
                              size_t blob_size, Graph **out);
// The graph at the cursor of a longer text, behind which it is left. The text is in memory that lives as long as the arena, and end is the NUL
// behind it.
MUST_CHECK Status graph_parse_at(Arena *arena, const OpDef *const *ops, const char **cursor, const char *end,
                                 const GraphContents *contents, Graph **out);
