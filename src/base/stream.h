// Reading what is no file: a pipe or a socket, whose size nobody knows, whose bytes come when they come, and only once.
#pragma once
#include "base/file.h"

bool stream_is_one(int fd);
// As open() for reading without waiting for a writer; of a socket behind a path like /dev/stdin, which cannot be opened again, a duplicate.
int stream_open(const char *path);
// To the end, heeding the budget while nothing comes. Page-aligned, and followed by a NUL that the size does not count.
MUST_CHECK Status stream_read(int fd, const char *path, size_t limit, Arena *arena, Bytes *out);
