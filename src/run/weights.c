// Weights on the devices, shared by the plans and sessions of an engine. See device.h. One store serves all of an engine's devices: a
// weight is found by what it is and where it is.
#include <pthread.h>
#include <stdlib.h>

#include "base/budget.h"
#include "base/checked.h"
#include "base/memory.h"
#include "base/recover.h"
#include "run/device.h"

typedef struct Weight {
  Hash128 key;
  uintptr_t place;
  size_t bytes;
  void *memory;
  int references;
} Weight;

struct WeightStore {
  pthread_mutex_t mutex;
  Weight *weights;
  size_t count, capacity;
};

Status weight_store_new(WeightStore **out) {
  WeightStore *store = calloc(1, sizeof *store);
  if (!store) return status_out_of_memory();
  pthread_mutex_init(&store->mutex, NULL);
  *out = store;
  return OK;
}

void weight_store_free(WeightStore *store) {
  if (!store) return;
  pthread_mutex_destroy(&store->mutex);
  free(store->weights);
  free(store);
}

static Weight *find(WeightStore *store, const Device *device, Hash128 key) {
  for (size_t i = 0; i < store->count; i++)
    if (store->weights[i].references && store->weights[i].place == device->place && store->weights[i].key.low == key.low &&
        store->weights[i].key.high == key.high)
      return &store->weights[i];
  return NULL;
}

// On the host the bytes are made where they stay. They must fit into the budget of the call that makes them, and then are the engine's: no
// session is charged for what another may give back.
static Status make_here(Device *device, size_t bytes, Status (*fill)(void *, void *), void *context, void **memory) {
  TRY(device->allocate(device, bytes, memory));
  Status status = RECOVER_GUARD(fill(context, *memory));
  if (status) device->release(device, *memory, bytes);
  else budget_correct(-(int64_t)bytes);
  return status;
}

static void give_back(Device *device, const Weight *weight) {
  if (device->info.kind == DEVICE_CPU) budget_correct((int64_t)weight->bytes);
  device->release(device, weight->memory, weight->bytes);
}

static Status upload(Device *device, size_t bytes, Status (*fill)(void *, void *), void *context, void **memory) {
  void *host;
  TRY(memory_take(bytes, &host));
  Status status = RECOVER_GUARD(fill(context, host));
  if (!status) status = device->allocate(device, bytes, memory);
  if (!status) {
    status = device->upload(device, *memory, host, bytes);
    if (!status) status = device->synchronize(device);
    if (status) device->release(device, *memory, bytes);
  }
  memory_free(host);
  return status;
}

static Status take(WeightStore *store, Device *device, Hash128 key, size_t bytes, Status (*fill)(void *, void *), void *context,
                   void **memory) {
  Weight *weight = find(store, device, key);
  if (weight && weight->bytes != bytes)  // a plan's text lies about its contents
    FAIL(ERROR_UNSUPPORTED, "a weight of %zu bytes is called what one of %zu is", bytes, weight->bytes);
  if (!weight) {
    for (size_t i = 0; i < store->count && !weight; i++)
      if (!store->weights[i].references) weight = &store->weights[i];
    if (!weight) {
      if (store->count == store->capacity) {
        size_t capacity = MAX(64, store->capacity * 2);
        Weight *grown = realloc(store->weights, capacity * sizeof *grown);
        if (!grown) return status_out_of_memory();
        store->weights = grown;
        store->capacity = capacity;
      }
      weight = &store->weights[store->count++];
      *weight = (Weight){0};
    }
    TRY((device->info.kind == DEVICE_CPU ? make_here : upload)(device, bytes, fill, context, &weight->memory));
    weight->key = key;
    weight->place = device->place;
    weight->bytes = bytes;
  }
  weight->references++;
  *memory = weight->memory;
  return OK;
}

Status weight_store_take(WeightStore *store, Device *device, Hash128 key, size_t bytes,
                         Status (*fill)(void *context, void *out), void *context, void **memory) {
  pthread_mutex_lock(&store->mutex);
  Status status = take(store, device, key, bytes, fill, context, memory);
  pthread_mutex_unlock(&store->mutex);
  return status;
}

void weight_store_drop(WeightStore *store, Device *device, Hash128 key) {
  pthread_mutex_lock(&store->mutex);
  Weight *weight = find(store, device, key);
  if (weight && !--weight->references) give_back(device, weight);
  pthread_mutex_unlock(&store->mutex);
}
