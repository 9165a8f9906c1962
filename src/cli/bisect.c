// See bisect.h.
#include "cli/bisect.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/checked.h"
#include "cli/judge.h"
#include "passes/rule_log.h"

typedef struct Bisection {
  Common *common;
  const ingot_model *model;
  const BuildHooks *hooks;
  const char *folder;
  const Tolerance *tolerance;
  Arena *arena;
  InputSet inputs;
  bool made;
  const HostValue *judged;
  RuleLog *log;  // of the last build
  int tries;
  bool nonfinite;     // what is wrong with the last result is NaN, or infinite
  bool sessions_too;  // rules apply to shapes that a session meets, too
} Bisection;

static int prepare(Bisection *b, const ingot_engine *engine) {
  if (b->made) return 0;
  int code = cli_make_inputs(engine, b->common, b->folder, 1, &b->inputs);
  if (code) return code;
  b->made = true;
  if (b->folder) return 0;
  HostValue *outputs;
  Status status = judge_run(&b->common->config, b->model->graph, &b->inputs, &outputs);
  b->judged = outputs;
  return status ? cli_fail_run(api_error(status), &b->inputs) : 0;
}

// Whether the result is wrong after so many applications. Returns an exit code.
static int try_with(Bisection *b, int applications, bool *wrong) {
  ingot_engine *engine = NULL;
  BuildHooks hooks = *b->hooks;
  hooks.allowed = &applications;
  hooks.rules = b->log = rule_log_new(b->arena, true);
  Status status = api_build(b->model, &b->common->config, &hooks, &engine);
  if (status) return cli_fail(api_error(status));
  if (!b->sessions_too) engine->engine->built.disabled = "all";
  Report report = {.silent = true};
  int code = prepare(b, engine);
  if (!code) code = verify_outputs(b->common, engine, &b->inputs, b->judged, b->folder, b->tolerance, &report);
  *wrong = report.differing > 0;
  b->nonfinite = report.nonfinite;
  if (!code && !*wrong && !report.elements && !b->folder)
    code = cli_fail_text("the results have no elements at these sizes, so none is wrong: --shapes gives others");
  b->tries++;
  ingot_engine_free(engine);
  return code;
}

static int count_applications(const RuleLog *log) {
  int count = 0;
  for (uint32_t i = 0; i < log->count; i++) count += !log->events[i].refusal;
  return count;
}

// Numbers begin at 1. Behind the last that was allowed come those of passes that are needed.
static const RuleEvent *application(const RuleLog *log, int number) {
  const RuleEvent *event = log->events;
  for (;; event++)
    if (!event->refusal && --number == 0) return event;
}

static void print_culprit(const Bisection *b, int number, int all) {
  const RuleEvent *event = application(b->log, number);
  printf("application %d of %d makes the result wrong (found in %d builds):\n  %s, %s at %s\n    - %s\n    + %s\n", number, all,
         b->tries, event->pass, event->rule->name, event->place, event->before, event->after);
  printf("leave it out with --disable %s@%s\n", event->rule->name, event->place);
}

// good: applications that leave the result right; bad: that make it wrong.
static int halve(Bisection *b, int good, int bad, int all) {
  bool wrong = false;
  int code = 0;
  while (!code && bad - good > 1) {
    int middle = good + (bad - good) / 2;
    code = try_with(b, middle, &wrong);
    if (wrong) bad = middle;
    else good = middle;
  }
  if (!code) code = try_with(b, bad, &wrong);
  if (!code) print_culprit(b, bad, all);
  return code ? code : 1;
}

static int search(Bisection *b) {
  bool wrong;
  b->sessions_too = !b->hooks->only && !b->hooks->stop_after;  // which are about the build
  int code = try_with(b, INT_MAX, &wrong);
  if (code) return code;
  int all = count_applications(b->log);
  if (!wrong) {
    printf("the result is right with all %d applications\n", all);
    return 0;
  }
  b->sessions_too = false;
  code = try_with(b, INT_MAX, &wrong);
  if (code) return code;
  if (!wrong) {
    printf(
        "the result is right with all %d applications, but not with those that a session adds for the sizes it meets: bisect "
        "the model with its sizes fixed\n",
        all);
    return 1;
  }
  code = try_with(b, 0, &wrong);
  if (code) return code;
  if (!wrong) return halve(b, 0, all, all);
  printf("the result is wrong with no rule applied too: it is not the rules%s\n",
         b->nonfinite
             ? "; it holds NaN or infinities, which agree with nothing: other inputs (--input, --data) may give numbers"
             : "");
  return 1;
}

int bisect_rules(Common *common, const ingot_model *model, const BuildHooks *hooks, const char *folder,
                 const Tolerance *tolerance, Arena *arena) {
  Bisection b = {.common = common, .model = model, .hooks = hooks, .folder = folder, .tolerance = tolerance, .arena = arena};
  int code = search(&b);
  cli_free_inputs(&b.inputs);
  return code;
}
