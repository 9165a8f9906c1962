// See facts.h.
#include "cli/report/facts.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "base/checked.h"
#include "base/thread.h"
#include "ir/op.h"
#include "ir/origins.h"
#include "lower/plan.h"

const char *const family_names[FAMILIES] = {"products", "regions", "row by row", "elementwise", "windows", "moving", "other"};

static Family family_of(const char *op) {
  static const struct {
    const char *op;
    Family family;
  } rows[] = {{"matmul", FAMILY_PRODUCT},
              {"conv", FAMILY_PRODUCT},
              {"conv_transpose", FAMILY_PRODUCT},
              {"recurrent", FAMILY_PRODUCT},
              {"deform_conv", FAMILY_PRODUCT},
              {"region", FAMILY_REGION},
              {"rowwise", FAMILY_ROWWISE},
              {"elementwise", FAMILY_ELEMENTWISE},
              {"pool", FAMILY_WINDOW},
              {"resize", FAMILY_WINDOW},
              {"grid_sample", FAMILY_WINDOW},
              {"roi_align", FAMILY_WINDOW},
              {"concat", FAMILY_MOVE},
              {"gather", FAMILY_MOVE},
              {"gather_elements", FAMILY_MOVE},
              {"gather_nd", FAMILY_MOVE},
              {"pad", FAMILY_MOVE},
              {"transpose", FAMILY_MOVE},
              {"reshape", FAMILY_MOVE},
              {"slice", FAMILY_MOVE},
              {"expand", FAMILY_MOVE},
              {"bitcast", FAMILY_MOVE}};
  for (size_t i = 0; i < COUNT_OF(rows); i++)
    if (!strcmp(rows[i].op, op)) return rows[i].family;
  return FAMILY_OTHER;
}

double report_floor(const ReportStep *step) { return fmax(step->moving, step->products); }

// ---- times -------------------------------------------------------------------------------------------------------------------

enum { MOST_PROFILES = 9 };
#define PROFILE_SECONDS 2.0  // after which no further run is begun
#define TIME_SECONDS 1.0

static void keep_profile(Report *r, const ingot_profile *profile, double *times) {
  int count = ingot_profile_step_count(profile);
  if (!r->profiled) {
    r->step_count = count;
    r->steps = arena_array(r->arena, ReportStep, (size_t)count + 1);
  }
  for (int i = 0; i < count; i++) times[i * MOST_PROFILES + r->profiled] = ingot_profile_milliseconds(profile, i);
  for (int i = 0; i < count && !r->profiled; i++)
    r->steps[i] = (ReportStep){.name = arena_string(r->arena, ingot_profile_name(profile, i)),
                               .op = arena_string(r->arena, ingot_profile_op(profile, i)),
                               .tactic = arena_string(r->arena, ingot_profile_tactic(profile, i)),
                               .origins = arena_string(r->arena, ingot_profile_origins(profile, i)),
                               .family = family_of(ingot_profile_op(profile, i)),
                               .predicted = ingot_profile_predicted(profile, i)};
  r->profiled++;
}

static ingot_error *profile_runs(ingot_session *session, const InputSet *inputs, Report *r) {
  double *times = NULL, start = time_now();
  while (r->profiled < MOST_PROFILES && (!r->profiled || time_now() - start < PROFILE_SECONDS)) {
    ingot_profile *profile;
    ingot_error *error = ingot_session_profile(session, inputs->tensors, inputs->count, &profile);
    if (error) return error;
    if (!times) times = arena_array(r->arena, double, (size_t)ingot_profile_step_count(profile) * MOST_PROFILES + 1);
    keep_profile(r, profile, times);
    ingot_profile_free(profile);
  }
  for (int i = 0; i < r->step_count; i++) r->steps[i].ms = cli_median(&times[i * MOST_PROFILES], r->profiled);
  return ingot_session_time(session, inputs->tensors, inputs->count, TIME_SECONDS, &r->ms);
}

// ---- the plan ----------------------------------------------------------------------------------------------------------------

static void take_steps(Report *r, const Plan *plan) {
  for (int i = 0; i < r->step_count && i < (int)plan->step_count; i++) {
    const PlanStep *from = &plan->steps[i];
    ReportStep *step = &r->steps[i];
    SiteWork work = work_of(&from->site);
    CostFloor floor = cost_floor(&from->site);
    step->site = site_key(&from->site, r->arena);
    step->moving = floor.moving / 1e3, step->products = floor.products / 1e3;
    step->flops = 2 * work.products + work.arithmetic, step->bytes = work.bytes;
    step->launches = (int)from->selection.emission->launch_count;
    step->from_count = from->node->origin_count;
    step->from = arena_copy(r->arena, from->node->origins, (size_t)step->from_count * sizeof(Origin));
    r->kernels += step->launches;
  }
}

static double end_of(const ReportStep *step) { return step->start + step->ms; }

static void take_times(Report *r, const Plan *plan) {
  double free[PLAN_STREAMS] = {0};
  for (int i = 0; i < r->step_count && i < (int)plan->step_count; i++) {
    const PlanStep *from = &plan->steps[i];
    ReportStep *step = &r->steps[i];
    step->stream = from->stream;
    step->start = free[from->stream];
    for (int w = 0; w < from->wait_count; w++) step->start = fmax(step->start, end_of(&r->steps[from->waits[w]]));
    free[from->stream] = end_of(step);
    r->streams = MAX(r->streams, from->stream + 1);
    r->end = fmax(r->end, end_of(step));
  }
}

static void take_buffers(Report *r, const Plan *plan) {
  r->buffers = arena_array(r->arena, ReportBuffer, plan->buffer_count + 1);
  for (uint32_t i = 0; i < plan->buffer_count; i++) {
    const PlanBuffer *b = &plan->buffers[i];
    if (b->kind != PLAN_ARENA || b->first_step < 0 || !b->bytes) continue;
    Family family = b->first_step < r->step_count ? r->steps[b->first_step].family : FAMILY_OTHER;
    r->buffers[r->buffer_count++] = (ReportBuffer){
        arena_string(r->arena, b->name ? b->name : "workspace"), b->offset, b->bytes, b->first_step, b->last_step, family};
  }
}

// ---- graphs ------------------------------------------------------------------------------------------------------------------

typedef struct GraphMaker {
  Report *report;
  ReportGraph *graph;
  IntMap *makers;  // by value: the node that makes it, and 1
  uint32_t node_count, node_capacity, edge_count, edge_capacity;
} GraphMaker;

static int add_node(GraphMaker *m, ReportNode node) {
  *ARENA_PUSH(m->report->arena, m->graph->nodes, m->node_count, m->node_capacity) = node;
  m->graph->count = (int)m->node_count;
  return m->graph->count - 1;
}

static void add_edge(GraphMaker *m, int from, int to) {
  for (int e = m->graph->edge_count - 1; e >= 0 && m->graph->edges[e][1] == to; e--)
    if (m->graph->edges[e][0] == from) return;
  int(*edge)[2] = ARENA_PUSH(m->report->arena, m->graph->edges, m->edge_count, m->edge_capacity);
  (*edge)[0] = from, (*edge)[1] = to;
  m->graph->edge_count = (int)m->edge_count;
}

static void set_maker(GraphMaker *m, const Value *value, int number) {
  int_map_set(m->makers, (uintptr_t)value, (void *)(uintptr_t)(number + 1));
}

// A view is no step: what reads it reads what it is a view of. -1: a constant.
static int maker_of(const GraphMaker *m, const Value *value) {
  for (;;) {
    uintptr_t known = (uintptr_t)int_map_get(m->makers, (uintptr_t)value);
    if (known) return (int)known - 1;
    const Node *view = value->producer;
    if (!view || !view->input_count || !view->inputs[0]) return -1;
    value = view->inputs[0];
  }
}

static GraphMaker begin_graph(Report *r, ReportGraph *graph, const Graph *source) {
  GraphMaker m = {.report = r, .graph = graph, .makers = int_map_new(r->arena)};
  for (int i = 0; i < source->input_count; i++) {
    const Value *input = source->inputs[i];
    if (input->initial || !value_use_count(input)) continue;  // left out, or not read
    set_maker(&m, input, add_node(&m, (ReportNode){"input", arena_string(r->arena, input->name), -1, true, FAMILY_OTHER}));
  }
  return m;
}

static void end_graph(GraphMaker *m, const Graph *source) {
  for (int i = 0; i < source->output_count; i++) {
    const Value *value = source->outputs[i];
    int from = maker_of(m, value);
    int to = add_node(m, (ReportNode){"output", arena_string(m->report->arena, value->name), -1, true, FAMILY_OTHER});
    if (from >= 0) add_edge(m, from, to);
  }
}

static void join_node(GraphMaker *m, const Node *node, ReportNode drawn) {
  int number = add_node(m, drawn);
  for (int i = 0; i < node->input_count; i++) {
    int from = node->inputs[i] ? maker_of(m, node->inputs[i]) : -1;
    if (from >= 0) add_edge(m, from, number);
  }
  for (int i = 0; i < node->output_count; i++) set_maker(m, node->outputs[i], number);
}

static void take_after(Report *r, const Plan *plan) {
  GraphMaker m = begin_graph(r, &r->after, plan->graph);
  for (int i = 0; i < r->step_count && i < (int)plan->step_count; i++) {
    const ReportStep *step = &r->steps[i];
    join_node(&m, plan->steps[i].node, (ReportNode){step->op, step->name, i, false, step->family});
  }
  end_graph(&m, plan->graph);
}

// The first step that a node of the imported graph went into.
static int step_from(const StringMap *steps, const Node *node) {
  for (int i = 0; i < node->origin_count; i++) {
    uintptr_t step = (uintptr_t)string_map_get(steps, node->origins[i].name);
    if (step) return (int)step - 1;
  }
  return -1;
}

// Where a node became part of several steps, the dearest counts.
static StringMap *steps_by_origin(const Report *r) {
  StringMap *map = string_map_new(r->arena);
  for (int s = 0; s < r->step_count; s++)
    for (int i = 0; i < r->steps[s].from_count; i++) {
      const char *name = r->steps[s].from[i].name;
      uintptr_t known = (uintptr_t)string_map_get(map, name);
      if (!known || r->steps[known - 1].ms < r->steps[s].ms) string_map_set(map, name, (void *)(uintptr_t)(s + 1));
    }
  return map;
}

static void take_before(Report *r, const Graph *graph) {
  GraphMaker m = begin_graph(r, &r->before, graph);
  StringMap *steps = steps_by_origin(r);
  FOR_NODES(node, graph) {
    const char *label = node->origin_count ? node->origins[0].op_type : node->op->name;
    join_node(&m, node,
              (ReportNode){arena_string(r->arena, label), arena_string(r->arena, node_place(node)), step_from(steps, node),
                           false, family_of(node->op->name)});
  }
  end_graph(&m, graph);
}

// ---- the log of the passes ---------------------------------------------------------------------------------------------------

static void take_events(Report *r, const RuleLog *log) {
  const Engine *engine = r->engine->engine;
  r->events = arena_array(r->arena, ReportEvent, engine->rewrite_count + (log ? log->count : 0) + 1);
  for (uint32_t i = 0; i < engine->rewrite_count; i++) {
    const EngineRewrite *e = &engine->rewrites[i];
    r->events[r->event_count++] = (ReportEvent){e->pass, e->rule, e->place, e->before, e->after, NULL};
  }
  for (uint32_t i = 0; log && i < log->count; i++) {
    const RuleEvent *e = &log->events[i];
    if (!e->refusal) continue;
    r->events[r->event_count++] = (ReportEvent){e->pass, e->rule->name, e->place, NULL, NULL, e->refusal};
    r->refusal_count++;
  }
}

static Status take_plan(Report *r, const Plan *plan, const ingot_model *model, const RuleLog *log) {
  take_steps(r, plan);
  take_times(r, plan);
  take_buffers(r, plan);
  take_after(r, plan);
  if (model) take_before(r, model->graph);
  take_events(r, log);
  return OK;
}

ingot_error *report_gather(ingot_session *session, const InputSet *inputs, const ingot_model *model, const RuleLog *log,
                           Report *r) {
  const Plan *plan;
  ingot_error *error = profile_runs(session, inputs, r);
  if (!error) error = api_plan(session, inputs->tensors, inputs->count, &plan);
  if (error) return error;
  DType precision = session->engine->engine->built.precision;
  r->engine = session->engine;
  r->device = arena_string(r->arena, ingot_session_device(session));
  r->precision =
      precision == DTYPE_COUNT ? session->engine->engine->built.tf32 ? "tf32" : "the model's own" : dtype_name(precision);
  r->rest = cli_profile_rest(session);
  r->weights = ingot_session_memory(session, INGOT_MEMORY_WEIGHTS);
  r->arena_bytes = ingot_session_memory(session, INGOT_MEMORY_ARENA);
  r->unpacked = ingot_session_memory(session, INGOT_MEMORY_UNPACKED);
  return api_error(RECOVER_GUARD(take_plan(r, plan, model, log)));
}
