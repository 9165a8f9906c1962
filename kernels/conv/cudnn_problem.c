// See cudnn_problem.h.
#include "kernels/conv/cudnn_problem.h"
#include <string.h>
#include "base/checked.h"
#include "kernels/meaning.h"

static bool set_types(const Site *site, CudnnProblem *p) {
  static const struct {
    DType dtype;
    CudnnType type, compute;
  } rows[] = {{DTYPE_F32, CUDNN_F32, CUDNN_F32},
              {DTYPE_F16, CUDNN_F16, CUDNN_F32},
              {DTYPE_BF16, CUDNN_BF16, CUDNN_F32},
              {DTYPE_F64, CUDNN_F64, CUDNN_F64}};
  p->natural = site->inputs[0].dtype;
  p->exact_f32 = p->natural == DTYPE_F32 && !site->tf32;
  for (size_t i = 0; i < COUNT_OF(rows); i++)
    if (rows[i].dtype == p->natural) {
      p->type = rows[i].type, p->compute = rows[i].compute;
      return site->inputs[1].dtype == p->natural;
    }
  return false;
}

// One spatial axis becomes two, the first of size 1.
static void set_shape(const TensorDesc *desc, CudnnTensorShape *out) {
  int shift = desc->rank == 3;
  for (int i = 0; i < desc->rank; i++) {
    int to = i < 2 ? i : i + shift;
    out->dims[to] = desc->dims[i];
    out->strides[to] = desc->strides[i];
  }
  if (shift) {
    out->dims[2] = 1;
    out->strides[2] = desc->strides[2] * desc->dims[2];
  }
  uint64_t bits = 16 | (uint64_t)desc->offset * dtype_size(desc->dtype);
  out->alignment = (int64_t)(bits & -bits);
}

static void dense_strides(CudnnTensorShape *shape, int rank, bool channels_last) {
  int64_t stride = 1;
  if (channels_last) {
    shape->strides[1] = 1;
    stride = shape->dims[1];
  }
  for (int i = rank - 1; i >= 0; i--) {
    if (channels_last && i == 1) continue;
    shape->strides[i] = stride;
    stride *= shape->dims[i];
  }
}

// Whether a tensor lies in an order; images of a batch may lie further apart. Strides of axes of size 1 become the usual ones, for
// libraries look at them.
static bool has_order(CudnnTensorShape *shape, int rank, bool channels_last, bool gaps_between_images) {
  CudnnTensorShape dense = *shape;
  dense_strides(&dense, rank, channels_last);
  int64_t images = shape->strides[0];
  for (int i = 1; i < rank; i++)
    if (shape->dims[i] != 1 && shape->strides[i] != dense.strides[i]) return false;
  if (shape->dims[0] != 1 && images != dense.strides[0]) {
    if (!gaps_between_images || images < dense.strides[0]) return false;
    dense.strides[0] = images;
  }
  memcpy(shape->strides, dense.strides, sizeof dense.strides);
  return true;
}

static bool try_order(CudnnProblem *p, bool channels_last) {
  CudnnTensorShape x = p->x, y = p->y;
  if (!has_order(&x, p->rank, channels_last, true) || !has_order(&y, p->rank, channels_last, true)) return false;
  p->x = x, p->y = y;
  p->channels_last = channels_last;
  return true;
}

static bool set_window(const Site *site, CudnnProblem *p) {
  Window window;
  const TensorDesc *w = &site->inputs[1];
  int own = w->rank - 2, shift = p->axes - own;
  Status status = window_read(site->node, own, w->dims + 2, &window);
  bool read = status == OK;
  status_free(status);
  for (int i = 0; i < shift; i++) p->stride[i] = p->dilation[i] = 1, p->pad[i] = 0;
  for (int i = 0; read && i < own; i++) {
    REQUIRE(site, window.pad_begin[i] == window.pad_end[i] && window.pad_begin[i] >= 0,
            "padding differs between begin and end, or is negative");
    p->stride[i + shift] = window.stride[i];
    p->dilation[i + shift] = window.dilation[i];
    p->pad[i + shift] = window.pad_begin[i];
  }
  REQUIRE(site, read, "its window cannot be read");
  return true;
}

bool cudnn_problem(const Site *site, CudnnProblem *p) {
  const TensorDesc *x = &site->inputs[0], *w = &site->inputs[1], *y = &site->outputs[0];
  *p = (CudnnProblem){.groups = node_int(site->node, "group", 1)};
  REQUIRE(site, !site_has_zero_points(site), "it has zero points");
  REQUIRE(site, x->rank >= 3 && x->rank <= CUDNN_MAX_RANK, "cuDNN takes one to three spatial axes");
  REQUIRE(site, set_types(site, p), "operands are not floats of one type");
  // The library counts elements in 32 bits.
  REQUIRE(site, desc_count(x) <= INT32_MAX && desc_count(w) <= INT32_MAX && desc_count(y) <= INT32_MAX,
          "a tensor has more elements than 32 bits count");
  REQUIRE(site, desc_count(x) > 0 && desc_count(y) > 0, "a tensor is empty");
  p->axes = MAX(2, x->rank - 2);
  p->rank = p->axes + 2;
  LibraryResult result = library_result(site, p->natural, 0);
  set_shape(x, &p->x);
  set_shape(w, &p->w);
  set_shape(&result.desc, &p->y);
  if (!set_window(site, p)) return false;
  // Where both orders describe the tensors, tensor cores want channels last.
  bool channels_last = dtype_bits(p->natural) == 16;
  REQUIRE(site, try_order(p, channels_last) || try_order(p, !channels_last),
          "image and result lie in no common order, channels first or last");
  if (!has_order(&p->w, p->rank, p->channels_last, false)) {
    REQUIRE(site, w->constant, "filters lie in another order and are not constant");
    p->pack_weights = true;
    p->w.alignment = 16;
    dense_strides(&p->w, p->rank, p->channels_last);
  }
  int alignment = dtype_bits(p->natural) == 16 ? 16 : (int)dtype_size(p->natural);
  REQUIRE(site, p->x.alignment >= alignment && p->w.alignment >= alignment && p->y.alignment >= alignment,
          "a tensor begins where it is not aligned");
  p->fused = p->natural != DTYPE_F64 && library_epilogue(site, 1, p->natural, &p->epilogue) &&
             p->epilogue.activation != LIBRARY_GELU_TANH && p->epilogue.scale == 1;
  if (!site->epilogue) p->fused = true;
  for (int i = site->node->input_count; p->fused && i < site_input_count(site); i++)
    p->fused = site->inputs[i].offset * (int64_t)dtype_size(site->inputs[i].dtype) % alignment == 0;
  if (!p->fused || !site->epilogue) p->epilogue = LIBRARY_NOTHING;
  return true;
}

// Images of a few channels under large windows, and single elements that skip. (3x3 windows over them: VGG-16's first takes our kernel 0.21 ms at batch 32 on an H200, cuDNN 0.10.)
bool cudnn_yields(const Site *site) {
  const TensorDesc *x = &site->inputs[0], *w = &site->inputs[1];
  enum { FEW_CHANNELS = 8, SMALL_WINDOW = 3 };
  int count;
  const int64_t *strides = node_ints(site->node, "strides", &count);
  if (dtype_bits(x->dtype) != 16 || x->rank < 3 || node_int(site->node, "group", 1) != 1) return false;
  bool single = true, large = true, skips = false;
  for (int i = 2; i < w->rank; i++) {
    single &= w->dims[i] == 1;
    large &= w->dims[i] > SMALL_WINDOW;
    skips |= i - 2 < count && strides[i - 2] > 1;
  }
  return x->dims[1] < FEW_CHANNELS ? large : single && skips;
}

// --- Weights.

Status cudnn_emit_weights(Emission *emission, Launch *launch, const Site *site, const CudnnProblem *p) {
  if (!p->pack_weights) {
    emit_buffer(emission, launch, BUFFER_INPUT, 1);
    return OK;
  }
  const Tensor *weights = site->inputs[1].constant;
  Recipe *recipe = recipe_new(emission->arena);
  Value *x = recipe_source(recipe, weights);
  int perm[MAX_RANK], rank = weights->rank, index;
  for (int i = 0; i < rank; i++) perm[i] = i == 0 ? 0 : i == rank - 1 ? 1 : i + 1;
  if (p->channels_last) x = build_transpose(&recipe->b, x, perm);
  TRY(emit_packed(emission, recipe, x, &index));
  emit_buffer(emission, launch, BUFFER_PACKED, index);
  return OK;
}

bool cudnn_problem_is_sound(const CudnnProblem *p) {
  return p->axes >= 1 && p->axes <= CUDNN_MAX_AXES && p->rank == p->axes + 2 &&
         (unsigned)p->epilogue.activation <= LIBRARY_GELU_TANH && (unsigned)p->natural < DTYPE_COUNT;
}
