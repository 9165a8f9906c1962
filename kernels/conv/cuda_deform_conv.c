// deform_conv, in two launches: the moved and masked samples become columns in the workspace, [n][channel * taps][position], and a thread
// for each output element sums its weights times a column, neighbouring threads having neighbouring positions.
// Traffic: the columns once for each output channel of a group, from L2 where they fit.
#include "base/checked.h"
#include "kernels/conv/conv.h"
#include "kernels/common/points.h"
#include "kernels/meaning.h"

static bool supports(const Site *site) { return true; }

static int ways(const Site *site, const Machine *machine, Way *out, int limit) {
  out[0] = (Way){.name = "columns"};
  return 1;
}

typedef struct Deform {
  const Site *site;
  const TensorDesc *x, *w, *offset, *mask, *y;
  Window window;
  int axes;
  int64_t taps, positions, columns;  // columns: channels * taps
  const char *sums;
} Deform;

// Splits `linear` into coordinates named prefix0, prefix1 ... of these extents.
static void add_split(Text *text, const char *prefix, const char *linear, int count, const int64_t *extents) {
  int64_t inner = 1;
  for (int i = count - 1; i >= 0; i--) {
    text_add(text, "  const int %s%d = (int)(%s / %lldll %% %lldll);\n", prefix, i, linear, (long long)inner,
             (long long)MAX(extents[i], 1));
    inner *= extents[i];
  }
}

static void add_columns(Text *text, const Deform *d) {
  Arena *arena = text->arena;
  const Window *w = &d->window;
  int axes = d->axes;
  int64_t total = d->x->dims[0] * d->columns * d->positions, offset_group = node_int(d->site->node, "offset_group", 1);
  const char *names[MAX_RANK] = {"n"}, *corner[MAX_RANK] = {"n", "channel"};
  text_add(text, "extern \"C\" __global__ void __launch_bounds__(%d) deform_columns(", POINT_THREADS);
  site_parameters(text, d->site);
  text_add(text,
           ", %s *columns) {\n  begin_kernel();\n  typedef %s A;\n  const i64 point = (i64)blockIdx.x * %d + threadIdx.x;\n  "
           "if (point >= %lldll) "
           "return;\n",
           d->sums, d->sums, POINT_THREADS, (long long)total);
  text_add(text, "  const i64 position = point %% %lldll, rest = point / %lldll;\n", (long long)d->positions,
           (long long)d->positions);
  text_add(text,
           "  const int tap = (int)(rest %% %lldll), channel = (int)(rest / %lldll %% %lldll), n = (int)(rest / %lldll);\n",
           (long long)d->taps, (long long)d->taps, (long long)d->x->dims[1], (long long)d->columns);
  add_split(text, "p", "position", axes, d->y->dims + 2);
  add_split(text, "k", "tap", axes, d->w->dims + 2);
  text_add(text, "  const int place = channel / %lld * %lld + tap;\n", (long long)(d->x->dims[1] / offset_group),
           (long long)d->taps);
  for (int i = 0; i < axes; i++) names[2 + i] = arena_printf(arena, "p%d", i);
  for (int i = 0; i < axes; i++) {
    names[1] = arena_printf(arena, "(place * %d + %d)", axes, i);
    text_add(text, "  const A at%d = (A)(p%d * %lld - %lld + k%d * %lld) + (A)Element_%s::get(x2[%s]);\n", i, i,
             (long long)w->stride[i], (long long)w->pad_begin[i], i, (long long)w->dilation[i], dtype_name(d->offset->dtype),
             desc_offset(arena, d->offset, names));
    text_add(text, "  const A low%d = x_floor(at%d), part%d = at%d - low%d;\n", i, i, i, i, i);
    corner[2 + i] = arena_printf(arena, "c%d", i);
  }
  text_add(text, "  A sum = 0;\n");
  const char *weight = "(A)1";
  for (int i = 0; i < axes; i++) {
    text_add(text,
             "  for (int u%d = 0; u%d < 2; u%d++) {\n  const A q%d = low%d + u%d, f%d = %s * (u%d ? part%d : 1 - part%d);\n", i,
             i, i, i, i, i, i, weight, i, i, i);
    text_add(text, "  if (!(q%d >= 0 && q%d <= (A)%lld)) continue;\n  const int c%d = (int)q%d;\n", i, i,
             (long long)(d->x->dims[2 + i] - 1), i, i);
    weight = arena_printf(arena, "f%d", i);
  }
  text_add(text, "  if (%s != 0) sum += %s * (A)Element_%s::get(x0[%s]);\n", weight, weight, dtype_name(d->x->dtype),
           desc_offset(arena, d->x, corner));
  for (int i = 0; i < axes; i++) text_add(text, "  }\n");
  if (d->mask) {
    names[1] = "place";
    text_add(text, "  sum *= (A)Element_%s::get(x3[%s]);\n", dtype_name(d->mask->dtype), desc_offset(arena, d->mask, names));
  }
  text_add(text, "  columns[point] = sum;\n}\n");
}

static void add_product(Points *points, const Deform *d) {
  Text *text = &points->body;
  Arena *arena = text->arena;
  int64_t group = node_int(d->site->node, "group", 1), per_group = d->w->dims[1] * d->taps;
  const char *names[MAX_RANK] = {"i1", "c"};
  int64_t inner = 1;
  for (int i = d->axes - 1; i >= 0; i--) {
    names[2 + i] = arena_printf(arena, "(t / %lld %% %lld)", (long long)inner, (long long)MAX(d->w->dims[2 + i], 1));
    inner *= d->w->dims[2 + i];
  }
  text_add(text, "  typedef %s A;\n  i64 position = 0;\n", d->sums);
  for (int i = 0; i < d->axes; i++)
    text_add(text, "  position = position * %lld + i%d;\n", (long long)d->y->dims[2 + i], 2 + i);
  text_add(text, "  const A *from = columns + ((i64)i0 * %lldll + i1 / %lld * %lldll) * %lldll + position;\n  A sum = 0;\n",
           (long long)d->columns, (long long)(d->y->dims[1] / group), (long long)per_group, (long long)d->positions);
  text_add(text,
           "  for (int c = 0; c < %lld; c++)\n    for (int t = 0; t < %lld; t++) sum += (A)Element_%s::get(x1[%s]) * "
           "from[((i64)c * %lld + t) * %lldll];\n",
           (long long)d->w->dims[1], (long long)d->taps, dtype_name(d->w->dtype), points_offset(points, d->w, names),
           (long long)d->taps, (long long)d->positions);
  text_add(text, "  y0[%s] = %s;\n", points_offset(points, d->y, NULL),
           stored_expression(arena, d->y->dtype, d->x->dtype == DTYPE_F64 ? DTYPE_F64 : DTYPE_F32, "sum"));
}

static Status lower(const Site *site, const Way *way, const Machine *machine, Emission *out) {
  Deform deform = {.site = site,
                   .x = &site->inputs[0],
                   .w = &site->inputs[1],
                   .offset = &site->inputs[2],
                   .y = &site->outputs[0]},
         *d = &deform;
  if (site->node->input_count > 3 && !site->inputs[3].absent) d->mask = &site->inputs[3];
  if (desc_count(d->y) == 0) return OK;
  Dim kernel[MAX_RANK];
  d->axes = d->x->rank - 2;
  d->taps = d->positions = 1;
  for (int i = 0; i < d->axes; i++) {
    kernel[i] = d->w->dims[2 + i];
    d->taps *= d->w->dims[2 + i];
    d->positions *= d->y->dims[2 + i];
  }
  TRY(window_read(site->node, d->axes, kernel, &d->window));
  d->columns = d->x->dims[1] * d->taps;
  d->sums = d->x->dtype == DTYPE_F64 ? "double" : "float";
  int64_t total = d->x->dims[0] * d->columns * d->positions;
  out->workspace_bytes = MAX(out->workspace_bytes, (size_t)total * (d->x->dtype == DTYPE_F64 ? 8 : 4));
  const char *columns = arena_printf(out->arena, ", const %s *columns", d->sums);
  Points points = points_begin(site, out->arena, "deform_product", columns, d->y, 1);
  text_add(&points.before, GENERATED_INCLUDES);
  add_columns(&points.before, d);
  add_product(&points, d);
  const char *source = points_source(&points);
  if (total > 0) {
    unsigned grid[3] = {(unsigned)ceil_div(total, POINT_THREADS), 1, 1};
    Launch *launch = emit_kernel(out, source, "deform_columns", grid, (unsigned[]){POINT_THREADS, 1, 1});
    site_arguments(out, launch, site);
    emit_workspace(out, launch, 0);
  }
  emit_workspace(out, points_launch(&points, source, out), 0);
  return OK;
}

const Implementation cuda_deform_conv = {
    .name = "deform_conv",
    .backend = BACKEND_CUDA,
    .op = &op_deform_conv,
    .general = true,
    .supports = supports,
    .ways = ways,
    .lower = lower,
};
