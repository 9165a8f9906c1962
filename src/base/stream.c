// See stream.h. The bytes are gathered in pieces that go afterwards, so that the arena gets them once.
#include "base/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/budget.h"
#include "base/checked.h"

enum { ALIGNMENT = 4096, FIRST_CAPACITY = 1 << 16, MOST_CAPACITY = 1 << 26 };

bool stream_is_one(int fd) {
  struct stat info;
  return fstat(fd, &info) == 0 && (S_ISFIFO(info.st_mode) || S_ISSOCK(info.st_mode));
}

bool file_is_stream(const char *path) {
  struct stat info;
  return stat(path, &info) == 0 && (S_ISFIFO(info.st_mode) || S_ISSOCK(info.st_mode));
}

int stream_open(const char *path) {
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd >= 0 || errno != ENXIO) return fd;
  int number = path_open_number(path);
  if (number >= 0) return fcntl(number, F_DUPFD_CLOEXEC, 0);
  errno = ENXIO;
  return -1;
}

// A pipe that nobody has opened for writing yet is not at its end.
static Status wait_for_bytes(int fd, const char *path) {
  struct pollfd wanted = {.fd = fd, .events = POLLIN};
  for (;;) {
    TRY(budget_poll());
    int ready = poll(&wanted, 1, (int)(BUDGET_POLL_SECONDS * 1e3));
    if (ready > 0) return OK;
    if (ready < 0 && errno != EINTR) FAIL(ERROR_IO, "cannot wait for '%s': %m", path);
  }
}

typedef struct Chunk {
  struct Chunk *next;
  size_t size, capacity;
  uint8_t bytes[];
} Chunk;

static Status chunk_new(Arena *arena, size_t capacity, Chunk **out) {
  void *memory;
  TRY(arena_try_alloc(arena, sizeof(Chunk) + capacity, _Alignof(Chunk), &memory));
  *out = memory;
  **out = (Chunk){.capacity = capacity};
  return OK;
}

static Status gather(int fd, const char *path, size_t limit, Arena *arena, Chunk **first, size_t *size) {
  TRY(chunk_new(arena, FIRST_CAPACITY, first));
  for (Chunk *chunk = *first;;) {
    if (chunk->size == chunk->capacity) {
      TRY(chunk_new(arena, MIN(chunk->capacity * 2, (size_t)MOST_CAPACITY), &chunk->next));
      chunk = chunk->next;
    }
    TRY(wait_for_bytes(fd, path));
    ssize_t got = read(fd, chunk->bytes + chunk->size, chunk->capacity - chunk->size);
    if (got < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (got < 0) FAIL(ERROR_IO, "cannot read '%s': %m", path);
    if (got == 0) return OK;
    chunk->size += (size_t)got;
    *size += (size_t)got;
    if (*size > limit) FAIL(ERROR_LIMIT, "what comes through '%s' is more than the limit of %zu bytes", path, limit);
  }
}

static Status read_into(int fd, const char *path, size_t limit, Arena *scratch, Arena *arena, Bytes *out) {
  Chunk *first;
  size_t size = 0, at = 0;
  void *memory;
  TRY(gather(fd, path, limit ? limit : FILE_STREAM_LIMIT, scratch, &first, &size));
  TRY(arena_try_alloc(arena, size + 1, ALIGNMENT, &memory));
  uint8_t *bytes = memory;
  for (const Chunk *chunk = first; chunk; chunk = chunk->next) {
    memcpy(bytes + at, chunk->bytes, chunk->size);
    at += chunk->size;
  }
  bytes[size] = 0;
  *out = (Bytes){.data = bytes, .size = size};
  return OK;
}

Status stream_read(int fd, const char *path, size_t limit, Arena *arena, Bytes *out) {
  Arena *scratch = arena_try_new();  // nothing unwinds while a file is open
  if (!scratch) return status_out_of_memory();
  Status status = read_into(fd, path, limit, scratch, arena, out);
  arena_free(scratch);
  return status;
}
