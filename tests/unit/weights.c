// The store of weights: one copy for equal content in one place, none shared between places, nothing left when all have let go.
#include <criterion/criterion.h>
#include <stdlib.h>
#include "base/memory.h"
#include "run/device.h"

typedef struct Place {
  Device device;
  int live, uploads;
} Place;

static Status allocate(Device *device, size_t bytes, void **out) {
  ((Place *)device)->live++;
  return memory_take(bytes, out);
}
static void release(Device *device, void *memory, size_t bytes) {
  cr_assert_eq(bytes, 64);
  ((Place *)device)->live--;
  memory_free(memory);
}
// What a GPU does: made on the host, and copied.
static Status make(Device *device, WeightRequest *const *requests, int count) {
  for (int i = 0; i < count; i++) {
    char bytes[64];
    ((Place *)device)->uploads++;
    TRY(requests[i]->fill(requests[i]->context, bytes));
    memcpy(requests[i]->memory, bytes, sizeof bytes);
  }
  return OK;
}

static Place place_at(DeviceKind kind, uintptr_t where) {
  return (Place){.device = {.info = {.kind = kind},
                            .place = where,
                            .allocate = allocate,
                            .release = release,
                            .make = kind == DEVICE_CPU ? NULL : make}};
}

static Status fill(void *context, void *out) {
  ++*(int *)context;
  memset(out, 7, 64);
  return OK;
}

static void *take(WeightStore *store, Place *place, Hash128 key, int *filled) {
  WeightRequest request = {.key = key, .bytes = 64, .fill = fill, .context = filled};
  cr_assert(!weight_store_take(store, &place->device, &request, 1));
  cr_assert_eq(*(char *)request.memory, 7);
  return request.memory;
}

Test(weights, are_one_copy_in_one_place_and_never_one_for_two) {
  Place one = place_at(DEVICE_CUDA, 1), same = place_at(DEVICE_CUDA, 1), other = place_at(DEVICE_CUDA, 2);
  Place host = place_at(DEVICE_CPU, 0);
  Hash128 key = {3, 4}, another = {3, 5};
  WeightStore *store;
  int filled = 0;
  cr_assert(!weight_store_new(&store));
  void *first = take(store, &one, key, &filled);
  cr_assert_eq(take(store, &same, key, &filled), first);
  cr_assert_neq(take(store, &other, key, &filled), first);
  cr_assert_neq(take(store, &host, key, &filled), first);
  cr_assert_neq(take(store, &one, another, &filled), first);
  cr_assert_eq(filled, 4);
  cr_assert_eq(host.uploads, 0);
  weight_store_drop(store, &one.device, key);
  cr_assert_eq(one.live + same.live, 2);
  weight_store_drop(store, &same.device, key);
  weight_store_drop(store, &one.device, another);
  weight_store_drop(store, &other.device, key);
  weight_store_drop(store, &host.device, key);
  cr_assert_eq(one.live + same.live, 0);
  cr_assert_eq(other.live, 0);
  cr_assert_eq(host.live, 0);
  weight_store_free(store);
}

static Status refuse(void *context, void *out) { FAIL(ERROR_CANCELLED, "no"); }

Test(weights, that_cannot_be_made_leave_nothing) {
  Place host = place_at(DEVICE_CPU, 0), gpu = place_at(DEVICE_CUDA, 1);
  WeightStore *store;
  int filled = 0;
  cr_assert(!weight_store_new(&store));
  for (int i = 0; i < 2; i++) {
    Device *device = i ? &host.device : &gpu.device;
    take(store, i ? &host : &gpu, (Hash128){1, 2}, &filled);
    WeightRequest requests[] = {{.key = {1, 2}, .bytes = 64, .fill = fill, .context = &filled},
                                {.key = {1, 3}, .bytes = 64, .fill = fill, .context = &filled},
                                {.key = {1, 1}, .bytes = 64, .fill = refuse}};
    Status status = weight_store_take(store, device, requests, 3);
    cr_assert_eq(status_code(status), ERROR_CANCELLED);
    status_free(status);
    cr_expect_eq((i ? &host : &gpu)->live, 1);  // what was there before
    weight_store_drop(store, device, (Hash128){1, 2});
  }
  cr_assert_eq(host.live + gpu.live, 0);
  weight_store_free(store);
}

// Keys come from texts, too: what is called the same and is longer would be read beyond its end.
// A plan may want the same twice.
Test(weights, are_taken_together) {
  Place gpu = place_at(DEVICE_CUDA, 1);
  WeightStore *store;
  int filled = 0;
  cr_assert(!weight_store_new(&store));
  WeightRequest requests[] = {{.key = {1, 1}, .bytes = 64, .fill = fill, .context = &filled},
                              {.key = {1, 2}, .bytes = 64, .fill = fill, .context = &filled},
                              {.key = {1, 1}, .bytes = 64, .fill = fill, .context = &filled}};
  cr_assert(!weight_store_take(store, &gpu.device, requests, 3));
  cr_expect_eq(filled, 2);
  cr_expect_eq(requests[0].memory, requests[2].memory);
  weight_store_drop(store, &gpu.device, (Hash128){1, 1});
  cr_expect_eq(gpu.live, 2);
  weight_store_drop(store, &gpu.device, (Hash128){1, 1});
  weight_store_drop(store, &gpu.device, (Hash128){1, 2});
  cr_assert_eq(gpu.live, 0);
  weight_store_free(store);
}

Test(weights, one_name_is_one_size) {
  Place gpu = place_at(DEVICE_CUDA, 1);
  WeightStore *store;
  int filled = 0;
  cr_assert(!weight_store_new(&store));
  take(store, &gpu, (Hash128){3, 4}, &filled);
  WeightRequest longer = {.key = {3, 4}, .bytes = 128, .fill = fill, .context = &filled};
  Status status = weight_store_take(store, &gpu.device, &longer, 1);
  cr_assert(status);
  cr_expect_eq(status_code(status), ERROR_UNSUPPORTED);
  status_free(status);
  weight_store_drop(store, &gpu.device, (Hash128){3, 4});
  cr_assert_eq(gpu.live, 0);
  weight_store_free(store);
}
