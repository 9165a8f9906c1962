// Reshaping without moving data. Both shapes are cut into the smallest groups of axes with equal products; inside a group the old
// axes must be one run in memory (each stride the product of those inside it), and the new strides follow from its last.
#include "lower/plan.h"

bool strides_reshape(int rank, const int64_t *dims, const int64_t *strides, int new_rank, const int64_t *new_dims,
                     int64_t *new_strides) {
  // Axes of size 1 carry no information: drop them from the old shape.
  int64_t d[MAX_RANK], s[MAX_RANK];
  int n = 0;
  for (int i = 0; i < rank; i++) {
    if (dims[i] == 0) {  // empty: any strides do
      for (int k = 0; k < new_rank; k++) new_strides[k] = 1;
      return true;
    }
    if (dims[i] != 1) d[n] = dims[i], s[n++] = strides[i];
  }
  int old_begin = 0, new_begin = 0;
  while (old_begin < n && new_begin < new_rank) {
    int old_end = old_begin + 1, new_end = new_begin + 1;
    int64_t old_product = d[old_begin], new_product = new_dims[new_begin];
    while (old_product != new_product) {
      if (new_product < old_product) {
        if (new_end == new_rank) return false;
        new_product *= new_dims[new_end++];
      } else {
        if (old_end == n) return false;
        old_product *= d[old_end++];
      }
    }
    for (int i = old_begin; i + 1 < old_end; i++)
      if (s[i] != s[i + 1] * d[i + 1]) return false;
    int64_t stride = s[old_end - 1];
    for (int i = new_end - 1; i >= new_begin; i--) {
      new_strides[i] = stride;
      stride *= new_dims[i];
    }
    old_begin = old_end;
    new_begin = new_end;
  }
  for (int i = new_begin; i < new_rank; i++) new_strides[i] = 1;  // only axes of size 1 are left
  return true;
}
