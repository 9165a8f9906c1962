// See record.h. The file is a sequence of entries, each written at once: processes that share it append whole entries.
#include "tests/cases/record.h"
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/checked.h"
#include "base/file.h"
#include "base/map.h"

typedef struct Entry {
  uint32_t magic, key_bytes, dtype, rank;
  uint64_t bytes;
  // the key with its 0, then the elements
} Entry;
enum { ENTRY_MAGIC = 0x43455249 };

typedef struct Bound {
  const char *tactic;
  double ulps, scaled;
} Bound;
static const Bound bounds[] = {
#define TACTIC(name, ulps, scaled) {name, ulps, scaled},
#include "tests/cases/bounds.inc"
#undef TACTIC
};

typedef struct Seen {
  int results;
  double part, ulps, scaled;  // of the bound; the largest difference in each unit
} Seen;

struct Record {
  Arena *arena;
  int file;
  StringMap *entries;  // key -> Entry
  Seen seen[COUNT_OF(bounds)];
};

Status record_open(const char *path, bool against, Record **out) {
  Arena *arena = arena_new();
  Record *r = *out = arena_new_of(arena, Record);
  r->arena = arena;
  r->file = -1;
  if (!against) {
    unlink(path);
    r->file = open(path, O_CREAT | O_WRONLY | O_APPEND, 0666);
    if (r->file < 0) FAIL(ERROR_IO, "%s cannot be written", path);
    return OK;
  }
  Bytes bytes;
  TRY(file_map(path, 0, arena, &bytes));
  r->entries = string_map_new(arena);
  for (size_t at = 0; at < bytes.size;) {
    const Entry *entry = (const void *)((const char *)bytes.data + at);
    if (bytes.size - at < sizeof *entry || entry->magic != ENTRY_MAGIC || entry->bytes > bytes.size - at)
      FAIL(ERROR_CORRUPT, "%s is damaged at byte %zu", path, at);
    string_map_set(r->entries, (const char *)(entry + 1), (void *)entry);
    at += align_up(sizeof *entry + entry->key_bytes + entry->bytes, 8);
  }
  return OK;
}

// The spacing of the type's numbers at a value.
static double spacing(DType dtype, double value) {
  static const struct {
    DType dtype;
    int mantissa, least;  // bits; exponent of the smallest normal number
  } formats[] = {{DTYPE_F64, 52, -1022},  {DTYPE_F32, 23, -126},     {DTYPE_F16, 10, -14},   {DTYPE_BF16, 7, -126},
                 {DTYPE_F8E4M3FN, 3, -6}, {DTYPE_F8E4M3FNUZ, 3, -7}, {DTYPE_F8E5M2, 2, -14}, {DTYPE_F8E5M2FNUZ, 2, -15},
                 {DTYPE_F8E8M0, 0, -126}, {DTYPE_F4E2M1, 1, 0}};
  for (size_t i = 0; i < COUNT_OF(formats); i++) {
    if (formats[i].dtype != dtype) continue;
    int exponent = formats[i].least;
    if (value != 0 && isfinite(value)) exponent = MAX(ilogb(value), exponent);
    return ldexp(1, exponent - formats[i].mantissa);
  }
  return 1;
}

static Status judge(const char *key, const Tensor *actual, const Tensor *expected, const Bound *bound, Seen *seen) {
  int64_t count = tensor_count(actual);
  double largest = 0, unit = actual->dtype == DTYPE_F64 ? ldexp(1, -53) : ldexp(1, -24);
  bool is_float = dtype_is_float(actual->dtype);
  for (int64_t i = 0; is_float && i < count; i++) {
    double value = fabs(tensor_get_f(expected, i));
    if (isfinite(value)) largest = MAX(largest, value);
  }
  seen->results++;
  if (dtype_kind(actual->dtype) == KIND_COMPLEX) {  // only moved
    if (memcmp(actual->data, expected->data, tensor_bytes(actual))) FAIL(ERROR_MISMATCH, "%s: complex numbers differ", key);
    return OK;
  }
  for (int64_t i = 0; i < count; i++) {
    double a = tensor_get_f(actual, i), b = tensor_get_f(expected, i);
    if (a == b || (isnan(a) && isnan(b))) continue;
    double difference = fabs(a - b), step = spacing(actual->dtype, b);
    double allowed = is_float ? bound->ulps * step + bound->scaled * unit * largest : bound->scaled > 0;
    double part = isnan(difference) || allowed == 0 ? INFINITY : difference / allowed;
    seen->part = MAX(seen->part, part);
    seen->ulps = MAX(seen->ulps, difference / step);
    if (largest > 0) seen->scaled = MAX(seen->scaled, difference / (unit * largest));
    if (part > 1)
      FAIL(ERROR_MISMATCH, "%s: element %lld is %.9g, recorded %.9g: %.3g units in the last place, %.3g scaled units", key,
           (long long)i, a, b, difference / step, largest > 0 ? difference / (unit * largest) : 0);
  }
  return OK;
}

static Status write_entry(Record *r, const char *key, const Tensor *tensor, Arena *scratch) {
  size_t bytes = tensor_bytes(tensor), key_bytes = strlen(key) + 1, size = align_up(sizeof(Entry) + key_bytes + bytes, 8);
  char *out = arena_alloc(scratch, size);
  memset(out, 0, size);
  *(Entry *)out = (Entry){ENTRY_MAGIC, (uint32_t)key_bytes, (uint32_t)tensor->dtype, (uint32_t)tensor->rank, bytes};
  memcpy(out + sizeof(Entry), key, key_bytes);
  memcpy(out + sizeof(Entry) + key_bytes, tensor->data, bytes);
  if (write(r->file, out, size) != (ssize_t)size) FAIL(ERROR_IO, "the record cannot be written");
  return OK;
}

static Status take(Record *r, const char *name, const char *tactic, int candidate, int output, const Tensor *tensor,
                   Arena *scratch) {
  const char *key = arena_printf(scratch, "%s by %s %d, output %d", name, tactic, candidate, output);
  if (!r->entries) return write_entry(r, key, tensor, scratch);
  const Entry *entry = string_map_get(r->entries, key);
  if (!entry) { FAIL(ERROR_MISMATCH, "%s is not in the record", key); }
  if (entry->bytes != tensor_bytes(tensor) || entry->dtype != (uint32_t)tensor->dtype)
    FAIL(ERROR_MISMATCH, "%s has another type or size in the record", key);
  Tensor expected = *tensor;
  expected.data = (char *)(entry + 1) + entry->key_bytes;
  for (size_t i = 0; i < COUNT_OF(bounds); i++)
    if (!strcmp(bounds[i].tactic, tactic)) return judge(key, tensor, &expected, &bounds[i], &r->seen[i]);
  FAIL(ERROR_MISMATCH, "no bound is stated for %s", tactic);
}

Status record_take(Record *r, const char *name, const char *tactic, int candidate, int output, const Tensor *tensor) {
  Arena *scratch = arena_new();
  Status status = take(r, name, tactic, candidate, output, tensor, scratch);
  arena_free(scratch);
  return status;
}

void record_report(const Record *r) {
  if (!r->entries) return;
  printf("%-20s %8s %22s %12s %12s %10s\n", "kernel", "results", "bound (ulps + scaled)", "most ulps", "most scaled",
         "of bound");
  int results = 0;
  for (size_t i = 0; i < COUNT_OF(bounds); i++) {
    const Seen *s = &r->seen[i];
    if (s->results)
      printf("%-20s %8d %15g + %4g %12.3g %12.3g %9.0f%%\n", bounds[i].tactic, s->results, bounds[i].ulps, bounds[i].scaled,
             s->ulps, s->scaled, s->part * 100);
    results += s->results;
  }
  printf("%d results compared of %u recorded\n", results, string_map_count(r->entries));
}

void record_close(Record *r) {
  if (!r) return;
  if (r->file >= 0) close(r->file);
  arena_free(r->arena);
}
