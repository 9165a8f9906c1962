// See worklist.h.
#include "passes/worklist.h"

#include <string.h>

#include "base/budget.h"
#include "base/checked.h"

static void swap(Worklist *list, uint32_t a, uint32_t b) {
  Node *node = list->heap[a];
  list->heap[a] = list->heap[b];
  list->heap[b] = node;
}

static void rise(Worklist *list, uint32_t at) {
  for (; at && node_is_before(list->heap[at], list->heap[(at - 1) / 2]); at = (at - 1) / 2) swap(list, at, (at - 1) / 2);
}

static void sink(Worklist *list, uint32_t at) {
  for (;;) {
    uint32_t least = at;
    for (uint32_t child = 2 * at + 1; child <= 2 * at + 2 && child < list->count; child++)
      if (node_is_before(list->heap[child], list->heap[least])) least = child;
    if (least == at) return;
    swap(list, at, least);
    at = least;
  }
}

static void make_room(Worklist *list, uint32_t id) {
  if (id < list->known) return;
  uint32_t room = MAX(2 * list->known, id + 1);
  uint8_t *waits = arena_array(list->arena, uint8_t, room);
  if (list->known) memcpy(waits, list->waits, list->known);
  list->waits = waits;
  list->known = room;
}

void worklist_add(Worklist *list, Node *node) {
  if (!node || !node->graph) return;
  make_room(list, node->id);
  if (list->waits[node->id]) return;
  list->waits[node->id] = 1;
  *ARENA_PUSH(list->arena, list->heap, list->count, list->capacity) = node;
  rise(list, list->count - 1);
}

void worklist_add_users(Worklist *list, const Value *value) {
  budget_step((uint64_t)value->use_count);
  for (const Use *use = value->uses; use; use = use->next) worklist_add(list, use->node);
}

void worklist_restore(Worklist *list) {
  budget_step(list->count);
  for (uint32_t i = list->count / 2; i-- > 0;) sink(list, i);
}

Node *worklist_take(Worklist *list) {
  while (list->count) {
    Node *node = list->heap[0];
    list->heap[0] = list->heap[--list->count];
    sink(list, 0);
    list->waits[node->id] = 0;
    if (node->graph) return node;
  }
  return NULL;
}
