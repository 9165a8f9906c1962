// The hash of a tensor's bytes, computed when it is first asked for and then remembered: weights are told apart by it in every plan, and are far larger than all
// else that a plan is made of. The name says what it is the hash of, so that a tensor that was copied and given other bytes is not taken for the first.
#include <stdatomic.h>

#include "ir/tensor.h"

typedef enum NameState { NAME_OPEN, NAME_TAKEN, NAME_KNOWN } NameState;  // taken: some thread writes the hash
struct TensorName {
  const void *data;
  size_t bytes;
  Hash128 hash;
  _Atomic int state;
};

void tensor_give_name(Tensor *tensor, Arena *arena) {
  if (tensor->name) return;
  tensor->name = arena_new_of(arena, TensorName);
  tensor->name->data = tensor->data;
  tensor->name->bytes = tensor_bytes(tensor);
}

Hash128 tensor_hash(const Tensor *tensor) {
  TensorName *name = tensor->name;
  size_t bytes = tensor_bytes(tensor);
  if (!name || name->data != tensor->data || name->bytes != bytes) return hash128_bytes(tensor->data, bytes);
  if (atomic_load_explicit(&name->state, memory_order_acquire) == NAME_KNOWN) return name->hash;
  Hash128 hash = hash128_bytes(tensor->data, bytes);
  int open = NAME_OPEN;
  if (atomic_compare_exchange_strong(&name->state, &open, NAME_TAKEN)) {
    name->hash = hash;
    atomic_store_explicit(&name->state, NAME_KNOWN, memory_order_release);
  }
  return hash;
}
