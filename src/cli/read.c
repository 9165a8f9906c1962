// Reading and writing tensor files by extension.
#include <string.h>

#include "base/file.h"
#include "cli/cli.h"
#include "cli/image.h"
#include "cli/npy.h"
#include "onnx/tensor.h"

static bool has_extension(const char *path, const char *extension) { return !strcasecmp(path_extension(path), extension); }

int cli_read_tensor(const char *path, const ingot_binding *wanted, Arena *arena, Tensor *out) {
  Status status;
  char *npz = strstr(path, ".npz:");
  if (has_extension(path, ".npy")) status = npy_read(path, arena, out);
  else if (npz) status = npz_read(arena_string_n(arena, path, (size_t)(npz - path) + 4), npz + 5, arena, out);
  else if (has_extension(path, ".npz")) status = npz_read(path, NULL, arena, out);
  else if (has_extension(path, ".pb")) status = onnx_read_tensor_file(path, arena, out);
  else if (has_extension(path, ".jpg") || has_extension(path, ".jpeg") || has_extension(path, ".png")) status = image_read(path, wanted, arena, out);
  else return cli_fail_text("%s: tensors are read from .npy, .npz, .pb, .jpg and .png files", path);
  return status ? cli_fail((ingot_error *)status) : 0;
}

int cli_write_tensor(const char *path, const char *name, const Tensor *tensor) {
  Status status;
  if (has_extension(path, ".npy")) status = npy_write(path, tensor);
  else if (has_extension(path, ".pb")) status = onnx_write_tensor_file(path, name, tensor);
  else return cli_fail_text("%s: tensors are written as .npy, .npz or .pb", path);
  return status ? cli_fail((ingot_error *)status) : 0;
}
