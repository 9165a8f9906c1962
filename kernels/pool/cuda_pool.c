// pool: a thread for each output element walks its window; where channels are innermost in memory, a thread takes up to 16 bytes of
// channels, so that loads are full vectors whatever the window. Loops are unrolled by the compiler, the window being constant.
// A region of a pool and pointwise programs behind it (kernels/behind.h) stores each of its results from the registers that hold the pool's.
// Traffic: the input about once (neighbouring windows meet in the cache), the output once. Limit on the chip: memory bandwidth.
#include "kernels/pool/pool.h"
#include <string.h>
#include "base/checked.h"
#include "kernels/behind.h"
#include "kernels/common/points.h"
#include "kernels/control/region.h"
#include "kernels/meaning.h"

static int ways(const Site *site, const Machine *machine, Way *out, int limit) {
  out[0] = (Way){.name = "points"};
  return 1;
}

typedef struct Pool {
  const Site *site;
  const Node *node;
  const Behind *behind;     // NULL: the site is the pool itself
  const TensorDesc *x, *y;  // y: the first result, and where all lie alike but for their types
  Window window;
  bool is_max, is_lp, indices, count_pad;
  double p;
  DType sums;  // what is accumulated
  int vector;
} Pool;

static Status read_pool(const Site *site, const Behind *behind, Pool *pool) {
  const Node *node = behind ? behind->anchor : site->node;
  const char *kind = node_string(node, "kind", "");
  *pool = (Pool){.site = site, .node = node, .behind = behind, .x = &site->inputs[0], .y = &site->outputs[0]};
  TRY(pool_read_window(node, pool->x->rank - 2, &pool->window));
  pool->is_max = strcmp(kind, "max") == 0;
  pool->is_lp = strcmp(kind, "lp") == 0;
  pool->indices = node->output_count > 1;
  pool->count_pad = node_int(node, "count_include_pad", 0) != 0;
  pool->p = (double)node_int(node, "p", 2);
  pool->sums = pool->x->dtype == DTYPE_BOOL ? DTYPE_I64 : accumulator_dtype(pool->x->dtype);
  pool->vector = 1;
  if (pool->indices || points_inner_axis(site->dims, pool->y) != 1) return OK;
  int vector = desc_vector_width(site->dims, pool->x, 1, (int)MAX(16 / dtype_size(pool->x->dtype), 1));
  for (int i = 0; i < site->node->output_count; i++) vector = desc_vector_width(site->dims, &site->outputs[i], 1, vector);
  while (vector > 1 && !desc_is_open(pool->y) && desc_count(pool->y) / vector < 8192) vector /= 2;
  pool->vector = vector;
  return OK;
}

// The place of the tap in all of x, as indices count: planes, then the plane's axes row-major or column-major.
static char *place_of(Points *points, const Pool *pool) {
  bool columns = node_int(pool->node, "storage_order", 0) != 0;
  DimTable *dims = pool->site->dims;
  Extent plane = extent_static(1);
  Arena *arena = points->arguments.arena;
  Text text = text_new(arena);
  for (int n = 0; n < pool->window.axes; n++) {
    int i = columns ? n : pool->window.axes - 1 - n;
    text_add(&text, "%s(i64)at%d * %s", n ? " + " : "", i, points_size(points, plane, true));
    plane = extent_mul(dims, plane, desc_extent(pool->x, 2 + i));
  }
  text_add(&text, " + ((i64)i0 * %s + i1)", points_size(points, desc_extent(pool->x, 1), true));
  text_add(&text, " * %s", points_size(points, plane, true));
  return arena_string(arena, text_get(&text));
}

static void add_window(Points *points, const Pool *pool) {
  Text *text = &points->body;
  const Window *w = &pool->window;
  const TensorDesc *x = pool->x;
  const char *names[MAX_RANK] = {"i0", "i1"};
  for (int i = 0; i < w->axes; i++) {
    names[2 + i] = arena_printf(text->arena, "at%d", i);
    text_add(text, "  const int start%d = i%d * %lld - %lld;\n", i, 2 + i, (long long)w->stride[i], (long long)w->pad_begin[i]);
  }
  for (int i = 0; i < w->axes; i++)
    text_add(text,
             "  for (int k%d = 0; k%d < %lld; k%d++) {\n  const int at%d = start%d + k%d * %lld;\n  if ((u32)at%d >= %s) "
             "continue;\n",
             i, i, (long long)w->kernel[i], i, i, i, i, (long long)w->dilation[i], i,
             points_limit(points, desc_extent(x, 2 + i)));
  text_add(text, "    A value[V];\n    load_as<Element_%s, V, %d>(x0 + (%s), value);\n", dtype_name(x->dtype), pool->vector,
           points_offset(points, x, names));
  if (pool->is_lp)
    text_add(text, "    for (int i = 0; i < V; i++) value[i] = %s;\n",
             pool->p == 2   ? "value[i] * value[i]"
             : pool->p == 1 ? "x_abs(value[i])"
                            : arena_printf(text->arena, "x_pow(x_abs(value[i]), (A)%d)", (int)pool->p));
  if (pool->is_max) text_add(text, "    window.add(value, %s);\n", pool->indices ? place_of(points, pool) : "0");
  else text_add(text, "    window.add(value);\n    inside++;\n");
  for (int i = 0; i < w->axes; i++) text_add(text, "  }\n");
}

// `acc`, the result of channel i.
static void add_result(Points *points, const Pool *pool) {
  Text *text = &points->body;
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
    for (int i = 0; pool->count_pad && i < w->axes; i++) {
      Extent end = extent_add(pool->site->dims, desc_extent(pool->x, 2 + i), extent_static(w->pad_end[i]));
      text_add(text, " * taps_below(start%d, %s, %lld, %lld)", i, points_size(points, end, false), (long long)w->dilation[i],
               (long long)w->kernel[i]);
    }
    text_add(text, ";\n    A acc = divisor ? window.sum[i] / (A)divisor : (A)0;\n");
  }
}

// What programs behind read beside the result, for the thread's channels: e1[V], e2[V] ...
static void add_beside(Points *points, const Pool *pool) {
  Text *text = &points->body;
  for (int k = 1; k <= pool->behind->beside; k++) {
    int input = pool->behind->operands + k - 1;
    const TensorDesc *desc = &pool->site->inputs[input];
    int channel = 1 - (pool->y->rank - desc->rank);
    const char *dtype = dtype_name(desc->dtype), *offset = points_offset_broadcast(points, desc);
    bool neighbours = channel >= 0 && desc->dims[channel] > 1 && desc->strides[channel] == 1;
    text_add(text, "  Element_%s::Value e%d[V];\n", dtype, k);
    if (neighbours)
      text_add(text, "  element_load<Element_%s, V, %d>(x%d + (%s), e%d);\n", dtype,
               desc_vector_width(pool->site->dims, desc, channel, pool->vector), input, offset, k);
    else
      text_add(text, "#pragma unroll\n  for (int i = 0; i < V; i++) e%d[i] = Element_%s::get(x%d[%s]);\n", k, dtype, input,
               offset);
  }
}

// stored0[i], stored1[i] ...: the results made of `acc`, which is in the type of the sums.
static void add_programs(Points *points, const Pool *pool) {
  Text *text = &points->body;
  const Program *program = pool->behind->program;
  const Site *site = pool->site;
  Arena *arena = text->arena;
  const char **inputs = arena_array(arena, const char *, (size_t)program->input_count),
             **results = arena_array(arena, const char *, (size_t)program->output_count);
  DType *dtypes = arena_array(arena, DType, (size_t)program->input_count);
  inputs[0] = "acc";
  dtypes[0] = pool->sums;
  for (int k = 1; k < program->input_count; k++) {
    inputs[k] = arena_printf(arena, "e%d[i]", k);
    dtypes[k] = site->inputs[pool->behind->operands + k - 1].dtype;
  }
  const char *extents[MAX_RANK] = {0};
  for (int i = 0; i < program->count; i++) {
    int axis = program->code[i].args[0];
    if (program->code[i].op == OP_extent) extents[axis] = points_size(points, desc_extent(pool->y, axis), true);
  }
  ProgramNames names = {
      inputs, dtypes, NULL, extents, "1ll", "v", program_is_narrow(program, program->output_count, site->outputs)};
  program_emit_cuda(text, program, &names, results);
  for (int i = 0; i < program->output_count; i++)
    text_add(text, "    stored%d[i] = %s;\n", i,
             stored_expression(arena, site->outputs[i].dtype, program->code[program->outputs[i]].dtype, results[i]));
}

// Of the window's elements the site's results, in memory.
static void add_stores(Points *points, const Pool *pool, DType natural) {
  Text *text = &points->body;
  const Site *site = pool->site;
  int count = pool->indices ? 1 : site->node->output_count;
  for (int i = 0; i < count; i++) text_add(text, "  Element_%s::Stored stored%d[V];\n", dtype_name(site->outputs[i].dtype), i);
  if (pool->behind) add_beside(points, pool);
  text_add(text,
           "  const int channel = i1;\n#pragma unroll\n  for (int i = 0; i < V; i++) {\n    const int i1 = channel + i;\n");
  add_result(points, pool);
  if (pool->behind) add_programs(points, pool);
  else
    text_add(text, "    stored0[i] = %s;\n",
             points_epilogue(points, natural, arena_printf(text->arena, "(%s)acc", value_type(natural))));
  text_add(text, "  }\n");
  for (int i = 0; i < count; i++)
    text_add(text, "  element_store<Element_%s, V, V>(y%d + (%s), stored%d);\n", dtype_name(site->outputs[i].dtype), i,
             points_offset(points, &site->outputs[i], NULL), i);
  if (pool->indices) text_add(text, "  y1[%s] = window.at[0];\n", points_offset(points, &site->outputs[1], NULL));
}

static Status emit(const Site *site, const Behind *behind, Emission *out) {
  Pool pool;
  TRY(read_pool(site, behind, &pool));
  if (desc_count(pool.y) == 0) return OK;
  bool narrow = !dtype_is_float(pool.x->dtype);  // integers pass through the epilogue as their own type
  DType natural = narrow ? pool.x->dtype : pool.sums;
  Points points = points_begin(site, out->arena, "pool", "", pool.y, pool.vector);
  text_add(&points.before, GENERATED_INCLUDES "#include \"kernels/pool/pool.cuh\"\n");
  if (!behind) TRY(epilogue_program_emit(&points.before, site, natural, &(KernelArguments){.arena = out->arena}));
  text_add(&points.body, "  constexpr int V = %d;\n  typedef %s A;\n  %s<A, V> window;\n  int inside = 0;\n", pool.vector,
           value_type(pool.sums), pool.is_max ? "PoolMax" : "PoolSum");
  add_window(&points, &pool);
  add_stores(&points, &pool, natural);
  points_end(&points, out);
  return OK;
}

static const char outside[] = "a window lies outside of the padded input";

static bool supports(const Site *site) {
  REQUIRE(site, !pool_exceeds_input(site->node, site->inputs[0].dims), outside);
  return true;
}

static Status lower(const Site *site, const Way *way, const Machine *machine, Emission *out) { return emit(site, NULL, out); }

// What programs read beside the result lies as the result does along its innermost axis, or is the same there: otherwise a step of its own, which turns it tile by tile, is faster.
static bool reads_neighbours(const Site *site, const Behind *behind) {
  const TensorDesc *y = &site->outputs[0];
  int inner = points_inner_axis(site->dims, y);
  for (int i = behind->operands; i < behind->operands + behind->beside; i++) {
    const TensorDesc *desc = &site->inputs[i];
    int own = inner - (y->rank - desc->rank);
    if (inner >= 0 && own >= 0 && desc->dims[own] > 1 && desc->strides[own] != 1) return false;
  }
  return true;
}

static bool takes_programs(const Site *site, Arena *scratch) {
  Behind behind;
  if (!behind_read(site, &op_pool, scratch, &behind)) return false;
  REQUIRE(site, dtype_is_float(site->inputs[0].dtype), "elements are no floats");
  REQUIRE(site, !pool_exceeds_input(behind.anchor, site->inputs[0].dims), outside);
  REQUIRE(site, reads_neighbours(site, &behind), "what its programs read beside the result lies in another order");
  return true;
}

static bool supports_programs(const Site *site) {
  Arena *scratch = arena_scratch();
  bool takes = takes_programs(site, scratch);
  arena_free(scratch);
  return takes;
}

static Status lower_programs(const Site *site, const Way *way, const Machine *machine, Emission *out) {
  Behind behind;
  if (!behind_read(site, &op_pool, out->arena, &behind)) FAIL(ERROR_UNSUPPORTED, "it is no pool with programs behind");
  return emit(site, &behind, out);
}

const Implementation cuda_pool = {
    .name = "pool",
    .backend = BACKEND_CUDA,
    .op = &op_pool,
    .writes_anywhere = true,
    .general = true,
    .supports = supports,
    .ways = ways,
    .lower = lower,
};
const Implementation cuda_pool_programs = {
    .name = "pool_programs",
    .backend = BACKEND_CUDA,
    .op = &op_region,
    .writes_anywhere = true,
    .supports = supports_programs,
    .ways = ways,
    .lower = lower_programs,
};
