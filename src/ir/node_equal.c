// Whether nodes do the same work, and graphs hold the same, whatever their values are called.
#include <string.h>

#include "base/budget.h"
#include "ir/graph.h"

static bool graphs_equal(const Graph *a, const Graph *b);

static bool attributes_equal(const Attribute *a, const Attribute *b) {
  if (strcmp(a->name, b->name) || a->kind != b->kind || a->count != b->count) return false;
  size_t count = (size_t)a->count;
  switch (a->kind) {
    case ATTR_INTS: return !count || !memcmp(a->ints, b->ints, count * sizeof *a->ints);
    case ATTR_FLOATS: return !count || !memcmp(a->floats, b->floats, count * sizeof *a->floats);
    case ATTR_DIMS: return !count || !memcmp(a->dims, b->dims, count * sizeof *a->dims);
    case ATTR_STRING: return !strcmp(a->string, b->string);
    case ATTR_PROGRAM: return program_equal(a->program, b->program);
    case ATTR_TENSOR: return tensor_equal(a->tensor, b->tensor);
    case ATTR_STRINGS:
      for (size_t i = 0; i < count; i++)
        if (strcmp(a->strings[i], b->strings[i])) return false;
      return true;
    case ATTR_GRAPH: return graphs_equal(a->graph, b->graph);
  }
  return false;
}

bool node_work_equal(const Node *a, const Node *b) {
  budget_step(8);
  if (a->op != b->op || a->input_count != b->input_count || a->output_count != b->output_count ||
      a->attribute_count != b->attribute_count)
    return false;
  for (int i = 0; i < a->attribute_count; i++) {
    const Attribute *other = node_attribute(b, a->attributes[i].name);
    if (!other || !attributes_equal(&a->attributes[i], other)) return false;
  }
  for (int i = 0; i < a->output_count; i++)
    if (a->outputs[i]->dtype != b->outputs[i]->dtype) return false;
  return true;
}

// Two graphs side by side: which value of b stands where one of a does, whatever their names.
typedef struct Pairs {
  const Value **of;  // by id in a
} Pairs;

static bool pair_equal(const Pairs *pairs, const Value *a, const Value *b) {
  if (!a || !b) return a == b;
  if (a->constant && b->constant) return tensor_equal(a->constant, b->constant);
  return pairs->of[a->id] == b;
}

static bool inputs_equal(const Pairs *pairs, const Graph *a, const Graph *b) {
  if (a->input_count != b->input_count || a->output_count != b->output_count || a->node_count != b->node_count) return false;
  for (int i = 0; i < a->input_count; i++) {
    const Value *x = a->inputs[i], *y = b->inputs[i];
    if (x->kind != y->kind || x->dtype != y->dtype || !value_same_shape(x, y)) return false;
    pairs->of[x->id] = y;
  }
  return true;
}

static bool insides_equal(const Pairs *pairs, const Graph *a, const Graph *b) {
  if (!inputs_equal(pairs, a, b)) return false;
  for (const Node *x = a->first, *y = b->first; x; x = x->next, y = y->next) {
    if (!node_work_equal(x, y)) return false;
    for (int i = 0; i < x->input_count; i++)
      if (!pair_equal(pairs, x->inputs[i], y->inputs[i])) return false;
    for (int i = 0; i < x->output_count; i++) pairs->of[x->outputs[i]->id] = y->outputs[i];
  }
  for (int i = 0; i < a->output_count; i++)
    if (!pair_equal(pairs, a->outputs[i], b->outputs[i])) return false;
  return true;
}

static bool graphs_equal(const Graph *a, const Graph *b) {
  Arena *scratch = arena_scratch();
  bool equal = insides_equal(&(Pairs){arena_array(scratch, const Value *, (size_t)a->next_value_id + 1)}, a, b);
  arena_free(scratch);
  return equal;
}
