// See absent.h.
#include "onnx/absent.h"

#include <string.h>

#include "base/map.h"
#include "onnx/importer.h"

// A list of nodes, and one in it.
typedef struct Place {
  const Onnx__Node *node;
  Onnx__Node *const *nodes;
  size_t count;
  const Onnx__Graph *graph;  // whose list it is; NULL: a function's
  const Onnx__Function *function;
} Place;

static bool find_among(Place list, const char *name, Place *out) {
  for (size_t i = 0; i < list.count; i++) {
    *out = list;
    out->node = list.nodes[i];
    if (strcmp(onnx_node_name(out->node), name) == 0) return true;
    for (size_t k = 0; k < list.nodes[i]->n_attribute; k++) {
      const Onnx__Graph *graph = list.nodes[i]->attribute[k]->g;
      if (graph && find_among((Place){.nodes = graph->node, .count = graph->n_node, .graph = graph}, name, out)) return true;
    }
  }
  return false;
}

static bool find(const Model *model, const char *name, Place *out) {
  const Onnx__Model *proto = model->proto;
  const Onnx__Graph *graph = proto->graph;
  if (find_among((Place){.nodes = graph->node, .count = graph->n_node, .graph = graph}, name, out)) return true;
  for (size_t i = 0; i < proto->n_functions; i++) {
    const Onnx__Function *function = proto->functions[i];
    if (find_among((Place){.nodes = function->node, .count = function->n_node, .function = function}, name, out)) return true;
  }
  return false;
}

static void need(StringMap *needed, const char *name) { string_map_set(needed, name, needed); }

// What a node reads, graphs inside of it included.
static void need_reads(StringMap *needed, const Onnx__Node *node) {
  for (size_t i = 0; i < node->n_input; i++) need(needed, node->input[i]);
  for (size_t k = 0; k < node->n_attribute; k++) {
    const Onnx__Graph *graph = node->attribute[k]->g;
    for (size_t i = 0; graph && i < graph->n_output; i++) need(needed, graph->output[i]->name);
    for (size_t i = 0; graph && i < graph->n_node; i++) need_reads(needed, graph->node[i]);
  }
}

static bool gives_needed(const StringMap *needed, const Onnx__Node *node) {
  for (size_t i = 0; i < node->n_output; i++)
    if (node->output[i][0] && string_map_get(needed, node->output[i])) return true;
  return false;
}

// Nodes stand in topological order (sort.h).
static bool is_needed(const Place *place) {
  Arena *scratch = arena_scratch();
  StringMap *needed = string_map_new(scratch);
  for (size_t i = 0; place->graph && i < place->graph->n_output; i++) need(needed, place->graph->output[i]->name);
  for (size_t i = 0; place->function && i < place->function->n_output; i++) need(needed, place->function->output[i]);
  bool found = false;
  for (size_t i = place->count; i-- > 0 && !found;) {
    if (!gives_needed(needed, place->nodes[i])) continue;
    found = place->nodes[i] == place->node;
    need_reads(needed, place->nodes[i]);
  }
  arena_free(scratch);
  return found;
}

const char *onnx_why_absent(const Model *model, const char *name, const char **op_type) {
  Place place;
  if (!find(model, name, &place)) return NULL;
  *op_type = place.node->op_type;
  if (!is_needed(&place)) return "nothing that the model gives needs it";
  if (!strcmp(*op_type, "Constant")) return "it is a constant";
  if (!strcmp(*op_type, "Identity")) return "what it gives is what it reads";
  return "what it gives follows from sizes and constants, or is what it reads";
}
