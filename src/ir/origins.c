// See origins.h.
#include "ir/origins.h"
#include "base/text.h"

const char *node_origins_text(const Node *node, Arena *arena) {
  Text text = text_new(arena);
  for (int i = 0; i < node->origin_count; i++)
    text_add(&text, "%s%s (%s)", i ? ", " : "", node->origins[i].name, node->origins[i].op_type);
  return text_get(&text);
}
