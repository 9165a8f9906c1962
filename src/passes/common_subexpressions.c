// Two nodes with the same operator, attributes and inputs are one, and so are the sizes that only a run shows of them. Constants with the
// same content are one first, so that the nodes that use them can meet.
#include <string.h>

#include "base/budget.h"
#include "base/hash.h"
#include "ir/attribute.h"
#include "ir/bindings.h"
#include "passes/passes.h"

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
    case ATTR_GRAPH: return a->graph == b->graph;
  }
  return false;
}

static bool nodes_equal(const Node *a, const Node *b) {
  budget_step(8);
  if (a->op != b->op || a->input_count != b->input_count || a->output_count != b->output_count ||
      a->attribute_count != b->attribute_count)
    return false;
  if (memcmp(a->inputs, b->inputs, (size_t)a->input_count * sizeof *a->inputs)) return false;
  if (!a->epilogue != !b->epilogue ||
      (a->epilogue && (a->epilogue_first != b->epilogue_first || !program_equal(a->epilogue, b->epilogue))))
    return false;
  for (int i = 0; i < a->attribute_count; i++) {
    const Attribute *other = node_attribute(b, a->attributes[i].name);
    if (!other || !attributes_equal(&a->attributes[i], other)) return false;
  }
  for (int i = 0; i < a->output_count; i++)
    if (a->outputs[i]->dtype != b->outputs[i]->dtype) return false;
  return true;
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

static void merge_constants(Graph *graph, Arena *scratch, int *changes) {
  IntMap *map = int_map_new(scratch);
  FOR_NODES(node, graph)
  for (int i = 0; i < node->input_count; i++) {
    Value *value = node->inputs[i];
    if (!value || !value->constant || value->dtype == DTYPE_STRING) continue;
    uint64_t hash = hash_bytes(value->constant->data, tensor_bytes(value->constant), (uint64_t)value->dtype);
    Bucket *bucket = int_map_get(map, hash);
    Value *same = NULL;
    for (; bucket && !same; bucket = bucket->next)
      if (tensor_equal(((Value *)bucket->item)->constant, value->constant)) same = bucket->item;
    if (!same) push(scratch, map, hash, value);
    else if (same != value && !value->is_output) {
      node_set_input(node, i, same);
      ++*changes;
    }
  }
}

static Status run(Graph *graph, const PassOptions *options, int *changes) {
  Arena *scratch = arena_scratch();
  merge_constants(graph, scratch, changes);
  IntMap *map = int_map_new(scratch);
  Bindings sizes = bindings_new(graph);
  FOR_NODES_SAFE(node, graph) {
    if (sizes.count) bindings_apply(&sizes, node);
    if (node->op->random || node_attribute(node, "body") || node_attribute(node, "then_branch")) continue;
    uint64_t hash = node_hash(node);
    Node *same = NULL;
    for (Bucket *bucket = int_map_get(map, hash); bucket && !same; bucket = bucket->next)
      if (nodes_equal(bucket->item, node)) same = bucket->item;
    bool given_out = false;
    for (int i = 0; i < node->output_count; i++) given_out |= node->outputs[i]->is_output;
    if (!same || given_out) {
      push(scratch, map, hash, node);
      continue;
    }
    for (int i = 0; i < node->output_count; i++) {
      bindings_learn_type(&sizes, node->outputs[i]->rank, node->outputs[i]->dims, same->outputs[i]);
      value_replace(node->outputs[i], same->outputs[i]);
    }
    node_merge_origins(same, node);
    node_remove(node);
    ++*changes;
  }
  bindings_apply_everywhere(&sizes, graph);
  arena_free(scratch);
  return OK;
}

const Pass pass_common_subexpressions = {"common_subexpressions", "computes equal things once", true, run};
