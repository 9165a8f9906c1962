// What `ingot bench --on-request` answers. The session stays open, its recorded graph and its memory with it, and waits for the next line.
#include "cli/bench_requests.h"
#include "cli/bench_opening.h"

#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "base/checked.h"
#include "base/thread.h"

// The first answer of other shapes, and one more to them after as much else, from inputs as new.
typedef struct First {
  Bench *bench;
  double milliseconds, again;
  Opening before, after;
} First;

// {"ms": 1.5, "samples": 100}, {"absent": "why"} or {"error": "what"}
static void answer(Arena *arena, Status status, const BenchTime *time, const First *first) {
  Text text = text_new(arena);
  Json json = json_new(&text);
  json_object(&json, NULL);
  if (status) json_string(&json, "error", status_message(status));
  else if (time->absent) json_string(&json, "absent", time->absent);
  else {
    if (first) json_double(&json, "first_ms", first->milliseconds);
    json_double(&json, "ms", time->median);
    if (first) json_double(&json, "again_ms", first->again);
    json_int(&json, "samples", time->samples);
    if (first) bench_json_shape(&json, &first->before, &first->after);
    if (first) bench_json_memory(first->bench, &json);
  }
  json_end_object(&json);
  puts(text_get(&text));
  status_free(status);
}

static Status timed_run(Bench *bench, double *milliseconds) {
  double start = time_now();
  Status status = bench_run(bench);
  *milliseconds = (time_now() - start) * 1e3;
  return status;
}

// The same session with other shapes: {"first_ms": 50, "ms": 1.5, "again_ms": 1.7, "samples": 100, "specialise_ms": 2, ..., "arena_bytes": 1000, ...}
static int answer_shapes(Bench *bench, Common *common, const char *shapes, double seconds) {
  InputSet inputs = {0};
  const InputSet *before = bench->inputs;
  common->shapes = shapes;
  int code = cli_make_inputs(bench->engine, common, NULL, 1, &inputs);
  if (code) return code;
  bench->inputs = &inputs;
  BenchTime later = {0};
  First first = {.bench = bench, .before = api_opening(bench->session)};
  Status status = timed_run(bench, &first.milliseconds);
  first.after = api_opening(bench->session);
  if (!status) status = bench_time(bench, "call", seconds, 0, &later);
  cli_free_inputs(&inputs);
  inputs = (InputSet){0};
  code = cli_make_inputs(bench->engine, common, NULL, 1, &inputs);
  if (!status && !code) status = timed_run(bench, &first.again);
  bench_note_memory(bench);
  if (!code) answer(bench->arena, status, &later, &first);
  bench->inputs = before;
  cli_free_inputs(&inputs);
  return code;
}

// What calls cost the host, where a GPU computes.
static Status json_enqueue(Bench *bench, Json *json) {
  static const char *const kinds[] = {"enqueue", "enqueue_fresh"}, *const keys[] = {"enqueue_ms", "enqueue_fresh_ms"};
  static const double SECONDS = 0.1;
  for (size_t i = 0; i < COUNT_OF(kinds); i++) {
    BenchTime time;
    TRY(bench_time(bench, kinds[i], SECONDS, 3, &time));
    if (!time.absent) json_double(json, keys[i], time.median);
  }
  return OK;
}

static int answer_facts(Bench *bench) {
  ingot_profile *steps = NULL;
  ingot_error *error = ingot_session_profile(bench->session, bench->inputs->tensors, bench->inputs->count, &steps);
  if (error) return cli_fail_run(error, bench->inputs);
  Text text = text_new(bench->arena);
  Json json = json_new(&text);
  json_object(&json, NULL);
  json_string(&json, "device", ingot_session_device(bench->session));
  bench_json_opened(bench, &json);
  Status status = json_enqueue(bench, &json);
  if (status) {
    ingot_profile_free(steps);
    return cli_fail_run(api_error(status), bench->inputs);
  }
  bench_json_opening(bench, &json);
  cli_json_steps(&json, steps);
  json_end_object(&json);
  puts(text_get(&text));
  ingot_profile_free(steps);
  return 0;
}

static int answer_outputs(Bench *bench, const char *path) {
  if (strcasecmp(path_extension(path), ".npz")) return cli_fail_text("outputs are written as .npz, not as %s", path);
  Status status = bench_run(bench);
  if (status) return cli_fail_run(api_error(status), bench->inputs);
  Arena *arena = arena_new();
  HostValue *values = arena_array(arena, HostValue, (size_t)bench->output_count + 1);
  int code = 0;
  for (int i = 0; i < bench->output_count && !code; i++)
    code = cli_take_output(bench->session, bench->engine, i, &bench->outputs[i], arena, &values[i]);
  if (!code) code = cli_write_archive(path, values, bench->output_count);
  arena_free(arena);
  if (!code) puts("{}");
  return code;
}

static int answer_timed(Bench *bench, Common *common, int warmup, char *line) {
  char *last = strrchr(line, ' '), *end;
  double seconds = last ? strtod(last, &end) : 0;
  if (!last || *end || !(seconds > 0 && seconds < 1e6))
    return cli_fail_text("a request is KIND SECONDS, facts, outputs FILE or shapes SHAPES SECONDS, not '%s'", line);
  *last = 0;
  if (!strncmp(line, "shapes ", 7)) return answer_shapes(bench, common, line + 7, seconds);
  BenchTime time;
  Status status = bench_time(bench, line, seconds, warmup, &time);
  answer(bench->arena, status, &time, NULL);
  return 0;
}

int bench_answer(Bench *bench, Common *common, int warmup) {
  char line[4096];
  int code = 0;
  while (!code && fgets(line, sizeof line, stdin)) {
    line[strcspn(line, "\n")] = 0;
    code = !strcmp(line, "facts")          ? answer_facts(bench)
           : !strncmp(line, "outputs ", 8) ? answer_outputs(bench, line + 8)
                                           : answer_timed(bench, common, warmup, line);
    fflush(stdout);
  }
  return code;
}
