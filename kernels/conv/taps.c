// The loops under conv, conv_transpose and col2im; see taps.h.
#include "kernels/conv/taps.h"
#include "base/budget.h"

TapsArithmetic taps_arithmetic(DType x, DType w) {
  if (dtype_computes_in_int(x)) return TAPS_INT;
  return dtype_fits_float(x) && dtype_fits_float(w) ? TAPS_FLOAT : TAPS_DOUBLE;
}

size_t taps_item_size(TapsArithmetic arithmetic) { return arithmetic == TAPS_FLOAT ? sizeof(float) : sizeof(double); }

Status taps_convert(const Reference *r, TapsArithmetic arithmetic, const Tensor *tensor, const void **out) {
  const float *floats;
  const double *doubles;
  const int64_t *ints;
  switch (arithmetic) {
    case TAPS_FLOAT:
      TRY(reference_floats(r, tensor, &floats));
      *out = floats;
      break;
    case TAPS_DOUBLE:
      TRY(reference_doubles(r, tensor, &doubles));
      *out = doubles;
      break;
    case TAPS_INT:
      TRY(reference_ints(r, tensor, &ints));
      *out = ints;
      break;
  }
  return OK;
}

void taps_store(TapsArithmetic arithmetic, Tensor *out, int64_t first, int64_t count, const void *sums) {
  if (arithmetic == TAPS_INT) reference_store_ints(out, first, count, sums);
  else reference_store_doubles(out, first, count, sums);
}

Taps taps_from(const Window *window, const int64_t *small, const int64_t *large) {
  Taps taps = {.axes = window->axes};
  bool pointwise = true;
  for (int i = 0; i < taps.axes; i++) {
    taps.small[i] = small[i];
    taps.large[i] = large[i];
    taps.kernel[i] = window->kernel[i];
    taps.stride[i] = window->stride[i];
    taps.dilation[i] = window->dilation[i];
    taps.pad[i] = window->pad_begin[i];
    pointwise =
        pointwise && window->kernel[i] == 1 && window->stride[i] == 1 && window->pad_begin[i] == 0 && small[i] == large[i];
  }
  if (!pointwise) return taps;
  // A 1x1 kernel sees one long row.
  int64_t count = dims_count(taps.axes, small);
  return (Taps){.axes = 1, .small = {count}, .large = {count}, .kernel = {1}, .stride = {1}, .dilation = {1}};
}

int64_t taps_small_count(const Taps *taps) { return dims_count(taps->axes, taps->small); }
int64_t taps_large_count(const Taps *taps) { return dims_count(taps->axes, taps->large); }
int64_t taps_kernel_count(const Taps *taps) { return dims_count(taps->axes, taps->kernel); }

// The rows that one tap pairs: small positions low..high of each axis. The axis before the last steps from row to row, those before it are counted.
typedef struct TapRows {
  int64_t low[MAX_RANK], extent[MAX_RANK], shift[MAX_RANK];
  int64_t rows;  // of the axis before the last
  bool empty;
} TapRows;

static void tap_rows(const Taps *taps, const int64_t *tap, TapRows *rows) {
  rows->empty = false;
  for (int i = 0; i < taps->axes; i++) {
    int64_t stride = taps->stride[i], shift = tap[i] * taps->dilation[i] - taps->pad[i];
    int64_t low = shift >= 0 ? 0 : ceil_div(-shift, stride);
    int64_t reach = taps->large[i] - 1 - shift;
    int64_t high = reach < 0 ? 0 : MIN(taps->small[i], reach / stride + 1);
    rows->low[i] = low;
    rows->extent[i] = high - low;
    rows->shift[i] = shift;
    if (high <= low) rows->empty = true;
  }
  rows->rows = taps->axes > 1 ? rows->extent[taps->axes - 2] : 1;
}

// Where the first row begins of those that the outer axes are at.
static void tap_row_offsets(const Taps *taps, const TapRows *rows, const int64_t *outer, int64_t *small, int64_t *large) {
  *small = *large = 0;
  for (int i = 0; i < taps->axes; i++) {
    int64_t at = rows->low[i] + (i < taps->axes - 2 ? outer[i] : 0);
    *small = *small * taps->small[i] + at;
    *large = *large * taps->large[i] + at * taps->stride[i] + rows->shift[i];
  }
}

#define DEFINE_ROWS(suffix, In, Sum)                                                                                          \
  static void gather_rows_##suffix(const Taps *taps, const TapRows *rows, const In *large, Sum weight, Sum *restrict sums) {  \
    int last = taps->axes - 1;                                                                                                \
    int64_t stride = taps->stride[last], count = rows->extent[last], outer[MAX_RANK] = {0}, small_at, large_at;               \
    int64_t small_row = taps->small[last], large_row = last ? taps->large[last] * taps->stride[last - 1] : 0;                 \
    do {                                                                                                                      \
      budget_step((uint64_t)rows->rows);                                                                                      \
      tap_row_offsets(taps, rows, outer, &small_at, &large_at);                                                               \
      for (int64_t row = 0; row < rows->rows; row++, small_at += small_row, large_at += large_row) {                          \
        Sum *restrict to = sums + small_at;                                                                                   \
        const In *restrict from = large + large_at;                                                                           \
        if (stride == 1)                                                                                                      \
          for (int64_t i = 0; i < count; i++) to[i] += weight * (Sum)from[i];                                                 \
        else                                                                                                                  \
          for (int64_t i = 0; i < count; i++) to[i] += weight * (Sum)from[i * stride];                                        \
      }                                                                                                                       \
    } while (last > 1 && index_next(last - 1, rows->extent, outer));                                                          \
  }                                                                                                                           \
  static void scatter_rows_##suffix(const Taps *taps, const TapRows *rows, const In *small, Sum weight, Sum *restrict sums) { \
    int last = taps->axes - 1;                                                                                                \
    int64_t stride = taps->stride[last], count = rows->extent[last], outer[MAX_RANK] = {0}, small_at, large_at;               \
    int64_t small_row = taps->small[last], large_row = last ? taps->large[last] * taps->stride[last - 1] : 0;                 \
    do {                                                                                                                      \
      budget_step((uint64_t)rows->rows);                                                                                      \
      tap_row_offsets(taps, rows, outer, &small_at, &large_at);                                                               \
      for (int64_t row = 0; row < rows->rows; row++, small_at += small_row, large_at += large_row) {                          \
        Sum *restrict to = sums + large_at;                                                                                   \
        const In *restrict from = small + small_at;                                                                           \
        for (int64_t i = 0; i < count; i++) to[i * stride] += weight * (Sum)from[i];                                          \
      }                                                                                                                       \
    } while (last > 1 && index_next(last - 1, rows->extent, outer));                                                          \
  }
DEFINE_ROWS(floats, float, double)
DEFINE_ROWS(doubles, double, double)
DEFINE_ROWS(ints, uint64_t, uint64_t)

void taps_gather(const Taps *taps, TapsArithmetic arithmetic, const void *large, const void *weights, void *small_sums) {
  int64_t tap[MAX_RANK] = {0}, n = 0;
  do {
    TapRows rows;
    tap_rows(taps, tap, &rows);
    if (!rows.empty) switch (arithmetic) {
        case TAPS_FLOAT: gather_rows_floats(taps, &rows, large, ((const float *)weights)[n], small_sums); break;
        case TAPS_DOUBLE: gather_rows_doubles(taps, &rows, large, ((const double *)weights)[n], small_sums); break;
        case TAPS_INT: gather_rows_ints(taps, &rows, large, ((const uint64_t *)weights)[n], small_sums); break;
      }
    n++;
  } while (index_next(taps->axes, taps->kernel, tap));
}

void taps_scatter(const Taps *taps, TapsArithmetic arithmetic, const void *small, const void *weights, void *large_sums) {
  int64_t tap[MAX_RANK] = {0}, n = 0, plane = weights ? 0 : taps_small_count(taps);
  do {
    TapRows rows;
    tap_rows(taps, tap, &rows);
    const char *data = (const char *)small + (size_t)(n * plane) * taps_item_size(arithmetic);
    if (!rows.empty) switch (arithmetic) {
        case TAPS_FLOAT:
          scatter_rows_floats(taps, &rows, (const float *)data, weights ? ((const float *)weights)[n] : 1, large_sums);
          break;
        case TAPS_DOUBLE:
          scatter_rows_doubles(taps, &rows, (const double *)data, weights ? ((const double *)weights)[n] : 1, large_sums);
          break;
        case TAPS_INT:
          scatter_rows_ints(taps, &rows, (const uint64_t *)data, weights ? ((const uint64_t *)weights)[n] : 1, large_sums);
          break;
      }
    n++;
  } while (index_next(taps->axes, taps->kernel, tap));
}
