// The tuning database: text that reads back, merges by keeping the faster, and refuses what it does not understand.
#include "lower/database.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"

static Arena *arena;
static void set_up(void) { arena = arena_new(); }
static void tear_down(void) { arena_free(arena); }
TestSuite(tuning, .init = set_up, .fini = tear_down);

static void add(TuningDatabase *database, int sm, const char *site, const char *tactic, double microseconds) {
  tuning_add(database, &(TuningEntry){sm, site, tactic, "128x64 s3", microseconds});
}

static TuningDatabase *parse(const char *text) {
  TuningDatabase *database = NULL;
  Status status = tuning_parse(arena, text, &database);
  cr_assert(!status, "%s", status_message(status));
  return database;
}

Test(tuning, prints_sorted_and_reads_back) {
  TuningDatabase *a = tuning_new(arena), *b = tuning_new(arena);
  add(a, 90, "conv b", "mma", 4.5);
  add(a, 75, "matmul z", "simt", 100);
  add(a, 90, "conv a", "cudnn", 3.25);
  add(b, 90, "conv a", "cudnn", 3.25);
  add(b, 90, "conv b", "mma", 4.5);
  add(b, 75, "matmul z", "simt", 100);
  const char *text = tuning_print(a, arena);
  cr_expect_str_eq(text, tuning_print(b, arena), "the order of measuring shows");
  cr_expect_str_eq(text,
                   "sm_75\tmatmul z\tsimt\t128x64 s3\t100.000\nsm_90\tconv a\tcudnn\t128x64 s3\t3.250\nsm_90\tconv "
                   "b\tmma\t128x64 s3\t4.500\n");
  TuningDatabase *again = parse(text);
  cr_expect_eq(again->count, 3);
  cr_expect_str_eq(tuning_print(again, arena), text);
  const TuningEntry *entry = tuning_get(again, 90, "conv b");
  cr_assert_not_null(entry);
  cr_expect_str_eq(entry->implementation, "mma");
  cr_expect_str_eq(entry->way, "128x64 s3");
  cr_expect_null(tuning_get(again, 80, "conv b"));
  cr_expect_null(tuning_get(again, 90, "conv"));
  cr_expect_null(tuning_get(NULL, 90, "conv b"));
}

Test(tuning, the_faster_line_stays) {
  TuningDatabase *a = tuning_new(arena), *b = tuning_new(arena);
  add(a, 90, "one", "slow", 10);
  add(a, 90, "two", "fast", 1);
  add(b, 90, "one", "fast", 2);
  add(b, 90, "two", "slow", 20);
  add(b, 80, "one", "other", 5);
  tuning_merge(a, b);
  tuning_merge(a, NULL);
  cr_expect_eq(a->count, 3);
  cr_expect_str_eq(tuning_get(a, 90, "one")->implementation, "fast");
  cr_expect_str_eq(tuning_get(a, 90, "two")->implementation, "fast");
  cr_expect_str_eq(tuning_get(a, 80, "one")->implementation, "other");
}

Test(tuning, malformed_lines_are_named) {
  static const char *const bad[] = {"sm_90\ta\tb\tc\t1\nsm_90\ta\tb\n",          "sm_90\ta\tb\tc\t1\nninety\ta\tb\tc\t1\n",
                                    "sm_90\ta\tb\tc\t1\nsm_90\ta\tb\tc\tfast\n", "sm_90\ta\tb\tc\t1\nsm_90\ta\tb\tc\t-1\n",
                                    "sm_90\ta\tb\tc\t1\nsm_90\ta\tb\tc\tnan\n",  "sm_90\ta\tb\tc\t1\nsm_90\ta\tb\tc\t1\t2\n",
                                    "sm_90\ta\tb\tc\t1\nsm_90\ta\tb\tc\t1x\n"};
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    TuningDatabase *database = NULL;
    Status status = tuning_parse(arena, bad[i], &database);
    cr_expect(status, "'%s' is accepted", bad[i]);
    if (status) cr_expect(strstr(status_message(status), "line 2"), "%s", status_message(status));
    status_free(status);
  }
  cr_expect_eq(parse("")->count, 0);
  cr_expect_eq(parse("\n\n")->count, 0);
}

Test(tuning, files_merge) {
  char path[] = "/tmp/ingot-tuning-XXXXXX";
  close(mkstemp(path));
  unlink(path);
  TuningDatabase *database, *other = tuning_new(arena), *mine = tuning_new(arena);
  cr_assert_null(tuning_load(arena, path, &database));  // not there: nothing known
  cr_expect_eq(database->count, 0);
  add(mine, 90, "one", "mine", 3);
  add(other, 90, "two", "other", 4);
  add(other, 90, "one", "other", 2);
  cr_assert_null(tuning_save(mine, path));
  cr_assert_null(tuning_save(other, path));
  cr_assert_null(tuning_load(arena, path, &database));
  cr_expect_eq(database->count, 2);
  cr_expect_str_eq(tuning_get(database, 90, "one")->implementation, "other");
  cr_assert_null(file_write(path, "what\n", 5));
  Status status = tuning_load(arena, path, &database);
  cr_expect(status);
  cr_expect(strstr(status_message(status), path), "%s", status_message(status));
  status_free(status);
  unlink(path);
}

Test(tuning, what_is_set_stays_though_slower) {
  TuningDatabase *database = tuning_new(arena);
  add(database, 90, "one", "fast", 1);
  tuning_set(database, &(TuningEntry){90, "one", "chosen", "", 2});
  tuning_set(database, &(TuningEntry){90, "two", "new", "", 3});
  cr_expect_str_eq(tuning_get(database, 90, "one")->implementation, "chosen");
  cr_expect_str_eq(tuning_get(database, 90, "two")->implementation, "new");
  cr_expect_eq(database->count, 2);
}
