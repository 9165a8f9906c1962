// ingot-instructions: each instruction that the kernels' wrappers know, in a small kernel whose results are known.
//
//   ingot-instructions [--device N] [--filter TEXT] [--findings] [--compile]
//
// Runs unchanged on a GPU and on the emulated device. Prints a line for each, "N of N instructions behave", and exits with 1 if one does
// not; names those that the device's architecture has not. --findings, on the emulated device only, runs kernels with one mistake each instead,
// and wants each mistake found. --compile needs no device: it compiles all for every architecture that has them.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "cuda/nvrtc.h"
#include "tests/instructions/lab.h"
#include "tests/options.h"
#include "kernels/device_sources.h"

static const TrialTable *const tables[] = {&warp_trials,    &async_trials,  &tensor_trials, &im2col_trials,
                                           &cluster_trials, &blocks_trials, &matrix_trials};

enum { SKIPPED = 77 };  // what ctest is told

typedef struct Options {
  int device;
  const char *filter;
  bool findings, compile;
} Options;

typedef struct Tally {
  int passed, total, skipped;
} Tally;

static void report(const char *name, Status status, Tally *tally) {
  tally->total++;
  tally->passed += status == OK;
  printf("%-6s %s%s%s\n", status ? "WRONG" : "ok", name, status ? ": " : "", status ? status_message(status) : "");
  fflush(stdout);
  status_free(status);
}

static Status run_trials(Lab *lab, const Options *options, Tally *tally) {
  for (size_t t = 0; t < COUNT_OF(tables); t++)
    for (int i = 0; i < tables[t]->count; i++) {
      const Trial *trial = &tables[t]->trials[i];
      if (!strstr(trial->name, options->filter)) continue;
      if (!sm_has(lab->sm, trial->sm, trial->only)) {
        printf("       %s: not on sm_%d\n", trial->name, lab->sm);
        tally->skipped++;
        continue;
      }
      Status status = trial->run(lab, trial);
      bool lost = status != OK;
      report(trial->name, status, tally);
      lab_clear(lab);
      if (!lost) continue;
      int device = options->device;
      lab_close(lab);
      TRY(lab_open(lab, device));
    }
  return OK;
}

static Status compile_all(Lab *lab, const Options *options, Tally *tally) {
  static const int targets[] = {75, 80, 90, 100, 120};
  static const struct {
    const char *file;
    int sm;
    bool only;
  } files[] = {{"warp.cuh", 75},   {"blocks.cuh", 75},          {"async.cuh", 80},
               {"bulk.cuh", 90},   {"tensor.cuh", 90},          {"cluster.cuh", 90},
               {"matrix.cuh", 75}, {"warpgroup.cuh", 90, true}, {"findings.cuh", 90, true}};
  for (size_t i = 0; i < COUNT_OF(files); i++)
    for (size_t k = 0; k < COUNT_OF(targets); k++) {
      char name[64];
      Cubin cubin;
      if (!sm_has(targets[k], files[i].sm, files[i].only) || !strstr(files[i].file, options->filter)) continue;
      snprintf(name, sizeof name, "%s for sm_%d", files[i].file, targets[k]);
      report(name, lab_compile(lab, files[i].file, targets[k], &cubin), tally);
    }
  return OK;
}

static Status run(const Options *options, Tally *tally) {
  Lab lab = {.compiler = compiler_new(&(CompilerOptions){.headers = device_sources})};
  Status status = options->compile ? OK : lab_open(&lab, options->device);
  if (!status) {
    if (options->compile) status = compile_all(&lab, options, tally);
    else if (options->findings) status = findings_run(&lab, options->filter, &tally->passed, &tally->total);
    else status = run_trials(&lab, options, tally);
  }
  lab_close(&lab);
  compiler_free(lab.compiler);
  return status;
}

// Says so where there is none: then the test is skipped.
static bool has_compiler(void) {
  Arena *arena = arena_new();
  const Nvrtc *nvrtc;
  Status status = nvrtc_open(arena, &nvrtc);
  bool found = status == OK;
  if (!found) printf("skipped: %s\n", status_message(status));
  status_free(status);
  arena_free(arena);
  return found;
}

static const char usage[] = "ingot-instructions [--device N] [--filter TEXT] [--findings] [--compile]";

int main(int count, char **arguments) {
  Options options = {.filter = ""};
  const TestOption table[] = {{"--findings", TEST_FLAG, &options.findings},
                              {"--compile", TEST_FLAG, &options.compile},
                              {"--device", TEST_INT, &options.device},
                              {"--filter", TEST_TEXT, &options.filter},
                              {NULL}};
  if (test_options(count, arguments, table, usage)) return fprintf(stderr, "usage: %s\n", usage), 2;
  Tally tally = {0};
  if (options.compile && !has_compiler()) return SKIPPED;
  Status status = run(&options, &tally);
  if (status) {
    fprintf(stderr, "ingot-instructions: %s\n", status_message(status));
    status_free(status);
    return 1;
  }
  const char *what = options.compile ? "texts compile" : options.findings ? "mistakes are found" : "instructions behave";
  if (tally.skipped) printf("%d of %d %s; %d are for other devices\n", tally.passed, tally.total, what, tally.skipped);
  else printf("%d of %d %s\n", tally.passed, tally.total, what);
  return tally.passed == tally.total && tally.total ? 0 : 1;
}
