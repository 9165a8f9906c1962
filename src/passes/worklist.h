// Nodes that wait to be looked at, in the order in which the graph has them, each once. Removed nodes are passed over.
#pragma once
#include "ir/graph.h"

typedef struct Worklist {
  Arena *arena;
  Node **heap;  // by place
  uint32_t count, capacity;
  uint8_t *waits;  // by node id
  uint32_t known;  // ids that `waits` has room for
} Worklist;

void worklist_add(Worklist *list, Node *node);  // NULL and removed nodes: nothing
void worklist_add_users(Worklist *list, const Value *value);
void worklist_restore(Worklist *list);  // after nodes of the graph have moved
Node *worklist_take(Worklist *list);    // the first in the graph's order; NULL: none is left
