// See onednn.h.
#include "kernels/common/onednn.h"
#include <stdlib.h>
#include <string.h>
#include "base/checked.h"
#include "kernels/common/onednn_split.h"
#include "kernels/program/strips.h"

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

// How many threads the library forks is a setting of the calling thread: one around each call, then what it was.
static int enter(const OnednnLibrary *library) {
  if (!library->set_threads) return 1;
  int before = library->get_threads();
  if (before != 1) library->set_threads(1);
  return before;
}
static void leave(const OnednnLibrary *library, int before) {
  if (before != 1) library->set_threads(before);
}

// Where memory is out the library's C++ ends the process rather than say so. What a call may need at most is asked of the system before:
// what it was given and gave back is there for the library, unless other threads of the process take it meanwhile.
enum { ROOM_TO_DESCRIBE = 4 << 20, ROOM_TO_MAKE = 16 << 20, ROOM_TO_RUN = 64 << 10 };
static Status check_room(size_t bytes) {
  void *volatile room = malloc(bytes);  // or the compiler would leave both calls out
  if (!room) return status_out_of_memory();
  free(room);
  return OK;
}

struct OnednnPart {
  OnednnSlice *slice;  // NULL once it is made
  int64_t offsets[ONEDNN_ROLES];
  int64_t weights_dims[ONEDNN_RANK];
  OnednnStream stream;
  OnednnPrimitiveDesc desc;
  OnednnPrimitive primitive;
  OnednnArgument arguments[ONEDNN_ROLES];
  int argument_count;
  OnednnMemory memory[ONEDNN_ROLES];  // by role; NULL: not in this primitive
  size_t scratch_at, packed_at;       // in bytes
  bool owns_packed;                   // else the same as an earlier part's
  const Strips *tail;                 // NULL: nothing is left to do
  size_t tail_at;                     // its scratch memory
  int64_t clipped;                    // elements of y, one after the other; 0: the tail is strips
  OnednnResult result;                // of the last run
};

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

static void part_free(const OnednnLibrary *library, OnednnPart *part) {
  for (int i = 0; i < part->argument_count; i++) library->dnnl_memory_destroy(part->arguments[i].memory);
  if (part->primitive) library->dnnl_primitive_destroy(part->primitive);
  if (part->desc) library->dnnl_primitive_desc_destroy(part->desc);
  if (part->stream) library->dnnl_stream_destroy(part->stream);
}

static void free_parts(Onednn *one) {
  for (int i = 0; i < one->part_count; i++) part_free(one->library, &one->parts[i]);
  one->part_count = 0;
  arena_free(one->slices);
  one->slices = NULL;
}

static void release(void *context) {
  Onednn *one = context;
  free_parts(one);
  if (one->attributes) one->library->dnnl_primitive_attr_destroy(one->attributes);
  if (one->engine) one->library->dnnl_engine_destroy(one->engine);
}

Status onednn_new(Arena *arena, ThreadPool *pool, Onednn **out) {
  const OnednnLibrary *library = onednn_library();
  if (!library) FAIL(ERROR_UNSUPPORTED, "%s", onednn_library_text());
  TRY(check_room(ROOM_TO_DESCRIBE));
  Onednn *one = *out = arena_new_of(arena, Onednn);
  *one = (Onednn){.library = library, .arena = arena, .pool = pool};
  arena_on_free(arena, release, one);
  TRY_ONEDNN(library->dnnl_engine_create(&one->engine, ONEDNN_CPU, 0), "making an engine");
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

// Attributes of their own for each description: given fewer links than they had, those of 2.6 keep the rest.
static OnednnResult renew_attributes(Onednn *one) {
  const OnednnLibrary *library = one->library;
  if (one->attributes) library->dnnl_primitive_attr_destroy(one->attributes);
  one->attributes = NULL;
  OnednnResult result = library->dnnl_primitive_attr_create(&one->attributes);
  return result ? result : library->dnnl_primitive_attr_set_scratchpad_mode(one->attributes, ONEDNN_USER_SCRATCHPAD);
}

static OnednnResult set_links(Onednn *one, const OnednnLink *links, int count) {
  const OnednnLibrary *library = one->library;
  OnednnPostOps operations;
  OnednnResult result = renew_attributes(one);
  if (!result) result = library->dnnl_post_ops_create(&operations);
  if (result) return result;
  for (int i = 0; i < count && !result; i++) result = append_link(library, operations, &links[i]);
  if (!result) result = library->dnnl_primitive_attr_set_post_ops(one->attributes, operations);
  library->dnnl_post_ops_destroy(operations);
  return result;
}

typedef struct Layouts {
  OnednnLayout x, weights, bias, y;
} Layouts;

static OnednnResult describe_2(const Onednn *one, OnednnPart *part, const Layouts *l) {
  const OnednnLibrary *library = one->library;
  const OnednnOperation *operation = &part->slice->operation;
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
    default:
      result = library->dnnl_dilated_deconvolution_forward_desc_init(desc, ONEDNN_INFERENCE, ONEDNN_DECONV_DIRECT, l->x,
                                                                     l->weights, l->bias, l->y, w->strides, w->dilations,
                                                                     w->pad_begin, w->pad_end);
      break;
  }
  return result ? result : library->dnnl_primitive_desc_create(&part->desc, desc, one->attributes, one->engine, NULL);
}

static OnednnResult describe_3(const Onednn *one, OnednnPart *part, const Layouts *l) {
  const OnednnLibrary *library = one->library;
  const OnednnOperation *operation = &part->slice->operation;
  const OnednnWindow *w = &operation->window;
  switch (operation->kind) {
    case ONEDNN_MATMUL:
      return library->dnnl_matmul_primitive_desc_create(&part->desc, one->engine, l->x, l->weights, l->bias, l->y,
                                                        one->attributes);
    case ONEDNN_CONV:
      return library->dnnl_convolution_forward_primitive_desc_create(
          &part->desc, one->engine, ONEDNN_INFERENCE, ONEDNN_CONV_DIRECT, l->x, l->weights, l->bias, l->y, w->strides,
          w->dilations, w->pad_begin, w->pad_end, one->attributes);
    default:
      return library->dnnl_deconvolution_forward_primitive_desc_create(
          &part->desc, one->engine, ONEDNN_INFERENCE, ONEDNN_DECONV_DIRECT, l->x, l->weights, l->bias, l->y, w->strides,
          w->dilations, w->pad_begin, w->pad_end, one->attributes);
  }
}

static OnednnResult describe(Onednn *one, OnednnPart *part) {
  const OnednnLibrary *library = one->library;
  const OnednnOperation *operation = &part->slice->operation;
  const OnednnTensor *tensors[] = {&operation->x, &operation->weights, &operation->bias, &operation->y};
  Layout layouts[4];
  OnednnLayout made[4];
  OnednnResult result = set_links(one, part->slice->links, one->link_count);
  int count = 0;
  for (; count < 4 && !result; count++) {
    result = layout_make(library, tensors[count], &layouts[count]);
    made[count] = layout_of(library, tensors[count], &layouts[count]);
  }
  if (!result) {
    Layouts all = {made[0], made[1], made[2], made[3]};
    result = library->generation == 2 ? describe_2(one, part, &all) : describe_3(one, part, &all);
  }
  if (result) part->desc = NULL;
  for (int i = 0; i < count; i++) layout_free(library, &layouts[i]);
  return result;
}

// threads 0: one slice, where the library has nothing for one of several.
static OnednnResult describe_in(Onednn *one, int threads) {
  OnednnSlice *slices;
  free_parts(one);
  one->slices = arena_new();
  OnednnSlice whole = {.operation = one->operation, .link_count = one->link_count, .operand_count = one->tail.count};
  memcpy(whole.links, one->links, sizeof whole.links);
  memcpy(whole.operands, one->tail.operands, sizeof whole.operands);
  int count = onednn_split(&whole, threads, one->tail.program != NULL, one->slices, &slices);
  one->parts = arena_array(one->arena, OnednnPart, (size_t)count);
  OnednnResult result = ONEDNN_SUCCESS;
  int before = enter(one->library);
  for (int i = 0; i < count && !result; i++) {
    one->parts[i] = (OnednnPart){.slice = &slices[i]};
    memcpy(one->parts[i].offsets, slices[i].offsets, sizeof slices[i].offsets);
    memcpy(one->parts[i].weights_dims, slices[i].operation.weights.dims, sizeof one->parts[i].weights_dims);
    one->part_count = i + 1;
    result = describe(one, &one->parts[i]);
  }
  leave(one->library, before);
  if (result) free_parts(one);
  return result;
}

static const char *part_implementation(const Onednn *one, int part) {
  const char *name = "";
  OnednnResult result = one->library->dnnl_primitive_desc_query(one->parts[part].desc, ONEDNN_QUERY_NAME, 0, &name);
  return result == ONEDNN_SUCCESS ? name : "";
}

// The name, or one of what it has before a colon: "ref:any", "x64:gemm:jit".
static bool is_called(const Onednn *one, const char *name) {
  return strstr(part_implementation(one, 0), name) || strstr(part_implementation(one, one->part_count - 1), name);
}

// Convolutions as products of unfolded images read operands of links in the wrong places, where axes have size 1 (seen in 2.6).
static bool reads_operands_elsewhere(const Onednn *one) {
  bool any = false;
  for (int i = 0; i < one->link_count; i++)
    for (int axis = 0; one->links[i].function >= ONEDNN_ADD && axis < one->links[i].operand.rank; axis++)
      any = any || one->links[i].operand.dims[axis] != 1;
  return any && one->operation.kind != ONEDNN_MATMUL && is_called(one, "gemm");
}

static bool is_fast(const Onednn *one) { return one->part_count && !is_called(one, "ref") && !reads_operands_elsewhere(one); }

Status onednn_describe(Onednn *one, const OnednnOperation *operation, const OnednnLink *links, int link_count, bool *fast) {
  int threads = thread_pool_size(one->pool);
  if (fast) *fast = false;
  TRY(check_room(ROOM_TO_DESCRIBE));
  one->operation = *operation;
  one->link_count = link_count;
  for (int i = 0; i < link_count; i++) one->links[i] = links[i];
  OnednnResult result = describe_in(one, threads);
  if (result != ONEDNN_OUT_OF_MEMORY && !is_fast(one) && one->part_count != 1) result = describe_in(one, 0);
  if (result == ONEDNN_OUT_OF_MEMORY || !fast) return onednn_status(result, "describing an operation");
  *fast = is_fast(one);
  return OK;
}

const char *onednn_implementation(const Onednn *one) { return part_implementation(one, 0); }

// ---- Making and running -----------------------------------------------------------------------------------------------------

static Status add_memory(const Onednn *one, OnednnPart *part, int role, int argument, OnednnLayout layout) {
  if (!layout) return OK;
  OnednnMemory memory;
  TRY_ONEDNN(one->library->dnnl_memory_create(&memory, layout, one->engine, NULL), "making a memory object");
  part->arguments[part->argument_count++] = (OnednnArgument){argument, memory};
  part->memory[role] = memory;
  return OK;
}

static Status add_tensor(const Onednn *one, OnednnPart *part, int role, int argument, const OnednnTensor *tensor) {
  Layout layout;
  Status status = onednn_status(layout_make(one->library, tensor, &layout), "describing a tensor");
  if (!status) status = add_memory(one, part, role, argument, layout_of(one->library, tensor, &layout));
  layout_free(one->library, &layout);
  return status;
}

static OnednnLayout wanted_weights(const Onednn *one, const OnednnPart *part) {
  return one->library->dnnl_primitive_desc_query_md(part->desc, ONEDNN_QUERY_WEIGHTS, 0);
}

static TensorDesc desc_of(const OnednnTensor *tensor, DType dtype) {
  TensorDesc desc = {.dtype = dtype, .rank = tensor->rank};
  for (int i = 0; i < tensor->rank; i++) desc.dims[i] = tensor->dims[i], desc.strides[i] = tensor->strides[i];
  return desc;
}

// Slices that are alike share their strips.
static void make_tail(Onednn *one, int number) {
  static const bool reduced[MAX_RANK];
  OnednnPart *part = &one->parts[number], *before = number ? part - 1 : NULL;
  const OnednnTail *tail = &one->tail;
  const OnednnSlice *slice = part->slice;
  if (!tail->program) return;
  TensorDesc y = desc_of(&slice->operation.y, DTYPE_F32);
  if (tail->clips && desc_is_dense(&y)) {
    part->clipped = desc_count(&y);
    return;
  }
  bool alike = before && before->tail && !memcmp(&before->slice->operation.y, &slice->operation.y, sizeof slice->operation.y) &&
               !memcmp(before->slice->operands, slice->operands, sizeof slice->operands);
  if (alike) {
    part->tail = before->tail;
  } else {
    TensorDesc inputs[1 + ONEDNN_OPERANDS] = {y};
    for (int i = 0; i < tail->count; i++) inputs[1 + i] = desc_of(&slice->operands[i], tail->dtypes[i]);
    part->tail = strips_new(one->arena, tail->program, false, y.rank, y.dims, reduced, inputs, 1 + tail->count, &y);
  }
  part->tail_at = one->scratch_bytes;
  one->scratch_bytes += align_up(part->tail->scratch_bytes, 64);
}

static Status make_part(Onednn *one, OnednnPart *part) {
  const OnednnLibrary *library = one->library;
  const OnednnOperation *operation = &part->slice->operation;
  TRY_ONEDNN(library->dnnl_stream_create(&part->stream, one->engine, 1), "making a stream");
  OnednnResult result = library->dnnl_primitive_create(&part->primitive, part->desc);
  if (result) part->primitive = NULL;
  TRY_ONEDNN(result, "making a primitive");
  TRY(add_tensor(one, part, ONEDNN_X, ONEDNN_ARGUMENT_X, &operation->x));
  if (operation->weights.rank) TRY(add_memory(one, part, ONEDNN_WEIGHTS, ONEDNN_ARGUMENT_WEIGHTS, wanted_weights(one, part)));
  TRY(add_tensor(one, part, ONEDNN_BIAS, ONEDNN_ARGUMENT_BIAS, &operation->bias));
  TRY(add_tensor(one, part, ONEDNN_Y, ONEDNN_ARGUMENT_Y, &operation->y));
  int link = library->generation == 2 ? ONEDNN_ARGUMENT_LINK_2 : ONEDNN_ARGUMENT_LINK_3;
  for (int i = 0; i < one->link_count; i++)
    TRY(add_tensor(one, part, ONEDNN_LINK + i, (link * (i + 1)) | ONEDNN_ARGUMENT_OPERAND, &part->slice->links[i].operand));
  OnednnLayout scratch = library->dnnl_primitive_desc_query_md(part->desc, ONEDNN_QUERY_SCRATCHPAD, 0);
  size_t bytes = scratch ? library->dnnl_memory_desc_get_size(scratch) : 0;
  part->scratch_at = one->scratch_bytes;
  one->scratch_bytes += align_up(bytes, 64);
  return bytes ? add_memory(one, part, ONEDNN_SCRATCH, ONEDNN_ARGUMENT_SCRATCHPAD, scratch) : OK;
}

// Slices of the same weights share them packed, where they want them in the same layout.
static void place_weights(Onednn *one) {
  size_t at = 0;
  for (int i = 0; i < one->part_count; i++) {
    OnednnPart *part = &one->parts[i];
    part->owns_packed = true;
    for (int k = 0; k < i && part->owns_packed; k++) {
      const OnednnPart *earlier = &one->parts[k];
      if (!earlier->owns_packed || earlier->offsets[ONEDNN_WEIGHTS] != part->offsets[ONEDNN_WEIGHTS] ||
          !one->library->dnnl_memory_desc_equal(wanted_weights(one, earlier), wanted_weights(one, part)))
        continue;
      part->owns_packed = false;
      part->packed_at = earlier->packed_at;
    }
    if (!part->owns_packed) continue;
    part->packed_at = at;
    at += align_up(one->library->dnnl_memory_desc_get_size(wanted_weights(one, part)), 64);
  }
}

Status onednn_make(Onednn *one) {
  Status status = check_room(ROOM_TO_MAKE);
  one->scratch_bytes = 0;
  int before = enter(one->library);
  for (int i = 0; i < one->part_count && !status; i++) status = make_part(one, &one->parts[i]);
  leave(one->library, before);
  for (int i = 0; i < one->part_count && !status; i++) make_tail(one, i);
  if (!status && one->operation.weights.any) place_weights(one);
  // Slices that are alike are one primitive to the library.
  for (int i = 0; i < one->part_count && !status; i++)
    if (i == 0 || memcmp(&one->parts[i].slice->operation, &one->parts[i - 1].slice->operation, sizeof(OnednnOperation)) != 0)
      arena_charge(one->arena, PRIMITIVE_BYTES);
  for (int i = 0; i < one->part_count; i++) one->parts[i].slice = NULL;
  arena_free(one->slices);
  one->slices = NULL;
  return status;
}

static void set_addresses(const Onednn *one, OnednnPart *part) {
  for (int role = 0; role < ONEDNN_ROLES; role++) {
    if (!part->memory[role]) continue;
    size_t offset = role == ONEDNN_SCRATCH                                 ? part->scratch_at
                    : role == ONEDNN_WEIGHTS && one->operation.weights.any ? part->packed_at
                                                                           : (size_t)part->offsets[role] * sizeof(float);
    one->library->dnnl_memory_set_data_handle(part->memory[role], (char *)one->data[role] + offset);
  }
}

static void run_tail(const Onednn *one, const OnednnPart *part) {
  void *y = (float *)one->data[ONEDNN_Y] + part->offsets[ONEDNN_Y], *inputs[1 + ONEDNN_OPERANDS] = {y};
  if (part->clipped) {
    strip_table_best()->clip(y, part->clipped, one->tail.low, one->tail.high);
    return;
  }
  for (int i = 0; i < one->tail.count; i++)
    inputs[1 + i] =
        (char *)one->data[ONEDNN_OPERAND + i] + part->offsets[ONEDNN_OPERAND + i] * (int64_t)dtype_size(one->tail.dtypes[i]);
  strips_run(part->tail, inputs, &y, (char *)one->data[ONEDNN_SCRATCH] + part->tail_at, 0, part->tail->group_count);
}

static void run_parts(void *context, int64_t begin, int64_t end) {
  const Onednn *one = context;
  int before = enter(one->library);
  for (int64_t i = begin; i < end; i++) {
    OnednnPart *part = &one->parts[i];
    set_addresses(one, part);
    part->result = one->library->dnnl_primitive_execute(part->primitive, part->stream, part->argument_count, part->arguments);
    if (one->tail.program && part->result == ONEDNN_SUCCESS) run_tail(one, part);
  }
  leave(one->library, before);
}

Status onednn_run(Onednn *one) {
  TRY(check_room(ROOM_TO_RUN));
  parallel_for(one->pool, one->part_count, 1, run_parts, one);
  OnednnResult result = ONEDNN_SUCCESS;
  for (int i = 0; i < one->part_count && !result; i++) result = one->parts[i].result;
  return onednn_status(result, "executing a primitive");
}

size_t onednn_weights_bytes(const Onednn *one) {
  size_t bytes = 0;
  for (int i = 0; i < one->part_count; i++) {
    const OnednnPart *part = &one->parts[i];
    if (part->owns_packed)
      bytes = MAX(bytes, part->packed_at + one->library->dnnl_memory_desc_get_size(wanted_weights(one, part)));
  }
  return bytes;
}

// A layout of 2.x is a structure whose beginning, up to the flags behind the strides and blocks, says all; one of 3.x gives its bytes
// where the library is new enough. Otherwise it is like no other.
static Hash128 layout_hash(const OnednnLibrary *library, OnednnLayout layout) {
  enum { BEGINNING = 624, MOST = 4096 };
  uint8_t bytes[MOST];
  size_t size = sizeof bytes;
  if (library->generation == 2) return hash128_bytes(layout, BEGINNING);
  if (library->get_layout_bytes && library->get_layout_bytes(NULL, &size, layout) == ONEDNN_SUCCESS && size <= sizeof bytes &&
      library->get_layout_bytes(bytes, &size, layout) == ONEDNN_SUCCESS)
    return hash128_bytes(bytes, size);
  return hash128_bytes(&layout, sizeof layout);
}

Hash128 onednn_weights_form(const Onednn *one) {
  Hash128 form = {1, 2};
  for (int i = 0; i < one->part_count; i++) {
    const OnednnPart *part = &one->parts[i];
    if (!part->owns_packed) continue;
    int64_t place[] = {(int64_t)part->packed_at, part->offsets[ONEDNN_WEIGHTS]};
    form = hash128_combine(form, hash128_bytes(place, sizeof place));
    form = hash128_combine(form, hash128_bytes(part->weights_dims, sizeof part->weights_dims));
    form = hash128_combine(form, layout_hash(one->library, wanted_weights(one, part)));
  }
  return form;
}

static OnednnResult pack_part(const Onednn *one, const OnednnPart *part, const OnednnTensor *from, const void *weights,
                              void *packed) {
  const OnednnLibrary *library = one->library;
  OnednnMemory source = NULL, target = NULL;
  OnednnPrimitiveDesc desc = NULL;
  OnednnPrimitive primitive = NULL;
  Layout layout;
  OnednnResult result = layout_make(library, from, &layout);
  OnednnLayout source_layout = layout_of(library, from, &layout), wanted = wanted_weights(one, part);
  if (!result) result = library->dnnl_memory_create(&source, source_layout, one->engine, (void *)weights);
  if (!result) result = library->dnnl_memory_create(&target, wanted, one->engine, packed);
  if (!result)
    result = library->dnnl_reorder_primitive_desc_create(&desc, source_layout, one->engine, wanted, one->engine, NULL);
  if (!result) result = library->dnnl_primitive_create(&primitive, desc);
  OnednnArgument arguments[] = {{ONEDNN_ARGUMENT_X, source}, {ONEDNN_ARGUMENT_Y, target}};
  if (!result) result = library->dnnl_primitive_execute(primitive, part->stream, 2, arguments);
  if (primitive) library->dnnl_primitive_destroy(primitive);
  if (desc) library->dnnl_primitive_desc_destroy(desc);
  if (target) library->dnnl_memory_destroy(target);
  if (source) library->dnnl_memory_destroy(source);
  layout_free(library, &layout);
  return result;
}

Status onednn_pack(Onednn *one, const OnednnTensor *from, const float *weights, void *packed) {
  TRY(check_room(ROOM_TO_MAKE));
  OnednnResult result = ONEDNN_SUCCESS;
  int before = enter(one->library);
  for (int i = 0; i < one->part_count && !result; i++) {
    const OnednnPart *part = &one->parts[i];
    OnednnTensor slice = *from;
    memcpy(slice.dims, part->weights_dims, sizeof slice.dims);
    if (part->owns_packed)
      result = pack_part(one, part, &slice, weights + part->offsets[ONEDNN_WEIGHTS], (char *)packed + part->packed_at);
  }
  leave(one->library, before);
  return onednn_status(result, "packing weights");
}
