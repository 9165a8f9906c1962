// See rebind.h. Sizes are few, and places where they stand are many: each distinct expression is evaluated once a call.
#include "lower/rebind.h"

#include <string.h>

#include "base/checked.h"
#include "kernels/control/control.h"
#include "kernels/control/region.h"
#include "kernels/reference.h"

// Where a size stands: a value's axis, or an element of an attribute.
typedef struct SizePlace {
  Value *value;
  Node *node;  // of an attribute
  int attribute, index, size;
} SizePlace;

typedef struct Written {
  int rank;
  Dim dims[MAX_RANK];
} Written;

struct Rebinding {
  Graph *graph;
  FromSizes from;
  ReadSymbols reads;
  Arena *arena;
  Dim *sizes;
  int64_t *now;
  uint32_t size_count, size_capacity;
  IntMap *numbers;  // of sizes, plus one
  SizePlace *places;
  uint32_t place_count, place_capacity;
  Written *written;  // room for one node's results
};

// ---- constants that follow from sizes ----------------------------------------------------------------------------------------

FromSizes from_sizes_new(Graph *beside) {
  return (FromSizes){.graph = graph_new_inside(beside, "from sizes"), .values = int_map_new(beside->arena)};
}

static bool follows_from_sizes(const FromSizes *from, const Node *node) {
  bool follows = false;
  for (int i = 0; i < node->input_count; i++)
    follows |= node->inputs[i] && int_map_get(from->values, node->inputs[i]->id) != NULL;
  for (int i = 0; i < node->attribute_count; i++) follows |= node->attributes[i].open != NULL;
  for (int i = 0; i < node->output_count; i++) follows |= node->outputs[i]->open != NULL;
  return follows;
}

Value **from_sizes_add(FromSizes *from, const Node *node) {
  if (!follows_from_sizes(from, node)) return NULL;
  Graph *graph = from->graph;
  Node *copy = graph_add(graph, NULL, node->op, node->input_count, NULL, node->output_count);
  for (int i = 0; i < node->input_count; i++) {
    const Value *value = node->inputs[i];
    if (!value) continue;
    Value *known = int_map_get(from->values, value->id);
    node_set_input(copy, i, known ? known : graph_add_constant(graph, NULL, value->constant));
  }
  node_take_attributes(copy, node);
  for (int i = 0; i < node->output_count; i++) {
    const Value *value = node->outputs[i];
    value_set_type(copy->outputs[i], value->dtype, value->rank, value->dims);
    copy->outputs[i]->open = value->open;
  }
  MadeConstants *made = ARENA_PUSH(graph->arena, from->list, from->count, from->capacity);
  *made = (MadeConstants){copy, arena_array(graph->arena, Value *, (size_t)node->output_count)};
  return made->constants;
}

void from_sizes_made(FromSizes *from, Value *const *constants, int count) {
  const Node *node = from->graph->last;
  for (int i = 0; i < count; i++) {
    node->outputs[i]->constant = constants[i]->constant;
    int_map_set(from->values, constants[i]->id, node->outputs[i]);
  }
}

// ---- sizes and where they stand ----------------------------------------------------------------------------------------------

static int number_of(Rebinding *r, Dim dim) {
  uintptr_t known = (uintptr_t)int_map_get(r->numbers, (uint64_t)dim);
  if (known) return (int)known - 1;
  *ARENA_PUSH(r->arena, r->sizes, r->size_count, r->size_capacity) = dim;
  int_map_set(r->numbers, (uint64_t)dim, (void *)(uintptr_t)r->size_count);
  return (int)r->size_count - 1;
}

static void add_place(Rebinding *r, Dim dim, SizePlace place) {
  if (dim_is_static(dim)) return;
  place.size = number_of(r, dim);
  *ARENA_PUSH(r->arena, r->places, r->place_count, r->place_capacity) = place;
}

static void add_value(Rebinding *r, Value *value) {
  for (int i = 0; value->open && i < value->rank; i++) add_place(r, value->open[i], (SizePlace){.value = value, .index = i});
}

static void add_places(Rebinding *r, const Graph *graph) {
  for (int i = 0; i < graph->input_count; i++) add_value(r, graph->inputs[i]);
  FOR_NODES(node, graph) {
    for (int i = 0; i < node->output_count; i++) add_value(r, node->outputs[i]);
    for (int a = 0; a < node->attribute_count; a++) {
      const Attribute *attribute = &node->attributes[a];
      for (int i = 0; attribute->open && i < attribute->count; i++)
        add_place(r, attribute->open[i], (SizePlace){.node = node, .attribute = a, .index = i});
    }
    if (node->op == &op_region) add_places(r, region_body(node));
  }
}

// ---- binding -----------------------------------------------------------------------------------------------------------------

static void bind_symbol(const Rebinding *r, DimBinding *binding, Arena *scratch, Dim symbol, int64_t now) {
  const char *name = dim_symbol_name(r->graph->dims, symbol);
  if (!string_map_get(binding->values, name)) dim_bind(binding, scratch, name, now);
}

// False where one is less than a symbol may be.
static bool bind_reads(const Rebinding *r, const StageInput *inputs, DimBinding *binding, Arena *scratch) {
  bool fine = true;
  for (uint32_t i = 0; i < r->reads.count && fine; i++) {
    const ReadSymbol *read = &r->reads.list[i];
    const Tensor *known = inputs[read->input].known;
    fine = !known || tensor_count(known) > read->element;
    int64_t now = known && fine ? tensor_get_i(known, read->element) : read->now;
    fine = fine && now >= 0;
    bind_symbol(r, binding, scratch, read->symbol, now);
  }
  return fine;
}

// Every symbol is what the first input says whose axis it is, or what is read; the others are compared when all sizes are known.
static bool evaluate(Rebinding *r, const StageInput *inputs) {
  const Graph *graph = r->graph;
  Arena *scratch = arena_scratch();
  DimBinding binding = dim_binding_new(scratch);
  for (int i = 0; i < graph->input_count; i++) {
    const Value *value = graph->inputs[i];
    for (int k = 0; value->open && k < value->rank; k++) {
      Dim dim = value->open[k];
      if (dim_is_symbol(graph->dims, dim)) bind_symbol(r, &binding, scratch, dim, inputs[i].dims[k]);
    }
  }
  bool known = bind_reads(r, inputs, &binding, scratch);
  for (uint32_t i = 0; i < r->size_count && known; i++) known = dim_evaluate(graph->dims, &binding, r->sizes[i], &r->now[i]);
  arena_free(scratch);
  return known;
}

static int64_t stands_there(const SizePlace *place) {
  Dim dim = place->value ? place->value->dims[place->index] : place->node->attributes[place->attribute].dims[place->index];
  int64_t value = -1;
  const Graph *graph = place->value ? place->value->graph : place->node->graph;
  dim_get_constant(graph->dims, dim, &value);
  return value;
}

static void describe_inputs(const Graph *graph, StageInput *inputs) {
  for (int i = 0; i < graph->input_count; i++) {
    const Value *value = graph->inputs[i];
    inputs[i] = (StageInput){.dtype = value->dtype, .rank = value->rank};
    value_get_dims(value, inputs[i].dims);
  }
}

Rebinding *rebinding_new(Graph *graph, const FromSizes *from, const ReadSymbols *reads, Arena *arena, const char **why) {
  Rebinding *r = arena_new_of(arena, Rebinding);
  *r = (Rebinding){.graph = graph, .from = *from, .reads = *reads, .arena = arena, .numbers = int_map_new(arena)};
  add_places(r, graph);
  add_places(r, from->graph);
  r->now = arena_array(arena, int64_t, (size_t)r->size_count + 1);
  int most = 0;
  FOR_NODES(node, graph) most = MAX(most, node->output_count);
  FOR_NODES(node, from->graph) most = MAX(most, node->output_count);
  r->written = arena_array(arena, Written, (size_t)most);
  StageInput *inputs = arena_array(arena, StageInput, (size_t)graph->input_count + 1);
  describe_inputs(graph, inputs);
  *why = "no size is open";
  if (!r->place_count) return NULL;
  *why = "a size follows from more than the inputs'";
  if (!evaluate(r, inputs)) return NULL;
  *why = "symbols do not hold what they say";
  for (uint32_t i = 0; i < r->place_count; i++)
    if (stands_there(&r->places[i]) != r->now[r->places[i].size]) return NULL;
  *why = NULL;
  return r;
}

static bool is_read(const Rebinding *r, int input) {
  bool read = false;
  for (uint32_t i = 0; i < r->reads.count; i++) read |= r->reads.list[i].input == input;
  return read;
}

static bool inputs_fit(const Rebinding *r, const StageInput *inputs) {
  const Graph *graph = r->graph;
  for (int i = 0; i < graph->input_count; i++) {
    const Value *value = graph->inputs[i];
    if (inputs[i].kind != VALUE_TENSOR || (inputs[i].known != NULL) != is_read(r, i) || inputs[i].dtype != value->dtype ||
        inputs[i].rank != value->rank)
      return false;
    for (int k = 0; k < value->rank; k++) {
      Dim dim = value->open ? value->open[k] : value->dims[k];
      int64_t said = dim_is_static(dim) ? dim : r->now[(uintptr_t)int_map_get(r->numbers, (uint64_t)dim) - 1];
      if (said != inputs[i].dims[k]) return false;
    }
  }
  return true;
}

// An attribute's elements get a new array: plans made before may point into the one that stands there, and it may be gone with the arena of its call.
static void write_places(Rebinding *r, Arena *arena) {
  const Attribute *last = NULL;
  for (uint32_t i = 0; i < r->place_count; i++) {
    const SizePlace *place = &r->places[i];
    int64_t now = r->now[place->size];
    if (place->value) {
      place->value->dims[place->index] = now;
      continue;
    }
    Attribute *attribute = &place->node->attributes[place->attribute];
    if (attribute != last)
      attribute->dims = arena_copy(arena, attribute->open, (size_t)attribute->count * sizeof *attribute->open);
    last = attribute;
    ((Dim *)(uintptr_t)attribute->dims)[place->index] = dim_constant(r->graph->dims, now);
  }
}

// Whether the node, which infers its types anew, finds what was written.
static Status infer_again(Rebinding *r, Node *node, bool *same) {
  for (int i = 0; i < node->output_count; i++) {
    r->written[i].rank = node->outputs[i]->rank;
    memcpy(r->written[i].dims, node->outputs[i]->dims, sizeof r->written[i].dims);
  }
  TRY(node_infer(node));
  for (int i = 0; i < node->output_count; i++) {
    const Value *value = node->outputs[i];
    const Written *written = &r->written[i];
    *same &= value->rank == written->rank && !memcmp(written->dims, value->dims, (size_t)value->rank * sizeof(Dim));
  }
  return OK;
}

// Readers are told by the constants' types; plans made before keep the tensors they have.
static Status make_again(Rebinding *r, const MadeConstants *made, Arena *arena, bool *same) {
  Node *node = made->node;
  TRY(infer_again(r, node, same));
  const Tensor **inputs = arena_array(arena, const Tensor *, node->input_count);
  for (int i = 0; i < node->input_count; i++) inputs[i] = node->inputs[i] ? node->inputs[i]->constant : NULL;
  Tensor *outputs = arena_array(arena, Tensor, node->output_count);
  TRY(reference_run(node, arena, inputs, outputs));
  for (int i = 0; i < node->output_count; i++) {
    node->outputs[i]->constant = made->constants[i]->constant = &outputs[i];
    value_set_static(made->constants[i], outputs[i].dtype, outputs[i].rank, outputs[i].dims);
  }
  return OK;
}

Status rebind(Rebinding *r, const StageInput *inputs, Arena *arena, bool *fits) {
  *fits = evaluate(r, inputs) && inputs_fit(r, inputs);
  for (uint32_t i = 0; i < r->place_count && *fits; i++) *fits = !r->places[i].value || r->now[r->places[i].size] >= 0;
  if (!*fits) return OK;
  write_places(r, arena);
  for (uint32_t i = 0; i < r->from.count && *fits; i++) TRY(make_again(r, &r->from.list[i], arena, fits));
  for (Node *node = r->graph->first; node && *fits; node = node->next) TRY(infer_again(r, node, fits));
  return OK;
}
