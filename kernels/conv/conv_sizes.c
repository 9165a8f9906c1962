// See conv_sizes.h.
#include "kernels/conv/conv_sizes.h"

static const char *const axes[3] = {"d", "h", "w"};

// What is known of how a size comes to be, where it is the one that the problem has: some are merged, or those of a phase.
static Extent known(int64_t now, Extent extent) { return extent.now == now ? extent : extent_static(now); }

static bool is_static(const TensorDesc *desc) { return desc->absent || !desc_is_open(desc); }

// Of x, y and what the epilogue reads, channels are as many and lie as they do in every call.
static bool channels_are_static(const Site *site, const TensorDesc *x) {
  const TensorDesc *y = &site->outputs[0];
  bool ready = !desc_extent(x, 1).open && !desc_stride(x, 1).open && !desc_extent(y, 1).open && !desc_stride(y, 1).open;
  for (int i = site->node->input_count; i < site_input_count(site) && ready; i++) {
    const TensorDesc *operand = &site->inputs[i];
    int channels = operand->rank - y->rank + 1;
    ready = channels < 0 || (!desc_extent(operand, channels).open && !desc_stride(operand, channels).open);
  }
  return ready;
}

static bool images_are_static(const Site *site, const TensorDesc *x) {
  bool fixed = true;
  for (int i = 2; i < x->rank; i++) fixed = fixed && !desc_extent(x, i).open && !desc_extent(&site->outputs[0], i).open;
  return fixed;
}

static bool may_be_open(const Site *site, const TensorDesc *x, const ConvProblem *p) {
  if (!site->dims || !channels_are_static(site, x) || !output_rows_are_plain(site, &p->output)) return false;
  for (int i = 1; i < site->node->input_count; i++)
    if (!is_static(&site->inputs[i])) return false;
  return !p->axis[0].phases || images_are_static(site, x);  // phases end where an image does
}

static Extent rows_of(const ConvSizes *s) {
  Extent rows = s->images;
  for (int i = 0; i < 3; i++) rows = extent_mul(s->dims, rows, s->out[i]);
  return rows;
}

ConvSizes conv_sizes_static(const ConvProblem *p) {
  ConvSizes s = {.rows = extent_static(p->m), .images = extent_static(p->images), .x_image = extent_static(p->x_image)};
  for (int i = 0; i < 3; i++) {
    s.in[i] = extent_static(p->in[i]), s.out[i] = extent_static(p->out[i]);
    s.x_space[i] = extent_static(p->x_space[i]);
  }
  return s;
}

ConvSizes conv_sizes(const Site *site, const TensorDesc *x, const ConvProblem *p) {
  const TensorDesc *y = &site->outputs[0];
  ConvSizes s = conv_sizes_static(p);
  if (!may_be_open(site, x, p)) return s;
  s.dims = site->dims;
  s.images = known(p->images, desc_extent(x, 0)), s.x_image = known(p->x_image, desc_stride(x, 0));
  for (int i = 5 - x->rank; i < 3; i++) {
    int axis = i - 3 + x->rank;
    s.out[i] = known(p->out[i], desc_extent(y, axis));
    s.in[i] = p->in[i] == p->out[i] && p->in[i] != x->dims[axis] ? s.out[i] : known(p->in[i], desc_extent(x, axis));
    s.x_space[i] = known(p->x_space[i], desc_stride(x, axis));
  }
  s.rows = known(p->m, rows_of(&s));
  return s.rows.open ? s : conv_sizes_static(p);
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

void conv_sizes_round(const ConvSizes *s, TiledProduct *product) {
  if (!s->rows.open) return;
  double scale = (double)extent_to_choose_by(s->rows) / (double)MAX(s->rows.now, 1);
  product->m = extent_to_choose_by(s->rows);
  product->elements *= scale, product->before *= scale;
}
