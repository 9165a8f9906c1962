// Pooling on the CPU, by oneDNN: maxima and means of f32 images in either layout, narrower floats through f32 copies. Where the
// meanings part, the reference serves: oneDNN divides a mean with count_include_pad by the whole window, also where ceil_mode lets
// it reach beyond the padding; and a window of nothing but padding has no mean and no maximum. Its maxima start from the smallest number and drop
// NaN, so that images with NaN or minus infinity are the reference's too. Over channels that lie innermost our own loops are as fast, and do not have to look.
#include "kernels/pool/cpu_pool.h"
#include <float.h>
#include <stdatomic.h>
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
  enum { OWN_CHANNELS = 16 };
  const TensorDesc *x = &site->inputs[0], *y = &site->outputs[0];
  if (!is_average(site) && x->strides[1] == 1 && y->strides[1] == 1 && y->dims[1] >= OWN_CHANNELS) return false;
  if (pool_exceeds_input(site->node, site->inputs[0].dims)) return false;
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

// Whether all of a packed tensor's elements are numbers above minus infinity; written so that the loops become vector code.
static bool all_above_infinity_f32(const float *values, int64_t count) {
  int odd = 0;
  for (int64_t i = 0; i < count; i++) odd |= !(values[i] >= -FLT_MAX);
  return !odd;
}
// Of 16 bits: sign and exponent all ones is minus infinity or NaN, a mantissa beside the exponent NaN.
static bool all_above_infinity_16(const uint16_t *values, int64_t count, unsigned infinity) {
  int odd = 0;
  for (int64_t i = 0; i < count; i++) odd |= (values[i] & 0x7fffu) > infinity || values[i] == (0x8000u | infinity);
  return !odd;
}

typedef struct Scan {
  const Site *site;
  const char *values;
  atomic_bool odd;
} Scan;

static void scan(void *context, int64_t begin, int64_t end) {
  Scan *s = context;
  DType dtype = s->site->inputs[0].dtype;
  const char *from = s->values + begin * (int64_t)dtype_size(dtype);
  bool fine = dtype == DTYPE_F32
                  ? all_above_infinity_f32((const float *)from, end - begin)
                  : all_above_infinity_16((const uint16_t *)from, end - begin, dtype == DTYPE_F16 ? 0x7c00 : 0x7f80);
  if (!fine) atomic_store(&s->odd, true);
}

// From the lowest address of the image to the highest: what lies in gaps between its elements is the same buffer's.
static bool declines(const Site *site, const CpuCall *call) {
  enum { GRAIN = 1 << 14 };
  const TensorDesc *x = &site->inputs[0];
  if (is_average(site) || desc_count(x) == 0) return false;
  if (x->dtype != DTYPE_F32 && x->dtype != DTYPE_F16 && x->dtype != DTYPE_BF16) return true;
  int64_t lowest = 0, highest = 0;
  for (int i = 0; i < x->rank; i++) *(x->strides[i] < 0 ? &lowest : &highest) += (x->dims[i] - 1) * x->strides[i];
  Scan s = {.site = site, .values = (const char *)call->inputs[0] + lowest * (int64_t)dtype_size(x->dtype)};
  parallel_for(call->pool, highest - lowest + 1, GRAIN, scan, &s);
  return atomic_load(&s.odd);
}

const CpuTactic cpu_pool = {"onednn_pool", &op_pool, supports, prepare, cpu_anchor_run, declines};
