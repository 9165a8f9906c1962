// Weights on the devices, shared by the plans and sessions of an engine. See device.h. One store serves all of an engine's devices: a
// weight is found by what it is and where it is.
#include <pthread.h>
#include <stdlib.h>

#include "base/budget.h"
#include "base/checked.h"
#include "base/recover.h"
#include "run/device.h"

typedef struct Weight {
  Hash128 key;
  uintptr_t place;
  size_t bytes;
  void *memory;
  int references;
  bool filled;
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

// The bytes on a host must fit into the budget of the call that makes them, and then are the engine's: no session is charged for what another
// may give back.
static void give_back(Device *device, Weight *weight) {
  if (device->info.kind == DEVICE_CPU && weight->filled) budget_correct((int64_t)weight->bytes);
  device->release(device, weight->memory, weight->bytes);
  *weight = (Weight){0};
}

static Status new_slot(WeightStore *store, Weight **out) {
  for (size_t i = 0; i < store->count; i++)
    if (!store->weights[i].references) {
      *out = &store->weights[i];
      return OK;
    }
  if (store->count == store->capacity) {
    size_t capacity = MAX(64, store->capacity * 2);
    Weight *grown = realloc(store->weights, capacity * sizeof *grown);
    if (!grown) return status_out_of_memory();
    store->weights = grown;
    store->capacity = capacity;
  }
  *out = &store->weights[store->count++];
  **out = (Weight){0};
  return OK;
}

static void drop(WeightStore *store, Device *device, Hash128 key) {
  Weight *weight = find(store, device, key);
  if (weight && !--weight->references) give_back(device, weight);
}

// *fresh: its memory is taken, and its bytes are still to be made.
static Status take(WeightStore *store, Device *device, WeightRequest *request, bool *fresh) {
  Weight *weight = find(store, device, request->key);
  *fresh = !weight;
  if (weight && weight->bytes != request->bytes)  // a plan's text lies about its contents
    FAIL(ERROR_UNSUPPORTED, "a weight of %zu bytes is called what one of %zu is", request->bytes, weight->bytes);
  if (!weight) {
    void *memory;
    TRY(new_slot(store, &weight));
    TRY(device->allocate(device, request->bytes, &memory));
    *weight = (Weight){.key = request->key, .place = device->place, .bytes = request->bytes, .memory = memory};
  }
  weight->references++;
  request->memory = weight->memory;
  return OK;
}

// On the host the bytes are made where they stay.
static Status make(Device *device, WeightRequest *const *requests, int count) {
  if (device->make) return RECOVER_GUARD(device->make(device, requests, count));
  for (int i = 0; i < count; i++) TRY(RECOVER_GUARD(requests[i]->fill(requests[i]->context, requests[i]->memory)));
  return OK;
}

// The caller holds the mutex. *taken: how many of the requests hold a reference, which is all where it succeeds.
static Status take_all(WeightStore *store, Device *device, WeightRequest *requests, int count, WeightRequest **missing,
                       int *taken) {
  int missing_count = 0;
  for (*taken = 0; *taken < count; ++*taken) {
    bool fresh;
    TRY(take(store, device, &requests[*taken], &fresh));
    if (fresh) missing[missing_count++] = &requests[*taken];
  }
  TRY(make(device, missing, missing_count));
  for (int i = 0; i < missing_count; i++) {
    find(store, device, missing[i]->key)->filled = true;
    if (device->info.kind == DEVICE_CPU) budget_correct(-(int64_t)missing[i]->bytes);
  }
  return OK;
}

Status weight_store_take(WeightStore *store, Device *device, WeightRequest *requests, int count) {
  WeightRequest **missing = calloc((size_t)count + 1, sizeof *missing);
  if (!missing) return status_out_of_memory();
  int taken;
  pthread_mutex_lock(&store->mutex);
  Status status = take_all(store, device, requests, count, missing, &taken);
  for (int i = 0; status && i < taken; i++) drop(store, device, requests[i].key);
  pthread_mutex_unlock(&store->mutex);
  free(missing);
  return status;
}

void weight_store_drop(WeightStore *store, Device *device, Hash128 key) {
  pthread_mutex_lock(&store->mutex);
  drop(store, device, key);
  pthread_mutex_unlock(&store->mutex);
}
