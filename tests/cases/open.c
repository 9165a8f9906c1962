// See open.h.
#include "tests/cases/open.h"

#include <string.h>

#include "base/checked.h"
#include "base/text.h"
#include "kernels/control/region.h"
#include "kernels/conv/conv.h"
#include "kernels/ops.h"

// Which sizes are symbols: all; those that are no value's last; of images, all but channels and those of filters; or all but the first input's last and the outputs'.
typedef bool SizeStays(const Value *value, const Node *reader, int operand, int axis);
static bool none_stays(const Value *value, const Node *reader, int operand, int axis) { return false; }
static bool last_stays(const Value *value, const Node *reader, int operand, int axis) { return axis == value->rank - 1; }
static bool channels_stay(const Value *value, const Node *reader, int operand, int axis) {
  bool of_images = reader && (reader->op == &op_conv || reader->op == &op_conv_transpose);
  return of_images && (axis == 1 || operand == 1);
}
static bool last_outside_stays(const Value *value, const Node *reader, int operand, int axis) {
  const Graph *graph = value->graph;
  bool outside = graph->input_count && value == graph->inputs[0];
  for (int i = 0; i < graph->output_count; i++) outside = outside || value == graph->outputs[i];
  return outside && axis == value->rank - 1;
}
static const struct {
  const char *name;
  SizeStays *stays;
} openings[] = {{"all", none_stays}, {"leading", last_stays}, {"images", channels_stay}, {"lengths", last_outside_stays}};

static SizeStays *opening(const char *name) {
  for (size_t i = 0; i < COUNT_OF(openings); i++)
    if (!strcmp(openings[i].name, name)) return openings[i].stays;
  return NULL;
}

// Whether the rule keeps this size somewhere in the graph, in its regions too but for "lengths", which is about the graph's own values. An operand's number is -1 where the node makes it.
static bool size_stays(const Graph *graph, SizeStays *stays, int64_t size) {
  bool found = false;
  for (int i = 0; i < graph->input_count; i++)
    for (int k = 0; k < graph->inputs[i]->rank; k++)
      found = found || (graph->inputs[i]->dims[k] == size && stays(graph->inputs[i], NULL, -1, k));
  FOR_NODES(node, graph) {
    if (node->op == &op_region && stays != last_outside_stays) found = found || size_stays(region_body(node), stays, size);
    for (int i = -node->output_count; i < node->input_count; i++) {
      const Value *value = i < 0 ? node->outputs[-1 - i] : node->inputs[i];
      for (int k = 0; value && k < value->rank; k++)
        found = found || (value->dims[k] == size && stays(value, node, MAX(i, -1), k));
    }
  }
  return found;
}

// A size that is a symbol is the same one wherever it occurs.
static void open_value(Value *value, const Graph *whole, SizeStays *stays) {
  int64_t dims[MAX_RANK];
  if (!value_get_dims(value, dims)) return;
  Graph *graph = value->graph;
  Dim *open = arena_array(graph->arena, Dim, (size_t)value->rank + 1);
  for (int i = 0; i < value->rank; i++)
    open[i] = size_stays(whole, stays, dims[i])
                  ? dims[i]
                  : dim_symbol(graph->dims, arena_printf(graph->arena, "size%lld", (long long)dims[i]));
  value->open = open;
}

static void open_values(Graph *graph, const Graph *whole, SizeStays *stays) {
  for (int i = 0; i < graph->input_count; i++) open_value(graph->inputs[i], whole, stays);
  FOR_NODES(node, graph) {
    for (int i = 0; i < node->output_count; i++) open_value(node->outputs[i], whole, stays);
    if (node->op == &op_region) open_values(region_body(node), whole, stays);
  }
}

bool open_sizes_known(const char *name) { return opening(name) != NULL; }

void open_sizes(Graph *graph, const char *name) { open_values(graph, graph, opening(name)); }
