// ingot build: casts a model into an engine file.
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "api/api.h"
#include "base/checked.h"
#include "base/thread.h"
#include "cli/cli.h"

static int run(int count, char **arguments);
const Command command_build = {
    "build", "cast a model into an engine file",
    "[-o FILE] [options]\n\n"
    "Imports the model, runs the passes over it, compiles and (with --tune) measures kernels where there is a GPU, and\n"
    "writes one file that opens in milliseconds, on this machine or another.\n\n"
    "  ingot build resnet50.onnx                            writes resnet50.ingot here, in seconds\n"
    "  ingot build resnet50.onnx --fp16 --tune 60 -o r.ingot   half precision, a minute of measuring\n"
    "  ingot build bert.onnx --tuning my.tuning --tune 600  keeps what it measured for the next build (see ingot tune)\n"
    "  ingot build model.onnx --disable fuse_epilogue       what does that pass gain? then: ingot bench\n"
    "  ingot build bert.onnx --shapes ids:1..8x16..512      sizes that differ from call to call: from the least to the most,\n"
    "                                                       1..4..8 with the usual one between. Kernels that take sizes as\n"
    "                                                       arguments are compiled for all of them, tuned for the usual\n"
    "                                                       (or the most); the rest, and other sizes, when met\n"
    "  ingot build model.onnx --for sm_80,sm_89,H100        plans and kernels for GPUs that need not be here: chips (H100, "
    "H200, A100,\n"
    "                                                       L4, RTX 4090, B200, ...) or architectures\n\n"
    "  --for NAMES             what GPUs to build for, instead of the device here; takes NVRTC. Where the model leaves sizes "
    "open,\n"
    "                          --shapes says for which\n"
    "  --output FILE, -o FILE  where to, - is the standard output; default: the model's name with .ingot, in this folder\n",
    run};

static const char *default_output(Arena *arena, const char *model) {
  const char *slash = strrchr(model, '/'), *name = slash ? slash + 1 : model, *extension = path_extension(name);
  return arena_printf(arena, "%.*s.ingot", (int)(strlen(name) - strlen(extension)), name);
}

static bool is_same_file(const char *a, const char *b) {
  struct stat x, y;
  return !stat(a, &x) && !stat(b, &y) && S_ISREG(x.st_mode) && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

static double file_bytes(const char *path) {
  struct stat info;
  return stat(path, &info) ? 0 : (double)info.st_size;
}

// "fold_scale 53, fuse_epilogue 49": passes that stand in the pipeline several times are added up.
static const char *passes_text(Arena *arena, const ingot_engine *engine) {
  Text text = text_new(arena);
  int count = ingot_engine_pass_count(engine);
  for (int i = 0; i < count; i++) {
    const char *name = ingot_pass_name(ingot_engine_pass(engine, i));
    int changes = 0;
    bool met = false;
    for (int k = 0; k < count; k++) {
      const ingot_pass *pass = ingot_engine_pass(engine, k);
      if (strcmp(name, ingot_pass_name(pass))) continue;
      met |= k < i;
      changes += ingot_pass_changes(pass);
    }
    if (changes && !met) text_add(&text, "%s%s %d", text.length ? ", " : "", name, changes);
  }
  return text.length ? text_get(&text) : "nothing to do";
}

// "kernels  12 for sm_80, 14 for sm_90"
static void print_kernels(const Engine *engine) {
  for (uint32_t i = 0; i < engine->kernel_count;) {
    uint32_t first = i;
    while (i < engine->kernel_count && engine->kernels[i].sm == engine->kernels[first].sm) i++;
    printf("%s%u for sm_%d", first ? ", " : "kernels  ", i - first, engine->kernels[first].sm);
  }
  if (engine->kernel_count) printf("\n");
}

static void print_report(const char *model, const char *output, const ingot_engine *engine, int nodes_before, double seconds,
                         Arena *arena) {
  char size[24];
  printf("model    %s, %s, %d nodes\n", model, cli_bytes(file_bytes(model), size), nodes_before);
  printf("passes   %s\n", passes_text(arena, engine));
  print_kernels(engine->engine);
  printf("engine   %s, %s, %d nodes, built in %.1f s\n", output, cli_bytes(file_bytes(output), size),
         engine->engine->graph->node_count, seconds);
}

static void print_json(const char *model, const char *output, const ingot_engine *engine, int nodes_before, double seconds,
                       Arena *arena) {
  Text text = text_new(arena);
  Json json = json_new(&text);
  json_object(&json, NULL);
  json_string(&json, "model", model);
  json_string(&json, "engine", output);
  json_int(&json, "bytes", (int64_t)file_bytes(output));
  json_double(&json, "seconds", seconds);
  json_int(&json, "nodes_before", nodes_before);
  json_int(&json, "nodes_after", engine->engine->graph->node_count);
  json_int(&json, "kernels", engine->engine->kernel_count);
  cli_json_passes(&json, engine);
  json_end_object(&json);
  puts(text_get(&text));
}

static ingot_error *build(const Common *common, const char *output, Arena *arena) {
  ingot_model *model = NULL;
  ingot_engine *engine = NULL;
  double start = time_now();
  ingot_error *error = cli_open_model(common->model, &common->config, &model);
  if (!error) error = ingot_engine_build(model, &common->config, &engine);
  if (!error) error = ingot_engine_save(engine, output);
  double seconds = time_now() - start;
  if (!error) {
    if (common->json) print_json(common->model, output, engine, model->graph->node_count, seconds, arena);
    else if (!common->quiet && path_open_number(output) < 0)
      print_report(common->model, output, engine, model->graph->node_count, seconds, arena);
  }
  ingot_engine_free(engine);
  ingot_model_free(model);
  return error;
}

static int check_arguments(const Common *common, const char *output) {
  if (common->input_count || common->picture.normalised || common->picture.bgr)
    return cli_fail_text("build makes an engine for all inputs: --input, --mean, --scale and --bgr are for the other commands"),
           2;
  if (cli_is_engine(common->model)) return cli_fail_text("%s is an engine already: build takes an .onnx model", common->model);
  if (output && common->json && path_open_number(output) == 1)
    return cli_fail_text("--output %s: the engine cannot go there together with --json", output), 2;
  if (output && is_same_file(output, common->model))
    return cli_fail_text("--output %s is the model itself, which the engine would replace", output), 2;
  if (!output && path_open_number(common->model) >= 0)
    return cli_fail_text("%s has no name to call the engine by: say --output FILE", common->model), 2;
  return 0;
}

static int run(int count, char **arguments) {
  Common common;
  const char *output = NULL;
  int positional_count;
  bool stop;
  const Option options[] = {
      {"output", OPTION_STRING, &output}, {"for", OPTION_STRING, &common.config.targets}, {NULL, OPTION_FLAG, NULL}};
  int code = cli_parse(&command_build, count, arguments, &common, options, NULL, 0, &positional_count, &stop);
  if (code || stop) return code;
  if (output && !strcmp(output, "-")) output = "/dev/stdout";
  common.config.tuning_shapes = common.shapes;
  if ((code = check_arguments(&common, output))) return code;
  Arena *arena = arena_new();
  if (!output) output = default_output(arena, common.model);
  ingot_error *error = build(&common, output, arena);
  arena_free(arena);
  return error ? cli_fail(error) : 0;
}
