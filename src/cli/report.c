// ingot report: what became of a model, as one page to look at, and a run of it for a viewer of traces.
#include <string.h>

#include "api/api.h"
#include "base/file.h"
#include "cli/report/page.h"
#include "cli/report/trace.h"

static int run(int count, char **arguments);
const Command command_report = {
    "report", "one page that shows a model's graph, fusions, times and memory",
    "[-o FILE.html] [options]\n\n"
    "  ingot report resnet50.onnx -o report.html            where time goes, beside what the chip needs; what fused, and why "
    "not more\n"
    "  ingot report bert.onnx --fp16 --shapes ids:1x128     needs sizes where the model leaves them open\n"
    "  ingot report r.ingot --trace run.json                also one run for ui.perfetto.dev or chrome://tracing\n\n"
    "The page is one file of HTML: it needs no network, and no script but to join its pictures. It runs the model: times are "
    "of this "
    "device.\n"
    "A model's report has more than an engine's, which keeps neither the graph before the passes nor what rules refused.\n\n"
    "  --output FILE, -o FILE  where to; default: the model's name with .html, in this folder\n"
    "  --trace FILE            each step of a profiled run, as a JSON trace\n",
    run};

typedef struct Files {
  const char *page, *trace;
} Files;

// Inputs that nobody gives keep their defaults, so that what becomes of them shows in the build and its log.
static ingot_error *open_engine(const Common *common, RuleLog *log, ingot_model **model, ingot_engine **engine) {
  if (cli_is_engine(common->model)) return cli_load_engine(common->model, &common->config, engine);
  ingot_error *error = cli_open_model(common->model, &common->config, model);
  if (!error && !common->input_count) graph_keep_defaults((*model)->graph);
  return error ? error : api_error(api_build(*model, &common->config, &(BuildHooks){.rules = log}, engine));
}

static Status write_files(const Files *files, const Report *report) {
  Text page = text_new(report->arena), trace = text_new(report->arena);
  page_write(&page, report);
  TRY(file_write(files->page, text_get(&page), page.length));
  if (!files->trace) return OK;
  trace_write(&trace, report);
  return file_write(files->trace, text_get(&trace), trace.length);
}

static void print_json(const Files *files, const Report *report) {
  Text text = text_new(report->arena);
  Json json = json_new(&text);
  json_object(&json, NULL);
  json_string(&json, "model", report->model);
  json_string(&json, "device", report->device);
  json_string(&json, "page", files->page);
  json_string(&json, "trace", files->trace);
  json_double(&json, "device_ms", report->ms);
  json_int(&json, "steps", report->step_count);
  json_int(&json, "launches", report->kernels);
  json_end_object(&json);
  puts(text_get(&text));
}

static int write(const Common *common, const Files *files, const Report *report) {
  Status status = RECOVER_GUARD(write_files(files, report));
  if (status) return cli_fail(api_error(status));
  if (common->json) print_json(files, report);
  else if (!common->quiet)
    printf("%s: %d steps, %.4g ms%s%s\n", files->page, report->step_count, report->ms, files->trace ? ", " : "",
           files->trace ? files->trace : "");
  return 0;
}

// A file and its folder: many models are called model.onnx.
static const char *title(const char *path) {
  const char *slash = strrchr(path, '/'), *before = slash;
  while (before && before > path && before[-1] != '/') before--;
  return before ? before : path;
}

static int report_to(const Common *common, const Files *files, Arena *arena) {
  ingot_model *model = NULL;
  ingot_engine *engine = NULL;
  ingot_session *session = NULL;
  InputSet inputs = {0};
  Report report = {.arena = arena, .model = title(common->model)};
  RuleLog *log = rule_log_new(arena, false);
  ingot_error *error = open_engine(common, log, &model, &engine);
  if (!error) error = ingot_session_create(engine, &common->config, &session);
  int code = error ? cli_fail(error) : cli_make_inputs(engine, common, NULL, 1, &inputs);
  if (!code) {
    error = report_gather(session, &inputs, model, model ? log : NULL, &report);
    code = error ? cli_fail_run(error, &inputs) : write(common, files, &report);
  }
  cli_free_inputs(&inputs);
  ingot_session_free(session);
  ingot_engine_free(engine);
  ingot_model_free(model);
  return code;
}

static const char *default_page(Arena *arena, const char *model) {
  const char *slash = strrchr(model, '/'), *name = slash ? slash + 1 : model, *extension = path_extension(name);
  return arena_printf(arena, "%.*s.html", (int)(strlen(name) - strlen(extension)), name);
}

static int run(int count, char **arguments) {
  Common common;
  Files files = {0};
  int positional_count;
  bool stop;
  const Option options[] = {
      {"output", OPTION_STRING, &files.page}, {"trace", OPTION_STRING, &files.trace}, {NULL, OPTION_FLAG, NULL}};
  int code = cli_parse(&command_report, count, arguments, &common, options, NULL, 0, &positional_count, &stop);
  if (code || stop) return code;
  if (!files.page && path_open_number(common.model) >= 0)
    return cli_fail_text("%s has no name to call the page by: say --output FILE", common.model), 2;
  Arena *arena = arena_new();
  if (!files.page) files.page = default_page(arena, common.model);
  code = report_to(&common, &files, arena);
  arena_free(arena);
  return code;
}
