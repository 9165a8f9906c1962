// pad: a thread for each output element finds the element of x that it repeats, or takes the constant.
// Traffic: input and output once. Limit on the chip: memory bandwidth.
#include "kernels/pad/pad.h"
#include <string.h>
#include "kernels/common/points.h"

static bool supports(const Site *site) {
  REQUIRE(site, dtype_kind(site->inputs[0].dtype) != KIND_STRING, "elements are strings");
  return true;
}

static int ways(const Site *site, const Machine *machine, Way *out, int limit) {
  out[0] = (Way){.name = "points"};
  return 1;
}

// How much lies in front of an axis, or behind one.
static Extent pad_extent(const Site *site, int index) {
  const Attribute *pads = node_attribute(site->node, "pads");
  return site->dims && pads->open
             ? extent_of(pads->dims[index], dim_import(site->dims, site->node->graph->dims, pads->open[index]))
             : extent_static(pads->dims[index]);
}

static Status lower(const Site *site, const Way *way, const Machine *machine, Emission *out) {
  const TensorDesc *x = &site->inputs[0], *y = &site->outputs[0];
  const char *mode = node_string(site->node, "mode", "constant"), *names[MAX_RANK];
  bool constant = strcmp(mode, "constant") == 0, given = site->node->input_count > 1 && !site->inputs[1].absent;
  if (desc_count(y) == 0) return OK;
  Points points = points_begin(site, out->arena, "pad", "", y, 1);
  Text *text = &points.body;
  text_add(&points.before, "#include \"kernels/pad/pad.cuh\"\n");
  text_add(text, "  bool inside = true;\n");
  for (int i = 0; i < x->rank; i++) {
    // Nothing may lie around this time only.
    Extent front = pad_extent(site, i), behind = pad_extent(site, x->rank + i);
    bool padded = !extent_is(front, 0) || !extent_is(behind, 0) || !extent_equal(desc_extent(x, i), desc_extent(y, i));
    names[i] = arena_printf(out->arena, padded ? "at%d" : "i%d", i);
    if (!padded) continue;
    Extent extent = desc_extent(x, i);
    const char *first = points_size(&points, front, false);
    if (constant)
      text_add(text, "  const int at%d = i%d - %s;\n  inside = inside && (u32)at%d < %s;\n", i, i, first, i,
               points_limit(&points, extent));
    else text_add(text, "  const int at%d = pad_%s(i%d - %s, %s);\n", i, mode, i, first, points_size(&points, extent, false));
  }
  text_add(text, "  Element_%s::Stored value = {};\n", dtype_name(x->dtype));
  // Nothing is inside of an open x that is empty: constants are taken then, as of one that always is.
  if (desc_count(x) > 0 || (constant && desc_is_open(x)))
    text_add(text, "  if (inside) value = x0[%s];\n", points_offset(&points, x, names));
  else text_add(text, "  inside = false;\n");
  if (given) text_add(text, "  if (!inside) value = x1[0];\n");
  text_add(text, "  y0[%s] = value;\n", points_offset(&points, y, NULL));
  points_end(&points, out);
  return OK;
}

const Implementation cuda_pad = {
    .name = "pad",
    .backend = BACKEND_CUDA,
    .op = &op_pad,
    .writes_anywhere = true,
    .general = true,
    .supports = supports,
    .ways = ways,
    .lower = lower,
};
