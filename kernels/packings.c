// See packings.h.
#include "kernels/packings.h"
#include <string.h>

Status packing_take(const Site *site, const Tensor *content, Hash128 form, size_t bytes,
                    Status (*fill)(void *context, void *out), void *context, Arena *arena, void **out) {
  if (site->packings) return site->packings->take(site->packings, content, form, bytes, fill, context, arena, out);
  TRY(arena_try_alloc(arena, bytes, 64, out));
  return fill(context, *out);
}

Hash128 tensor_named_hash(const Tensor *tensor, Hash128 bytes) {
  int64_t head[2 + MAX_RANK] = {tensor->dtype, tensor->rank};
  memcpy(head + 2, tensor->dims, (size_t)tensor->rank * sizeof *head);
  return hash128_combine(bytes, hash128_bytes(head, sizeof head));
}

Hash128 tensor_content_hash(const Tensor *tensor) { return tensor_named_hash(tensor, tensor_hash(tensor)); }
