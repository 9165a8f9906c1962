// Tensors in another stride order, as constants are uploaded: every element lies where the order says, for every size of element, whole blocks and
// what is left of them.
#include <criterion/criterion.h>
#include <string.h>
#include "ir/tensor.h"

static void expect_reordered(DType dtype, const int64_t *dims, const uint8_t *order) {
  Arena *arena = arena_new();
  Tensor tensor;
  cr_assert(!tensor_new(arena, dtype, 4, dims, &tensor));
  size_t size = dtype_size(dtype), bytes = tensor_bytes(&tensor);
  unsigned char *from = tensor.data, *to = arena_alloc(arena, bytes + 1);
  for (size_t i = 0; i < bytes; i++) from[i] = (unsigned char)(i * 31 + (i >> 8) * 7);
  to[bytes] = 77;
  tensor_reorder(&tensor, order, to);
  int64_t strides[4], stride = 1, at[4];
  for (int i = 3; i >= 0; i--) {
    strides[order[i]] = stride;
    stride *= dims[order[i]];
  }
  for (at[0] = 0; at[0] < dims[0]; at[0]++)
    for (at[1] = 0; at[1] < dims[1]; at[1]++)
      for (at[2] = 0; at[2] < dims[2]; at[2]++)
        for (at[3] = 0; at[3] < dims[3]; at[3]++, from += size) {
          int64_t place = 0;
          for (int k = 0; k < 4; k++) place += at[k] * strides[k];
          cr_assert(!memcmp(to + (size_t)place * size, from, size), "%s[%lld,%lld,%lld,%lld]", dtype_name(dtype),
                    (long long)at[0], (long long)at[1], (long long)at[2], (long long)at[3]);
        }
  cr_expect_eq(to[bytes], 77);
  arena_free(arena);
}

Test(tensor_reorder, every_element_lies_where_the_order_says) {
  static const int64_t shapes[][4] = {{2, 64, 3, 3}, {3, 37, 3, 3},  {1, 5, 7, 7}, {2, 1, 2, 2},
                                      {4, 33, 1, 1}, {1, 70, 6, 11}, {2, 3, 0, 3}};
  static const uint8_t orders[][4] = {{0, 2, 3, 1}, {0, 1, 2, 3}, {1, 0, 2, 3}, {3, 2, 1, 0}};
  static const DType dtypes[] = {DTYPE_U8, DTYPE_F16, DTYPE_F32, DTYPE_F64};
  for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
    for (size_t o = 0; o < sizeof orders / sizeof *orders; o++)
      for (size_t t = 0; t < sizeof dtypes / sizeof *dtypes; t++) expect_reordered(dtypes[t], shapes[s], orders[o]);
}
