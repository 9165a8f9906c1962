// Reading and writing files of tensors and of sequences, by extension.
#include <string.h>

#include "api/api.h"
#include "base/checked.h"
#include "base/file.h"
#include "cli/cli.h"
#include "cli/numpy.h"
#include "onnx/tensor.h"

static bool has_extension(const char *path, const char *extension) { return !strcasecmp(path_extension(path), extension); }

static DType wanted_dtype(const Wanted *wanted) {
  DType dtype;
  return dtype_parse(wanted->dtype_name, &dtype) ? dtype : DTYPE_COUNT;
}

static const char *array_name(Arena *arena, const ArchiveMember *member) {
  size_t length = strlen(member->name);
  return length > 4 && !strcmp(member->name + length - 4, ".npy") ? arena_string_n(arena, member->name, length - 4)
                                                                  : member->name;
}

// The array `name`, else the one called like the input, else the only one.
static Status read_archive(Bytes file, const char *name, const Wanted *wanted, Arena *arena, Tensor *out) {
  Bytes bytes;
  Archive archive;
  TRY(archive_open(file, arena, &archive));
  const ArchiveMember *found = NULL;
  Text names = text_new(arena);
  for (uint32_t i = 0; i < archive.count; i++) {
    const char *have = array_name(arena, &archive.members[i]);
    if (!strcmp(have, name ? name : wanted->name)) found = &archive.members[i];
    if (i < 16) text_add(&names, "%s%s", i ? ", " : "", have);
  }
  if (!found && !name && archive.count == 1) found = archive.members;
  if (!found) FAIL(ERROR_NOT_FOUND, "it holds no array '%s'; it holds %s", name ? name : wanted->name, text_get(&names));
  TRY(archive_read(&archive, found, arena, &bytes));
  return status_context(npy_read(bytes, wanted_dtype(wanted), arena, out), "array '%s'", array_name(arena, found));
}

// "all.npz:mask" is an array of an archive, unless a file is called so.
static const char *split_path(const char *path, Arena *arena, const char **name) {
  const char *colon = strrchr(path, ':');
  *name = NULL;
  if (!colon || file_exists(path)) return path;
  const char *file = arena_string_n(arena, path, (size_t)(colon - path));
  if (!has_extension(file, ".npz")) return path;
  *name = colon + 1;
  return file;
}

typedef enum Format { FORMAT_UNKNOWN, FORMAT_PB, FORMAT_NPY, FORMAT_NPZ, FORMAT_PICTURE } Format;

// By extension. What comes through a pipe has none and is told by how it begins, or is a .pb, which begins with anything.
static Format format_of(const char *path, Bytes bytes) {
  static const struct {
    const char *extension, *start;
    Format format;
  } rows[] = {{".pb", NULL, FORMAT_PB},
              {".npy", "\x93NUMPY", FORMAT_NPY},
              {".npz", "PK\3\4", FORMAT_NPZ},
              {".jpg", "\xff\xd8\xff", FORMAT_PICTURE},
              {".png", "\x89PNG", FORMAT_PICTURE}};
  for (size_t i = 0; i < COUNT_OF(rows); i++)
    if (has_extension(path, rows[i].extension)) return rows[i].format;
  if (picture_is_one(path)) return FORMAT_PICTURE;
  if (path_open_number(path) < 0 && !file_is_stream(path)) return FORMAT_UNKNOWN;
  for (size_t i = 0; i < COUNT_OF(rows); i++) {
    size_t length = rows[i].start ? strlen(rows[i].start) : 0;
    if (length && bytes.size >= length && !memcmp(bytes.data, rows[i].start, length)) return rows[i].format;
  }
  return FORMAT_PB;
}

static Status read_bytes(const char *path, const char *name, Bytes bytes, const Wanted *wanted, const PictureOptions *picture,
                         Arena *arena, HostValue *out) {
  Format format = format_of(path, bytes);
  if (format == FORMAT_UNKNOWN || (format == FORMAT_PICTURE && !picture))
    FAIL(ERROR_INVALID_ARGUMENT, "tensors are read from .npy, .npz and .pb files%s",
         picture ? ", pictures from .jpg and .png" : "");
  if (wanted->kind == VALUE_SEQUENCE && format != FORMAT_PB)
    FAIL(ERROR_INVALID_ARGUMENT, "'%s' is a sequence, which is read from a .pb file", wanted->name);
  switch (format) {
    case FORMAT_NPY: return npy_read(bytes, wanted_dtype(wanted), arena, &out->tensor);
    case FORMAT_NPZ: return read_archive(bytes, name, wanted, arena, &out->tensor);
    case FORMAT_PICTURE: return picture_decode(bytes, wanted, picture, arena, &out->tensor);
    default: return onnx_read_declared(bytes, wanted->kind, arena, out);
  }
}

Status cli_read_value(const char *path, const Wanted *wanted, const PictureOptions *picture, Arena *arena, HostValue *out) {
  const char *name;
  Bytes bytes;
  *out = (HostValue){.name = wanted->name};
  path = split_path(path, arena, &name);
  TRY(file_map(path, 0, arena, &bytes));
  Status status = read_bytes(path, name, bytes, wanted, picture, arena, out);
  out->name = wanted->name;
  return status_context(status, "%s", path);
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
