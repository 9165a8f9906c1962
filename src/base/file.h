// Files: read whole, mapped, or written so that a reader never sees half (temporary name, fsync, rename).
#pragma once
#include <stdbool.h>
#include "base/arena.h"

typedef struct Bytes {
  const uint8_t *data;
  size_t size;
} Bytes;

// The bytes are followed by a NUL that size does not count.
MUST_CHECK Status file_read(const char *path, size_t size_limit, Arena *arena, Bytes *out);  // 0: no limit
// The same of a regular file, page-aligned: what happens to the file afterwards does not matter. Of a pipe or a socket, what comes through it
// until its end, within the budget of the call and size_limit bytes (0: FILE_STREAM_LIMIT). Anything else is refused. Large files are read by
// several threads (0: one a core), since most of the time goes into the pages that the bytes are put into.
MUST_CHECK Status file_load(const char *path, size_t size_limit, int threads, Arena *arena, Bytes *out);
#define FILE_STREAM_LIMIT ((size_t)4 << 30)
// Read-only map that lives as long as the arena. An empty file gives size 0. Pipes and sockets are read as by file_load. Whoever shortens a
// file meanwhile makes reading the map raise SIGBUS.
MUST_CHECK Status file_map(const char *path, size_t stream_limit, Arena *arena, Bytes *out);
bool file_is_stream(const char *path);  // a pipe or a socket, which can be read once
// A regular file is replaced whole, through symbolic links, and keeps its mode; or it is left as it was. A new one has the mode that the
// umask gives it. Devices, pipes and /dev/stdout are written through.
MUST_CHECK Status file_write(const char *path, const void *bytes, size_t size);
// A file of a cache: whole to whoever opens it, but not waited for until it has reached the device, for its readers check it and can make it again.
MUST_CHECK Status file_write_cache(const char *path, const void *bytes, size_t size);
bool file_exists(const char *path);
MUST_CHECK Status directory_make(const char *path);  // with parents
char *path_join(Arena *arena, const char *folder, const char *name);
char *path_folder(Arena *arena, const char *path);  // "a/b.onnx" -> "a"; "b" -> "."
int path_open_number(const char *path);             // of the open file that a path like /dev/stdin stands for; -1: none
const char *path_extension(const char *path);       // ".npy", part of path; "" where none
// Opens folder/relative for reading, refusing absolute paths, "..", and any symbolic link that leaves folder. folder
// itself may be reached through links.
MUST_CHECK Status file_map_confined(const char *folder, const char *relative, Arena *arena, Bytes *out);
// $INGOT_CACHE_DIR, else $XDG_CACHE_HOME/ingot, else ~/.cache/ingot. Not created.
char *cache_folder(Arena *arena);
