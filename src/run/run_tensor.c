// Tensors that may lie on the host, on the device, or on both.
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "run/runner.h"

size_t run_tensor_bytes(const RunTensor *tensor) {
  size_t bytes = dtype_size(tensor->dtype);
  for (int i = 0; i < tensor->rank; i++) bytes *= (size_t)tensor->dims[i];
  return bytes;
}

static Status storage_new(Device *device, size_t bytes, RunTensor *out) {
  Storage *storage = calloc(1, sizeof *storage);
  if (!storage) FAIL(ERROR_OUT_OF_MEMORY, "no memory for a tensor");
  *storage = (Storage){.references = 1, .device = device, .bytes = bytes};
  out->storage = storage;
  return OK;
}

Status run_tensor_borrow_host(Device *device, const Tensor *tensor, RunTensor *out) {
  *out = (RunTensor){.dtype = tensor->dtype, .rank = tensor->rank};
  memcpy(out->dims, tensor->dims, sizeof out->dims);
  TRY(storage_new(device, tensor_bytes(tensor), out));
  out->storage->host_memory = tensor->data;
  return OK;
}

Status run_tensor_borrow_device(Device *device, DType dtype, int rank, const int64_t *dims, void *memory, RunTensor *out) {
  *out = (RunTensor){.dtype = dtype, .rank = rank};
  memcpy(out->dims, dims, (size_t)rank * sizeof *dims);
  TRY(storage_new(device, run_tensor_bytes(out), out));
  out->storage->device_memory = memory;
  return OK;
}

static void own_device(Storage *storage, void *memory, size_t room) {
  storage->device_memory = memory;
  storage->owns_device = true;
  storage->room = room;
}

void storage_release_device(Storage *storage) {
  if (!storage->owns_device) return;
  storage->device->release(storage->device, storage->device_memory, storage->room);
  storage->owns_device = false;
  storage->device_memory = NULL;
}

Status run_tensor_allocate(Device *device, const RunTensor *type, size_t room, RunTensor *out) {
  void *memory;
  TRY(device->allocate(device, room, &memory));
  Status status = run_tensor_borrow_device(device, type->dtype, type->rank, type->dims, memory, out);
  if (status) device->release(device, memory, room);
  else own_device(out->storage, memory, room);
  return status;
}

Status run_tensor_new_on_host(Device *device, DType dtype, int rank, const int64_t *dims, RunTensor *out) {
  Tensor shape = {.dtype = dtype, .rank = rank};
  if (rank) memcpy(shape.dims, dims, (size_t)rank * sizeof *dims);
  TRY(memory_take(tensor_bytes(&shape), &shape.data));
  Status status = run_tensor_borrow_host(device, &shape, out);
  if (status) memory_free(shape.data);
  else out->storage->owns_host = true;
  return status;
}

void storage_forget_host(Storage *storage) {
  if (storage->owns_host) memory_free(storage->host_memory);
  storage->host_memory = NULL;
  storage->owns_host = false;
}

Status run_tensor_part(const RunTensor *whole, int rank, const int64_t *dims, RunTensor *out) {
  *out = (RunTensor){.dtype = whole->dtype, .rank = rank};
  memcpy(out->dims, dims, (size_t)rank * sizeof *dims);
  TRY(storage_new(whole->storage->device, run_tensor_bytes(out), out));
  out->storage->device_memory = whole->storage->device_memory;
  out->storage->host_memory = whole->storage->host_memory;
  out->storage->whole = whole->storage;
  whole->storage->references++;
  return OK;
}

Status run_tensor_host(const RunTensor *tensor, void **out) {
  Storage *storage = tensor->storage;
  if (!storage->host_memory) {
    if (storage->device->info.kind == DEVICE_CPU) {
      *out = storage->device_memory;
      return OK;
    }
    void *memory;
    TRY(memory_take(storage->bytes, &memory));
    Status status = storage->device->download(storage->device, memory, storage->device_memory, storage->bytes);
    if (status) {
      memory_free(memory);
      return status;
    }
    storage->host_memory = memory;
    storage->owns_host = true;
  }
  *out = storage->host_memory;
  return OK;
}

Status run_tensor_device(const RunTensor *tensor, void **out) {
  Storage *storage = tensor->storage;
  if (!storage->device_memory) {
    if (storage->device->info.kind == DEVICE_CPU) {
      *out = storage->host_memory;
      return OK;
    }
    if (tensor->dtype == DTYPE_STRING) FAIL(ERROR_UNSUPPORTED, "strings live on the host");
    void *memory;
    TRY(storage->device->allocate(storage->device, storage->bytes, &memory));
    Status status = storage->device->upload(storage->device, memory, storage->host_memory, storage->bytes);
    if (status) {
      storage->device->release(storage->device, memory, storage->bytes);
      return status;
    }
    own_device(storage, memory, storage->bytes);
  }
  *out = storage->device_memory;
  return OK;
}

void run_tensor_share(RunTensor *to, const RunTensor *from) {
  *to = *from;
  if (to->storage) to->storage->references++;
  if (to->list) to->list->references++;
}

static void drop_list(RunList *list) {
  if (!list || --list->references) return;
  for (int i = 0; i < list->count; i++) run_tensor_drop(&list->items[i]);
  free(list);
}

static void drop_storage(Storage *storage) {
  if (!storage || --storage->references) return;
  drop_storage(storage->whole);
  storage_release_device(storage);
  if (storage->owns_host) memory_free(storage->host_memory);
  free(storage);
}

void run_tensor_drop(RunTensor *tensor) {
  Storage *storage = tensor->storage;
  drop_list(tensor->list);
  tensor->storage = NULL;
  tensor->list = NULL;
  drop_storage(storage);
}

void run_tensors_drop(RunTensor *tensors, int count) {
  for (int i = 0; tensors && i < count; i++) run_tensor_drop(&tensors[i]);
}

Status run_sequence_new(DType dtype, int count, RunTensor *out) {
  *out = (RunTensor){.kind = VALUE_SEQUENCE, .dtype = dtype};
  out->list = calloc(1, sizeof *out->list + (size_t)count * sizeof *out->list->items);
  if (!out->list) FAIL(ERROR_OUT_OF_MEMORY, "no memory for a sequence of %d elements", count);
  out->list->references = 1;
  out->list->count = count;
  return OK;
}
