// Runs the pipeline. See passes.h.
#include <stdio.h>
#include <string.h>

#include "base/budget.h"
#include "base/checked.h"
#include "base/thread.h"
#include "ir/verify.h"
#include "kernels/control/region.h"
#include "passes/plugin.h"
#include "passes/selection.h"
#include "passes/workshop.h"

// What comes of a graph shall not depend on the order in which a model lists nodes that have nothing to do with each other.
static void tidy_everywhere(Graph *graph) {
  FOR_NODES(node, graph)
  for (int i = 0; i < node->attribute_count; i++)
    if (node->attributes[i].kind == ATTR_GRAPH) tidy_everywhere(node->attributes[i].graph);
  graph_remove_unused(graph);
  graph_sort(graph);
}

// Rules leave nodes that hold graphs, or tell sizes, and are used no more: when those go, what they read may match.
static Status run_on(const Pass *pass, Graph *graph, const PassOptions *options, int *changes) {
  int before;
  do {
    TRY(pass->rules ? workshop_run(pass, graph, options, changes) : pass->run(graph, options, changes));
    before = graph->node_count;
    graph_remove_unused(graph);
  } while (pass->rules && graph->node_count < before);
  return OK;
}

// A pass sees one graph at a time; bodies and branches are visited first.
static Status run_everywhere(const Pass *pass, Graph *graph, const PassOptions *options, int *changes) {
  FOR_NODES(node, graph) {
    PassOptions inside = *options;
    inside.in_region |= node->op == &op_region;
    for (int i = 0; i < node->attribute_count; i++)
      if (node->attributes[i].kind == ATTR_GRAPH) TRY(run_everywhere(pass, node->attributes[i].graph, &inside, changes));
  }
  return run_on(pass, graph, options, changes);
}

static Status run_pass(const Pass *pass, Graph *graph, const PassOptions *options, PassReport *report) {
  double start = time_now();
  int changes = 0, nodes_before = graph->node_count;
  TRY(status_context(run_everywhere(pass, graph, options, &changes), "pass %s", pass->name));
  bool verify = options->verify;
#ifdef INGOT_DEBUG
  verify = true;
#endif
  if (verify && changes) TRY(status_context(graph_verify(graph), "after pass %s", pass->name));
  if (changes && options->observe) options->observe(options->observe_context, pass->name, graph);
  *report = (PassReport){pass->name, changes, time_now() - start, nodes_before, graph->node_count};
  log_add(options->log, LOG_VERBOSE, "pass %-20s %4d changes, %d nodes, %.2f ms", pass->name, changes, graph->node_count,
          report->seconds * 1e3);
  return OK;
}

const Pass *pass_at(int index) {
  for (int i = 0; pass_pipeline[i]; i++) {
    bool met = false;
    for (int k = 0; k < i; k++) met |= pass_pipeline[k] == pass_pipeline[i];
    if (!met && index-- == 0) return pass_pipeline[i];
  }
  const PassPlugin *plugin = plugin_at(index);
  return plugin ? plugin->pass : NULL;
}

const Pass *pass_named(const char *name, size_t length) {
  const Pass *pass;
  for (int i = 0; (pass = pass_at(i)); i++)
    if (strlen(pass->name) == length && !memcmp(pass->name, name, length)) return pass;
  return NULL;
}

typedef struct Pipeline {
  Graph *graph;
  const PassOptions *options;
  PassReport *reports;  // NULL: nobody wants them
  int limit, done;
  int started;       // passes whose first run has come
  const Pass *last;  // nothing runs behind it; NULL: all does
  bool stopped;
} Pipeline;

static Status run_next(Pipeline *p, const Pass *pass) {
  bool left_out = p->stopped || pass_left_out(p->options, pass);
  p->stopped |= pass == p->last;
  if (left_out && !pass->needed) return OK;
  PassReport report;
  TRY(budget_poll());
  TRY(run_pass(pass, p->graph, p->options, &report));
  if (left_out && !report.changes) return OK;
  if (p->reports && p->done < p->limit) p->reports[p->done] = report;
  p->done++;
  return OK;
}

static Status run_plugins_before(Pipeline *p, const Pass *pass) {
  const PassPlugin *plugin;
  if (pass != pass_at(p->started)) return OK;
  p->started++;
  for (int i = 0; (plugin = plugin_at(i)); i++)
    if (!strcmp(plugin->before, pass->name)) TRY(run_next(p, plugin->pass));
  return OK;
}

Status passes_run(Graph *graph, const PassOptions *options, PassReport *reports, int limit, int *count) {
  Pipeline pipeline = {.graph = graph, .options = options, .reports = reports, .limit = limit};
  int total = 0;
  TRY(passes_last(options->stop_after, &pipeline.last));
  tidy_everywhere(graph);
  while (pass_pipeline[total]) total++;
  for (int i = 0; pass_pipeline[i]; i++) {
    const Pass *pass = pass_pipeline[i];
    budget_stage("passes", (double)i / total, -1);
    TRY(run_plugins_before(&pipeline, pass));
    TRY(run_next(&pipeline, pass));
  }
  if (count) *count = MIN(pipeline.done, limit);
  return OK;
}

Status passes_run_named(Graph *graph, const char *names, const PassOptions *options) {
  for (const char *at = names; *at;) {
    size_t span = strcspn(at, ",");
    const Pass *pass = pass_named(at, span);
    if (!pass) FAIL(ERROR_NOT_FOUND, "there is no pass '%.*s'", (int)span, at);
    PassReport report;
    TRY(run_pass(pass, graph, options, &report));
    at += span + (at[span] == ',');
  }
  return OK;
}
