// The caller's tensors as the runner's. Nothing of them is trusted; what the session lent at the run before is copied out of the way of
// this run's results, and what lies at an address that kernels do not take is copied to one that they do.
#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "base/checked.h"
#include "base/memory.h"

enum { DEVICE_ALIGNMENT = 256 };  // of every buffer on a GPU, see kernels/site.h

bool api_on_host(const ingot_tensor *tensor) {
  return tensor->device.device_type == INGOT_CPU || tensor->device.device_type == INGOT_CUDA_HOST;
}

void api_drop(RunTensor *tensors, int count) {
  for (int i = 0; tensors && i < count; i++) {
    run_tensor_drop(&tensors[i]);
    tensors[i] = (RunTensor){0};
  }
}

Status api_read_shape(const ingot_tensor *given, const char *what, const char *name, Tensor *out) {
  *out = (Tensor){.rank = given->ndim};
  if (!api_dtype_from(given->dtype, &out->dtype))
    FAIL(ERROR_INVALID_ARGUMENT, "%s '%s': Ingot has no element type for DLPack code %d with %d bits and %d lanes", what, name,
         given->dtype.code, given->dtype.bits, given->dtype.lanes);
  if (given->ndim < 0 || given->ndim > MAX_RANK)
    FAIL(ERROR_INVALID_ARGUMENT, "%s '%s': rank %d is not between 0 and %d", what, name, given->ndim, MAX_RANK);
  if (given->ndim && !given->shape)
    FAIL(ERROR_INVALID_ARGUMENT, "%s '%s' has %d axes, but its shape is NULL", what, name, given->ndim);
  int64_t stride = 1;
  bool empty = false;
  for (int k = 0; k < given->ndim; k++) empty |= given->shape[k] == 0;
  for (int k = given->ndim - 1; k >= 0; k--) {
    if (given->shape[k] < 0) FAIL(ERROR_INVALID_ARGUMENT, "%s '%s': axis %d is negative", what, name, k);
    if (given->strides && !empty && given->shape[k] > 1 && given->strides[k] != stride)
      FAIL(ERROR_INVALID_ARGUMENT, "%s '%s' is not row-major", what, name);
    if (!checked_mul_i64(stride, MAX(given->shape[k], 1), &stride) || stride > INT64_MAX / 16)
      FAIL(ERROR_INVALID_ARGUMENT, "%s '%s' is too large", what, name);
    out->dims[k] = given->shape[k];
  }
  return OK;
}

static bool lies_in(const RunTensor *tensor, const void *data, size_t bytes) {
  for (int i = 0; tensor->list && i < tensor->list->count; i++)
    if (lies_in(&tensor->list->items[i], data, bytes)) return true;
  const Storage *storage = tensor->storage;
  return storage && (api_overlaps(data, bytes, storage->host_memory, storage->bytes) ||
                     api_overlaps(data, bytes, storage->device_memory, storage->bytes));
}

bool api_is_lent(const ingot_session *session, const void *data, size_t bytes) {
  for (int i = 0; i < ingot_engine_output_count(session->engine); i++)
    if (lies_in(&session->outputs[i], data, bytes)) return true;
  return false;
}

static Status take_host(ingot_session *session, const Tensor *tensor, RunTensor *out) {
  TRY(run_tensor_borrow_host(session->device, tensor, out));
  size_t bytes = tensor_bytes(tensor);
  bool aligned = (uintptr_t)tensor->data % dtype_size(tensor->dtype) == 0;
  if (!bytes || (aligned && !api_is_lent(session, tensor->data, bytes))) return OK;
  void *copy;
  TRY(memory_take(bytes, &copy));
  memcpy(copy, tensor->data, bytes);
  out->storage->host_memory = copy;
  out->storage->owns_host = true;
  return OK;
}

static Status take_device(ingot_session *session, const Tensor *tensor, RunTensor *out) {
  Device *device = session->device;
  TRY(run_tensor_borrow_device(device, tensor->dtype, tensor->rank, tensor->dims, tensor->data, out));
  size_t bytes = tensor_bytes(tensor);
  if (!bytes || ((uintptr_t)tensor->data % DEVICE_ALIGNMENT == 0 && !api_is_lent(session, tensor->data, bytes))) return OK;
  run_tensor_drop(out);
  const RunTensor type = *out;
  TRY(run_tensor_allocate(device, &type, bytes, out));
  return device->copy(device, out->storage->device_memory, tensor->data, bytes);
}

Status api_address(const ingot_tensor *given, size_t bytes, const char *what, const char *name, void **out) {
  uintptr_t start, end;
  *out = NULL;
  if (!given->data) return OK;
  if (__builtin_add_overflow((uintptr_t)given->data, given->byte_offset, &start) || __builtin_add_overflow(start, bytes, &end))
    FAIL(ERROR_INVALID_ARGUMENT, "%s '%s': its byte_offset of %llu leads beyond all memory", what, name,
         (unsigned long long)given->byte_offset);
  *out = (char *)given->data + given->byte_offset;
  return OK;
}

static Status take_tensor(ingot_session *session, const char *name, const ingot_tensor *given, RunTensor *out) {
  Tensor tensor;
  TRY(api_read_shape(given, "input", name, &tensor));
  TRY(api_address(given, tensor_bytes(&tensor), "input", name, &tensor.data));
  if (!given->data && tensor_bytes(&tensor)) FAIL(ERROR_INVALID_ARGUMENT, "input '%s' has no data", name);
  if (tensor.dtype == DTYPE_STRING) {
    if (!api_on_host(given)) FAIL(ERROR_INVALID_ARGUMENT, "input '%s' holds strings, which live on the host", name);
    TRY(api_check_strings(&tensor, name));
  }
  if (api_on_host(given)) return take_host(session, &tensor, out);
  TRY(api_check_device(session, given, "input", name));
  return take_device(session, &tensor, out);
}

static Status take_sequence(ingot_session *session, const Value *value, const ingot_tensor *given, RunTensor *out) {
  bool shaped = given->ndim == 1 && given->shape && given->shape[0] >= 0 && given->shape[0] <= INT32_MAX;
  if (!shaped || !api_on_host(given))
    FAIL(ERROR_INVALID_ARGUMENT, "input '%s': a sequence is on the host and has one axis, its elements", value->name);
  void *data;
  TRY(api_address(given, (size_t)given->shape[0] * sizeof(ingot_tensor), "input", value->name, &data));
  if (!data && given->shape[0]) FAIL(ERROR_INVALID_ARGUMENT, "input '%s' has no data", value->name);
  const ingot_tensor *elements = data;
  TRY(run_sequence_new(value->dtype == DTYPE_COUNT ? DTYPE_F32 : value->dtype, (int)given->shape[0], out));
  for (int i = 0; i < out->list->count; i++)
    TRY(status_context(take_tensor(session, value->name, &elements[i], &out->list->items[i]), "element %d", i));
  return OK;
}

static Status take_input(ingot_session *session, int index, const ingot_tensor *given, RunTensor *out) {
  const Value *value = session->engine->engine->graph->inputs[index];
  if (given->dtype.code == INGOT_TENSORS) return take_sequence(session, value, given, out);
  if (given->data || given->ndim || given->dtype.bits) return take_tensor(session, value->name, given, out);
  if (value->kind != VALUE_OPTIONAL)
    FAIL(ERROR_INVALID_ARGUMENT, "input '%s' is left out, but has no default and is no optional", value->name);
  *out = (RunTensor){.kind = VALUE_OPTIONAL, .dtype = DTYPE_COUNT};
  return OK;
}

Status api_check_device(const ingot_session *session, const ingot_tensor *given, const char *what, const char *name) {
  if (given->device.device_type != INGOT_CUDA)
    FAIL(ERROR_INVALID_ARGUMENT, "%s '%s': DLPack's device type %d is neither the host nor a CUDA device", what, name,
         given->device.device_type);
  if (session->device->info.kind != DEVICE_CUDA)
    FAIL(ERROR_INVALID_ARGUMENT, "%s '%s' lies on a GPU, but the session runs on the CPU", what, name);
  if (session->device_index >= 0 && given->device.device_id != session->device_index)
    FAIL(ERROR_INVALID_ARGUMENT, "%s '%s' lies on GPU %d, but the session runs on GPU %d", what, name, given->device.device_id,
         session->device_index);
  return OK;
}

bool api_overlaps(const void *a, size_t a_bytes, const void *b, size_t b_bytes) {
  uintptr_t x = (uintptr_t)a, y = (uintptr_t)b;
  return a_bytes && b_bytes && a && b && (x < y ? y - x < a_bytes : x - y < b_bytes);
}

Status api_take_inputs(ingot_session *session, const ingot_tensor *inputs, int count) {
  int expected = ingot_engine_input_count(session->engine);
  if (count > expected) FAIL(ERROR_INVALID_ARGUMENT, "the model has %d inputs, but %d were given", expected, count);
  api_drop(session->inputs, expected);
  for (int i = 0; i < expected; i++) {
    bool given = i < count && (inputs[i].data || inputs[i].ndim);
    if (!given && ingot_binding_has_default(&session->engine->inputs[i])) continue;
    if (i >= count)
      FAIL(ERROR_INVALID_ARGUMENT, "the model has %d inputs, but %d were given: '%s' has no default", expected, count,
           session->engine->inputs[i].name);
    TRY(take_input(session, i, &inputs[i], &session->inputs[i]));
  }
  return OK;
}
