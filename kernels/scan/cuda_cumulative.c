// cumulative: long lines that are few, or contiguous, take a block each; the others a thread each.
// Traffic: input and output once. Limit on the chip: memory bandwidth.
#include <string.h>
#include "base/checked.h"
#include "kernels/common/points.h"
#include "kernels/scan/scan.h"

enum { BLOCK_THREADS = 256, BLOCK_ITEMS = 4 };

static bool supports(const Site *site) { return true; }

static int ways(const Site *site, const Machine *machine, Way *out, int limit) {
  out[0] = (Way){.name = "lines"};
  return 1;
}

// Open lines are taken for long.
static bool takes_blocks(const Site *site, const TensorDesc *x, int axis, const TensorDesc *lines) {
  Extent count = extent_static(1);
  for (int i = 0; i < lines->rank; i++) count = extent_mul(site->dims, count, desc_extent(lines, i));
  if (extent_typical(site->dims, desc_extent(x, axis)) < 128 || count.now > INT32_MAX) return false;
  return extent_is(desc_stride(x, axis), 1) || extent_typical(site->dims, count) < 16 * BLOCK_THREADS;
}

static Status lower(const Site *site, const Way *way, const Machine *machine, Emission *out) {
  const Node *node = site->node;
  const TensorDesc *x = &site->inputs[0], *y = &site->outputs[0];
  int axis = (int)node_int(node, "axis", 0);
  bool product = strcmp(node_string(node, "kind", "sum"), "prod") == 0;
  if (desc_count(y) == 0) return OK;
  TensorDesc lines = desc_with_extent(out->arena, y, axis, extent_static(1));
  bool blocks = takes_blocks(site, x, axis, &lines);
  // A block's threads share the line's coordinates: its number stands for the point.
  Points points = blocks ? points_begin_blocks(site, out->arena, "cumulative", "", &lines, BLOCK_THREADS)
                         : points_begin(site, out->arena, "cumulative", "", &lines, 1);
  text_add(&points.before, "#include \"kernels/scan/scan.cuh\"\n");
  const char *sums = value_type(accumulator_dtype(x->dtype)), *names[MAX_RANK] = {0};
  names[axis] = "0";
  const char *from = points_offset(&points, x, names), *to = points_offset(&points, y, names);
  const char *from_stride = points_size(&points, desc_stride(x, axis), true);
  const char *to_stride = points_size(&points, desc_stride(y, axis), true);
  const char *length = points_size(&points, desc_extent(x, axis), true);
  text_add(&points.body, blocks ? "  scan_line<" : "  scan_line_alone<");
  text_add(&points.body, "%s, Element_%s, %s, ", product ? "RunningProd" : "RunningSum", dtype_name(x->dtype), sums);
  if (blocks) text_add(&points.body, "%d, %d, ", BLOCK_THREADS, BLOCK_ITEMS);
  text_add(&points.body, "%s, %s>(x0 + (%s), %s, y0 + (%s), %s, %s, (%s)%d);\n",
           node_int(node, "exclusive", 0) ? "true" : "false", node_int(node, "reverse", 0) ? "true" : "false", from,
           from_stride, to, to_stride, length, sums, product);
  points_end(&points, out);
  return OK;
}

const Implementation cuda_cumulative = {
    .name = "cumulative",
    .backend = BACKEND_CUDA,
    .op = &op_cumulative,
    .general = true,
    .supports = supports,
    .ways = ways,
    .lower = lower,
};
