// Hash maps in an arena: from strings and from 64-bit keys to pointers. Keys are copied; there is no removal.
#pragma once
#include <stdbool.h>
#include "base/arena.h"

typedef struct StringMap StringMap;
StringMap *string_map_new(Arena *arena);
void *string_map_get(const StringMap *map, const char *key);        // NULL where absent
void string_map_set(StringMap *map, const char *key, void *value);  // replaces
uint32_t string_map_count(const StringMap *map);

typedef struct IntMap IntMap;
IntMap *int_map_new(Arena *arena);
void *int_map_get(const IntMap *map, uint64_t key);
void int_map_set(IntMap *map, uint64_t key, void *value);
