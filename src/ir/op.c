// Finding operators by name.
#include "ir/op.h"
#include <string.h>

const OpDef *op_find(const OpDef *const *ops, const char *name) {
  for (; *ops; ops++)
    if (strcmp((*ops)->name, name) == 0) return *ops;
  return NULL;
}
