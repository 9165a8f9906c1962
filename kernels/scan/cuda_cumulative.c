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

static Status lower(const Site *site, const Way *way, const Machine *machine, Emission *out) {
  const Node *node = site->node;
  const TensorDesc *x = &site->inputs[0], *y = &site->outputs[0];
  int axis = (int)node_int(node, "axis", 0);
  bool product = strcmp(node_string(node, "kind", "sum"), "prod") == 0;
  if (desc_count(y) == 0) return OK;
  TensorDesc lines = *y;
  lines.dims[axis] = 1;
  int64_t n = x->dims[axis], count = desc_count(&lines);
  bool contiguous = x->strides[axis] == 1;
  bool blocks = n >= 128 && count <= INT32_MAX && (contiguous || count < 16 * BLOCK_THREADS);
  // A block's threads share the line's coordinates: its number stands for the point.
  Text text = text_new(out->arena);
  text_add(&text, "#include \"kernels/scan/scan.cuh\"\n");
  const char *sums = value_type(accumulator_dtype(x->dtype)), *dtype = dtype_name(x->dtype);
  const char *flags = arena_printf(out->arena, "%s, %s", node_int(node, "exclusive", 0) ? "true" : "false",
                                   node_int(node, "reverse", 0) ? "true" : "false");
  const char *names[MAX_RANK] = {0};
  names[axis] = "0";
  char *from = desc_offset(out->arena, x, names), *to = desc_offset(out->arena, y, names);
  const char *operation = product ? "RunningProd" : "RunningSum";
  char *arguments = arena_printf(out->arena, "(x0 + (%s), %lldll, y0 + (%s), %lldll, %lldll, (%s)%d);\n}\n", from,
                                 (long long)x->strides[axis], to, (long long)y->strides[axis], (long long)n, sums, product);
  if (blocks) {
    points_open_blocks(&text, site, "cumulative", "", &lines, BLOCK_THREADS);
    text_add(&text, "  scan_line<%s, Element_%s, %s, %d, %d, %s>%s", operation, dtype, sums, BLOCK_THREADS, BLOCK_ITEMS, flags,
             arguments);
    points_launch_blocks(out, site, text_get(&text), "cumulative", &lines, BLOCK_THREADS);
  } else {
    points_open(&text, site, "cumulative", "", &lines, 1);
    text_add(&text, "  scan_line_alone<%s, Element_%s, %s, %s>%s", operation, dtype, sums, flags, arguments);
    points_launch(out, site, text_get(&text), "cumulative", &lines, 1);
  }
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
