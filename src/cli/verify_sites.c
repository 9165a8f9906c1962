// `ingot verify` site by site: the optimised graph runs with every value exposed, and what each node made is compared with what its reference
// makes of the same inputs. Errors do not add up, so this finds the one site that is wrong; the passes themselves it does not judge.
#include <math.h>
#include <string.h>

#include "api/api.h"
#include "base/checked.h"
#include "cli/verify.h"
#include "kernels/deferred.h"
#include "kernels/op.h"
#include "onnx/translate.h"
#include "plan/specialise.h"

static bool is_deferred(const Node *node) { return node->op == &op_deferred; }

// The engine with everything exposed, and all values of one run by their ids; NULL where a value is no tensor.
typedef struct Exposed {
  Arena *arena;  // the values'; the engine has its own
  ingot_engine *engine;
  ingot_session *session;
  int original_outputs;
  Tensor **values;
} Exposed;

static void exposed_free(Exposed *exposed) {
  ingot_session_free(exposed->session);
  ingot_engine_free(exposed->engine);
  arena_free(exposed->arena);
}

static void expose_everything(Graph *graph) {
  FOR_NODES(node, graph)
  for (int i = 0; i < node->output_count; i++)
    if (!node->outputs[i]->is_output && node->outputs[i]->dtype != DTYPE_STRING && node->outputs[i]->kind == VALUE_TENSOR)
      graph_mark_output(graph, node->outputs[i]);
}

// The graph as it looks for these inputs: without symbols, with branches taken. Where that shows only when the model has run, the
// graph as it was.
static Status fix_shapes(const Graph *graph, const Tensor *inputs, Arena *arena, Graph **out) {
  bool *decides = arena_array(arena, bool, graph->input_count);
  StageInput *stage_inputs = arena_array(arena, StageInput, graph->input_count);
  graph_shape_inputs(graph, is_deferred, decides);
  for (int i = 0; i < graph->input_count; i++) {
    stage_inputs[i] = (StageInput){.rank = inputs[i].rank, .dtype = inputs[i].dtype, .known = decides[i] ? &inputs[i] : NULL};
    memcpy(stage_inputs[i].dims, inputs[i].dims, sizeof inputs[i].dims);
  }
  Stage *stage;
  SpecialiseHooks hooks = {.translate = translate_deferred, .is_deferred = is_deferred};
  TRY(specialise(graph, stage_inputs, &hooks, arena, &stage));
  *out = stage->complete ? stage->ready : graph_copy(arena, graph);
  return OK;
}

static Status expose(const Engine *engine, const Tensor *given, Arena *arena, ingot_engine **out) {
  Engine *exposed = engine_new(arena);
  exposed->built = engine->built;
  TRY(fix_shapes(engine->graph, given, arena, &exposed->graph));
  expose_everything(exposed->graph);
  return api_engine_wrap(exposed, out);
}

static int run_exposed(const Common *common, const InputSet *inputs, const Tensor *given, Exposed *exposed) {
  const Graph *graph = exposed->engine->engine->graph;
  ingot_error *error = ingot_session_create(exposed->engine, &common->config, &exposed->session);
  ingot_tensor *outputs = arena_array(exposed->arena, ingot_tensor, graph->output_count);
  exposed->values = arena_array(exposed->arena, Tensor *, graph->next_value_id);
  if (!error) error = ingot_session_run(exposed->session, inputs->tensors, inputs->count, outputs, graph->output_count);
  if (error) return cli_fail_run(error, inputs);
  for (int i = 0; i < graph->output_count; i++) {
    if (graph->outputs[i]->dtype == DTYPE_STRING || graph->outputs[i]->kind != VALUE_TENSOR) continue;
    Tensor *value = exposed->values[graph->outputs[i]->id] = arena_new_of(exposed->arena, Tensor);
    if (cli_unwrap(&outputs[i], value)) return 1;
  }
  for (int i = 0; i < graph->input_count; i++)
    exposed->values[graph->inputs[i]->id] = arena_copy(exposed->arena, &given[i], sizeof given[i]);
  return 0;
}

// After a failure there is nothing to free.
static int expose_and_run(const Common *common, ingot_engine *engine, const InputSet *inputs, Exposed *out) {
  *out = (Exposed){.arena = arena_new(), .original_outputs = engine->engine->graph->output_count};
  Tensor *given = arena_array(out->arena, Tensor, (size_t)inputs->count + 1);
  int code = 0;
  for (int i = 0; i < inputs->count && !code; i++) code = cli_unwrap(&inputs->tensors[i], &given[i]);
  Arena *arena = arena_new();
  Status status = code ? OK : expose(engine->engine, given, arena, &out->engine);
  if (status) code = cli_fail_run(api_error(status), inputs);
  if (!out->engine) arena_free(arena);
  if (!code) code = run_exposed(common, inputs, given, out);
  if (code) exposed_free(out);
  return code;
}

static bool is_original_output(const Exposed *exposed, const Value *value) {
  const Graph *graph = exposed->engine->engine->graph;
  for (int i = 0; i < exposed->original_outputs && i < graph->output_count; i++)
    if (graph->outputs[i] == value) return true;
  return false;
}

static int verify_node(const Node *node, const Exposed *exposed, const Tolerance *tolerance, Report *report) {
  Arena *scratch = arena_new();
  const Tensor **inputs = arena_array(scratch, const Tensor *, node->input_count);
  Tensor *expected = arena_array(scratch, Tensor, node->output_count);
  bool known = node->op->reference != NULL;
  for (int i = 0; i < node->input_count && known; i++) {
    if (!node->inputs[i]) continue;
    inputs[i] = node->inputs[i]->constant ? node->inputs[i]->constant : exposed->values[node->inputs[i]->id];
    known = inputs[i] != NULL;
  }
  int code = 0;
  if (known) {
    Status status = reference_run(node, scratch, inputs, expected);
    if (status) code = cli_fail(api_error(status_context(status, "the reference of '%s'", node->outputs[0]->name)));
  }
  for (int i = 0; i < node->output_count && known && !code; i++) {
    const Value *value = node->outputs[i];
    const Tensor *actual = exposed->values[value->id];
    NonFinite nonfinite = is_original_output(exposed, value) ? NONFINITE_DISAGREES : NONFINITE_EQUAL;
    if (actual) report_value(report, scratch, value->name, actual, &expected[i], tolerance, nonfinite, node);
  }
  arena_free(scratch);
  return code;
}

int verify_sites(const Common *common, ingot_engine *engine, const InputSet *inputs, const Tolerance *tolerance,
                 Report *report) {
  Exposed exposed;
  int code = expose_and_run(common, engine, inputs, &exposed), sites = 0, wrong = 0;
  if (code) return code;
  for (Node *node = exposed.engine->engine->graph->first; node && !code; node = node->next) {
    int differing = report->differing;
    code = verify_node(node, &exposed, tolerance, report);
    sites++;
    wrong += report->differing > differing;
  }
  if (!code && !report->json)
    printf("%d of %d sites agree with the reference on %s\n", sites - wrong, sites, ingot_session_device(exposed.session));
  exposed_free(&exposed);
  return code;
}

// Index of the first element that is NaN or infinite; -1 if there is none.
static int64_t first_nonfinite(const Tensor *tensor) {
  for (int64_t i = 0; tensor && dtype_is_float(tensor->dtype) && i < tensor_count(tensor); i++)
    if (!isfinite(tensor_get_f(tensor, i))) return i;
  return -1;
}

static const Tensor *value_of(const Exposed *exposed, const Value *value) {
  return !value ? NULL : value->constant ? value->constant : exposed->values[value->id];
}

// Says it where the node's result is the first that is not finite.
static bool arises_at(const Exposed *exposed, const Node *node) {
  for (int i = 0; i < node->output_count; i++) {
    const Tensor *tensor = value_of(exposed, node->outputs[i]);
    int64_t at = first_nonfinite(tensor);
    if (at < 0) continue;
    const char *from = "";
    for (int k = 0; k < node->input_count; k++)
      if (first_nonfinite(value_of(exposed, node->inputs[k])) >= 0) from = node->inputs[k]->name;
    printf("the first that is not finite arises at '%s' (%s), element %lld: %g%s%s%s\n", node->outputs[i]->name, node->op->name,
           (long long)at, tensor_get_f(tensor, at), *from ? ", given with '" : "", from, *from ? "'" : "");
    printf("        from %s\n", node_origins_text(node, exposed->arena));
    return true;
  }
  return false;
}

int verify_find_nonfinite(const Common *common, ingot_engine *engine, const InputSet *inputs) {
  Exposed exposed;
  int code = expose_and_run(common, engine, inputs, &exposed);
  if (code) return code;
  for (Node *node = exposed.engine->engine->graph->first; node; node = node->next)
    if (arises_at(&exposed, node)) break;
  exposed_free(&exposed);
  return 0;
}
