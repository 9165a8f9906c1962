// See reads.h.
#include "lower/reads.h"

#include <string.h>

#include "kernels/contents.h"
#include "kernels/control/control.h"
#include "ir/bindings.h"
#include "ir/op.h"
#include "lower/in_place.h"
#include "lower/rebind.h"

typedef struct Reader {
  Graph *graph;
  const SpecialiseHooks *hooks;
  Arena *arena;
  Bindings bindings;
  DimBinding now;  // what sizes are in the call at hand
  GraphReads *out;
  int changed;
} Reader;

// ---- inputs ------------------------------------------------------------------------------------------------------------------

static bool may_be_read(const Value *value) {
  int64_t dims[MAX_RANK];
  if (value->kind != VALUE_TENSOR || value->initial || value->dtype == DTYPE_COUNT || value->rank < 0 || value->rank > 1)
    return false;
  return dtype_is_integer(value->dtype) && value_get_dims(value, dims) && (!value->rank || dims[0] <= MAX_READ);
}

static bool has_symbols(const Value *value) {
  bool symbols = value->contents_count > 0;
  for (int i = 0; i < value->contents_count && symbols; i++) symbols = dim_is_symbol(value->graph->dims, value->contents[i]);
  return symbols;
}

// Those that the graph before this one gave stay.
static void name_contents(Value *value) {
  Dim contents[MAX_READ];
  int count = value->rank ? (int)value->dims[0] : 1;
  if (has_symbols(value)) return;
  for (int i = 0; i < count; i++) contents[i] = dim_fresh(value->graph->dims, "read");
  graph_set_contents(value, contents, count);
}

static void bind(const DimTable *table, DimBinding *binding, Arena *arena, Dim dim, int64_t now) {
  if (dim_is_symbol(table, dim)) dim_bind(binding, arena, dim_symbol_name(table, dim), now);
}

// False where what is read is less than 0, or not there.
static bool bind_inputs(const Graph *graph, const bool *read, const StageInput *inputs, DimBinding *binding, Arena *arena) {
  bool fine = true;
  for (int i = 0; i < graph->input_count; i++) {
    const Value *value = graph->inputs[i];
    for (int k = 0; k < value->rank && k < inputs[i].rank; k++)
      bind(graph->dims, binding, arena, value->dims[k], inputs[i].dims[k]);
    if (!read[i]) continue;
    const Tensor *known = inputs[i].known;
    fine = fine && known && tensor_count(known) == value->contents_count;
    for (int k = 0; fine && k < value->contents_count; k++) {
      int64_t now = tensor_get_i(known, k);
      bind(graph->dims, binding, arena, value->contents[k], now);
      fine = now >= 0;
    }
  }
  return fine;
}

// ---- nodes -------------------------------------------------------------------------------------------------------------------

static bool types_are_known(const Node *node) {
  for (int i = 0; i < node->input_count; i++) {
    const Value *value = node->inputs[i];
    if (value && (value->kind != VALUE_TENSOR || value->dtype == DTYPE_COUNT || value->rank < 0)) return false;
  }
  return true;
}

static Status translate(Reader *r, Node *node, bool *done) {
  int count = node->output_count;
  const RecordedType *recorded = bindings_record(r->arena, node);
  Value **results = arena_array(r->arena, Value *, (size_t)count + 1);
  TRY(r->hooks->translate(node, results, done));
  for (int i = 0; *done && i < count; i++) bindings_learn_recorded(&r->bindings, recorded, i, results[i]);
  return OK;
}

static bool choose_branch(Reader *r, Node *node) {
  int count;
  int64_t now, fixed;
  const Dim *contents = contents_of_value(r->graph, node->inputs[0], &count);
  if (!contents || count != 1) return false;
  Dim condition = bindings_resolve(&r->bindings, contents[0]);
  if (!dim_evaluate(r->graph->dims, &r->now, condition, &now)) return false;
  if (!dim_get_constant(r->graph->dims, condition, &fixed))
    *ARENA_PUSH(r->arena, r->out->facts, r->out->fact_count, r->out->fact_capacity) = (SizeFact){condition, now != 0};
  put_in_place(&r->bindings, r->arena, node, branch_of(node, now != 0), node->inputs + 1);
  return true;
}

static Status infer_again(Reader *r, Node *node) {
  int count;
  const RecordedType *recorded = bindings_record(r->arena, node);
  TRY(node_infer(node));
  for (int i = 0; i < node->output_count; i++) bindings_learn_recorded(&r->bindings, recorded, i, node->outputs[i]);
  const Dim *contents = contents_of_node(node, &count);
  if (contents && !node->outputs[0]->contents) graph_set_contents(node->outputs[0], contents, count);
  return OK;
}

static Status visit(Reader *r, Node *node, Node **next) {
  Node *before = node->previous;
  bool changed = false;
  *next = node->next;
  bindings_apply(&r->bindings, node);
  if (r->hooks->is_deferred(node)) TRY(translate(r, node, &changed));
  else if (node->op == &op_if) changed = choose_branch(r, node);
  else if (!node->op->is_control && !node->op->is_list && !node->op->data_dependent && types_are_known(node))
    TRY(infer_again(r, node));
  if (!changed) return OK;
  if (++r->changed > MAX_REWRITES) FAIL(ERROR_INVALID_MODEL, "translating what is read does not end");
  *next = before ? before->next : r->graph->first;
  return OK;
}

// A symbol may be learned behind a node that speaks of it.
static Status visit_all(Reader *r) {
  enum { MOST_ROUNDS = 16 };
  for (int before = -1, round = 0; before != r->bindings.count && round < MOST_ROUNDS; round++) {
    before = r->bindings.count;
    for (Node *node = r->graph->first, *next; node; node = next) TRY(visit(r, node, &next));
  }
  bindings_apply_everywhere(&r->bindings, r->graph);
  return OK;
}

// ---- the graph ---------------------------------------------------------------------------------------------------------------

// *more: an input turned out to have to be a constant.
static Status try_reads(const Graph *graph, const StageInput *inputs, const SpecialiseHooks *hooks, Arena *arena,
                        GraphReads *out, bool *more) {
  Reader r = {.graph = graph_copy(arena, graph), .hooks = hooks, .arena = arena, .out = out};
  r.bindings = bindings_new(r.graph);
  r.now = dim_binding_new(arena);
  out->graph = NULL;
  out->fact_count = 0;
  *more = false;
  for (int i = 0; i < graph->input_count; i++) {
    out->read[i] = out->read[i] && may_be_read(r.graph->inputs[i]);
    r.changed += out->read[i] && has_symbols(r.graph->inputs[i]);
    if (out->read[i]) name_contents(r.graph->inputs[i]);
  }
  out->of_this_call = !bind_inputs(r.graph, out->read, inputs, &r.now, arena);
  if (out->of_this_call) return OK;
  TRY(visit_all(&r));
  if (!r.changed) return OK;
  bool *decides = arena_array(arena, bool, (size_t)graph->input_count + 1);
  graph_shape_inputs(r.graph, hooks->is_deferred, decides);
  for (int i = 0; i < graph->input_count; i++) {
    *more |= out->read[i] && decides[i];
    out->read[i] &= !decides[i];
  }
  if (!*more) out->graph = r.graph;
  return OK;
}

Status graph_with_reads(const Graph *graph, const StageInput *inputs, const SpecialiseHooks *hooks, const bool *known,
                        Arena *arena, GraphReads *out) {
  *out = (GraphReads){.read = arena_array(arena, bool, (size_t)graph->input_count + 1)};
  memcpy(out->read, known, (size_t)graph->input_count * sizeof *known);
  if (!hooks->translate || !hooks->is_deferred) return OK;
  for (bool more = true; more;) TRY(try_reads(graph, inputs, hooks, arena, out, &more));
  return OK;
}

bool reads_hold(const GraphReads *reads, const StageInput *inputs) {
  if (!reads->graph) return true;
  Arena *scratch = arena_scratch();
  DimBinding binding = dim_binding_new(scratch);
  bool hold = bind_inputs(reads->graph, reads->read, inputs, &binding, scratch);
  for (uint32_t i = 0; i < reads->fact_count && hold; i++) {
    int64_t now;
    hold = dim_evaluate(reads->graph->dims, &binding, reads->facts[i].condition, &now) && (now != 0) == reads->facts[i].holds;
  }
  arena_free(scratch);
  return hold;
}
