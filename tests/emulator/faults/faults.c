// For every call of the driver and of NVRTC in a build, a load, an inference, a profile and a tuning: failing it gives a clear error, leaves nothing
// behind, and the library works afterwards. Each scenario runs once without faults, which counts its calls; then once for every call and every
// way to fail, and after each again without. See docs/emulator.md.
//
// Profiles and tunings measure the same few calls hundreds of times: of those, calls that follow the same call are failed once, unless --every.
//
//   ingot-faults [--step N] [--from N] [--every] [--code C] [--sticky] [--scenario NAME] MODEL.onnx...
#include "tests/emulator/faults/faults.h"
#include <dlfcn.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "tests/options.h"

enum { PATIENCE_SECONDS = 600, NAMES = 1 << 13 };

// Where the address sanitizer is: what is lost at this moment.
int __lsan_do_recoverable_leak_check(void) __attribute__((weak));

static const Mode default_modes[] = {{"once", 1, false}, {"once, out of memory", 2, false}, {"from there on", 700, true}};

// --- Judging.

static char under_way[512];  // for the watchdog

void problem(Run *run, const char *format, ...) {
  va_list list;
  run->problems++;
  fprintf(stderr, "faults: %s", under_way);
  const char *call = run->mode ? run->emulated->failed_call() : NULL;
  if (call) fprintf(stderr, " (%s)", call);
  fprintf(stderr, ": ");
  va_start(list, format);
  vfprintf(stderr, format, list);
  va_end(list);
  fprintf(stderr, "\n");
}

void log_message(void *context, ingot_severity severity, const char *message) {
  Run *run = context;
  pthread_mutex_lock(&run->mutex);
  size_t room = sizeof run->log - run->log_used, length = strlen(message);
  // A context that is gone makes everything fail that is given back: that is one thing to say.
  bool again = run->log_used > length && strstr(message, "earlier error") &&
               !strncmp(run->log + run->log_used - length - 1, message, length);
  if (again) problem(run, "says twice in a row: %s", message);
  if (length + 2 < room) run->log_used += (size_t)snprintf(run->log + run->log_used, room, "%s\n", message);
  pthread_mutex_unlock(&run->mutex);
}

// "cuMemFree_v2" is cuMemFree to whoever reads a message.
static const char *plain_name(const char *call, char out[64]) {
  snprintf(out, 64, "%s", call);
  char *version = strstr(out, "_v");
  if (version) *version = 0;
  return out;
}

// What gives something back may fail unheard: the thing is gone, and an error of earlier work comes back at the next call that matters.
static bool may_pass(const char *call) {
  static const char *const names[] = {
      "cuMemFree",           "cuEventDestroy",     "cuStreamDestroy", "cuModuleUnload",
      "cuGraphDestroy",      "cuGraphExecDestroy", "cuCtxPopCurrent", "cuDevicePrimaryCtxRelease",
      "nvrtcDestroyProgram", "cuMemRelease",       "cuMemUnmap",      "cuMemAddressFree"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++)
    if (!strncmp(call, names[i], strlen(names[i]))) return true;
  return false;
}

bool judge(Run *run, const char *what, ingot_error *error) {
  const char *call = run->mode ? run->emulated->failed_call() : NULL, *message = ingot_error_message(error);
  char name[64];
  bool first = call && !run->seen;
  if (call) run->seen = true;
  if (!error) {
    bool told = !first || may_pass(call) || strstr(run->log, plain_name(call, name)) ||
                (run->mode->code == 2 && strstr(run->log, "memory"));
    if (!told) problem(run, "%s succeeded and nothing was said", what);
    return true;
  }
  if (!call) problem(run, "%s failed without a cause: %s", what, message);
  else if (!first && !run->mode->sticky) problem(run, "%s fails though the failure has passed: %s", what, message);
  else if (run->mode->code == 2 && ingot_error_code(error) == INGOT_OUT_OF_MEMORY && strstr(message, "memory")) {
  } else if (!strstr(message, plain_name(call, name)) && !(run->mode->sticky && strstr(message, "earlier error")) &&
             !(run->mode->sticky && (strstr(message, "cu") || strstr(message, "nvrtc"))))
    problem(run, "%s: the message does not say what failed: %s", what, message);
  ingot_error_free(error);
  return false;
}

void judge_free(Run *run) {
  if (run->mode && run->emulated->failed_call()) run->seen = true;
}

// --- Walking.

static void on_alarm(int signal) {
  static const char text[] = ": hangs\n";
  (void)!write(2, "faults: ", 8);
  (void)!write(2, under_way, strlen(under_way));
  (void)!write(2, text, sizeof text - 1);
  _exit(1);
}

typedef struct Walk {
  const Emulated *emulated;
  const Mode *modes;
  int mode_count;
  long step, from;
  bool every;
  const char *names[NAMES];  // of the calls of the run that counted them
  long calls, failures;
  int problems, scenarios;
} Walk;

// Runs a scenario, with the call `at` failing where a mode is given. Returns whether it came to its end.
static bool run_once(Walk *walk, const Subject *subject, const Scenario *scenario, const Mode *mode, long at, long *calls) {
  static Run run;
  const Emulated *e = walk->emulated;
  run = (Run){.emulated = e,
              .subject = subject,
              .scenario = scenario->name,
              .mode = mode,
              .at = at,
              .mutex = PTHREAD_MUTEX_INITIALIZER};
  if (mode) snprintf(under_way, sizeof under_way, "%s, %s, call %ld failing %s", subject->path, scenario->name, at, mode->name);
  else
    snprintf(under_way, sizeof under_way, "%s, %s, nothing failing%s", subject->path, scenario->name, at ? " afterwards" : "");
  int live = e->live_objects(), findings = e->findings();
  e->fail(0, 0, false, "");
  alarm(PATIENCE_SECONDS);
  if (scenario->prepare && !scenario->prepare(&run)) problem(&run, "could not be prepared");
  if (mode) e->fail(at, mode->code, mode->sticky, "");
  else e->fail(0, 0, false, "");
  run.good = scenario->run(&run);
  if (calls) *calls = e->calls();
  for (long i = 0; calls && i < NAMES; i++) walk->names[i] = e->call_name(i);
  // What measures makes as many calls as it has time for: the last ones may not come again.
  bool unreached = mode && !e->failed_call();
  if (unreached && !(scenario->repeats && run.good)) problem(&run, "the call was never made");
  if (!mode && !run.good) problem(&run, "does not succeed");
  char failed[64] = "";
  if (mode && e->failed_call()) snprintf(failed, sizeof failed, "%s", e->failed_call());
  void *current = NULL;
  e->fail(0, 0, false, "");
  run.mode = NULL;
  if (scenario->clean) scenario->clean(&run);
  if (e->current(&current) || current) problem(&run, "after %s failed, a context is still current", failed);
  if (e->live_objects() != live)
    problem(&run, "after %s failed, %d objects of the device are left", failed, e->live_objects() - live);
  if (e->findings() != findings) problem(&run, "after %s failed, the device had something to complain of", failed);
  alarm(0);
  walk->problems += run.problems;
  return run.good;
}

// Which calls to fail: all, or one of those that have the same name and the same call before them.
static bool *choose(const Walk *walk, const Scenario *scenario, long calls) {
  bool *chosen = calloc((size_t)calls + 1, sizeof *chosen);
  const char *const *name = walk->names;
  for (long at = walk->from; chosen && at <= calls; at += walk->step) {
    bool again = false;
    for (long other = 2; other < at && at < NAMES && scenario->repeats && !walk->every && !again; other++)
      again = chosen[other] && name[other] == name[at] && name[other - 1] == name[at - 1];
    chosen[at] = !again;
  }
  return chosen;
}

static void walk_scenario(Walk *walk, const Subject *subject, const Scenario *scenario) {
  long calls = 0;
  run_once(walk, subject, scenario, NULL, 0, &calls);
  walk->calls += calls;
  walk->scenarios++;
  bool *chosen = choose(walk, scenario, calls);
  for (int m = 0; m < walk->mode_count; m++) {
    const Mode *mode = &walk->modes[m];
    for (long at = walk->from; chosen && at <= calls; at++) {
      if (!chosen[at]) continue;
      // What went on to the end has shown that it works; what did not is done again.
      if (!run_once(walk, subject, scenario, mode, at, NULL)) run_once(walk, subject, scenario, NULL, at, NULL);
      walk->failures++;
    }
    if (__lsan_do_recoverable_leak_check && __lsan_do_recoverable_leak_check()) {
      fprintf(stderr, "faults: %s, %s, calls failing %s: memory was lost (above)\n", subject->path, scenario->name, mode->name);
      walk->problems++;
    }
  }
  free(chosen);
}

// --- The emulator, which the library opens too.

static bool emulator_open(Emulated *out) {
  static const struct {
    const char *name;
    size_t offset;
  } rows[] = {
      {"emulator_fail", offsetof(Emulated, fail)},
      {"emulator_calls", offsetof(Emulated, calls)},
      {"emulator_failed_call", offsetof(Emulated, failed_call)},
      {"emulator_call_name", offsetof(Emulated, call_name)},
      {"emulator_live_objects", offsetof(Emulated, live_objects)},
      {"emulator_findings", offsetof(Emulated, findings)},
      {"cuDevicePrimaryCtxRetain", offsetof(Emulated, retain)},
      {"cuDevicePrimaryCtxRelease_v2", offsetof(Emulated, release)},
      {"cuCtxPushCurrent_v2", offsetof(Emulated, push)},
      {"cuCtxPopCurrent_v2", offsetof(Emulated, pop)},
      {"cuCtxGetCurrent", offsetof(Emulated, current)},
      {"cuMemAlloc_v2", offsetof(Emulated, alloc)},
      {"cuMemFree_v2", offsetof(Emulated, free)},
      {"cuMemcpyHtoDAsync_v2", offsetof(Emulated, copy_in)},
      {"cuStreamSynchronize", offsetof(Emulated, finish)},
  };
  const char *path = getenv("INGOT_LIBCUDA");
  void *library = path ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
  if (!library) fprintf(stderr, "faults: $INGOT_LIBCUDA does not name the emulator\n");
  for (size_t i = 0; library && i < sizeof rows / sizeof *rows; i++) {
    void *symbol = dlsym(library, rows[i].name);
    if (!symbol) {
      fprintf(stderr, "faults: %s has no %s: it is not the emulator\n", path, rows[i].name);
      return false;
    }
    memcpy((char *)out + rows[i].offset, &symbol, sizeof symbol);
  }
  int (*init)(unsigned) = NULL;
  if (library) *(void **)&init = dlsym(library, "cuInit");
  return init && !init(0);
}

int main(int count, char **arguments) {
  Emulated emulated;
  Mode chosen = {"as asked", 1, false};
  Walk walk = {.emulated = &emulated,
               .modes = default_modes,
               .mode_count = sizeof default_modes / sizeof *default_modes,
               .step = 1,
               .from = 1};
  const char *only = NULL;
  int code = 0;
  const TestOption options[] = {{"--sticky", TEST_FLAG, &chosen.sticky},
                                {"--every", TEST_FLAG, &walk.every},
                                {"--code", TEST_INT, &code, 1},
                                {"--step", TEST_LONG, &walk.step, 1},
                                {"--from", TEST_LONG, &walk.from, 1},
                                {"--scenario", TEST_TEXT, &only},
                                {NULL}};
  static const char usage[] =
      "ingot-faults [--step N] [--from N] [--every] [--code C] [--sticky] [--scenario NAME] MODEL.onnx...";
  int models = test_options(count, arguments, options, usage), scenario = 0;
  while (only && scenarios[scenario].name && strcmp(only, scenarios[scenario].name)) scenario++;
  if (!models || !scenarios[scenario].name) return fprintf(stderr, "usage: %s\n", usage), 2;
  if (code) chosen.code = code;
  if (code || chosen.sticky) walk.modes = &chosen, walk.mode_count = 1;
  char folder[] =
      "/dev/shm/ingot-faults-XXXXXX";  // in memory where there is such a folder: it is written to thousands of times
  if (!mkdtemp(folder)) snprintf(folder, sizeof folder, "/tmp/ingot-faults-XXXXXX");
  if (!emulator_open(&emulated) || (folder[1] == 't' && !mkdtemp(folder))) return 1;
  signal(SIGALRM, on_alarm);
  for (int i = 1; i <= models; i++) {
    Subject subject;
    if (!subject_open(&emulated, arguments[i], folder, &subject)) walk.problems++;
    for (const Scenario *s = scenarios; s->name && subject.expected; s++) {
      bool wanted = only ? !strcmp(only, s->name) : !s->asked_for;
      if (wanted && s->sizes != ANY && (s->sizes == OPEN) != subject.open)
        printf("SKIPPED %s of %s: it leaves %s size open\n", s->name, subject.path, subject.open ? "a" : "no");
      else if (wanted) walk_scenario(&walk, &subject, s);
      else if (s == scenarios) run_once(&walk, &subject, s, NULL, 0, NULL);  // it makes what the others load
    }
    subject_close(&subject);
  }
  rmdir(folder);
  printf("faults: %d scenarios, %ld calls, %ld failures made: ", walk.scenarios, walk.calls, walk.failures);
  if (walk.problems) printf("%d problems\n", walk.problems);
  else printf("all reported, nothing leaks\n");
  return walk.problems ? 1 : 0;
}
