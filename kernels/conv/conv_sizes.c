// See conv_sizes.h.
#include "kernels/conv/conv_sizes.h"

static const char *const axes[3] = {"d", "h", "w"};

// What is known of how a size comes to be, where it is the one that the problem has: some are merged, or those of a phase.
static Extent known(int64_t now, Extent extent) { return extent.now == now ? extent : extent_static(now); }

static bool is_static(const TensorDesc *desc) { return desc->absent || !desc_is_open(desc); }

static bool channel_is_static(const TensorDesc *desc, int axis) {
  return axis < 0 || (!desc_extent(desc, axis).open && !desc_stride(desc, axis).open);
}

// Channels of y and of what the epilogue reads lie as they do in every call, and so do rows beside each other.
static bool output_is_plain(const Site *site, const ConvProblem *p) {
  const TensorDesc *y = &site->outputs[0];
  bool plain = channel_is_static(y, 1) && output_rows_are_plain(site, &p->output);
  for (int i = site->node->input_count; i < site_input_count(site) && plain; i++)
    plain = channel_is_static(&site->inputs[i], site->inputs[i].rank - y->rank + 1);
  return plain;
}

static bool may_be_open(const Site *site, const TensorDesc *x) {
  if (!site->dims || desc_extent(x, 1).open || desc_extent(&site->outputs[0], 1).open) return false;
  for (int i = 1; i < site->node->input_count; i++)
    if (!is_static(&site->inputs[i])) return false;
  return true;
}

static Extent rows_of(const ConvSizes *s) {
  Extent rows = s->images;
  for (int i = 0; i < 3; i++) rows = extent_mul(s->dims, rows, s->out[i]);
  return rows;
}

ConvSizes conv_sizes_static(const ConvProblem *p) {
  ConvSizes s = {.rows = extent_static(p->m),
                 .images = extent_static(p->images),
                 .x_image = extent_static(p->x_image),
                 .x_channel = extent_static(p->x_channel)};
  for (int i = 0; i < 3; i++) {
    s.in[i] = extent_static(p->in[i]), s.out[i] = extent_static(p->out[i]);
    s.x_space[i] = extent_static(p->x_space[i]);
  }
  return s;
}

ConvSizes conv_sizes(const Site *site, const TensorDesc *x, const ConvProblem *p) {
  const TensorDesc *y = &site->outputs[0];
  ConvSizes s = conv_sizes_static(p);
  if (!may_be_open(site, x)) return s;
  s.dims = site->dims;
  s.images = known(p->images, desc_extent(x, 0)), s.x_image = known(p->x_image, desc_stride(x, 0));
  s.x_channel = known(p->x_channel, desc_stride(x, 1));
  for (int i = 5 - x->rank; i < 3; i++) {
    int axis = i - 3 + x->rank;
    Extent out = desc_extent(y, axis);
    s.out[i] = known(p->out[i], p->axis[i].phases ? extent_ceil_div(s.dims, out, p->axis[i].stride) : out);
    s.in[i] = p->in[i] == p->out[i] && p->in[i] != x->dims[axis] ? s.out[i] : known(p->in[i], desc_extent(x, axis));
    s.x_space[i] = known(p->x_space[i], desc_stride(x, axis));
  }
  s.rows = known(p->m, rows_of(&s));
  if (!s.rows.open) return conv_sizes_static(p);
  if (!output_is_plain(site, p)) s.output = s.dims;
  return s;
}

OutputWalk conv_sizes_output(const Site *site, const ConvProblem *p, const ConvSizes *s) {
  OutputWalk walk = p->output;
  int rank = site->outputs[0].rank;
  if (!s->output) return walk;
  walk.row = (Walk){0};
  walk_add_extent(&walk.row, 0, s->images, 1);
  for (int i = 5 - rank; i < 3; i++)
    walk_add_extent(&walk.row, i - 3 + rank, s->out[i], p->axis[i].phases ? p->axis[i].stride : 1);
  return walk;
}

ConvSizes conv_sizes_of_image(const Site *site, const ConvProblem *p) {
  ConvSizes s = conv_sizes(site, &site->inputs[0], p);
  for (int i = 0; i < 3; i++) s.out[i] = s.in[i];
  s.rows = rows_of(&s);
  return s;
}

ConvSizes conv_sizes_of_strips(const ConvSizes *sizes, int width) {
  ConvSizes s = *sizes;
  s.out[2] = extent_ceil_div(s.dims, s.out[2], width);
  s.rows = rows_of(&s);
  return s;
}

static void emit_size(Text *text, const char *type, const char *name, const char *axis, const char *value) {
  text_add(text, "  __device__ __forceinline__ %s %s%s() const { return %s; }\n", type, name, axis, value);
}
static void emit_division(Text *text, const char *name, Extent by, KernelArguments *arguments) {
  text_add(text, "  __device__ __forceinline__ u32 %s(u32 n) const { return %s; }\n", name,
           extent_divide(arguments, "n", by, false));
}

const char *conv_sizes_emit(Text *text, const char *name, const ConvSizes *s, KernelArguments *arguments) {
  Text members = text_new(text->arena);
  emit_size(&members, "int", "rows", "", extent_text(arguments, s->rows, false));
  emit_size(&members, "i64", "x_image", "", extent_text(arguments, s->x_image, true));
  emit_size(&members, "i64", "x_c", "", extent_text(arguments, s->x_channel, true));
  for (int i = 0; i < 3; i++) {
    emit_size(&members, "int", "in_", axes[i], extent_text(arguments, s->in[i], false));
    emit_size(&members, "int", "out_", axes[i], extent_text(arguments, s->out[i], false));
    emit_size(&members, "i64", "x_", axes[i], extent_text(arguments, s->x_space[i], true));
  }
  Extent plane = extent_mul(s->dims, s->out[2], s->out[1]);
  emit_division(&members, "by_out_line", s->out[2], arguments);
  emit_division(&members, "by_out_plane", plane, arguments);
  emit_division(&members, "by_out_image", extent_mul(s->dims, plane, s->out[0]), arguments);
  text_add(text, "struct %s {\n%s%s};\n", name, s->rows.open ? "  Dims dims;\n" : "", text_get(&members));
  return arena_printf(text->arena, "%s{%s}", name, s->rows.open ? "dims" : "");
}

void conv_sizes_round(const ConvSizes *s, Rung rung, TiledProduct *product) {
  if (!s->rows.open) return;
  double scale = (double)extent_at(s->rows, rung) / (double)MAX(s->rows.now, 1);
  product->m = extent_at(s->rows, rung);
  product->elements *= scale, product->before *= scale;
}
