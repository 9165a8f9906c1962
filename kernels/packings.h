// Constants in the form an implementation computes with: packed, reordered, widened. A form may be as large as the weights, and plans of other
// shapes and other sessions want the same, so whoever runs the site may keep forms for all (Site.packings): equal content in an equal
// form is one copy.
#pragma once
#include "base/hash.h"
#include "kernels/site.h"

struct Packings {
  // The bytes stay as long as the arena. fill makes them where nobody has them.
  Status (*take)(Packings *packings, const Tensor *content, Hash128 form, size_t bytes,
                 Status (*fill)(void *context, void *out), void *context, Arena *arena, void **out);
};

// form: a hash of all that says how the content is arranged, so that equal ones give equal bytes. 64-byte aligned. Where nobody keeps forms
// the arena does.
MUST_CHECK Status packing_take(const Site *site, const Tensor *content, Hash128 form, size_t bytes,
                               Status (*fill)(void *context, void *out), void *context, Arena *arena, void **out);
Hash128 tensor_content_hash(const Tensor *tensor);               // type, dims and bytes
Hash128 tensor_named_hash(const Tensor *tensor, Hash128 bytes);  // the same, where the hash of its bytes is known
