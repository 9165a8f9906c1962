// Zip archives as .npz files are: read with zlib where members are deflated, written without compression. Sizes and
// offsets of the file are checked before use. Members are found through the directory at the end; of their own headers only the
// lengths of the name and of the extra field are believed.
#include <string.h>
#include <zlib.h>

#include "base/checked.h"
#include "cli/numpy.h"

enum {
  LOCAL_HEADER = 30,
  DIRECTORY_ENTRY = 46,
  END_RECORD = 22,
  END_LOCATOR_64 = 20,
  END_RECORD_64 = 56,
  STORED = 0,
  DEFLATED = 8,
  EXTRA_64 = 1
};
// A deflated byte stands for at most 1032 bytes: what claims more is not honest.
enum { MOST_PER_BYTE = 1032 };

static uint64_t read_number(const uint8_t *at, int bytes) {
  uint64_t value = 0;
  for (int i = 0; i < bytes; i++) value |= (uint64_t)at[i] << 8 * i;
  return value;
}

static bool is_record(Bytes bytes, uint64_t at, uint32_t size, uint32_t signature) {
  return at <= bytes.size && bytes.size - at >= size && read_number(bytes.data + at, 4) == signature;
}

// Sizes beyond 32 bits stand in an extra field, in this order, those that do not fit only.
static void read_extra(const uint8_t *extra, size_t length, ArchiveMember *member) {
  for (size_t at = 0; at + 4 <= length;) {
    uint64_t kind = read_number(extra + at, 2), size = read_number(extra + at + 2, 2);
    if (size > length - at - 4) return;
    uint64_t *const fields[] = {&member->size, &member->packed_size, &member->offset};
    for (size_t i = 0, used = 0; kind == EXTRA_64 && i < COUNT_OF(fields); i++)
      if (*fields[i] == UINT32_MAX && used + 8 <= size) {
        *fields[i] = read_number(extra + at + 4 + used, 8);
        used += 8;
      }
    at += 4 + size;
  }
}

static Status read_directory(Archive *archive, Arena *arena, uint64_t at, uint64_t count) {
  Bytes bytes = archive->bytes;
  for (uint64_t i = 0; i < count; i++) {
    if (!is_record(bytes, at, DIRECTORY_ENTRY, 0x02014b50))
      FAIL(ERROR_CORRUPT, "entry %llu of its directory is damaged", (unsigned long long)i);
    const uint8_t *entry = bytes.data + at;
    uint64_t name = read_number(entry + 28, 2), extra = read_number(entry + 30, 2), comment = read_number(entry + 32, 2);
    if (bytes.size - at - DIRECTORY_ENTRY < name + extra + comment) FAIL(ERROR_CORRUPT, "its directory ends too early");
    ArchiveMember *member = ARENA_PUSH(arena, archive->members, archive->count, archive->capacity);
    *member = (ArchiveMember){.name = arena_string_n(arena, (const char *)entry + DIRECTORY_ENTRY, name),
                              .method = (uint16_t)read_number(entry + 10, 2),
                              .checksum = (uint32_t)read_number(entry + 16, 4),
                              .packed_size = read_number(entry + 20, 4),
                              .size = read_number(entry + 24, 4),
                              .offset = read_number(entry + 42, 4)};
    read_extra(entry + DIRECTORY_ENTRY + name, extra, member);
    at += DIRECTORY_ENTRY + name + extra + comment;
  }
  return OK;
}

Status archive_open(Bytes bytes, Arena *arena, Archive *out) {
  *out = (Archive){.bytes = bytes};
  // A comment of up to 64 KiB may follow the end record.
  for (uint64_t back = END_RECORD; back <= bytes.size && back <= END_RECORD + UINT16_MAX; back++) {
    uint64_t end = bytes.size - back;
    if (!is_record(bytes, end, END_RECORD, 0x06054b50)) continue;
    uint64_t count = read_number(bytes.data + end + 10, 2), at = read_number(bytes.data + end + 16, 4);
    if (end >= END_LOCATOR_64 && is_record(bytes, end - END_LOCATOR_64, END_LOCATOR_64, 0x07064b50)) {
      uint64_t wide = read_number(bytes.data + end - END_LOCATOR_64 + 8, 8);
      if (!is_record(bytes, wide, END_RECORD_64, 0x06064b50)) FAIL(ERROR_CORRUPT, "its directory is damaged");
      count = read_number(bytes.data + wide + 32, 8);
      at = read_number(bytes.data + wide + 48, 8);
    }
    return read_directory(out, arena, at, count);
  }
  FAIL(ERROR_CORRUPT, "it is not a zip archive, or it ends too early");
}

static Status inflate_member(const ArchiveMember *member, const uint8_t *packed, uint8_t *to) {
  if (member->size > UINT32_MAX || member->packed_size > UINT32_MAX)
    FAIL(ERROR_UNSUPPORTED, "'%s' is compressed and larger than 4 GiB", member->name);
  z_stream stream = {.next_in = (Bytef *)(uintptr_t)packed,
                     .avail_in = (uInt)member->packed_size,
                     .next_out = to,
                     .avail_out = (uInt)member->size};
  if (inflateInit2(&stream, -MAX_WBITS) != Z_OK) return status_out_of_memory();
  int result = inflate(&stream, Z_FINISH);
  inflateEnd(&stream);
  if (result != Z_STREAM_END || stream.total_out != member->size)
    FAIL(ERROR_CORRUPT, "the compressed data of '%s' is damaged", member->name);
  return OK;
}

Status archive_read(const Archive *archive, const ArchiveMember *member, Arena *arena, Bytes *out) {
  Bytes bytes = archive->bytes;
  if (!is_record(bytes, member->offset, LOCAL_HEADER, 0x04034b50))
    FAIL(ERROR_CORRUPT, "the header of '%s' is damaged", member->name);
  const uint8_t *header = bytes.data + member->offset;
  uint64_t skip = LOCAL_HEADER + read_number(header + 26, 2) + read_number(header + 28, 2);
  uint64_t room = bytes.size - member->offset;
  if (skip > room || member->packed_size > room - skip)
    FAIL(ERROR_CORRUPT, "'%s' reaches beyond the end of the file", member->name);
  const uint8_t *packed = header + skip;
  *out = (Bytes){packed, member->size};
  if (member->method == STORED) {
    if (member->size != member->packed_size) FAIL(ERROR_CORRUPT, "the sizes of '%s' contradict each other", member->name);
  } else if (member->method == DEFLATED) {
    if (member->size / MOST_PER_BYTE > member->packed_size)
      FAIL(ERROR_CORRUPT, "the sizes of '%s' contradict each other", member->name);
    void *to;
    TRY(arena_try_alloc(arena, MAX(member->size, 1), 64, &to));
    TRY(inflate_member(member, packed, to));
    out->data = to;
  } else {
    FAIL(ERROR_UNSUPPORTED, "'%s' is compressed by method %d, neither stored nor deflated", member->name, member->method);
  }
  if (crc32_z(0, out->data, out->size) != member->checksum) FAIL(ERROR_CORRUPT, "'%s' fails its checksum", member->name);
  return OK;
}

static void add_number(Text *text, uint64_t value, int bytes) {
  for (int i = 0; i < bytes; i++) text_add_n(text, (const char[]){(char)(value >> 8 * i)}, 1);
}

// What local header and directory entry have in common: from the version needed to the length of the name.
static void add_description(Text *text, const ArchiveMember *member) {
  add_number(text, 20, 2);
  add_number(text, 0, 2);
  add_number(text, STORED, 2);
  add_number(text, 0, 2);
  add_number(text, 0x21, 2);  // the first day that the format knows: the same content gives the same bytes
  add_number(text, member->checksum, 4);
  add_number(text, member->size, 4);
  add_number(text, member->size, 4);
  add_number(text, strlen(member->name), 2);
  add_number(text, 0, 2);
}

Status archive_add(ArchiveWriter *writer, const char *name, Bytes content) {
  Text *text = &writer->text;
  if (content.size > UINT32_MAX - 4096 || text->length > UINT32_MAX - 4096 - content.size)
    FAIL(ERROR_UNSUPPORTED, "an archive of more than 4 GiB is not written: choose a folder or .npy");
  if (strlen(name) > UINT16_MAX) FAIL(ERROR_INVALID_ARGUMENT, "a name of more than 64 KiB does not fit into an archive");
  ArchiveMember *member = ARENA_PUSH(text->arena, writer->members, writer->count, writer->capacity);
  *member = (ArchiveMember){
      .name = name, .size = content.size, .offset = text->length, .checksum = (uint32_t)crc32_z(0, content.data, content.size)};
  add_number(text, 0x04034b50, 4);
  add_description(text, member);
  text_add_n(text, name, strlen(name));
  text_add_n(text, (const char *)content.data, content.size);
  return OK;
}

Status archive_finish(ArchiveWriter *writer) {
  Text *text = &writer->text;
  uint64_t start = text->length;
  if (writer->count > UINT16_MAX - 1) FAIL(ERROR_UNSUPPORTED, "an archive of more than 65,534 arrays is not written");
  for (uint32_t i = 0; i < writer->count; i++) {
    add_number(text, 0x02014b50, 4);
    add_number(text, 20, 2);
    add_description(text, &writer->members[i]);
    add_number(text, 0, 2);
    add_number(text, 0, 2);
    add_number(text, 0, 2);
    add_number(text, 0, 4);
    add_number(text, writer->members[i].offset, 4);
    text_add_n(text, writer->members[i].name, strlen(writer->members[i].name));
  }
  uint64_t size = text->length - start;
  if (text->length > UINT32_MAX)
    FAIL(ERROR_UNSUPPORTED, "an archive of more than 4 GiB is not written: choose a folder or .npy");
  add_number(text, 0x06054b50, 4);
  add_number(text, 0, 4);
  add_number(text, writer->count, 2);
  add_number(text, writer->count, 2);
  add_number(text, size, 4);
  add_number(text, start, 4);
  add_number(text, 0, 2);
  return OK;
}
