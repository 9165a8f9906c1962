// What cut.c and cut_rest.c share: a graph while it is cut into what runs at once, what the host does then, and what remains.
#pragma once
#include "base/map.h"
#include "lower/cut.h"

typedef struct Cut {
  const SpecialiseHooks *hooks;
  Arena *arena;
  Stage *stage;
  Graph *work;
  uint8_t *state;     // by value id: how far it is known
  bool *taken;        // by node id: it is in ready, an action, or a list of what these make
  OpenRest *open;     // rest speaks of sizes as the model does; NULL: of those of this call
  Value **ready_map;  // by value id: its copy in `ready`
  Value **rest_map;   // by value id: its copy in `rest`
  IntMap *computed;   // nodes of rest, by id, that compute small integers which are known before
  Slot *slots;        // by value id, for values made before `rest`
  uint32_t rest_slot_capacity;
} Cut;
enum { MADE_LATER, MADE_READY, MADE_ACTION };

static inline bool cut_is_deferred(const Cut *cut, const Node *node) {
  return cut->hooks->is_deferred && cut->hooks->is_deferred(node);
}
// Where the value, which is made before rest, comes from; asking makes it a result of what runs at once.
Slot cut_slot(Cut *cut, Value *value);
Node *cut_copy_node(Graph *into, const Node *node, Value **map);
// What has not been taken, as a graph of its own.
MUST_CHECK Status cut_make_rest(Cut *cut);
