// NumPy's array files: a magic, a version, a Python dictionary that tells type, order and shape, then the elements.
#include "cli/numpy.h"

#include <stdlib.h>
#include <string.h>

#include "base/checked.h"

// descr without its byte-order mark; rows that NumPy has no name for are "V" and the size.
static const struct {
  const char *descr;
  DType dtype;
} types[] = {{"f4", DTYPE_F32}, {"f2", DTYPE_F16},  {"f8", DTYPE_F64}, {"i1", DTYPE_I8},   {"i2", DTYPE_I16},
             {"i4", DTYPE_I32}, {"i8", DTYPE_I64},  {"u1", DTYPE_U8},  {"u2", DTYPE_U16},  {"u4", DTYPE_U32},
             {"u8", DTYPE_U64}, {"b1", DTYPE_BOOL}, {"c8", DTYPE_C64}, {"c16", DTYPE_C128}};

static Status find_type(const char *descr, DType wanted, DType *out) {
  for (size_t i = 0; i < COUNT_OF(types); i++)
    if (!strcmp(types[i].descr, descr)) {
      *out = types[i].dtype;
      // 4- and 2-bit integers take a byte each in memory, as they do in the file.
      bool small = wanted < DTYPE_COUNT && dtype_bits(wanted) < 8;
      if (small && dtype_kind(wanted) == dtype_kind(*out) && dtype_size(*out) == 1) *out = wanted;
      return OK;
    }
  bool raw = descr[0] == 'V' && wanted < DTYPE_COUNT && wanted != DTYPE_STRING && (size_t)atoi(descr + 1) == dtype_size(wanted);
  if (!raw) FAIL(ERROR_UNSUPPORTED, "its element type '%s' is none of Ingot's", descr);
  *out = wanted;
  return OK;
}

// The text behind 'key': in the header; NULL where absent.
static const char *entry(const char *header, const char *key) {
  for (const char *at = strchr(header, '\''); at; at = strchr(at + 1, '\'')) {
    size_t length = strlen(key);
    if (strncmp(at + 1, key, length) || at[1 + length] != '\'') continue;
    at += 2 + length;
    at += strspn(at, " ");
    if (!*at) return NULL;
    if (*at != ':') continue;
    return at + 1 + strspn(at + 1, " ");
  }
  return NULL;
}

static Status read_shape(const char *text, Tensor *out) {
  if (!text || *text != '(') FAIL(ERROR_CORRUPT, "its header has no shape");
  for (text++; *text && *text != ')';) {
    char *end;
    int64_t dim = strtoll(text, &end, 10);
    if (end == text || dim < 0) FAIL(ERROR_CORRUPT, "its shape is not a list of sizes");
    if (out->rank == MAX_RANK) FAIL(ERROR_UNSUPPORTED, "it has more than %d axes", MAX_RANK);
    out->dims[out->rank++] = dim;
    text = end + strspn(end, "L ,");
  }
  return OK;
}

static void swap_bytes(Tensor *tensor) {
  // The halves of a complex number are swapped each on its own.
  size_t size = dtype_size(tensor->dtype);
  if (dtype_kind(tensor->dtype) == KIND_COMPLEX) size /= 2;
  size_t bytes = tensor_bytes(tensor);
  for (uint8_t *at = tensor->data, *end = at + bytes; at < end; at += size)
    for (size_t i = 0; i < size / 2; i++) {
      uint8_t byte = at[i];
      at[i] = at[size - 1 - i];
      at[size - 1 - i] = byte;
    }
}

Status npy_read(Bytes bytes, DType wanted, Arena *arena, Tensor *out) {
  if (bytes.size < 10 || memcmp(bytes.data, "\x93NUMPY", 6)) FAIL(ERROR_CORRUPT, "it is not a NumPy array");
  bool wide = bytes.data[6] >= 2;
  size_t at = wide ? 12 : 10;
  if (bytes.size < at) FAIL(ERROR_CORRUPT, "it ends inside its header");
  uint32_t length = bytes.data[8] | (uint32_t)bytes.data[9] << 8;
  if (wide) length |= (uint32_t)bytes.data[10] << 16 | (uint32_t)bytes.data[11] << 24;
  if (length > bytes.size - at) FAIL(ERROR_CORRUPT, "it ends inside its header");
  const char *header = arena_string_n(arena, (const char *)bytes.data + at, length);
  at += length;
  const char *descr = entry(header, "descr"), *fortran = entry(header, "fortran_order");
  if (!descr || !fortran || (*descr != '\'' && *descr != '"')) FAIL(ERROR_CORRUPT, "its header tells no element type or order");
  bool swapped = descr[1] == '>';
  const char *name = descr + 1 + (descr[1] && strchr("<>|=", descr[1]));
  name = arena_string_n(arena, name, strcspn(name, "'\""));
  Tensor shape = {0};
  TRY(find_type(name, wanted, &shape.dtype));
  TRY(read_shape(entry(header, "shape"), &shape));
  TRY(tensor_new(arena, shape.dtype, shape.rank, shape.dims, out));
  size_t size = tensor_bytes(out);
  if (bytes.size - at < size) FAIL(ERROR_CORRUPT, "it ends after %zu of %zu bytes of elements", bytes.size - at, size);
  if (strncmp(fortran, "True", 4)) {
    memcpy(out->data, bytes.data + at, size);
  } else {
    void *aligned;  // elements in a file lie anywhere
    TRY(arena_try_alloc(arena, MAX(size, 1), 64, &aligned));
    memcpy(aligned, bytes.data + at, size);
    int64_t strides[MAX_RANK], stride = 1;
    for (int k = 0; k < out->rank; k++) {
      strides[k] = stride;
      stride *= out->dims[k];
    }
    tensor_gather_strided(out, aligned, strides);
  }
  if (swapped) swap_bytes(out);
  return OK;
}

Status npy_write(Text *out, const Tensor *tensor) {
  if (tensor->dtype == DTYPE_STRING) FAIL(ERROR_UNSUPPORTED, "strings cannot be written as a NumPy array");
  const char *descr = NULL;
  for (size_t i = 0; i < COUNT_OF(types); i++)
    if (types[i].dtype == tensor->dtype) descr = types[i].descr;
  if (!descr && dtype_is_integer(tensor->dtype)) descr = dtype_kind(tensor->dtype) == KIND_SIGNED ? "i1" : "u1";
  if (!descr) descr = arena_printf(out->arena, "V%zu", dtype_size(tensor->dtype));
  Text header = text_new(out->arena);
  text_add(&header, "{'descr': '%s%s', 'fortran_order': False, 'shape': (",
           dtype_size(tensor->dtype) == 1 || *descr == 'V' ? "|" : "<", descr);
  for (int k = 0; k < tensor->rank; k++)
    text_add(&header, "%lld,%s", (long long)tensor->dims[k], k + 1 < tensor->rank ? " " : "");
  text_add(&header, "), }");
  // Padded so that the elements begin on a multiple of 64 bytes of the file.
  while ((10 + header.length + 1) % 64) text_add(&header, " ");
  text_add(&header, "\n");
  const char head[] = {(char)0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, (char)(header.length & 255), (char)(header.length >> 8)};
  text_add_n(out, head, sizeof head);
  text_add_n(out, header.bytes, header.length);
  text_add_n(out, tensor->data, tensor_bytes(tensor));
  return OK;
}
