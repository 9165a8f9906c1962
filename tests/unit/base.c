// The foundation library, by what its users rely on.
#include <pthread.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/arena.h"
#include "base/budget.h"
#include "base/checked.h"
#include "base/file.h"
#include "base/format.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/log.h"
#include "base/map.h"
#include "base/recover.h"
#include "base/text.h"
#include "base/thread.h"

static void expect_ok(Status status) { cr_assert_null(status, "%s", status_message(status)); }

static void expect_code(Status status, ErrorCode code) {
  cr_assert_not_null(status, "expected an error");
  cr_assert_eq(status_code(status), code, "%s", status_message(status));
  status_free(status);
}

// Status

Test(status, messages_gain_context) {
  errno = ENOENT;
  Status status = status_make(ERROR_IO, "cannot open '%s': %m", "x");
  status = status_context(status, "node %d", 3);
  cr_assert_str_eq(status_message(status), "node 3: cannot open 'x': No such file or directory");
  expect_code(status, ERROR_IO);
  cr_assert_null(status_context(OK, "nothing"));
  cr_assert_str_eq(status_message(OK), "");
  cr_assert_str_eq(error_code_name(ERROR_INVALID_MODEL), "invalid model");
  cr_assert_str_eq(error_code_name((ErrorCode)99), "unknown");
}

Test(status, out_of_memory_is_nobodys) {
  Status status = status_context(status_out_of_memory(), "while building");
  expect_code(status, ERROR_OUT_OF_MEMORY);
  cr_assert_str_eq(status_message(status), "out of memory");  // still there after status_free
}

// Arenas

static bool all_are(const unsigned char *bytes, size_t size, unsigned char value) {
  for (size_t i = 0; i < size; i++)
    if (bytes[i] != value) return false;
  return true;
}

Test(arena, allocations_are_zeroed_aligned_and_apart) {
  Arena *arena = arena_new();
  unsigned char *items[400];
  size_t sizes[COUNT_OF(items)];
  for (int round = 0; round < 2; round++) {  // the second one after a reset, on used memory
    size_t total = 0;
    for (size_t i = 0; i < COUNT_OF(items); i++) {
      sizes[i] = i % 40 == 39 ? i * 1000 : i * 7;
      items[i] = arena_alloc(arena, sizes[i]);
      total += MAX(sizes[i], (size_t)1);
      cr_assert_eq((uintptr_t)items[i] % 16, 0);
      cr_assert(all_are(items[i], sizes[i], 0), "allocation %zu of round %d", i, round);
      memset(items[i], (int)(i % 255) + 1, sizes[i]);
    }
    for (size_t i = 0; i < COUNT_OF(items); i++) cr_assert(all_are(items[i], sizes[i], (unsigned char)(i % 255 + 1)));
    cr_assert_eq(arena_used(arena), total);
    arena_reset(arena);
    cr_assert_eq(arena_used(arena), 0);
  }
  arena_free(arena);
}

Test(arena, try_alloc_reports_what_it_cannot_do) {
  Arena *arena = arena_new();
  void *bytes;
  for (size_t alignment = 1; alignment <= 4096; alignment *= 2) {
    expect_ok(arena_try_alloc(arena, 100, alignment, &bytes));
    cr_assert_eq((uintptr_t)bytes % alignment, 0);
    memset(bytes, 1, 100);
  }
  expect_code(arena_try_alloc(arena, SIZE_MAX, 16, &bytes), ERROR_OUT_OF_MEMORY);
  expect_code(arena_try_alloc(arena, SIZE_MAX - 64, 4096, &bytes), ERROR_OUT_OF_MEMORY);
  cr_assert_null(bytes);
  expect_code(arena_try_alloc(arena, 1, 48, &bytes), ERROR_INTERNAL);
  expect_code(arena_try_alloc(arena, 1, 8192, &bytes), ERROR_INTERNAL);
  arena_free(arena);
}

static char order[8];
static void note(void *context) { strcat(order, context); }

Test(arena, callbacks_run_last_first_and_once) {
  Arena *arena = arena_new();
  arena_on_free(arena, note, arena_string(arena, "a"));
  arena_on_free(arena, note, arena_string(arena, "b"));
  arena_reset(arena);
  cr_assert_str_eq(order, "ba");
  arena_on_free(arena, note, "c");
  arena_free(arena);
  cr_assert_str_eq(order, "bac");
  arena_free(NULL);
}

Test(arena, strings_and_arrays) {
  Arena *arena = arena_new();
  cr_assert_str_eq(arena_string(arena, NULL), "");
  cr_assert_str_eq(arena_string_n(arena, "abcdef", 3), "abc");
  cr_assert_str_eq(arena_printf(arena, "%d-%s", 7, "x"), "7-x");
  uint32_t *items = NULL, count = 0, capacity = 0;
  for (uint32_t i = 0; i < 1000; i++) {
    uint32_t *item = ARENA_PUSH(arena, items, count, capacity);
    cr_assert_eq(*item, 0);
    *item = i;
  }
  cr_assert_eq(count, 1000);
  for (uint32_t i = 0; i < count; i++) cr_assert_eq(items[i], i);
  arena_free(arena);
}

// Running out of memory

static Status exhaust(Arena *arena) {
  arena_alloc_array(arena, SIZE_MAX / 2, 4);
  FAIL(ERROR_INTERNAL, "came back");
}

static Status exhaust_inside(Arena *arena) {
  expect_code(RECOVER_GUARD(exhaust(arena)), ERROR_OUT_OF_MEMORY);
  FAIL(ERROR_CANCELLED, "went on");
}

Test(recover, unwinds_to_the_innermost_guard) {
  Arena *arena = arena_new();
  expect_code(RECOVER_GUARD(exhaust(arena)), ERROR_OUT_OF_MEMORY);
  expect_code(RECOVER_GUARD(exhaust_inside(arena)), ERROR_CANCELLED);
  expect_code(RECOVER_GUARD(exhaust(arena)), ERROR_OUT_OF_MEMORY);
  arena_alloc(arena, 100);
  arena_free(arena);
}

static void count_up(void *context) { ++*(int *)context; }

static Status exhaust_with_cleanups(int *undone, Arena **kept) {
  RecoverCleanup cleanup, dismissed;
  Arena *scratch = arena_scratch();
  arena_on_free(scratch, count_up, undone);
  *kept = arena_scratch();
  arena_on_free(*kept, count_up, undone);
  recover_defer(&cleanup, count_up, undone);
  recover_defer(&dismissed, count_up, undone);
  arena_keep(*kept);
  recover_dismiss(&dismissed);
  return exhaust(scratch);
}

Test(recover, unwinding_frees_scratches_and_runs_cleanups) {
  int undone = 0, outer = 0;
  static Arena *kept;  // a local that changes between setjmp and its return would be lost
  Arena *around = arena_scratch();
  RecoverCleanup cleanup;
  recover_defer(&cleanup, count_up, &outer);
  expect_code(RECOVER_GUARD(exhaust_with_cleanups(&undone, &kept)), ERROR_OUT_OF_MEMORY);
  cr_assert_eq(undone, 2);  // the scratch's and the one that stood
  cr_assert_eq(outer, 0);
  recover_dismiss(&cleanup);
  arena_free(kept);
  cr_assert_eq(undone, 3);
  arena_free(around);
}

static void exhaust_in_the_middle(void *context, int64_t begin, int64_t end) {
  if (begin <= 500 && 500 < end) arena_alloc_array(arena_scratch(), SIZE_MAX / 2, 4);
}

static Status exhaust_workers(ThreadPool *pool) {
  parallel_for(pool, 1000, 1, exhaust_in_the_middle, NULL);
  FAIL(ERROR_INTERNAL, "came back");
}

Test(recover, a_loop_unwinds_its_caller_once_all_have_left) {
  ThreadPool *pool = thread_pool_new(3);
  for (int i = 0; i < 50; i++) expect_code(RECOVER_GUARD(exhaust_workers(pool)), ERROR_OUT_OF_MEMORY);
  thread_pool_free(pool);
}

Test(recover, aborts_without_a_guard, .signal = SIGABRT) { memory_exhausted(); }

// Text, hashes, maps

Test(text, grows) {
  Arena *arena = arena_new();
  Text text = text_new(arena);
  cr_assert_str_eq(text_get(&text), "");
  for (int i = 0; i < 1000; i++) text_add(&text, "%03d", i);
  text_add_n(&text, "end", 3);
  cr_assert_eq(text.length, 3003);
  cr_assert_eq(strlen(text_get(&text)), 3003);
  cr_assert_eq(strncmp(text_get(&text) + 3 * 512, "512513", 6), 0);
  text_add(&text, "%5000d", 1);
  cr_assert_eq(strlen(text_get(&text)), 8003);
  arena_free(arena);
}

static int formatted(char *out, size_t room, const char *format, ...) {
  va_list args;
  va_start(args, format);
  int length = vsnprintf(out, room, format, args);
  va_end(args);
  return length;
}

#define EXPECT_AS_PRINTF(room, ...)                                               \
  do {                                                                            \
    char ours[80], theirs[80];                                                    \
    memset(ours, 'x', sizeof ours);                                               \
    memset(theirs, 'x', sizeof theirs);                                           \
    int length = format_into(ours, room, __VA_ARGS__);                            \
    cr_expect_eq(length, formatted(theirs, room, __VA_ARGS__));                   \
    cr_expect_arr_eq(ours, theirs, sizeof ours, "'%.79s' '%.79s'", ours, theirs); \
  } while (0)

Test(text, is_what_printf_writes) {
  const char *none = NULL;
  for (size_t room = 0; room < 80; room += 7) {
    EXPECT_AS_PRINTF(room, "plain, nothing in it");
    EXPECT_AS_PRINTF(room, "%s%s|%s", "a", "", "the third");
    EXPECT_AS_PRINTF(room, "%d %d %d", 0, INT_MIN, INT_MAX);
    EXPECT_AS_PRINTF(room, "%u %u 100%%", 0u, UINT_MAX);
    EXPECT_AS_PRINTF(room, "%lld,%lld", LLONG_MIN, LLONG_MAX);
    EXPECT_AS_PRINTF(room, "%llu %zu%c", ULLONG_MAX, SIZE_MAX, '%');
    EXPECT_AS_PRINTF(room, "%s", none);
    EXPECT_AS_PRINTF(room, "%5d %-3d| %.3g %x %.*s %ld", 42, 7, 2.5, 255u, 2, "abc", 7l);  // the C library's
    EXPECT_AS_PRINTF(room, "%d %5.1f %s", 3, 1.25, "both");
  }
}

Test(hash, values_are_stable) {  // they are in files: a change here is a change of format
  char hex[33], bytes[100];
  for (int i = 0; i < 100; i++) bytes[i] = (char)i;
  hash128_hex(hash128_bytes(bytes, 100), hex);
  cr_assert_str_eq(hex, "df3c2912aa452d0c644c6d7b5bd3f736");
  cr_assert_eq(hash_bytes(bytes, 100, 1), 0x9481ddd1d2cc716full);
}

Test(hash, every_bit_and_length_counts) {
  Arena *arena = arena_new();
  StringMap *seen = string_map_new(arena);
  IntMap *seen_narrow = int_map_new(arena);
  uint32_t hashes = 0;
  for (size_t size = 0; size < 100; size++) {
    unsigned char bytes[101] = {0};
    for (size_t bit = 0; bit <= size * 8; bit++, hashes++) {  // the last one is outside: no bit set
      bytes[bit / 8] = (unsigned char)(1u << bit % 8);
      char hex[33];
      hash128_hex(hash128_bytes(bytes, size), hex);
      uint64_t narrow = hash_bytes(bytes, size, 0);
      cr_assert_null(string_map_get(seen, hex), "size %zu bit %zu", size, bit);
      cr_assert_null(int_map_get(seen_narrow, narrow), "size %zu bit %zu", size, bit);
      string_map_set(seen, hex, arena);
      int_map_set(seen_narrow, narrow, arena);
      bytes[bit / 8] = 0;
    }
  }
  cr_assert_eq(string_map_count(seen), hashes);
  Hash128 a = hash128_bytes("a", 1), b = hash128_bytes("b", 1);
  Hash128 ab = hash128_combine(a, b), ba = hash128_combine(b, a);
  cr_assert(ab.low != ba.low && ab.high != ba.high);
  arena_free(arena);
}

Test(map, finds_what_was_set) {
  Arena *arena = arena_new();
  StringMap *strings = string_map_new(arena);
  IntMap *ints = int_map_new(arena);
  cr_assert_null(string_map_get(strings, "none"));
  cr_assert_null(int_map_get(ints, 0));
  static char values[5000];
  for (size_t round = 0; round < 2; round++)
    for (size_t i = 0; i < COUNT_OF(values); i++) {
      char key[32];
      snprintf(key, sizeof key, "tensor_%zu", i);
      char *value = &values[(i + round) % COUNT_OF(values)];
      string_map_set(strings, key, value);
      int_map_set(ints, (uint64_t)i << 40, value);
      cr_assert_eq(string_map_get(strings, key), value);
      cr_assert_eq(int_map_get(ints, (uint64_t)i << 40), value);
    }
  cr_assert_eq(string_map_count(strings), COUNT_OF(values));
  cr_assert_eq(string_map_get(strings, "tensor_17"), &values[18]);
  cr_assert_eq(int_map_get(ints, 17ull << 40), &values[18]);
  cr_assert_null(string_map_get(strings, "tensor_5000"));
  cr_assert_null(int_map_get(ints, 1));
  arena_free(arena);
}

Test(checked, says_when_it_overflows) {
  size_t size;
  int64_t number;
  cr_assert(checked_add(SIZE_MAX - 1, 1, &size) && size == SIZE_MAX);
  cr_assert_not(checked_add(SIZE_MAX, 1, &size));
  cr_assert_not(checked_mul(SIZE_MAX / 2, 3, &size));
  cr_assert_not(checked_mul_i64(INT64_MAX, 2, &number));
  cr_assert_not(checked_add_i64(INT64_MIN, -1, &number));
  cr_assert_eq(align_up(17, 16), 32);
  cr_assert_eq(ceil_div(9, 4), 3);
  cr_assert_eq(ceil_div(-9, 4), -2);
  cr_assert_eq(ceil_div(INT64_MAX, 2), INT64_MAX / 2 + 1);
  cr_assert_eq(ceil_div(3, INT64_MAX), 1);
}

// Files

static char *scratch(Arena *arena) {
  char *folder = arena_string(arena, "/tmp/ingot-base-XXXXXX");
  cr_assert_not_null(mkdtemp(folder));
  return folder;
}

static void discard(Arena *arena, const char *folder) {
  cr_assert_eq(system(arena_printf(arena, "rm -r '%s'", folder)), 0);
  arena_free(arena);
}

Test(file, written_read_and_mapped) {
  Arena *arena = arena_new();
  char *folder = scratch(arena), *deep = path_join(arena, folder, "a/b/c");
  expect_ok(directory_make(deep));
  expect_ok(directory_make(deep));
  char *path = path_join(arena, deep, "f.bin");
  cr_assert_not(file_exists(path));
  Bytes bytes;
  expect_ok(file_write(path, "old", 3));
  expect_ok(file_map(path, 0, arena, &bytes));
  expect_ok(file_write(path, "newer", 5));
  cr_assert(bytes.size == 3 && memcmp(bytes.data, "old", 3) == 0, "a reader keeps the file it opened");
  expect_ok(file_read(path, 5, arena, &bytes));
  cr_assert(bytes.size == 5 && strcmp((const char *)bytes.data, "newer") == 0);
  expect_code(file_read(path, 4, arena, &bytes), ERROR_LIMIT);
  expect_ok(file_read("/proc/self/status", 0, arena, &bytes));  // claims to be empty
  cr_assert_gt(bytes.size, 100);
  expect_ok(file_write(path, NULL, 0));
  expect_ok(file_map(path, 0, arena, &bytes));
  cr_assert_eq(bytes.size, 0);
  enum { LARGE = (9 << 20) + 5 };  // worth several threads
  uint8_t *large = arena_alloc(arena, LARGE);
  for (int i = 0; i < LARGE; i++) large[i] = (uint8_t)(i * 7 + (i >> 20));
  expect_ok(file_write(path, large, LARGE));
  expect_ok(file_load(path, LARGE, 3, arena, &bytes));
  cr_assert_eq(bytes.size, LARGE);
  cr_expect(!memcmp(bytes.data, large, LARGE) && !bytes.data[LARGE]);
  expect_code(file_load(path, LARGE - 1, 3, arena, &bytes), ERROR_LIMIT);
  expect_ok(file_write(path, NULL, 0));
  // No temporary is left, whether writing worked or not.
  expect_code(file_write(deep, "x", 1), ERROR_IO);
  expect_code(file_write(path_join(arena, folder, "none/f"), "x", 1), ERROR_IO);
  cr_assert_eq(system(arena_printf(arena, "test \"$(cd %s && find . -type f)\" = ./a/b/c/f.bin", folder)), 0);
  expect_code(file_map(folder, 0, arena, &bytes), ERROR_IO);
  expect_code(file_map(path_join(arena, folder, "none"), 0, arena, &bytes), ERROR_IO);
  expect_code(directory_make(path_join(arena, path, "d")), ERROR_IO);
  discard(arena, folder);
}

// What comes through a pipe is read to its end, and no longer than the call may take.
Test(file, pipes_are_read) {
  enum { SIZE = 3 << 20 };
  Arena *arena = arena_new();
  char *folder = scratch(arena), *path = path_join(arena, folder, "pipe"), *sent = arena_array(arena, char, SIZE);
  for (int i = 0; i < SIZE; i++) sent[i] = (char)(i * 7);
  cr_assert_eq(mkfifo(path, 0600), 0);
  cr_expect(file_is_stream(path));
  cr_expect_not(file_is_stream(folder));
  for (int round = 0; round < 3; round++) {
    Bytes bytes = {0};
    pid_t child = fork();
    if (child == 0) {
      usleep(50000);  // a pipe that nobody writes to yet is waited for
      int fd = open(path, O_WRONLY);
      for (int at = 0, got; at < SIZE && (got = (int)write(fd, sent + at, (size_t)(SIZE - at))) > 0;) at += got;
      _exit(0);
    }
    if (round == 0) expect_ok(file_load(path, 0, 1, arena, &bytes));
    else if (round == 1) expect_ok(file_map(path, SIZE, arena, &bytes));
    else expect_code(file_map(path, SIZE - 1, arena, &bytes), ERROR_LIMIT);
    waitpid(child, NULL, 0);
    if (round == 2) break;
    cr_assert_eq(bytes.size, SIZE);
    cr_expect(!memcmp(bytes.data, sent, SIZE) && !bytes.data[SIZE]);
  }
  Budget budget = {0};
  Bytes none;
  budget_enter(&budget, &(BudgetLimits){.seconds = 0.05});
  Status status = file_load(path, 0, 1, arena, &none);
  budget_leave(&budget);
  expect_code(status, ERROR_LIMIT);
  int ends[2];
  cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
  char *number = arena_printf(arena, "/dev/fd/%d", ends[0]);
  cr_expect_eq(path_open_number(number), ends[0]);
  cr_expect_eq(path_open_number(path), -1);
  cr_assert_eq(write(ends[1], "socket", 6), 6);
  close(ends[1]);
  expect_ok(file_load(number, 0, 1, arena, &none));
  cr_expect_str_eq((const char *)none.data, "socket");
  close(ends[0]);
  expect_code(file_load("/dev/zero", 0, 1, arena, &none), ERROR_IO);
  discard(arena, folder);
}

Test(file, confinement) {
  Arena *arena = arena_new();
  char *base = scratch(arena), *model = path_join(arena, base, "model");
  expect_ok(directory_make(path_join(arena, model, "sub")));
  expect_ok(directory_make(path_join(arena, base, "model2")));
  expect_ok(file_write(path_join(arena, base, "secret"), "s", 1));
  expect_ok(file_write(path_join(arena, base, "model2/f"), "s", 1));
  expect_ok(file_write(path_join(arena, model, "sub/weights"), "w", 1));
  cr_assert_eq(symlink("sub/weights", path_join(arena, model, "inside")), 0);
  cr_assert_eq(symlink("../secret", path_join(arena, model, "outside")), 0);
  cr_assert_eq(symlink("..", path_join(arena, model, "up")), 0);
  cr_assert_eq(symlink("/etc/passwd", path_join(arena, model, "absolute")), 0);
  cr_assert_eq(symlink("../model2/f", path_join(arena, model, "sibling")), 0);
  cr_assert_eq(symlink("model", path_join(arena, base, "alias")), 0);
  cr_assert_eq(mkfifo(path_join(arena, model, "pipe"), 0600), 0);
  Bytes bytes;
  static const char *const good[] = {"sub/weights", "inside", "./sub//weights", "sub/./weights"};
  for (size_t i = 0; i < COUNT_OF(good); i++) {
    expect_ok(file_map_confined(model, good[i], arena, &bytes));
    cr_assert(bytes.size == 1 && bytes.data[0] == 'w', "%s", good[i]);
  }
  expect_ok(file_map_confined(path_join(arena, base, "alias"), "sub/weights", arena, &bytes));
  static const char *const bad[] = {
      "outside", "up/secret", "../secret", "sub/../../secret", "sub/../inside", "absolute", "sibling", "/etc/passwd",
      "",        "..",        "."};
  for (size_t i = 0; i < COUNT_OF(bad); i++) {
    Status status = file_map_confined(model, bad[i], arena, &bytes);
    cr_assert_not_null(status, "'%s' was opened", bad[i]);
    expect_code(status, ERROR_INVALID_MODEL);
    cr_assert_eq(bytes.size, 0);
  }
  expect_code(file_map_confined(model, "none", arena, &bytes), ERROR_IO);
  expect_code(file_map_confined(model, "sub", arena, &bytes), ERROR_IO);
  expect_code(file_map_confined(model, "pipe", arena, &bytes), ERROR_IO);
  discard(arena, base);
}

Test(file, paths) {
  Arena *arena = arena_new();
  cr_assert_str_eq(path_join(arena, "a", "b"), "a/b");
  cr_assert_str_eq(path_join(arena, "a/", "b"), "a/b");
  cr_assert_str_eq(path_folder(arena, "a/b.onnx"), "a");
  cr_assert_str_eq(path_folder(arena, "b"), ".");
  cr_assert_str_eq(path_folder(arena, "/b"), "/");
  cr_assert_str_eq(path_extension("a.d/x.npy"), ".npy");
  cr_assert_str_eq(path_extension("a.d/x"), "");
  setenv("HOME", "/home/x", 1);
  unsetenv("XDG_CACHE_HOME");
  unsetenv("INGOT_CACHE_DIR");
  cr_assert_str_eq(cache_folder(arena), "/home/x/.cache/ingot");
  setenv("XDG_CACHE_HOME", "/c", 1);
  cr_assert_str_eq(cache_folder(arena), "/c/ingot");
  setenv("INGOT_CACHE_DIR", "/own", 1);
  cr_assert_str_eq(cache_folder(arena), "/own");
  arena_free(arena);
}

// Logging and JSON

static char logged[5000];
static void keep(void *context, LogSeverity severity, const char *message) {
  ++*(int *)context;
  snprintf(logged, sizeof logged, "%d %s", (int)severity, message);
}

Test(log, drops_what_nobody_wants) {
  int count = 0;
  Log log = {.write = keep, .context = &count, .most = LOG_WARNING};
  log_add(&log, LOG_INFO, "no");
  log_add(NULL, LOG_ERROR, "no");
  log_add(&(Log){.most = LOG_VERBOSE}, LOG_ERROR, "no");
  cr_assert_eq(count, 0);
  log_add(&log, LOG_WARNING, "w%d", 1);
  cr_assert_str_eq(logged, "2 w1");
  log_add(&log, LOG_ERROR, "%04000d", 1);
  cr_assert_eq(strlen(logged), 4002);
}

Test(json, is_json) {
  Arena *arena = arena_new();
  Text text = text_new(arena);
  Json json = json_new(&text);
  json_object(&json, NULL);
  json_string(&json, "name", "a\"b\\\n\x01\xc3\xa9\xff\xed\xa0\x80");
  json_int(&json, "least", INT64_MIN);
  json_array(&json, "list");
  json_double(&json, NULL, 0.1);
  json_double(&json, NULL, NAN);
  json_double(&json, NULL, -1e300);
  json_object(&json, NULL);
  json_end_object(&json);
  json_end_array(&json);
  json_bool(&json, "yes", true);
  json_string(&json, "nothing", NULL);
  json_end_object(&json);
  cr_assert_str_eq(text_get(&text),
                   "{\"name\":\"a\\\"b\\\\\\n\\u0001\xc3\xa9\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\","
                   "\"least\":-9223372036854775808,\"list\":[0.1,null,-1e+300,{}],\"yes\":true,\"nothing\":null}");
  cr_assert_eq(json.depth, 0);
  arena_free(arena);
}

// Threads

typedef struct Cover {
  _Atomic int *hits;
  int64_t count, grain;
  _Atomic int short_ranges;
} Cover;

static void cover(void *context, int64_t begin, int64_t end) {
  Cover *c = context;
  if (end - begin < c->grain && end != c->count) c->short_ranges++;
  for (int64_t i = begin; i < end; i++) c->hits[i]++;
}

static void check_cover(ThreadPool *pool, int64_t count, int64_t grain) {
  Cover c = {.hits = calloc((size_t)count + 1, sizeof(int)), .count = count, .grain = grain};
  parallel_for(pool, count, grain, cover, &c);
  for (int64_t i = 0; i < count; i++)
    if (c.hits[i] != 1) cr_assert_fail("index %lld of %lld hit %d times", (long long)i, (long long)count, c.hits[i]);
  cr_assert_eq(c.short_ranges, 0);
  free(c.hits);
}

Test(thread, each_index_exactly_once) {
  static const int64_t counts[] = {0, 1, 2, 3, 7, 8, 63, 64, 65, 1000, 4097}, grains[] = {0, 1, 3, 64, 5000};
  for (int threads = 1; threads <= 9; threads += 2) {
    ThreadPool *pool = thread_pool_new(threads);
    cr_assert_eq(thread_pool_size(pool), threads);
    for (size_t c = 0; c < COUNT_OF(counts); c++)
      for (size_t g = 0; g < COUNT_OF(grains); g++) check_cover(pool, counts[c], grains[g]);
    thread_pool_free(pool);
  }
  check_cover(NULL, 100, 1);
  cr_assert_eq(thread_pool_size(NULL), 1);
  thread_pool_free(NULL);
}

static void fork_twice(void *context, void (*body)(void *), void *argument, int threads) {
  for (int i = 0; i < MIN(threads, 2); i++) body(argument);  // fewer than asked for, and not even at once
}
static void count_visits(void *context, int64_t begin, int64_t end) {
  for (int64_t i = begin; i < end; i++) ((int *)context)[i]++;
}

Test(thread, borrowed_threads_cover_the_loop_once) {
  int visits[1000] = {0};
  ThreadPool *pool = thread_pool_borrow(3, (ThreadLender){fork_twice, NULL});
  cr_assert_eq(thread_pool_size(pool), 3);
  parallel_for(pool, 1000, 7, count_visits, visits);
  for (int i = 0; i < 1000; i++) cr_assert_eq(visits[i], 1);
  thread_pool_free(pool);
}

Test(thread, many_short_loops) {  // late wakers meet closed loops; the next loop must not see them
  for (int threads = 2; threads <= 4; threads += 2) {
    ThreadPool *pool = thread_pool_new(threads);
    for (int i = 0; i < 3000; i++) {
      check_cover(pool, 1 + i % 37, 1);
      if (i % 500 == 0) usleep(2000);  // long enough for the workers to park
    }
    thread_pool_free(pool);
  }
}

static void measure(void *context, int64_t begin, int64_t end) { atomic_fetch_add((_Atomic int64_t *)context, end - begin); }

Test(thread, counts_near_the_limit_do_not_overflow) {
  ThreadPool *pool = thread_pool_new(3);
  _Atomic int64_t covered = 0;
  parallel_for(pool, INT64_MAX, 1, measure, &covered);
  cr_assert(covered == INT64_MAX);
  thread_pool_free(pool);
}
