// ingot-cases: runs the operator case table on a device and compares with the reference.
//
//   ingot-cases [--device cpu|cuda] [--filter TEXT] [--tactics] [--quick] [--seed N] [--verbose]
//
// On a GPU, --tactics runs every case through every tactic that supports it, not only the preferred one, and each tactic's first
// candidates; --quick runs each once, without replaying (for slow checkers). Prints the cases that differ and a summary; exits with 1 if any did.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/recover.h"
#include "kernels/cases.h"
#include "kernels/deferred.h"
#include "kernels/tactic.h"
#include "onnx/translate.h"
#include "passes/passes.h"
#include "runtime/cuda_device.h"
#include "runtime/runner.h"

typedef struct Options {
  DeviceKind device;
  const char *filter;
  bool tactics, quick, verbose;
  uint64_t seed;
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

static Status run_once(const OperatorCase *row, const Graph *graph, Device *device, const Tensor *inputs,
                       const Tensor *expected, int rounds, const char **host) {
  Runner *runner;
  RunnerHooks hooks = {.translate = translate_deferred, .is_deferred = is_deferred};
  TRY(runner_new(graph, device, &hooks, &runner));
  RunTensor *in = calloc((size_t)graph->input_count + 1, sizeof *in),
            *out = calloc((size_t)graph->output_count + 1, sizeof *out);
  Status status = OK;
  for (int i = 0; i < graph->input_count; i++) TRY_GOTO(run_tensor_borrow_host(device, &inputs[i], &in[i]));
  for (int round = 0; round < rounds; round++) {  // the second and third are replayed where the device replays
    TRY_GOTO(runner_run(runner, in, out));
    TRY_GOTO(status_context(compare(row, graph, out, expected), "run %d", round + 1));
    for (int i = 0; i < graph->output_count; i++) run_tensor_drop(&out[i]);
  }
  *host = runner_stats(runner).host_operator;
done:
  for (int i = 0; i < graph->input_count; i++) run_tensor_drop(&in[i]);
  for (int i = 0; i < graph->output_count; i++) run_tensor_drop(&out[i]);
  free(in);
  free(out);
  runner_free(runner);
  return status;
}

static void note(const OperatorCase *row, const char *how, Status status, const char *host, const Options *options,
                 Tally *tally) {
  tally->runs++;
  if (status) {
    printf("FAIL %s%s%s: %s\n", row->name, *how ? " by " : "", how, status_message(status));
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

// Runs the case once for each tactic of its operators, that tactic being the only one of its operator.
static void run_tactics(const OperatorCase *row, const Graph *graph, Device *device, const Tensor *inputs,
                        const Tensor *expected, const Options *options, Tally *tally) {
  for (int t = 0; cuda_tactics[t]; t++) {
    bool used = false;
    FOR_NODES(node, graph) used |= node->op == cuda_tactics[t]->op;
    if (!used) continue;
    for (int c = 0; c < (options->quick ? 1 : 4); c++) {
      bool taken = false;
      cuda_device_force(device, cuda_tactics[t], c, &taken);
      const char *host = "";
      Status status = run_once(row, graph, device, inputs, expected, options->quick ? 1 : 3, &host);
      cuda_device_force(device, NULL, 0, NULL);
      if (!taken) {  // it does not support the site, or has no further candidate
        status_free(status);
        break;
      }
      char how[96];
      snprintf(how, sizeof how, "%s %d", cuda_tactics[t]->name, c);
      note(row, how, status, "", options, tally);
    }
  }
}

static Status run_case(const OperatorCase *row, Device *device, const Options *options, Tally *tally) {
  Arena *arena = arena_new();
  Graph *graph;
  Status status = operator_case_build(row, arena, core_ops, &graph);
  if (!status) {
    Tensor *inputs = arena_array(arena, Tensor, (size_t)graph->input_count + 1),
           *expected = arena_array(arena, Tensor, (size_t)graph->output_count + 1);
    status = operator_case_fill(row, graph, arena, options->seed, inputs);
    if (!status) status = expect(graph, arena, inputs, expected);
    if (!status) {
      const char *host = "";
      Status result = RECOVER_GUARD(run_once(row, graph, device, inputs, expected, options->quick ? 1 : 3, &host));
      note(row, "", result, host, options, tally);
      if (options->tactics && device->info.kind == DEVICE_CUDA)
        run_tactics(row, graph, device, inputs, expected, options, tally);
    }
  }
  arena_free(arena);
  return status;
}

int main(int count, char **arguments) {
  Options options = {.seed = 1};
  for (int i = 1; i < count; i++) {
    bool more = i + 1 < count;
    if (!strcmp(arguments[i], "--device") && more) options.device = strcmp(arguments[++i], "cuda") ? DEVICE_CPU : DEVICE_CUDA;
    else if (!strcmp(arguments[i], "--filter") && more) options.filter = arguments[++i];
    else if (!strcmp(arguments[i], "--seed") && more) options.seed = strtoull(arguments[++i], NULL, 10);
    else if (!strcmp(arguments[i], "--tactics")) options.tactics = true;
    else if (!strcmp(arguments[i], "--quick")) options.quick = true;
    else if (!strcmp(arguments[i], "--verbose")) options.verbose = true;
    else {
      fprintf(stderr, "usage: ingot-cases [--device cpu|cuda] [--filter TEXT] [--tactics] [--quick] [--seed N] [--verbose]\n");
      return 2;
    }
  }
  Device *device;
  DeviceOptions device_options = {.kind = options.device, .workspace_limit = (size_t)256 << 20};
  Status status =
      options.device == DEVICE_CUDA ? cuda_device_new(&device_options, &device) : cpu_device_new(&device_options, &device);
  if (status) {
    fprintf(stderr, "ingot-cases: %s\n", status_message(status));
    status_free(status);
    return 1;
  }
  Tally tally = {0};
  for (const OperatorCase *row = operator_cases; row->name; row++) {
    if (options.filter && !strstr(row->name, options.filter)) continue;
    status = run_case(row, device, &options, &tally);
    if (status) note(row, "", status, "", &options, &tally);
    fflush(stdout);
  }
  printf("%d runs of operator cases on %s: %d agree with the reference, %d differ, %d left to the host\n", tally.runs,
         device->info.name, tally.passed, tally.failed, tally.host);
  device->free(device);
  return tally.failed != 0;
}
