// Open addressing with linear probing, at most three quarters full, the table a power of two. Without removal there are
// no tombstones, so a probe ends at the first empty slot. Outgrown tables stay in the arena.
#include "base/map.h"
#include <string.h>
#include "base/hash.h"
#include "base/recover.h"

enum { FIRST_SLOTS = 16 };

typedef struct StringSlot {
  char *key;  // NULL: empty
  uint64_t hash;
  void *value;
} StringSlot;

struct StringMap {
  Arena *arena;
  StringSlot *slots;
  uint32_t slot_count, count;
};

typedef struct IntSlot {
  uint64_t key;
  void *value;
  bool used;
} IntSlot;

struct IntMap {
  Arena *arena;
  IntSlot *slots;
  uint32_t slot_count, count;
};

static bool is_full(uint32_t count, uint32_t slot_count) { return count >= slot_count / 4 * 3; }

static uint32_t next_slot_count(uint32_t slot_count) {
  if (slot_count > UINT32_MAX / 2) memory_exhausted();
  return slot_count ? slot_count * 2 : FIRST_SLOTS;
}

StringMap *string_map_new(Arena *arena) {
  StringMap *map = arena_new_of(arena, StringMap);
  map->arena = arena;
  return map;
}

// The slot that holds key, or the empty one where it belongs.
static StringSlot *string_slot(const StringMap *map, const char *key, uint64_t hash) {
  uint32_t mask = map->slot_count - 1, at = (uint32_t)hash & mask;
  while (map->slots[at].key && (map->slots[at].hash != hash || strcmp(map->slots[at].key, key) != 0)) at = (at + 1) & mask;
  return &map->slots[at];
}

static void string_map_widen(StringMap *map) {
  StringMap old = *map;
  uint32_t slot_count = next_slot_count(old.slot_count);
  map->slots = arena_array(map->arena, StringSlot, slot_count);  // may unwind: the map stays as it was
  map->slot_count = slot_count;
  for (uint32_t i = 0; i < old.slot_count; i++)
    if (old.slots[i].key) *string_slot(map, old.slots[i].key, old.slots[i].hash) = old.slots[i];
}

void *string_map_get(const StringMap *map, const char *key) {
  return map->count ? string_slot(map, key, hash_bytes(key, strlen(key), 0))->value : NULL;
}

void string_map_set(StringMap *map, const char *key, void *value) {
  if (is_full(map->count, map->slot_count)) string_map_widen(map);
  uint64_t hash = hash_bytes(key, strlen(key), 0);
  StringSlot *slot = string_slot(map, key, hash);
  if (!slot->key) {
    slot->key = arena_string(map->arena, key);
    slot->hash = hash;
    map->count++;
  }
  slot->value = value;
}

uint32_t string_map_count(const StringMap *map) { return map->count; }

IntMap *int_map_new(Arena *arena) {
  IntMap *map = arena_new_of(arena, IntMap);
  map->arena = arena;
  return map;
}

static IntSlot *int_slot(const IntMap *map, uint64_t key) {
  uint32_t mask = map->slot_count - 1, at = (uint32_t)(hash_mix(key, 0) >> 32) & mask;
  while (map->slots[at].used && map->slots[at].key != key) at = (at + 1) & mask;
  return &map->slots[at];
}

static void int_map_widen(IntMap *map) {
  IntMap old = *map;
  uint32_t slot_count = next_slot_count(old.slot_count);
  map->slots = arena_array(map->arena, IntSlot, slot_count);
  map->slot_count = slot_count;
  for (uint32_t i = 0; i < old.slot_count; i++)
    if (old.slots[i].used) *int_slot(map, old.slots[i].key) = old.slots[i];
}

void *int_map_get(const IntMap *map, uint64_t key) { return map->count ? int_slot(map, key)->value : NULL; }

void int_map_set(IntMap *map, uint64_t key, void *value) {
  if (is_full(map->count, map->slot_count)) int_map_widen(map);
  IntSlot *slot = int_slot(map, key);
  if (!slot->used) {
    slot->used = true;
    slot->key = key;
    map->count++;
  }
  slot->value = value;
}
