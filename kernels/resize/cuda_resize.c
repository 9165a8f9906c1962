// resize: the tables of the reference (which input elements make an output coordinate, with which weights) go to the GPU as a packed
// constant, and a thread sums over the taps of all axes at once; the tables follow the sizes of a call, the kernel does not. So every mode and coordinate rule is one kernel and agrees with
// the reference. Where the innermost axis in memory is not resized, a thread takes a vector of neighbours.
// Traffic: the output once; input elements are read once a tap, mostly from the cache. Limit on the chip: memory bandwidth for
// nearest and linear.
#include "kernels/resize/resize.h"
#include <string.h>
#include "base/checked.h"
#include "base/half.h"
#include "kernels/common/points.h"
#include "kernels/meaning.h"

typedef struct Resize {
  const Site *site;
  const TensorDesc *x, *y;
  ResizeAxis axes[MAX_RANK];
  size_t index_at[MAX_RANK], weight_at[MAX_RANK], outside_at[MAX_RANK];  // bytes, in the packed tables
  size_t bytes;
  bool nearest, wide;  // wide: weights and sums in double
  bool open;           // a resized axis is: where tables lie are arguments
  int vector;
} Resize;

static bool crops(const Node *node) {
  return strcmp(node_string(node, "coordinates", "half_pixel"), "tf_crop_and_resize") == 0;
}

static bool supports(const Site *site) {
  REQUIRE(site, dtype_kind(site->inputs[0].dtype) != KIND_STRING, "elements are strings");
  REQUIRE(site, !crops(site->node) || (site->node->input_count > 1 && site->inputs[1].constant),
          "the region that it crops is not constant");
  return true;
}

static int ways(const Site *site, const Machine *machine, Way *out, int limit) {
  out[0] = (Way){.name = "tables"};
  return 1;
}

static Status read_resize(const Site *site, Arena *arena, Resize *r) {
  *r = (Resize){.site = site, .x = &site->inputs[0], .y = &site->outputs[0], .vector = 1};
  const Tensor *roi = site->node->input_count > 1 ? site->inputs[1].constant : NULL;
  DType dtype = r->x->dtype;
  r->nearest = strcmp(node_string(site->node, "mode", "nearest"), "nearest") == 0;
  r->wide = dtype == DTYPE_F64 || dtype_is_integer(dtype);  // so that ties of integers round as the reference's
  for (int i = 0; i < r->x->rank; i++) {
    double region[2] = {0, 1};
    if (roi && crops(site->node) && tensor_count(roi) == 2 * r->x->rank) {
      region[0] = tensor_get_f(roi, i);
      region[1] = tensor_get_f(roi, r->x->rank + i);
    }
    ResizeAxis *axis = &r->axes[i];
    TRY(resize_axis(site->node, i, r->x->dims[i], r->y->dims[i], region, arena, axis));
    if (axis->identity) continue;
    r->open |= desc_extent(r->x, i).open || desc_extent(r->y, i).open;
    size_t entries = (size_t)(axis->out * axis->taps);
    r->index_at[i] = r->bytes;
    r->weight_at[i] = align_up(r->index_at[i] + entries * sizeof(int32_t), 16);
    r->outside_at[i] = align_up(r->weight_at[i] + entries * (r->wide ? sizeof(double) : sizeof(float)), 16);
    r->bytes = align_up(r->outside_at[i] + (axis->outside ? (size_t)axis->out : 0), 16);
  }
  int inner = points_inner_axis(site->dims, r->y);
  if (inner < 0 || !r->axes[inner].identity) return OK;
  int vector = desc_vector_width(site->dims, r->x, inner, (int)MAX(16 / dtype_size(dtype), 1));
  vector = desc_vector_width(site->dims, r->y, inner, vector);
  while (vector > 1 && !desc_is_open(r->y) && desc_count(r->y) / vector < 8192) vector /= 2;
  r->vector = vector;
  return OK;
}

// --- The tables on the GPU

static Status pack_tables(const Resize *r, Emission *out, int *packed) {
  void *bytes;
  TRY(arena_try_alloc(out->arena, MAX(r->bytes, 16), 16, &bytes));
  for (int i = 0; i < r->x->rank; i++) {
    const ResizeAxis *axis = &r->axes[i];
    if (axis->identity) continue;
    size_t entries = (size_t)(axis->out * axis->taps);
    memcpy((char *)bytes + r->index_at[i], axis->index, entries * sizeof(int32_t));
    if (axis->outside) memcpy((char *)bytes + r->outside_at[i], axis->outside, (size_t)axis->out);
    for (size_t k = 0; k < entries; k++) {
      if (r->wide) ((double *)((char *)bytes + r->weight_at[i]))[k] = axis->weight[k];
      else ((float *)((char *)bytes + r->weight_at[i]))[k] = (float)axis->weight[k];
    }
  }
  int64_t size = (int64_t)MAX(r->bytes, 16);
  Tensor *table = arena_new_of(out->arena, Tensor);
  *table = (Tensor){.dtype = DTYPE_U8, .rank = 1, .dims = {size}, .data = bytes};
  Recipe *recipe = recipe_new(out->arena);
  return emit_packed(out, recipe, recipe_source(recipe, table), packed);
}

// --- Text

enum { TABLES = 3 };
static const char *const table_names[TABLES] = {"indices", "weights", "outsides"};

// Where a table of an axis lies.
static size_t table_at(const Resize *r, int axis, int table) {
  return (const size_t *const[TABLES]){r->index_at, r->weight_at, r->outside_at}[table][axis];
}
static char *place_of(Arena *arena, const Resize *r, int axis, int table) {
  if (r->open) return arena_printf(arena, "%s%d", table_names[table], axis);
  return arena_printf(arena, "%zu", table_at(r, axis, table));
}

static const char *parameters_of(Arena *arena, const Resize *r) {
  Text text = text_new(arena);
  text_add(&text, ", const char *table");
  for (int i = 0; i < r->x->rank && r->open; i++)
    for (int k = 0; k < TABLES && !r->axes[i].identity; k++) text_add(&text, ", const i64 %s%d", table_names[k], i);
  return text_get(&text);
}
static void add_arguments(Emission *out, Launch *launch, const Resize *r, int packed) {
  emit_buffer(out, launch, BUFFER_PACKED, packed);
  for (int i = 0; i < r->x->rank && r->open; i++)
    for (int k = 0; k < TABLES && !r->axes[i].identity; k++) emit_i64(out, launch, (int64_t)table_at(r, i, k));
}

// Opens the loops over the taps of the resized axes; names[i] becomes the input's coordinate along axis i.
static int open_taps(Text *text, const Resize *r, const char **names) {
  int loops = 0;
  const char *weight = "(A)1";
  for (int i = 0; i < r->x->rank; i++) {
    const ResizeAxis *axis = &r->axes[i];
    names[i] = arena_printf(text->arena, axis->identity ? "i%d" : "at%d", i);
    if (axis->identity) continue;
    text_add(text, "  for (int k%d = 0; k%d < %d; k%d++) {\n", i, i, axis->taps, i);
    text_add(text, "  const int at%d = ((const int *)(table + %s))[i%d * %d + k%d];\n", i, place_of(text->arena, r, i, 0), i,
             axis->taps, i);
    if (!r->nearest)
      text_add(text, "  const A weight%d = %s * ((const A *)(table + %s))[i%d * %d + k%d];\n", i, weight,
               place_of(text->arena, r, i, 1), i, axis->taps, i);
    weight = arena_printf(text->arena, "weight%d", i);
    loops++;
  }
  if (!r->nearest) text_add(text, "  const A weight = %s;\n", weight);
  return loops;
}

static char *outside_test(Arena *arena, const Resize *r) {
  Text text = text_new(arena);
  for (int i = 0; i < r->x->rank; i++)
    if (r->axes[i].outside && !r->axes[i].identity)
      text_add(&text, "%s((const u8 *)(table + %s))[i%d]", text.length ? " || " : "", place_of(arena, r, i, 2), i);
  return text.length ? arena_string(arena, text_get(&text)) : NULL;
}

static Status lower(const Site *site, const Way *way, const Machine *machine, Emission *out) {
  Resize resize, *r = &resize;
  if (desc_count(&site->outputs[0]) == 0) return OK;
  TRY(read_resize(site, out->arena, r));
  int packed;
  TRY(pack_tables(r, out, &packed));
  Arena *arena = out->arena;
  const char *dtype = dtype_name(r->x->dtype), *names[MAX_RANK];
  bool moves = r->nearest && !crops(site->node), integer = dtype_computes_in_int(r->x->dtype) && !moves;
  bool complex = dtype_kind(r->x->dtype) == KIND_COMPLEX;
  // What the epilogue sees: integers as their own type.
  DType natural = moves || integer ? r->x->dtype : r->wide ? DTYPE_F64 : DTYPE_F32;
  Points points = points_begin(site, arena, "resize", parameters_of(arena, r), r->y, r->vector);
  Text *text = &points.body;
  text_add(&points.before, GENERATED_INCLUDES "#include \"kernels/common/points.cuh\"\n");
  if (!complex) TRY(epilogue_program_emit(&points.before, site, natural, &(KernelArguments){.arena = out->arena}));
  text_add(
      text,
      "  constexpr int V = %d;\n  typedef %s A;\n  A sum[V];\n#pragma unroll\n  for (int i = 0; i < V; i++) sum[i] = {};\n",
      r->vector,
      moves     ? value_type(r->x->dtype)
      : r->wide ? "double"
                : "float");
  int loops = open_taps(text, r, names);
  text_add(text,
           "  A value[V];\n  load_as<Element_%s, V, V>(x0 + (%s), value);\n#pragma unroll\n  for (int i = 0; i < V; i++) ",
           dtype, points_offset(&points, r->x, names));
  text_add(text, r->nearest ? "sum[i] = value[i];\n" : "if (weight != 0) sum[i] += weight * value[i];\n");
  for (int i = 0; i < loops; i++) text_add(text, "  }\n");
  const char *outside = outside_test(arena, r);
  if (outside)
    text_add(text, "  if (%s)\n    for (int i = 0; i < V; i++) sum[i] = (A)float_of_bits(0x%08xu);\n", outside,
             float_bits((float)node_float(site->node, "extrapolation", 0)));
  int inner = points_inner_axis(site->dims, r->y);
  text_add(text, "  Element_%s::Stored stored[V];\n", dtype_name(r->y->dtype));
  if (inner >= 0) text_add(text, "  const int first = i%d;\n", inner);
  text_add(text, "#pragma unroll\n  for (int i = 0; i < V; i++) {\n");
  if (inner >= 0) text_add(text, "    const int i%d = first + i;\n", inner);
  char *acc =
      integer ? arena_printf(arena, r->x->dtype == DTYPE_BOOL ? "(sum[i] != 0)" : "element_saturate<Element_%s>(rint(sum[i]))",
                             dtype)
              : arena_string(arena, "sum[i]");
  text_add(text, "    stored[i] = %s;\n  }\n", complex ? "sum[i]" : points_epilogue(&points, natural, acc));
  text_add(text, "  element_store<Element_%s, V, V>(y0 + (%s), stored);\n", dtype_name(r->y->dtype),
           points_offset(&points, r->y, NULL));
  add_arguments(out, points_end(&points, out), r, packed);
  return OK;
}

const Implementation cuda_resize = {
    .name = "resize",
    .backend = BACKEND_CUDA,
    .op = &op_resize,
    .writes_anywhere = true,
    .general = true,
    .supports = supports,
    .ways = ways,
    .lower = lower,
};
