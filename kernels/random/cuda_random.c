// random: a thread makes the number of its element, from the seed and the element's row-major position alone. In double, as the
// reference, so that both agree.
#include <string.h>
#include "kernels/common/points.h"
#include "kernels/random/random.h"

static bool supports(const Site *site) { return true; }

static int ways(const Site *site, const Machine *machine, Way *out, int limit) {
  out[0] = (Way){.name = "philox"};
  return 1;
}

static char *number(Arena *arena, double value) {
  uint64_t bits;
  memcpy(&bits, &value, sizeof bits);
  return arena_printf(arena, "__longlong_as_double(0x%016llxll /* %g */)", (unsigned long long)bits, value);
}

static Status lower(const Site *site, const Way *way, const Machine *machine, Emission *out) {
  const Node *node = site->node;
  const TensorDesc *y = &site->outputs[0];
  Arena *arena = out->arena;
  bool normal = strcmp(node_string(node, "kind", "uniform"), "normal") == 0;
  if (desc_count(y) == 0) return OK;
  double base = normal ? node_float(node, "mean", 0) : node_float(node, "low", 0);
  double scale = normal ? node_float(node, "scale", 1) : node_float(node, "high", 1) - base;
  Points points = points_begin(site, arena, "random_numbers", "", y, 1);
  Text *text = &points.body;
  text_add(&points.before, "#include \"kernels/random/philox.cuh\"\n");
  text_add(text, "  u64 index = 0;\n");
  for (int i = 0; i < y->rank; i++)
    text_add(text, "  index = index * %s + i%d;\n", points_size(&points, desc_extent(y, i), false), i);
  // Apart, so that the compiler does not contract what the reference computes in two steps.
  text_add(text, "  const double value = __dadd_rn(%s, __dmul_rn(%s(%lluull, index), %s));\n", number(arena, base),
           normal ? "random_normal" : "random_uniform", (unsigned long long)node_int(node, "seed", 0), number(arena, scale));
  text_add(text, "  y0[%s] = %s;\n", points_offset(&points, y, NULL), stored_expression(arena, y->dtype, DTYPE_F64, "value"));
  points_end(&points, out);
  return OK;
}

const Implementation cuda_random = {
    .name = "random",
    .backend = BACKEND_CUDA,
    .op = &op_random,
    .general = true,
    .supports = supports,
    .ways = ways,
    .lower = lower,
};
