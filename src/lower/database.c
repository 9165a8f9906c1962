// See database.h.
#include "lower/database.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"

TuningDatabase *tuning_new(Arena *arena) {
  TuningDatabase *database = arena_new_of(arena, TuningDatabase);
  database->arena = arena;
  database->map = string_map_new(arena);
  return database;
}

char *tuning_key(Arena *arena, const char *chip, const char *site) { return arena_printf(arena, "%s\t%s", chip, site); }

const TuningSite *tuning_site(const TuningDatabase *database, const char *chip, const char *site) {
  if (!database || !database->count) return NULL;
  Arena *scratch = arena_scratch();
  const TuningSite *found = string_map_get(database->map, tuning_key(scratch, chip, site));
  arena_free(scratch);
  return found;
}

const TuningEntry *tuning_entry(const TuningSite *site, const char *implementation, const char *way, const char *version) {
  const TuningEntry *found = NULL;
  for (uint32_t i = 0; site && i < site->count; i++) {
    const TuningEntry *entry = site->entries[i];
    if (strcmp(entry->implementation, implementation) || strcmp(entry->way, way)) continue;
    if (version && strcmp(entry->version, version)) continue;
    if (!found || (found->stale && !entry->stale)) found = entry;
  }
  return found;
}

// ---- adding ------------------------------------------------------------------------------------------------------------------

static bool is_choice(const TuningEntry *entry) { return entry->remark <= TUNING_REJECTED; }

static int by_worth(const void *a, const void *b) {
  const TuningEntry *x = *(TuningEntry *const *)a, *y = *(TuningEntry *const *)b;
  if (is_choice(x) != is_choice(y)) return is_choice(x) ? -1 : 1;
  if (is_choice(x) && x->microseconds != y->microseconds) return x->microseconds < y->microseconds ? -1 : 1;
  int order = strcmp(x->implementation, y->implementation);
  if (!order) order = strcmp(x->way, y->way);
  return order ? order : strcmp(x->version, y->version);
}

static TuningSite *site_for(TuningDatabase *database, const TuningEntry *entry) {
  Arena *arena = database->arena;
  const char *key = tuning_key(arena, entry->chip, entry->site);
  TuningSite *site = string_map_get(database->map, key);
  if (site) return site;
  site = arena_new_of(arena, TuningSite);
  site->chip = arena_string(arena, entry->chip);
  site->site = arena_string(arena, entry->site);
  *ARENA_PUSH(arena, database->sites, database->count, database->capacity) = site;
  string_map_set(database->map, key, site);
  return site;
}

static TuningEntry *copy_into(Arena *arena, TuningSite *site, const TuningEntry *entry) {
  TuningEntry *copy = arena_new_of(arena, TuningEntry);
  copy->chip = site->chip, copy->site = site->site;
  copy->implementation = arena_string(arena, entry->implementation);
  copy->way = arena_string(arena, entry->way);
  copy->version = arena_string(arena, entry->version);
  copy->microseconds = entry->microseconds;
  copy->remark = entry->remark;
  copy->why = arena_string(arena, entry->why ? entry->why : "");
  *ARENA_PUSH(arena, site->entries, site->count, site->capacity) = copy;
  return copy;
}

// The same, whichever of the two was there first.
static void join(Arena *arena, TuningEntry *have, const TuningEntry *more) {
  const char *why = more->why ? more->why : "";
  if (more->remark > have->remark || (more->remark == have->remark && strcmp(why, have->why) < 0))
    have->why = arena_string(arena, why);
  if (is_choice(have) == is_choice(more)) have->microseconds = fmin(have->microseconds, more->microseconds);
  else if (more->remark > have->remark) have->microseconds = more->microseconds;
  have->remark = MAX(have->remark, more->remark);
}

// As the text says it, so that who reads the text chooses alike.
static double as_printed(double microseconds) { return nearbyint(microseconds * 1e3) / 1e3; }

const TuningEntry *tuning_add(TuningDatabase *database, const TuningEntry *entry) {
  TuningSite *site = site_for(database, entry);
  TuningEntry *have = (TuningEntry *)tuning_entry(site, entry->implementation, entry->way, entry->version);
  TuningEntry rounded = {.why = entry->why, .remark = entry->remark, .microseconds = as_printed(entry->microseconds)};
  if (have) join(database->arena, have, &rounded);
  else {
    have = copy_into(database->arena, site, entry);
    have->microseconds = rounded.microseconds;
  }
  qsort(site->entries, site->count, sizeof *site->entries, by_worth);
  return have;
}

void tuning_merge(TuningDatabase *into, const TuningDatabase *from) {
  for (uint32_t i = 0; from && i < from->count; i++)
    for (uint32_t k = 0; k < from->sites[i]->count; k++) tuning_add(into, from->sites[i]->entries[k]);
}

// ---- choosing ----------------------------------------------------------------------------------------------------------------

// Behind one that was rejected what was slower alone is worth having only where a run said so.
TuningVerdict tuning_verdict(const TuningDatabase *database, const TuningSite *site, const TuningEntry *entry, bool *passed) {
  if (!is_choice(entry)) return TUNING_PASS;
  if (entry->remark == TUNING_KEPT) return TUNING_TAKE;
  if (entry->remark == TUNING_REJECTED) {
    *passed = true;
    return TUNING_PASS;
  }
  if (*passed) return TUNING_PASS;
  if (!database->unjudged) return TUNING_TAKE;
  Arena *scratch = arena_scratch();
  bool among = string_map_get(database->unjudged, tuning_key(scratch, site->chip, site->site));
  arena_free(scratch);
  return among ? TUNING_TAKE : TUNING_PASS;
}

int tuning_count_entries(const TuningDatabase *database) {
  int count = 0;
  for (uint32_t i = 0; i < database->count; i++) count += (int)database->sites[i]->count;
  return count;
}

// Stale, and of no way that was measured again.
static bool is_lost(const TuningSite *site, const TuningEntry *entry) {
  return entry->stale && tuning_entry(site, entry->implementation, entry->way, NULL)->stale;
}

int tuning_count_stale(const TuningDatabase *database, int *sites) {
  int count = 0;
  *sites = 0;
  for (uint32_t i = 0; i < database->count; i++) {
    int stale = 0;
    for (uint32_t k = 0; k < database->sites[i]->count; k++)
      stale += is_lost(database->sites[i], database->sites[i]->entries[k]);
    count += stale;
    *sites += stale > 0;
  }
  return count;
}

// ---- text --------------------------------------------------------------------------------------------------------------------

enum { FIELDS = 7 };
#define LONGEST 1e12  // microseconds: exact to their third place
#define HEADER "ingot tuning 1\n"
static const char *const remarks[] = {"agrees", "kept", "rejected", "failed: ", "differs"};

static bool parse_remark(const char *text, TuningEntry *entry) {
  for (int i = TUNING_AGREES; i <= TUNING_DIFFERS; i++) {
    size_t length = strlen(remarks[i]);
    if (i == TUNING_FAILED ? strncmp(text, remarks[i], length) : strcmp(text, remarks[i])) continue;
    entry->remark = (TuningRemark)i;
    entry->why = text + length;
    return true;
  }
  return false;
}

static bool parse_time(const char *text, double *out) {
  char *end = NULL;
  *out = fabs(strtod(text, &end));
  return end != text && !*end && *text != '-' && *out <= LONGEST;
}

static Status parse_line(TuningDatabase *database, char *line, int number) {
  char *fields[FIELDS] = {NULL}, *rest = line;
  int count = 0;
  while (rest && count < FIELDS) fields[count++] = strsep(&rest, "\t");
  if (count < FIELDS || rest)
    FAIL(ERROR_CORRUPT, "tuning database, line %d: expected %d fields separated by tabs", number, FIELDS);
  TuningEntry entry = {
      .chip = fields[0], .site = fields[1], .implementation = fields[2], .way = fields[3], .version = fields[4]};
  if (!parse_time(fields[5], &entry.microseconds))
    FAIL(ERROR_CORRUPT, "tuning database, line %d: '%s' is not a time", number, fields[5]);
  if (!parse_remark(fields[6], &entry))
    FAIL(ERROR_CORRUPT, "tuning database, line %d: '%s' is not what becomes of a way", number, fields[6]);
  tuning_add(database, &entry);
  return OK;
}

static Status check_header(const char *text) {
  if (!strncmp(text, HEADER, strlen(HEADER))) return OK;
  if (!strncmp(text, "sm_", 3))
    FAIL(ERROR_CORRUPT,
         "the tuning database was measured by an earlier version of Ingot, which did not say with which kernels and libraries: "
         "measure into another file");
  FAIL(ERROR_CORRUPT, "this is no tuning database: it does not begin with '%.*s'", (int)strlen(HEADER) - 1, HEADER);
}

static bool is_header(const char *line) {
  size_t length = strlen(HEADER) - 1;
  return !strncmp(line, HEADER, length) && !line[length];
}

Status tuning_parse(Arena *arena, const char *text, TuningDatabase **out) {
  TuningDatabase *database = tuning_new(arena);
  char *line = arena_string(arena, text);
  int number = 0;
  if (strncmp(HEADER, text, strlen(text))) TRY(check_header(text));  // else nothing, or less than the header
  for (char *end; (end = strchr(line, '\n')); line = end + 1) {
    *end = 0;
    number++;
    if (*line && !is_header(line)) TRY(parse_line(database, line, number));
  }
  *out = database;
  return OK;
}

// A field has no tabs, and no ends of lines.
static void add_field(Text *text, const char *field) {
  for (; *field; field++) text_add_n(text, *field == '\t' || *field == '\n' ? " " : field, 1);
}

static void print_entry(Text *text, const TuningEntry *entry) {
  const char *const fields[] = {entry->chip, entry->site, entry->implementation, entry->way, entry->version};
  for (size_t i = 0; i < COUNT_OF(fields); i++) {
    add_field(text, fields[i]);
    text_add(text, "\t");
  }
  text_add(text, "%.3f\t%s", entry->microseconds, remarks[entry->remark]);
  if (entry->remark == TUNING_FAILED) add_field(text, entry->why ? entry->why : "");
  text_add(text, "\n");
}

const char *tuning_line(const TuningEntry *entry, bool first, Arena *arena) {
  Text text = text_new(arena);
  if (first) text_add(&text, HEADER);
  print_entry(&text, entry);
  return text_get(&text);
}

static int by_name(const void *a, const void *b) {
  const TuningSite *x = *(TuningSite *const *)a, *y = *(TuningSite *const *)b;
  int order = strcmp(x->chip, y->chip);
  return order ? order : strcmp(x->site, y->site);
}

static void sort_sites(TuningDatabase *database) {
  if (database->count) qsort(database->sites, database->count, sizeof *database->sites, by_name);
}

const char *tuning_print(TuningDatabase *database, Arena *arena) {
  Text text = text_new(arena);
  sort_sites(database);
  if (database->count) text_add(&text, HEADER);
  for (uint32_t i = 0; i < database->count; i++)
    for (uint32_t k = 0; k < database->sites[i]->count; k++) print_entry(&text, database->sites[i]->entries[k]);
  return text_get(&text);
}

const char *tuning_print_chosen(TuningDatabase *database, Arena *arena) {
  Text text = text_new(arena);
  sort_sites(database);
  for (uint32_t i = 0; i < database->count; i++) {
    const TuningSite *site = database->sites[i];
    bool passed = false;
    for (uint32_t k = 0; k < site->count; k++) {
      if (site->entries[k]->stale || tuning_verdict(database, site, site->entries[k], &passed) == TUNING_PASS) continue;
      if (!text.length) text_add(&text, HEADER);
      print_entry(&text, site->entries[k]);
      break;
    }
  }
  return text_get(&text);
}
