// ingot tune: measures the kernels of a model's sites into a database, which builds read.
#include <string.h>

#include "api/api.h"
#include "base/checked.h"
#include "cli/cli.h"
#include "lower/database.h"
#include "tune/tune.h"

#define DEFAULT_SECONDS 60

static int run(int count, char **arguments);
const Command command_tune = {
    "tune", "measure kernels for a model into a database",
    "[--database FILE] [--seconds N] [options]\n\n"
    "Measures candidates for each of the model's sites on the GPU here, those first that a run may gain most of. Each\n"
    "measurement is in the database when it is made: tuning may be ended at any moment, goes on where it ended, and several\n"
    "processes may tune into one database. At the end the whole model is measured with what was found, and what makes it no\n"
    "faster is left out. What was measured with other kernels or libraries than are here is said to be stale, and measured\n"
    "again.\n\n"
    "  ingot tune bert.onnx --fp16 --shapes ids:1x128 --seconds 600 --database bert.tuning\n"
    "  ingot build bert.onnx --fp16 --shapes ids:1x128 --tuning bert.tuning    an engine by it, without measuring\n\n"
    "  --database FILE         where to; the same as --tuning; default: the model's name with .tuning, in this folder\n"
    "  --seconds N             for how long, a quarter of it for the whole model; less where nothing is left; the same as "
    "--tune;\n"
    "                          default: 60\n",
    run};

static const char *default_database(Arena *arena, const char *model) {
  const char *slash = strrchr(model, '/'), *name = slash ? slash + 1 : model, *extension = path_extension(name);
  return arena_printf(arena, "%.*s.tuning", (int)(strlen(name) - strlen(extension)), name);
}

static void print_report(const char *path, const TuningDatabase *database, const TuneReport *report) {
  printf("sites     %d, %d of them with several candidates measured\n", report->sites, report->compared);
  printf("measured  %d candidates in %.1f s; %d were known before, %d are left", report->candidates, report->seconds,
         report->known, report->left);
  if (report->unseen) printf(", and those of %d sites that were not looked at", report->unseen);
  printf("\n");
  if (report->rejected) printf("rejected  %d candidates, whose results are not those of the others\n", report->rejected);
  printf("database  %s, %d entries\n", path, tuning_count_entries(database));
}

static void print_json(const char *path, const TuningDatabase *database, const TuneReport *report) {
  Text text = text_new(database->arena);
  Json json = json_new(&text);
  int sites, stale = tuning_count_stale(database, &sites);
  json_object(&json, NULL);
  json_string(&json, "database", path);
  json_int(&json, "entries", tuning_count_entries(database));
  json_int(&json, "stale", stale);
  json_int(&json, "sites", report->sites);
  json_int(&json, "compared", report->compared);
  json_int(&json, "measured", report->candidates);
  json_int(&json, "rejected", report->rejected);
  json_int(&json, "known", report->known);
  json_int(&json, "left", report->left);
  json_int(&json, "unseen_sites", report->unseen);
  json_double(&json, "seconds", report->seconds);
  json_end_object(&json);
  puts(text_get(&text));
}

static ingot_error *tune(const Common *common) {
  ingot_model *model = NULL;
  ingot_engine *engine = NULL;
  TuneReport report = {0};
  ingot_error *error = cli_open_model(common->model, &common->config, &model);
  if (!error) error = api_error(api_build(model, &common->config, &(BuildHooks){.tuned = &report}, &engine));
  if (!error && common->json) print_json(common->config.tuning_file, engine->engine->tried, &report);
  else if (!error && !common->quiet) print_report(common->config.tuning_file, engine->engine->tried, &report);
  ingot_engine_free(engine);
  ingot_model_free(model);
  return error;
}

static int check_arguments(const Common *common) {
  if (common->input_count || common->picture.normalised || common->picture.bgr)
    return cli_fail_text("tune measures for all inputs: --input, --mean, --scale and --bgr are for the other commands"), 2;
  if (cli_is_engine(common->model)) return cli_fail_text("%s is an engine already: tune takes an .onnx model", common->model);
  if (!common->config.tuning_file && path_open_number(common->model) >= 0)
    return cli_fail_text("%s has no name to call the database by: say --database FILE", common->model), 2;
  return 0;
}

static int run(int count, char **arguments) {
  Common common;
  int positional_count;
  bool stop;
  const Option options[] = {{"database", OPTION_STRING, &common.config.tuning_file},
                            {"seconds", OPTION_DOUBLE, &common.config.tuning_seconds},
                            {NULL, OPTION_FLAG, NULL}};
  int code = cli_parse(&command_tune, count, arguments, &common, options, NULL, 0, &positional_count, &stop);
  if (code || stop) return code;
  if ((code = check_arguments(&common))) return code;
  Arena *arena = arena_new();
  common.config.tuning_shapes = common.shapes;
  if (common.config.tuning_seconds == 0) common.config.tuning_seconds = DEFAULT_SECONDS;
  if (!common.config.tuning_file) common.config.tuning_file = default_database(arena, common.model);
  ingot_error *error = tune(&common);
  arena_free(arena);
  return error ? cli_fail(error) : 0;
}
