// Convolutions and transposed ones on the CPU without oneDNN, and those of integers (cpu_gemm.h): images with the channels innermost, a row of
// the product for each position, its addresses one for each tap. A transposed convolution is one such product for each phase of its
// stride: positions of one phase see the same taps. Where each channel has a kernel of its own, vectors run along the channels.
#include <string.h>
#include "base/checked.h"
#include "kernels/packings.h"
#include "kernels/common/cpu_own.h"
#include "kernels/conv/conv.h"
#include "kernels/conv/cpu_conv.h"

enum { AXES = 3, MOST_PHASES = 64 };

// Along one axis of one phase: output q lies at first + q * step, and tap t of it at q * stride + offset[t].
typedef struct AxisTaps {
  int64_t first, step, count, stride;
  int taps;
  int64_t *kernel, *offset;  // of each tap
} AxisTaps;

typedef struct Phase {
  AxisTaps axes[AXES];
  int64_t taps, positions;
  int64_t (*offsets)[AXES];       // of each tap
  int64_t low[AXES], high[AXES];  // the least and the greatest of them
  int64_t *linear;                // the same in bytes of the image
  size_t packed_at;
} Phase;

typedef struct OwnConv {
  CpuOwn own;
  bool transposed, by_channel;
  int64_t images, groups, in, out;  // channels of a group
  int64_t x_dims[AXES], y_dims[AXES], kernel[AXES];
  int64_t w_first, w_second, w_kernel[AXES];            // strides of the weights, in elements
  int64_t unit_bytes;                                   // of an element of x
  int64_t x_group, x_pixel, x_image, y_pixel, y_image;  // in bytes
  int phase_count;
  Phase *phases;
  size_t packed_bytes, packed_at;
  char *packed;  // NULL: packed in each run
  void *zeros;   // what lies outside of the image: of quads the zero point
  int32_t zero;
} OwnConv;

static Status read_geometry(const Site *site, Window *window) {
  const TensorDesc *w = &site->inputs[1];
  Dim kernel[MAX_RANK];
  for (int i = 2; i < w->rank; i++) kernel[i - 2] = w->dims[i];
  return window_read(site->node, w->rank - 2, kernel, window);
}

static bool supports(const Site *site) {
  const TensorDesc *x = &site->inputs[0];
  Window window;
  REQUIRE(site, x->rank <= 5, "it has more than three spatial axes");
  if (!cpu_own_supports(site)) return false;
  Status status = read_geometry(site, &window);
  bool fine = !status;
  status_free(status);
  REQUIRE(site, fine, "its window cannot be read");
  int64_t taps = 1, phases = 1;
  for (int i = 0; i < window.axes && fine; i++) {
    REQUIRE(site, window.kernel[i] <= GEMM_MOST_TAPS && window.stride[i] <= MOST_PHASES,
            "its windows or strides are too large");
    taps *= window.kernel[i];
    phases *= window.stride[i];
    fine = taps <= GEMM_MOST_TAPS && (site->node->op == &op_conv || phases <= MOST_PHASES);
  }
  REQUIRE(site, fine, "its windows or strides are too large");
  return true;
}

// ---- Geometry ---------------------------------------------------------------------------------------------------------------

static void axis_of_conv(AxisTaps *axis, Arena *arena, int64_t count, int64_t kernel, int64_t stride, int64_t dilation,
                         int64_t pad) {
  *axis = (AxisTaps){.step = 1, .count = count, .stride = stride, .taps = (int)kernel};
  axis->kernel = arena_array(arena, int64_t, (size_t)kernel), axis->offset = arena_array(arena, int64_t, (size_t)kernel);
  for (int k = 0; k < kernel; k++) axis->kernel[k] = k, axis->offset[k] = k * dilation - pad;
}

// Output o takes kernel element k from input i where o + pad = i * stride + k * dilation.
static void axis_of_phase(AxisTaps *axis, Arena *arena, int64_t phase, int64_t count, int64_t kernel, int64_t stride,
                          int64_t dilation, int64_t pad) {
  *axis = (AxisTaps){.first = phase, .step = stride, .count = MAX(ceil_div(count - phase, stride), 0), .stride = 1};
  axis->kernel = arena_array(arena, int64_t, (size_t)kernel), axis->offset = arena_array(arena, int64_t, (size_t)kernel);
  for (int64_t k = 0; k < kernel; k++) {
    int64_t reach = phase + pad - k * dilation;
    if (reach % stride) continue;
    axis->kernel[axis->taps] = k;
    axis->offset[axis->taps++] = reach / stride;
  }
}

static void finish_phase(OwnConv *conv, Phase *phase) {
  const AxisTaps *a = phase->axes;
  phase->taps = (int64_t)a[0].taps * a[1].taps * a[2].taps;
  phase->positions = a[0].count * a[1].count * a[2].count;
  phase->offsets = (int64_t(*)[AXES])arena_array(conv->own.arena, int64_t, (size_t)(phase->taps * AXES + 1));
  phase->linear = arena_array(conv->own.arena, int64_t, (size_t)phase->taps + 1);
  for (int64_t t = 0; t < phase->taps; t++) {
    int64_t *offset = phase->offsets[t];
    offset[0] = a[0].offset[t / (a[1].taps * a[2].taps)];
    offset[1] = a[1].offset[t / a[2].taps % a[1].taps];
    offset[2] = a[2].offset[t % a[2].taps];
    for (int i = 0; i < AXES; i++) {
      phase->low[i] = t ? MIN(phase->low[i], offset[i]) : offset[i];
      phase->high[i] = t ? MAX(phase->high[i], offset[i]) : offset[i];
    }
    phase->linear[t] = ((offset[0] * conv->x_dims[1] + offset[1]) * conv->x_dims[2] + offset[2]) * conv->x_pixel;
  }
}

static void make_phases(OwnConv *conv, const Window *window) {
  int64_t counts[AXES] = {1, 1, 1}, skipped = AXES - window->axes;
  for (int i = 0; i < window->axes && conv->transposed; i++) counts[skipped + i] = window->stride[i];
  conv->phase_count = (int)(counts[0] * counts[1] * counts[2]);
  conv->phases = arena_array(conv->own.arena, Phase, (size_t)conv->phase_count);
  for (int p = 0; p < conv->phase_count; p++) {
    int64_t index[AXES] = {p / (counts[1] * counts[2]), p / counts[2] % counts[1], p % counts[2]};
    for (int i = 0; i < AXES; i++) {
      AxisTaps *axis = &conv->phases[p].axes[i];
      int own = i - (int)skipped;
      int64_t kernel = conv->kernel[i];
      if (own < 0) axis_of_conv(axis, conv->own.arena, 1, 1, 1, 1, 0);
      else if (conv->transposed)
        axis_of_phase(axis, conv->own.arena, index[i], conv->y_dims[i], kernel, window->stride[own], window->dilation[own],
                      window->pad_begin[own]);
      else
        axis_of_conv(axis, conv->own.arena, conv->y_dims[i], kernel, window->stride[own], window->dilation[own],
                     window->pad_begin[own]);
    }
    finish_phase(conv, &conv->phases[p]);
  }
}

// ---- Weights ----------------------------------------------------------------------------------------------------------------

// Weights lie as [outputs, inputs of a group, kernel], transposed ones as [inputs, outputs of a group, kernel].
static int64_t kernel_offset(const OwnConv *conv, const Phase *phase, int64_t tap) {
  const AxisTaps *a = phase->axes;
  int64_t k0 = a[0].kernel[tap / (a[1].taps * a[2].taps)], k1 = a[1].kernel[tap / a[2].taps % a[1].taps],
          k2 = a[2].kernel[tap % a[2].taps];
  return k0 * conv->w_kernel[0] + k1 * conv->w_kernel[1] + k2 * conv->w_kernel[2];
}

static void pack_phase(const OwnConv *conv, const Phase *phase, const char *weights, ThreadPool *pool, char *packed) {
  int64_t offsets[GEMM_MOST_TAPS], group = (conv->transposed ? conv->in : conv->out) * conv->w_first;
  for (int64_t t = 0; t < phase->taps; t++) offsets[t] = kernel_offset(conv, phase, t);
  if (conv->by_channel) {
    int32_t *to = (int32_t *)(void *)(packed + phase->packed_at);
    for (int64_t t = 0; t < phase->taps; t++)
      for (int64_t c = 0; c < conv->groups; c++)
        to[t * conv->groups + c] = ((const int32_t *)(const void *)weights)[c * conv->w_first + offsets[t]];
    return;
  }
  size_t bytes = align_up(gemm_packed_bytes(conv->own.kind, phase->taps, conv->in, conv->out), 64);
  for (int64_t g = 0; g < conv->groups; g++) {
    GemmSource source = {.data = weights + g * group * 4,
                         .taps = phase->taps,
                         .depth = conv->in,
                         .columns = conv->out,
                         .tap_offsets = offsets,
                         .depth_stride = conv->transposed ? conv->w_first : conv->w_second,
                         .column_stride = conv->transposed ? conv->w_second : conv->w_first};
    if (phase->taps) gemm_pack(conv->own.kind, &source, pool, packed + phase->packed_at + (size_t)g * bytes);
  }
}

static void pack(const OwnConv *conv, const char *weights, ThreadPool *pool, char *packed) {
  for (int p = 0; p < conv->phase_count; p++) pack_phase(conv, &conv->phases[p], weights, pool, packed);
}

static Status fill_packed(void *context, void *out) {
  const OwnConv *conv = context;
  Arena *scratch = arena_scratch();
  const void *weights;
  Status status = cpu_own_constant(&conv->own, scratch, &weights);
  if (!status) pack(conv, weights, conv->own.pool, out);
  arena_free(scratch);
  return status;
}

static Hash128 packed_form(const OwnConv *conv) {
  int64_t head[] = {conv->own.kind, conv->transposed, conv->by_channel, conv->groups, conv->in, conv->out};
  Hash128 form = cpu_own_form(&conv->own, head, sizeof head);
  for (int p = 0; p < conv->phase_count; p++) {
    int64_t place[] = {conv->phases[p].taps, (int64_t)conv->phases[p].packed_at};
    form = hash128_combine(form, hash128_bytes(place, sizeof place));
    for (int64_t t = 0; t < conv->phases[p].taps; t++) {
      int64_t offset = kernel_offset(conv, &conv->phases[p], t);
      form = hash128_combine(form, hash128_bytes(&offset, sizeof offset));
    }
  }
  return form;
}

static Status place_weights(OwnConv *conv, const Tensor *constant) {
  for (int p = 0; p < conv->phase_count; p++) {
    Phase *phase = &conv->phases[p];
    size_t bytes = conv->by_channel ? (size_t)(phase->taps * conv->groups) * 4
                                    : align_up(gemm_packed_bytes(conv->own.kind, phase->taps, conv->in, conv->out), 64) *
                                          (size_t)conv->groups;
    phase->packed_at = conv->packed_bytes;
    conv->packed_bytes += align_up(bytes, 64);
  }
  if (!constant) {
    conv->packed_at = cpu_own_reserve(&conv->own, conv->packed_bytes);
    return OK;
  }
  return packing_take(&conv->own.site, constant, packed_form(conv), conv->packed_bytes, fill_packed, conv, conv->own.arena,
                      (void **)&conv->packed);
}

// ---- Preparing --------------------------------------------------------------------------------------------------------------

// x with the channels innermost and each group's filled up to whole units: the axis of channels is seen as two.
static void stage_x(OwnConv *conv) {
  const TensorDesc *x = &conv->own.site.inputs[0];
  int64_t padded = (int64_t)align_up(conv->in, gemm_unit_elements(conv->own.kind)), stride = conv->groups * padded;
  TensorDesc from = *x, to;
  from.rank = x->rank + 1;
  memmove(from.dims + 3, x->dims + 2, sizeof(int64_t) * (size_t)(x->rank - 2));
  memmove(from.strides + 3, x->strides + 2, sizeof(int64_t) * (size_t)(x->rank - 2));
  from.dims[1] = conv->groups, from.dims[2] = conv->in;
  from.strides[1] = x->strides[1] * conv->in, from.strides[2] = x->strides[1];
  to = from;
  to.dtype = cpu_own_dtype(conv->own.kind);
  to.offset = 0;
  to.strides[1] = padded, to.strides[2] = 1;
  for (int i = from.rank - 1; i >= 3; i--) to.strides[i] = stride, stride *= to.dims[i];
  to.strides[0] = stride;
  conv->unit_bytes = (int64_t)dtype_size(to.dtype);
  conv->x_group = padded * conv->unit_bytes;
  conv->x_pixel = conv->groups * conv->x_group;
  conv->x_image = stride * conv->unit_bytes;
  cpu_own_stage(&conv->own, &from, &to, (size_t)(x->dims[0] * conv->x_image));
}

static Status open_state(const HostParameters *parameters, Arena *arena, ThreadPool *pool, void **state,
                         size_t *workspace_bytes) {
  const Site *site = parameters->site;
  OwnConv *conv = arena_new_of(arena, OwnConv);
  const TensorDesc *x = &site->inputs[0], *w = &site->inputs[1], *y = &site->outputs[0];
  Window window;
  int64_t strides[MAX_RANK];
  TRY(read_geometry(site, &window));
  TRY(cpu_own_new(site, arena, pool, &conv->own));
  conv->transposed = site->node->op == &op_conv_transpose;
  conv->images = x->dims[0];
  conv->groups = node_int(site->node, "group", 1);
  conv->in = x->dims[1] / conv->groups, conv->out = y->dims[1] / conv->groups;
  conv->by_channel = conv->in == 1 && conv->out == 1 && conv->groups > 1;
  if (conv->by_channel && conv->own.kind != GEMM_FLOATS) conv->own.kind = GEMM_INTS;
  if (w->constant) dims_strides(w->rank, w->dims, strides);
  else memcpy(strides, w->strides, sizeof strides);
  conv->w_first = strides[0], conv->w_second = strides[1];
  for (int i = 0; i < AXES; i++) {
    int own = i - (AXES - window.axes);
    conv->w_kernel[i] = own < 0 ? 0 : strides[2 + own];
    conv->x_dims[i] = own < 0 ? 1 : x->dims[2 + own];
    conv->y_dims[i] = own < 0 ? 1 : y->dims[2 + own];
    conv->kernel[i] = own < 0 ? 1 : w->dims[2 + own];
  }
  stage_x(conv);
  cpu_image_strides(y->rank, y->dims, true, strides);
  cpu_own_result(&conv->own, strides, desc_is_channels_last(y));
  conv->y_pixel = y->dims[1] * 4;
  conv->y_image = conv->y_dims[0] * conv->y_dims[1] * conv->y_dims[2] * conv->y_pixel;
  conv->zeros = arena_array(arena, char, (size_t)conv->x_pixel);
  make_phases(conv, &window);
  TRY(place_weights(conv, w->constant));
  cpu_own_finish(&conv->own);
  *state = conv;
  *workspace_bytes = conv->own.workspace_bytes;
  return OK;
}

// ---- Running ----------------------------------------------------------------------------------------------------------------

typedef struct Place {
  const OwnConv *conv;
  const Phase *phase;
  const char *x;  // of one image and group
  char *y;
  const char *packed;
} Place;

static const void *tap_address(const Place *place, const int64_t *at, int64_t pixel, int64_t tap) {
  const OwnConv *conv = place->conv;
  const int64_t *offset = place->phase->offsets[tap];
  for (int i = 0; i < AXES; i++)
    if ((uint64_t)(at[i] + offset[i]) >= (uint64_t)conv->x_dims[i]) return conv->zeros;
  return place->x + pixel + place->phase->linear[tap];
}

static bool sees_image_only(const Place *place, const int64_t *at) {
  const Phase *phase = place->phase;
  for (int i = 0; i < AXES; i++)
    if (at[i] + phase->low[i] < 0 || at[i] + phase->high[i] >= place->conv->x_dims[i]) return false;
  return true;
}

static void locate_row(const Place *place, const int64_t *q, int row, const void **a, void **y) {
  const OwnConv *conv = place->conv;
  const Phase *phase = place->phase;
  const AxisTaps *axes = phase->axes;
  int64_t at[AXES] = {q[0] * axes[0].stride, q[1] * axes[1].stride, q[2] * axes[2].stride};
  int64_t pixel = ((at[0] * conv->x_dims[1] + at[1]) * conv->x_dims[2] + at[2]) * conv->x_pixel;
  if (sees_image_only(place, at))
    for (int64_t tap = 0; tap < phase->taps; tap++) a[tap * GEMM_MOST_ROWS + row] = place->x + pixel + phase->linear[tap];
  else
    for (int64_t tap = 0; tap < phase->taps; tap++) a[tap * GEMM_MOST_ROWS + row] = tap_address(place, at, pixel, tap);
  int64_t o0 = axes[0].first + q[0] * axes[0].step, o1 = axes[1].first + q[1] * axes[1].step,
          o2 = axes[2].first + q[2] * axes[2].step;
  y[row] = place->y + ((o0 * conv->y_dims[1] + o1) * conv->y_dims[2] + o2) * conv->y_pixel;
}

static void locate(const void *context, int64_t first, int count, const void **a, void **y) {
  const Place *place = context;
  const AxisTaps *axes = place->phase->axes;
  int64_t rest = first / axes[2].count, q[AXES] = {rest / axes[1].count, rest % axes[1].count, first % axes[2].count};
  for (int r = 0; r < count; r++) {
    locate_row(place, q, r, a, y);
    if (++q[2] < axes[2].count) continue;
    q[2] = 0;
    if (++q[1] < axes[1].count) continue;
    q[1] = 0, q[0]++;
  }
}

static void run_channels(void *context, int64_t begin, int64_t end) {
  const Place *place = context;
  const OwnConv *conv = place->conv;
  const void *a[GEMM_MOST_TAPS * GEMM_MOST_ROWS], *taps[GEMM_MOST_TAPS];
  void *y[GEMM_MOST_ROWS];
  for (int64_t row = begin; row < end; row++) {
    locate(place, row, 1, a, y);
    for (int64_t tap = 0; tap < place->phase->taps; tap++) taps[tap] = a[tap * GEMM_MOST_ROWS];
    gemm_table_best()->channels[conv->own.kind](place->phase->taps, conv->groups, taps, place->packed, y[0]);
  }
}

static void run_phase(const OwnConv *conv, const Phase *phase, const char *x, char *y, const char *packed, ThreadPool *pool) {
  enum { GRAIN = 1 << 14 };
  Place place = {conv, phase, x, y, packed + phase->packed_at};
  if (conv->by_channel) {
    parallel_for(pool, phase->positions, MAX(GRAIN / MAX(phase->taps * conv->groups, (int64_t)1), (int64_t)1), run_channels,
                 &place);
    return;
  }
  size_t bytes = align_up(gemm_packed_bytes(conv->own.kind, phase->taps, conv->in, conv->out), 64);
  for (int64_t g = 0; g < conv->groups; g++) {
    place.x = x + g * conv->x_group;
    place.y = y + g * conv->out * 4;
    GemmProblem problem = {.kind = conv->own.kind,
                           .rows = phase->positions,
                           .columns = conv->out,
                           .taps = phase->taps,
                           .depth = conv->in,
                           .packed = packed + phase->packed_at + (size_t)g * bytes,
                           .zero = conv->zero,
                           .locate = locate,
                           .context = &place};
    gemm_run(&problem, pool);
  }
}

static void set_zero(OwnConv *conv, int32_t zero) {
  if (zero == conv->zero) return;
  conv->zero = zero;
  for (int64_t g = 0; g < conv->groups; g++) memset((char *)conv->zeros + g * conv->x_group, zero, (size_t)conv->in);
}

static Status run(void *state, const HostCall *call) {
  OwnConv *conv = state;
  if (conv->own.kind == GEMM_QUADS) set_zero(conv, cpu_own_zero(&conv->own, call));
  const char *x = cpu_own_x(&conv->own, call);
  char *y = cpu_own_y(&conv->own, call), *packed = conv->packed;
  if (!packed) pack(conv, call->inputs[1], call->pool, packed = (char *)call->workspace + conv->packed_at);
  for (int64_t n = 0; n < conv->images; n++)
    for (int p = 0; p < conv->phase_count; p++)
      run_phase(conv, &conv->phases[p], x + n * conv->x_image, y + n * conv->y_image, packed, call->pool);
  cpu_own_pass(&conv->own, call);
  return OK;
}

static const HostRoutine routine = {"gemm_conv", open_state, run};

const Implementation cpu_own_conv = {
    .name = "gemm_conv",
    .backend = BACKEND_CPU,
    .op = &op_conv,
    .supports = supports,
    .ways = one_way,
    .share = 0.4,
    .host = &routine,
};
const Implementation cpu_own_conv_transpose = {
    .name = "gemm_conv_transpose",
    .backend = BACKEND_CPU,
    .op = &op_conv_transpose,
    .supports = supports,
    .ways = one_way,
    .share = 0.4,
    .host = &routine,
};
