// A site: one node that needs code, with everything an implementation may look at; an anchor with an epilogue is one, filled by fused_site (fused.h). Shapes and strides are static here: a graph is
// specialised for concrete shapes before it is planned. Views are already gone: an input that is a view of a buffer arrives as
// that buffer with the view's strides.
#pragma once
#include "base/device.h"
#include "ir/op.h"
#include "kernels/extent.h"

// How dims and strides follow from the model's symbols, in the site's table.
typedef struct OpenDims {
  Extent dims[MAX_RANK], strides[MAX_RANK];
} OpenDims;

typedef struct TensorDesc {
  DType dtype;
  int rank;
  int64_t dims[MAX_RANK];
  int64_t strides[MAX_RANK];  // in elements; 0 where broadcast, negative where flipped. The pointer given is that of element 0.
  const Tensor *constant;     // row-major content where known at build, else NULL
  bool absent;                // an optional input that is not there
  int64_t
      offset;  // elements from the 256-byte aligned start of its buffer to element 0: decides which vector accesses are safe
  const OpenDims *open;  // NULL: dims and strides are the same in every call, or nobody knows
} TensorDesc;

typedef struct Packings Packings;  // packings.h
typedef struct BestWays BestWays;  // tile/best_ways.h

typedef struct Site {
  const Node *node;  // whose operator and attributes count: with an epilogue the anchor
  const Program
      *epilogue;  // behind it, NULL: none; input 0 is the anchor's result, input k the site's number node->input_count + k - 1
  const Program *
      prologue;  // in front of the node's input 0, NULL: none; its input 0 is the site's, input k the site's number site_prologue_input(site, k)
  const Node *region;         // that holds them, in the graph; NULL: `node` stands there itself
  const TensorDesc *inputs;   // site_input_count
  const TensorDesc *outputs;  // node->output_count
  const DeviceInfo *device;
  DimTable *dims;        // of the descs' open dims; NULL: there are none
  bool tf32;             // f32 matrix products may use TF32 tensor cores
  Packings *packings;    // keeps packed constants for all who want them; NULL: each has its own
  BestWays *best;        // of the device, remembers tiles; NULL: each is looked for anew
  const char **refusal;  // told why an implementation does not take it; NULL: nobody asks
} Site;

// `REQUIRE(site, condition, "why not");` in what decides whether an implementation takes a site: false where it does not, and whoever asks is told why. Of several tries the
// last one's reason stays.
#define REQUIRE(site, condition, why)                \
  do {                                               \
    if (!(condition)) return site_refuse(site, why); \
  } while (0)
bool site_refuse(const Site *site, const char *why);  // false

// A product or convolution whose integers are less zero points (inputs 2 and 3).
static inline bool site_has_zero_points(const Site *site) { return site->node->input_count > 2; }
static inline int site_prologue_input(const Site *site, int k) {
  return site->node->input_count + (site->epilogue ? site->epilogue->input_count - 1 : 0) + k - 1;
}
// Operands of the node, then of the epilogue, then of the prologue.
static inline int site_input_count(const Site *site) {
  return site_prologue_input(site, site->prologue ? site->prologue->input_count : 1);
}
static inline const Node *site_step(const Site *site) { return site->region ? site->region : site->node; }  // of the graph
bool site_writes_whole(const Site *site);          // no result is a part of another tensor
Value *site_operand(const Site *site, int index);  // of the node, as the graph has it
int64_t desc_count(const TensorDesc *desc);
// Static where the desc was changed since: of what is now nobody knows how it came to be.
Extent desc_extent(const TensorDesc *desc, int axis);
Extent desc_stride(const TensorDesc *desc, int axis);
// The same; of now where the table is NULL.
Extent desc_extent_in(const DimTable *table, const TensorDesc *desc, int axis);
Extent desc_stride_in(const DimTable *table, const TensorDesc *desc, int axis);
bool desc_is_open(const TensorDesc *desc);  // an extent or a stride is
bool site_is_open(const Site *site);        // one of its descs is
// The desc with another extent along an axis, its strides as they are.
TensorDesc desc_with_extent(Arena *arena, const TensorDesc *desc, int axis, Extent extent);
bool desc_same_dims(const TensorDesc *a, const TensorDesc *b);
bool desc_is_row_major(const TensorDesc *desc);                     // dense, last axis fastest
bool desc_has_order(const TensorDesc *desc, const uint8_t *order);  // dense in this stride order (axes of size 1 ignored)
bool desc_is_channels_last(const TensorDesc *desc);                 // dense, order 0, 2, 3, ..., 1
bool desc_is_dense(const TensorDesc *desc);                         // some permutation of a packed tensor: no holes, no overlap
size_t desc_bytes(const TensorDesc *desc);
// A text that is equal for sites that can share a tuning result: operator, attributes, epilogue, dtypes, dims, strides, tf32.
char *site_key(const Site *site, Arena *arena);
