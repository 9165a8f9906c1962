// roi_align: a thread for each bin of each channel. A region of an image that does not exist gives zeros.
#include <string.h>
#include "kernels/common/points.h"
#include "kernels/gather/index_check.h"
#include "kernels/resize/resize.h"

static bool supports(const Site *site) {
  DTypeKind kind = dtype_kind(site->inputs[0].dtype);
  REQUIRE(site, kind == KIND_FLOAT, "elements are no floats");
  return true;
}

static int ways(const Site *site, const Machine *machine, Way *out, int limit) {
  out[0] = (Way){.name = "points"};
  return 1;
}

static Status lower(const Site *site, const Way *way, const Machine *machine, Emission *out) {
  const Node *node = site->node;
  const TensorDesc *x = &site->inputs[0], *rois = &site->inputs[1], *images = &site->inputs[2], *y = &site->outputs[0];
  Arena *arena = out->arena;
  if (desc_count(y) == 0) return emit_index_check(out, site, 2, 0, 1);
  bool wide = x->dtype == DTYPE_F64 || rois->dtype == DTYPE_F64;
  double scale = node_float(node, "scale", 1);
  uint64_t bits;
  memcpy(&bits, &scale, sizeof bits);
  Points points = points_begin(site, arena, "roi_align", REPORT_PARAMETERS, y, 1);
  Text *text = &points.body;
  text_add(&points.before, "#include \"kernels/resize/roi_align.cuh\"\n");
  text_add(text, "  typedef %s A;\n  const i64 image = (i64)x2[%s];\n  A corner[4], value = 0;\n", wide ? "double" : "float",
           points_offset(&points, images, (const char *const[]){"i0"}));
  for (int k = 0; k < 4; k++)
    text_add(text, "  corner[%d] = (A)Element_%s::get(x1[%s]);\n", k, dtype_name(rois->dtype),
             points_offset(&points, rois, (const char *const[]){"i0", arena_printf(arena, "%d", k)}));
  text_add(text, "  auto read = [=](int row, int column) { return (A)Element_%s::get(x0[%s]); };\n", dtype_name(x->dtype),
           points_offset(&points, x, (const char *const[]){"image", "i1", "row", "column"}));
  Extent count = desc_extent(x, 0);
  const char *size = points_size(&points, count, true), *rows = points_size(&points, desc_extent(x, 2), false);
  const char *columns = points_size(&points, desc_extent(x, 3), false);
  text_add(text,
           "  if ((u64)image < %s%s)\n    value = roi_bin<A, %s, %s, %lld, %lld, %lld>(corner, "
           "(A)__longlong_as_double(0x%016llxll /* %g */), i2, i3, %s, %s, read);\n"
           "  else report_index(report, step, image, %s);\n",
           count.open ? "(u64)" : "", count.open ? size : arena_printf(arena, "%lldull", (long long)count.now),
           strcmp(node_string(node, "mode", "avg"), "max") == 0 ? "true" : "false",
           strcmp(node_string(node, "coordinates", "half_pixel"), "half_pixel") == 0 ? "true" : "false", (long long)y->dims[2],
           (long long)y->dims[3], (long long)node_int(node, "sampling", 0), (unsigned long long)bits, scale, rows, columns,
           size);
  text_add(text, "  y0[%s] = %s;\n", points_offset(&points, y, NULL),
           stored_expression(arena, y->dtype, wide ? DTYPE_F64 : DTYPE_F32, "value"));
  emit_report(out, points_end(&points, out));
  return OK;
}

const Implementation cuda_roi_align = {
    .name = "roi_align",
    .backend = BACKEND_CUDA,
    .op = &op_roi_align,
    .general = true,
    .supports = supports,
    .ways = ways,
    .lower = lower,
};
