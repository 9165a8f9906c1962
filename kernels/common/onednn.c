// See onednn.h.
#include "kernels/common/onednn.h"
#include <string.h>

Status onednn_status(dnnl_status_t status, const char *what) {
  if (status == dnnl_success) return OK;
  const char *reason = status == dnnl_out_of_memory       ? "out of memory"
                       : status == dnnl_invalid_arguments ? "invalid arguments"
                       : status == dnnl_unimplemented     ? "unimplemented"
                                                          : "runtime error";
  ErrorCode code = status == dnnl_out_of_memory ? ERROR_OUT_OF_MEMORY : ERROR_INTERNAL;
  FAIL(code, "oneDNN: %s (%.60s)", reason, what);
}

static void release(void *context) {
  Onednn *one = context;
  for (int i = 0; i < one->argument_count; i++) dnnl_memory_destroy(one->arguments[i].memory);
  if (one->primitive) dnnl_primitive_destroy(one->primitive);
  if (one->desc) dnnl_primitive_desc_destroy(one->desc);
  if (one->attributes) dnnl_primitive_attr_destroy(one->attributes);
  if (one->stream) dnnl_stream_destroy(one->stream);
  if (one->engine) dnnl_engine_destroy(one->engine);
}

Status onednn_new(Arena *arena, ThreadPool *pool, Onednn **out) {
  Onednn *one = *out = arena_new_of(arena, Onednn);
  *one = (Onednn){.team = cpu_team_find(), .pool = pool, .scratch_argument = -1};
  arena_on_free(arena, release, one);
  TRY_DNNL(dnnl_engine_create(&one->engine, dnnl_cpu, 0));
  TRY_DNNL(dnnl_stream_create(&one->stream, one->engine, dnnl_stream_default_flags));
  TRY_DNNL(dnnl_primitive_attr_create(&one->attributes));
  TRY_DNNL(dnnl_primitive_attr_set_scratchpad_mode(one->attributes, dnnl_scratchpad_mode_user));
  return OK;
}

Status onednn_describe(Onednn *one, const_dnnl_op_desc_t operation, bool *fast) {
  if (one->desc) dnnl_primitive_desc_destroy(one->desc);
  one->desc = NULL;
  if (fast) *fast = false;
  int before = cpu_team_enter(&one->team, one->pool);
  dnnl_status_t status = dnnl_primitive_desc_create(&one->desc, operation, one->attributes, one->engine, NULL);
  cpu_team_leave(&one->team, before);
  if (status != dnnl_success) one->desc = NULL;
  if (status == dnnl_out_of_memory || !fast) return onednn_status(status, "describing an operation");
  if (status != dnnl_success) return OK;
  *fast = strncmp(onednn_implementation(one), "ref", 3) != 0;
  return OK;
}

const char *onednn_implementation(const Onednn *one) {
  const char *name = "";
  return dnnl_primitive_desc_query(one->desc, dnnl_query_impl_info_str, 0, (void *)&name) == dnnl_success ? name : "";
}

Status onednn_make(Onednn *one) {
  int before = cpu_team_enter(&one->team, one->pool);
  dnnl_status_t status = dnnl_primitive_create(&one->primitive, one->desc);
  cpu_team_leave(&one->team, before);
  if (status != dnnl_success) one->primitive = NULL;
  TRY(onednn_status(status, "making a primitive"));
  const dnnl_memory_desc_t *scratch = onednn_memory_desc(one, dnnl_query_scratchpad_md, 0);
  one->scratch_bytes = scratch ? dnnl_memory_desc_get_size(scratch) : 0;
  if (one->scratch_bytes) TRY(onednn_argument(one, DNNL_ARG_SCRATCHPAD, scratch, &one->scratch_argument));
  return OK;
}

const dnnl_memory_desc_t *onednn_memory_desc(const Onednn *one, dnnl_query_t what, int index) {
  return dnnl_primitive_desc_query_md(one->desc, what, index);
}

Status onednn_argument(Onednn *one, int argument, const dnnl_memory_desc_t *desc, int *number) {
  if (one->argument_count == ONEDNN_ARGUMENTS) FAIL(ERROR_INTERNAL, "more than %d arguments of a primitive", ONEDNN_ARGUMENTS);
  dnnl_memory_t memory;
  TRY_DNNL(dnnl_memory_create(&memory, desc, one->engine, DNNL_MEMORY_NONE));
  one->arguments[one->argument_count] = (dnnl_exec_arg_t){argument, memory};
  *number = one->argument_count++;
  return OK;
}

Status onednn_run(Onednn *one, void *scratch) {
  if (one->scratch_argument >= 0) onednn_set(one, one->scratch_argument, scratch);
  int before = cpu_team_enter(&one->team, one->pool);
  dnnl_status_t status = dnnl_primitive_execute(one->primitive, one->stream, one->argument_count, one->arguments);
  cpu_team_leave(&one->team, before);
  return onednn_status(status, "executing a primitive");
}

Status onednn_reorder(Onednn *one, const dnnl_memory_desc_t *from_desc, const void *from, const dnnl_memory_desc_t *to_desc,
                      void *to) {
  dnnl_memory_t source = NULL, target = NULL;
  dnnl_primitive_desc_t desc = NULL;
  dnnl_primitive_t primitive = NULL;
  int before = cpu_team_enter(&one->team, one->pool);
  dnnl_status_t status = dnnl_memory_create(&source, from_desc, one->engine, (void *)from);
  if (!status) status = dnnl_memory_create(&target, to_desc, one->engine, to);
  if (!status) status = dnnl_reorder_primitive_desc_create(&desc, from_desc, one->engine, to_desc, one->engine, NULL);
  if (!status) status = dnnl_primitive_create(&primitive, desc);
  dnnl_exec_arg_t arguments[] = {{DNNL_ARG_FROM, source}, {DNNL_ARG_TO, target}};
  if (!status) status = dnnl_primitive_execute(primitive, one->stream, 2, arguments);
  cpu_team_leave(&one->team, before);
  if (primitive) dnnl_primitive_destroy(primitive);
  if (desc) dnnl_primitive_desc_destroy(desc);
  if (target) dnnl_memory_destroy(target);
  if (source) dnnl_memory_destroy(source);
  return onednn_status(status, "reordering weights");
}

bool onednn_dtype(DType dtype, dnnl_data_type_t *out) {
  switch (dtype) {
    case DTYPE_F32: *out = dnnl_f32; return true;
    case DTYPE_F16: *out = dnnl_f16; return true;
    case DTYPE_BF16: *out = dnnl_bf16; return true;
    case DTYPE_I32: *out = dnnl_s32; return true;
    case DTYPE_I8: *out = dnnl_s8; return true;
    case DTYPE_U8: *out = dnnl_u8; return true;
    default: return false;
  }
}
