// Files. Every function closes what it opened before it reports, and reads errno (through %m) before anything else can
// change it. Confinement resolves the path first and then opens the result one component at a time without following
// links, so that a link swapped in between the two steps is refused rather than followed.
#include "base/file.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/checked.h"
#include "base/recover.h"
#include "base/stream.h"
#include "base/thread.h"

enum { FILE_ALIGNMENT = 4096 };  // what lies at a page of the file lies at one in memory

enum { PART_BYTES = 1 << 20 };

typedef struct Parts {
  int fd;
  uint8_t *bytes;
  size_t size;
  _Atomic bool failed;
} Parts;

static void read_parts(void *context, int64_t begin, int64_t end) {
  Parts *parts = context;
  size_t at = (size_t)begin * PART_BYTES, last = MIN((size_t)end * PART_BYTES, parts->size);
  while (at < last) {
    ssize_t got = pread(parts->fd, parts->bytes + at, last - at, (off_t)at);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) {
      parts->failed = true;
      return;
    }
    at += (size_t)got;
  }
}

static Status read_parallel(ThreadPool *pool, Parts *parts) {
  parallel_for(pool, (int64_t)((parts->size + PART_BYTES - 1) / PART_BYTES), 1, read_parts, parts);
  return OK;
}

// What the system claims to be there, by several threads. *size: how much of it came; nothing where any of it did not, and whoever reads on finds
// out why.
static Status read_claimed(int fd, uint8_t *bytes, size_t claimed, int threads, size_t *size) {
  Parts parts = {.fd = fd, .bytes = bytes, .size = claimed};
  *size = 0;
  ThreadPool *pool = thread_pool_for_bytes(threads, claimed);
  if (!pool) return OK;
  Status status = RECOVER_GUARD(read_parallel(pool, &parts));
  thread_pool_free(pool);
  if (!status && !parts.failed && lseek(fd, (off_t)claimed, SEEK_SET) == (off_t)claimed) *size = claimed;
  return status;
}

// Reads until the end into memory that starts at the size the system claims and grows, since pipes and /proc claim 0.
static Status read_all(int fd, const char *path, size_t claimed, size_t limit, int threads, Arena *arena, Bytes *out) {
  size_t capacity, size;
  void *bytes;
  if (limit && claimed > limit) FAIL(ERROR_LIMIT, "'%s' has %zu bytes, more than the limit of %zu", path, claimed, limit);
  if (!checked_add(claimed, 1, &capacity)) FAIL(ERROR_IO, "'%s' claims to be larger than memory", path);
  TRY(arena_try_alloc(arena, capacity, FILE_ALIGNMENT, &bytes));
  TRY(read_claimed(fd, bytes, claimed, threads, &size));
  for (;;) {
    if (size == capacity) {
      void *wider;
      if (!checked_mul(MAX(capacity, (size_t)4096), 2, &capacity)) FAIL(ERROR_IO, "'%s' is larger than memory", path);
      TRY(arena_try_alloc(arena, capacity, FILE_ALIGNMENT, &wider));
      memcpy(wider, bytes, size);
      bytes = wider;
    }
    ssize_t got = read(fd, (uint8_t *)bytes + size, MIN(capacity - size, (size_t)1 << 30));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) FAIL(ERROR_IO, "cannot read '%s': %m", path);
    if (got == 0) break;
    size += (size_t)got;
    if (limit && size > limit) FAIL(ERROR_LIMIT, "'%s' is larger than the limit of %zu bytes", path, limit);
  }
  ((uint8_t *)bytes)[size] = 0;  // the loop ends only with room to spare
  *out = (Bytes){.data = bytes, .size = size};
  return OK;
}

Status file_read(const char *path, size_t size_limit, Arena *arena, Bytes *out) {
  *out = (Bytes){0};
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) FAIL(ERROR_IO, "cannot open '%s': %m", path);
  struct stat info;
  Status status = OK;
  if (fstat(fd, &info) != 0) status = status_make(ERROR_IO, "cannot inspect '%s': %m", path);
  else status = read_all(fd, path, S_ISREG(info.st_mode) ? (size_t)info.st_size : 0, size_limit, 1, arena, out);
  close(fd);
  return status;
}

Status file_load(const char *path, size_t size_limit, int threads, Arena *arena, Bytes *out) {
  *out = (Bytes){0};
  int fd = stream_open(path);
  if (fd < 0) FAIL(ERROR_IO, "cannot open '%s': %m", path);
  struct stat info;
  Status status = OK;
  if (fstat(fd, &info) != 0) status = status_make(ERROR_IO, "cannot inspect '%s': %m", path);
  else if (stream_is_one(fd)) status = stream_read(fd, path, size_limit, arena, out);
  else if (!S_ISREG(info.st_mode)) status = status_make(ERROR_IO, "'%s' is neither a regular file nor a pipe", path);
  else status = read_all(fd, path, (size_t)info.st_size, size_limit, threads, arena, out);
  close(fd);
  return status;
}

typedef struct Mapping {
  void *address;
  size_t size;
} Mapping;

static void unmap(void *context) {
  Mapping *mapping = context;
  if (mapping->address) munmap(mapping->address, mapping->size);
}

// Registered before a file is opened, so that running out of memory loses neither a mapping nor a descriptor.
static Mapping *mapping_new(Arena *arena) {
  Mapping *mapping = arena_new_of(arena, Mapping);
  arena_on_free(arena, unmap, mapping);
  return mapping;
}

// Maps an open file; the caller keeps fd.
static Status map_open_file(int fd, const char *path, Mapping *mapping, Bytes *out) {
  struct stat info;
  if (fstat(fd, &info) != 0) FAIL(ERROR_IO, "cannot inspect '%s': %m", path);
  if (S_ISDIR(info.st_mode)) FAIL(ERROR_IO, "'%s' is a folder", path);
  if (!S_ISREG(info.st_mode)) FAIL(ERROR_IO, "'%s' is not a regular file", path);
  if (info.st_size == 0) {
    out->data = (const uint8_t *)"";
    return OK;
  }
  size_t size = (size_t)info.st_size;
  void *address = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
  if (address == MAP_FAILED) FAIL(ERROR_IO, "cannot map '%s' (%zu bytes): %m", path, size);
  *mapping = (Mapping){.address = address, .size = size};
  *out = (Bytes){.data = address, .size = size};
  return OK;
}

Status file_map(const char *path, size_t stream_limit, Arena *arena, Bytes *out) {
  *out = (Bytes){0};
  Mapping *mapping = mapping_new(arena);
  int fd = stream_open(path);
  if (fd < 0) FAIL(ERROR_IO, "cannot open '%s': %m", path);
  Status status = stream_is_one(fd) ? stream_read(fd, path, stream_limit, arena, out) : map_open_file(fd, path, mapping, out);
  close(fd);
  return status;
}

bool file_exists(const char *path) { return access(path, F_OK) == 0; }

Status directory_make(const char *path) {
  char prefix[PATH_MAX];
  size_t length = strlen(path);
  if (length == 0) FAIL(ERROR_INVALID_ARGUMENT, "the path of a folder is empty");
  if (length >= sizeof prefix) FAIL(ERROR_IO, "the path of a folder is longer than %zu bytes", sizeof prefix - 1);
  for (size_t i = 1; i <= length; i++) {
    if (path[i] != '/' && path[i] != 0) continue;
    memcpy(prefix, path, i);
    prefix[i] = 0;
    struct stat info;
    if (mkdir(prefix, 0777) == 0 || (stat(prefix, &info) == 0 && S_ISDIR(info.st_mode))) continue;
    if (stat(prefix, &info) == 0) FAIL(ERROR_IO, "cannot make folder '%s': '%s' is not a folder", path, prefix);
    FAIL(ERROR_IO, "cannot make folder '%s': %m", path);
  }
  return OK;
}

char *path_join(Arena *arena, const char *folder, const char *name) {
  size_t length = strlen(folder);
  if (length == 0 || name[0] == '/') return arena_string(arena, name);
  return arena_printf(arena, "%s%s%s", folder, folder[length - 1] == '/' ? "" : "/", name);
}

char *path_folder(Arena *arena, const char *path) {
  const char *slash = strrchr(path, '/');
  if (!slash) return arena_string(arena, ".");
  return arena_string_n(arena, path, slash == path ? 1 : (size_t)(slash - path));
}

const char *path_extension(const char *path) {
  const char *slash = strrchr(path, '/');
  const char *name = slash ? slash + 1 : path;
  const char *dot = strrchr(name, '.');
  return dot && dot != name ? dot : "";
}

static bool has_parent_component(const char *path) {
  for (const char *at = path; *at;) {
    size_t length = strcspn(at, "/");
    if (length == 2 && at[0] == '.' && at[1] == '.') return true;
    at += length;
    at += *at == '/';
  }
  return false;
}

// Opens path, which has no links, "." or "..", below the folder fd. -1 with errno as open does.
static int open_below(int folder, char *path) {
  int fd = folder;
  for (char *at = path, *slash; fd >= 0; at = slash + 1) {
    slash = strchr(at, '/');
    if (slash) *slash = 0;
    int kind = slash ? O_DIRECTORY | O_PATH : O_NONBLOCK;
    int next = openat(fd, at, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | kind);
    int saved_errno = errno;
    if (fd != folder) close(fd);
    errno = saved_errno;
    fd = next;
    if (!slash) break;
  }
  return fd;
}

static Status open_confined(const char *folder, const char *relative, Arena *arena, int *out) {
  char root[PATH_MAX], target[PATH_MAX];
  if (relative[0] == 0 || relative[0] == '/' || has_parent_component(relative))
    FAIL(ERROR_INVALID_MODEL, "'%s' is not a relative path inside its folder", relative);
  if (!realpath(folder, root)) FAIL(ERROR_IO, "cannot open folder '%s': %m", folder);
  if (!realpath(path_join(arena, folder, relative), target)) FAIL(ERROR_IO, "cannot open '%s' in '%s': %m", relative, folder);
  size_t length = strcmp(root, "/") == 0 ? 0 : strlen(root);
  if (strncmp(root, target, length) != 0 || target[length] != '/' || target[length + 1] == 0)
    FAIL(ERROR_INVALID_MODEL, "'%s' leads outside of its folder '%s'", relative, folder);
  int root_fd = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (root_fd < 0) FAIL(ERROR_IO, "cannot open folder '%s': %m", folder);
  *out = open_below(root_fd, target + length + 1);
  Status status = *out < 0 ? status_make(ERROR_IO, "cannot open '%s' in '%s': %m", relative, folder) : OK;
  close(root_fd);
  return status;
}

Status file_map_confined(const char *folder, const char *relative, Arena *arena, Bytes *out) {
  *out = (Bytes){0};
  Mapping *mapping = mapping_new(arena);
  int fd;
  TRY(open_confined(folder[0] ? folder : ".", relative, arena, &fd));
  Status status = map_open_file(fd, relative, mapping, out);
  close(fd);
  return status;
}

static const char *absolute_variable(const char *name) {
  const char *value = getenv(name);
  return value && value[0] == '/' ? value : NULL;
}

char *cache_folder(Arena *arena) {
  const char *own = getenv("INGOT_CACHE_DIR");
  if (own && own[0]) return arena_string(arena, own);
  const char *shared = absolute_variable("XDG_CACHE_HOME");
  if (shared) return path_join(arena, shared, "ingot");
  const char *home = absolute_variable("HOME");
  return path_join(arena, home ? home : ".", ".cache/ingot");
}
