// ingot bench: how fast a model runs here.
#include <math.h>
#include <stdlib.h>

#include "base/checked.h"
#include "base/thread.h"
#include "cli/cli.h"

static int run(int count, char **arguments);
const Command command_bench = {
    "bench", "measure latency and throughput",
    "[options]\n\n"
    "  ingot bench resnet50.onnx                                  on the GPU, or the CPU where there is none\n"
    "  ingot bench resnet50.onnx --fp16 --shapes input:32x3x224x224  a batch of 32 in half precision\n"
    "  ingot bench model.onnx --device cpu --threads 1 --profile  where the time goes on one core\n\n"
    "Runs the model on random inputs (or those of --input or --data) and reports latency: median, p90 and p99 of the whole "
    "call as a\n"
    "caller sees it (inputs from host memory, outputs back), and of the inference itself, enqueued back to back.\n\n"
    "  --seconds S      how long to measure; default: 2\n"
    "  --data DIR       inputs from a folder with input_K.pb\n"
    "  --warmup N       runs before the clock starts; default: 10\n"
    "  --profile        the time of each step, slowest first\n",
    run};

typedef struct Result {
  double host_ms, p90_ms, p99_ms, device_ms, first_ms, build_ms;
  int runs;
} Result;

static ingot_error *measure(ingot_session *session, const InputSet *inputs, ingot_tensor *outputs, int output_count,
                            double seconds, int warmup, Result *result) {
  double start = time_now();
  ingot_error *error = ingot_session_run(session, inputs->tensors, inputs->count, outputs, output_count);
  if (!error) error = ingot_session_synchronize(session);
  result->first_ms = (time_now() - start) * 1e3;
  for (int i = 0; i < warmup && !error; i++)
    error = ingot_session_run(session, inputs->tensors, inputs->count, outputs, output_count);
  enum { MAX_RUNS = 100000 };
  double *times = malloc(MAX_RUNS * sizeof *times);
  int runs = 0;
  start = time_now();
  while (!error && times && runs < MAX_RUNS && (runs < 5 || time_now() - start < seconds)) {
    double begin = time_now();
    error = ingot_session_run(session, inputs->tensors, inputs->count, outputs, output_count);
    times[runs++] = (time_now() - begin) * 1e3;
  }
  result->runs = runs;
  result->host_ms = times ? cli_median(times, runs) : 0;
  result->p90_ms = times ? cli_percentile(times, runs, 0.9) : 0;
  result->p99_ms = times ? cli_percentile(times, runs, 0.99) : 0;
  free(times);
  if (!error) error = ingot_session_time(session, inputs->tensors, inputs->count, seconds, &result->device_ms);
  return error;
}

typedef struct Timed {
  double milliseconds;
  int step;
} Timed;

static int slowest_first(const void *a, const void *b) {
  const Timed *x = a, *y = b;
  if (x->milliseconds != y->milliseconds) return x->milliseconds < y->milliseconds ? 1 : -1;
  return x->step < y->step ? -1 : 1;
}

static void print_profile(const ingot_profile *profile) {
  int count = ingot_profile_step_count(profile);
  double total = 0;
  Arena *arena = arena_new();
  Timed *order = arena_array(arena, Timed, count);
  for (int i = 0; i < count; i++) order[i] = (Timed){ingot_profile_milliseconds(profile, i), i};
  for (int i = 0; i < count; i++) total += order[i].milliseconds;
  qsort(order, (size_t)count, sizeof *order, slowest_first);
  printf("\n%9s %6s  %-12s %-34s %s\n", "ms", "share", "operator", "tactic", "from");
  for (int i = 0; i < count; i++)
    printf("%9.4f %5.1f%%  %-12s %-34.34s %.60s\n", order[i].milliseconds, order[i].milliseconds / total * 100,
           ingot_profile_op(profile, order[i].step), ingot_profile_tactic(profile, order[i].step),
           ingot_profile_origins(profile, order[i].step));
  printf("%9.4f 100.0%%  %d steps, each timed alone\n", total, count);
  arena_free(arena);
}

static int check_numbers(double seconds, int warmup) {
  if (!(seconds >= 0 && seconds <= 1e6)) return cli_fail_text("--seconds %g: how long to measure?", seconds), 2;
  if (warmup < 0) return cli_fail_text("--warmup %d: how many runs?", warmup), 2;
  return 0;
}

static int bench(const Common *common, const char *folder, double seconds, int warmup, bool profile) {
  ingot_engine *engine = NULL;
  ingot_session *session = NULL;
  Result result = {0};
  double start = time_now();
  ingot_error *error = cli_open_engine(common->model, &common->config, &engine);
  if (!error) error = ingot_session_create(engine, &common->config, &session);
  result.build_ms = (time_now() - start) * 1e3;
  if (error) return cli_fail(error);
  InputSet inputs = {0};
  int code = cli_make_inputs(engine, common, folder, 1, &inputs);
  int output_count = ingot_engine_output_count(engine);
  ingot_tensor *outputs = calloc((size_t)output_count + 1, sizeof *outputs);
  ingot_profile *steps = NULL;
  if (!code) error = measure(session, &inputs, outputs, output_count, seconds, warmup, &result);
  if (!code && !error && profile) error = ingot_session_profile(session, inputs.tensors, inputs.count, &steps);
  if (error) code = cli_fail_run(error, &inputs);
  if (!code) {
    if (common->json) {
      Arena *arena = arena_new();
      Text text = text_new(arena);
      Json json = json_new(&text);
      json_object(&json, NULL);
      json_string(&json, "model", common->model);
      json_string(&json, "device", ingot_session_device(session));
      json_int(&json, "runs", result.runs);
      json_double(&json, "host_ms", result.host_ms);
      json_double(&json, "host_p90_ms", result.p90_ms);
      json_double(&json, "host_p99_ms", result.p99_ms);
      json_double(&json, "device_ms", result.device_ms);
      json_double(&json, "first_run_ms", result.first_ms);
      json_double(&json, "open_ms", result.build_ms);
      json_int(&json, "weights_bytes", (int64_t)ingot_session_memory(session, INGOT_MEMORY_WEIGHTS));
      json_int(&json, "arena_bytes", (int64_t)ingot_session_memory(session, INGOT_MEMORY_ARENA));
      if (profile) cli_json_steps(&json, steps);
      json_end_object(&json);
      puts(text_get(&text));
      arena_free(arena);
    } else {
      printf("device      %s\n", ingot_session_device(session));
      printf("inference   %.4f ms   (%.1f per second, enqueued back to back)\n", result.device_ms, 1e3 / result.device_ms);
      printf("call        %.4f ms   p90 %.4f   p99 %.4f   (host to host, %d runs)\n", result.host_ms, result.p90_ms,
             result.p99_ms, result.runs);
      printf("opening     %.1f ms, first run %.1f ms\n", result.build_ms, result.first_ms);
      cli_print_memory(session, 12);
      if (profile) print_profile(steps);
    }
  }
  ingot_profile_free(steps);
  free(outputs);
  cli_free_inputs(&inputs);
  ingot_session_free(session);
  ingot_engine_free(engine);
  return code;
}

static int run(int count, char **arguments) {
  Common common;
  double seconds = 2;
  int warmup = 10, positional_count;
  bool profile = false, stop;
  const char *folder = NULL;
  const Option options[] = {{"seconds", OPTION_DOUBLE, &seconds},
                            {"warmup", OPTION_INT, &warmup},
                            {"profile", OPTION_FLAG, &profile},
                            {"data", OPTION_STRING, &folder},
                            {NULL, OPTION_FLAG, NULL}};
  int code = cli_parse(&command_bench, count, arguments, &common, options, NULL, 0, &positional_count, &stop);
  if (!code && !stop) code = check_numbers(seconds, warmup);
  return code || stop ? code : bench(&common, folder, seconds, warmup, profile);
}
