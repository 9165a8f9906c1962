// The tuning database: for a site on an architecture, the implementation and way that measured best, and its time. As text, one
// line an entry, sorted, so that the same measurements give the same bytes and two databases merge by keeping the faster line:
//
//   sm_90 <TAB> site key <TAB> implementation <TAB> way <TAB> microseconds
#pragma once
#include "base/map.h"
#include "base/text.h"

typedef struct TuningEntry {
  int sm;
  const char *site, *implementation, *way;
  double microseconds;
} TuningEntry;

typedef struct TuningDatabase {
  Arena *arena;
  StringMap *map;  // "sm site" -> TuningEntry
  TuningEntry **entries;
  uint32_t count, capacity;
} TuningDatabase;

TuningDatabase *tuning_new(Arena *arena);
MUST_CHECK Status tuning_parse(Arena *arena, const char *text,
                               TuningDatabase **out);  // malformed lines are an error that names the line
const TuningEntry *tuning_get(const TuningDatabase *database, int sm,
                              const char *site);                      // NULL where unknown; NULL database is fine
void tuning_add(TuningDatabase *database, const TuningEntry *entry);  // keeps the faster of two
void tuning_set(TuningDatabase *database, const TuningEntry *entry);  // whatever is there
void tuning_merge(TuningDatabase *into, const TuningDatabase *from);
const char *tuning_print(TuningDatabase *database, Arena *arena);
// Files: a missing file reads as empty; writing merges with what is there now.
MUST_CHECK Status tuning_load(Arena *arena, const char *path, TuningDatabase **out);
MUST_CHECK Status tuning_save(TuningDatabase *database, const char *path);
