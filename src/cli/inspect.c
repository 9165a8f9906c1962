// ingot inspect: what a model became: its graph before and after the passes, what each pass did, the sites with their tactics and
// times, the memory bill, the plan.
#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "base/checked.h"
#include "cli/cli.h"

static int run(int count, char **arguments);
const Command command_inspect = {
    "inspect", "show the graph, the passes, the sites and the memory bill",
    "[options]\n\n"
    "  ingot inspect resnet50.onnx                      passes, sites and memory\n"
    "  ingot inspect resnet50.onnx --before > a         the graph as imported, as text ...\n"
    "  ingot inspect resnet50.onnx --after > b          ... and as optimised: compare the two with diff\n"
    "  ingot inspect r.ingot --sites --json | jq '.steps | sort_by(-.ms) | .[:5]'   the five slowest steps\n\n"
    "  --before         the graph as imported, before the passes (models only)\n"
    "  --after          the optimised graph\n"
    "  --passes         what each pass changed, and the plans that the engine holds\n"
    "  --sites          each step of the plan: time, what the cost model predicts, its stream where there are several, "
    "operator, tactic,\n"
    "                   and the ONNX nodes it came from\n"
    "  --explain SITE   why a step is computed as it is: what each implementation lacks to take it, or its ways with "
    "predicted\n"
    "                   and measured times, and what chose; an ONNX node, a step's result, or its number. (What became of a "
    "node on\n"
    "                   its way to the step: ingot passes --explain)\n"
    "  --memory         weights, arena, and what the arena would be without reuse\n"
    "  --plan           the plan as text, from which it can be read back: its graph, its buffers (kind, offset, bytes, first "
    "to "
    "last\n"
    "                   step), then each step: its stream and what it waits for, where that is not stream 0 and nothing; "
    "implementation and way, the ONNX nodes it came from, where its operands lie, "
    "packed\n"
    "                   constants with their recipe, and its launches: kernel with the hash it is compiled under, grid, block, "
    "cluster, whether all blocks are in place at once,\n"
    "                   shared bytes and arguments; library routine with its parameters; or host routine. Constants are hashes "
    "of their\n"
    "                   bytes. No addresses, no times: the same each time\n"
    "  --kernels DIR    with --plan: also writes the source of each kernel to DIR/HASH.cu; the plan is made anew for it, by "
    "the model's "
    "graph,\n"
    "                   since engines keep kernels compiled\n"
    "Without any of them: passes, sites and memory. Sites, memory and plan need sizes: where the model leaves some open, give "
    "them "
    "with\n"
    "--shapes or --input; asked for without, they are shown for sizes of 1, and not asked for, left out.\n",
    run};

// What was asked for, and what was found.
typedef struct Inspection {
  bool before, after, passes, sites, memory, plan;
  bool by_default;  // nothing was asked for
  const char *explain;
  ingot_engine *engine;
  ingot_session *session;
  ingot_profile *steps;
  char *plan_text, *explanation;
  const char *kernels;  // the folder for their sources
} Inspection;

// ---- for people --------------------------------------------------------------------------------------------------------------

static void print_bindings(const ingot_engine *engine, bool output) {
  int count = output ? ingot_engine_output_count(engine) : ingot_engine_input_count(engine);
  for (int i = 0; i < count; i++) {
    const ingot_binding *b = output ? ingot_engine_output(engine, i) : ingot_engine_input(engine, i);
    const int64_t *dims = ingot_binding_dims(b);
    printf("%-7s %-32s ", output ? "output" : "input", ingot_binding_name(b));
    if (ingot_binding_kind(b) != INGOT_TENSOR) {
      bool sequence = ingot_binding_kind(b) == INGOT_SEQUENCE;
      printf("%s of %s%s\n", sequence ? "sequence" : "optional", ingot_binding_dtype_name(b),
             output     ? ""
             : sequence ? "  (--input NAME=FILE.pb, a SequenceProto)"
                        : "  (--input NAME=FILE.pb, an OptionalProto or what it holds; else nothing)");
      continue;
    }
    printf("%s[", ingot_binding_dtype_name(b));
    for (int k = 0; k < ingot_binding_rank(b); k++) {
      if (dims[k] < 0) printf("%s%s", k ? ", " : "", ingot_binding_dim_name(b, k));
      else printf("%s%lld", k ? ", " : "", (long long)dims[k]);
    }
    printf("%s]%s\n", ingot_binding_rank(b) < 0 ? "?" : "", ingot_binding_has_default(b) ? "  (has a default)" : "");
  }
}

static void print_passes(const ingot_engine *engine) {
  printf("\n%-24s %8s %8s %10s\n", "pass", "changes", "nodes", "ms");
  for (int i = 0; i < ingot_engine_pass_count(engine); i++) {
    const ingot_pass *pass = ingot_engine_pass(engine, i);
    printf("%-24s %8d %8d ", ingot_pass_name(pass), ingot_pass_changes(pass), ingot_pass_nodes_after(pass));
    if (ingot_pass_seconds(pass) > 0) printf("%10.2f\n", ingot_pass_seconds(pass) * 1e3);
    else printf("%10s\n", "-");  // an engine file does not keep times
  }
}

static void print_plans(const ingot_engine *engine) {
  int count = ingot_engine_plan_count(engine);
  if (count) printf("\n%-60s %8s %8s\n", "plans held, for", "steps", "kernels");
  for (int i = 0; i < count; i++) {
    const ingot_plan *plan = ingot_engine_plan(engine, i);
    int missing = ingot_plan_missing_kernels(engine, plan);
    char device[128];
    snprintf(device, sizeof device, "%s (%d multiprocessors)", ingot_plan_needs(plan), ingot_plan_multiprocessors(plan));
    bool on_gpu = strstr(device, ", sm_") != NULL;
    printf("%-60s %8d %8d", on_gpu ? device : ingot_plan_needs(plan), ingot_plan_steps(engine, plan),
           ingot_plan_kernels(engine, plan));
    if (missing) printf("  (%d not in the engine)", missing);
    printf("\n");
  }
}

static bool runs_beside(const ingot_profile *steps) {
  bool beside = false;
  for (int i = 0; i < ingot_profile_step_count(steps); i++) beside |= ingot_profile_stream(steps, i) != 0;
  return beside;
}

static void print_sites(const Inspection *seen) {
  const ingot_profile *steps = seen->steps;
  int count = ingot_profile_step_count(steps);
  double total = 0, predicted = 0;
  bool beside = runs_beside(steps);
  printf("\n%5s %9s %9s  %s%-14s %-36s %s\n", "step", "ms", "predicted", beside ? "stream " : "", "operator", "tactic", "from");
  for (int i = 0; i < count; i++) {
    char stream[16] = "";
    if (beside) snprintf(stream, sizeof stream, "%6d ", ingot_profile_stream(steps, i));
    printf("%5d %9.4f %9.4f  %s%-14s %-36.36s %s\n", i, ingot_profile_milliseconds(steps, i), ingot_profile_predicted(steps, i),
           stream, ingot_profile_op(steps, i), ingot_profile_tactic(steps, i), ingot_profile_origins(steps, i));
    predicted += ingot_profile_predicted(steps, i);
    total += ingot_profile_milliseconds(steps, i);
  }
  printf("%5s %9.4f %9.4f  %d steps, each timed alone, on %s%s\n", "", total, predicted, count,
         ingot_session_device(seen->session), cli_profile_rest(seen->session));
}

static void print_memory(const Inspection *seen) {
  printf("\n");
  cli_print_memory(seen->session, 8);
}

static void print_text(char *text) {
  puts(text ? text : "");
  free(text);
}

static void print(const Inspection *seen, const ingot_model *model) {
  if (seen->before) print_text(ingot_model_text(model));
  if (seen->after) print_text(ingot_engine_text(seen->engine));
  if (seen->passes || seen->sites || seen->memory) {
    print_bindings(seen->engine, false);
    print_bindings(seen->engine, true);
  }
  if (seen->passes) print_passes(seen->engine);
  if (seen->passes) print_plans(seen->engine);
  if (seen->sites) print_sites(seen);
  if (seen->memory) print_memory(seen);
  if (seen->plan) fputs(seen->plan_text, stdout);
  if (seen->explain) fputs(seen->explanation, stdout);
  if (seen->by_default && !seen->sites)
    printf("\nsites and memory need sizes that the model leaves open: say --shapes NAME:1x3x8x8, or --input\n");
}

// ---- for programs ------------------------------------------------------------------------------------------------------------

static void json_text(Json *json, const char *key, char *text) {
  json_string(json, key, text);
  free(text);
}

static void json_bindings(Json *json, const ingot_engine *engine, bool output) {
  int count = output ? ingot_engine_output_count(engine) : ingot_engine_input_count(engine);
  json_array(json, output ? "outputs" : "inputs");
  for (int i = 0; i < count; i++) {
    const ingot_binding *b = output ? ingot_engine_output(engine, i) : ingot_engine_input(engine, i);
    const int64_t *dims = ingot_binding_dims(b);
    static const char *const kinds[] = {
        [INGOT_TENSOR] = "tensor", [INGOT_SEQUENCE] = "sequence", [INGOT_OPTIONAL] = "optional"};
    json_object(json, NULL);
    json_string(json, "name", ingot_binding_name(b));
    json_string(json, "kind", kinds[ingot_binding_kind(b)]);
    json_bool(json, "has_default", ingot_binding_has_default(b));
    json_string(json, "dtype", ingot_binding_dtype_name(b));
    if (ingot_binding_rank(b) < 0) {
      json_string(json, "shape", NULL);
    } else {
      json_array(json, "shape");
      for (int k = 0; k < ingot_binding_rank(b); k++) {
        if (dims[k] < 0) json_string(json, NULL, ingot_binding_dim_name(b, k));
        else json_int(json, NULL, dims[k]);
      }
      json_end_array(json);
    }
    json_end_object(json);
  }
  json_end_array(json);
}

static void json_plans(Json *json, const ingot_engine *engine) {
  json_array(json, "plans");
  for (int i = 0; i < ingot_engine_plan_count(engine); i++) {
    const ingot_plan *plan = ingot_engine_plan(engine, i);
    json_object(json, NULL);
    json_string(json, "needs", ingot_plan_needs(plan));
    json_int(json, "multiprocessors", ingot_plan_multiprocessors(plan));
    json_int(json, "steps", ingot_plan_steps(engine, plan));
    json_int(json, "kernels", ingot_plan_kernels(engine, plan));
    json_int(json, "missing_kernels", ingot_plan_missing_kernels(engine, plan));
    json_end_object(json);
  }
  json_end_array(json);
}

static void print_json(const char *path, const Inspection *seen, const ingot_model *model) {
  Arena *arena = arena_new();
  Text text = text_new(arena);
  Json json = json_new(&text);
  json_object(&json, NULL);
  json_string(&json, "model", path);
  json_bindings(&json, seen->engine, false);
  json_bindings(&json, seen->engine, true);
  if (seen->before) json_text(&json, "before", ingot_model_text(model));
  if (seen->after) json_text(&json, "after", ingot_engine_text(seen->engine));
  if (seen->passes) cli_json_passes(&json, seen->engine);
  if (seen->passes) json_plans(&json, seen->engine);
  if (seen->session) json_string(&json, "device", ingot_session_device(seen->session));
  if (seen->sites) cli_json_steps(&json, seen->steps);
  if (seen->memory) {
    json_object(&json, "memory");
    json_int(&json, "weights_bytes", (int64_t)ingot_session_memory(seen->session, INGOT_MEMORY_WEIGHTS));
    json_int(&json, "arena_bytes", (int64_t)ingot_session_memory(seen->session, INGOT_MEMORY_ARENA));
    json_int(&json, "unpacked_bytes", (int64_t)ingot_session_memory(seen->session, INGOT_MEMORY_UNPACKED));
    json_end_object(&json);
  }
  if (seen->plan) json_string(&json, "plan", seen->plan_text);
  json_end_object(&json);
  puts(text_get(&text));
  arena_free(arena);
}

// ---- the command -------------------------------------------------------------------------------------------------------------

typedef struct KernelFolder {
  const char *path;
  Status status;  // the first failure
} KernelFolder;

static void write_kernel(void *context, Hash128 key, const char *source) {
  KernelFolder *folder = context;
  char hex[33], path[4096];
  hash128_hex(key, hex);
  snprintf(path, sizeof path, "%s/%s.cu", folder->path, hex);
  if (!folder->status) folder->status = file_write(path, source, strlen(source));
}

static ingot_error *plan_and_kernels(Inspection *seen, const InputSet *inputs) {
  KernelFolder folder = {.path = seen->kernels, .status = directory_make(seen->kernels)};
  ingot_error *error = folder.status
                           ? NULL
                           : api_plan_text(seen->session, inputs->tensors, inputs->count,
                                           &(PlanWitness){.kernel = write_kernel, .context = &folder}, &seen->plan_text);
  if (error) status_free(folder.status);
  return error ? error : api_error(folder.status);
}

static ingot_error *plan(Inspection *seen, const InputSet *inputs) {
  return seen->kernels ? plan_and_kernels(seen, inputs)
                       : ingot_session_plan_text(seen->session, inputs->tensors, inputs->count, &seen->plan_text);
}

// Runs the plan once with a clock around each step, or only makes it.
static int profile(const Common *common, Inspection *seen) {
  InputSet inputs = {0};
  ingot_config config = common->config;
  if (seen->kernels) config.untrusted_engine = true;
  ingot_error *error = ingot_session_create(seen->engine, &config, &seen->session);
  int code = error ? cli_fail(error) : cli_make_inputs(seen->engine, common, NULL, 1, &inputs);
  if (code) return code;
  error = NULL;
  if (seen->sites || seen->memory) error = ingot_session_profile(seen->session, inputs.tensors, inputs.count, &seen->steps);
  if (!error && seen->plan) error = plan(seen, &inputs);
  if (!error && seen->explain)
    error = ingot_session_explain(seen->session, inputs.tensors, inputs.count, seen->explain, common->json, &seen->explanation);
  code = error ? cli_fail_run(error, &inputs) : 0;
  cli_free_inputs(&inputs);
  return code;
}

// Sizes that neither the model nor the caller says: a run would have to guess them.
static bool has_open_dims(const Common *common, const ingot_engine *engine) {
  for (int i = 0; !common->shapes && !common->input_count && i < ingot_engine_input_count(engine); i++) {
    const ingot_binding *binding = ingot_engine_input(engine, i);
    if (ingot_binding_rank(binding) < 0) return true;
    for (int k = 0; k < ingot_binding_rank(binding); k++)
      if (ingot_binding_dims(binding)[k] < 0) return true;
  }
  return false;
}

static int inspect(const Common *common, Inspection *seen) {
  ingot_model *model = NULL;
  ingot_error *error = NULL;
  if (seen->before && cli_is_engine(common->model))
    return cli_fail_text("%s is an engine: only a model knows the graph before the passes", common->model);
  if (seen->before) error = cli_open_model(common->model, &common->config, &model);
  if (!error) error = cli_open_engine(common->model, &common->config, &seen->engine);
  int code = error ? cli_fail(error) : 0;
  if (!code && seen->by_default && has_open_dims(common, seen->engine)) seen->sites = seen->memory = false;
  if (!code && (seen->sites || seen->memory || seen->plan || seen->explain)) code = profile(common, seen);
  if (!code) {
    if (common->json && seen->explain) puts(seen->explanation);
    else if (common->json) print_json(common->model, seen, model);
    else print(seen, model);
  }
  ingot_session_free(seen->session);
  ingot_engine_free(seen->engine);
  ingot_model_free(model);
  ingot_profile_free(seen->steps);
  free(seen->plan_text);
  free(seen->explanation);
  return code;
}

static int run(int count, char **arguments) {
  Common common;
  Inspection seen = {0};
  int positional_count;
  bool stop;
  const Option options[] = {{"before", OPTION_FLAG, &seen.before},
                            {"after", OPTION_FLAG, &seen.after},
                            {"passes", OPTION_FLAG, &seen.passes},
                            {"sites", OPTION_FLAG, &seen.sites},
                            {"memory", OPTION_FLAG, &seen.memory},
                            {"plan", OPTION_FLAG, &seen.plan},
                            {"explain", OPTION_STRING, &seen.explain},
                            {"kernels", OPTION_STRING, &seen.kernels},
                            {NULL, OPTION_FLAG, NULL}};
  int code = cli_parse(&command_inspect, count, arguments, &common, options, NULL, 0, &positional_count, &stop);
  if (code || stop) return code;
  if (seen.kernels && !seen.plan) return cli_fail_text("--kernels is for the kernels of --plan"), 2;
  bool others = seen.before || seen.after || seen.passes || seen.sites || seen.memory || seen.plan;
  if (seen.explain && others) return cli_fail_text("--explain tells of one site: it goes without what tells of the whole"), 2;
  seen.by_default = !others && !seen.explain;
  if (seen.by_default) seen.passes = seen.sites = seen.memory = true;
  return inspect(&common, &seen);
}
