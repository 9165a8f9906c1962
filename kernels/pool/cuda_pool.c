// pool: a thread for each output element walks its window; where channels are innermost in memory, a thread takes up to 16 bytes of
// channels, so that loads are full vectors whatever the window. Loops are unrolled by the compiler, the window being constant.
// Traffic: the input about once (neighbouring windows meet in the cache), the output once. Limit on the chip: memory bandwidth.
#include "kernels/pool/pool.h"
#include <string.h>
#include "base/checked.h"
#include "kernels/common/points.h"
#include "kernels/meaning.h"

static bool supports(const Site *site) { return !pool_exceeds_input(site->node, site->inputs[0].dims); }

static int ways(const Site *site, const Machine *machine, Way *out, int limit) {
  out[0] = (Way){.name = "points"};
  return 1;
}

typedef struct Pool {
  const Site *site;
  const TensorDesc *x, *y;
  Window window;
  bool is_max, is_lp, indices, count_pad;
  double p;
  DType sums;  // what is accumulated
  int vector;
} Pool;

static Status read_pool(const Site *site, Pool *pool) {
  const Node *node = site->node;
  const char *kind = node_string(node, "kind", "");
  *pool = (Pool){.site = site, .x = &site->inputs[0], .y = &site->outputs[0]};
  TRY(pool_read_window(node, pool->x->rank - 2, &pool->window));
  pool->is_max = strcmp(kind, "max") == 0;
  pool->is_lp = strcmp(kind, "lp") == 0;
  pool->indices = node->output_count > 1;
  pool->count_pad = node_int(node, "count_include_pad", 0) != 0;
  pool->p = (double)node_int(node, "p", 2);
  pool->sums = pool->x->dtype == DTYPE_BOOL ? DTYPE_I64 : accumulator_dtype(pool->x->dtype);
  pool->vector = 1;
  if (pool->indices || points_inner_axis(pool->y) != 1) return OK;
  int vector = desc_vector_width(pool->x, 1, (int)MAX(16 / dtype_size(pool->x->dtype), 1));
  vector = desc_vector_width(pool->y, 1, vector);
  while (vector > 1 && desc_count(pool->y) / vector < 8192) vector /= 2;
  pool->vector = vector;
  return OK;
}

// The place of the tap in all of x, as indices count: planes, then the plane's axes row-major or column-major.
static char *place_of(Arena *arena, const Pool *pool) {
  bool columns = node_int(pool->site->node, "storage_order", 0) != 0;
  int64_t stride = 1, plane = 1;
  Text text = text_new(arena);
  for (int n = 0; n < pool->window.axes; n++) {
    int i = columns ? n : pool->window.axes - 1 - n;
    text_add(&text, "%s(i64)at%d * %lldll", n ? " + " : "", i, (long long)stride);
    stride *= pool->x->dims[2 + i];
    plane *= pool->x->dims[2 + i];
  }
  text_add(&text, " + ((i64)i0 * %lldll + i1) * %lldll", (long long)pool->x->dims[1], (long long)plane);
  return arena_string(arena, text_get(&text));
}

static void add_window(Text *text, const Pool *pool) {
  const Window *w = &pool->window;
  const TensorDesc *x = pool->x;
  const char *names[MAX_RANK] = {"i0", "i1"};
  for (int i = 0; i < w->axes; i++) {
    names[2 + i] = arena_printf(text->arena, "at%d", i);
    text_add(text, "  const int start%d = i%d * %lld - %lld;\n", i, 2 + i, (long long)w->stride[i], (long long)w->pad_begin[i]);
  }
  for (int i = 0; i < w->axes; i++)
    text_add(text,
             "  for (int k%d = 0; k%d < %lld; k%d++) {\n  const int at%d = start%d + k%d * %lld;\n  if ((u32)at%d >= %lldu) "
             "continue;\n",
             i, i, (long long)w->kernel[i], i, i, i, i, (long long)w->dilation[i], i, (long long)x->dims[2 + i]);
  text_add(text, "    A value[V];\n    load_as<Element_%s, V, %d>(x0 + (%s), value);\n", dtype_name(x->dtype), pool->vector,
           desc_offset(text->arena, x, names));
  if (pool->is_lp)
    text_add(text, "    for (int i = 0; i < V; i++) value[i] = %s;\n",
             pool->p == 2   ? "value[i] * value[i]"
             : pool->p == 1 ? "x_abs(value[i])"
                            : arena_printf(text->arena, "x_pow(x_abs(value[i]), (A)%d)", (int)pool->p));
  if (pool->is_max) text_add(text, "    window.add(value, %s);\n", pool->indices ? place_of(text->arena, pool) : "0");
  else text_add(text, "    window.add(value);\n    inside++;\n");
  for (int i = 0; i < w->axes; i++) text_add(text, "  }\n");
}

// `acc`, the result of channel i.
static void add_result(Text *text, const Pool *pool) {
  const Window *w = &pool->window;
  if (pool->is_max) {
    text_add(text, "    A acc = window.result(i, %s);\n",
             pool->sums == DTYPE_F32   ? "float_of_bits(0xff800000u)"
             : pool->sums == DTYPE_F64 ? "(A)float_of_bits(0xff800000u)"
                                       : "0");
  } else if (pool->is_lp) {
    text_add(text, "    A acc = %s;\n",
             pool->p == 2   ? "x_sqrt(window.sum[i])"
             : pool->p == 1 ? "window.sum[i]"
                            : arena_printf(text->arena, "x_pow(window.sum[i], (A)1 / (A)%d)", (int)pool->p));
  } else {
    text_add(text, "    const int divisor = %s", pool->count_pad ? "1" : "inside");
    for (int i = 0; pool->count_pad && i < w->axes; i++)
      text_add(text, " * taps_below(start%d, %lld, %lld, %lld)", i, (long long)(pool->x->dims[2 + i] + w->pad_end[i]),
               (long long)w->dilation[i], (long long)w->kernel[i]);
    text_add(text, ";\n    A acc = divisor ? window.sum[i] / (A)divisor : (A)0;\n");
  }
}

static Status lower(const Site *site, const Way *way, const Machine *machine, Emission *out) {
  Pool pool;
  TRY(read_pool(site, &pool));
  const TensorDesc *y = pool.y;
  if (desc_count(y) == 0) return OK;
  bool narrow = !dtype_is_float(pool.x->dtype);  // integers pass through the epilogue as their own type
  DType natural = narrow ? pool.x->dtype : pool.sums;
  Text text = text_new(out->arena);
  text_add(&text, GENERATED_INCLUDES "#include \"kernels/pool/pool.cuh\"\n");
  TRY(epilogue_program_emit(&text, site, natural));
  points_open(&text, site, "pool", "", y, pool.vector);
  text_add(&text, "  constexpr int V = %d;\n  typedef %s A;\n  %s<A, V> window;\n  int inside = 0;\n", pool.vector,
           value_type(pool.sums), pool.is_max ? "PoolMax" : "PoolSum");
  add_window(&text, &pool);
  text_add(&text,
           "  Element_%s::Stored stored[V];\n  const int channel = i1;\n#pragma unroll\n  for (int i = 0; i < V; i++) {\n    "
           "const int i1 = channel + i;\n",
           dtype_name(y->dtype));
  add_result(&text, &pool);
  text_add(&text, "    stored[i] = %s;\n  }\n",
           site_epilogue(out->arena, site, natural, arena_printf(out->arena, "(%s)acc", value_type(natural))));
  text_add(&text, "  element_store<Element_%s, V, V>(y0 + (%s), stored);\n", dtype_name(y->dtype),
           desc_offset(out->arena, y, NULL));
  if (pool.indices) text_add(&text, "  y1[%s] = window.at[0];\n", desc_offset(out->arena, &site->outputs[1], NULL));
  text_add(&text, "}\n");
  points_launch(out, site, text_get(&text), "pool", y, pool.vector);
  return OK;
}

const Implementation cuda_pool = {
    .name = "pool",
    .backend = BACKEND_CUDA,
    .op = &op_pool,
    .general = true,
    .supports = supports,
    .ways = ways,
    .lower = lower,
};
