// oneDNN, opened at run time. What Ingot uses of its C interface is declared here, for both of its generations: 2.x describes tensors and operations by
// structures, 3.x by handles. A structure is passed by its address, so the two differ only where descriptions are made. Those of
// 2.x are filled in by the library and never looked into: they are blocks of bytes here.
#pragma once
#include "base/arena.h"

typedef int OnednnResult;
enum { ONEDNN_SUCCESS = 0, ONEDNN_OUT_OF_MEMORY = 1, ONEDNN_INVALID_ARGUMENTS = 2, ONEDNN_UNIMPLEMENTED = 3 };
enum { ONEDNN_CPU = 1, ONEDNN_F32 = 3, ONEDNN_INFERENCE = 96, ONEDNN_USER_SCRATCHPAD = 1, ONEDNN_ANY_LAYOUT = 1 };
enum { ONEDNN_QUERY_NAME = 8, ONEDNN_QUERY_WEIGHTS = 131, ONEDNN_QUERY_SCRATCHPAD = 136 };
enum { ONEDNN_CONV_DIRECT = 1, ONEDNN_DECONV_DIRECT = 10 };
// What a memory object is to a primitive.
enum {
  ONEDNN_ARGUMENT_X = 1,
  ONEDNN_ARGUMENT_OPERAND = 2,  // or-ed to that of a link
  ONEDNN_ARGUMENT_Y = 17,
  ONEDNN_ARGUMENT_WEIGHTS = 33,
  ONEDNN_ARGUMENT_BIAS = 41,
  ONEDNN_ARGUMENT_SCRATCHPAD = 80,
  ONEDNN_ARGUMENT_LINK_2 = 16384,  // times the link's number, counted from 1
  ONEDNN_ARGUMENT_LINK_3 = 32768
};

typedef struct dnnl_engine *OnednnEngine;
typedef struct dnnl_stream *OnednnStream;
typedef struct dnnl_primitive_attr *OnednnAttributes;
typedef struct dnnl_post_ops *OnednnPostOps;
typedef struct dnnl_primitive_desc *OnednnPrimitiveDesc;
typedef struct dnnl_primitive *OnednnPrimitive;
typedef struct dnnl_memory *OnednnMemory;
typedef struct OnednnArgument {
  int argument;
  OnednnMemory memory;
} OnednnArgument;
typedef const void *OnednnLayout;  // dnnl_memory_desc_t *, or its handle
typedef struct OnednnVersion {
  int major, minor, patch;
  const char *hash;
  unsigned cpu_runtime, gpu_runtime;
} OnednnVersion;

// clang-format off
#define ONEDNN_TABLE(CALL)                                                                                                    \
  CALL(dnnl_engine_create, OnednnResult, (OnednnEngine *engine, int kind, size_t index))                                      \
  CALL(dnnl_engine_destroy, OnednnResult, (OnednnEngine engine))                                                              \
  CALL(dnnl_stream_create, OnednnResult, (OnednnStream *stream, OnednnEngine engine, unsigned flags))                         \
  CALL(dnnl_stream_destroy, OnednnResult, (OnednnStream stream))                                                              \
  CALL(dnnl_primitive_attr_create, OnednnResult, (OnednnAttributes *attributes))                                              \
  CALL(dnnl_primitive_attr_destroy, OnednnResult, (OnednnAttributes attributes))                                              \
  CALL(dnnl_primitive_attr_set_scratchpad_mode, OnednnResult, (OnednnAttributes attributes, int mode))                        \
  CALL(dnnl_primitive_attr_set_post_ops, OnednnResult, (OnednnAttributes attributes, OnednnPostOps operations))               \
  CALL(dnnl_post_ops_create, OnednnResult, (OnednnPostOps *operations))                                                       \
  CALL(dnnl_post_ops_destroy, OnednnResult, (OnednnPostOps operations))                                                       \
  CALL(dnnl_post_ops_append_binary, OnednnResult, (OnednnPostOps operations, int algorithm, OnednnLayout operand))            \
  CALL(dnnl_primitive_desc_destroy, OnednnResult, (OnednnPrimitiveDesc desc))                                                 \
  CALL(dnnl_primitive_desc_query, OnednnResult, (OnednnPrimitiveDesc desc, int what, int index, void *result))                \
  CALL(dnnl_primitive_desc_query_md, OnednnLayout, (OnednnPrimitiveDesc desc, int what, int index))                           \
  CALL(dnnl_primitive_create, OnednnResult, (OnednnPrimitive *primitive, OnednnPrimitiveDesc desc))                           \
  CALL(dnnl_primitive_destroy, OnednnResult, (OnednnPrimitive primitive))                                                     \
  CALL(dnnl_primitive_execute, OnednnResult,                                                                                  \
       (OnednnPrimitive primitive, OnednnStream stream, int count, const OnednnArgument *arguments))                          \
  CALL(dnnl_memory_create, OnednnResult, (OnednnMemory *memory, OnednnLayout layout, OnednnEngine engine, void *data))        \
  CALL(dnnl_memory_destroy, OnednnResult, (OnednnMemory memory))                                                              \
  CALL(dnnl_memory_set_data_handle, OnednnResult, (OnednnMemory memory, void *data))                                          \
  CALL(dnnl_memory_desc_get_size, size_t, (OnednnLayout layout))                                                              \
  CALL(dnnl_memory_desc_equal, int, (OnednnLayout a, OnednnLayout b))                                                         \
  CALL(dnnl_reorder_primitive_desc_create, OnednnResult,                                                                      \
       (OnednnPrimitiveDesc *desc, OnednnLayout from, OnednnEngine from_engine, OnednnLayout to, OnednnEngine to_engine,      \
        OnednnAttributes attributes))
#define ONEDNN_TABLE_2(CALL)                                                                                                  \
  CALL(dnnl_memory_desc_init_by_strides, OnednnResult,                                                                        \
       (void *layout, int rank, const int64_t *dims, int dtype, const int64_t *strides))                                      \
  CALL(dnnl_memory_desc_init_by_tag, OnednnResult, (void *layout, int rank, const int64_t *dims, int dtype, int tag))         \
  CALL(dnnl_matmul_desc_init, OnednnResult,                                                                                   \
       (void *operation, OnednnLayout x, OnednnLayout weights, OnednnLayout bias, OnednnLayout y))                            \
  CALL(dnnl_dilated_convolution_forward_desc_init, OnednnResult,                                                              \
       (void *operation, int kind, int algorithm, OnednnLayout x, OnednnLayout weights, OnednnLayout bias, OnednnLayout y,    \
        const int64_t *strides, const int64_t *dilations, const int64_t *pad_begin, const int64_t *pad_end))                  \
  CALL(dnnl_dilated_deconvolution_forward_desc_init, OnednnResult,                                                            \
       (void *operation, int kind, int algorithm, OnednnLayout x, OnednnLayout weights, OnednnLayout bias, OnednnLayout y,    \
        const int64_t *strides, const int64_t *dilations, const int64_t *pad_begin, const int64_t *pad_end))                  \
  CALL(dnnl_primitive_desc_create, OnednnResult,                                                                              \
       (OnednnPrimitiveDesc *desc, const void *operation, OnednnAttributes attributes, OnednnEngine engine, void *hint))
#define ONEDNN_TABLE_3(CALL)                                                                                                  \
  CALL(dnnl_memory_desc_create_with_strides, OnednnResult,                                                                    \
       (void **layout, int rank, const int64_t *dims, int dtype, const int64_t *strides))                                     \
  CALL(dnnl_memory_desc_create_with_tag, OnednnResult, (void **layout, int rank, const int64_t *dims, int dtype, int tag))    \
  CALL(dnnl_memory_desc_destroy, OnednnResult, (void *layout))                                                                \
  CALL(dnnl_matmul_primitive_desc_create, OnednnResult,                                                                       \
       (OnednnPrimitiveDesc *desc, OnednnEngine engine, OnednnLayout x, OnednnLayout weights, OnednnLayout bias,              \
        OnednnLayout y, OnednnAttributes attributes))                                                                         \
  CALL(dnnl_convolution_forward_primitive_desc_create, OnednnResult,                                                          \
       (OnednnPrimitiveDesc *desc, OnednnEngine engine, int kind, int algorithm, OnednnLayout x, OnednnLayout weights,        \
        OnednnLayout bias, OnednnLayout y, const int64_t *strides, const int64_t *dilations, const int64_t *pad_begin,        \
        const int64_t *pad_end, OnednnAttributes attributes))                                                                 \
  CALL(dnnl_deconvolution_forward_primitive_desc_create, OnednnResult,                                                        \
       (OnednnPrimitiveDesc *desc, OnednnEngine engine, int kind, int algorithm, OnednnLayout x, OnednnLayout weights,        \
        OnednnLayout bias, OnednnLayout y, const int64_t *strides, const int64_t *dilations, const int64_t *pad_begin,        \
        const int64_t *pad_end, OnednnAttributes attributes))
// clang-format on

typedef struct OnednnLibrary {
#define ONEDNN_FIELD(name, result, parameters) result(*name) parameters;
  ONEDNN_TABLE(ONEDNN_FIELD)
  ONEDNN_TABLE_2(ONEDNN_FIELD)  // NULL in 3.x
  ONEDNN_TABLE_3(ONEDNN_FIELD)  // NULL in 2.x
#undef ONEDNN_FIELD
  // These differ in their parameters, under one name.
  OnednnResult (*append_eltwise_2)(OnednnPostOps operations, float scale, int algorithm, float alpha, float beta);
  OnednnResult (*append_eltwise_3)(OnednnPostOps operations, int algorithm, float alpha, float beta);
  OnednnResult (*append_sum_2)(OnednnPostOps operations, float scale);
  OnednnResult (*append_sum_3)(OnednnPostOps operations, float scale, int32_t zero_point, int dtype);
  // Its own threads, which are not used: how many it forks is a setting of the calling thread.
  void (*set_threads)(int threads);
  int (*get_threads)(void);
  OnednnResult (*get_layout_bytes)(uint8_t *bytes, size_t *size, OnednnLayout layout);  // of 3.x, newer ones; else NULL
  int generation;                                                                       // 2 or 3
  char text[160];  // "oneDNN 2.6.3 (OpenMP), /usr/lib/x86_64-linux-gnu/libdnnl.so.2", or why there is none
} OnednnLibrary;

// The library ($INGOT_ONEDNN, libdnnl.so.3, .2), looked for once in a process; NULL where there is none that serves.
const OnednnLibrary *onednn_library(void);
const char *onednn_library_text(void);  // what was found, or why nothing was
