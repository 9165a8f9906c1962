// col2im: a thread for each element of the image sums the columns' elements that belong there, in the order of the taps.
// Traffic: the columns once, the image once. Limit on the chip: memory bandwidth.
#include "base/checked.h"
#include "kernels/conv/conv.h"
#include "kernels/common/points.h"
#include "kernels/meaning.h"

static bool supports(const Site *site) {
  DTypeKind kind = dtype_kind(site->inputs[0].dtype);
  REQUIRE(site, kind != KIND_STRING && kind != KIND_COMPLEX && kind != KIND_BOOL, "elements are neither floats nor integers");
  return true;
}

static int ways(const Site *site, const Machine *machine, Way *out, int limit) {
  out[0] = (Way){.name = "points"};
  return 1;
}

static Status lower(const Site *site, const Way *way, const Machine *machine, Emission *out) {
  const TensorDesc *x = &site->inputs[0], *y = &site->outputs[0];
  Arena *arena = out->arena;
  int axes = y->rank - 2, count;
  const int64_t *block = node_ints(site->node, "block", &count);
  Dim kernel[MAX_RANK];
  Window window;
  if (desc_count(y) == 0) return OK;
  for (int i = 0; i < axes; i++) kernel[i] = block[i];
  TRY(window_read(site->node, axes, kernel, &window));
  const char *sums = value_type(accumulator_dtype(x->dtype)), *tap = "i1", *position = "0";
  Points points = points_begin(site, arena, "col2im", "", y, 1);
  Text *text = &points.body;
  text_add(&points.before, GENERATED_INCLUDES);
  text_add(text, "  typedef %s A;\n  A sum = 0;\n", sums);
  for (int i = 0; i < axes; i++) {
    int64_t room = y->dims[2 + i] + window.pad_begin[i] + window.pad_end[i] - window.dilation[i] * (window.kernel[i] - 1) - 1;
    int64_t positions = room < 0 ? 0 : room / window.stride[i] + 1;
    text_add(text,
             "  for (int k%d = 0; k%d < %lld; k%d++) {\n  const int from%d = i%d + %lld - k%d * %lld, at%d = from%d / %lld;\n",
             i, i, (long long)window.kernel[i], i, i, 2 + i, (long long)window.pad_begin[i], i, (long long)window.dilation[i],
             i, i, (long long)window.stride[i]);
    text_add(text, "  if (from%d < 0 || from%d %% %lld != 0 || at%d >= %lld) continue;\n", i, i, (long long)window.stride[i], i,
             (long long)positions);
    tap = arena_printf(arena, "((i64)%s * %lld + k%d)", tap, (long long)window.kernel[i], i);
    position = arena_printf(arena, "((i64)%s * %lld + at%d)", position, (long long)positions, i);
  }
  text_add(text, "  sum += (A)Element_%s::get(x0[%s]);\n", dtype_name(x->dtype),
           points_offset(&points, x, (const char *const[]){"i0", tap, position}));
  for (int i = 0; i < axes; i++) text_add(text, "  }\n");
  text_add(text, "  y0[%s] = %s;\n", points_offset(&points, y, NULL),
           stored_expression(arena, y->dtype, y->dtype, arena_printf(arena, "(%s)sum", value_type(y->dtype))));
  points_end(&points, out);
  return OK;
}

const Implementation cuda_col2im = {
    .name = "col2im",
    .backend = BACKEND_CUDA,
    .op = &op_col2im,
    .general = true,
    .supports = supports,
    .ways = ways,
    .lower = lower,
};
