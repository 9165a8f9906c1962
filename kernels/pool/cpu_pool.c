// Pooling on the CPU, by oneDNN: maxima and means of f32 images in either layout, narrower floats through f32 copies. Where the
// meanings part, the reference serves: oneDNN divides a mean with count_include_pad by the whole window, also where ceil_mode lets
// it reach beyond the padding; and a window of nothing but padding has no mean and no maximum.
#include "kernels/pool/cpu_pool.h"
#include <string.h>
#include "kernels/conv/cpu_conv.h"
#include "kernels/pool/pool.h"

static Status read_geometry(const Site *site, Window *window) {
  int count;
  Dim kernel[MAX_RANK];
  const int64_t *sizes = node_ints(site->node, "kernel", &count);
  for (int i = 0; i < count; i++) kernel[i] = sizes[i];
  return window_read(site->node, count, kernel, window);
}

static bool is_average(const Site *site) { return strcmp(node_string(site->node, "kind", ""), "average") == 0; }

static bool means_agree(const Site *site, const Window *window) {
  const TensorDesc *x = &site->inputs[0], *y = &site->outputs[0];
  OnednnWindow cpu = cpu_window(window, x->dims + 2, y->dims + 2);
  bool includes_padding = is_average(site) && node_int(site->node, "count_include_pad", 0);
  for (int i = 0; i < window->axes; i++) {
    int64_t reach = window->dilation[i] * (window->kernel[i] - 1),
            last = (y->dims[2 + i] - 1) * window->stride[i] - window->pad_begin[i];
    bool empty = window->pad_begin[i] > reach || last >= x->dims[2 + i];
    // A dilated window may step over a short input.
    if (empty || (window->dilation[i] > 1 && window->dilation[i] >= x->dims[2 + i])) return false;
    if (includes_padding && cpu.pad_end[i] > window->pad_end[i]) return false;
  }
  return cpu_window_fits(window, x->dims + 2, y->dims + 2);
}

static bool supports(const Site *site) {
  if (site->node->output_count != 1 || site->inputs[0].rank > 5 || !cpu_anchor_supports(site)) return false;
  if (!is_average(site) && strcmp(node_string(site->node, "kind", ""), "max") != 0) return false;
  Window window;
  Status status = read_geometry(site, &window);
  bool fine = !status && means_agree(site, &window);
  status_free(status);
  return fine;
}

static Status prepare(const Site *site, Arena *arena, ThreadPool *pool, void **state, size_t *workspace_bytes) {
  const TensorDesc *x = &site->inputs[0], *y = &site->outputs[0];
  bool channels_last = desc_is_channels_last(x) || !desc_is_row_major(x), fast;
  int64_t strides[MAX_RANK];
  Window window;
  TRY(read_geometry(site, &window));
  CpuAnchor *anchor;
  TRY(cpu_anchor_new(site, arena, pool, &anchor));
  cpu_image_strides(x->rank, x->dims, channels_last, strides);
  cpu_anchor_stage(anchor, 0, strides);
  cpu_image_strides(y->rank, y->dims, channels_last, strides);
  cpu_anchor_stage_result(anchor, strides);
  cpu_anchor_source(anchor, 1);
  anchor->source.bias_rank = 0;
  OnednnOperation operation = {.kind = !is_average(site)                              ? ONEDNN_POOL_MAX
                                       : node_int(site->node, "count_include_pad", 0) ? ONEDNN_POOL_MEAN_PADDED
                                                                                      : ONEDNN_POOL_MEAN,
                               .x = onednn_tensor(&anchor->inputs[0]),
                               .y = onednn_tensor(&anchor->y),
                               .window = cpu_window(&window, x->dims + 2, y->dims + 2)};
  TRY(cpu_anchor_describe(anchor, &operation, &fast));
  if (!anchor->one->part_count) FAIL(ERROR_UNSUPPORTED, "oneDNN has no pooling for '%s'", site->node->outputs[0]->name);
  *state = anchor;
  return cpu_anchor_finish(anchor, NULL, workspace_bytes);
}

const CpuTactic cpu_pool = {"onednn_pool", &op_pool, supports, prepare, cpu_anchor_run};
