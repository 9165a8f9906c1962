// Chooses stride orders. Tensor cores and oneDNN want images with the channels innermost: convolutions and pools read and write
// that order, pointwise nodes follow what they read, and a copy appears only where an image enters in another order.
#include <string.h>

#include "kernels/build.h"
#include "kernels/conv/conv.h"
#include "kernels/fused.h"
#include "kernels/view/view.h"
#include "passes/programs.h"
#include "passes/views.h"

static void channels_last(int rank, uint8_t *order) {
  order[0] = 0;
  for (int i = 1; i + 1 < rank; i++) order[i] = (uint8_t)(i + 1);
  order[rank - 1] = 1;
}

static bool is_channels_last(const Value *value) {
  uint8_t order[MAX_RANK];
  if (value->rank < 3) return false;
  channels_last(value->rank, order);
  return !memcmp(order, value->order, (size_t)value->rank);
}

// How a value lies in memory: transposing moves nothing.
static void lies(const Value *value, uint8_t *order) {
  if (!value->producer || value->producer->op != &op_transpose) {
    memcpy(order, value->order, MAX_RANK);
    return;
  }
  uint8_t from[MAX_RANK];
  int count;
  const int64_t *perm = node_ints(value->producer, "perm", &count);
  lies(value->producer->inputs[0], from);
  for (int i = 0; i < count; i++)
    for (int axis = 0; axis < count; axis++)
      if (perm[axis] == from[i]) order[i] = (uint8_t)axis;
}

static bool lies_channels_last(const Value *value) {
  uint8_t order[MAX_RANK] = {0}, last[MAX_RANK];
  channels_last(value->rank, last);
  lies(value, order);
  return !memcmp(order, last, (size_t)value->rank);
}

// On a CPU products of bytes bring their input into a form of their own, from whatever order it lies in.
static bool takes_any_order(const PassOptions *options, DType dtype) {
  return options->device == DEVICE_CPU && (dtype == DTYPE_U8 || dtype == DTYPE_I8);
}

bool layout_wants_channels_last(const PassOptions *options, DType dtype) {
  if (options->device == DEVICE_CPU) return dtype == DTYPE_F32 || takes_any_order(options, dtype);
  return dtype == DTYPE_F16 || dtype == DTYPE_BF16 || (dtype == DTYPE_F32 && options->tf32);
}

static bool reduces_everything(const Node *node) {
  int count;
  return node_ints(node, "axes", &count) && count == node->outputs[0]->rank;
}

// An anchor with its epilogue lies as the anchor alone would.
typedef struct Seen {
  const Node *anchor;
  int image, weights;  // inputs of the node; -1: there are none
} Seen;

static Seen see(Node *node) {
  Arena *scratch = arena_scratch();
  Fused fused;
  fused_read(node, scratch, &fused);
  Seen seen = {fused.anchor, -1, -1};
  if (fused.anchor->input_count > 0) seen.image = fused_input(&fused, 0);
  if (fused.anchor->input_count > 1) seen.weights = fused_input(&fused, 1);
  arena_free(scratch);
  return seen;
}

// Norms of an image read what their largest input has contiguous, and should write so, on a GPU. A tensor that is quantised as a whole has no axis that is
// another than the others.
static bool follows_image(const Node *node, const PassOptions *options) {
  bool rows = node->op->has_program && node_attribute(node, "axes");
  return node->op->image == IMAGE_FOLLOWS && (!rows || options->device == DEVICE_CUDA || reduces_everything(node));
}

static Status enter(Graph *graph, Node *node, int image) {
  Builder b = {.graph = graph, .at = node};
  Value *input = node->inputs[image];
  Program *identity = program_new(graph->arena, 1);
  program_output(identity, program_input(identity, 0, input->dtype));
  Value *copy = build_elementwise(&b, identity, 1, &input);
  TRY(b.status);
  node_merge_origins(copy->producer, node);
  channels_last(copy->rank, copy->order);
  node_set_input(node, image, copy);
  return OK;
}

static Status run(Graph *graph, const PassOptions *options, int *changes) {
  if (options->in_region) return OK;
  FOR_NODES(node, graph) {
    Value *out = node->output_count ? node->outputs[0] : NULL;
    Seen seen = see(node);
    if (!out || out->rank < 3 || seen.image < 0) continue;
    const Value *x = node->inputs[seen.image];
    if (seen.anchor->op->image == IMAGE_GAINS && layout_wants_channels_last(options, x->dtype)) {
      if (!lies_channels_last(x) && !x->constant && !takes_any_order(options, x->dtype)) {
        TRY(enter(graph, node, seen.image));
        ++*changes;
      }
      Value *weights = seen.weights < 0 ? NULL : node->inputs[seen.weights];
      if (seen.anchor->op == &op_conv && weights->constant && options->device == DEVICE_CUDA)
        channels_last(weights->rank, weights->order);
      channels_last(out->rank, out->order);
      ++*changes;
    } else if (follows_image(seen.anchor, options)) {
      const Value *image = NULL;
      for (int i = 0; i < node->input_count && !image; i++)
        if (node->inputs[i] && node->inputs[i]->rank == out->rank && is_channels_last(node->inputs[i]) &&
            !node->inputs[i]->constant && (!is_program_node(node) || value_same_shape(node->inputs[i], out)))
          image = node->inputs[i];
      if (!image) continue;
      for (int i = 0; i < node->output_count; i++)
        if (node->outputs[i]->rank == out->rank) channels_last(out->rank, node->outputs[i]->order);
      ++*changes;
    }
  }
  return OK;
}

const Pass pass_layout = {"layout", "chooses stride orders and inserts copies between them", .run = run};
