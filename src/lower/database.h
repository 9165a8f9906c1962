// The tuning database: what was measured of sites on chips, and what whole plans had to say of it. As text, one line an entry:
//
//   ingot tuning 1
//   chip <TAB> site key <TAB> implementation <TAB> way <TAB> version <TAB> microseconds <TAB> remark
//
// version: of the library that the way is from, or the hash of its kernels and their launches (version.h); an entry of another version is stale, and as
// though it were not there. remark: "agrees"; "kept" or "rejected", what a run had to say of it beside what is chosen without measuring; "failed: WHY"; or
// "differs": its results are not those of the others. Of two lines for the same way the later of these remarks stays, and the lesser time: merging is
// putting texts one behind the other, in any order. Printed sorted, the same measurements give the same bytes.
#pragma once
#include <stdatomic.h>

#include "base/map.h"
#include "base/text.h"

typedef enum TuningRemark { TUNING_AGREES, TUNING_KEPT, TUNING_REJECTED, TUNING_FAILED, TUNING_DIFFERS } TuningRemark;

typedef struct TuningEntry {
  const char *chip, *site, *implementation, *way, *version;
  double microseconds;  // 0 of one that failed
  TuningRemark remark;
  const char *why;    // of one that failed; NULL is fine
  atomic_bool stale;  // somebody met another version of it here
} TuningEntry;

// Entries of a site on a chip: those to choose among first, the fastest before others.
typedef struct TuningSite {
  const char *chip, *site;
  TuningEntry **entries;
  uint32_t count, capacity;
} TuningSite;

typedef struct TuningDatabase {
  Arena *arena;
  StringMap *map;  // "chip TAB site" -> TuningSite
  TuningSite **sites;
  uint32_t count, capacity;
  const char *path;  // of the file that tuning_record appends to; NULL: none
  // Of a copy that is a view: of sites that are not among these keys only what whole plans kept is chosen; NULL: it is no view.
  StringMap *unjudged;
} TuningDatabase;

TuningDatabase *tuning_new(Arena *arena);
// Malformed lines are an error that names the line; a last one without an end was being written when its process ended, and is left out.
MUST_CHECK Status tuning_parse(Arena *arena, const char *text, TuningDatabase **out);
// NULL where nothing is known; NULL database is fine. The key under which a site is among a view's `unjudged` is tuning_key.
const TuningSite *tuning_site(const TuningDatabase *database, const char *chip, const char *site);
char *tuning_key(Arena *arena, const char *chip, const char *site);
// version NULL: any, but a stale one only where there is no other. NULL: none; NULL site is fine.
const TuningEntry *tuning_entry(const TuningSite *site, const char *implementation, const char *way, const char *version);
const TuningEntry *tuning_add(TuningDatabase *database, const TuningEntry *entry);
void tuning_merge(TuningDatabase *into, const TuningDatabase *from);
const char *tuning_line(const TuningEntry *entry, bool first, Arena *arena);  // first: of a text
const char *tuning_print(TuningDatabase *database, Arena *arena);
const char *tuning_print_chosen(TuningDatabase *database, Arena *arena);  // of each site the one that a plan takes

// A plan takes of a site the first entry that fits and that TUNING_TAKE is said of, asked from the first on: *passed is false before.
typedef enum TuningVerdict { TUNING_TAKE, TUNING_PASS } TuningVerdict;
TuningVerdict tuning_verdict(const TuningDatabase *database, const TuningSite *site, const TuningEntry *entry, bool *passed);

int tuning_count_entries(const TuningDatabase *database);
int tuning_count_stale(const TuningDatabase *database,
                       int *sites);  // that were met, and were not measured again; how many sites they are of

// ---- files: database_file.c ----------------------------------------------------------------------------------------------------

// A missing file reads as empty. What is recorded from here on is appended to it.
MUST_CHECK Status tuning_open(Arena *arena, const char *path, TuningDatabase **out);
// Adds, and appends a line to the file, under a lock, so that several processes may write to one file. It is there when this returns, whatever becomes of
// the process.
MUST_CHECK Status tuning_record(TuningDatabase *database, const TuningEntry *entry);
// Writes the file whole: what is in it by now, and the database, sorted, one line a way. Without a file: nothing to do.
MUST_CHECK Status tuning_compact(TuningDatabase *database);
