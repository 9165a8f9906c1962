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

// What became of a way that tuning tried at a site. microseconds: where it was timed.
typedef enum TrialOutcome { TRIAL_AGREES, TRIAL_DISAGREES, TRIAL_FAILED } TrialOutcome;
typedef struct TuningTrial {
  const char *implementation, *way;
  TrialOutcome outcome;
  double microseconds;
  const char *why;  // of one that failed
} TuningTrial;

// What the whole plan had to say of a site's best way: nothing, where that is what is chosen without measuring.
typedef enum TuningWord { WORD_NONE, WORD_KEPT, WORD_REJECTED } TuningWord;

// What happened at a site. It is known while the database is there that was tuned into, and is in no file.
typedef struct TuningRecord {
  TuningTrial *trials;
  uint32_t count, capacity;
  TuningWord word;
} TuningRecord;

typedef struct TuningDatabase {
  Arena *arena;
  StringMap *records;  // "sm site" -> TuningRecord
  StringMap *map;      // "sm site" -> TuningEntry
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
void tuning_merge(TuningDatabase *into, const TuningDatabase *from);  // without records
// Of a way that is tried again the faster time stays, and what went wrong.
void tuning_record_trial(TuningDatabase *database, int sm, const char *site, const TuningTrial *trial);
void tuning_record_word(TuningDatabase *database, int sm, const char *site, bool kept);
const TuningRecord *tuning_record(const TuningDatabase *database, int sm,
                                  const char *site);  // NULL: nothing was tried; NULL database is fine
const TuningTrial *tuning_trial(const TuningRecord *record, const char *implementation,
                                const char *way);  // NULL: none; NULL record is fine
const char *tuning_print(TuningDatabase *database, Arena *arena);
// Files: a missing file reads as empty; writing merges with what is there now.
MUST_CHECK Status tuning_load(Arena *arena, const char *path, TuningDatabase **out);
MUST_CHECK Status tuning_save(TuningDatabase *database, const char *path);
