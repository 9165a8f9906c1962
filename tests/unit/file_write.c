// Files are written as their user means it: modes and links are kept, devices and pipes written through, nothing is left behind.
#include <criterion/criterion.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "ingot/ingot.h"

static char folder[] = "/tmp/ingot-write-XXXXXX";
static char path[256], other[256];

static char *in_folder(char *out, const char *name) {
  snprintf(out, 256, "%s/%s", folder, name);
  return out;
}

static void set_up(void) {
  cr_assert_not_null(mkdtemp(folder));
  in_folder(path, "file");
  in_folder(other, "other");
}
static void tear_down(void) {
  char command[300];
  snprintf(command, sizeof command, "rm -r '%s'", folder);
  cr_assert_eq(system(command), 0);
}
TestSuite(file_write, .init = set_up, .fini = tear_down, .timeout = 60);

static void expect_written(const char *to, const char *text) {
  Status status = file_write(to, text, strlen(text));
  cr_assert(!status, "%s", status_message(status));
}
static void expect_refused(const char *to, const char *says) {
  Status status = file_write(to, "x", 1);
  cr_assert(status, "nothing was refused");
  cr_expect_eq(status_code(status), ERROR_IO);
  cr_expect(strstr(status_message(status), says), "'%s' does not say '%s'", status_message(status), says);
  status_free(status);
}
static void expect_content(const char *of, const char *text) {
  char buffer[256] = "";
  FILE *file = fopen(of, "re");
  cr_assert_not_null(file);
  size_t size = fread(buffer, 1, sizeof buffer - 1, file);
  fclose(file);
  cr_expect_eq(size, strlen(text));
  cr_expect_str_eq(buffer, text);
}
static mode_t mode_of(const char *of) {
  struct stat info;
  cr_assert_eq(stat(of, &info), 0);
  return info.st_mode & 07777;
}
static void expect_files(int count) {
  char command[400];
  snprintf(command, sizeof command, "test \"$(find '%s' -mindepth 1 | wc -l)\" = %d", folder, count);
  cr_expect_eq(system(command), 0, "there are not %d files", count);
}

Test(file_write, modes_are_kept_and_new_files_follow_the_umask) {
  mode_t before = umask(027);
  expect_written(path, "a");
  cr_expect_eq(mode_of(path), 0640);
  cr_assert_eq(chmod(path, 0606), 0);
  expect_written(path, "bc");
  cr_expect_eq(mode_of(path), 0606);
  cr_expect_eq(umask(before), 027);  // left as found
  expect_content(path, "bc");
  expect_files(1);
}

Test(file_write, links_are_followed) {
  cr_assert_eq(mkdir(in_folder(other, "deep"), 0777), 0);
  in_folder(other, "deep/target");
  cr_assert_eq(symlink("deep/link", path), 0);
  char middle[256];
  cr_assert_eq(symlink("target", in_folder(middle, "deep/link")), 0);
  expect_written(path, "new");  // the target does not exist yet
  expect_content(other, "new");
  expect_written(path, "again");
  expect_content(other, "again");
  struct stat info;
  cr_assert(lstat(path, &info) == 0 && S_ISLNK(info.st_mode), "the link was replaced");
  expect_files(4);
  cr_assert_eq(symlink("b", in_folder(other, "a")), 0);
  cr_assert_eq(symlink("a", in_folder(middle, "b")), 0);
  expect_refused(other, "no end");
}

static void *read_all(void *to) {
  char *text = to;
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  for (ssize_t got; (got = read(fd, text, 255)) > 0;) text += got;
  close(fd);
  return NULL;
}

Test(file_write, pipes_and_devices_are_written_through) {
  char text[256] = "";
  pthread_t reader;
  cr_assert_eq(mkfifo(path, 0666), 0);
  cr_assert_eq(pthread_create(&reader, NULL, read_all, text), 0);
  expect_written(path, "through the pipe");
  pthread_join(reader, NULL);
  cr_expect_str_eq(text, "through the pipe");
  struct stat info;
  cr_assert(stat(path, &info) == 0 && S_ISFIFO(info.st_mode), "the pipe was replaced");
  expect_written("/dev/null", "gone");
  cr_assert(stat("/dev/null", &info) == 0 && S_ISCHR(info.st_mode));
  if (access("/dev/full", W_OK) == 0) expect_refused("/dev/full", "No space left");
  expect_files(1);
}

Test(file_write, an_open_file_is_written_where_it_stands) {
  int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0666), saved = dup(1);
  cr_assert_eq(write(fd, "head ", 5), 5);
  fflush(stdout);
  dup2(fd, 1);
  Status status = file_write("/dev/stdout", "body", 4);
  bool more = write(1, " tail", 5) == 5;
  dup2(saved, 1);
  cr_assert(!status, "%s", status_message(status));
  cr_assert(more);
  close(fd);
  close(saved);
  expect_content(path, "head body tail");
  expect_files(1);
}

Test(file_write, a_pipe_without_a_reader_is_an_error) {
  int ends[2];
  char number[64];
  cr_assert_eq(pipe(ends), 0);
  close(ends[0]);
  snprintf(number, sizeof number, "/dev/fd/%d", ends[1]);
  expect_refused(number, "Broken pipe");  // and the process lives
  close(ends[1]);
  sigset_t pending;
  sigpending(&pending);
  cr_expect_not(sigismember(&pending, SIGPIPE));
}

Test(file_write, nothing_is_left_after_a_failure) {
  expect_refused(folder, "Is a directory");
  expect_refused(in_folder(other, "none/file"), "none/file");
  expect_refused("", "''");
  expect_files(0);
  char longest[256 + 256];
  memset(longest, 0, sizeof longest);
  snprintf(longest, sizeof longest, "%s/", folder);
  size_t length = strlen(longest);
  memset(longest + length, 'n', 255);
  expect_written(longest, "a name as long as names may be");
  expect_files(1);
}

Test(file_write, files_of_a_cache_are_whole_too) {
  for (int i = 0; i < 2; i++) {
    const char *text = i ? "second, and longer" : "first";
    Status status = file_write_cache(path, text, strlen(text));
    cr_assert(!status, "%s", status_message(status));
    expect_content(path, text);
    expect_files(1);
  }
  Status status = file_write_cache(in_folder(other, "none/file"), "x", 1);
  cr_expect_eq(status_code(status), ERROR_IO);
  status_free(status);
  expect_files(1);
}

Test(file_write, engines_are_saved_so) {
  ingot_model *model;
  ingot_engine *engine, *loaded;
  ingot_config config;
  cr_assert_null(ingot_config_init(&config));
  config.device = INGOT_DEVICE_CPU;
  cr_assert_null(ingot_model_open("examples/digits/digits.onnx", &config, &model));
  cr_assert_null(ingot_engine_build(model, &config, &engine));
  ingot_model_free(model);
  expect_written(other, "old");
  cr_assert_eq(chmod(other, 0600), 0);
  cr_assert_eq(symlink("other", path), 0);
  cr_assert_null(ingot_engine_save(engine, path));
  cr_expect_eq(mode_of(other), 0600);
  cr_assert_null(ingot_engine_save(engine, "/dev/null"));
  cr_assert_null(ingot_engine_load(other, &config, &loaded));
  void *bytes;
  size_t size;
  struct stat info;
  cr_assert_null(ingot_engine_save_memory(loaded, &bytes, &size));
  cr_assert_eq(stat(other, &info), 0);
  cr_expect_eq((size_t)info.st_size, size);
  ingot_engine_free(loaded);
  cr_assert_null(ingot_engine_load_memory(bytes, size, &config, &loaded));
  memset(bytes, 0, size);
  free(bytes);  // the engine has its own
  ingot_session *session;
  ingot_tensor out, in = {(uint8_t[64]){0}, {INGOT_CPU, 0}, 4, {INGOT_UINT, 8, 1}, (int64_t[]){1, 1, 8, 8}, NULL, 0};
  cr_assert_null(ingot_session_create(loaded, &config, &session));
  cr_assert_null(ingot_session_run(session, &in, 1, &out, 1));
  ingot_session_free(session);
  ingot_engine_free(loaded);
  ingot_error *error = ingot_engine_load_memory("INGOT", 5, &config, &loaded);
  cr_expect_eq(ingot_error_code(error), INGOT_CORRUPT);
  ingot_error_free(error);
  ingot_engine_free(engine);
  expect_files(2);
}
