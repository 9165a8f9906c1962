// An imported graph points into its model: into the mapped file, into files of external data, into the importer's arena. Before the
// model goes, the graph takes over all of it that it still uses: constants, tensors that attributes hold, strings.
//
// Tensors may share bytes: tied weights do, and a file may let external tensors overlap at will, of other sizes from the same offset.
// So the bytes are sorted by address, what overlaps is one stretch, and each stretch is copied once.
#include <stdlib.h>
#include <string.h>
#include "base/checked.h"
#include "ir/graph.h"

enum { STRETCH_ALIGNMENT = 64 };

typedef struct Owner {
  Arena *arena, *scratch;
  IntMap *met;       // tensors, by their own address: a value used twice is met twice
  IntMap *strings;   // where an array of strings was, to its copy: a Tensor
  Tensor **tensors;  // numbers whose bytes are another's
  uint32_t count, capacity;
} Owner;

static void own_strings(Owner *owner, Tensor *tensor) {
  uint64_t key = (uint64_t)(uintptr_t)tensor->data;
  const Tensor *known = int_map_get(owner->strings, key);
  int64_t count = tensor_count(tensor);
  if (known && tensor_count(known) >= count) {
    tensor->data = known->data;
    return;
  }
  const char **copy = arena_array(owner->arena, const char *, (size_t)count), *const *from = tensor->data;
  for (int64_t i = 0; i < count; i++) copy[i] = arena_string(owner->arena, from[i]);
  tensor->data = copy;
  int_map_set(owner->strings, key, tensor);
}

static void note(Owner *owner, Tensor *tensor) {
  if (!tensor || int_map_get(owner->met, (uint64_t)(uintptr_t)tensor)) return;
  int_map_set(owner->met, (uint64_t)(uintptr_t)tensor, tensor);
  if (tensor->dtype == DTYPE_STRING) own_strings(owner, tensor);
  else if (!arena_owns(owner->arena, tensor->data))
    *ARENA_PUSH(owner->scratch, owner->tensors, owner->count, owner->capacity) = tensor;
}

static void note_graph(Owner *owner, const Graph *graph) {
  for (int i = 0; i < graph->input_count; i++) note(owner, graph->inputs[i]->initial);
  FOR_NODES(node, graph) {
    for (int i = 0; i < node->input_count; i++)
      if (node->inputs[i]) note(owner, node->inputs[i]->constant);
    for (int i = 0; i < node->attribute_count; i++) {
      const Attribute *attribute = &node->attributes[i];
      if (attribute->kind == ATTR_TENSOR) note(owner, attribute->tensor);
      if (attribute->kind == ATTR_GRAPH) note_graph(owner, attribute->graph);
    }
  }
  for (int i = 0; i < graph->output_count; i++) note(owner, graph->outputs[i]->constant);
}

static int by_address(const void *a, const void *b) {
  uintptr_t x = (uintptr_t)(*(Tensor *const *)a)->data, y = (uintptr_t)(*(Tensor *const *)b)->data;
  return x < y ? -1 : x > y;
}

// The tensors from `first` on whose bytes overlap. Where all begin at one address the copy is aligned as vector loads like it; else each
// keeps its distance from such an address, and so the alignment that its elements need.
static Status own_stretch(Owner *owner, uint32_t first, uint32_t *next) {
  uintptr_t begin = (uintptr_t)owner->tensors[first]->data, end = begin + tensor_bytes(owner->tensors[first]);
  bool one_address = true;
  uint32_t i = first + 1;
  for (; i < owner->count; i++) {
    uintptr_t at = (uintptr_t)owner->tensors[i]->data;
    if (at != begin && at >= end) break;
    one_address = one_address && at == begin;
    end = MAX(end, at + tensor_bytes(owner->tensors[i]));
  }
  *next = i;
  size_t lead = one_address ? 0 : begin % STRETCH_ALIGNMENT;
  void *memory;
  TRY(arena_try_alloc(owner->arena, lead + (end - begin), STRETCH_ALIGNMENT, &memory));
  char *copy = (char *)memory + lead;
  if (end > begin) memcpy(copy, (const void *)begin, end - begin);
  for (i = first; i < *next; i++) owner->tensors[i]->data = copy + ((uintptr_t)owner->tensors[i]->data - begin);
  return OK;
}

static Status own(Owner *owner, Graph *graph) {
  note_graph(owner, graph);
  if (owner->count) qsort(owner->tensors, owner->count, sizeof *owner->tensors, by_address);
  for (uint32_t i = 0; i < owner->count;) TRY(own_stretch(owner, i, &i));
  return OK;
}

Status graph_own_tensors(Graph *graph) {
  Owner owner = {.arena = graph->arena, .scratch = arena_scratch()};
  owner.met = int_map_new(owner.scratch);
  owner.strings = int_map_new(owner.scratch);
  Status status = own(&owner, graph);
  arena_free(owner.scratch);
  return status;
}

// Others are hashed faster than they are looked up.
enum { LEAST_NAMED_BYTES = 1024 };

void graph_name_constants(Graph *graph) {
  FOR_NODES(node, graph) {
    for (int i = 0; i < node->input_count; i++) {
      Tensor *constant = node->inputs[i] ? node->inputs[i]->constant : NULL;
      if (constant && constant->dtype != DTYPE_STRING && tensor_bytes(constant) >= LEAST_NAMED_BYTES)
        tensor_give_name(constant, graph->arena);
    }
    for (int i = 0; i < node->attribute_count; i++)
      if (node->attributes[i].kind == ATTR_GRAPH) graph_name_constants(node->attributes[i].graph);
  }
}
