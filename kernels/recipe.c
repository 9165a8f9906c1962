// See recipe.h.
#include "kernels/recipe.h"

#include <string.h>

#include "base/checked.h"
#include "ir/graph_text.h"
#include "kernels/ops.h"
#include "kernels/packings.h"
#include "kernels/pad/pad.h"
#include "kernels/reference.h"

Recipe *recipe_new(Arena *arena) {
  Recipe *recipe = arena_new_of(arena, Recipe);
  recipe->graph = graph_new(arena, core_ops, "recipe");
  recipe->b = (Builder){.graph = recipe->graph};
  return recipe;
}

Value *recipe_source(Recipe *recipe, const Tensor *tensor) {
  Arena *arena = recipe->graph->arena;
  Dim dims[MAX_RANK];
  for (int i = 0; i < tensor->rank; i++) dims[i] = tensor->dims[i];
  *ARENA_PUSH(arena, recipe->sources, recipe->source_count, recipe->source_capacity) = tensor;
  return graph_add_input(recipe->graph, arena_printf(arena, "source%u", recipe->source_count), tensor->dtype, tensor->rank,
                         dims);
}

typedef struct Pads {
  Dim pads[2 * MAX_RANK];
  int count;
} Pads;

static void set_pads(Node *node, void *context) {
  const Pads *pads = context;
  node_set_dims(node, "pads", pads->pads, pads->count);
}

Value *recipe_pad(Recipe *recipe, Value *x, int axis, int64_t size) {
  int64_t dims[MAX_RANK];
  if (!x || !value_get_dims(x, dims) || dims[axis] == size) return x;
  Pads pads = {.count = 2 * x->rank};
  pads.pads[x->rank + axis] = size - dims[axis];
  return build_node(&recipe->b, &op_pad, 1, &x, 1, set_pads, &pads);
}

static Status count_bytes(Recipe *recipe) {
  const Value *constant = recipe->graph->outputs[0];
  int64_t dims[MAX_RANK];
  if (!value_get_dims(constant, dims)) FAIL(ERROR_INTERNAL, "a constant's size is not known");
  recipe->bytes = dtype_size(constant->dtype);
  for (int i = 0; i < constant->rank; i++)
    if (!checked_mul(recipe->bytes, (size_t)dims[i], &recipe->bytes))
      FAIL(ERROR_INVALID_MODEL, "a constant of more bytes than there are addresses");
  return OK;
}

Status recipe_again(Graph *graph, const Tensor **sources, uint32_t source_count, Hash128 key, Recipe **out) {
  Recipe *recipe = *out = arena_new_of(graph->arena, Recipe);
  *recipe = (Recipe){.graph = graph, .sources = sources, .source_count = source_count, .key = key};
  if (graph->output_count != 1 || (uint32_t)graph->input_count != source_count)
    FAIL(ERROR_INVALID_MODEL, "a recipe of %u tensors whose graph has %d inputs and %d outputs", source_count,
         graph->input_count, graph->output_count);
  return count_bytes(recipe);
}

Status recipe_finish(Recipe *recipe, Value *constant) {
  TRY(recipe->b.status);
  graph_mark_output(recipe->graph, constant);
  TRY(count_bytes(recipe));
  Text text = text_new(recipe->graph->arena);
  graph_print(&text, recipe->graph, NULL);
  const char *printed = text_get(&text);
  recipe->key = hash128_bytes(printed, strlen(printed));
  for (uint32_t i = 0; i < recipe->source_count; i++)
    recipe->key = hash128_combine(recipe->key, tensor_content_hash(recipe->sources[i]));
  return OK;
}

static Status run(const Recipe *recipe, Arena *arena, void *out) {
  const Graph *graph = recipe->graph;
  const Value *result = graph->outputs[0];
  const Tensor **values = arena_array(arena, const Tensor *, (size_t)graph->next_value_id + 1);
  for (int i = 0; i < graph->input_count; i++) values[graph->inputs[i]->id] = recipe->sources[i];
  TRY(reference_run_graph(graph, arena, values));
  const Tensor *made = result->constant ? result->constant : values[result->id];  // builders fold what is small
  if (recipe->bytes) memcpy(out, made->data, recipe->bytes);
  return OK;
}

Status recipe_run(const Recipe *recipe, void *out) {
  Arena *scratch = arena_scratch();
  Status status = run(recipe, scratch, out);
  arena_free(scratch);
  return status;
}
