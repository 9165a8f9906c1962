// ingot inspect: what a model became: its graph before and after the passes, what each pass did, the sites with their tactics and
// times, the memory bill.
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "cli/cli.h"

static int run(int count, char **arguments);
const Command command_inspect = {"inspect", "show the graph, the passes, the sites and the memory bill",
                                 "[options]\n\n"
                                 "  --before         the graph as imported, before the passes (models only)\n"
                                 "  --after          the optimised graph\n"
                                 "  --passes         what each pass changed\n"
                                 "  --sites          each step of the plan: operator, tactic, time, and the ONNX nodes it came from\n"
                                 "  --memory         weights, arena, and what the arena would be without reuse\n"
                                 "Without any of them: passes, sites and memory.\n",
                                 run};

enum { MAX_STEPS = 8192, MAX_PASSES = 64 };

static void print_bindings(const ingot_engine *engine, bool output) {
  int count = output ? ingot_engine_output_count(engine) : ingot_engine_input_count(engine);
  for (int i = 0; i < count; i++) {
    ingot_binding b = output ? ingot_engine_output(engine, i) : ingot_engine_input(engine, i);
    printf("%-7s %-32s %s[", output ? "output" : "input", b.name, b.dtype_name);
    for (int k = 0; k < b.rank; k++) {
      if (b.dims[k] < 0) printf("%s%s", k ? ", " : "", ingot_engine_dim_name(engine, output, i, k));
      else printf("%s%lld", k ? ", " : "", (long long)b.dims[k]);
    }
    printf("%s]\n", b.rank < 0 ? "?" : "");
  }
}

static void print_passes(const ingot_engine *engine) {
  ingot_pass_report passes[MAX_PASSES];
  int count = MIN(ingot_engine_passes(engine, passes, MAX_PASSES), MAX_PASSES);
  printf("\n%-24s %8s %8s %10s\n", "pass", "changes", "nodes", "ms");
  for (int i = 0; i < count; i++) printf("%-24s %8d %8d %10.2f\n", passes[i].name, passes[i].changes, passes[i].nodes_after, passes[i].seconds * 1e3);
}

static ingot_error *print_sites(const Common *common, ingot_engine *engine, ingot_session *session, bool sites, bool memory) {
  InputSet inputs;
  if (cli_make_inputs(engine, common, NULL, 1, &inputs)) return NULL;
  ingot_step *steps = calloc(MAX_STEPS, sizeof *steps);
  int count = 0;
  ingot_error *error = steps ? ingot_session_profile(session, inputs.tensors, inputs.count, steps, MAX_STEPS, &count) : NULL;
  if (!error && sites) {
    double total = 0;
    printf("\n%9s  %-14s %-36s %s\n", "ms", "operator", "tactic", "from");
    for (int i = 0; i < MIN(count, MAX_STEPS); i++) {
      printf("%9.4f  %-14s %-36.36s %s\n", steps[i].milliseconds, steps[i].op, steps[i].tactic, steps[i].origins);
      total += steps[i].milliseconds;
    }
    printf("%9.4f  %d steps, each timed alone, on %s\n", total, count, ingot_session_device(session));
  }
  if (!error && memory) {
    ingot_memory bill = ingot_session_memory(session);
    char weights[24], arena[24], unpacked[24];
    printf("\nmemory  weights %s, arena %s (%s without reuse)\n", cli_bytes((double)bill.weights, weights), cli_bytes((double)bill.arena, arena),
           cli_bytes((double)bill.unpacked, unpacked));
  }
  free(steps);
  cli_free_inputs(&inputs);
  return error;
}

static int run(int count, char **arguments) {
  Common common;
  bool before = false, after = false, passes = false, sites = false, memory = false, stop;
  int positional_count;
  const Option options[] = {{"before", OPTION_FLAG, &before}, {"after", OPTION_FLAG, &after},   {"passes", OPTION_FLAG, &passes},
                            {"sites", OPTION_FLAG, &sites},   {"memory", OPTION_FLAG, &memory}, {NULL, OPTION_FLAG, NULL}};
  int code = cli_parse(&command_inspect, count, arguments, &common, options, NULL, 0, &positional_count, &stop);
  if (code || stop) return code;
  if (!before && !after && !passes && !sites && !memory) passes = sites = memory = true;
  ingot_error *error = NULL;
  if (before) {
    ingot_model *model = NULL;
    error = ingot_model_open(common.model, &common.config, &model);
    if (error) return cli_fail(error);
    char *text = ingot_model_text(model);
    puts(text ? text : "");
    free(text);
    ingot_model_free(model);
  }
  if (!after && !passes && !sites && !memory) return 0;
  ingot_engine *engine = NULL;
  ingot_session *session = NULL;
  error = cli_open_engine(common.model, &common.config, &engine);
  if (!error && after) {
    char *text = ingot_engine_text(engine);
    puts(text ? text : "");
    free(text);
  }
  if (!error && (passes || sites || memory)) {
    print_bindings(engine, false);
    print_bindings(engine, true);
  }
  if (!error && passes) print_passes(engine);
  if (!error && (sites || memory)) error = ingot_session_create(engine, &common.config, &session);
  if (!error && (sites || memory)) error = print_sites(&common, engine, session, sites, memory);
  ingot_session_free(session);
  ingot_engine_free(engine);
  return error ? cli_fail(error) : 0;
}
