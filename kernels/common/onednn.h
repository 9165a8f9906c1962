// oneDNN as CPU tactics use it: one primitive with its memory objects, made once in prepare; run fills in addresses and executes,
// and allocates nothing. Scratch memory is the caller's. Everything is released with the arena.
#pragma once
#include <dnnl.h>
#include "kernels/common/cpu_team.h"
#include "kernels/site.h"

MUST_CHECK Status onednn_status(dnnl_status_t status, const char *what);
#define TRY_DNNL(call) TRY(onednn_status((call), #call))

enum { ONEDNN_ARGUMENTS = 16 };

typedef struct Onednn {
  CpuTeam team;
  ThreadPool *pool;
  dnnl_engine_t engine;
  dnnl_stream_t stream;
  dnnl_primitive_attr_t attributes;  // scratchpad mode is user
  dnnl_primitive_desc_t desc;
  dnnl_primitive_t primitive;
  dnnl_exec_arg_t arguments[ONEDNN_ARGUMENTS];
  int argument_count;
  int scratch_argument;  // -1: none
  size_t scratch_bytes;
} Onednn;

MUST_CHECK Status onednn_new(Arena *arena, ThreadPool *pool, Onednn **out);
// Describes the operation (a dnnl_*_desc_t) with what `attributes` holds, replacing an earlier one. *fast, unless NULL, says whether
// oneDNN has more than plain loops for it. An operation it has nothing for gives *fast = false and OK; desc is then NULL.
MUST_CHECK Status onednn_describe(Onednn *one, const_dnnl_op_desc_t operation, bool *fast);
const char *onednn_implementation(const Onednn *one);  // oneDNN's name of what it would use: "brgconv:avx512_core"
// Makes the primitive of the description, and its scratchpad.
MUST_CHECK Status onednn_make(Onednn *one);
const dnnl_memory_desc_t *onednn_memory_desc(const Onednn *one, dnnl_query_t what, int index);
// Adds an argument (DNNL_ARG_*) and returns its number through *number.
MUST_CHECK Status onednn_argument(Onednn *one, int argument, const dnnl_memory_desc_t *desc, int *number);
static inline void onednn_set(Onednn *one, int number, void *data) {
  dnnl_memory_set_data_handle(one->arguments[number].memory, data);
}
MUST_CHECK Status onednn_run(Onednn *one, void *scratch);
// Rewrites data from one layout into another, for weights; not part of the primitive.
MUST_CHECK Status onednn_reorder(Onednn *one, const dnnl_memory_desc_t *from_desc, const void *from,
                                 const dnnl_memory_desc_t *to_desc, void *to);

bool onednn_dtype(DType dtype, dnnl_data_type_t *out);
