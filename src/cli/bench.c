// ingot bench: how fast a model runs here.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "base/checked.h"
#include "base/thread.h"
#include "cli/bench_opening.h"
#include "cli/bench_requests.h"
#include "cli/bench_sessions.h"

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
    "  --profile        the time of each step, slowest first\n"
    "  --kinds          also with flushed caches, with tensors on the GPU, and with inputs at fresh addresses;\n"
    "                   what a call costs the host alone, at the same and at fresh addresses\n"
    "  --on-request     measures when it is told: one line of JSON for each line of the standard input, which is\n"
    "                     KIND SECONDS             of " BENCH_KINDS
    "\n"
    "                     facts                    opening and where it went, first run, memory, the host's part of a call, "
    "and the time of\n"
    "                                              each step\n"
    "                     outputs FILE.npz         keeps the results of one run\n"
    "                     shapes IN:1x3x8x8,.. S   random inputs of these: the first answer, and the median of later ones\n"
    "  --sessions N     N sessions of the engine, each calling in a thread of its own: calls a second, p50 and p99\n",
    run};

typedef struct Settings {
  double seconds;
  int warmup, sessions;
  bool profile, kinds, on_request;
  const char *folder;
} Settings;

typedef struct Result {
  BenchTime call, device, flushed, call_device, fresh, enqueue, enqueue_fresh;
  ingot_profile *steps;
} Result;

typedef struct Timed {
  double milliseconds;
  int step;
} Timed;

static int slowest_first(const void *a, const void *b) {
  const Timed *x = a, *y = b;
  if (x->milliseconds != y->milliseconds) return x->milliseconds < y->milliseconds ? 1 : -1;
  return x->step < y->step ? -1 : 1;
}

static void print_profile(const ingot_session *session, const ingot_profile *profile) {
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
  printf("%9.4f 100.0%%  %d steps, each timed alone%s\n", total, count, cli_profile_rest(session));
  arena_free(arena);
}

static int check_numbers(const Settings *settings) {
  double seconds = settings->seconds;
  if (!(seconds >= 0 && seconds <= 1e6)) return cli_fail_text("--seconds %g: how long to measure?", seconds), 2;
  if (settings->warmup < 0) return cli_fail_text("--warmup %d: how many runs?", settings->warmup), 2;
  if (settings->sessions < 0 || settings->sessions > 1024)
    return cli_fail_text("--sessions %d: from 1 to 1024", settings->sessions), 2;
  if (settings->sessions && (settings->profile || settings->kinds || settings->on_request))
    return cli_fail_text("--sessions measures calls only: it goes without --profile, --kinds and --on-request"), 2;
  return 0;
}

static void print_kind(const char *name, const BenchTime *time) {
  if (time->absent) printf("%-11s -            (%s)\n", name, time->absent);
  else printf("%-11s %.4f ms\n", name, time->median);
}

static void print_text(const Bench *bench, const Settings *settings, const Result *r) {
  printf("device      %s\n", ingot_session_device(bench->session));
  printf("inference   %.4f ms   (%.1f per second, enqueued back to back)\n", r->device.median, 1e3 / r->device.median);
  printf("call        %.4f ms   p90 %.4f   p99 %.4f   (host to host, %d runs)\n", r->call.median, r->call.p90, r->call.p99,
         r->call.samples);
  if (settings->kinds) {
    print_kind("flushed", &r->flushed);
    print_kind("call_device", &r->call_device);
    print_kind("fresh", &r->fresh);
    print_kind("enqueue", &r->enqueue);
    print_kind("  fresh", &r->enqueue_fresh);
  }
  printf("opening     %.1f ms, first run %.1f ms\n", bench->open_ms, bench->first_ms);
  bench_print_opening(bench);
  cli_print_memory(bench->session, 12);
  if (r->steps) print_profile(bench->session, r->steps);
}

static void json_kind(Json *json, const char *name, const BenchTime *time) {
  if (!time->absent) json_double(json, name, time->median);
}

static void print_json(const Bench *bench, const char *model, const Settings *settings, const Result *r) {
  Text text = text_new(bench->arena);
  Json json = json_new(&text);
  json_object(&json, NULL);
  json_string(&json, "model", model);
  json_string(&json, "device", ingot_session_device(bench->session));
  json_int(&json, "runs", r->call.samples);
  json_double(&json, "host_ms", r->call.median);
  json_double(&json, "host_p90_ms", r->call.p90);
  json_double(&json, "host_p99_ms", r->call.p99);
  json_double(&json, "device_ms", r->device.median);
  if (settings->kinds) {
    json_kind(&json, "flushed_ms", &r->flushed);
    json_kind(&json, "call_device_ms", &r->call_device);
    json_kind(&json, "fresh_ms", &r->fresh);
    json_kind(&json, "enqueue_ms", &r->enqueue);
    json_kind(&json, "enqueue_fresh_ms", &r->enqueue_fresh);
  }
  bench_json_opened(bench, &json);
  bench_json_opening(bench, &json);
  if (r->steps) cli_json_steps(&json, r->steps);
  json_end_object(&json);
  puts(text_get(&text));
}

static Status measure(Bench *bench, const Settings *settings, Result *r) {
  TRY(bench_time(bench, "call", settings->seconds, settings->warmup, &r->call));
  TRY(bench_time(bench, "device", settings->seconds, settings->warmup, &r->device));
  if (!settings->kinds) return OK;
  TRY(bench_time(bench, "flushed", settings->seconds, settings->warmup, &r->flushed));
  TRY(bench_time(bench, "call_device", settings->seconds, settings->warmup, &r->call_device));
  TRY(bench_time(bench, "fresh", settings->seconds, settings->warmup, &r->fresh));
  TRY(bench_time(bench, "enqueue", settings->seconds, settings->warmup, &r->enqueue));
  return bench_time(bench, "enqueue_fresh", settings->seconds, settings->warmup, &r->enqueue_fresh);
}

static int bench_inputs(Bench *bench, Common *common, const Settings *settings, Result *result) {
  double start = time_now();
  ingot_error *error =
      ingot_session_run(bench->session, bench->inputs->tensors, bench->inputs->count, bench->outputs, bench->output_count);
  if (!error) error = ingot_session_synchronize(bench->session);
  bench->first_ms = (time_now() - start) * 1e3;
  if (error) return cli_fail_run(error, bench->inputs);
  bench_note_memory(bench);
  if (settings->on_request) return bench_answer(bench, common, settings->warmup);
  Status status = measure(bench, settings, result);
  if (status) return cli_fail_run(api_error(status), bench->inputs);
  if (settings->profile)
    error = ingot_session_profile(bench->session, bench->inputs->tensors, bench->inputs->count, &result->steps);
  if (error) return cli_fail_run(error, bench->inputs);
  if (common->json) print_json(bench, common->model, settings, result);
  else print_text(bench, settings, result);
  return 0;
}

static int bench_engine(Bench *bench, Common *common, const Settings *settings, double start, Result *result) {
  ingot_engine *engine = NULL;
  ingot_error *error = cli_open_engine(common->model, &common->config, &engine);
  if (!error) error = ingot_session_create(engine, &common->config, &bench->session);
  bench->open_ms = (time_now() - start) * 1e3;
  InputSet inputs = {0};
  bench->inputs = &inputs;
  bench->engine = engine;
  int code = error ? cli_fail(error) : cli_make_inputs(engine, common, settings->folder, 1, &inputs);
  if (!code) {
    bench->output_count = ingot_engine_output_count(engine);
    bench->outputs = arena_array(bench->arena, ingot_tensor, (size_t)bench->output_count + 1);
    code = bench_inputs(bench, common, settings, result);
  }
  ingot_profile_free(result->steps);
  ingot_session_free(bench->session);
  ingot_engine_free(engine);
  bench_close(bench);
  cli_free_inputs(&inputs);
  return code;
}

static int bench_many(Common *common, const Settings *settings) {
  ingot_engine *engine = NULL;
  ingot_error *error = cli_open_engine(common->model, &common->config, &engine);
  if (error) return cli_fail(error);
  InputSet inputs = {0};
  SessionTimes times;
  int code = cli_make_inputs(engine, common, settings->folder, 1, &inputs);
  if (!code) {
    error = bench_sessions(engine, &common->config, &inputs, settings->sessions, settings->seconds, &times);
    if (error) code = cli_fail_run(error, &inputs);
    else if (common->json)
      printf("{\"sessions\": %d, \"calls\": %d, \"per_second\": %.3f, \"p50_ms\": %.5f, \"p99_ms\": %.5f}\n",
             settings->sessions, times.calls, times.per_second, times.p50, times.p99);
    else
      printf("%d sessions  %.1f calls a second   p50 %.4f ms   p99 %.4f ms   (host to host, %d calls)\n", settings->sessions,
             times.per_second, times.p50, times.p99, times.calls);
  }
  cli_free_inputs(&inputs);
  ingot_engine_free(engine);
  return code;
}

static int bench(Common *common, const Settings *settings) {
  Bench bench = {.arena = arena_new()};
  Result result = {0};
  double start = time_now();  // a session of its own would open the GPU too
  Status status = bench_open_gpu(&common->config, &bench.gpu);
  size_t total;
  bench.context_ms = (time_now() - start) * 1e3;
  if (!status && bench.gpu) bench.gpu->driver->cuMemGetInfo(&bench.free_bytes, &total);
  if (!status) return bench_engine(&bench, common, settings, start, &result);
  arena_free(bench.arena);
  return cli_fail(api_error(status));
}

static int run(int count, char **arguments) {
  Common common;
  Settings settings = {.seconds = 2, .warmup = 10};
  int positional_count;
  bool stop;
  const Option options[] = {{"seconds", OPTION_DOUBLE, &settings.seconds},     {"warmup", OPTION_INT, &settings.warmup},
                            {"profile", OPTION_FLAG, &settings.profile},       {"kinds", OPTION_FLAG, &settings.kinds},
                            {"on-request", OPTION_FLAG, &settings.on_request}, {"sessions", OPTION_INT, &settings.sessions},
                            {"data", OPTION_STRING, &settings.folder},         {NULL, OPTION_FLAG, NULL}};
  int code = cli_parse(&command_bench, count, arguments, &common, options, NULL, 0, &positional_count, &stop);
  if (!code && !stop) code = check_numbers(&settings);
  if (code || stop) return code;
  return settings.sessions ? bench_many(&common, &settings) : bench(&common, &settings);
}
