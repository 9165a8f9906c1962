// ingot-suite: runs folders of ONNX backend cases, each in a process of its own with a time limit, so that a crash or a hang
// is one failure among others. With --passing FILE the cases named there must pass; --grow adds those that newly do. --skip FILE leaves
// cases out and says so: lines of a name and the reason. --every N takes each N-th case and says how many were left out.
//
//   ingot-suite [--filter TEXT] [--jobs N] [--limit SECONDS] [--passing FILE [--grow]] [--skip FILE] [--device cpu|cuda] [--fp16]
//               [--plan-text] [--every N] [--quiet] FOLDER...
//
// A folder is a case, or holds cases, or holds folders of cases.
#include <dirent.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/file.h"
#include "base/map.h"
#include "base/recover.h"
#include "base/text.h"
#include "tests/suite/case.h"
#include "tests/options.h"

// Sanitizers map more addresses than any limit on memory allows.
#if defined(__has_feature)
#define SANITIZED __has_feature(address_sanitizer)
#else
#define SANITIZED 0
#endif

enum { REASON_BYTES = 480, MEMORY_LIMIT_GB = 8, CLOCK_FACTOR = 10 };

typedef struct Case {
  const char *name, *folder;
  bool passed, skipped;
  char reason[REASON_BYTES];
} Case;

typedef struct Suite {
  Arena *arena;
  Case *cases;
  uint32_t count, capacity;
  const char *filter, *passing, *skip;
  int jobs, limit, every;
  bool grow, quiet;
  SuiteOptions options;
} Suite;

typedef struct Job {
  pid_t pid;
  int pipe;
  Case *running;
} Job;

// --- finding cases

static int by_name(const void *a, const void *b) { return strcmp(((const Case *)a)->name, ((const Case *)b)->name); }

static void find_cases(Suite *suite, const char *folder, const char *name, int depth) {
  if (file_exists(path_join(suite->arena, folder, "model.onnx"))) {
    if (suite->filter && !strstr(name, suite->filter)) return;
    Case *found = ARENA_PUSH(suite->arena, suite->cases, suite->count, suite->capacity);
    *found = (Case){.name = name, .folder = folder};
    return;
  }
  DIR *directory = depth > 0 ? opendir(folder) : NULL;
  if (!directory) return;
  for (struct dirent *entry; (entry = readdir(directory));) {
    if (entry->d_name[0] == '.') continue;
    const char *inner =
        *name ? arena_printf(suite->arena, "%s/%s", name, entry->d_name) : arena_string(suite->arena, entry->d_name);
    find_cases(suite, path_join(suite->arena, folder, entry->d_name), inner, depth - 1);
  }
  closedir(directory);
}

// --- running one

static _Noreturn void run_child(const Suite *suite, const Case *one, int out) {
  struct rlimit memory = {(rlim_t)MEMORY_LIMIT_GB << 30, (rlim_t)MEMORY_LIMIT_GB << 30}, no_core = {0, 0};
  setrlimit(RLIMIT_CORE, &no_core);
#if !defined(__SANITIZE_ADDRESS__) && !SANITIZED
  if (suite->options.device == DEVICE_CPU) setrlimit(RLIMIT_AS, &memory);  // a GPU's address space is mapped whole
#else
  (void)memory;
#endif
  // Seconds of work, whatever else the machine does; the clock only ends a case that waits for something.
  setitimer(ITIMER_PROF, &(struct itimerval){.it_value.tv_sec = suite->limit}, NULL);
  alarm((unsigned)suite->limit * CLOCK_FACTOR);
  Arena *arena = arena_new();
  const char *host = "";
  Status status = RECOVER_GUARD(suite_case_run(one->folder, &suite->options, arena, &host));
  const char *message = status ? status_message(status) : host;
  if (write(out, message, strlen(message)) < 0) _exit(3);
  _exit(status ? 1 : 0);
}

static bool start(const Suite *suite, Job *job, Case *one) {
  int ends[2];
  fflush(stdout);
  if (pipe(ends) != 0) return false;
  pid_t pid = fork();
  if (pid < 0) return false;
  if (pid == 0) {
    close(ends[0]);
    run_child(suite, one, ends[1]);
  }
  close(ends[1]);
  *job = (Job){pid, ends[0], one};
  return true;
}

static void finish(const Suite *suite, Job *job) {
  Case *one = job->running;
  int state = 0;
  close(job->pipe);
  waitpid(job->pid, &state, 0);
  if (WIFSIGNALED(state)) {
    int signal = WTERMSIG(state);
    if (signal == SIGPROF) snprintf(one->reason, sizeof one->reason, "over %d s of work", suite->limit);
    else if (signal == SIGALRM) snprintf(one->reason, sizeof one->reason, "over %d s", suite->limit * CLOCK_FACTOR);
    else snprintf(one->reason, sizeof one->reason, "died of signal %d (%s)", signal, strsignal(signal));
  }
  one->passed = WIFEXITED(state) && WEXITSTATUS(state) == 0;
  for (char *c = one->reason; *c; c++)
    if (*c == '\n') *c = ' ';
  if (!one->passed) printf("FAIL %s: %s\n", one->name, one->reason);
  else if (*one->reason) printf("HOST %s: %s\n", one->name, one->reason);
  else if (!suite->quiet) printf("PASS %s\n", one->name);
  job->running = NULL;
}

static void pump(const Suite *suite, Job *job) {
  size_t length = strlen(job->running->reason);
  char spare[256];
  size_t room = sizeof job->running->reason - 1 - length;
  ssize_t got = room ? read(job->pipe, job->running->reason + length, room) : read(job->pipe, spare, sizeof spare);
  if (got <= 0) finish(suite, job);
}

static void run_all(Suite *suite) {
  Job *jobs = arena_array(suite->arena, Job, (size_t)suite->jobs);
  struct pollfd *polls = arena_array(suite->arena, struct pollfd, (size_t)suite->jobs);
  uint32_t next = 0;
  for (;;) {
    int running = 0;
    for (int i = 0; i < suite->jobs; i++) {
      while (next < suite->count && suite->cases[next].skipped) next++;
      if (!jobs[i].running && next < suite->count && !start(suite, &jobs[i], &suite->cases[next++])) {
        perror("ingot-suite: cannot start a process");
        exit(2);
      }
      polls[i] = (struct pollfd){.fd = jobs[i].running ? jobs[i].pipe : -1, .events = POLLIN};
      running += jobs[i].running != NULL;
    }
    if (!running) return;
    poll(polls, (nfds_t)suite->jobs, -1);
    for (int i = 0; i < suite->jobs; i++)
      if (jobs[i].running && polls[i].revents) pump(suite, &jobs[i]);
  }
}

// --- the lists: of cases to leave out, of cases that must pass

// The file's lines, cut apart in memory of the suite's.
static Status read_lines(Suite *suite, const char *path, const char ***lines, uint32_t *count) {
  Bytes bytes = {0};
  uint32_t capacity = 0;
  *lines = NULL;
  *count = 0;
  TRY(file_read(path, 0, suite->arena, &bytes));
  char *text = arena_string_n(suite->arena, (const char *)bytes.data, bytes.size), *state = NULL;
  for (char *line = strtok_r(text, "\n", &state); line; line = strtok_r(NULL, "\n", &state))
    *ARENA_PUSH(suite->arena, *lines, *count, capacity) = line;
  return OK;
}

static Status mark_skipped(Suite *suite) {
  const char **lines;
  uint32_t line_count;
  TRY(read_lines(suite, suite->skip, &lines, &line_count));
  StringMap *reasons = string_map_new(suite->arena);
  for (uint32_t i = 0; i < line_count; i++) {
    size_t length = strcspn(lines[i], " ");
    string_map_set(reasons, arena_string_n(suite->arena, lines[i], length), (void *)(lines[i] + length));
  }
  for (uint32_t i = 0; i < suite->count; i++) {
    const char *reason = string_map_get(reasons, suite->cases[i].name);
    if (!reason) continue;
    suite->cases[i].skipped = true;
    printf("SKIPPED %s:%s\n", suite->cases[i].name, reason);
  }
  return OK;
}

static Status check_passing(Suite *suite, int *missing) {
  StringMap *found = string_map_new(suite->arena), *listed = string_map_new(suite->arena);
  for (uint32_t i = 0; i < suite->count; i++) string_map_set(found, suite->cases[i].name, &suite->cases[i]);
  const char **names = NULL;
  uint32_t count = 0, fresh = 0;
  if (file_exists(suite->passing)) TRY(read_lines(suite, suite->passing, &names, &count));
  uint32_t capacity = count;
  for (uint32_t i = 0; i < count; i++) {
    string_map_set(listed, names[i], listed);
    const Case *one = string_map_get(found, names[i]);
    if (one ? one->passed || one->skipped : suite->filter != NULL || suite->every > 1) continue;
    printf("LOST %s: it is listed in %s\n", names[i], suite->passing);
    ++*missing;
  }
  for (uint32_t i = 0; i < suite->count; i++) {
    if (!suite->cases[i].passed || string_map_get(listed, suite->cases[i].name)) continue;
    *ARENA_PUSH(suite->arena, names, count, capacity) = suite->cases[i].name;
    fresh++;
  }
  if (!fresh) return OK;
  printf("%u cases pass that %s does not list%s\n", fresh, suite->passing, suite->grow ? "; added" : " (--grow adds them)");
  if (!suite->grow) return OK;
  Case *order = arena_array(suite->arena, Case, count);
  for (uint32_t i = 0; i < count; i++) order[i].name = names[i];
  qsort(order, count, sizeof *order, by_name);
  Text out = text_new(suite->arena);
  for (uint32_t i = 0; i < count; i++) text_add(&out, "%s\n", order[i].name);
  return file_write(suite->passing, out.bytes, out.length);
}

static void keep_every(Suite *suite) {
  uint32_t step = (uint32_t)suite->every, all = suite->count;
  for (uint32_t i = 0; i < all; i += step) suite->cases[i / step] = suite->cases[i];
  suite->count = (all + step - 1) / step;
  printf("SKIPPED %u of %u cases: one of %u is taken\n", all - suite->count, all, step);
}

static const char usage[] =
    "ingot-suite [--filter TEXT] [--jobs N] [--limit SECONDS] [--passing FILE [--grow]] [--skip FILE] [--device cpu|cuda] "
    "[--fp16] [--plan-text] [--every N] [--quiet] FOLDER...";

int main(int argc, char **argv) {
  Suite suite = {.arena = arena_new(), .jobs = 2, .limit = 60};
  bool cuda = false;
  const TestOption options[] = {{"--filter", TEST_TEXT, &suite.filter},
                                {"--every", TEST_INT, &suite.every, 1},
                                {"--jobs", TEST_INT, &suite.jobs, 1},
                                {"--limit", TEST_INT, &suite.limit, 1},
                                {"--passing", TEST_TEXT, &suite.passing},
                                {"--skip", TEST_TEXT, &suite.skip},
                                {"--device", TEST_DEVICE, &cuda},
                                {"--fp16", TEST_FLAG, &suite.options.fp16},
                                {"--plan-text", TEST_FLAG, &suite.options.plan_text},
                                {"--grow", TEST_FLAG, &suite.grow},
                                {"--quiet", TEST_FLAG, &suite.quiet},
                                {NULL}};
  int folders = test_options(argc, argv, options, usage);
  suite.options.device = cuda ? DEVICE_CUDA : DEVICE_CPU;
  for (int i = 1; i <= folders; i++) {
    uint32_t before = suite.count;
    find_cases(&suite, argv[i], "", 2);
    if (suite.count == before + 1 && !*suite.cases[before].name) suite.cases[before].name = argv[i];
  }
  if (suite.grow && !suite.passing) return fputs("ingot-suite: --grow is for the file of --passing\n", stderr), 2;
  if (!suite.count) return fputs("ingot-suite: no cases found\n", stderr), 2;
  qsort(suite.cases, suite.count, sizeof *suite.cases, by_name);
  if (suite.every > 1) keep_every(&suite);
  int passed = 0, missing = 0, skipped = 0;
  Status status = suite.skip ? mark_skipped(&suite) : OK;
  if (!status) run_all(&suite);
  for (uint32_t i = 0; i < suite.count; i++) passed += suite.cases[i].passed, skipped += suite.cases[i].skipped;
  if (!status && suite.passing) status = check_passing(&suite, &missing);
  if (status) fprintf(stderr, "ingot-suite: %s\n", status_message(status));
  printf("%d of %u cases pass", passed, suite.count);
  if (skipped) printf(", %d skipped", skipped);
  printf("\n");
  bool good = !status && (suite.passing ? missing == 0 : passed + skipped == (int)suite.count);
  status_free(status);
  arena_free(suite.arena);
  return good ? 0 : 1;
}
