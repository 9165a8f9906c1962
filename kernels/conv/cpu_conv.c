// Convolutions and transposed convolutions on the CPU, by oneDNN: f32, narrower floats through f32 copies. Images are read and written with the
// channels innermost where one of them lies so already; row-major images stay so, if oneDNN has a fast way for them, which
// is half as fast but saves two copies. Constant weights are packed once into the layout the chosen kernel wants.
#include "kernels/conv/cpu_conv.h"
#include <string.h>
#include "kernels/conv/conv.h"

// large[i] and small[i] are the sizes along the spatial axes of what the window slides over and of its positions: pad_end is set so that they fit,
// whatever output_padding made of them.
static OnednnWindow window_of(const Window *window, const int64_t *large, const int64_t *small) {
  OnednnWindow out = {0};
  for (int i = 0; i < window->axes; i++) {
    out.strides[i] = window->stride[i];
    out.dilations[i] = window->dilation[i] - 1;
    out.pad_begin[i] = window->pad_begin[i];
    int64_t reach = (small[i] - 1) * window->stride[i] + (window->kernel[i] - 1) * window->dilation[i] + 1;
    out.pad_end[i] = MAX(reach - large[i] - window->pad_begin[i], (int64_t)0);
  }
  return out;
}

void cpu_image_strides(int rank, const int64_t *dims, bool channels_last, int64_t *strides) {
  int64_t stride = 1;
  if (channels_last) strides[1] = 1, stride = dims[1];
  for (int i = rank - 1; i >= 0; i--) {
    if (i == 1 && channels_last) continue;
    strides[i] = stride;
    stride *= dims[i];
  }
}

// Else oneDNN refuses it.
static bool window_fits(const Window *window, const int64_t *large, const int64_t *small) {
  for (int i = 0; i < window->axes; i++) {
    int64_t reach = (small[i] - 1) * window->stride[i] + (window->kernel[i] - 1) * window->dilation[i] + 1;
    int64_t beyond = large[i] + window->pad_begin[i] - reach;  // what no window sees
    if (window->pad_begin[i] < 0 || beyond >= window->stride[i]) return false;
  }
  return true;
}

static Status read_geometry(const Site *site, Window *window) {
  const TensorDesc *w = &site->inputs[1];
  Dim kernel[MAX_RANK];
  for (int i = 2; i < w->rank; i++) kernel[i - 2] = w->dims[i];
  return window_read(site->node, w->rank - 2, kernel, window);
}

static bool supports(const Site *site) {
  const TensorDesc *x = &site->inputs[0], *y = &site->outputs[0];
  Window window;
  Status status = read_geometry(site, &window);
  bool read = !status;
  status_free(status);
  REQUIRE(site, read, "its window cannot be read");
  REQUIRE(site, x->rank <= 5, "it has more than three spatial axes");
  if (!cpu_anchor_supports(site)) return false;
  bool fits = site->node->op == &op_conv ? window_fits(&window, x->dims + 2, y->dims + 2)
                                         : window_fits(&window, y->dims + 2, x->dims + 2);
  REQUIRE(site, fits, "windows lie outside of the padded image");
  return true;
}

// [outputs, inputs / group, kernel] as oneDNN wants it: groups are an axis of their own, outputs come before inputs.
static OnednnTensor weights_tensor(const TensorDesc *w, const int64_t *strides, int64_t group, bool transposed) {
  OnednnTensor out = {0};
  int rank = 0, first = transposed ? 1 : 0;
  int64_t per_group = w->dims[0] / group;
  if (group > 1) out.dims[rank] = group, out.strides[rank++] = per_group * strides[0];
  out.dims[rank] = first ? w->dims[1] : per_group, out.strides[rank++] = strides[first];
  out.dims[rank] = first ? per_group : w->dims[1], out.strides[rank++] = strides[1 - first];
  for (int i = 2; i < w->rank; i++) out.dims[rank] = w->dims[i], out.strides[rank++] = strides[i];
  out.rank = rank;
  return out;
}

// oneDNN's best kernels add a residual only in place; its second best add any. For 1x1 kernels over many positions these are as good, and save
// a copy (ResNet-50, one core: 0.56 ms either way at 14x14, 0.99 against 0.61 ms at 7x7).
static bool wants_residual(const CpuAnchor *anchor) {
  enum { FEW_POSITIONS = 128 };
  const char *implementation = onednn_implementation(anchor->one);
  int64_t positions = desc_count(&anchor->y) / anchor->y.dims[1];
  if (strncmp(implementation, "jit_1x1", 7) == 0) return positions < FEW_POSITIONS;
  return strncmp(implementation, "jit", 3) == 0;
}

// Everything for one choice of layouts. *fast says whether it is worth keeping.
static Status prepare_layout(const Site *site, Arena *arena, ThreadPool *pool, bool channels_last, CpuAnchor **out,
                             OnednnTensor *plain_weights, bool *fast) {
  const Node *node = site->node;
  const TensorDesc *x = &site->inputs[0], *w = &site->inputs[1], *y = &site->outputs[0];
  int64_t strides[MAX_RANK];
  bool transposed = node->op == &op_conv_transpose;
  Window window;
  TRY(read_geometry(site, &window));
  TRY(cpu_anchor_new(site, arena, pool, out));
  CpuAnchor *anchor = *out;
  cpu_image_strides(x->rank, x->dims, channels_last, strides);
  cpu_anchor_stage(anchor, 0, strides);
  cpu_image_strides(y->rank, y->dims, channels_last, strides);
  cpu_anchor_stage_result(anchor, strides);
  cpu_image_strides(w->rank, w->dims, false, strides);
  if (!w->constant) cpu_anchor_stage(anchor, 1, strides);
  cpu_anchor_source(anchor, 1);
  *plain_weights = weights_tensor(w, strides, node_int(node, "group", 1), transposed);
  OnednnOperation operation = {
      .kind = transposed ? ONEDNN_CONV_TRANSPOSE : ONEDNN_CONV,
      .x = onednn_tensor(&anchor->inputs[0]),
      .weights = *plain_weights,
      .y = onednn_tensor(&anchor->y),
      .window = transposed ? window_of(&window, y->dims + 2, x->dims + 2) : window_of(&window, x->dims + 2, y->dims + 2)};
  operation.weights.any = w->constant != NULL;
  TRY(cpu_anchor_describe(anchor, &operation, fast));
  if (!*fast || !anchor->fused || transposed || !wants_residual(anchor)) return OK;
  return cpu_anchor_try_residual(anchor, "brgconv");
}

static Status open_state(const HostParameters *parameters, Arena *arena, ThreadPool *pool, void **state,
                         size_t *workspace_bytes) {
  const Site *site = parameters->site;
  const TensorDesc *x = &site->inputs[0], *y = &site->outputs[0];
  bool row_major = desc_is_row_major(x) && desc_is_row_major(y) && x->dtype == DTYPE_F32 && y->dtype == DTYPE_F32 &&
                   node_int(site->node, "group", 1) == 1;
  bool channels_last = !row_major || (desc_is_channels_last(x) && desc_is_channels_last(y));
  CpuAnchor *anchor;
  OnednnTensor plain_weights;
  bool fast;
  TRY(prepare_layout(site, arena, pool, channels_last, &anchor, &plain_weights, &fast));
  if (!fast) TRY(prepare_layout(site, arena, pool, !channels_last, &anchor, &plain_weights, &fast));
  if (!fast && !anchor->one->part_count) TRY(prepare_layout(site, arena, pool, channels_last, &anchor, &plain_weights, &fast));
  if (!anchor->one->part_count) FAIL(ERROR_UNSUPPORTED, "oneDNN has no convolution for '%s'", site->node->outputs[0]->name);
  *state = anchor;
  return cpu_anchor_finish(anchor, site->inputs[1].constant ? &plain_weights : NULL, workspace_bytes);
}

static const HostRoutine routine = {"onednn_conv", open_state, cpu_anchor_run};

const Implementation cpu_conv = {
    .name = "onednn_conv",
    .backend = BACKEND_CPU,
    .op = &op_conv,
    .library = LIBRARY_ONEDNN,
    .supports = supports,
    .ways = one_way,
    .share = 0.6,
    .host = &routine,
};
const Implementation cpu_conv_transpose = {
    .name = "onednn_conv_transpose",
    .backend = BACKEND_CPU,
    .op = &op_conv_transpose,
    .library = LIBRARY_ONEDNN,
    .supports = supports,
    .ways = one_way,
    .share = 0.6,
    .host = &routine,
};
