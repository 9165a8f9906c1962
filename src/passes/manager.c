// Runs the pipeline. See passes.h.
#include <stdio.h>
#include <string.h>

#include "base/budget.h"
#include "base/checked.h"
#include "base/thread.h"
#include "ir/verify.h"
#include "passes/passes.h"

static bool name_in_list(const char *name, const char *list) {
  size_t length = strlen(name);
  for (const char *at = list; at && *at;) {
    size_t span = strcspn(at, ",");
    if (span == length && !memcmp(at, name, length)) return true;
    at += span + (at[span] == ',');
  }
  return false;
}

bool passes_leave_out(const char *disabled, const char *name) {
  return disabled && (name_in_list("all", disabled) || name_in_list(name, disabled));
}

static bool is_disabled(const Pass *pass, const PassOptions *options) {
  return pass->optional && passes_leave_out(options->disabled, pass->name);
}

// A pass sees one graph at a time; bodies and branches are visited first.
static Status run_everywhere(const Pass *pass, Graph *graph, const PassOptions *options, int *changes) {
  FOR_NODES(node, graph)
  for (int i = 0; i < node->attribute_count; i++)
    if (node->attributes[i].kind == ATTR_GRAPH) TRY(run_everywhere(pass, node->attributes[i].graph, options, changes));
  return pass->run(graph, options, changes);
}

static Status run_pass(const Pass *pass, Graph *graph, const PassOptions *options, PassReport *report) {
  double start = time_now();
  int changes = 0;
  TRY(status_context(run_everywhere(pass, graph, options, &changes), "pass %s", pass->name));
  bool verify = options->verify;
#ifdef INGOT_DEBUG
  verify = true;
#endif
  if (verify && changes) TRY(status_context(graph_verify(graph), "after pass %s", pass->name));
  if (changes && options->observe) options->observe(options->observe_context, pass->name, graph);
  *report = (PassReport){pass->name, changes, time_now() - start, graph->node_count};
  log_add(options->log, LOG_VERBOSE, "pass %-20s %4d changes, %d nodes, %.2f ms", pass->name, changes, graph->node_count,
          report->seconds * 1e3);
  return OK;
}

Status passes_run(Graph *graph, const PassOptions *options, PassReport *reports, int limit, int *count) {
  int done = 0, total = 0;
  while (pass_pipeline[total]) total++;
  for (int i = 0; pass_pipeline[i]; i++) {
    const Pass *pass = pass_pipeline[i];
    if (is_disabled(pass, options)) continue;
    PassReport report;
    budget_stage("passes", (double)i / total, -1);
    TRY(budget_poll());
    TRY(run_pass(pass, graph, options, &report));
    if (reports && done < limit) reports[done] = report;
    done++;
  }
  if (count) *count = MIN(done, limit);
  return OK;
}

static const Pass *find_pass(const char *name, size_t length) {
  for (int i = 0; pass_pipeline[i]; i++)
    if (strlen(pass_pipeline[i]->name) == length && !memcmp(pass_pipeline[i]->name, name, length)) return pass_pipeline[i];
  return NULL;
}

// "fold_scale, fuse_epilogue": each optional pass once.
static void list_optional(char *out, size_t size) {
  size_t used = 0;
  out[0] = 0;
  for (int i = 0; pass_pipeline[i]; i++) {
    const Pass *pass = pass_pipeline[i];
    if (find_pass(pass->name, strlen(pass->name)) != pass || strstr(out, pass->name) || !pass->optional) continue;
    if (used + strlen(pass->name) + 3 < size) used += (size_t)sprintf(out + used, "%s%s", used ? ", " : "", pass->name);
  }
}

Status passes_check_list(const char *disabled) {
  char known[512];
  for (const char *at = disabled; at && *at;) {
    size_t span = strcspn(at, ",");
    const Pass *pass = find_pass(at, span);
    bool all = span == 3 && !memcmp(at, "all", 3);
    if (!all && !(pass && pass->optional)) {
      list_optional(known, sizeof known);
      FAIL(ERROR_INVALID_ARGUMENT,
           pass ? "pass '%.*s' cannot be left out; those that can: %s"
                : "there is no pass '%.*s'; those that can be left out: %s",
           (int)span, at, known);
    }
    at += span + (at[span] == ',');
  }
  return OK;
}

Status passes_run_named(Graph *graph, const char *names, const PassOptions *options) {
  for (const char *at = names; *at;) {
    size_t span = strcspn(at, ",");
    const Pass *pass = find_pass(at, span);
    if (!pass) FAIL(ERROR_NOT_FOUND, "there is no pass '%.*s'", (int)span, at);
    PassReport report;
    TRY(run_pass(pass, graph, options, &report));
    at += span + (at[span] == ',');
  }
  return OK;
}
