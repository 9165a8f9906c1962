// ingot verify: is the result right? With --data, judged by expected outputs; without, by the model itself as it was imported, run by the
// references: nothing that the passes or the kernels did has a say in that. --sites is the finer tool, and what follows when something differs.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "base/checked.h"
#include "base/file.h"
#include "cli/judge.h"
#include "cli/verify.h"

static int run(int count, char **arguments);
const Command command_verify = {
    "verify", "compare results with what was expected, or with the reference",
    "[options]\n\n"
    "  ingot verify model.onnx                          the whole against the unoptimised model, on random inputs\n"
    "  ingot verify model.onnx --fp16 --norm 1e-2       the same in half precision, judged by the norm\n"
    "  ingot verify model.onnx --data test_data_set_0   outputs against expected ones\n"
    "  ingot verify model.ingot --against model.onnx    an engine against the model it was built from\n\n"
    "Exit code 0: all agree; 1: something differs, or the model does not run. Where something differs, sites are compared "
    "too.\n"
    "NaN and infinities agree with nothing; with --data they may, where the file has them and other numbers beside them.\n\n"
    "  --data DIR       a folder with input_K.pb and output_K.pb: runs the model on the inputs and compares the outputs.\n"
    "                   Without it, the outputs are compared with those of the model as it was imported, without passes,\n"
    "                   every operator carried out by its plain C reference, on random (or --input) inputs.\n"
    "  --against MODEL  the model that judges an engine; an engine alone is compared site by site\n"
    "  --sites          every site of the optimised graph against the reference, on the values that the device made\n"
    "  --rtol R         relative tolerance of single elements; default: 1e-3 (with fp16 or bf16: 1e-1)\n"
    "  --atol A         absolute tolerance of single elements; default: 1e-5 (with fp16 or bf16: 1e-1)\n"
    "  --norm E         judge by ||a - b|| / ||b|| <= E instead of single elements\n",
    run};

typedef struct Verification {
  Common *common;
  ingot_engine *engine;
  ingot_model *model;  // NULL: an engine alone
  const char *folder;
  Tolerance tolerance;
  Report *report;
  InputSet inputs;
} Verification;

// What judges the outputs: files of a folder, or what the model's own run gave.
typedef struct Expected {
  const HostValue *judged;  // NULL: files
  const char *folder;
} Expected;

// *found false: there is no such file.
static int expected_output(const Verification *v, const Expected *expected, int index, HostValue *out, bool *found) {
  *found = true;
  if (expected->judged) {
    *out = expected->judged[index];
    return 0;
  }
  Wanted binding = cli_wanted(ingot_engine_output(v->engine, index));
  const char *path = arena_printf(v->inputs.arena, "%s/output_%d.pb", expected->folder, index);
  if (file_exists(path)) {
    Status status = API_LIMITED(&v->common->config, cli_read_value(path, &binding, NULL, v->inputs.arena, out));
    return status ? cli_fail(api_error(status)) : 0;
  }
  *found = false;
  if (!v->report->json && !v->report->quiet && !v->report->silent)
    printf("        %-28s there is no %s to compare with\n", binding.name, path);
  return 0;
}

static void compare_output(Verification *v, const HostValue *actual, const HostValue *wanted, NonFinite nonfinite) {
  Arena *arena = v->inputs.arena;
  bool elements = actual->kind == VALUE_SEQUENCE && actual->count;
  if (actual->kind != wanted->kind || actual->count != wanted->count || (actual->kind != VALUE_TENSOR && !elements)) {
    report_kind(v->report, arena, actual, wanted);
    return;
  }
  if (actual->kind == VALUE_TENSOR)
    report_value(v->report, arena, actual->name, &actual->tensor, &wanted->tensor, &v->tolerance, nonfinite, NULL);
  for (int i = 0; i < actual->count; i++)
    report_value(v->report, arena, cli_element_name(arena, actual, i), &actual->items[i].tensor, &wanted->items[i].tensor,
                 &v->tolerance, nonfinite, NULL);
}

static int compare_outputs(Verification *v, ingot_session *session, const ingot_tensor *outputs, const Expected *expected) {
  int compared = 0;
  for (int i = 0; i < ingot_engine_output_count(v->engine); i++) {
    HostValue actual, wanted;
    bool found;
    if (expected_output(v, expected, i, &wanted, &found)) return 1;
    if (!found) continue;
    if (cli_take_output(session, v->engine, i, &outputs[i], v->inputs.arena, &actual)) return 1;
    compare_output(v, &actual, &wanted, expected->judged ? NONFINITE_DISAGREES : NONFINITE_SOME);
    compared++;
  }
  if (compared) return 0;
  return expected->judged ? cli_fail_text("no output can be compared")
                          : cli_fail_text("%s: there is no output_0.pb to compare with", expected->folder);
}

static int run_and_compare(Verification *v, const Expected *expected) {
  ingot_session *session = NULL;
  int count = ingot_engine_output_count(v->engine);
  ingot_tensor *outputs = arena_array(v->inputs.arena, ingot_tensor, (size_t)count + 1);
  ingot_error *error = ingot_session_create(v->engine, &v->common->config, &session);
  if (!error) error = ingot_session_run(session, v->inputs.tensors, v->inputs.count, outputs, count);
  int code = error ? cli_fail_run(error, &v->inputs) : 0;
  if (!code && !v->common->quiet && !v->report->json && !v->report->silent) printf("on %s\n", ingot_session_device(session));
  if (!code) code = compare_outputs(v, session, outputs, expected);
  ingot_session_free(session);
  return code;
}

int verify_outputs(Common *common, ingot_engine *engine, const InputSet *inputs, const HostValue *judged, const char *folder,
                   const Tolerance *tolerance, Report *report) {
  Verification v = {
      .common = common, .engine = engine, .folder = folder, .tolerance = *tolerance, .report = report, .inputs = *inputs};
  return run_and_compare(&v, &(Expected){.judged = judged, .folder = folder});
}

static int judge(Verification *v, const HostValue **judged) {
  HostValue *outputs;
  Status status = judge_run(&v->common->config, v->model->graph, &v->inputs, &outputs);
  if (status) return cli_fail_run(api_error(status), &v->inputs);
  *judged = outputs;
  return 0;
}

// Where the whole differs, which site does it? Only for people: programs ask for --sites.
static void look_closer(Verification *v) {
  if (v->report->json || v->report->quiet) return;
  if (v->report->nonfinite) verify_find_nonfinite(v->common, v->engine, &v->inputs);
  Report closer = {0};
  verify_sites(v->common, v->engine, &v->inputs, &v->tolerance, &closer);
}

static int verify(Verification *v, bool sites) {
  if (sites) return verify_sites(v->common, v->engine, &v->inputs, &v->tolerance, v->report);
  Expected expected = {.folder = v->folder};
  int code = v->folder ? 0 : judge(v, &expected.judged);
  if (!code) code = run_and_compare(v, &expected);
  if (code) return code;
  if (!v->folder && !v->report->json)
    printf("%d of %d outputs agree with the unoptimised model, run by the references\n",
           v->report->compared - v->report->differing, v->report->compared);
  if (v->report->differing) look_closer(v);
  return 0;
}

static int open(Verification *v, const char *against) {
  bool engine = cli_is_engine(v->common->model);
  if (against && !engine) return cli_fail_text("--against is for engines: %s is a model and judges itself", v->common->model);
  ingot_error *error = NULL;
  if (!engine || against) error = cli_open_model(against ? against : v->common->model, &v->common->config, &v->model);
  if (error) return cli_fail(error);
  if (engine) error = cli_load_engine(v->common->model, &v->common->config, &v->engine);
  else error = ingot_engine_build(v->model, &v->common->config, &v->engine);
  if (error) return cli_fail(error);
  int count = ingot_engine_input_count(v->engine);
  if (v->model && v->model->graph->input_count != count)
    return cli_fail_text("%s takes %d inputs, the engine %d: it was built from another model", against,
                         v->model->graph->input_count, count);
  return cli_make_inputs(v->engine, v->common, v->folder, 1, &v->inputs);
}

bool verify_tolerance(const Common *common, Tolerance *tolerance) {
  const double given[] = {tolerance->rtol, tolerance->atol, tolerance->norm};
  for (size_t i = 0; i < COUNT_OF(given); i++)
    if (!(given[i] >= 0) && !isinf(given[i])) return cli_fail_text("%g is no tolerance", given[i]), false;
  bool narrow = (common->config.precision & (INGOT_FP16 | INGOT_BF16)) != 0;
  if (tolerance->rtol < 0) tolerance->rtol = narrow ? 1e-1 : 1e-3;
  if (tolerance->atol < 0) tolerance->atol = narrow ? 1e-1 : 1e-5;
  return true;
}

static int run(int count, char **arguments) {
  Common common;
  bool sites = false, stop;
  const char *against = NULL;
  Verification v = {.common = &common, .tolerance = TOLERANCE_NOT_GIVEN};
  int positional_count;
  const Option options[] = {{"data", OPTION_STRING, &v.folder},
                            {"against", OPTION_STRING, &against},
                            {"sites", OPTION_FLAG, &sites},
                            {"rtol", OPTION_DOUBLE, &v.tolerance.rtol},
                            {"atol", OPTION_DOUBLE, &v.tolerance.atol},
                            {"norm", OPTION_DOUBLE, &v.tolerance.norm},
                            {NULL, OPTION_FLAG, NULL}};
  int code = cli_parse(&command_verify, count, arguments, &common, options, NULL, 0, &positional_count, &stop);
  if (code || stop) return code;
  if (!verify_tolerance(&common, &v.tolerance)) return 2;
  Arena *arena = arena_new();
  Text text = text_new(arena);
  Json json = json_new(&text);
  Report report = {.json = common.json ? &json : NULL, .quiet = common.quiet, .verbose = common.verbose};
  v.report = &report;
  json_object(&json, NULL);
  json_string(&json, "model", common.model);
  json_array(&json, "values");
  code = open(&v, against);
  if (!code) code = verify(&v, sites || (!v.folder && !v.model));
  json_end_array(&json);
  json_int(&json, "compared", report.compared);
  json_int(&json, "differing", report.differing);
  json_end_object(&json);
  if (common.json && !code) puts(text_get(&text));
  arena_free(arena);
  cli_free_inputs(&v.inputs);
  ingot_engine_free(v.engine);
  ingot_model_free(v.model);
  return code ? code : report.differing != 0;
}
