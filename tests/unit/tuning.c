// The tuning database: text that reads back and merges in any order, what a plan takes of it, and files that several processes write.
#include "lower/database.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/file.h"

#define HEADER "ingot tuning 1\n"

static Arena *arena;
static void set_up(void) { arena = arena_new(); }
static void tear_down(void) { arena_free(arena); }
TestSuite(tuning, .init = set_up, .fini = tear_down);

static TuningEntry entry(const char *site, const char *way, double microseconds, TuningRemark remark) {
  return (TuningEntry){"chip", site, "mma", way, "kernels 1", microseconds, remark, remark == TUNING_FAILED ? "why" : NULL,
                       false};
}

static void add(TuningDatabase *database, const char *site, const char *way, double microseconds, TuningRemark remark) {
  TuningEntry e = entry(site, way, microseconds, remark);
  tuning_add(database, &e);
}

static TuningDatabase *parse(const char *text) {
  TuningDatabase *database = NULL;
  Status status = tuning_parse(arena, text, &database);
  cr_assert(!status, "%s", status_message(status));
  return database;
}

// What a plan would take of the site; "": nothing.
static const char *taken(const TuningDatabase *database, const char *name) {
  const TuningSite *site = tuning_site(database, "chip", name);
  bool passed = false;
  for (uint32_t i = 0; site && i < site->count; i++)
    if (tuning_verdict(database, site, site->entries[i], &passed) == TUNING_TAKE) return site->entries[i]->way;
  return "";
}

// ---- text --------------------------------------------------------------------------------------------------------------------

Test(tuning, prints_sorted_and_reads_back) {
  TuningDatabase *database = tuning_new(arena);
  add(database, "b", "slow", 4.5, TUNING_AGREES);
  add(database, "b", "fast", 1.25, TUNING_KEPT);
  add(database, "a", "x", 3, TUNING_REJECTED);
  add(database, "a", "y", 0, TUNING_FAILED);
  add(database, "a", "z", 2, TUNING_DIFFERS);
  const char *text = tuning_print(database, arena);
  cr_expect_str_eq(text, HEADER
                   "chip\ta\tmma\tx\tkernels 1\t3.000\trejected\n"
                   "chip\ta\tmma\ty\tkernels 1\t0.000\tfailed: why\n"
                   "chip\ta\tmma\tz\tkernels 1\t2.000\tdiffers\n"
                   "chip\tb\tmma\tfast\tkernels 1\t1.250\tkept\n"
                   "chip\tb\tmma\tslow\tkernels 1\t4.500\tagrees\n");
  TuningDatabase *again = parse(text);
  cr_expect_str_eq(tuning_print(again, arena), text);
  cr_expect_eq(tuning_count_entries(again), 5);
  const TuningSite *site = tuning_site(again, "chip", "a");
  cr_assert_not_null(site);
  cr_expect_str_eq(tuning_entry(site, "mma", "y", "kernels 1")->why, "why");
  cr_expect_null(tuning_entry(site, "mma", "y", "kernels 2"));
  cr_expect_null(tuning_entry(site, "simt", "y", NULL));
  cr_expect_null(tuning_entry(NULL, "mma", "y", NULL));
  cr_expect_null(tuning_site(again, "another chip", "a"));
  cr_expect_null(tuning_site(NULL, "chip", "a"));
}

// Lines of the same ways in every order of six: one text.
Test(tuning, merging_is_the_same_in_any_order) {
  static const char *const lines[] = {"chip\ts\tmma\tx\tv\t3\tagrees\n",    "chip\ts\tmma\tx\tv\t2\tkept\n",
                                      "chip\ts\tmma\tx\tv\t1\trejected\n",  "chip\ts\tmma\ty\tv\t9\tdiffers\n",
                                      "chip\ts\tmma\ty\tv\t5\tfailed: b\n", "chip\ts\tmma\ty\tv\t5\tfailed: a\n"};
  const char *expected = NULL;
  for (int code = 0; code < 6 * 6 * 6 * 6 * 6 * 6; code++) {
    int order[6], rest = code;
    unsigned met = 0;
    for (int i = 0; i < 6; i++, rest /= 6) met |= 1u << (order[i] = rest % 6);
    if (met != 63) continue;
    Text text = text_new(arena);
    for (int i = 0; i < 6; i++) text_add(&text, "%s%s", i == 0 || i == 3 ? HEADER : "", lines[order[i]]);
    const char *printed = tuning_print(parse(text_get(&text)), arena);
    if (!expected) expected = printed;
    cr_assert_str_eq(printed, expected);
  }
  cr_expect_str_eq(expected, HEADER "chip\ts\tmma\tx\tv\t1.000\trejected\nchip\ts\tmma\ty\tv\t5.000\tdiffers\n");
}

static void expect_refused(const char *text, const char *says) {
  TuningDatabase *database = NULL;
  Status status = tuning_parse(arena, text, &database);
  cr_expect(status, "'%s' is accepted", text);
  if (status) cr_expect(strstr(status_message(status), says), "%s", status_message(status));
  status_free(status);
}

Test(tuning, malformed_lines_are_named) {
  static const char *const bad[] = {
      "c\ts\ti\tw\tv\t1\n",          "c\ts\ti\tw\tv\t1\tagrees\tmore\n", "c\ts\ti\tw\tv\tfast\tagrees\n",
      "c\ts\ti\tw\tv\t-1\tagrees\n", "c\ts\ti\tw\tv\tnan\tagrees\n",     "c\ts\ti\tw\tv\tinf\tagrees\n",
      "c\ts\ti\tw\tv\t1x\tagrees\n", "c\ts\ti\tw\tv\t1\tperhaps\n",      "c\ts\ti\tw\tv\t1\t\n"};
  for (size_t i = 0; i < COUNT_OF(bad); i++)
    expect_refused(arena_printf(arena, HEADER "c\ts\ti\tw\tv\t1\tagrees\n%s", bad[i]), "line 3");
  expect_refused("what\n", "no tuning database");
  expect_refused("what", "no tuning database");
  expect_refused("sm_90\tconv\tmma\t128x64 s3\t4.5\n", "earlier version of Ingot");
  cr_expect_eq(parse("")->count, 0);
  cr_expect_eq(parse(HEADER)->count, 0);
  cr_expect_eq(parse(HEADER "\n\n")->count, 0);
}

// Of a process that ended while it wrote: what was whole before is there, whatever came of the rest.
Test(tuning, a_line_without_an_end_is_left_out) {
  const char *text = HEADER "c\ts\ti\tw\tv\t1\tagrees\nc\ts\ti\tx\tv\t2\tagrees\n";
  for (size_t length = 0; length <= strlen(text); length++) {
    int ends = 0;
    for (size_t i = 0; i < length; i++) ends += text[i] == '\n';
    cr_expect_eq(tuning_count_entries(parse(arena_string_n(arena, text, length))), MAX(ends - 1, 0), "%zu bytes", length);
  }
}

// ---- what a plan takes ---------------------------------------------------------------------------------------------------------

Test(tuning, the_fastest_is_taken_unless_a_run_rejected_it) {
  TuningDatabase *database = tuning_new(arena);
  add(database, "fastest", "slow", 3, TUNING_AGREES);
  add(database, "fastest", "fast", 2, TUNING_AGREES);
  add(database, "fastest", "wrong", 1, TUNING_DIFFERS);
  add(database, "fastest", "failed", 0, TUNING_FAILED);
  add(database, "rejected", "slow", 3, TUNING_AGREES);
  add(database, "rejected", "fast", 2, TUNING_REJECTED);
  add(database, "kept behind", "slow", 3, TUNING_KEPT);
  add(database, "kept behind", "fast", 2, TUNING_REJECTED);
  add(database, "newer", "slow", 3, TUNING_KEPT);
  add(database, "newer", "fast", 2, TUNING_AGREES);
  add(database, "wrong", "wrong", 3, TUNING_DIFFERS);
  static const struct {
    const char *site, *all, *none, *some;
  } rows[] = {{"fastest", "fast", "", "fast"},   {"rejected", "", "", ""}, {"kept behind", "slow", "slow", "slow"},
              {"newer", "fast", "slow", "fast"}, {"wrong", "", "", ""},    {"nowhere", "", "", ""}};
  TuningDatabase none = *database, some = *database;
  none.unjudged = string_map_new(arena);
  some.unjudged = string_map_new(arena);
  for (size_t i = 0; i < COUNT_OF(rows); i++) string_map_set(some.unjudged, tuning_key(arena, "chip", rows[i].site), arena);
  for (size_t i = 0; i < COUNT_OF(rows); i++) {
    cr_expect_str_eq(taken(database, rows[i].site), rows[i].all, "%s", rows[i].site);
    cr_expect_str_eq(taken(&none, rows[i].site), rows[i].none, "%s", rows[i].site);
    cr_expect_str_eq(taken(&some, rows[i].site), rows[i].some, "%s", rows[i].site);
  }
  TuningDatabase *chosen = parse(tuning_print_chosen(database, arena));
  cr_expect_eq(tuning_count_entries(chosen), 3);
  for (size_t i = 0; i < COUNT_OF(rows); i++) cr_expect_str_eq(taken(chosen, rows[i].site), rows[i].all, "%s", rows[i].site);
}

Test(tuning, stale_entries_are_counted_and_not_among_the_chosen) {
  int sites;
  TuningDatabase *database = tuning_new(arena);
  add(database, "one", "fast", 1, TUNING_AGREES);
  add(database, "one", "slow", 2, TUNING_AGREES);
  add(database, "two", "fast", 1, TUNING_AGREES);
  cr_expect_eq(tuning_count_stale(database, &sites), 0);
  for (int i = 0; i < 2; i++) database->sites[i]->entries[0]->stale = true;
  cr_expect_eq(tuning_count_stale(database, &sites), 2);
  cr_expect_eq(sites, 2);
  TuningEntry again = entry("two", "fast", 1, TUNING_AGREES);
  again.version = "kernels 2";
  tuning_add(database, &again);
  cr_expect_eq(tuning_count_stale(database, &sites), 1, "what was measured again is no loss");
  cr_expect_eq(sites, 1);
  TuningDatabase *chosen = parse(tuning_print_chosen(database, arena));
  cr_expect_str_eq(taken(chosen, "one"), "slow");
  cr_expect_str_eq(tuning_site(chosen, "chip", "two")->entries[0]->version, "kernels 2");
}

// ---- files -------------------------------------------------------------------------------------------------------------------

static char path[64];
static void new_path(void) {
  snprintf(path, sizeof path, "/tmp/ingot-tuning-XXXXXX");
  close(mkstemp(path));
  unlink(path);
}

static TuningDatabase *opened(void) {
  TuningDatabase *database = NULL;
  Status status = tuning_open(arena, path, &database);
  cr_assert(!status, "%s", status_message(status));
  return database;
}

static const char *contents(void) {
  Bytes bytes;
  cr_assert_null(file_read(path, 0, arena, &bytes));
  return (const char *)bytes.data;
}

Test(tuning, what_is_recorded_is_in_the_file_at_once) {
  new_path();
  TuningDatabase *database = opened();
  cr_expect(!file_exists(path));
  TuningEntry late = entry("z", "late", 3, TUNING_AGREES), early = entry("a", "early", 0, TUNING_FAILED);
  early.why = "two\nlines and\ta tab";
  cr_assert_null(tuning_record(database, &late));
  cr_expect_str_eq(contents(), HEADER "chip\tz\tmma\tlate\tkernels 1\t3.000\tagrees\n");
  cr_assert_null(tuning_record(database, &early));
  late.microseconds = 2;
  cr_assert_null(tuning_record(database, &late));
  cr_expect_eq(tuning_count_entries(opened()), 2);
  cr_assert_null(tuning_compact(database));
  cr_expect_str_eq(contents(), HEADER
                   "chip\ta\tmma\tearly\tkernels 1\t0.000\tfailed: two lines and a tab\n"
                   "chip\tz\tmma\tlate\tkernels 1\t2.000\tagrees\n");
  unlink(path);
}

Test(tuning, a_torn_line_is_mended_by_who_writes_next) {
  TuningEntry next = entry("site", "next", 5, TUNING_AGREES);
  const char *whole = HEADER "chip\tsite\tmma\tfirst\tkernels 1\t3.000\tagrees\n", *torn = "chip\tsite\tmma\tto";
  for (size_t length = 0; length <= strlen(torn); length++) {
    new_path();
    const char *text = arena_printf(arena, "%s%.*s", whole, (int)length, torn);
    cr_assert_null(file_write(path, text, strlen(text)));
    TuningDatabase *database = opened();
    cr_expect_eq(tuning_count_entries(database), 1);
    cr_assert_null(tuning_record(database, &next));
    cr_expect_str_eq(contents(), arena_printf(arena, "%schip\tsite\tmma\tnext\tkernels 1\t5.000\tagrees\n", whole));
    unlink(path);
  }
}

Test(tuning, what_is_no_database_is_left_as_it_is) {
  static const char *const texts[] = {"what\n", "no end", "sm_90\tsite\tmma\tway\t4.5\n"};
  for (size_t i = 0; i < COUNT_OF(texts); i++) {
    new_path();
    TuningDatabase *database;
    cr_assert_null(file_write(path, texts[i], strlen(texts[i])));
    Status status = tuning_open(arena, path, &database);
    cr_assert(status);
    cr_expect(strstr(status_message(status), path), "%s", status_message(status));
    status_free(status);
    cr_expect_str_eq(contents(), texts[i]);
    unlink(path);
  }
  TuningDatabase *nowhere = tuning_new(arena);
  nowhere->path = "/nonexistent/folder/x.tuning";
  TuningEntry e = entry("site", "way", 1, TUNING_AGREES);
  Status status = tuning_record(nowhere, &e);
  cr_expect_eq(status_code(status), ERROR_IO);
  status_free(status);
}

// Processes that append while others write the file whole: nothing is lost, and no line is torn by another.
Test(tuning, processes_share_a_file) {
  enum { PROCESSES = 4, ENTRIES = 60 };
  new_path();
  pid_t children[PROCESSES];
  for (int p = 0; p < PROCESSES; p++) {
    children[p] = fork();
    cr_assert_geq(children[p], 0);
    if (children[p]) continue;
    TuningDatabase *database = opened();
    int failed = 0;
    for (int i = 0; i < ENTRIES; i++) {
      char way[32];
      snprintf(way, sizeof way, "%d of %d", i, p);
      TuningEntry e = entry("site", way, i, TUNING_AGREES);
      failed |= tuning_record(database, &e) != NULL;
      if (i % 10 == p) failed |= tuning_compact(database) != NULL;
    }
    _exit(failed);
  }
  for (int p = 0; p < PROCESSES; p++) {
    int result = -1;
    cr_assert_eq(waitpid(children[p], &result, 0), children[p]);
    cr_expect_eq(result, 0);
  }
  cr_expect_eq(tuning_count_entries(opened()), PROCESSES * ENTRIES);
  unlink(path);
}
