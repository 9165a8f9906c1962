// ingot verify: is the result right? With --data, against expected outputs; without, site by site against the reference: every
// node runs on the device with the values the device itself made, and what it gives is compared with what the node means.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "base/checked.h"
#include "base/file.h"
#include "cli/cli.h"
#include "kernels/op.h"

static int run(int count, char **arguments);
const Command command_verify = {"verify", "compare results with what was expected, or with the reference",
                                "[options]\n\n"
                                "  --data DIR       a folder with input_K.pb and output_K.pb: runs the model on the inputs and compares the outputs.\n"
                                "                   Without it, every site is compared with the plain C reference on random (or --input) inputs,\n"
                                "                   and the first that differs is named.\n"
                                "  --rtol R         relative tolerance of single elements; default: 1e-3 (with fp16 or bf16: 1e-1)\n"
                                "  --atol A         absolute tolerance of single elements; default: 1e-5 (with fp16 or bf16: 1e-1)\n"
                                "  --norm E         judge by ||a - b|| / ||b|| <= E instead of single elements\n",
                                run};

typedef struct Tolerance {
  double rtol, atol, norm;  // norm >= 0: judge by it
} Tolerance;

static bool passes(const Tensor *actual, const Tensor *expected, const Tolerance *tolerance, Comparison *comparison) {
  *comparison = tensor_compare(actual, expected, tolerance->rtol, tolerance->atol);
  bool same_shape = actual->rank == expected->rank && !memcmp(actual->dims, expected->dims, (size_t)actual->rank * sizeof *actual->dims);
  if (!same_shape || actual->dtype != expected->dtype) return false;
  return tolerance->norm >= 0 ? comparison->norm_error <= tolerance->norm : !comparison->mismatches;
}

static void print_shape(FILE *out, const Tensor *tensor) {
  fprintf(out, "%s[", dtype_name(tensor->dtype));
  for (int i = 0; i < tensor->rank; i++) fprintf(out, "%s%lld", i ? ", " : "", (long long)tensor->dims[i]);
  fprintf(out, "]");
}

static void report(const char *name, bool ok, const Tensor *actual, const Tensor *expected, const Comparison *c) {
  printf("%s  %-28s ", ok ? "ok    " : "DIFFER", name);
  print_shape(stdout, actual);
  if (actual->dtype != expected->dtype || actual->rank != expected->rank || memcmp(actual->dims, expected->dims, (size_t)actual->rank * sizeof *actual->dims)) {
    printf(", expected ");
    print_shape(stdout, expected);
  } else {
    printf("  relative norm %.2e, largest difference %.2e", c->norm_error, c->max_absolute);
    if (!ok && c->first_mismatch >= 0)
      printf(", %lld elements, the first at %lld: %g for %g", (long long)c->mismatches, (long long)c->first_mismatch, tensor_get_f(actual, c->first_mismatch),
             tensor_get_f(expected, c->first_mismatch));
  }
  printf("\n");
}

static int compare_outputs(const ingot_engine *engine, const ingot_tensor *outputs, const char *folder, const Tolerance *tolerance, Arena *arena) {
  int differing = 0;
  for (int i = 0; i < ingot_engine_output_count(engine); i++) {
    ingot_binding binding = ingot_engine_output(engine, i);
    const char *path = arena_printf(arena, "%s/output_%d.pb", folder, i);
    if (!file_exists(path)) {
      printf("       %-28s no %s to compare with\n", binding.name, path);
      continue;
    }
    Tensor actual, expected;
    Comparison comparison;
    if (cli_unwrap(&outputs[i], &actual) || cli_read_tensor(path, &binding, arena, &expected)) return 1;
    bool ok = passes(&actual, &expected, tolerance, &comparison);
    report(binding.name, ok, &actual, &expected, &comparison);
    differing += !ok;
  }
  return differing != 0;
}

static int verify_data(const Common *common, ingot_engine *engine, const char *folder, const Tolerance *tolerance) {
  ingot_session *session = NULL;
  ingot_error *error = ingot_session_create(engine, &common->config, &session);
  if (error) return cli_fail(error);
  InputSet inputs;
  int code = cli_make_inputs(engine, common, folder, 1, &inputs);
  ingot_tensor *outputs = calloc((size_t)ingot_engine_output_count(engine) + 1, sizeof *outputs);
  if (!code) {
    error = ingot_session_run(session, inputs.tensors, inputs.count, outputs, ingot_engine_output_count(engine));
    if (error) code = cli_fail(error);
  }
  if (!code) {
    if (!common->quiet) printf("on %s\n", ingot_session_device(session));
    code = compare_outputs(engine, outputs, folder, tolerance, inputs.arena);
  }
  free(outputs);
  cli_free_inputs(&inputs);
  ingot_session_free(session);
  return code;
}

// Every value a node makes becomes an output, so that one run shows them all.
static void expose_everything(Graph *graph) {
  FOR_NODES(node, graph)
    for (int i = 0; i < node->output_count; i++)
      if (!node->outputs[i]->is_output && node->outputs[i]->dtype != DTYPE_STRING && node->outputs[i]->kind == VALUE_TENSOR) graph_mark_output(graph, node->outputs[i]);
}

static int verify_node(const Node *node, Tensor *const *tensors, const Tolerance *tolerance, bool verbose, bool *differs) {
  Arena *scratch = arena_new();
  const Tensor **inputs = arena_array(scratch, const Tensor *, node->input_count);
  Tensor *expected = arena_array(scratch, Tensor, node->output_count);
  bool known = node->op->reference != NULL;
  for (int i = 0; i < node->input_count && known; i++) {
    if (!node->inputs[i]) continue;
    inputs[i] = node->inputs[i]->constant ? node->inputs[i]->constant : tensors[node->inputs[i]->id];
    known = inputs[i] != NULL;
  }
  int code = 0;
  if (known) {
    Status status = reference_run(node, scratch, inputs, expected);
    if (status) code = cli_fail((ingot_error *)status_context(status, "the reference of '%s'", node->outputs[0]->name));
  }
  for (int i = 0; i < node->output_count && known && !code; i++) {
    const Tensor *actual = tensors[node->outputs[i]->id];
    if (!actual) continue;
    Tensor want = expected[i];
    // The reference stores what the program says; the site may store a narrower float.
    Comparison comparison;
    bool ok = passes(actual, &want, tolerance, &comparison);
    if (!ok || verbose) report(node->outputs[i]->name, ok, actual, &want, &comparison);
    if (!ok) {
      *differs = true;
      for (int k = 0; k < node->origin_count; k++) printf("        from %s (%s)\n", node->origins[k].name, node->origins[k].op_type);
    }
  }
  arena_free(scratch);
  return code;
}

static int verify_sites(const Common *common, ingot_engine *engine, const Tolerance *tolerance) {
  Arena *arena = arena_new();
  Engine *exposed = engine_new(arena);
  exposed->graph = graph_copy(arena, engine->engine->graph);
  exposed->tf32 = engine->engine->tf32;
  expose_everything(exposed->graph);
  ingot_engine *wrapped = NULL;
  Status status = api_engine_wrap(exposed, &wrapped);
  if (status) {
    arena_free(arena);
    return cli_fail(api_error(status));
  }
  Graph *graph = exposed->graph;
  ingot_session *session = NULL;
  ingot_error *error = ingot_session_create(wrapped, &common->config, &session);
  InputSet inputs = {0};
  int code = error ? cli_fail(error) : cli_make_inputs(wrapped, common, NULL, 1, &inputs);
  int output_count = graph->output_count, sites = 0, wrong = 0;
  ingot_tensor *outputs = calloc((size_t)output_count + 1, sizeof *outputs);
  Tensor **tensors = arena_array(arena, Tensor *, graph->next_value_id);
  if (!code) {
    error = ingot_session_run(session, inputs.tensors, inputs.count, outputs, output_count);
    if (error) code = cli_fail(error);
  }
  for (int i = 0; i < output_count && !code; i++) {
    tensors[graph->outputs[i]->id] = arena_new_of(arena, Tensor);
    code = cli_unwrap(&outputs[i], tensors[graph->outputs[i]->id]);
  }
  for (int i = 0; i < graph->input_count && !code; i++) {
    tensors[graph->inputs[i]->id] = arena_new_of(arena, Tensor);
    code = cli_unwrap(&inputs.tensors[i], tensors[graph->inputs[i]->id]);
  }
  for (Node *node = graph->first; node && !code; node = node->next) {
    bool differs = false;
    code = verify_node(node, tensors, tolerance, common->verbose, &differs);
    sites++;
    wrong += differs;
  }
  if (!code) printf("%d of %d sites agree with the reference on %s\n", sites - wrong, sites, ingot_session_device(session));
  free(outputs);
  if (inputs.arena) cli_free_inputs(&inputs);
  ingot_session_free(session);
  ingot_engine_free(wrapped);
  return code ? code : wrong != 0;
}

static int run(int count, char **arguments) {
  Common common;
  const char *folder = NULL;
  Tolerance tolerance = {-1, -1, -1};
  int positional_count;
  bool stop;
  const Option options[] = {{"data", OPTION_STRING, &folder},
                            {"rtol", OPTION_DOUBLE, &tolerance.rtol},
                            {"atol", OPTION_DOUBLE, &tolerance.atol},
                            {"norm", OPTION_DOUBLE, &tolerance.norm},
                            {NULL, OPTION_FLAG, NULL}};
  int code = cli_parse(&command_verify, count, arguments, &common, options, NULL, 0, &positional_count, &stop);
  if (code || stop) return code;
  bool narrow = (common.config.precision & (INGOT_FP16 | INGOT_BF16)) != 0;
  if (tolerance.rtol < 0) tolerance.rtol = narrow ? 1e-1 : 1e-3;
  if (tolerance.atol < 0) tolerance.atol = narrow ? 1e-1 : 1e-5;
  ingot_engine *engine = NULL;
  ingot_error *error = cli_open_engine(common.model, &common.config, &engine);
  if (error) return cli_fail(error);
  code = folder ? verify_data(&common, engine, folder, &tolerance) : verify_sites(&common, engine, &tolerance);
  ingot_engine_free(engine);
  return code;
}
