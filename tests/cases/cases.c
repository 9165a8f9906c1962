// ingot-cases: runs the operator case table on a device and compares with the reference.
//
//   ingot-cases [--device cpu|cuda] [--filter TEXT] [--every N] [--tactics] [--tactic NAME] [--candidates N] [--further N] [--quick]
//               [--repeat-first] [--tf32] [--open all|leading|images|lengths] [--parts first|last] [--seed N] [--jobs N] [--record FILE | --against FILE] [--verbose]
//
// On a GPU, --tactics runs every case through every tactic that supports it, not only the preferred one, and each tactic's first
// candidates (4, with --quick 1, or as many as --candidates says); --tactic only through that one. --quick runs each once, without replaying, and what
// is preferred not again beside the tactics (for slow checkers); --repeat-first replays the first candidate of each tactic only. --tf32 lets products
// of f32 use it. --open has the planner take sizes for ones that differ from call to call (see open.h). --parts has results written into parts of other tensors (see parts.h). --every takes each N-th of the cases that match, and says how many were left out; --further N takes all, and candidates behind a
// tactic's first in each N-th. --jobs divides the cases among processes.
// --record keeps what each tactic computed, --against compares it with what was kept (see record.h). Prints the cases that differ and a
// summary; exits with 1 if any did.
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/recover.h"
#include "kernels/cases.h"
#include "kernels/control/region.h"
#include "kernels/deferred.h"
#include "kernels/fused.h"
#include "kernels/ops.h"
#include "kernels/reference.h"
#include "kernels/implementation.h"
#include "onnx/ops/translate.h"
#include "passes/passes.h"
#include "run/cuda_device.h"
#include "run/runner.h"
#include "tests/cases/open.h"
#include "tests/cases/parts.h"
#include "tests/cases/record.h"
#include "tests/options.h"

typedef struct Options {
  DeviceKind device;
  const char *filter, *tactic, *open, *parts;
  bool tactics, quick, repeat_first, tf32, verbose;
  int jobs, candidates, every, further;
  uint64_t seed;
  const char *record_path;
  bool against;
  Record *record;
  const OperatorCase **rows;
} Options;

typedef struct Tally {
  int passed, failed, host, runs;
} Tally;

static bool is_deferred(const Node *node) { return node->op == &op_deferred; }

// What the case means: node by node, by the references.
static Status expect(const Graph *graph, Arena *arena, const Tensor *inputs, Tensor *outputs) {
  const Tensor **values = arena_array(arena, const Tensor *, graph->next_value_id);
  for (int i = 0; i < graph->input_count; i++) values[graph->inputs[i]->id] = &inputs[i];
  FOR_NODES(node, graph) {
    const Tensor **in = arena_array(arena, const Tensor *, node->input_count);
    Tensor *out = arena_array(arena, Tensor, node->output_count);
    for (int i = 0; i < node->input_count; i++)
      if (node->inputs[i]) in[i] = node->inputs[i]->constant ? node->inputs[i]->constant : values[node->inputs[i]->id];
    if (!node->op->reference) FAIL(ERROR_UNSUPPORTED, "%s has no reference", node->op->name);
    TRY(reference_run(node, arena, in, out));
    for (int i = 0; i < node->output_count; i++) values[node->outputs[i]->id] = &out[i];
  }
  for (int i = 0; i < graph->output_count; i++) {
    const Value *value = graph->outputs[i];
    outputs[i] = value->constant ? *value->constant : *values[value->id];
  }
  return OK;
}

static Status compare(const OperatorCase *row, const Graph *graph, const RunTensor *actual, const Tensor *expected) {
  for (int i = 0; i < graph->output_count; i++) {
    Tensor tensor = {.dtype = actual[i].dtype, .rank = actual[i].rank};
    memcpy(tensor.dims, actual[i].dims, sizeof tensor.dims);
    TRY(run_tensor_host(&actual[i], &tensor.data));
    bool same = tensor.dtype == expected[i].dtype && tensor.rank == expected[i].rank &&
                !memcmp(tensor.dims, expected[i].dims, (size_t)tensor.rank * sizeof *tensor.dims);
    if (!same) FAIL(ERROR_MISMATCH, "output %d has another type or shape than the reference's", i);
    if (tensor.dtype == DTYPE_STRING) continue;
    double rtol, atol;
    operator_case_tolerance(row, tensor.dtype, &rtol, &atol);
    Comparison c = tensor_compare(&tensor, &expected[i], rtol, atol);
    if (c.mismatches)
      FAIL(ERROR_MISMATCH, "output %d: %lld of %lld differ, the first at %lld: %g for %g", i, (long long)c.mismatches,
           (long long)c.count, (long long)c.first_mismatch, tensor_get_f(&tensor, c.first_mismatch),
           tensor_get_f(&expected[i], c.first_mismatch));
  }
  return OK;
}

// Where the results of a run by one tactic go.
typedef struct Recording {
  Record *record;
  const char *tactic;
  int candidate;
  const bool *taken;  // whether the tactic computed anything
} Recording;

static Status keep(const OperatorCase *row, const Graph *graph, const RunTensor *outputs, const Recording *recording) {
  for (int i = 0; i < graph->output_count; i++) {
    Tensor tensor = {.dtype = outputs[i].dtype, .rank = outputs[i].rank};
    memcpy(tensor.dims, outputs[i].dims, sizeof tensor.dims);
    TRY(run_tensor_host(&outputs[i], &tensor.data));
    if (tensor.dtype != DTYPE_STRING)
      TRY(record_take(recording->record, row->name, recording->tactic, recording->candidate, i, &tensor));
  }
  return OK;
}

// Gives each output memory of the device that is the caller's; false where an output is none that a GPU writes.
static bool provide_outputs(Device *device, const Graph *graph, const Tensor *expected, RunTensor *out, void **memory) {
  if (device->info.kind != DEVICE_CUDA) return false;
  for (int i = 0; i < graph->output_count; i++)
    if (expected[i].dtype == DTYPE_STRING || !tensor_bytes(&expected[i]) || graph->outputs[i]->constant) return false;
  Status status = OK;
  for (int i = 0; i < graph->output_count && !status; i++) {
    status = device->allocate(device, tensor_bytes(&expected[i]), &memory[i]);
    if (!status)
      status = run_tensor_borrow_device(device, expected[i].dtype, expected[i].rank, expected[i].dims, memory[i], &out[i]);
  }
  bool good = !status;
  status_free(status);
  return good;
}

static Status run_once(const OperatorCase *row, const Graph *graph, Device *device, const Tensor *inputs,
                       const Tensor *expected, int rounds, const Recording *recording, const char **host) {
  Runner *runner;
  RunnerHooks hooks = {.translate = translate_deferred, .is_deferred = is_deferred};
  TRY(runner_new(graph, device, &hooks, 0, &runner));
  RunTensor *in = calloc((size_t)graph->input_count + 1, sizeof *in),
            *out = calloc((size_t)graph->output_count + 1, sizeof *out);
  void **memory = calloc((size_t)graph->output_count + 1, sizeof *memory);
  Status status = OK;
  for (int i = 0; i < graph->input_count; i++) TRY_GOTO(run_tensor_borrow_host(device, &inputs[i], &in[i]));
  for (int round = 0; round < rounds; round++) {  // the second and third are replayed where the device replays
    TRY_GOTO(runner_run(runner, in, out));
    TRY_GOTO(status_context(compare(row, graph, out, expected), "run %d", round + 1));
    if (recording && recording->record && *recording->taken && round == 0) TRY_GOTO(keep(row, graph, out, recording));
    for (int i = 0; i < graph->output_count; i++) run_tensor_drop(&out[i]);
  }
  // What was recorded for the outputs' own memory must not be replayed for the caller's.
  if (rounds > 1 && provide_outputs(device, graph, expected, out, memory)) {
    TRY_GOTO(runner_run(runner, in, out));
    TRY_GOTO(status_context(compare(row, graph, out, expected), "run with the caller's outputs"));
  }
  *host = runner_stats(runner).host_operator;
done:
  for (int i = 0; i < graph->input_count; i++) run_tensor_drop(&in[i]);
  for (int i = 0; i < graph->output_count; i++) run_tensor_drop(&out[i]);
  for (int i = 0; i < graph->output_count; i++)
    if (memory[i]) device->release(device, memory[i], tensor_bytes(&expected[i]));
  free(in);
  free(out);
  free(memory);
  runner_free(runner);
  return status;
}

static void note(const OperatorCase *row, const char *how, Status status, const char *host, const Options *options,
                 Tally *tally) {
  tally->runs++;
  if (status) {
    printf("FAIL %s%s%s: %s\n", row->name, *how ? " by " : "", how, status_message(status));
    fflush(stdout);
    tally->failed++;
  } else if (*host) {
    if (options->verbose) printf("HOST %s: %s\n", row->name, host);
    tally->host++;
  } else {
    if (options->verbose) printf("ok   %s%s%s\n", row->name, *how ? " by " : "", how);
    tally->passed++;
  }
  status_free(status);
}

static Status open_device(const Options *options, Device **device) {
  DeviceOptions device_options = {.kind = options->device, .workspace_limit = (size_t)256 << 20, .tf32 = options->tf32};
  return options->device == DEVICE_CUDA ? cuda_device_new(&device_options, device) : cpu_device_new(&device_options, device);
}

// A kernel that faults takes its context with it: the next case gets a new one.
static Status renew(Device **device, const Options *options) {
  Status lost = (*device)->synchronize(*device);
  if (!lost) return OK;
  status_free(lost);
  (*device)->free(*device);
  *device = NULL;
  return open_device(options, device);
}

// Runs the case once for each tactic of its operators, that tactic being the only one of its operator.
static Status run_tactics(const OperatorCase *row, const Graph *graph, Device **devices, const Tensor *inputs,
                          const Tensor *expected, const Options *options, Tally *tally, bool *any) {
  for (int t = 0; implementations[t]; t++) {
    bool used = false;
    if (implementations[t]->backend != BACKEND_CUDA) continue;
    if (options->tactic && strcmp(options->tactic, implementations[t]->name)) continue;
    FOR_NODES(node, graph) used |= fused_core(node)->op == implementations[t]->op;
    if (!used) continue;
    int candidates = (row - operator_cases) % options->further ? 1 : options->candidates;
    for (int c = 0; c < candidates; c++) {
      bool taken = false;
      Device *device = *devices;
      cuda_device_force(device, implementations[t], c, &taken);
      const char *host = "";
      Recording recording = {options->record, implementations[t]->name, c, &taken};
      int times = options->quick || (options->repeat_first && c) ? 1 : 3;
      Status status = run_once(row, graph, device, inputs, expected, times, &recording, &host);
      cuda_device_force(device, NULL, 0, NULL);
      if (!taken) {  // it does not support the site, or has no further candidate
        status_free(status);
        break;
      }
      *any = true;
      char how[96];
      snprintf(how, sizeof how, "%s %d", implementations[t]->name, c);
      note(row, how, status, "", options, tally);
      TRY(renew(devices, options));
    }
  }
  return OK;
}

// Inputs that tf32 has exactly: products of them are as exact as those of f32, and are judged like them.
static void round_to_tf32(Tensor *tensor) {
  uint32_t *bits = tensor->data;
  for (int64_t i = 0; tensor->dtype == DTYPE_F32 && i < tensor_count(tensor); i++) bits[i] = (bits[i] + 0x1000) & ~0x1fffu;
}

// Whether a product reads what follows from another's results, which are not exact in tf32 whatever the inputs are. Graphs of cases are small.
static bool follows_product(const Value *value) {
  const Node *node = value ? value->producer : NULL;
  if (node && fused_anchor(node)->op->takes_epilogue) return true;
  for (int i = 0; node && i < node->input_count; i++)
    if (follows_product(node->inputs[i])) return true;
  return false;
}

static bool multiplies_results(const Graph *graph) {
  FOR_NODES(node, graph) {
    for (int i = 0; i < node->input_count && fused_anchor(node)->op->takes_epilogue; i++)
      if (follows_product(node->inputs[i])) return true;
    for (int i = 0; i < node->attribute_count; i++)
      if (node->attributes[i].kind == ATTR_GRAPH && multiplies_results(node->attributes[i].graph)) return true;
  }
  return false;
}

static Status run_case(const OperatorCase *row, Device **device, const Options *options, Tally *tally) {
  Arena *arena = arena_new();
  Graph *graph;
  Status status = operator_case_build(row, arena, core_ops, &graph);
  if (!status && options->tf32 && multiplies_results(graph)) {
    printf("SKIPPED %s: in tf32 a product of results is not exact\n", row->name);
    arena_free(arena);
    return OK;
  }
  if (!status && options->open) open_sizes(graph, options->open);
  if (!status && options->parts) status = join_results(graph, options->parts);
  if (!status) {
    Tensor *inputs = arena_array(arena, Tensor, (size_t)graph->input_count + 1),
           *expected = arena_array(arena, Tensor, (size_t)graph->output_count + 1);
    status = operator_case_fill(row, graph, arena, options->seed, inputs);
    for (int i = 0; i < graph->input_count && !status && options->tf32; i++) round_to_tf32(&inputs[i]);
    if (!status) status = expect(graph, arena, inputs, expected);
    if (!status) {
      bool any = false;  // then what is preferred was among them
      if (options->tactics && options->device == DEVICE_CUDA)
        status = run_tactics(row, graph, device, inputs, expected, options, tally, &any);
      if (!status && !options->tactic && !(any && options->quick)) {
        const char *host = "";
        int times = options->quick || (any && options->repeat_first) ? 1 : 3;
        Status result = RECOVER_GUARD(run_once(row, graph, *device, inputs, expected, times, NULL, &host));
        note(row, "", result, host, options, tally);
        status = renew(device, options);
      }
    }
  }
  arena_free(arena);
  return status;
}

// The cases that are asked for, then a NULL for each process.
static const OperatorCase **choose(const Options *options) {
  size_t count = 0, chosen = 0, matching = 0;
  while (operator_cases[count].name) count++;
  const OperatorCase **rows = calloc(count + (size_t)options->jobs, sizeof *rows);
  for (size_t i = 0; rows && i < count; i++) {
    if (options->filter && !strstr(operator_cases[i].name, options->filter)) continue;
    if (matching++ % (size_t)options->every == 0) rows[chosen++] = &operator_cases[i];
  }
  if (options->further > 1) printf("SKIPPED further candidates of tactics in all but one of %d cases\n", options->further);
  if (matching > chosen) printf("SKIPPED %zu of %zu cases: one of %d is taken\n", matching - chosen, matching, options->every);
  fflush(stdout);  // before there are other processes
  return rows;
}

// Each case that no other process has taken: `next` is the first of those.
static bool run_cases(const Options *options, atomic_int *next, Tally *tally, char name[128]) {
  Device *device;
  Status status = open_device(options, &device);
  for (const OperatorCase *row; !status && (row = options->rows[atomic_fetch_add(next, 1)]);) {
    snprintf(name, 128, "%s", device->info.name);
    Status failed = run_case(row, &device, options, tally);
    if (!device) status = failed;
    else if (failed) note(row, "", failed, "", options, tally);
    fflush(stdout);
  }
  if (!status) device->free(device);
  else fprintf(stderr, "ingot-cases: %s\n", status_message(status));
  bool good = !status;
  status_free(status);
  return good;
}

typedef struct Report {
  Tally tally;
  bool good;
  char name[128];
} Report;

// Each job in a process of its own, which tells its tally through a pipe.
static bool run_jobs(const Options *options, Tally *tally, char name[128]) {
  bool good = true;
  atomic_int *next = mmap(NULL, sizeof *next, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (next == MAP_FAILED) return false;
  int(*pipes)[2] = calloc((size_t)options->jobs, sizeof *pipes);
  for (int job = 0; pipes && job < options->jobs; job++) {
    if (pipe(pipes[job])) return false;
    pid_t child = fork();
    if (child < 0) return false;
    if (child) {
      close(pipes[job][1]);
      continue;
    }
    Report report = {.name = "no device"};
    report.good = run_cases(options, next, &report.tally, report.name);
    _exit(write(pipes[job][1], &report, sizeof report) != sizeof report);
  }
  for (int job = 0; pipes && job < options->jobs; job++) {
    Report report;
    bool told = read(pipes[job][0], &report, sizeof report) == sizeof report;
    close(pipes[job][0]);
    if (!told) printf("FAIL a process ended in the middle of its cases\n");
    good &= told && report.good;
    if (!told) continue;
    tally->passed += report.tally.passed, tally->failed += report.tally.failed;
    tally->host += report.tally.host, tally->runs += report.tally.runs;
    if (report.tally.runs) memcpy(name, report.name, sizeof report.name);
  }
  while (wait(NULL) > 0) {}
  free(pipes);
  munmap(next, sizeof *next);
  return good;
}

static const char usage[] =
    "ingot-cases [--device cpu|cuda] [--filter TEXT] [--every N] [--tactics] [--tactic NAME] [--candidates N] [--further N] "
    "[--quick] "
    "[--repeat-first] [--tf32] [--open all|leading|images|lengths] [--parts first|last] [--seed N] [--jobs N] "
    "[--record FILE | --against FILE] [--verbose]";

int main(int count, char **arguments) {
  Options options = {.jobs = 1, .every = 1, .further = 1};
  bool cuda = false;
  long seed = 1;
  const char *record = NULL, *against = NULL;
  const TestOption table[] = {{"--device", TEST_DEVICE, &cuda},
                              {"--filter", TEST_TEXT, &options.filter},
                              {"--seed", TEST_LONG, &seed},
                              {"--jobs", TEST_INT, &options.jobs, 1},
                              {"--candidates", TEST_INT, &options.candidates, 1},
                              {"--every", TEST_INT, &options.every, 1},
                              {"--further", TEST_INT, &options.further, 1},
                              {"--record", TEST_TEXT, &record},
                              {"--against", TEST_TEXT, &against},
                              {"--tactics", TEST_FLAG, &options.tactics},
                              {"--tactic", TEST_TEXT, &options.tactic},
                              {"--open", TEST_TEXT, &options.open},
                              {"--parts", TEST_TEXT, &options.parts},
                              {"--quick", TEST_FLAG, &options.quick},
                              {"--repeat-first", TEST_FLAG, &options.repeat_first},
                              {"--tf32", TEST_FLAG, &options.tf32},
                              {"--verbose", TEST_FLAG, &options.verbose},
                              {NULL}};
  bool wrong = test_options(count, arguments, table, usage) || (record && against);
  if (wrong || (options.open && !open_sizes_known(options.open)) || (options.parts && !join_results_known(options.parts)))
    return fprintf(stderr, "usage: %s\n", usage), 2;
  options.device = cuda ? DEVICE_CUDA : DEVICE_CPU;
  options.seed = (uint64_t)seed;
  options.record_path = record ? record : against;
  options.against = against != NULL;
  if (options.tactic) options.tactics = true;
  if (!options.candidates) options.candidates = options.quick ? 1 : 4;
  options.rows = choose(&options);
  if (!options.rows) return fprintf(stderr, "ingot-cases: no memory\n"), 2;
  Tally tally = {0};
  char name[128] = "no device";
  if (options.record_path) {
    Status status = record_open(options.record_path, options.against, &options.record);
    if (status) {
      fprintf(stderr, "ingot-cases: %s\n", status_message(status));
      return 2;
    }
    if (options.against) options.jobs = 1;  // one process sees all differences
  }
  atomic_int next = 0;
  bool good = options.jobs > 1 ? run_jobs(&options, &tally, name) : run_cases(&options, &next, &tally, name);
  if (options.record) record_report(options.record);
  record_close(options.record);
  free(options.rows);
  printf("%d runs of operator cases on %s: %d agree with the reference, %d differ, %d left to the host\n", tally.runs, name,
         tally.passed, tally.failed, tally.host);
  return !good || tally.failed || !tally.runs;
}
