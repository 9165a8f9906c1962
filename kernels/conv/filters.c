// Packed filters, see conv_problem.h: what kernels read, as recipes over the model's.
#include "base/checked.h"
#include "kernels/conv/conv_problem.h"

// [group][filter][channel][tap], or of a transposed convolution [group][channel][filter][tap], as [group][filter][tap][channel]; zeros for channels
// that the kernel has more.
static Value *taps_first(Recipe *recipe, const Site *site, const ConvProblem *p, bool transposed) {
  const Tensor *w = site->inputs[1].constant;
  int64_t channels = transposed ? p->channels : w->dims[1];
  const Dim own[] = {p->groups, p->filters, channels, p->taps}, turned[] = {p->groups, channels, p->filters, p->taps};
  Value *x = build_reshape(&recipe->b, recipe_source(recipe, w), 4, transposed ? turned : own);
  if (!transposed) x = recipe_pad(recipe, x, 2, p->channels);
  return build_transpose(&recipe->b, x, transposed ? (const int[]){0, 2, 3, 1} : (const int[]){0, 1, 3, 2});
}

static Status add_lines(Emission *emission, Recipe *recipe, Value *x, int64_t pitch, int *packed) {
  return emit_packed(emission, recipe, recipe_pad(recipe, x, x ? x->rank - 1 : 0, pitch), packed);
}

// A transposed convolution's: `blocks` lines of `taps` for each filter, in which places say where a kernel's tap goes; the others are zeros.
static Status add_places(Emission *emission, const Site *site, const ConvProblem *p, const TapPlace *places, int64_t count,
                         int64_t blocks, int64_t taps, int64_t pitch, int *packed) {
  Recipe *recipe = recipe_new(emission->arena);
  Builder *b = &recipe->b;
  Tensor kernel;
  TRY(tensor_new(emission->arena, DTYPE_I64, 1, (int64_t[]){blocks * taps}, &kernel));
  int64_t *tap_of = kernel.data;
  for (int64_t i = 0; i < blocks * taps; i++) tap_of[i] = p->taps;
  for (int64_t i = 0; i < count; i++) tap_of[places[i].block * taps + places[i].tap] = places[i].kernel;
  Value *x = taps_first(recipe, site, p, true);
  if (count < blocks * taps) x = recipe_pad(recipe, x, 2, p->taps + 1);
  x = build_gather(b, x, build_constant(b, &kernel), 2);
  x = build_reshape(b, x, 4, (const Dim[]){p->groups, p->filters, blocks, taps * p->channels});
  x = build_transpose(b, x, (const int[]){0, 2, 1, 3});
  return add_lines(emission, recipe, x, pitch, packed);
}

static int64_t padded_line(const ConvProblem *p, int pad) { return (p->taps * p->channels + pad - 1) / pad * pad; }

Status conv_pack_filters(Emission *emission, const Site *site, const ConvProblem *p, int pad, int64_t *pitch, int *packed) {
  *pitch = padded_line(p, pad);
  if (p->phased) {
    TapPlace *places;
    int64_t count = phases_places(p->axis, emission->arena, &places);
    return add_places(emission, site, p, places, count, 1, p->taps, *pitch, packed);
  }
  Recipe *recipe = recipe_new(emission->arena);
  Value *x = taps_first(recipe, site, p, false);
  x = build_reshape(&recipe->b, x, 3, (const Dim[]){p->groups, p->filters, p->taps * p->channels});
  return add_lines(emission, recipe, x, *pitch, packed);
}

Status conv_pack_merged(Emission *emission, const Site *site, const ConvProblem *phased, const MergedPhases *merged,
                        const ConvProblem *p, int pad, int64_t *pitch, int *packed) {
  TapPlace *places;
  *pitch = padded_line(p, pad);
  int64_t count = merged_places(phased->axis, merged, emission->arena, &places);
  return add_places(emission, site, phased, places, count, phased->phases, p->taps, *pitch, packed);
}

// [joined][group][filter][tap][channel] with the channels of each group behind those of the groups before it: a line of count + 1 groups' channels
// for each, of which the first, cut off the end, shifts every line by a group.
Status conv_pack_joined(Emission *emission, const Site *site, const ConvProblem *apart, const ConvProblem *p, int pad,
                        int64_t *pitch, int *packed) {
  const int64_t count = apart->groups / p->groups, channels = p->channels, lines = apart->filters * p->taps;
  Recipe *recipe = recipe_new(emission->arena);
  Builder *b = &recipe->b;
  *pitch = padded_line(p, pad);
  Value *x = taps_first(recipe, site, apart, false);
  x = build_reshape(b, x, 4, (const Dim[]){p->groups, count, lines, apart->channels});
  x = recipe_pad(recipe, build_transpose(b, x, (const int[]){0, 2, 1, 3}), 3, channels + apart->channels);
  x = build_reshape(b, x, 3, (const Dim[]){p->groups, lines, count * (channels + apart->channels)});
  x = build_slice(b, x, (const Dim[]){0, 0, 0}, (const int64_t[]){1, 1, 1}, (const Dim[]){p->groups, lines, count * channels});
  x = build_reshape(b, x, 4, (const Dim[]){p->groups, lines, count, channels});
  x = build_transpose(b, x, (const int[]){0, 2, 1, 3});
  x = build_reshape(b, x, 3, (const Dim[]){p->groups, p->filters, p->taps * channels});
  return add_lines(emission, recipe, x, *pitch, packed);
}

Status conv_pack_depthwise(Emission *emission, const Site *site, const ConvProblem *p, int *packed) {
  Recipe *recipe = recipe_new(emission->arena);
  Value *x = build_reshape(&recipe->b, recipe_source(recipe, site->inputs[1].constant), 2, (const Dim[]){p->groups, p->taps});
  return emit_packed(emission, recipe, build_transpose(&recipe->b, x, (const int[]){1, 0}), packed);
}
