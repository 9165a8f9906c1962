// grid_sample: a thread for each output element finds its taps along every axis and sums over their product.
// Traffic: output and grid once, the input at random through the cache.
#include <string.h>
#include "kernels/common/points.h"
#include "kernels/resize/resize.h"

static bool supports(const Site *site) {
  DTypeKind kind = dtype_kind(site->inputs[0].dtype);
  REQUIRE(site, kind != KIND_STRING && kind != KIND_COMPLEX, "elements are strings or complex numbers");
  return true;
}

static int ways(const Site *site, const Machine *machine, Way *out, int limit) {
  out[0] = (Way){.name = "points"};
  return 1;
}

static Status lower(const Site *site, const Way *way, const Machine *machine, Emission *out) {
  const TensorDesc *x = &site->inputs[0], *grid = &site->inputs[1], *y = &site->outputs[0];
  const char *mode = node_string(site->node, "mode", "linear"), *padding = node_string(site->node, "padding", "zeros");
  Arena *arena = out->arena;
  int axes = x->rank - 2, taps = strcmp(mode, "nearest") == 0 ? 1 : strcmp(mode, "cubic") == 0 ? 4 : 2;
  if (desc_count(y) == 0) return OK;
  bool wide = x->dtype == DTYPE_F64 || grid->dtype == DTYPE_F64;
  const char *names[MAX_RANK] = {0}, *grid_names[MAX_RANK] = {"i0"};
  Points points = points_begin(site, arena, "grid_sample", "", y, 1);
  Text *text = &points.body;
  text_add(&points.before, "#include \"kernels/resize/grid_sample.cuh\"\n");
  text_add(text, "  typedef %s A;\n  A sum = 0;\n", wide ? "double" : "float");
  bool empty = desc_count(x) == 0;
  for (int i = 0; i < axes; i++) grid_names[1 + i] = arena_printf(arena, "i%d", 2 + i);
  for (int i = 0; i < axes && !empty; i++) {
    grid_names[1 + axes] = arena_printf(arena, "%d", axes - 1 - i);
    const char *offset = points_offset(&points, grid, grid_names);
    text_add(text, "  const GridTaps<A> taps%d = grid_taps<%s, %s, %s, A>((A)Element_%s::get(x1[%s]), %s);\n", i,
             taps == 1   ? "GRID_NEAREST"
             : taps == 4 ? "GRID_CUBIC"
                         : "GRID_LINEAR",
             strcmp(padding, "border") == 0       ? "PADDING_BORDER"
             : strcmp(padding, "reflection") == 0 ? "PADDING_REFLECTION"
                                                  : "PADDING_ZEROS",
             node_int(site->node, "align_corners", 0) ? "true" : "false", dtype_name(grid->dtype), offset,
             points_size(&points, desc_extent(x, 2 + i), false));
  }
  const char *weight = "(A)1";
  for (int i = 0; i < axes && !empty; i++) {
    names[2 + i] = arena_printf(arena, "at%d", i);
    text_add(text,
             "#pragma unroll\n  for (int k%d = 0; k%d < %d; k%d++) {\n  const int at%d = taps%d.index[k%d];\n  const A "
             "weight%d = %s * taps%d.weight[k%d];\n  if (at%d < 0) continue;\n",
             i, i, taps, i, i, i, i, i, weight, i, i, i);
    weight = arena_printf(arena, "weight%d", i);
  }
  if (!empty)
    text_add(text, "  if (%s != 0) sum += %s * (A)Element_%s::get(x0[%s]);\n", weight, weight, dtype_name(x->dtype),
             points_offset(&points, x, names));
  for (int i = 0; i < axes && !empty; i++) text_add(text, "  }\n");
  const char *stored = dtype_is_float(y->dtype) ? stored_expression(arena, y->dtype, wide ? DTYPE_F64 : DTYPE_F32, "sum")
                       : y->dtype == DTYPE_BOOL
                           ? "Element_bool::set(x_round(sum) != 0)"
                           : arena_printf(arena, "Element_%s::set(element_saturate<Element_%s>(x_round(sum)))",
                                          dtype_name(y->dtype), dtype_name(y->dtype));
  text_add(text, "  y0[%s] = %s;\n", points_offset(&points, y, NULL), stored);
  points_end(&points, out);
  return OK;
}

const Implementation cuda_grid_sample = {
    .name = "grid_sample",
    .backend = BACKEND_CUDA,
    .op = &op_grid_sample,
    .general = true,
    .supports = supports,
    .ways = ways,
    .lower = lower,
};
