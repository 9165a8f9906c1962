// See places.h.
#include "run/places.h"

#include "base/checked.h"

static void let_go(Storage **place) {
  (*place)->staged--;
  run_tensor_drop(&(RunTensor){.storage = *place});
  *place = NULL;
}

static void hand_out(Storage *storage, const RunTensor *type, RunTensor *out) {
  storage_forget_host(storage);
  storage->bytes = run_tensor_bytes(type);
  storage->references++;
  *out = *type;
  out->storage = storage;
}

// Room to grow is taken where there is enough of it. On the host no more is taken than is needed: it is charged to the caller, and costs little.
static Status take_more(Device *device, const RunTensor *type, size_t before, RunTensor *out) {
  size_t bytes = run_tensor_bytes(type);
  if (before && device->info.kind != DEVICE_CPU && before <= SIZE_MAX / 2) {
    Status status = run_tensor_allocate(device, type, MAX(bytes, 2 * before), out);
    if (!status) return OK;
    status_free(status);
  }
  return run_tensor_allocate(device, type, bytes, out);
}

Status places_take(Places *places, Device *device, const RunTensor *type, RunTensor *out) {
  size_t bytes = run_tensor_bytes(type), outgrown = 0;
  Storage **room = NULL;
  for (Storage **place = places->storages; place < places->storages + MOST_PLACES; place++) {
    if (*place && (*place)->references > 1) continue;
    if (*place && (*place)->room >= bytes) {
      hand_out(*place, type, out);
      return OK;
    }
    if (!room || *place) room = place;
  }
  if (room && *room) {
    outgrown = (*room)->room;
    let_go(room);
  }
  TRY(take_more(device, type, outgrown, out));
  if (!room) return OK;
  *room = out->storage;
  out->storage->references++;
  out->storage->staged = 1;
  return OK;
}

void places_let_go(Places *places, Storage *storage) {
  for (int i = 0; i < MOST_PLACES; i++)
    if (places->storages[i] == storage) let_go(&places->storages[i]);
}

void places_free(Places *places) {
  for (int i = 0; i < MOST_PLACES; i++)
    if (places->storages[i]) let_go(&places->storages[i]);
}

size_t places_bytes(const Places *places) {
  size_t bytes = 0;
  for (int i = 0; i < MOST_PLACES; i++)
    if (places->storages[i]) bytes += places->storages[i]->room;
  return bytes;
}
