// The cuDNN implementations over a library that convolves on the host. What is tested is how sites are mapped onto its calls: layouts,
// one to three spatial axes, groups, packed weights, and which epilogues are fused.
#include "tests/fake_cuda.h"
#include "tests/site_test.h"
#include "cuda/cudnn_backend.h"
#include "ir/program.h"
#include "kernels/conv/conv.h"

enum { RANK = 5 };
struct cudnnTensorStruct {
  int type, rank, dims[RANK], strides[RANK];
};
struct cudnnFilterStruct {
  int type, format, rank, dims[RANK];
};
struct cudnnConvolutionStruct {
  int axes, pads[3], strides[3], dilations[3], groups, math;
};
struct cudnnActivationStruct {
  int mode;
};
static int fake_live, fake_fused_calls, fake_math;

static void *make(size_t size) {
  fake_live++;
  return calloc(1, size);
}
static CudnnResult drop(void *object) {
  fake_live--;
  free(object);
  return 0;
}
static CudnnResult set_stream(CudnnHandle handle, CudaStream stream) { return 0; }
static CudnnResult tensor_create(CudnnTensor *tensor) {
  *tensor = make(sizeof **tensor);
  return 0;
}
static CudnnResult tensor_destroy(CudnnTensor tensor) { return drop(tensor); }
static CudnnResult tensor_set(CudnnTensor tensor, int type, int rank, const int *dims, const int *strides) {
  tensor->type = type, tensor->rank = rank;
  memcpy(tensor->dims, dims, (size_t)rank * sizeof *dims);
  memcpy(tensor->strides, strides, (size_t)rank * sizeof *strides);
  return 0;
}
static CudnnResult filter_create(CudnnFilter *filter) {
  *filter = make(sizeof **filter);
  return 0;
}
static CudnnResult filter_destroy(CudnnFilter filter) { return drop(filter); }
static CudnnResult filter_set(CudnnFilter filter, int type, int format, int rank, const int *dims) {
  filter->type = type, filter->format = format, filter->rank = rank;
  memcpy(filter->dims, dims, (size_t)rank * sizeof *dims);
  return 0;
}
static CudnnResult convolution_create(CudnnConvolution *convolution) {
  *convolution = make(sizeof **convolution);
  return 0;
}
static CudnnResult convolution_destroy(CudnnConvolution convolution) { return drop(convolution); }
static CudnnResult convolution_set(CudnnConvolution c, int axes, const int *pads, const int *strides, const int *dilations,
                                   int mode, int type) {
  c->axes = axes;
  memcpy(c->pads, pads, (size_t)axes * sizeof *pads);
  memcpy(c->strides, strides, (size_t)axes * sizeof *pads);
  memcpy(c->dilations, dilations, (size_t)axes * sizeof *pads);
  return mode == CUDNN_CROSS_CORRELATION ? 0 : 2000;
}
static CudnnResult convolution_groups(CudnnConvolution c, int groups) {
  c->groups = groups;
  return 0;
}
static CudnnResult convolution_math(CudnnConvolution c, int math) {
  c->math = fake_math = math;
  return 0;
}
static CudnnResult activation_create(CudnnActivation *activation) {
  *activation = make(sizeof **activation);
  return 0;
}
static CudnnResult activation_destroy(CudnnActivation activation) { return drop(activation); }
static CudnnResult activation_set(CudnnActivation activation, int mode, int nan, double coefficient) {
  activation->mode = mode;
  return 0;
}
static CudnnResult get_algorithms(CudnnHandle handle, CudnnTensor x, CudnnFilter w, CudnnConvolution c, CudnnTensor y,
                                  int wanted, int *count, CudnnAlgoResult *results) {
  results[0] = (CudnnAlgoResult){.algo = 6, .status = 3000};
  results[1] = (CudnnAlgoResult){.algo = CUDNN_ALGO_PRECOMPUTED_GEMM, .determinism = 1, .memory = 64};
  results[2] = (CudnnAlgoResult){.algo = 4, .determinism = 0};
  results[3] = (CudnnAlgoResult){.algo = 0, .determinism = 1};
  *count = 4;
  return 0;
}
static CudnnResult get_workspace(CudnnHandle handle, CudnnTensor x, CudnnFilter w, CudnnConvolution c, CudnnTensor y, int algo,
                                 size_t *size) {
  *size = 64;
  return 0;
}

static DType type_of(int type) {
  return type == CUDNN_F32 ? DTYPE_F32 : type == CUDNN_F16 ? DTYPE_F16 : type == CUDNN_F64 ? DTYPE_F64 : DTYPE_BF16;
}
static int64_t offset_of(const int *strides, int rank, const int *index) {
  int64_t offset = 0;
  for (int i = 0; i < rank; i++) offset += (int64_t)strides[i] * index[i];
  return offset;
}
static double get(int type, const void *data, int64_t at) {
  return element_get_f(type_of(type), (const char *)data + at * (int64_t)dtype_size(type_of(type)));
}
static bool next_index(int rank, const int *dims, int *index) {
  for (int i = rank - 1; i >= 0; i--) {
    if (++index[i] < dims[i]) return true;
    index[i] = 0;
  }
  return false;
}
static void filter_strides(const struct cudnnFilterStruct *w, int *strides) {
  int stride = 1;
  if (w->format == CUDNN_NHWC) strides[1] = 1, stride = w->dims[1];
  for (int i = w->rank - 1; i >= 0; i--) {
    if (w->format == CUDNN_NHWC && i == 1) continue;
    strides[i] = stride;
    stride *= w->dims[i];
  }
}

static CudnnResult convolve(CudnnTensor xd, const void *x, CudnnFilter wd, const void *w, CudnnConvolution c, CudnnTensor zd,
                            const void *z, CudnnTensor bd, const void *bias, bool relu, CudnnTensor yd, void *y) {
  int w_strides[RANK], index[RANK] = {0}, rank = yd->rank, in_group = wd->dims[1], out_group = wd->dims[0] / c->groups;
  filter_strides(wd, w_strides);
  do {
    double sum = 0;
    int tap[RANK] = {0};
    do {
      int from[RANK] = {index[0], index[1] / out_group * in_group + tap[1]}, at[RANK] = {index[1], tap[1]};
      bool inside = true;
      for (int i = 0; i < c->axes; i++) {
        from[2 + i] = index[2 + i] * c->strides[i] + tap[2 + i] * c->dilations[i] - c->pads[i];
        at[2 + i] = tap[2 + i];
        inside = inside && from[2 + i] >= 0 && from[2 + i] < xd->dims[2 + i];
      }
      if (inside)
        sum += get(xd->type, x, offset_of(xd->strides, rank, from)) * get(wd->type, w, offset_of(w_strides, rank, at));
    } while (next_index(rank - 1, wd->dims + 1, tap + 1));
    int channel[RANK] = {0, index[1]};
    int64_t place = offset_of(yd->strides, rank, index);
    if (z) sum += get(zd->type, z, offset_of(zd->strides, rank, index));
    if (bias) sum += get(bd->type, bias, offset_of(bd->strides, rank, channel));
    if (relu) sum = fmax(sum, 0);
    element_set_f(type_of(yd->type), (char *)y + place * (int64_t)dtype_size(type_of(yd->type)), sum);
  } while (next_index(rank, yd->dims, index));
  return 0;
}

static CudnnResult forward(CudnnHandle handle, const void *alpha, CudnnTensor xd, const void *x, CudnnFilter wd, const void *w,
                           CudnnConvolution c, int algo, void *workspace, size_t bytes, const void *beta, CudnnTensor yd,
                           void *y) {
  return convolve(xd, x, wd, w, c, NULL, NULL, NULL, NULL, false, yd, y);
}
static CudnnResult forward_fused(CudnnHandle handle, const void *alpha, CudnnTensor xd, const void *x, CudnnFilter wd,
                                 const void *w, CudnnConvolution c, int algo, void *workspace, size_t bytes, const void *alpha2,
                                 CudnnTensor zd, const void *z, CudnnTensor bd, const void *bias, CudnnActivation activation,
                                 CudnnTensor yd, void *y) {
  if (activation->mode == CUDNN_IDENTITY && algo != CUDNN_ALGO_PRECOMPUTED_GEMM) return 3000;
  fake_fused_calls++;
  bool adds = *(const float *)alpha2 != 0;
  return convolve(xd, x, wd, w, c, zd, adds ? z : NULL, bd, bias, activation->mode == CUDNN_RELU, yd, y);
}

// --- The graph interface: descriptors keep their attributes, and a plan runs the operations of its graph in order.

enum { ATTRIBUTES = 12, FAKE_GRAPH = 9000 };  // FAKE_GRAPH: how a configuration remembers its graph
typedef struct Descriptor {
  int kind;
  bool final;
  int count;
  struct {
    int name;
    int64_t count;
    char bytes[64];
  } attributes[ATTRIBUTES];
} Descriptor;

static size_t type_size(int type) {
  bool four = type == BACKEND_TYPE_DATA_TYPE || type == BACKEND_TYPE_F32 || type == BACKEND_TYPE_CONVOLUTION_MODE ||
              type == BACKEND_TYPE_HEURISTIC_MODE || type == BACKEND_TYPE_NOTE || type == BACKEND_TYPE_POINTWISE_MODE;
  return type == BACKEND_TYPE_BOOL ? 1 : four ? 4 : 8;
}
static CudnnResult backend_create(int kind, CudnnBackend *out) {
  Descriptor *descriptor = make(sizeof *descriptor);
  descriptor->kind = kind;
  *out = descriptor;
  return 0;
}
static CudnnResult backend_destroy(CudnnBackend descriptor) { return drop(descriptor); }
static CudnnResult backend_finish(CudnnBackend descriptor) {
  ((Descriptor *)descriptor)->final = true;
  return 0;
}
static CudnnResult attribute_set(CudnnBackend to, int name, int type, int64_t count, const void *values) {
  Descriptor *descriptor = to;
  size_t size = (size_t)count * type_size(type);
  if (descriptor->final || descriptor->count == ATTRIBUTES || size > 64) return 2000;
  descriptor->attributes[descriptor->count].name = name;
  descriptor->attributes[descriptor->count].count = count;
  memcpy(descriptor->attributes[descriptor->count++].bytes, values, size);
  return 0;
}
static const void *attribute(const Descriptor *descriptor, int name, int64_t *count) {
  for (int i = 0; i < descriptor->count; i++)
    if (descriptor->attributes[i].name == name) {
      if (count) *count = descriptor->attributes[i].count;
      return descriptor->attributes[i].bytes;
    }
  return NULL;
}
static Descriptor *linked(const Descriptor *descriptor, int name) {
  Descriptor *const *link = attribute(descriptor, name, NULL);
  return link ? *link : NULL;
}
static CudnnResult attribute_get(CudnnBackend from, int name, int type, int64_t room, int64_t *count, void *values) {
  Descriptor *descriptor = from;
  if (!descriptor->final && descriptor->kind != BACKEND_ENGINE && descriptor->kind != BACKEND_ENGINE_CONFIG) return 2004;
  *count = 1;
  if (name == PLAN_WORKSPACE) *(int64_t *)values = 512;
  if (name == ENGINE_INDEX) *(int64_t *)values = 38;
  if (name == ENGINE_NOTES) *count = 0;
  if (name == HEURISTIC_RESULTS) {
    Descriptor *graph = linked(descriptor, HEURISTIC_GRAPH);
    return attribute_set(*(CudnnBackend *)values, FAKE_GRAPH, BACKEND_TYPE_DESCRIPTOR, 1, &graph);
  }
  return 0;
}

static struct cudnnTensorStruct tensor_of(const Descriptor *descriptor) {
  struct cudnnTensorStruct tensor = {.type = *(const int *)attribute(descriptor, TENSOR_TYPE, NULL)};
  int64_t rank;
  const int64_t *dims = attribute(descriptor, TENSOR_DIMS, &rank), *strides = attribute(descriptor, TENSOR_STRIDES, NULL);
  tensor.rank = (int)rank;
  for (int i = 0; i < rank; i++) tensor.dims[i] = (int)dims[i], tensor.strides[i] = (int)strides[i];
  return tensor;
}

enum { VALUES = 32 };
static void *value_of(const Descriptor *tensor, void **values) {
  int64_t id = *(const int64_t *)attribute(tensor, TENSOR_ID, NULL);
  if (!values[id]) {
    struct cudnnTensorStruct shape = tensor_of(tensor);
    int64_t count = 1;
    for (int i = 0; i < shape.rank; i++) count += (int64_t)(shape.dims[i] - 1) * shape.strides[i];
    cr_assert(attribute(tensor, TENSOR_VIRTUAL, NULL), "no pointer for tensor %ld", (long)id);
    values[id] = calloc((size_t)count, 8);
  }
  return values[id];
}

static void run_forward(const Descriptor *operation, void **values) {
  Descriptor *x = linked(operation, FORWARD_X), *w = linked(operation, FORWARD_W), *y = linked(operation, FORWARD_Y);
  Descriptor *convolution = linked(operation, FORWARD_CONVOLUTION);
  struct cudnnTensorStruct xt = tensor_of(x), wt = tensor_of(w), yt = tensor_of(y);
  struct cudnnFilterStruct filter = {.type = wt.type, .rank = wt.rank, .format = wt.strides[1] == 1 ? CUDNN_NHWC : CUDNN_NCHW};
  memcpy(filter.dims, wt.dims, sizeof filter.dims);
  struct cudnnConvolutionStruct c = {.groups = xt.dims[1] / wt.dims[1]};
  int64_t axes;
  const int64_t *pads = attribute(convolution, CONVOLUTION_PRE_PADS, &axes);
  const int64_t *strides = attribute(convolution, CONVOLUTION_STRIDES, NULL);
  const int64_t *dilations = attribute(convolution, CONVOLUTION_DILATIONS, NULL);
  c.axes = (int)axes;
  for (int i = 0; i < axes; i++) c.pads[i] = (int)pads[i], c.strides[i] = (int)strides[i], c.dilations[i] = (int)dilations[i];
  convolve(&xt, value_of(x, values), &filter, value_of(w, values), &c, NULL, NULL, NULL, NULL, false, &yt, value_of(y, values));
}

static void run_pointwise(const Descriptor *operation, void **values) {
  Descriptor *x = linked(operation, OPERATION_X), *b = linked(operation, OPERATION_B), *y = linked(operation, OPERATION_Y);
  int mode = *(const int *)attribute(linked(operation, OPERATION_POINTWISE), POINTWISE_MODE, NULL);
  struct cudnnTensorStruct xt = tensor_of(x), yt = tensor_of(y), bt = b ? tensor_of(b) : xt;
  int index[RANK] = {0};
  do {
    int at[RANK] = {0};
    for (int i = 0; i < bt.rank; i++) at[i] = bt.dims[i] == 1 ? 0 : index[i];
    double value = get(xt.type, value_of(x, values), offset_of(xt.strides, xt.rank, index));
    if (mode == BACKEND_POINTWISE_ADD) value += get(bt.type, value_of(b, values), offset_of(bt.strides, bt.rank, at));
    if (mode == BACKEND_POINTWISE_RELU) value = fmax(value, 0);
    DType type = type_of(yt.type);
    element_set_f(type, (char *)value_of(y, values) + offset_of(yt.strides, yt.rank, index) * (int64_t)dtype_size(type), value);
  } while (next_index(yt.rank, yt.dims, index));
}

static CudnnResult backend_execute(CudnnHandle handle, CudnnBackend plan, CudnnBackend pack) {
  void *values[VALUES] = {0};
  bool given[VALUES] = {0};
  int64_t count, operations;
  const int64_t *ids = attribute(pack, PACK_IDS, &count);
  void *const *pointers = attribute(pack, PACK_POINTERS, NULL);
  for (int64_t i = 0; i < count; i++) values[ids[i]] = pointers[i], given[ids[i]] = true;
  Descriptor *graph = linked(linked(plan, PLAN_ENGINE_CONFIG), FAKE_GRAPH);
  Descriptor *const *list = attribute(graph, GRAPH_OPERATIONS, &operations);
  for (int64_t i = 0; i < operations; i++)
    (list[i]->kind == BACKEND_CONVOLUTION_FORWARD ? run_forward : run_pointwise)(list[i], values);
  for (int i = 0; i < VALUES; i++)
    if (!given[i]) free(values[i]);
  return 0;
}

static Cudnn fake_dnn = {.mutex = PTHREAD_MUTEX_INITIALIZER,
                         .cudnnSetStream = set_stream,
                         .cudnnCreateTensorDescriptor = tensor_create,
                         .cudnnDestroyTensorDescriptor = tensor_destroy,
                         .cudnnSetTensorNdDescriptor = tensor_set,
                         .cudnnCreateFilterDescriptor = filter_create,
                         .cudnnDestroyFilterDescriptor = filter_destroy,
                         .cudnnSetFilterNdDescriptor = filter_set,
                         .cudnnCreateConvolutionDescriptor = convolution_create,
                         .cudnnDestroyConvolutionDescriptor = convolution_destroy,
                         .cudnnSetConvolutionNdDescriptor = convolution_set,
                         .cudnnSetConvolutionGroupCount = convolution_groups,
                         .cudnnSetConvolutionMathType = convolution_math,
                         .cudnnCreateActivationDescriptor = activation_create,
                         .cudnnDestroyActivationDescriptor = activation_destroy,
                         .cudnnSetActivationDescriptor = activation_set,
                         .cudnnGetConvolutionForwardAlgorithm_v7 = get_algorithms,
                         .cudnnGetConvolutionForwardWorkspaceSize = get_workspace,
                         .cudnnConvolutionForward = forward,
                         .cudnnConvolutionBiasActivationForward = forward_fused,
                         .cudnnBackendCreateDescriptor = backend_create,
                         .cudnnBackendDestroyDescriptor = backend_destroy,
                         .cudnnBackendFinalize = backend_finish,
                         .cudnnBackendSetAttribute = attribute_set,
                         .cudnnBackendGetAttribute = attribute_get,
                         .cudnnBackendExecute = backend_execute};

extern const Implementation cuda_cudnn_conv, cuda_cudnn_graph_conv;

#define NHWC SITE_ORDER(0, 2, 3, 1)
typedef struct Case {
  DType dtype;
  int rank;
  int64_t x[RANK], w[RANK], strides[3], pads[6], dilations[3], group;
  const uint8_t *order;  // of x and y; the weights come row-major
  bool constant;         // the weights are known
} Case;

static SiteTest *case_site(const Case *c, const char *epilogue) {
  SiteTest *test = site_test_new();
  int64_t y[RANK] = {c->x[0], c->w[0]};
  int axes = c->rank - 2;
  for (int i = 0; i < axes; i++)
    y[2 + i] =
        (c->x[2 + i] + c->pads[i] + c->pads[axes + i] - (c->dilations[i] ? c->dilations[i] : 1) * (c->w[2 + i] - 1) - 1) /
            c->strides[i] +
        1;
  site_input(test, c->dtype, c->rank, c->x, c->order);
  site_input(test, c->dtype, c->rank, c->w, NULL);
  if (c->constant) test->inputs[1].constant = &test->tensors[1];
  if (epilogue) {
    site_input(test, c->dtype, c->rank - 1, (int64_t[]){c->w[0], 1, 1, 1}, NULL);
    site_input(test, c->dtype, c->rank, y, c->order);
  }
  site_node(test, &op_conv, 2);
  node_set_ints(test->node, "strides", c->strides, axes);
  node_set_ints(test->node, "pads", c->pads, 2 * axes);
  if (c->dilations[0]) node_set_ints(test->node, "dilations", c->dilations, axes);
  if (c->group) node_set_int(test->node, "group", c->group);
  if (epilogue) site_epilogue(test, epilogue);
  return test;
}

// Runs the first `limit` ways; with_epilogue: the expected output holds it. Returns the launches of the last.
static int run(const Implementation *implementation, const Case *c, const char *epilogue, bool with_epilogue, int limit) {
  SiteTest *test = case_site(c, epilogue);
  site_ready(test, c->order, with_epilogue);
  Arena *arena = arena_new();
  const CudaDriver *driver;
  CudaContext *context;
  fake_cuda_reset(0, 0);
  cr_assert_null(cuda_driver_from_table(arena, fake_cuda_symbols, &driver));
  cr_assert_null(cuda_context_open(&(CudaContextOptions){.driver = driver}, &context));
  context->cudnn = &fake_dnn;
  fake_live = fake_fused_calls = 0;
  int launches = site_run_some(test, implementation, context, limit);
  cr_assert_eq(fake_live, 0, "%d descriptors leaked", fake_live);
  context->cudnn = NULL;
  cuda_context_close(context);
  cr_assert_eq(fake_cuda.live, 0);
  arena_free(arena);
  site_done(test);
  return launches;
}

static const Implementation *const both[] = {&cuda_cudnn_conv, &cuda_cudnn_graph_conv};
static const Case plain = {DTYPE_F32, 4, {2, 4, 6, 7}, {6, 4, 3, 2}, {1, 2}, {1, 0, 1, 0}, {0}, 0, NULL, true};

Test(cuda_cudnn, layouts_axes_groups_and_dilations) {
  Case cases[] = {plain,
                  plain,
                  plain,
                  plain,
                  plain,
                  {DTYPE_F32, 3, {2, 3, 9}, {4, 3, 3}, {2}, {1, 1}, {2}, 0, NULL, false},
                  {DTYPE_F32, 3, {2, 4, 9}, {4, 2, 3}, {2}, {1, 1}, {0}, 2, SITE_ORDER(0, 2, 1), true},
                  {DTYPE_F32, 5, {1, 2, 4, 5, 3}, {3, 2, 2, 3, 1}, {1, 1, 2}, {0, 1, 0, 0, 1, 0}, {0}, 0, NULL, true},
                  {DTYPE_F32, 5, {1, 2, 4, 5, 3}, {3, 2, 2, 3, 1}, {1, 1, 2}, {0}, {0}, 0, SITE_ORDER(0, 2, 3, 4, 1), true}};
  cases[1].order = NHWC;
  cases[2].order = NHWC, cases[2].dtype = DTYPE_F16;
  cases[3].group = 2, cases[3].w[1] = 2;
  cases[4].group = 4, cases[4].w[0] = 4, cases[4].w[1] = 1, cases[4].order = NHWC, cases[4].dtype = DTYPE_BF16;
  for (size_t i = 0; i < COUNT_OF(cases); i++)
    for (size_t t = 0; t < COUNT_OF(both); t++)
      cr_assert_eq(run(both[t], &cases[i], NULL, true, 16), 1, "%s, case %zu", both[t]->name, i);
}

Test(cuda_cudnn, f32_uses_tf32_only_where_asked) {
  run(&cuda_cudnn_conv, &plain, NULL, true, 16);
  cr_assert_eq(fake_math, CUDNN_MATH_FMA);
}

#define HEAD "{inputs 3; %0: f32 = input 0; %1: f32 = input 1; %2: f32 = input 2; "

Test(cuda_cudnn, bias_addition_and_relu_are_fused) {
  const char *texts[] = {HEAD "%3 = add %0 %1; %4 = relu %3; yield %4}",
                         HEAD "%3 = add %0 %1; %4 = add %3 %2; %5 = relu %4; yield %5}",
                         HEAD "%3 = add %0 %2; %4 = relu %3; yield %4}"};
  Case nhwc = plain;
  nhwc.order = NHWC;
  for (size_t i = 0; i < COUNT_OF(texts); i++)
    for (int k = 0; k < 2; k++) {
      // Later ways leave the epilogue to a kernel, which does not run here.
      cr_assert_eq(run(&cuda_cudnn_conv, k ? &nhwc : &plain, texts[i], true, 1), 1);
      cr_assert_eq(fake_fused_calls, 2, "a trial and a run");
      cr_assert_eq(run(&cuda_cudnn_graph_conv, k ? &nhwc : &plain, texts[i], true, 16), 1);
    }
}

Test(cuda_cudnn, other_epilogues_are_a_kernel_of_their_own) {
  for (size_t t = 0; t < COUNT_OF(both); t++) {
    cr_assert_eq(run(both[t], &plain, HEAD "%3 = mul %0 %1; yield %3}", false, 16), 2);
    cr_assert_eq(run(both[t], &plain, HEAD "%3 = add %0 %1; %4 = tanh %3; yield %4}", false, 16), 2);
  }
}

static bool takes(const Case *c, const uint8_t *y_order) {
  SiteTest *test = case_site(c, NULL);
  site_ready(test, y_order, true);
  bool result = cuda_cudnn_conv.supports(&test->site);
  site_done(test);
  return result;
}

Test(cuda_cudnn, what_it_does_not_take) {
  Case c = plain;
  cr_assert(takes(&c, NULL));
  cr_assert_not(takes(&c, NHWC), "x and y in different orders");
  c.order = NHWC;
  cr_assert(takes(&c, NHWC));
  c.constant = false;
  cr_assert_not(takes(&c, NHWC), "weights in the other order that are not known");
  c = plain;
  c.pads[2] = 2;
  cr_assert_not(takes(&c, NULL), "asymmetric padding");
}
