// Two nodes with the same operator, attributes and inputs are one, and so are the sizes that only a run shows of them. Constants with the
// same content are one first, so that the nodes that use them can meet.
#include <string.h>

#include "base/budget.h"
#include "base/hash.h"
#include "ir/attribute.h"
#include "ir/bindings.h"
#include "base/map.h"
#include "passes/rule.h"

enum { SAMPLES = 32, SAMPLE_BYTES = 64 };  // of a constant

// Programs, graphs and tensors count as one each: what tells nodes with the same inputs apart is numbers, mostly.
static uint64_t attribute_hash(const Attribute *attribute) {
  size_t count = (size_t)attribute->count;
  uint64_t hash = hash_bytes(attribute->name, strlen(attribute->name), (uint64_t)attribute->kind);
  switch (attribute->kind) {
    case ATTR_INTS: return hash_bytes(attribute->ints, count * sizeof *attribute->ints, hash);
    case ATTR_FLOATS: return hash_bytes(attribute->floats, count * sizeof *attribute->floats, hash);
    case ATTR_DIMS: return hash_bytes(attribute->dims, count * sizeof *attribute->dims, hash);
    case ATTR_STRING: return hash_bytes(attribute->string, strlen(attribute->string), hash);
    case ATTR_PROGRAM: return program_hash(attribute->program, hash);
    default: return hash;
  }
}

static uint64_t node_hash(const Node *node) {
  uint64_t hash = hash_mix((uint64_t)(uintptr_t)node->op, (uint64_t)node->input_count);
  for (int i = 0; i < node->input_count; i++) hash = hash_mix(hash, (uint64_t)(uintptr_t)node->inputs[i]);
  for (int i = 0; i < node->attribute_count; i++) hash = hash_mix(hash, attribute_hash(&node->attributes[i]));
  return hash;
}

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

// Whatever their operands are.
static bool work_equal(const Node *a, const Node *b) {
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

static bool nodes_equal(const Node *a, const Node *b) {
  return work_equal(a, b) && !memcmp(a->inputs, b->inputs, (size_t)a->input_count * sizeof *a->inputs);
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
    if (!work_equal(x, y)) return false;
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

typedef struct Bucket {
  void *item;
  struct Bucket *next;
} Bucket;

static void push(Arena *arena, IntMap *map, uint64_t hash, void *item) {
  Bucket *bucket = arena_new_of(arena, Bucket);
  *bucket = (Bucket){item, int_map_get(map, hash)};
  int_map_set(map, hash, bucket);
}

// What was met so far: constants and nodes by hash, and for each constant the one that stands for it.
typedef struct Seen {
  IntMap *by_hash, *stands_for;
} Seen;

static Seen *seen_of(Rewrite *r) {
  void **state = rewrite_state(r);
  Arena *scratch = rewrite_scratch(r);
  if (!*state) {
    Seen *made = *state = arena_new_of(scratch, Seen);
    *made = (Seen){int_map_new(scratch), int_map_new(scratch)};
  }
  return *state;
}

// Of the type, the shape and a few bytes all over: weights of one shape differ in them, and those that do not are compared whole.
static uint64_t sample_hash(const Tensor *tensor) {
  size_t bytes = tensor_bytes(tensor), step = bytes / SAMPLES;
  uint64_t hash = hash_bytes(tensor->dims, (size_t)tensor->rank * sizeof *tensor->dims, (uint64_t)tensor->dtype);
  if (bytes <= SAMPLES * SAMPLE_BYTES) return hash_bytes(tensor->data, bytes, hash);
  for (size_t i = 0; i < SAMPLES; i++) hash = hash_bytes((const char *)tensor->data + i * step, SAMPLE_BYTES, hash);
  return hash;
}

// The first constant met with the same content.
static Value *standing_for(Rewrite *r, Value *value) {
  Seen *seen = seen_of(r);
  Value *known = int_map_get(seen->stands_for, value->id);
  if (known) return known;
  uint64_t hash = sample_hash(value->constant);
  Value *same = NULL;
  for (Bucket *bucket = int_map_get(seen->by_hash, hash); bucket && !same; bucket = bucket->next)
    if (tensor_equal(((Value *)bucket->item)->constant, value->constant)) same = bucket->item;
  if (!same) push(rewrite_scratch(r), seen->by_hash, hash, value);
  int_map_set(seen->stands_for, value->id, same ? same : value);
  return same ? same : value;
}

static Status merge_constants(Rewrite *r) {
  Node *node = matched(r, "root");
  int merged = 0;
  for (int i = 0; i < node->input_count; i++) {
    Value *value = node->inputs[i];
    if (!value || !value->constant || value->dtype == DTYPE_STRING || value->is_output) continue;
    Value *same = standing_for(r, value);
    if (same == value) continue;
    rewrite_set_input(r, node, i, same);
    merged++;
  }
  WANT(merged, "its constants are the first of their content");
  return OK;
}

static Node *find_same(Rewrite *r, Node *node) {
  IntMap *map = seen_of(r)->by_hash;
  uint64_t hash = node_hash(node);
  bool met = false;
  for (Bucket *bucket = int_map_get(map, hash); bucket; bucket = bucket->next) {
    Node *other = bucket->item;
    met |= other == node;
    if (other != node && other->graph && nodes_equal(other, node)) return other;
  }
  if (!met) push(rewrite_scratch(r), map, hash, node);
  return NULL;
}

static bool gives_out(const Node *node) {
  for (int i = 0; i < node->output_count; i++)
    if (node->outputs[i]->is_output) return true;
  return false;
}

// Of two nodes that are the same the later one goes, and sizes that only a run shows of it become those of the other.
static Status merge_nodes(Rewrite *r) {
  Node *node = matched(r, "root");
  WANT(!node->op->random && !node->op->is_control, "it is random, or holds graphs that the host runs");
  Node *other = find_same(r, node);
  WANT(other, "no other node does the same");
  Node *kept = node_is_before(other, node) ? other : node, *gone = kept == node ? other : node;
  WANT(!gives_out(gone), "callers know its result by name");
  Bindings sizes = bindings_new(rewrite_graph(r));
  rewrite_cover(r, gone);
  for (int i = 0; i < gone->output_count; i++) {
    bindings_learn_type(&sizes, gone->outputs[i]->rank, gone->outputs[i]->dims, kept->outputs[i]);
    TRY(rewrite_replace(r, gone->outputs[i], kept->outputs[i]));
  }
  node_merge_origins(kept, gone);
  if (sizes.count) rewrite_learn(r, &sizes);
  return OK;
}

static const Rule rule_merge_constants = {.name = "merge_constants",
                                          .help = "constants of the same content are one",
                                          .pattern = "*(...)",
                                          .exactness = EXACT,
                                          .apply = merge_constants};
static const Rule rule_merge_nodes = {.name = "merge_nodes",
                                      .help = "nodes that do the same to the same operands are one",
                                      .pattern = "*(...)",
                                      .exactness = EXACT,
                                      .apply = merge_nodes};

const Pass pass_common_subexpressions = {"common_subexpressions", "computes equal things once",
                                         (const Rule *const[]){&rule_merge_constants, &rule_merge_nodes, NULL}};
