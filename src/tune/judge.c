// See judge.h.
#include "tune/judge.h"

#include <math.h>
#include <string.h>

#include "base/checked.h"
#include "base/half.h"
#include "base/recover.h"

enum { PART_ELEMENTS = 1 << 16, PARTS = 3, MOST_WHOLE = 1 << 22 };

static int64_t output_count(const Rig *r, int i) {
  return (int64_t)(r->output_bytes[i] / dtype_size(r->site->outputs[i].dtype));
}

// An output's beginning, middle and end; or all of one that is no longer.
static Status read_parts(const Rig *r, int i, Arena *arena, Tensor *out) {
  DType dtype = r->site->outputs[i].dtype;
  int64_t count = output_count(r, i), part = PART_ELEMENTS, read = MIN(count, PARTS * part);
  size_t size = dtype_size(dtype);
  TRY(tensor_new(arena, dtype, 1, &read, out));
  if (count <= read) return cuda_download(r->cuda, out->data, r->outputs[i], r->output_bytes[i]);
  for (int p = 0; p < PARTS; p++) {
    int64_t at = (count - part) / (PARTS - 1) * p + (p == PARTS - 1 ? (count - part) % (PARTS - 1) : 0);
    TRY(cuda_download(r->cuda, (char *)out->data + (size_t)(p * part) * size, (char *)r->outputs[i] + (size_t)at * size,
                      (size_t)part * size));
  }
  return OK;
}

static Status read_whole(const Rig *r, int i, Arena *arena, Tensor *out) {
  int64_t count = output_count(r, i);
  TRY(tensor_new(arena, r->site->outputs[i].dtype, 1, &count, out));
  return cuda_download(r->cuda, out->data, r->outputs[i], r->output_bytes[i]);
}

// Where the parts are not all, but all is cheap.
static bool has_whole(const Rig *r, int i) {
  return output_count(r, i) > PARTS * PART_ELEMENTS && output_count(r, i) <= MOST_WHOLE;
}

// --- Two outputs.

typedef struct Difference {
  double squares, expected;  // sums of squares: of differences, and of the first candidate's elements
  int64_t odd;               // elements that are NaN or infinite for one alone
  bool left_out;             // one of them has the bytes that outputs are filled with before
} Difference;

// Elements by their bits. Squares of these types do not overflow in double.
#define COMPARE(name, bits, to_float)                                          \
  static Difference name(const bits *mine, const bits *first, int64_t count) { \
    Difference d = {0};                                                        \
    for (int64_t i = 0; i < count; i++) {                                      \
      double a = (double)to_float(mine[i]), b = (double)to_float(first[i]);    \
      if (isfinite(a) && isfinite(b)) {                                        \
        d.squares += (a - b) * (a - b);                                        \
        d.expected += b * b;                                                   \
      } else if (a != b && !(isnan(a) && isnan(b))) {                          \
        d.odd++;                                                               \
        if (mine[i] == (bits)-1) d.left_out = true;                            \
      }                                                                        \
    }                                                                          \
    return d;                                                                  \
  }
COMPARE(compare_f32, uint32_t, float_of_bits)
COMPARE(compare_f16, uint16_t, half_to_float)
COMPARE(compare_bf16, uint16_t, bf16_to_float)

static Difference compare_rare(const Tensor *mine, const Tensor *first) {
  static const unsigned char untouched[8] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
  size_t size = dtype_size(mine->dtype);
  Comparison comparison = tensor_compare(mine, first, 0, INFINITY);
  Difference d = {.squares = comparison.norm_error * comparison.norm_error, .expected = 1, .odd = comparison.mismatches};
  for (int64_t i = 0; d.odd && !d.left_out && i < tensor_count(mine); i++)
    d.left_out = !memcmp((const char *)mine->data + (size_t)i * size, untouched, size) && isnan(tensor_get_f(mine, i)) &&
                 !isnan(tensor_get_f(first, i));
  return d;
}

static Difference compare(const Tensor *mine, const Tensor *first) {
  int64_t count = tensor_count(mine);
  switch (mine->dtype) {
    case DTYPE_F32: return compare_f32(mine->data, first->data, count);
    case DTYPE_F16: return compare_f16(mine->data, first->data, count);
    case DTYPE_BF16: return compare_bf16(mine->data, first->data, count);
    default: return compare_rare(mine, first);
  }
}

// Of numbers that are near the edge of what a function takes, or of what a type holds, a few may be NaN or infinite for one alone.
static bool same(const Site *site, const Tensor *mine, const Tensor *first) {
  if (tensor_equal(mine, first)) return true;
  if (!dtype_is_float(mine->dtype)) return false;
  bool wide = site->inputs[0].dtype == DTYPE_F32 && !site->tf32;
  Difference d = compare(mine, first);
  double error = d.squares == 0 ? 0 : sqrt(d.squares / d.expected);
  return error < (wide ? 1e-4 : 2e-2) && d.odd <= tensor_count(mine) / 100 && !d.left_out;
}

// --- All outputs.

Judge judge_new(Rig *r) { return (Judge){.rig = r}; }

static Status read_first(Judge *judge) {
  Rig *r = judge->rig;
  int count = r->site->node->output_count;
  Tensor *parts = arena_array(r->arena, Tensor, count), *whole = arena_array(r->arena, Tensor, count);
  for (int i = 0; i < count; i++) {
    TRY(read_parts(r, i, r->arena, &parts[i]));
    if (has_whole(r, i)) TRY(read_whole(r, i, r->arena, &whole[i]));
  }
  judge->parts = parts;
  judge->whole = whole;
  return OK;
}

static Status compare_all(Judge *judge, bool thoroughly, Arena *scratch, bool *agrees) {
  Rig *r = judge->rig;
  *agrees = true;
  for (int i = 0; i < r->site->node->output_count && *agrees; i++) {
    Tensor mine;
    TRY(read_parts(r, i, scratch, &mine));
    *agrees = same(r->site, &mine, &judge->parts[i]);
    if (!*agrees || !thoroughly || !has_whole(r, i)) continue;
    TRY(read_whole(r, i, scratch, &mine));
    *agrees = same(r->site, &mine, &judge->whole[i]);
  }
  return OK;
}

Status judge_outputs(Judge *judge, bool thoroughly, bool *agrees) {
  if (!judge->parts) {
    *agrees = true;
    return read_first(judge);
  }
  Arena *scratch = arena_scratch();
  Status status = RECOVER_GUARD(compare_all(judge, thoroughly, scratch, agrees));
  arena_free(scratch);
  return status;
}
