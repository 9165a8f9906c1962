// See cpu_own.h.
#include "kernels/common/cpu_own.h"
#include <string.h>
#include "base/checked.h"
#include "kernels/common/value_range.h"

static bool is_narrow_float(DType dtype) { return dtype_is_float(dtype) && dtype != DTYPE_F64; }
static bool is_narrow_integer(DType dtype) { return dtype_is_integer(dtype) && (dtype == DTYPE_I32 || dtype_bits(dtype) <= 8); }

bool cpu_own_supports(const Site *site) {
  const Node *node = site->node;
  const TensorDesc *x = &site->inputs[0], *w = &site->inputs[1], *y = &site->outputs[0];
  bool floats = is_narrow_float(x->dtype) && is_narrow_float(w->dtype);
  bool integers = is_narrow_integer(x->dtype) && is_narrow_integer(w->dtype);
  if (!floats && !integers) return false;
  if (!w->constant && w->dtype != (floats ? DTYPE_F32 : DTYPE_I32)) return false;
  if (desc_count(x) == 0 || desc_count(w) == 0 || desc_count(y) == 0) return false;
  if (!node->epilogue) return floats ? is_narrow_float(y->dtype) : y->dtype == DTYPE_I32;
  if (node->epilogue->code[0].op != OP_input) return false;
  for (int i = 0; i < node->input_count; i++)
    if (site->inputs[i].absent) return false;
  return true;
}

Status cpu_own_new(const Site *site, Arena *arena, ThreadPool *pool, CpuOwn *out) {
  *out = (CpuOwn){.arena = arena, .pool = pool, .site = *site, .kind = GEMM_FLOATS, .result = site->outputs[0]};
  if (dtype_is_integer(site->inputs[0].dtype)) {
    bool narrow = value_fits_i16(site->node->inputs[0]) && value_fits_i16(site->node->inputs[1]);
    out->kind = narrow ? GEMM_PAIRS : GEMM_INTS;
  }
  return OK;
}

DType cpu_own_dtype(GemmKind kind) { return kind == GEMM_FLOATS ? DTYPE_F32 : kind == GEMM_PAIRS ? DTYPE_I16 : DTYPE_I32; }

size_t cpu_own_reserve(CpuOwn *own, size_t bytes) {
  size_t at = own->workspace_bytes;
  own->workspace_bytes += align_up(bytes, 256);
  return at;
}

static bool lies_so(const TensorDesc *a, const TensorDesc *b) {
  for (int i = 0; i < a->rank; i++)
    if (a->dims[i] != 1 && a->strides[i] != b->strides[i]) return false;
  return a->dtype == b->dtype;
}

void cpu_own_stage(CpuOwn *own, const TensorDesc *from, const TensorDesc *to, size_t bytes) {
  size_t scratch = 0;
  if (lies_so(from, to)) return;
  Program *program = program_new(own->arena, 1);
  program_output(program, program_cast(program, to->dtype, program_input(program, 0, from->dtype)));
  own->copy = cpu_strips_elementwise(own->arena, own->pool, program, from, to, &scratch);
  own->scratch = MAX(own->scratch, scratch);
  own->x_bytes = bytes;
  own->clear_x = bytes > (size_t)desc_count(to) * dtype_size(to->dtype);
  own->x_at = cpu_own_reserve(own, bytes);
}

void cpu_own_result(CpuOwn *own, const int64_t *strides, bool direct) {
  TensorDesc *result = &own->result;
  result->dtype = own->kind == GEMM_FLOATS ? DTYPE_F32 : DTYPE_I32;
  result->offset = 0;
  own->y_staged = !direct || result->dtype != own->site.outputs[0].dtype;
  if (!own->y_staged) return;
  memcpy(result->strides, strides, sizeof(int64_t) * (size_t)result->rank);
  own->y_at = cpu_own_reserve(own, (size_t)desc_count(result) * 4);
}

void cpu_own_finish(CpuOwn *own) {
  const Node *node = own->site.node;
  const Program *program = node->epilogue;
  const TensorDesc *y = &own->site.outputs[0];
  size_t scratch = 0;
  own->pass_inputs = arena_array(own->arena, void *, program ? program->input_count : 1);
  if (program) {
    TensorDesc *inputs = arena_array(own->arena, TensorDesc, program->input_count);
    inputs[0] = own->result;
    for (int i = 1; i < program->input_count; i++) inputs[i] = own->site.inputs[node->epilogue_first + i - 1];
    own->pass = cpu_strips_elementwise(own->arena, own->pool, program, inputs, y, &scratch);
  } else if (own->y_staged) {
    own->pass = cpu_strips_copy(own->arena, own->pool, &own->result, y, &scratch);
  }
  own->scratch_at = cpu_own_reserve(own, MAX(own->scratch, scratch));
}

void *cpu_own_x(const CpuOwn *own, const CpuCall *call) {
  char *workspace = call->workspace;
  if (!own->copy) return call->inputs[0];
  void *x = workspace + own->x_at;
  if (own->clear_x) memset(x, 0, own->x_bytes);
  cpu_strips_run(own->copy, call->pool, &call->inputs[0], &x, workspace + own->scratch_at);
  return x;
}

void *cpu_own_y(const CpuOwn *own, const CpuCall *call) {
  return own->y_staged ? (char *)call->workspace + own->y_at : call->outputs[0];
}

void cpu_own_pass(CpuOwn *own, const CpuCall *call) {
  const Node *node = own->site.node;
  if (!own->pass) return;
  own->pass_inputs[0] = cpu_own_y(own, call);
  for (int i = 1; node->epilogue && i < node->epilogue->input_count; i++)
    own->pass_inputs[i] = call->inputs[node->epilogue_first + i - 1];
  cpu_strips_run(own->pass, call->pool, own->pass_inputs, call->outputs, (char *)call->workspace + own->scratch_at);
}

Status cpu_own_constant(const CpuOwn *own, const Tensor *constant, Arena *scratch, const void **out) {
  DType wanted = own->kind == GEMM_FLOATS ? DTYPE_F32 : DTYPE_I32;
  Tensor made;
  *out = constant->data;
  if (constant->dtype == wanted) return OK;
  TRY(tensor_new(scratch, wanted, constant->rank, constant->dims, &made));
  for (int64_t i = 0; i < tensor_count(constant); i++)
    if (wanted == DTYPE_F32) ((float *)made.data)[i] = (float)tensor_get_f(constant, i);
    else ((int32_t *)made.data)[i] = (int32_t)tensor_get_i(constant, i);
  *out = made.data;
  return OK;
}
