// `ingot verify` site by site: the optimised graph runs with every value exposed, and what each node made is compared with what its reference
// makes of the same inputs. Errors do not add up, so this finds the one site that is wrong; the passes themselves it does not judge.
#include <math.h>
#include <string.h>

#include "api/api.h"
#include "base/checked.h"
#include "cli/verify.h"
#include "ir/origins.h"
#include "kernels/deferred.h"
#include "kernels/reference.h"
#include "onnx/ops/translate.h"
#include "lower/specialise.h"

static bool is_deferred(const Node *node) { return node->op == &op_deferred; }

// The engine with everything exposed, and all values of one run by their ids; NULL where a value is no tensor.
typedef struct Exposed {
  Arena *arena;  // the values'; the engine has its own
  ingot_engine *engine;
  ingot_session *session;
  HostValue *inputs;  // of that engine
  int input_count, original_outputs;
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

static StageInput stage_input(Arena *arena, const Value *input, const HostValue *value, bool decides) {
  const Tensor *tensor = value->kind != VALUE_TENSOR          ? NULL
                         : value->tensor.dtype == DTYPE_COUNT ? input->initial
                                                              : &value->tensor;
  StageInput out = {.kind = value->kind, .dtype = DTYPE_COUNT, .count = value->count};
  if (tensor) {
    out.rank = tensor->rank;
    out.dtype = tensor->dtype;
    out.known = decides || tensor == input->initial ? tensor : NULL;
    memcpy(out.dims, tensor->dims, sizeof out.dims);
    return out;
  }
  StageInput *items = arena_array(arena, StageInput, (size_t)value->count + 1);
  for (int i = 0; i < value->count; i++) items[i] = stage_input(arena, input, &value->items[i], false);
  if (value->kind == VALUE_SEQUENCE) out.dtype = input->dtype == DTYPE_COUNT ? DTYPE_F32 : input->dtype;
  out.items = items;
  return out;
}

// A stage's inputs: the elements of a sequence in its place.
static void add_leaf(const HostValue *value, const Value *input, HostValue *leaves, int *count) {
  if (value->kind != VALUE_TENSOR) {
    for (int i = 0; i < value->count; i++) add_leaf(&value->items[i], input, leaves, count);
    return;
  }
  HostValue *leaf = &leaves[(*count)++];
  *leaf = *value;
  if (value->tensor.dtype == DTYPE_COUNT) leaf->tensor = *input->initial;
}

static void take_leaves(const Graph *graph, const HostValue *inputs, Arena *arena, Exposed *out) {
  int count = 0;
  out->input_count = 0;
  for (int i = 0; i < graph->input_count; i++) count += inputs[i].kind == VALUE_TENSOR ? 1 : inputs[i].count;
  out->inputs = arena_array(arena, HostValue, (size_t)count + 1);
  for (int i = 0; i < graph->input_count; i++) add_leaf(&inputs[i], graph->inputs[i], out->inputs, &out->input_count);
}

// The graph as it looks for these inputs: without symbols, with branches taken. Where that shows only when the model has run, the
// graph as it was.
static Status fix_shapes(const Graph *graph, HostValue *inputs, Arena *arena, Graph **fixed, Exposed *out) {
  bool *decides = arena_array(arena, bool, graph->input_count);
  StageInput *stage_inputs = arena_array(arena, StageInput, graph->input_count);
  graph_shape_inputs(graph, is_deferred, decides);
  for (int i = 0; i < graph->input_count; i++) stage_inputs[i] = stage_input(arena, graph->inputs[i], &inputs[i], decides[i]);
  Stage *stage;
  SpecialiseHooks hooks = {.translate = translate_deferred, .is_deferred = is_deferred};
  TRY(specialise(graph, stage_inputs, &hooks, arena, &stage));
  *fixed = stage->complete ? stage->ready : graph_copy(arena, graph);
  out->inputs = inputs;
  out->input_count = graph->input_count;
  if (stage->complete) take_leaves(graph, inputs, out->arena, out);
  return OK;
}

static Status expose(const Engine *engine, HostValue *inputs, Arena *arena, Exposed *out) {
  Engine *exposed = engine_new(arena);
  exposed->built = engine->built;
  TRY(fix_shapes(engine->graph, inputs, arena, &exposed->graph, out));
  expose_everything(exposed->graph);
  return api_engine_wrap(exposed, &out->engine);
}

static int run_exposed(const Common *common, const InputSet *inputs, Exposed *exposed) {
  const Graph *graph = exposed->engine->engine->graph;
  ingot_error *error = ingot_session_create(exposed->engine, &common->config, &exposed->session);
  ingot_tensor *given = arena_array(exposed->arena, ingot_tensor, (size_t)exposed->input_count + 1);
  ingot_tensor *outputs = arena_array(exposed->arena, ingot_tensor, graph->output_count);
  exposed->values = arena_array(exposed->arena, Tensor *, graph->next_value_id);
  for (int i = 0; i < exposed->input_count; i++) given[i] = cli_wrap(exposed->arena, &exposed->inputs[i]);
  if (!error) error = ingot_session_run(exposed->session, given, exposed->input_count, outputs, graph->output_count);
  if (error) return cli_fail_run(error, inputs);
  for (int i = 0; i < graph->output_count; i++) {
    if (graph->outputs[i]->dtype == DTYPE_STRING || ingot_session_output_kind(exposed->session, i) != INGOT_TENSOR) continue;
    Tensor *value = exposed->values[graph->outputs[i]->id] = arena_new_of(exposed->arena, Tensor);
    Status status = cli_unwrap(&outputs[i], value);
    if (status) return cli_fail(api_error(status));
  }
  for (int i = 0; i < graph->input_count; i++) {
    const HostValue *value = &exposed->inputs[i];
    const Tensor *tensor = value->tensor.dtype == DTYPE_COUNT ? graph->inputs[i]->initial : &value->tensor;
    if (value->kind == VALUE_TENSOR && tensor)
      exposed->values[graph->inputs[i]->id] = arena_copy(exposed->arena, tensor, sizeof *tensor);
  }
  return 0;
}

// After a failure there is nothing to free.
static int expose_and_run(const Common *common, ingot_engine *engine, const InputSet *inputs, Exposed *out) {
  *out = (Exposed){.arena = arena_new(), .original_outputs = engine->engine->graph->output_count};
  Arena *arena = arena_new();
  Status status = API_LIMITED(&common->config, expose(engine->engine, inputs->values, arena, out));
  if (!out->engine) arena_free(arena);
  int code = status ? cli_fail_run(api_error(status), inputs) : run_exposed(common, inputs, out);
  if (code) exposed_free(out);
  return code;
}

static const Tensor *value_of(const Exposed *exposed, const Value *value) {
  return !value ? NULL : value->constant ? value->constant : exposed->values[value->id];
}

static bool is_original_output(const Exposed *exposed, const Value *value) {
  const Graph *graph = exposed->engine->engine->graph;
  for (int i = 0; i < exposed->original_outputs && i < graph->output_count; i++)
    if (graph->outputs[i] == value) return true;
  return false;
}

// Loops have no reference, sequences no content, and some sizes are known only while the model runs.
static bool can_be_judged(const Node *node, const Exposed *exposed) {
  int64_t unused;
  for (int i = 0; i < node->attribute_count; i++)
    for (int k = 0; node->attributes[i].kind == ATTR_DIMS && k < node->attributes[i].count; k++)
      if (!dim_get_constant(node->graph->dims, node->attributes[i].dims[k], &unused)) return false;
  for (int i = 0; i < node->input_count; i++)
    if (node->inputs[i] && !value_of(exposed, node->inputs[i])) return false;
  return node->op->reference != NULL;
}

static Status verify_node(const Node *node, const Exposed *exposed, const Tolerance *tolerance, Report *report,
                          Arena *scratch) {
  const Tensor **inputs = arena_array(scratch, const Tensor *, node->input_count);
  Tensor *expected = arena_array(scratch, Tensor, node->output_count);
  for (int i = 0; i < node->input_count; i++) inputs[i] = node->inputs[i] ? value_of(exposed, node->inputs[i]) : NULL;
  TRY(status_context(reference_run(node, scratch, inputs, expected), "the reference of '%s'", node->outputs[0]->name));
  for (int i = 0; i < node->output_count; i++) {
    const Value *value = node->outputs[i];
    const Tensor *actual = exposed->values[value->id];
    NonFinite nonfinite = is_original_output(exposed, value) ? NONFINITE_DISAGREES : NONFINITE_EQUAL;
    if (actual) report_value(report, scratch, value->name, actual, &expected[i], tolerance, nonfinite, node);
  }
  return OK;
}

typedef struct Sites {
  int judged, wrong, others;
} Sites;

static Status verify_nodes(const Exposed *exposed, const Tolerance *tolerance, Report *report, Sites *sites) {
  FOR_NODES(node, exposed->engine->engine->graph) {
    int differing = report->differing;
    if (!can_be_judged(node, exposed)) {
      sites->others++;
      continue;
    }
    Arena *scratch = arena_scratch();
    Status status = verify_node(node, exposed, tolerance, report, scratch);
    arena_free(scratch);
    TRY(status);
    sites->judged++;
    sites->wrong += report->differing > differing;
  }
  return OK;
}

int verify_sites(const Common *common, ingot_engine *engine, const InputSet *inputs, const Tolerance *tolerance,
                 Report *report) {
  Exposed exposed;
  Sites sites = {0};
  int code = expose_and_run(common, engine, inputs, &exposed);
  if (code) return code;
  Status status = API_LIMITED(&common->config, verify_nodes(&exposed, tolerance, report, &sites));
  if (status) code = cli_fail_run(api_error(status), inputs);
  if (!code && !report->json) {
    printf("%d of %d sites agree with the reference on %s", sites.judged - sites.wrong, sites.judged,
           ingot_session_device(exposed.session));
    printf(sites.others ? "; %d others cannot be judged alone\n" : "\n", sites.others);
  }
  exposed_free(&exposed);
  return code;
}

// Index of the first element that is NaN or infinite; -1 if there is none.
static int64_t first_nonfinite(const Tensor *tensor) {
  for (int64_t i = 0; tensor && dtype_is_float(tensor->dtype) && i < tensor_count(tensor); i++)
    if (!isfinite(tensor_get_f(tensor, i))) return i;
  return -1;
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
