// Databases in files. Whoever writes holds the file's lock. A file that is written whole is another one under the same name: who waited for the lock of the
// one before opens again.
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/file.h"
#include "base/recover.h"
#include "lower/database.h"

#define MOST_BYTES ((size_t)1 << 30)

Status tuning_open(Arena *arena, const char *path, TuningDatabase **out) {
  Bytes bytes = {0};
  if (file_exists(path)) TRY(file_read(path, MOST_BYTES, arena, &bytes));
  TRY(status_context(tuning_parse(arena, arena_string_n(arena, (const char *)bytes.data, bytes.size), out), "%s", path));
  (*out)->path = arena_string(arena, path);
  return OK;
}

// ---- the lock ----------------------------------------------------------------------------------------------------------------

static bool is_still(const char *path, const struct stat *opened) {
  struct stat now;
  return !stat(path, &now) && now.st_dev == opened->st_dev && now.st_ino == opened->st_ino;
}

static int lock(int fd) {
  int result;
  do result = flock(fd, LOCK_EX);
  while (result && errno == EINTR);
  return result;
}

static Status open_locked(const char *path, int *out) {
  for (;;) {
    struct stat info;
    int fd = open(path, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (fd < 0) FAIL(ERROR_IO, "cannot open the tuning database '%s': %m", path);
    if (fstat(fd, &info) || lock(fd)) {
      Status status = status_make(ERROR_IO, "cannot lock the tuning database '%s': %m", path);
      close(fd);
      return status;
    }
    if (!S_ISREG(info.st_mode)) {
      close(fd);
      FAIL(ERROR_IO, "the tuning database '%s' is no regular file", path);
    }
    if (is_still(path, &info)) {
      *out = fd;
      return OK;
    }
    close(fd);
  }
}

// ---- appending ---------------------------------------------------------------------------------------------------------------

// The size without a last line that has no end: of a process that ended while it wrote.
static Status whole_lines(int fd, const char *path, off_t *out) {
  char bytes[4096];
  struct stat info;
  if (fstat(fd, &info)) FAIL(ERROR_IO, "cannot inspect '%s': %m", path);
  for (off_t end = info.st_size; end > 0;) {
    off_t start = MAX(end - (off_t)sizeof bytes, 0);
    ssize_t got = pread(fd, bytes, (size_t)(end - start), start);
    if (got != end - start) FAIL(ERROR_IO, "cannot read '%s': %m", path);
    const char *last = memrchr(bytes, '\n', (size_t)got);
    if (last) {
      *out = start + (last - bytes) + 1;
      return OK;
    }
    end = start;
  }
  *out = 0;
  return OK;
}

static Status append(int fd, const char *path, const TuningEntry *entry, Arena *scratch) {
  off_t size;
  TRY(whole_lines(fd, path, &size));
  const char *line = tuning_line(entry, !size, scratch);
  size_t length = strlen(line);
  if (ftruncate(fd, size)) FAIL(ERROR_IO, "cannot write '%s': %m", path);
  if (write(fd, line, length) != (ssize_t)length) FAIL(ERROR_IO, "cannot write '%s': %m", path);
  return OK;
}

static Status append_locked(const char *path, const TuningEntry *entry) {
  int fd;
  TRY(open_locked(path, &fd));
  Arena *scratch = arena_scratch();
  Status status = append(fd, path, entry, scratch);
  arena_free(scratch);
  close(fd);
  return status;
}

Status tuning_record(TuningDatabase *database, const TuningEntry *entry) {
  tuning_add(database, entry);
  return database->path ? append_locked(database->path, entry) : OK;
}

// ---- the whole file ----------------------------------------------------------------------------------------------------------

static Status rewrite(TuningDatabase *database, Arena *scratch) {
  TuningDatabase *now;
  Bytes before;
  TRY(file_read(database->path, MOST_BYTES, scratch, &before));
  TRY(status_context(tuning_parse(scratch, (const char *)before.data, &now), "%s", database->path));
  tuning_merge(now, database);
  const char *text = tuning_print(now, scratch);
  size_t length = strlen(text);
  if (length == before.size && !memcmp(text, before.data, length)) return OK;
  return file_write(database->path, text, length);
}

Status tuning_compact(TuningDatabase *database) {
  int fd;
  if (!database->path || !database->count) return OK;
  TRY(open_locked(database->path, &fd));
  Arena *scratch = arena_scratch();
  Status status = RECOVER_GUARD(rewrite(database, scratch));
  arena_free(scratch);
  close(fd);
  return status;
}
