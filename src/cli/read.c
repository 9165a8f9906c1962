// Reading and writing tensor files by extension.
#include <string.h>

#include "api/api.h"
#include "base/file.h"
#include "cli/cli.h"
#include "cli/numpy.h"
#include "onnx/tensor.h"

static bool has_extension(const char *path, const char *extension) { return !strcasecmp(path_extension(path), extension); }

static DType wanted_dtype(const Wanted *wanted) {
  DType dtype;
  return wanted && dtype_parse(wanted->dtype_name, &dtype) ? dtype : DTYPE_COUNT;
}

static const char *array_name(Arena *arena, const ArchiveMember *member) {
  size_t length = strlen(member->name);
  return length > 4 && !strcmp(member->name + length - 4, ".npy") ? arena_string_n(arena, member->name, length - 4)
                                                                  : member->name;
}

// The array `name`, else the one called like the input, else the only one.
static Status read_archive(const char *path, const char *name, const Wanted *wanted, Arena *arena, Tensor *out) {
  Bytes file, bytes;
  Archive archive;
  TRY(file_map(path, arena, &file));
  TRY(archive_open(file, arena, &archive));
  const ArchiveMember *found = NULL;
  Text names = text_new(arena);
  for (uint32_t i = 0; i < archive.count; i++) {
    const char *have = array_name(arena, &archive.members[i]);
    if (!strcmp(have, name ? name : wanted ? wanted->name : "")) found = &archive.members[i];
    if (i < 16) text_add(&names, "%s%s", i ? ", " : "", have);
  }
  if (!found && !name && archive.count == 1) found = archive.members;
  if (!found)
    FAIL(ERROR_NOT_FOUND, "it holds no array '%s'; it holds %s", name ? name : wanted ? wanted->name : "", text_get(&names));
  TRY(archive_read(&archive, found, arena, &bytes));
  return status_context(npy_read(bytes, wanted_dtype(wanted), arena, out), "array '%s'", array_name(arena, found));
}

static Status read_array(const char *path, const Wanted *wanted, Arena *arena, Tensor *out) {
  Bytes bytes;
  TRY(file_map(path, arena, &bytes));
  return npy_read(bytes, wanted_dtype(wanted), arena, out);
}

// "all.npz:mask" is an array of an archive, unless a file is called so.
static const char *archive_path(const char *path, Arena *arena, const char **name) {
  const char *colon = strrchr(path, ':');
  *name = NULL;
  if (has_extension(path, ".npz")) return path;
  if (!colon || file_exists(path)) return NULL;
  const char *file = arena_string_n(arena, path, (size_t)(colon - path));
  *name = colon + 1;
  return has_extension(file, ".npz") ? file : NULL;
}

static Status read_tensor(const char *path, const Wanted *wanted, const PictureOptions *picture, Arena *arena, Tensor *out) {
  const char *name, *archive = archive_path(path, arena, &name);
  if (archive) return status_context(read_archive(archive, name, wanted, arena, out), "%s", archive);
  if (has_extension(path, ".npy")) return status_context(read_array(path, wanted, arena, out), "%s", path);
  if (picture && picture_is_one(path)) return picture_read(path, wanted, picture, arena, out);
  FAIL(ERROR_INVALID_ARGUMENT, "%s: tensors are read from .npy, .npz and .pb files%s", path,
       picture ? ", pictures from .jpg and .png" : "");
}

int cli_read_value(const char *path, const Wanted *wanted, const PictureOptions *picture, Arena *arena, HostValue *out) {
  Status status;
  *out = (HostValue){.name = wanted->name};
  if (has_extension(path, ".pb")) status = onnx_read_declared_file(path, wanted->kind, arena, out);
  else if (wanted->kind == VALUE_SEQUENCE)
    return cli_fail_text("%s: '%s' is a sequence, which is read from a .pb file", path, wanted->name);
  else status = read_tensor(path, wanted, picture, arena, &out->tensor);
  out->name = wanted->name;
  return status ? cli_fail(api_error(status)) : 0;
}

static Status write_array(const char *path, const HostValue *value) {
  Arena *arena = arena_scratch();
  Text text = text_new(arena);
  Status status = npy_write(&text, &value->tensor);
  if (!status) status = file_write(path, text.bytes, text.length);
  arena_free(arena);
  return status;
}

int cli_write_value(const char *path, const HostValue *value) {
  Status status;
  if (has_extension(path, ".pb")) status = onnx_write_value_file(path, value);
  else if (!has_extension(path, ".npy"))
    status = status_make(ERROR_INVALID_ARGUMENT, "%s: tensors are written as .npy, .npz or .pb", path);
  else if (value->kind != VALUE_TENSOR)
    status =
        status_make(ERROR_INVALID_ARGUMENT, "%s: '%s' is no tensor: write it to a .pb file or a folder", path, value->name);
  else status = write_array(path, value);
  return status ? cli_fail(api_error(status)) : 0;
}

static Status add_array(ArchiveWriter *writer, const char *name, const Tensor *tensor) {
  Arena *arena = writer->text.arena;
  Text text = text_new(arena);
  TRY(status_context(npy_write(&text, tensor), "'%s'", name));
  return archive_add(writer, arena_printf(arena, "%s.npy", name), (Bytes){(const uint8_t *)text.bytes, text.length});
}

static Status write_archive(const char *path, const HostValue *values, int count, Arena *arena) {
  ArchiveWriter writer = {.text = text_new(arena)};
  for (int i = 0; i < count; i++) {
    if (values[i].kind == VALUE_TENSOR) TRY(add_array(&writer, values[i].name, &values[i].tensor));
    for (int k = 0; k < values[i].count; k++)
      TRY(add_array(&writer, cli_element_name(arena, &values[i], k), &values[i].items[k].tensor));
  }
  TRY(archive_finish(&writer));
  return file_write(path, writer.text.bytes, writer.text.length);
}

int cli_write_archive(const char *path, const HostValue *values, int count) {
  Arena *arena = arena_new();
  Status status = write_archive(path, values, count, arena);
  arena_free(arena);
  return status ? cli_fail(api_error(status)) : 0;
}
