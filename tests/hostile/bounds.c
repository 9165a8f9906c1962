// ingot-bounds INGOT FOLDER: runs the command on each hostile file of the folder, in a process of its own. Each must be refused with a
// reason or finish, within 2 s of CPU time and 1 GiB of memory; and again with limits that the caller sets, which it may not exceed
// by much. A folder is a model.onnx with what lies beside it: NAME_x.npy is the input x. A file of arrays is an input of a sound model.
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MOST_SECONDS = 2, MOST_MIB = 1024, MOST_ARGUMENTS = 32 };

typedef struct Command {
  char *arguments[MOST_ARGUMENTS];
  int count;
} Command;

static void add(Command *command, const char *argument) { command->arguments[command->count++] = strdup(argument); }

static int ends_with(const char *text, const char *end) {
  size_t length = strlen(text), tail = strlen(end);
  return length >= tail && !strcmp(text + length - tail, end);
}

// What "file.bin" of 4 MiB of zeros stands for; a repository holds no such thing.
static void make_external(const char *folder) {
  char path[4096];
  snprintf(path, sizeof path, "%s/big.bin", folder);
  int file = open(path, O_CREAT | O_WRONLY | O_TRUNC, 0644);
  if (file < 0 || ftruncate(file, 4 << 20)) perror(path);
  if (file >= 0) close(file);
}

static void add_inputs(Command *command, const char *folder) {
  DIR *directory = opendir(folder);
  for (struct dirent *entry; directory && (entry = readdir(directory));) {
    const char *underscore = strrchr(entry->d_name, '_');
    if (!ends_with(entry->d_name, ".npy") || !underscore) continue;
    char input[8192];
    snprintf(input, sizeof input, "%.*s=%s/%s", (int)(strlen(underscore) - 5), underscore + 1, folder, entry->d_name);
    add(command, "--input");
    add(command, input);
  }
  if (directory) closedir(directory);
}

// Runs it; returns whether it ended as it should.
static int run(const char *what, Command *command, double most_seconds, long most_mib) {
  int output[2];
  char said[512] = "";
  if (pipe(output)) return 0;
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    struct rlimit cpu = {(rlim_t)most_seconds + 8, (rlim_t)most_seconds + 8};
    setrlimit(RLIMIT_CPU, &cpu);
    dup2(output[1], 2);
    close(output[0]);
    close(output[1]);
    freopen("/dev/null", "w", stdout);
    execv(command->arguments[0], command->arguments);
    _exit(127);
  }
  close(output[1]);
  size_t length = 0;
  char rest[512];
  for (ssize_t got; (got = read(output[0], length < sizeof said - 1 ? said + length : rest,
                                length < sizeof said - 1 ? sizeof said - 1 - length : sizeof rest)) > 0;)
    if (length < sizeof said - 1) length += (size_t)got;
  close(output[0]);
  int result;
  struct rusage usage;
  wait4(child, &result, 0, &usage);
  double seconds = (double)usage.ru_utime.tv_sec + 1e-6 * (double)usage.ru_utime.tv_usec + (double)usage.ru_stime.tv_sec +
                   1e-6 * (double)usage.ru_stime.tv_usec;
  long mib = usage.ru_maxrss >> 10;
  const char *fault = WIFSIGNALED(result)                                    ? "killed by a signal"
                      : WEXITSTATUS(result) > 1                              ? "exit code above 1"
                      : WEXITSTATUS(result) == 1 && !strstr(said, "ingot: ") ? "refused without a reason"
                      : seconds > most_seconds                               ? "too slow"
                      : mib > most_mib                                       ? "too much memory"
                                                                             : NULL;
  said[strcspn(said, "\n")] = 0;
  printf("%-28s %5.2f s %5ld MiB  %s%s%.90s\n", what, seconds, mib, fault ? "FAILED: " : "", fault ? fault : "", said);
  return !fault;
}

static int try_file(const char *ingot, const char *folder, const char *file, const char *temporary) {
  char path[4096], name[64];
  struct stat status;
  Command command = {0};
  snprintf(path, sizeof path, "%s/%s", folder, file);
  add(&command, ingot);
  add(&command, "run");
  if (stat(path, &status) == 0 && S_ISDIR(status.st_mode)) {
    char model[4200], copy[4200], line[9000];
    snprintf(model, sizeof model, "%s/model.onnx", path);
    snprintf(copy, sizeof copy, "%s/model.onnx", temporary);
    snprintf(line, sizeof line, "cp '%s' '%s'", model, copy);
    if (system(line)) return 0;
    add(&command, copy);
    add_inputs(&command, path);
  } else if (ends_with(file, ".onnx")) {
    add(&command, path);
  } else {
    add(&command, "examples/digits/digits.onnx");
    add(&command, "--input");
    add(&command, path);
  }
  add(&command, "--device");
  add(&command, "cpu");
  add(&command, "--quiet");
  int good = run(file, &command, MOST_SECONDS, MOST_MIB);
  add(&command, "--memory-limit");
  add(&command, "100");
  add(&command, "--time-limit");
  add(&command, "0.5");
  snprintf(name, sizeof name, "%.40s, limited", file);
  return run(name, &command, MOST_SECONDS, 100 + 156) && good;
}

int main(int count, char **arguments) {
  char temporary[] = "/tmp/ingot-bounds-XXXXXX", line[64];
  if (count != 3) return fputs("usage: ingot-bounds INGOT FOLDER\n", stderr), 2;
  if (!mkdtemp(temporary)) return perror(temporary), 2;
  make_external(temporary);
  struct dirent **entries;
  int found = scandir(arguments[2], &entries, NULL, alphasort), failed = 0, tried = 0;
  for (int i = 0; i < found; i++) {
    if (entries[i]->d_name[0] == '.') continue;
    tried++;
    failed += !try_file(arguments[1], arguments[2], entries[i]->d_name, temporary);
  }
  snprintf(line, sizeof line, "rm -r %s", temporary);
  if (system(line)) failed++;
  printf("%d files, %d failed\n", tried, failed);
  return failed > 0 || !tried;
}
