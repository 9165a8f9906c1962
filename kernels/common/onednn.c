// See onednn.h.
#include "kernels/common/onednn.h"
#include <string.h>
#include "base/checked.h"

// A description of a tensor, of either generation. 2.x fills `bytes` (of which it takes 696 in 2.6).
typedef struct Layout {
  _Alignas(16) char bytes[1024];
  void *handle;
} Layout;
enum { PRIMITIVE_BYTES = 48 << 10 };  // with its code, where no other is alike; the library does not say
enum { OPERATION_BYTES = 8192 };      // of 2.x; a convolution takes 5976 in 2.6

static Status onednn_status(OnednnResult result, const char *what) {
  if (result == ONEDNN_SUCCESS) return OK;
  const char *reason = result == ONEDNN_OUT_OF_MEMORY       ? "out of memory"
                       : result == ONEDNN_INVALID_ARGUMENTS ? "invalid arguments"
                       : result == ONEDNN_UNIMPLEMENTED     ? "unimplemented"
                                                            : "runtime error";
  FAIL(result == ONEDNN_OUT_OF_MEMORY ? ERROR_OUT_OF_MEMORY : ERROR_INTERNAL, "oneDNN: %s (%s)", reason, what);
}
#define TRY_ONEDNN(call, what) TRY(onednn_status((call), what))

// How many threads the library forks is a setting of the calling thread: set to the pool's size around each call, and put back.
static int enter(const Onednn *one) {
  if (!one->library->set_threads) return 0;
  int before = one->library->get_threads(), wanted = thread_pool_size(one->pool);
  if (before != wanted) one->library->set_threads(wanted);
  return before;
}
static void leave(const Onednn *one, int before) {
  if (one->library->set_threads && one->library->get_threads() != before) one->library->set_threads(before);
}

// ---- Layouts ----------------------------------------------------------------------------------------------------------------

OnednnTensor onednn_tensor(const TensorDesc *desc) {
  OnednnTensor tensor = {.rank = desc->rank};
  for (int i = 0; i < desc->rank; i++) tensor.dims[i] = desc->dims[i], tensor.strides[i] = desc->strides[i];
  return tensor;
}

static OnednnResult layout_make(const OnednnLibrary *library, const OnednnTensor *tensor, Layout *out) {
  out->handle = NULL;
  if (tensor->rank == 0) return ONEDNN_SUCCESS;
  if (library->generation == 2)
    return tensor->any
               ? library->dnnl_memory_desc_init_by_tag(out->bytes, tensor->rank, tensor->dims, ONEDNN_F32, ONEDNN_ANY_LAYOUT)
               : library->dnnl_memory_desc_init_by_strides(out->bytes, tensor->rank, tensor->dims, ONEDNN_F32, tensor->strides);
  return tensor->any ? library->dnnl_memory_desc_create_with_tag(&out->handle, tensor->rank, tensor->dims, ONEDNN_F32,
                                                                 ONEDNN_ANY_LAYOUT)
                     : library->dnnl_memory_desc_create_with_strides(&out->handle, tensor->rank, tensor->dims, ONEDNN_F32,
                                                                     tensor->strides);
}

static OnednnLayout layout_of(const OnednnLibrary *library, const OnednnTensor *tensor, const Layout *layout) {
  if (tensor->rank == 0) return NULL;
  return library->generation == 2 ? layout->bytes : layout->handle;
}

static void layout_free(const OnednnLibrary *library, Layout *layout) {
  if (layout->handle) library->dnnl_memory_desc_destroy(layout->handle);
}

// ---- Describing -------------------------------------------------------------------------------------------------------------

static void release(void *context) {
  Onednn *one = context;
  const OnednnLibrary *library = one->library;
  for (int i = 0; i < one->argument_count; i++) library->dnnl_memory_destroy(one->arguments[i].memory);
  if (one->primitive) library->dnnl_primitive_destroy(one->primitive);
  if (one->desc) library->dnnl_primitive_desc_destroy(one->desc);
  if (one->attributes) library->dnnl_primitive_attr_destroy(one->attributes);
  if (one->stream) library->dnnl_stream_destroy(one->stream);
  if (one->engine) library->dnnl_engine_destroy(one->engine);
}

Status onednn_new(Arena *arena, ThreadPool *pool, Onednn **out) {
  const OnednnLibrary *library = onednn_library();
  if (!library) FAIL(ERROR_UNSUPPORTED, "%s", onednn_library_text());
  Onednn *one = *out = arena_new_of(arena, Onednn);
  *one = (Onednn){.library = library, .pool = pool, .arena = arena};
  arena_on_free(arena, release, one);
  TRY_ONEDNN(library->dnnl_engine_create(&one->engine, ONEDNN_CPU, 0), "making an engine");
  TRY_ONEDNN(library->dnnl_stream_create(&one->stream, one->engine, 1), "making a stream");
  TRY_ONEDNN(library->dnnl_primitive_attr_create(&one->attributes), "making attributes");
  TRY_ONEDNN(library->dnnl_primitive_attr_set_scratchpad_mode(one->attributes, ONEDNN_USER_SCRATCHPAD), "making attributes");
  return OK;
}

// The library's numbers for the functions, which its generations count differently.
static const struct {
  int second, third;
} algorithms[] = {
    [ONEDNN_RELU] = {0x1f, 0x20},      [ONEDNN_TANH] = {0x2f, 0x21},      [ONEDNN_ELU] = {0x3f, 0x22},
    [ONEDNN_SQUARE] = {0x4f, 0x23},    [ONEDNN_ABS] = {0x5f, 0x24},       [ONEDNN_SQRT] = {0x6f, 0x25},
    [ONEDNN_LINEAR] = {0x7f, 0x26},    [ONEDNN_SOFTPLUS] = {0x9f, 0x27},  [ONEDNN_SIGMOID] = {0xaf, 0x29},
    [ONEDNN_EXP] = {0xbf, 0x2a},       [ONEDNN_GELU_TANH] = {0xcf, 0x2b}, [ONEDNN_SWISH] = {0xdf, 0x2c},
    [ONEDNN_LOG] = {0xef, 0x2d},       [ONEDNN_CLIP] = {0xff, 0x2e},      [ONEDNN_GELU_ERF] = {0x30, 0x31},
    [ONEDNN_MISH] = {0x60, 0x33},      [ONEDNN_HARDSWISH] = {0x70, 0x34}, [ONEDNN_ADD] = {0x1fff0, 0x1fff0},
    [ONEDNN_MUL] = {0x1fff1, 0x1fff1}, [ONEDNN_MAX] = {0x1fff2, 0x1fff2}, [ONEDNN_MIN] = {0x1fff3, 0x1fff3},
    [ONEDNN_DIV] = {0x1fff4, 0x1fff4}, [ONEDNN_SUB] = {0x1fff5, 0x1fff5},
};

static OnednnResult append_link(const OnednnLibrary *library, OnednnPostOps operations, const OnednnLink *link) {
  bool second = library->generation == 2;
  if (link->function == ONEDNN_ADD_TO_Y)
    return second ? library->append_sum_2(operations, 1) : library->append_sum_3(operations, 1, 0, 0);
  int algorithm = second ? algorithms[link->function].second : algorithms[link->function].third;
  float alpha = link->alpha, beta = link->beta;
  if (link->function < ONEDNN_ADD) {
    if (link->function == ONEDNN_SOFTPLUS) alpha = 1;
    if (link->function == ONEDNN_HARDSWISH && !second) alpha = 1.0f / 6, beta = 0.5f;  // fixed in 2.x
    return second ? library->append_eltwise_2(operations, 1, algorithm, alpha, beta)
                  : library->append_eltwise_3(operations, algorithm, alpha, beta);
  }
  Layout layout;
  OnednnResult result = layout_make(library, &link->operand, &layout);
  if (!result)
    result = library->dnnl_post_ops_append_binary(operations, algorithm, layout_of(library, &link->operand, &layout));
  layout_free(library, &layout);
  return result;
}

static OnednnResult set_links(Onednn *one, const OnednnLink *links, int count) {
  const OnednnLibrary *library = one->library;
  OnednnPostOps operations;
  OnednnResult result = library->dnnl_post_ops_create(&operations);
  if (result) return result;
  for (int i = 0; i < count && !result; i++) result = append_link(library, operations, &links[i]);
  if (!result) result = library->dnnl_primitive_attr_set_post_ops(one->attributes, operations);
  library->dnnl_post_ops_destroy(operations);
  return result;
}

typedef struct Layouts {
  OnednnLayout x, weights, bias, y;
} Layouts;

static int pool_algorithm(OnednnKind kind) {
  return kind == ONEDNN_POOL_MAX ? 0x1ff : kind == ONEDNN_POOL_MEAN ? 0x3ff : 0x2ff;
}

static OnednnResult describe_2(Onednn *one, const OnednnOperation *operation, const Layouts *l) {
  const OnednnLibrary *library = one->library;
  const OnednnWindow *w = &operation->window;
  _Alignas(16) char desc[OPERATION_BYTES];
  OnednnResult result;
  switch (operation->kind) {
    case ONEDNN_MATMUL: result = library->dnnl_matmul_desc_init(desc, l->x, l->weights, l->bias, l->y); break;
    case ONEDNN_CONV:
      result = library->dnnl_dilated_convolution_forward_desc_init(desc, ONEDNN_INFERENCE, ONEDNN_CONV_DIRECT, l->x, l->weights,
                                                                   l->bias, l->y, w->strides, w->dilations, w->pad_begin,
                                                                   w->pad_end);
      break;
    case ONEDNN_CONV_TRANSPOSE:
      result = library->dnnl_dilated_deconvolution_forward_desc_init(desc, ONEDNN_INFERENCE, ONEDNN_DECONV_DIRECT, l->x,
                                                                     l->weights, l->bias, l->y, w->strides, w->dilations,
                                                                     w->pad_begin, w->pad_end);
      break;
    default:
      result = library->dnnl_pooling_v2_forward_desc_init(desc, ONEDNN_INFERENCE, pool_algorithm(operation->kind), l->x, l->y,
                                                          w->strides, w->kernel, w->dilations, w->pad_begin, w->pad_end);
  }
  return result ? result : library->dnnl_primitive_desc_create(&one->desc, desc, one->attributes, one->engine, NULL);
}

static OnednnResult describe_3(Onednn *one, const OnednnOperation *operation, const Layouts *l) {
  const OnednnLibrary *library = one->library;
  const OnednnWindow *w = &operation->window;
  switch (operation->kind) {
    case ONEDNN_MATMUL:
      return library->dnnl_matmul_primitive_desc_create(&one->desc, one->engine, l->x, l->weights, l->bias, l->y,
                                                        one->attributes);
    case ONEDNN_CONV:
      return library->dnnl_convolution_forward_primitive_desc_create(
          &one->desc, one->engine, ONEDNN_INFERENCE, ONEDNN_CONV_DIRECT, l->x, l->weights, l->bias, l->y, w->strides,
          w->dilations, w->pad_begin, w->pad_end, one->attributes);
    case ONEDNN_CONV_TRANSPOSE:
      return library->dnnl_deconvolution_forward_primitive_desc_create(
          &one->desc, one->engine, ONEDNN_INFERENCE, ONEDNN_DECONV_DIRECT, l->x, l->weights, l->bias, l->y, w->strides,
          w->dilations, w->pad_begin, w->pad_end, one->attributes);
    default:
      return library->dnnl_pooling_forward_primitive_desc_create(
          &one->desc, one->engine, ONEDNN_INFERENCE, pool_algorithm(operation->kind), l->x, l->y, w->strides, w->kernel,
          w->dilations, w->pad_begin, w->pad_end, one->attributes);
  }
}

static OnednnResult describe(Onednn *one, const OnednnOperation *operation) {
  const OnednnLibrary *library = one->library;
  const OnednnTensor *tensors[] = {&operation->x, &operation->weights, &operation->bias, &operation->y};
  Layout layouts[4];
  OnednnLayout made[4];
  OnednnResult result = ONEDNN_SUCCESS;
  int count = 0;
  for (; count < 4 && !result; count++) {
    result = layout_make(library, tensors[count], &layouts[count]);
    made[count] = layout_of(library, tensors[count], &layouts[count]);
  }
  Layouts all = {made[0], made[1], made[2], made[3]};
  if (!result) result = library->generation == 2 ? describe_2(one, operation, &all) : describe_3(one, operation, &all);
  for (int i = 0; i < count; i++) layout_free(library, &layouts[i]);
  return result;
}

Status onednn_describe(Onednn *one, const OnednnOperation *operation, const OnednnLink *links, int link_count, bool *fast) {
  if (one->desc) one->library->dnnl_primitive_desc_destroy(one->desc);
  one->desc = NULL;
  if (fast) *fast = false;
  one->operation = *operation;
  one->link_count = link_count;
  for (int i = 0; i < link_count; i++) one->links[i] = links[i];
  OnednnResult result = set_links(one, links, link_count);
  int before = enter(one);
  if (!result) result = describe(one, operation);
  leave(one, before);
  if (result) one->desc = NULL;
  if (result == ONEDNN_OUT_OF_MEMORY || !fast) return onednn_status(result, "describing an operation");
  if (!result) *fast = strncmp(onednn_implementation(one), "ref", 3) != 0;
  return OK;
}

const char *onednn_implementation(const Onednn *one) {
  const char *name = "";
  return one->library->dnnl_primitive_desc_query(one->desc, ONEDNN_QUERY_NAME, 0, &name) == ONEDNN_SUCCESS ? name : "";
}

// ---- Making and running -----------------------------------------------------------------------------------------------------

static Status add_memory(Onednn *one, int role, int argument, OnednnLayout layout) {
  if (!layout) return OK;
  OnednnMemory memory;
  TRY_ONEDNN(one->library->dnnl_memory_create(&memory, layout, one->engine, NULL), "making a memory object");
  one->arguments[one->argument_count++] = (OnednnArgument){argument, memory};
  one->memory[role] = memory;
  return OK;
}

static Status add_tensor(Onednn *one, int role, int argument, const OnednnTensor *tensor) {
  Layout layout;
  Status status = onednn_status(layout_make(one->library, tensor, &layout), "describing a tensor");
  if (!status) status = add_memory(one, role, argument, layout_of(one->library, tensor, &layout));
  layout_free(one->library, &layout);
  return status;
}

static OnednnLayout wanted_weights(const Onednn *one) {
  return one->library->dnnl_primitive_desc_query_md(one->desc, ONEDNN_QUERY_WEIGHTS, 0);
}

Status onednn_make(Onednn *one) {
  const OnednnLibrary *library = one->library;
  int before = enter(one);
  OnednnResult result = library->dnnl_primitive_create(&one->primitive, one->desc);
  leave(one, before);
  if (result) one->primitive = NULL;
  TRY_ONEDNN(result, "making a primitive");
  arena_charge(one->arena, PRIMITIVE_BYTES);
  const OnednnOperation *operation = &one->operation;
  TRY(add_tensor(one, ONEDNN_X, ONEDNN_ARGUMENT_X, &operation->x));
  if (operation->weights.rank) TRY(add_memory(one, ONEDNN_WEIGHTS, ONEDNN_ARGUMENT_WEIGHTS, wanted_weights(one)));
  TRY(add_tensor(one, ONEDNN_BIAS, ONEDNN_ARGUMENT_BIAS, &operation->bias));
  TRY(add_tensor(one, ONEDNN_Y, ONEDNN_ARGUMENT_Y, &operation->y));
  int link = library->generation == 2 ? ONEDNN_ARGUMENT_LINK_2 : ONEDNN_ARGUMENT_LINK_3;
  for (int i = 0; i < one->link_count; i++)
    TRY(add_tensor(one, ONEDNN_LINK + i, (link * (i + 1)) | ONEDNN_ARGUMENT_OPERAND, &one->links[i].operand));
  OnednnLayout scratch = library->dnnl_primitive_desc_query_md(one->desc, ONEDNN_QUERY_SCRATCHPAD, 0);
  one->scratch_bytes = scratch ? library->dnnl_memory_desc_get_size(scratch) : 0;
  return one->scratch_bytes ? add_memory(one, ONEDNN_SCRATCH, ONEDNN_ARGUMENT_SCRATCHPAD, scratch) : OK;
}

void onednn_set(Onednn *one, int role, void *data) {
  if (one->memory[role]) one->library->dnnl_memory_set_data_handle(one->memory[role], data);
}

Status onednn_run(Onednn *one) {
  int before = enter(one);
  OnednnResult result = one->library->dnnl_primitive_execute(one->primitive, one->stream, one->argument_count, one->arguments);
  leave(one, before);
  return onednn_status(result, "executing a primitive");
}

size_t onednn_weights_bytes(const Onednn *one) { return one->library->dnnl_memory_desc_get_size(wanted_weights(one)); }

Status onednn_pack(Onednn *one, const OnednnTensor *from, const void *weights, void *packed) {
  const OnednnLibrary *library = one->library;
  OnednnMemory source = NULL, target = NULL;
  OnednnPrimitiveDesc desc = NULL;
  OnednnPrimitive primitive = NULL;
  Layout layout;
  int before = enter(one);
  OnednnResult result = layout_make(library, from, &layout);
  OnednnLayout source_layout = layout_of(library, from, &layout), wanted = wanted_weights(one);
  if (!result) result = library->dnnl_memory_create(&source, source_layout, one->engine, (void *)weights);
  if (!result) result = library->dnnl_memory_create(&target, wanted, one->engine, packed);
  if (!result)
    result = library->dnnl_reorder_primitive_desc_create(&desc, source_layout, one->engine, wanted, one->engine, NULL);
  if (!result) result = library->dnnl_primitive_create(&primitive, desc);
  OnednnArgument arguments[] = {{ONEDNN_ARGUMENT_X, source}, {ONEDNN_ARGUMENT_Y, target}};
  if (!result) result = library->dnnl_primitive_execute(primitive, one->stream, 2, arguments);
  leave(one, before);
  if (primitive) library->dnnl_primitive_destroy(primitive);
  if (desc) library->dnnl_primitive_desc_destroy(desc);
  if (target) library->dnnl_memory_destroy(target);
  if (source) library->dnnl_memory_destroy(source);
  layout_free(library, &layout);
  return onednn_status(result, "packing weights");
}
