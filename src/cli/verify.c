// ingot verify: is the result right? With --data, against expected outputs; without, site by site against the reference: every
// node runs on the device with the values the device itself made, and what it gives is compared with what the node means.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "base/checked.h"
#include "base/file.h"
#include "cli/cli.h"
#include "kernels/deferred.h"
#include "kernels/op.h"
#include "onnx/translate.h"
#include "plan/specialise.h"

static int run(int count, char **arguments);
const Command command_verify = {
    "verify", "compare results with what was expected, or with the reference",
    "[options]\n\n"
    "  ingot verify model.onnx                          every site against the reference, on random inputs\n"
    "  ingot verify model.onnx --fp16 --norm 1e-2       the same in half precision, judged by the norm\n"
    "  ingot verify model.onnx --data test_data_set_0   outputs against expected ones\n\n"
    "Exit code 0: all agree; 1: something differs, or the model does not run.\n\n"
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
  bool same_shape =
      actual->rank == expected->rank && !memcmp(actual->dims, expected->dims, (size_t)actual->rank * sizeof *actual->dims);
  if (!same_shape || actual->dtype != expected->dtype) return false;
  return tolerance->norm >= 0 ? comparison->norm_error <= tolerance->norm : !comparison->mismatches;
}

// Where the findings go: lines for people, or one JSON object.
typedef struct Report {
  Json *json;  // NULL: lines
  bool quiet, verbose;
  int compared, differing;
} Report;

static bool same_type(const Tensor *a, const Tensor *b) {
  return a->dtype == b->dtype && a->rank == b->rank && !memcmp(a->dims, b->dims, (size_t)a->rank * sizeof *a->dims);
}

static void add_shape(Text *text, const Tensor *tensor) {
  text_add(text, "%s[", dtype_name(tensor->dtype));
  for (int i = 0; i < tensor->rank; i++) text_add(text, "%s%lld", i ? ", " : "", (long long)tensor->dims[i]);
  text_add(text, "]");
}

static const char *shape_text(Arena *arena, const Tensor *tensor) {
  Text text = text_new(arena);
  add_shape(&text, tensor);
  return text_get(&text);
}

static void report_json(Json *json, Arena *arena, const char *name, bool ok, const Tensor *actual, const Tensor *expected,
                        const Comparison *c, const Node *node) {
  json_object(json, NULL);
  json_string(json, "name", name);
  json_bool(json, "agrees", ok);
  json_string(json, "type", shape_text(arena, actual));
  if (!same_type(actual, expected)) {
    json_string(json, "expected_type", shape_text(arena, expected));
  } else {
    json_double(json, "relative_norm", c->norm_error);
    json_double(json, "largest_difference", c->max_absolute);
    json_int(json, "mismatches", c->mismatches);
    json_int(json, "first_mismatch", c->first_mismatch);
  }
  if (node) {
    json_string(json, "operator", node->op->name);
    json_string(json, "origins", node_origins_text(node, arena));
  }
  json_end_object(json);
}

static void report_line(Arena *arena, const char *name, bool ok, const Tensor *actual, const Tensor *expected,
                        const Comparison *c, const Node *node) {
  printf("%s  %-28s %s", ok ? "ok    " : "DIFFER", name, shape_text(arena, actual));
  if (!same_type(actual, expected)) printf(", expected %s", shape_text(arena, expected));
  else printf("  relative norm %.2e, largest difference %.2e", c->norm_error, c->max_absolute);
  if (!ok && same_type(actual, expected) && c->first_mismatch >= 0)
    printf(", %lld elements, the first at %lld: %g for %g", (long long)c->mismatches, (long long)c->first_mismatch,
           tensor_get_f(actual, c->first_mismatch), tensor_get_f(expected, c->first_mismatch));
  printf("\n");
  if (!ok && node) printf("        from %s\n", node_origins_text(node, arena));
}

// One value compared. node: what made it, or NULL.
static void report_value(Report *report, Arena *arena, const char *name, const Tensor *actual, const Tensor *expected,
                         const Tolerance *tolerance, const Node *node) {
  Comparison comparison;
  bool ok = passes(actual, expected, tolerance, &comparison);
  report->compared++;
  report->differing += !ok;
  if (report->json) report_json(report->json, arena, name, ok, actual, expected, &comparison, node);
  else if (!ok || (node ? report->verbose : !report->quiet)) report_line(arena, name, ok, actual, expected, &comparison, node);
}

static int compare_outputs(const ingot_engine *engine, const ingot_tensor *outputs, const char *folder,
                           const Tolerance *tolerance, Report *report, Arena *arena) {
  for (int i = 0; i < ingot_engine_output_count(engine); i++) {
    Wanted binding = cli_wanted(ingot_engine_output(engine, i));
    const char *path = arena_printf(arena, "%s/output_%d.pb", folder, i);
    Tensor actual, expected;
    if (!file_exists(path)) {
      if (!report->json && !report->quiet) printf("        %-28s there is no %s to compare with\n", binding.name, path);
      continue;
    }
    if (cli_unwrap(&outputs[i], &actual) || cli_read_tensor(path, &binding, NULL, arena, &expected)) return 1;
    report_value(report, arena, binding.name, &actual, &expected, tolerance, NULL);
  }
  return report->compared ? 0 : cli_fail_text("%s: there is no output_0.pb to compare with", folder);
}

static int verify_data(const Common *common, ingot_engine *engine, const char *folder, const Tolerance *tolerance,
                       Report *report) {
  ingot_session *session = NULL;
  ingot_error *error = ingot_session_create(engine, &common->config, &session);
  if (error) return cli_fail(error);
  InputSet inputs = {0};
  int code = cli_make_inputs(engine, common, folder, 1, &inputs), count = ingot_engine_output_count(engine);
  ingot_tensor *outputs = calloc((size_t)count + 1, sizeof *outputs);
  if (!code && !outputs) code = cli_fail_text("out of memory");
  if (!code) {
    error = ingot_session_run(session, inputs.tensors, inputs.count, outputs, count);
    if (error) code = cli_fail(error);
  }
  if (!code) {
    if (!common->quiet && !report->json) printf("on %s\n", ingot_session_device(session));
    code = compare_outputs(engine, outputs, folder, tolerance, report, inputs.arena);
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
    if (!node->outputs[i]->is_output && node->outputs[i]->dtype != DTYPE_STRING && node->outputs[i]->kind == VALUE_TENSOR)
      graph_mark_output(graph, node->outputs[i]);
}

static int verify_node(const Node *node, Tensor *const *tensors, const Tolerance *tolerance, Report *report) {
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
    if (status) code = cli_fail(api_error(status_context(status, "the reference of '%s'", node->outputs[0]->name)));
  }
  for (int i = 0; i < node->output_count && known && !code; i++) {
    const Tensor *actual = tensors[node->outputs[i]->id];
    if (actual) report_value(report, scratch, node->outputs[i]->name, actual, &expected[i], tolerance, node);
  }
  arena_free(scratch);
  return code;
}

static bool is_deferred(const Node *node) { return node->op == &op_deferred; }

// The graph as it looks for these inputs: without symbols, with branches taken. Where that shows only when the model has run, the
// graph as it was.
static Status fix_shapes(const Graph *graph, const Tensor *inputs, Arena *arena, Graph **out) {
  bool *decides = arena_array(arena, bool, graph->input_count);
  StageInput *stage_inputs = arena_array(arena, StageInput, graph->input_count);
  graph_shape_inputs(graph, is_deferred, decides);
  for (int i = 0; i < graph->input_count; i++) {
    stage_inputs[i] = (StageInput){.rank = inputs[i].rank, .dtype = inputs[i].dtype, .known = decides[i] ? &inputs[i] : NULL};
    memcpy(stage_inputs[i].dims, inputs[i].dims, sizeof inputs[i].dims);
  }
  Stage *stage;
  SpecialiseHooks hooks = {.translate = translate_deferred, .is_deferred = is_deferred};
  TRY(specialise(graph, stage_inputs, &hooks, arena, &stage));
  *out = stage->complete ? stage->ready : graph_copy(arena, graph);
  return OK;
}

static Status expose(const Engine *engine, const Tensor *given, Arena *arena, ingot_engine **out) {
  Engine *exposed = engine_new(arena);
  exposed->tf32 = engine->tf32;
  TRY(fix_shapes(engine->graph, given, arena, &exposed->graph));
  expose_everything(exposed->graph);
  return api_engine_wrap(exposed, out);
}

// Runs the graph with everything exposed and compares node by node.
static int compare_sites(const Common *common, ingot_engine *exposed, const InputSet *inputs, Tensor *given,
                         const Tolerance *tolerance, Report *report) {
  const Graph *graph = exposed->engine->graph;
  Arena *arena = inputs->arena;
  ingot_session *session = NULL;
  ingot_error *error = ingot_session_create(exposed, &common->config, &session);
  int output_count = graph->output_count, sites = 0, wrong = 0;
  ingot_tensor *outputs = arena_array(arena, ingot_tensor, output_count);
  Tensor **tensors = arena_array(arena, Tensor *, graph->next_value_id);
  if (!error) error = ingot_session_run(session, inputs->tensors, inputs->count, outputs, output_count);
  int code = error ? cli_fail(error) : 0;
  for (int i = 0; i < output_count && !code; i++) {
    tensors[graph->outputs[i]->id] = arena_new_of(arena, Tensor);
    code = cli_unwrap(&outputs[i], tensors[graph->outputs[i]->id]);
  }
  for (int i = 0; i < graph->input_count && !code; i++) tensors[graph->inputs[i]->id] = &given[i];
  for (Node *node = graph->first; node && !code; node = node->next) {
    int differing = report->differing;
    code = verify_node(node, tensors, tolerance, report);
    sites++;
    wrong += report->differing > differing;
  }
  if (!code && !report->json)
    printf("%d of %d sites agree with the reference on %s\n", sites - wrong, sites, ingot_session_device(session));
  ingot_session_free(session);
  return code;
}

static int verify_sites(const Common *common, ingot_engine *engine, const Tolerance *tolerance, Report *report) {
  InputSet inputs = {0};
  int code = cli_make_inputs(engine, common, NULL, 1, &inputs);
  if (code) return code;
  Tensor *given = arena_array(inputs.arena, Tensor, inputs.count);
  for (int i = 0; i < inputs.count && !code; i++) code = cli_unwrap(&inputs.tensors[i], &given[i]);
  Arena *arena = arena_new();  // the exposed engine's
  ingot_engine *exposed = NULL;
  Status status = code ? OK : expose(engine->engine, given, arena, &exposed);
  if (status) code = cli_fail(api_error(status));
  if (!code) code = compare_sites(common, exposed, &inputs, given, tolerance, report);
  if (exposed) ingot_engine_free(exposed);
  else arena_free(arena);
  cli_free_inputs(&inputs);
  return code;
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
  Arena *arena = arena_new();
  Text text = text_new(arena);
  Json json = json_new(&text);
  Report report = {.json = common.json ? &json : NULL, .quiet = common.quiet, .verbose = common.verbose};
  json_object(&json, NULL);
  json_string(&json, "model", common.model);
  json_array(&json, "values");
  code =
      folder ? verify_data(&common, engine, folder, &tolerance, &report) : verify_sites(&common, engine, &tolerance, &report);
  json_end_array(&json);
  json_int(&json, "compared", report.compared);
  json_int(&json, "differing", report.differing);
  json_end_object(&json);
  if (common.json && !code) puts(text_get(&text));
  arena_free(arena);
  ingot_engine_free(engine);
  return code ? code : report.differing != 0;
}
