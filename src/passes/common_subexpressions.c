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

static bool nodes_equal(const Node *a, const Node *b) {
  return node_work_equal(a, b) && !memcmp(a->inputs, b->inputs, (size_t)a->input_count * sizeof *a->inputs);
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
