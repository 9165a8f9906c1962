// See database.h.
#include "lower/database.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"

TuningDatabase *tuning_new(Arena *arena) {
  TuningDatabase *database = arena_new_of(arena, TuningDatabase);
  database->arena = arena;
  database->map = string_map_new(arena);
  database->records = string_map_new(arena);
  return database;
}

static const char *entry_key(Arena *arena, int sm, const char *site) { return arena_printf(arena, "%d %s", sm, site); }

const TuningEntry *tuning_get(const TuningDatabase *database, int sm, const char *site) {
  if (!database) return NULL;
  Arena *scratch = arena_scratch();
  const TuningEntry *entry = string_map_get(database->map, entry_key(scratch, sm, site));
  arena_free(scratch);
  return entry;
}

void tuning_set(TuningDatabase *database, const TuningEntry *entry) {
  const char *key = entry_key(database->arena, entry->sm, entry->site);
  TuningEntry *have = string_map_get(database->map, key);
  if (!have) {
    have = arena_new_of(database->arena, TuningEntry);
    *ARENA_PUSH(database->arena, database->entries, database->count, database->capacity) = have;
    string_map_set(database->map, key, have);
  }
  *have =
      (TuningEntry){entry->sm, arena_string(database->arena, entry->site), arena_string(database->arena, entry->implementation),
                    arena_string(database->arena, entry->way), entry->microseconds};
}

void tuning_add(TuningDatabase *database, const TuningEntry *entry) {
  const TuningEntry *have = tuning_get(database, entry->sm, entry->site);
  if (!have || have->microseconds > entry->microseconds) tuning_set(database, entry);
}

void tuning_merge(TuningDatabase *into, const TuningDatabase *from) {
  for (uint32_t i = 0; from && i < from->count; i++) tuning_add(into, from->entries[i]);
}

// ---- records -----------------------------------------------------------------------------------------------------------------

const TuningRecord *tuning_record(const TuningDatabase *database, int sm, const char *site) {
  if (!database) return NULL;
  Arena *scratch = arena_scratch();
  const TuningRecord *record = string_map_get(database->records, entry_key(scratch, sm, site));
  arena_free(scratch);
  return record;
}

const TuningTrial *tuning_trial(const TuningRecord *record, const char *implementation, const char *way) {
  for (uint32_t i = 0; record && i < record->count; i++)
    if (!strcmp(record->trials[i].implementation, implementation) && !strcmp(record->trials[i].way, way))
      return &record->trials[i];
  return NULL;
}

static TuningRecord *record_of(TuningDatabase *database, int sm, const char *site) {
  const char *key = entry_key(database->arena, sm, site);
  TuningRecord *record = string_map_get(database->records, key);
  if (!record) string_map_set(database->records, key, record = arena_new_of(database->arena, TuningRecord));
  return record;
}

void tuning_record_trial(TuningDatabase *database, int sm, const char *site, const TuningTrial *trial) {
  TuningRecord *record = record_of(database, sm, site);
  Arena *arena = database->arena;
  TuningTrial *known = (TuningTrial *)tuning_trial(record, trial->implementation, trial->way);
  if (known && trial->outcome == TRIAL_AGREES && (known->outcome != TRIAL_AGREES || known->microseconds <= trial->microseconds))
    return;
  if (!known) known = ARENA_PUSH(arena, record->trials, record->count, record->capacity);
  *known = (TuningTrial){arena_string(arena, trial->implementation), arena_string(arena, trial->way), trial->outcome,
                         trial->microseconds, arena_string(arena, trial->why ? trial->why : "")};
}

void tuning_record_word(TuningDatabase *database, int sm, const char *site, bool kept) {
  record_of(database, sm, site)->word = kept ? WORD_KEPT : WORD_REJECTED;
}

// ---- text --------------------------------------------------------------------------------------------------------------------

Status tuning_parse(Arena *arena, const char *text, TuningDatabase **out) {
  TuningDatabase *database = tuning_new(arena);
  char *copy = arena_string(arena, text), *save = NULL;
  int number = 0;
  for (char *line = strtok_r(copy, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
    number++;
    char *fields[5], *rest = line;
    for (int i = 0; i < 5; i++) fields[i] = strsep(&rest, "\t");
    TuningEntry entry = {.site = fields[1], .implementation = fields[2], .way = fields[3]};
    char *end = NULL;
    if (!fields[4] || rest || sscanf(fields[0], "sm_%d", &entry.sm) != 1)
      FAIL(ERROR_CORRUPT, "tuning database, line %d: expected five fields separated by tabs", number);
    entry.microseconds = strtod(fields[4], &end);
    if (end == fields[4] || *end || !(entry.microseconds >= 0))
      FAIL(ERROR_CORRUPT, "tuning database, line %d: '%s' is not a time", number, fields[4]);
    tuning_add(database, &entry);
  }
  *out = database;
  return OK;
}

static int by_site(const void *a, const void *b) {
  const TuningEntry *x = *(TuningEntry *const *)a, *y = *(TuningEntry *const *)b;
  return x->sm != y->sm ? (x->sm > y->sm) - (x->sm < y->sm) : strcmp(x->site, y->site);
}

const char *tuning_print(TuningDatabase *database, Arena *arena) {
  Text text = text_new(arena);
  if (database->count) qsort(database->entries, database->count, sizeof *database->entries, by_site);
  for (uint32_t i = 0; i < database->count; i++) {
    const TuningEntry *entry = database->entries[i];
    text_add(&text, "sm_%d\t%s\t%s\t%s\t%.3f\n", entry->sm, entry->site, entry->implementation, entry->way,
             entry->microseconds);
  }
  return text_get(&text);
}

Status tuning_load(Arena *arena, const char *path, TuningDatabase **out) {
  Bytes bytes = {0};
  if (file_exists(path)) TRY(file_read(path, (size_t)1 << 30, arena, &bytes));
  return status_context(tuning_parse(arena, arena_string_n(arena, (const char *)bytes.data, bytes.size), out), "%s", path);
}

Status tuning_save(TuningDatabase *database, const char *path) {
  Arena *scratch = arena_scratch();
  TuningDatabase *merged;
  Status status = tuning_load(scratch, path, &merged);
  if (!status) {
    tuning_merge(merged, database);
    const char *text = tuning_print(merged, scratch);
    status = file_write(path, text, strlen(text));
  }
  arena_free(scratch);
  return status;
}
