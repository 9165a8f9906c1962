// Reshaping without moving data. Both shapes are cut into the smallest groups of axes with equal products; inside a group the old
// axes must be one run in memory (each stride the product of those inside it), and the new strides follow from its last.
#include "lower/plan.h"

typedef struct Reshape {
  DimTable *table;
  bool typical;  // groups are what they are in most calls, not in this one, where an open axis may happen to be 1
  int rank, new_rank;
  Extent dims[MAX_RANK], strides[MAX_RANK];
  const Extent *new_dims;
} Reshape;

static int64_t size_of(const Reshape *r, Extent extent) { return r->typical ? extent_typical(r->table, extent) : extent.now; }

// Axes [begin, end) of both, with equal products.
static bool reshape_group(const Reshape *r, int begin, int end, int new_begin, int new_end, Extent *new_strides) {
  int64_t product = 1, new_product = 1;
  for (int i = begin; i < end; i++) product *= r->dims[i].now;
  for (int i = new_begin; i < new_end; i++) new_product *= r->new_dims[i].now;
  if (product != new_product) return false;
  for (int i = begin; i + 1 < end; i++)
    if (!extent_equal(r->strides[i], extent_mul(r->table, r->strides[i + 1], r->dims[i + 1]))) return false;
  Extent stride = r->strides[end - 1];
  for (int i = new_end - 1; i >= new_begin; i--) {
    new_strides[i] = stride;
    stride = extent_mul(r->table, stride, r->new_dims[i]);
  }
  return true;
}

static bool reshape(const Reshape *r, Extent *new_strides) {
  int begin = 0, new_begin = 0;
  while (begin < r->rank && new_begin < r->new_rank) {
    int end = begin + 1, new_end = new_begin + 1;
    int64_t product = size_of(r, r->dims[begin]), new_product = size_of(r, r->new_dims[new_begin]);
    while (product != new_product) {
      if (new_product < product) {
        if (new_end == r->new_rank) return false;
        new_product *= size_of(r, r->new_dims[new_end++]);
      } else {
        if (end == r->rank) return false;
        product *= size_of(r, r->dims[end++]);
      }
    }
    if (!reshape_group(r, begin, end, new_begin, new_end, new_strides)) return false;
    begin = end;
    new_begin = new_end;
  }
  for (int i = new_begin; i < r->new_rank; i++) {
    if (r->new_dims[i].now != 1) return false;
    new_strides[i] = extent_static(1);
  }
  return begin == r->rank;
}

bool strides_reshape(DimTable *table, int rank, const Extent *dims, const Extent *strides, int new_rank, const Extent *new_dims,
                     Extent *new_strides) {
  Reshape r = {.table = table, .new_rank = new_rank, .new_dims = new_dims};
  bool open = false;
  for (int i = 0; i < rank; i++) {
    if (dims[i].now == 0) {  // empty: any strides do
      for (int k = 0; k < new_rank; k++) new_strides[k] = extent_static(1);
      return true;
    }
    open |= dims[i].open || strides[i].open;
  }
  for (int attempt = open ? 0 : 1; attempt < 2; attempt++) {
    r.typical = attempt == 0;
    r.rank = 0;
    for (int i = 0; i < rank; i++) {  // axes of size 1 carry no information
      Extent dim = r.typical ? dims[i] : extent_static(dims[i].now);
      Extent stride = r.typical ? strides[i] : extent_static(strides[i].now);
      if (extent_is(dim, 1)) continue;
      r.dims[r.rank] = dim;
      r.strides[r.rank++] = stride;
    }
    if (reshape(&r, new_strides)) return true;
  }
  return false;
}
