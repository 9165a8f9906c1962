// NumPy's files: .npy holds one array, .npz is a zip archive of them. See numpy.c and archive.c.
#pragma once
#include "base/file.h"
#include "base/text.h"
#include "ir/tensor.h"

// wanted: the element type the array is for, DTYPE_COUNT where that is open. It decides what types NumPy has no name for
// are taken as (bfloat16 is written as two raw bytes, 4-bit integers as bytes).
MUST_CHECK Status npy_read(Bytes bytes, DType wanted, Arena *arena, Tensor *out);
// Appends a version 1 .npy file to `out`.
MUST_CHECK Status npy_write(Text *out, const Tensor *tensor);

// A zip archive: members stored or deflated, found through the directory at its end.
typedef struct ArchiveMember {
  const char *name;
  uint64_t packed_size, size, offset;  // offset: of its local header
  uint32_t checksum;
  uint16_t method;
} ArchiveMember;
typedef struct Archive {
  Bytes bytes;
  ArchiveMember *members;
  uint32_t count, capacity;
} Archive;
MUST_CHECK Status archive_open(Bytes bytes, Arena *arena, Archive *out);
MUST_CHECK Status archive_read(const Archive *archive, const ArchiveMember *member, Arena *arena, Bytes *out);

// Writing: archive_add stores a member, archive_finish writes the directory. Everything lies in out->text.
typedef struct ArchiveWriter {
  Text text;
  ArchiveMember *members;
  uint32_t count, capacity;
} ArchiveWriter;
MUST_CHECK Status archive_add(ArchiveWriter *writer, const char *name, Bytes content);
MUST_CHECK Status archive_finish(ArchiveWriter *writer);
