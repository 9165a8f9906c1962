// See cpu_own.h.
#include "kernels/common/cpu_own.h"
#include <string.h>
#include "base/checked.h"
#include "kernels/common/value_range.h"
#include "kernels/packings.h"

static bool is_narrow_float(DType dtype) { return dtype_is_float(dtype) && dtype != DTYPE_F64; }
static bool is_narrow_integer(DType dtype) { return dtype_is_integer(dtype) && (dtype == DTYPE_I32 || dtype_bits(dtype) <= 8); }

static const TensorDesc *zero_point(const Site *site, int operand) {
  const TensorDesc *zero = &site->inputs[2 + operand];
  return site->node->input_count > 2 + operand && !zero->absent ? zero : NULL;
}

bool cpu_own_supports(const Site *site) {
  const TensorDesc *x = &site->inputs[0], *w = &site->inputs[1], *y = &site->outputs[0];
  bool floats = is_narrow_float(x->dtype) && is_narrow_float(w->dtype);
  bool integers = is_narrow_integer(x->dtype) && is_narrow_integer(w->dtype);
  REQUIRE(site, floats || integers, "operands are neither floats of 32 bits and fewer nor integers of 8 bits or 32");
  REQUIRE(site, w->constant || w->dtype == (floats ? DTYPE_F32 : DTYPE_I32),
          "weights that are not constant are of fewer than 32 bits");
  REQUIRE(site, desc_count(x) > 0 && desc_count(w) > 0 && desc_count(y) > 0, "a tensor is empty");
  const TensorDesc *w_zero = zero_point(site, 1);
  REQUIRE(site, !w_zero || (w->constant && w_zero->constant), "the weights' zero points, or they themselves, are not constant");
  REQUIRE(site, site->epilogue || (floats ? is_narrow_float(y->dtype) : y->dtype == DTYPE_I32),
          "the result's type is not that of the sums");
  REQUIRE(site, !site->epilogue || site->epilogue->code[0].op == OP_input, "the epilogue does not begin with the result");
  return true;
}

static bool is_byte(DType dtype) { return dtype == DTYPE_U8 || dtype == DTYPE_I8; }

// A column has one zero point: its bytes lie in a range of 256, whatever that is. Whatever else is folded from bytes is small.
bool cpu_own_takes_quads(const Site *site) {
  enum { MOST_LOOKED_AT = 1 << 16 };
  const Tensor *w = site->inputs[1].constant;
  if (!gemm_table_best()->kernels[GEMM_QUADS][0] || !is_byte(site->inputs[0].dtype) || !w) return false;
  if (is_byte(w->dtype)) return true;
  int64_t low = INT64_MAX, high = INT64_MIN;
  if (tensor_count(w) > MOST_LOOKED_AT) return false;
  for (int64_t i = 0; i < tensor_count(w); i++) {
    int64_t value = tensor_get_i(w, i);
    low = MIN(low, value), high = MAX(high, value);
  }
  return high - low <= UINT8_MAX;
}

Status cpu_own_new(const Site *site, Arena *arena, ThreadPool *pool, CpuOwn *out) {
  *out = (CpuOwn){.arena = arena, .pool = pool, .site = *site, .kind = GEMM_FLOATS, .result = site->outputs[0]};
  if (dtype_is_integer(site->inputs[0].dtype)) {
    bool narrow = value_fits_i16(site_operand(site, 0)) && value_fits_i16(site_operand(site, 1));
    out->kind = cpu_own_takes_quads(site) ? GEMM_QUADS : narrow ? GEMM_PAIRS : GEMM_INTS;
  }
  return OK;
}

DType cpu_own_dtype(GemmKind kind) {
  static const DType dtypes[] = {
      [GEMM_FLOATS] = DTYPE_F32, [GEMM_QUADS] = DTYPE_U8, [GEMM_PAIRS] = DTYPE_I16, [GEMM_INTS] = DTYPE_I32};
  return dtypes[kind];
}

enum { SIGN_BIT = 128 };  // what bytes with a sign are read with, so that they have none
int32_t cpu_own_zero(const CpuOwn *own, const HostCall *call) {
  const TensorDesc *zero = zero_point(&own->site, 0);
  bool is_signed = own->site.inputs[0].dtype == DTYPE_I8;
  int32_t value = !zero ? 0 : is_signed ? *(const int8_t *)call->inputs[2] : *(const uint8_t *)call->inputs[2];
  return value + (is_signed ? SIGN_BIT : 0);
}

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
  const TensorDesc *zero = own->kind == GEMM_QUADS ? NULL : zero_point(&own->site, 0);
  if (lies_so(from, to) && !zero) return;
  own->x_bytes = bytes;
  own->clear_x = bytes > (size_t)desc_count(to) * dtype_size(to->dtype);
  own->x_at = cpu_own_reserve(own, bytes);
  own->moves = from->dtype == to->dtype && !zero;
  if (own->moves) {
    cpu_copy_plan(&own->move, dtype_size(to->dtype), to->rank, to->dims, to->strides, from->strides);
    return;
  }
  Program *program = program_new(own->arena, 2);
  int x = program_input(program, 0, from->dtype);
  TensorDesc inputs[2] = {*from};
  if (zero) {
    inputs[1] = *zero;
    x = program_op2(program, OP_sub, program_cast(program, DTYPE_I32, x),
                    program_cast(program, DTYPE_I32, program_input(program, 1, zero->dtype)));
  } else if (own->kind == GEMM_QUADS && from->dtype == DTYPE_I8) {
    x = program_op2(program, OP_add, program_cast(program, DTYPE_I32, x), program_const_i(program, DTYPE_I32, SIGN_BIT));
  }
  program_output(program, program_cast(program, to->dtype, x));
  program->input_count = zero ? 2 : 1;
  own->copy = cpu_strips_elementwise(own->arena, own->pool, program, inputs, to, &scratch);
  own->scratch = MAX(own->scratch, scratch);
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
  const Site *site = &own->site;
  const Program *program = site->epilogue;
  const TensorDesc *y = &site->outputs[0];
  size_t scratch = 0;
  own->pass_inputs = arena_array(own->arena, void *, program ? program->input_count : 1);
  if (program) {
    TensorDesc *inputs = arena_array(own->arena, TensorDesc, program->input_count);
    inputs[0] = own->result;
    for (int i = 1; i < program->input_count; i++) inputs[i] = site->inputs[site->node->input_count + i - 1];
    own->pass = cpu_strips_elementwise(own->arena, own->pool, program, inputs, y, &scratch);
  } else if (own->y_staged) {
    own->pass = cpu_strips_copy(own->arena, own->pool, &own->result, y, &scratch);
  }
  own->scratch_at = cpu_own_reserve(own, MAX(own->scratch, scratch));
}

void *cpu_own_x(const CpuOwn *own, const HostCall *call) {
  char *workspace = call->workspace;
  if (!own->copy && !own->moves) return call->inputs[0];
  void *x = workspace + own->x_at;
  if (own->clear_x) memset(x, 0, own->x_bytes);
  if (own->moves) {
    cpu_copy_run(&own->move, call->pool, x, call->inputs[0]);
    return x;
  }
  void *inputs[2] = {call->inputs[0], zero_point(&own->site, 0) ? call->inputs[2] : NULL};
  cpu_strips_run(own->copy, call->pool, inputs, &x, workspace + own->scratch_at);
  return x;
}

void *cpu_own_y(const CpuOwn *own, const HostCall *call) {
  return own->y_staged ? (char *)call->workspace + own->y_at : call->outputs[0];
}

void cpu_own_pass(CpuOwn *own, const HostCall *call) {
  const Site *site = &own->site;
  if (!own->pass) return;
  own->pass_inputs[0] = cpu_own_y(own, call);
  for (int i = 1; site->epilogue && i < site->epilogue->input_count; i++)
    own->pass_inputs[i] = call->inputs[site->node->input_count + i - 1];
  cpu_strips_run(own->pass, call->pool, own->pass_inputs, call->outputs, (char *)call->workspace + own->scratch_at);
}

// The number of elements that share a zero point one after the other.
static int64_t zero_run(const Tensor *constant, const Tensor *zero) {
  int64_t run = 1;
  for (int i = constant->rank - 1; i >= 0; i--) {
    int own = i - (constant->rank - zero->rank);
    if (own >= 0 && zero->dims[own] != 1) break;
    run *= constant->dims[i];
  }
  return run;
}

static void widen_bytes(const Tensor *constant, const Tensor *zero, int32_t *out) {
  int64_t count = tensor_count(constant), run = zero ? zero_run(constant, zero) : count, zeros = zero ? tensor_count(zero) : 1;
  for (int64_t first = 0; first < count; first += run) {
    int32_t less = zero ? (int32_t)tensor_get_i(zero, first / run % zeros) : 0;
    if (constant->dtype == DTYPE_I8)
      for (int64_t i = first; i < first + run; i++) out[i] = ((const int8_t *)constant->data)[i] - less;
    else
      for (int64_t i = first; i < first + run; i++) out[i] = ((const uint8_t *)constant->data)[i] - less;
  }
}

Hash128 cpu_own_form(const CpuOwn *own, const void *place, size_t bytes) {
  const TensorDesc *zero = zero_point(&own->site, 1);
  Hash128 form = hash128_bytes(place, bytes);
  return zero ? hash128_combine(form, tensor_content_hash(zero->constant)) : form;
}

Status cpu_own_constant(const CpuOwn *own, Arena *scratch, const void **out) {
  DType wanted = own->kind == GEMM_FLOATS ? DTYPE_F32 : DTYPE_I32;
  const Tensor *constant = own->site.inputs[1].constant;
  const TensorDesc *zero = zero_point(&own->site, 1);
  Tensor made;
  *out = constant->data;
  if (constant->dtype == wanted) return OK;
  TRY(tensor_new(scratch, wanted, constant->rank, constant->dims, &made));
  *out = made.data;
  if (is_byte(constant->dtype)) {
    widen_bytes(constant, zero ? zero->constant : NULL, made.data);
    return OK;
  }
  for (int64_t i = 0; i < tensor_count(constant); i++)
    if (wanted == DTYPE_F32) ((float *)made.data)[i] = (float)tensor_get_f(constant, i);
    else ((int32_t *)made.data)[i] = (int32_t)tensor_get_i(constant, i);
  return OK;
}
