// Writing a file whole. A regular file is replaced by renaming, so that nobody ever sees half of it: through symbolic links, with the
// mode and owner of the file that it replaces. A device, a pipe, or what /dev/stdout and its kin stand for is written through, since
// replacing it is not what its user means.
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/file.h"
#include "base/hash.h"

enum { MAX_LINKS = 40 };  // as many as the system follows

// Pipes, and some devices and file systems, have nothing to sync to.
static bool sync_failed(int fd) {
  return fsync(fd) != 0 && errno != EINVAL && errno != EROFS && errno != ENOTSUP && errno != ENOSYS;
}

static Status write_all(int fd, const char *path, const void *bytes, size_t size, bool durable) {
  const uint8_t *at = bytes;
  while (size) {
    ssize_t written = write(fd, at, MIN(size, (size_t)1 << 30));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) FAIL(ERROR_IO, "cannot write '%s': %m", path);
    at += written;
    size -= (size_t)written;
  }
  if (durable && sync_failed(fd)) FAIL(ERROR_IO, "cannot write '%s' to its device: %m", path);
  return OK;
}

// A pipe whose reader has gone is an error here, not the end of the process.
static Status write_quietly(int fd, const char *path, const void *bytes, size_t size) {
  sigset_t pipe_signal, before, pending;
  sigemptyset(&pipe_signal);
  sigaddset(&pipe_signal, SIGPIPE);
  sigpending(&pending);
  pthread_sigmask(SIG_BLOCK, &pipe_signal, &before);
  Status status = write_all(fd, path, bytes, size, true);
  if (status && !sigismember(&pending, SIGPIPE)) {
    const struct timespec now = {0};
    while (sigtimedwait(&pipe_signal, NULL, &now) < 0 && errno == EINTR) continue;
  }
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  return status;
}

// The number of an open file that the path stands for: "/proc/self/fd/1", "/dev/fd/1"; -1 for other paths.
static int open_file_number(const char *path) {
  static const char *const folders[] = {"/proc/self/fd/", "/proc/thread-self/fd/", "/dev/fd/"};
  for (size_t i = 0; i < COUNT_OF(folders); i++) {
    size_t length = strlen(folders[i]);
    const char *number = path + length;
    if (!strncmp(path, folders[i], length) && *number && strspn(number, "0123456789") == strlen(number) && strlen(number) < 10)
      return atoi(number);
  }
  return -1;
}

// Follows the links at the path's end, until what is no link or stands for an open file. The target need not exist.
static Status follow_links(const char *path, char target[PATH_MAX], int *open_file) {
  if (strlen(path) >= PATH_MAX) FAIL(ERROR_IO, "cannot write '%s': its path is longer than %d bytes", path, PATH_MAX - 1);
  strcpy(target, path);
  for (int i = 0; i < MAX_LINKS; i++) {
    char link[PATH_MAX];
    *open_file = open_file_number(target);
    ssize_t length = *open_file >= 0 ? -1 : readlink(target, link, sizeof link - 1);
    if (length < 0) return OK;
    link[length] = 0;
    char *slash = strrchr(target, '/');
    size_t folder = link[0] == '/' || !slash ? 0 : (size_t)(slash - target) + 1;
    if (folder + (size_t)length >= PATH_MAX) break;
    memcpy(target + folder, link, (size_t)length + 1);
  }
  FAIL(ERROR_IO, "cannot write '%s': its symbolic links have no end", path);
}

int path_open_number(const char *path) {
  char target[PATH_MAX];
  int number;
  Status status = follow_links(path, target, &number);
  if (status) number = -1;
  status_free(status);
  return number;
}

static Status write_through(const char *path, const char *target, int open_file, const void *bytes, size_t size) {
  int fd = open_file >= 0 ? fcntl(open_file, F_DUPFD_CLOEXEC, 0) : open(target, O_WRONLY | O_CLOEXEC);
  if (fd < 0) FAIL(ERROR_IO, "cannot open '%s' for writing: %m", path);
  Status status = write_quietly(fd, path, bytes, size);
  if (close(fd) != 0 && !status) status = status_make(ERROR_IO, "cannot write '%s': %m", path);
  return status;
}

// A name beside the target that nobody else uses, opened for writing.
static int open_temporary(const char *target, char name[PATH_MAX]) {
  const char *slash = strrchr(target, '/');
  int folder = slash ? (int)(slash - target) + 1 : 0;
  for (unsigned attempt = 0; attempt < 100; attempt++) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    uint64_t salt[] = {(uint64_t)now.tv_sec, (uint64_t)now.tv_nsec, (uint64_t)getpid(), (uintptr_t)name, attempt};
    int length =
        snprintf(name, PATH_MAX, "%.*s.%016llx.tmp", folder, target, (unsigned long long)hash_bytes(salt, sizeof salt, 0));
    if (length < 0 || length >= PATH_MAX) {
      errno = ENAMETOOLONG;
      return -1;
    }
    int fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd >= 0 || errno != EEXIST) return fd;
  }
  return -1;
}

// The rename itself must reach the device. Some file systems cannot fsync a folder; the file is whole all the same.
static void sync_folder_of(const char *path) {
  char folder[PATH_MAX];
  const char *slash = strrchr(path, '/');
  int length = slash ? (int)(slash - path) + 1 : 0;
  snprintf(folder, sizeof folder, "%.*s", slash ? length : 1, slash ? path : ".");
  int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return;
  fsync(fd);
  close(fd);
}

// Another owner cannot always be kept; the mode can. old NULL: a new file has the mode that the umask gives it.
static Status keep_mode(int fd, const char *path, const struct stat *old) {
  if (!old) return OK;
  bool owned = fchown(fd, old->st_uid, old->st_gid) == 0;
  mode_t mode = old->st_mode & (owned ? 07777 : 0777);  // set-user-id is the old owner's to give
  if (fchmod(fd, mode) != 0) FAIL(ERROR_IO, "cannot give '%s' the mode of the file it replaces: %m", path);
  return OK;
}

static Status replace(const char *path, const char *target, const struct stat *old, const void *bytes, size_t size,
                      bool durable) {
  char name[PATH_MAX];
  if (old && access(target, W_OK) != 0) FAIL(ERROR_IO, "cannot replace '%s': %m", path);
  int fd = open_temporary(target, name);
  if (fd < 0) FAIL(ERROR_IO, "cannot create a file beside '%s': %m", path);
  Status status = write_all(fd, path, bytes, size, durable);
  if (!status) status = keep_mode(fd, path, old);
  if (close(fd) != 0 && !status) status = status_make(ERROR_IO, "cannot write '%s': %m", path);
  if (!status && rename(name, target) != 0) status = status_make(ERROR_IO, "cannot replace '%s': %m", path);
  if (status) unlink(name);
  else if (durable) sync_folder_of(target);
  return status;
}

Status file_write(const char *path, const void *bytes, size_t size) {
  char target[PATH_MAX];
  int open_file;
  struct stat info;
  TRY(follow_links(path, target, &open_file));
  bool exists = open_file < 0 && stat(target, &info) == 0;
  if (open_file >= 0 || (exists && !S_ISREG(info.st_mode))) return write_through(path, target, open_file, bytes, size);
  return replace(path, target, exists ? &info : NULL, bytes, size, true);
}

Status file_write_cache(const char *path, const void *bytes, size_t size) {
  struct stat info;
  bool exists = stat(path, &info) == 0;
  return replace(path, path, exists ? &info : NULL, bytes, size, false);
}
