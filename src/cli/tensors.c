// Tensors from files and from nothing: a command's inputs.
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "cli/cli.h"
#include "onnx/tensor.h"

ingot_tensor cli_wrap(const Tensor *tensor, int64_t *shape) {
  static const uint8_t codes[] = {[KIND_FLOAT] = kDLFloat, [KIND_SIGNED] = kDLInt, [KIND_UNSIGNED] = kDLUInt, [KIND_BOOL] = kDLBool, [KIND_COMPLEX] = kDLComplex};
  static const uint8_t special[DTYPE_COUNT] = {[DTYPE_BF16] = kDLBfloat,           [DTYPE_F8E4M3FN] = kDLFloat8_e4m3fn, [DTYPE_F8E4M3FNUZ] = kDLFloat8_e4m3fnuz,
                                               [DTYPE_F8E5M2] = kDLFloat8_e5m2,    [DTYPE_F8E5M2FNUZ] = kDLFloat8_e5m2fnuz, [DTYPE_F8E8M0] = kDLFloat8_e8m0fnu,
                                               [DTYPE_F4E2M1] = kDLFloat4_e2m1fn};
  memcpy(shape, tensor->dims, sizeof tensor->dims);
  uint8_t code = special[tensor->dtype] ? special[tensor->dtype] : codes[dtype_kind(tensor->dtype)];
  return (ingot_tensor){.data = tensor->data, .device = {kDLCPU, 0}, .ndim = tensor->rank, .dtype = {code, (uint8_t)dtype_bits(tensor->dtype), 1}, .shape = shape};
}

int cli_unwrap(const ingot_tensor *tensor, Tensor *out) {
  *out = (Tensor){.rank = tensor->ndim, .data = (char *)tensor->data + tensor->byte_offset};
  memcpy(out->dims, tensor->shape, (size_t)tensor->ndim * sizeof *out->dims);
  for (int d = 0; d < DTYPE_COUNT; d++) {
    Tensor probe = {.dtype = (DType)d};
    int64_t shape[MAX_RANK];
    if (d == DTYPE_STRING) continue;
    DLDataType type = cli_wrap(&probe, shape).dtype;
    if (type.code != tensor->dtype.code || type.bits != tensor->dtype.bits) continue;
    out->dtype = (DType)d;
    return 0;
  }
  return cli_fail_text("an output has a type that DLPack code %d, %d bits does not tell", tensor->dtype.code, tensor->dtype.bits);
}

// "name:2x3,other:4" -> the dims of `name`; false where it is not mentioned.
static bool shape_given(const char *shapes, const char *name, int *rank, int64_t *dims) {
  size_t length = strlen(name);
  for (const char *at = shapes; at && *at;) {
    size_t span = strcspn(at, ",");
    if (span > length && !memcmp(at, name, length) && at[length] == ':') {
      const char *walk = at + length + 1;
      *rank = 0;
      while (walk < at + span && *rank < MAX_RANK) {
        char *end;
        dims[(*rank)++] = strtoll(walk, &end, 10);
        if (end == walk) return false;
        walk = *end == 'x' ? end + 1 : at + span;
      }
      return true;
    }
    at += span + (at[span] == ',');
  }
  return false;
}

static int random_input(const ingot_engine *engine, int index, const Common *common, uint64_t seed, Arena *arena, Tensor *out) {
  ingot_binding binding = ingot_engine_input(engine, index);
  DType dtype;
  int64_t dims[MAX_RANK];
  int rank = binding.rank;
  if (!dtype_parse(binding.dtype_name, &dtype)) return cli_fail_text("input '%s' has no declared type: give a file for it", binding.name);
  for (int k = 0; k < rank; k++) dims[k] = binding.dims[k];
  if (!shape_given(common->shapes, binding.name, &rank, dims))
    for (int k = 0; k < rank; k++)
      if (dims[k] < 0) dims[k] = 1;
  if (rank < 0) return cli_fail_text("input '%s' has no declared rank: say --shapes %s:1x2x3", binding.name, binding.name);
  Status status = tensor_new(arena, dtype, rank, dims, out);
  if (status) return cli_fail((ingot_error *)status);
  uint64_t state = seed * 0x9e3779b97f4a7c15ull + (uint64_t)index + 1;
  int64_t count = tensor_count(out);
  for (int64_t i = 0; i < count; i++) {
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    double unit = (double)(state >> 11) / 9007199254740992.0;
    if (dtype_is_float(dtype)) tensor_set_f(out, i, unit * 2 - 1);
    else tensor_set_i(out, i, dtype == DTYPE_BOOL ? (int64_t)(state >> 63) : (int64_t)(unit * 100));
  }
  return 0;
}

static const char *file_for(const Common *common, const char *name, int index) {
  size_t length = strlen(name);
  for (int i = 0; i < common->input_count; i++)
    if (!strncmp(common->inputs[i], name, length) && common->inputs[i][length] == '=') return common->inputs[i] + length + 1;
  return index < common->input_count && !strchr(common->inputs[index], '=') ? common->inputs[index] : NULL;
}

int cli_make_inputs(const ingot_engine *engine, const Common *common, const char *folder, uint64_t seed, InputSet *out) {
  Arena *arena = arena_new();
  int count = ingot_engine_input_count(engine);
  *out = (InputSet){.arena = arena, .count = count, .tensors = arena_array(arena, ingot_tensor, count)};
  for (int i = 0; i < count; i++) {
    ingot_binding binding = ingot_engine_input(engine, i);
    Tensor *tensor = arena_new_of(arena, Tensor);
    const char *file = file_for(common, binding.name, i);
    if (!file && folder) file = arena_printf(arena, "%s/input_%d.pb", folder, i);
    int code = file ? cli_read_tensor(file, &binding, arena, tensor) : random_input(engine, i, common, seed, arena, tensor);
    if (code) return code;
    out->tensors[i] = cli_wrap(tensor, arena_array(arena, int64_t, MAX_RANK));
  }
  return 0;
}

void cli_free_inputs(InputSet *set) { arena_free(set->arena); }
