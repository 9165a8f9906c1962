// Reading and writing tensor files by extension.
#include <string.h>

#include "base/file.h"
#include "cli/cli.h"
#include "onnx/tensor.h"

static bool has_extension(const char *path, const char *extension) { return !strcasecmp(path_extension(path), extension); }

int cli_read_tensor(const char *path, const ingot_binding *wanted, Arena *arena, Tensor *out) {
  Status status;
  if (has_extension(path, ".pb")) status = onnx_read_tensor_file(path, arena, out);
  else return cli_fail_text("%s: tensors are read from .pb files", path);
  return status ? cli_fail((ingot_error *)status) : 0;
}

int cli_write_tensor(const char *path, const char *name, const Tensor *tensor) {
  Status status;
  if (has_extension(path, ".pb")) status = onnx_write_tensor_file(path, name, tensor);
  else return cli_fail_text("%s: tensors are written as .pb", path);
  return status ? cli_fail((ingot_error *)status) : 0;
}
