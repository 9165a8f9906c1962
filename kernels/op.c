// What every operator's reference shares: finding operators and making outputs.
#include "kernels/op.h"
#include <string.h>

const OpDef *op_find(const OpDef *const *ops, const char *name) {
  for (; *ops; ops++)
    if (strcmp((*ops)->name, name) == 0) return *ops;
  return NULL;
}

Status reference_output(Reference *reference, int index, DType dtype, int rank, const int64_t *dims, Tensor **out) {
  Tensor *tensor = &reference->outputs[index];
  *out = tensor;
  bool fits = tensor->data && tensor->dtype == dtype && tensor->rank == rank;
  for (int i = 0; fits && i < rank; i++) fits = tensor->dims[i] == dims[i];
  if (fits) return OK;
  return tensor_new(reference->arena, dtype, rank, dims, tensor);
}
