// A shuffle of channels, as between the units of a network whose convolutions see a half each, moves nothing that filters could not fetch where it was: it becomes a gather by constants, and
// a gather goes into the constants of what reads it. A convolution over all channels reads them in another order by having its filters' rows in another order, and a part of them by
// having zeros for the others; one of a channel each, and what is done to each channel, stand in front of the gather. What is left is a concatenation of channels that pass by
// and of a convolution's. That writes over the channels which nobody wants any more: where it has filters it gives its own, elsewhere what was there. So a unit
// takes its convolutions and no copy.
//
// A copy reads and writes each channel that passes by, and what reads the copy reads it again; a convolution that reads twice as many channels as it needs, or writes twice as many, moves no more.
// What it multiplies in vain takes an H200 less time than that memory, where the other side of the product is small (MOST_VAIN).
#include <string.h>

#include "kernels/conv/conv.h"
#include "kernels/gather/gather.h"
#include "kernels/meaning.h"
#include "kernels/view/view.h"
#include "passes/programs.h"
#include "passes/rule.h"

enum { CHANNEL_AXIS = 1, MOST_VAIN = 256, LONGEST_CHAIN = 8 };

// ---- constants -----------------------------------------------------------------------------------------------------------------

// Which channels a gather takes, and of how many.
typedef struct Picked {
  int64_t *from;
  int64_t count, of;
} Picked;

// False where it takes no channels of images, or one twice.
static bool read_channels(const Node *gather, const Tensor *indices, Arena *arena, Picked *out) {
  const Value *x = gather->inputs[0];
  if (x->rank < 3 || node_int(gather, "axis", 0) != CHANNEL_AXIS || indices->rank != 1 || !dim_is_static(x->dims[CHANNEL_AXIS]))
    return false;
  *out = (Picked){arena_array(arena, int64_t, (size_t)tensor_count(indices) + 1), tensor_count(indices), x->dims[CHANNEL_AXIS]};
  bool *taken = arena_array(arena, bool, (size_t)out->of + 1);
  for (int64_t i = 0; i < out->count; i++) {
    int64_t from = tensor_get_i(indices, i);
    out->from[i] = from < 0 ? from + out->of : from;
    if (out->from[i] < 0 || out->from[i] >= out->of || taken[out->from[i]]) return false;
    taken[out->from[i]] = true;
  }
  return out->count > 0;
}

static bool takes_all(const Picked *channels) { return channels->count == channels->of; }

// The tensor's places along the axis, put where they came from; others are 0, or like the first.
static Status scatter(Arena *arena, const Tensor *tensor, int axis, const Picked *channels, bool like_first, Tensor *out) {
  int64_t dims[MAX_RANK], outer = dims_count(axis, tensor->dims);
  memcpy(dims, tensor->dims, sizeof dims);
  dims[axis] = channels->of;
  TRY(tensor_new(arena, tensor->dtype, tensor->rank, dims, out));
  size_t bytes = (size_t)dims_count(tensor->rank - axis - 1, tensor->dims + axis + 1) * dtype_size(tensor->dtype);
  for (int64_t o = 0; o < outer; o++) {
    const char *from = (const char *)tensor->data + (size_t)(o * channels->count) * bytes;
    char *to = (char *)out->data + (size_t)(o * channels->of) * bytes;
    if (!like_first) memset(to, 0, (size_t)channels->of * bytes);
    for (int64_t i = 0; i < channels->of && like_first; i++) memcpy(to + (size_t)i * bytes, from, bytes);
    for (int64_t i = 0; i < channels->count; i++)
      memcpy(to + (size_t)channels->from[i] * bytes, from + (size_t)i * bytes, bytes);
  }
  return OK;
}

// The axis of channels in what a program over images of this rank reads; -1 where all channels have the same.
static int channels_in(const Value *value, int rank) {
  int axis = CHANNEL_AXIS - (rank - value->rank);
  return axis < 0 || value->dims[axis] == 1 ? -1 : axis;
}

// Whether it is a constant that differs by channel alone, if at all.
static bool is_by_channel(const Value *value, int rank) {
  if (!value->constant || value->rank > rank) return false;
  int axis = channels_in(value, rank);
  return tensor_count(value->constant) == (axis < 0 ? 1 : value->constant->dims[axis]);
}

static Status put_back(Rewrite *r, Value *value, int rank, const Picked *channels, bool like_first, Value **out) {
  int axis = channels_in(value, rank);
  Tensor made;
  *out = value;
  if (axis < 0) return OK;
  TRY(scatter(rewrite_graph(r)->arena, value->constant, axis, channels, like_first, &made));
  *out = graph_add_constant(rewrite_graph(r), value->name, &made);
  return OK;
}

// The channels of x take the place of the root's result.
static Status gather_instead(Rewrite *r, Value *x, const Picked *channels) {
  Graph *graph = rewrite_graph(r);
  Tensor indices;
  TRY(tensor_new(graph->arena, DTYPE_I64, 1, &channels->count, &indices));
  for (int64_t i = 0; i < channels->count; i++) tensor_set_i(&indices, i, channels->from[i]);
  Node *gather = rewrite_add(r, &op_gather, 2, (Value *[]){x, graph_add_constant(graph, NULL, &indices)}, 1);
  node_set_int(gather, "axis", CHANNEL_AXIS);
  return rewrite_root_by(r, gather);
}

// ---- who takes a gather into its constants --------------------------------------------------------------------------------------

static const Tensor *filters_of(const Node *conv) {
  bool plain = conv->op == &op_conv && conv->input_count == 2 && dtype_is_float(conv->outputs[0]->dtype);
  return plain ? conv->inputs[1]->constant : NULL;
}

static bool is_depthwise(const Node *conv, int64_t channels) {
  const Tensor *filters = filters_of(conv);
  return filters && filters->dims[0] == channels && filters->dims[1] == 1 && node_int(conv, "group", 1) == channels;
}

// Whether a convolution takes `count` of `of` channels by its filters.
static bool takes_into_filters(const Node *conv, int64_t count, int64_t of) {
  const Tensor *filters = filters_of(conv);
  if (!filters || node_int(conv, "group", 1) != 1 || filters->dims[1] != count) return false;
  int64_t taps = dims_count(filters->rank - 2, filters->dims + 2), vain = of - count;
  return !vain || (taps == 1 && vain <= count && vain * filters->dims[0] <= MOST_VAIN * count);
}

// A program of one result that reads the value and constants by channel.
static bool is_by_channels(const Node *node, const Value *value) {
  if (node->op != &op_elementwise || node->output_count != 1 || node->input_count > READS_LITTLE ||
      node_attribute(node, "dims") || !value_same_shape(node->outputs[0], value) ||
      reads_coordinates(node_program(node, "program")))
    return false;
  for (int i = 0; i < node->input_count; i++)
    if (node->inputs[i] != value && !is_by_channel(node->inputs[i], value->rank)) return false;
  return true;
}

// Whether all readers of a value do, whose channels are `count` of `of`, or what follows them does.
static bool ends_in_filters(const Value *value, int64_t count, int64_t of, int most) {
  for (const Use *use = value->uses; use; use = use->next) {
    const Node *node = use->node;
    if (use->index == 0 && takes_into_filters(node, count, of)) continue;
    bool passes = count == of && (is_by_channels(node, value) || (use->index == 0 && is_depthwise(node, count)));
    if (!passes || !most || !ends_in_filters(node->outputs[0], count, of, most - 1)) return false;
  }
  return value->uses && !value->is_output;
}

// ---- shuffles ------------------------------------------------------------------------------------------------------------------

// Picked become several axes, these change places, and are channels again.
static bool read_shuffle(const Value *x, const Node *turn, const Value *y, Arena *arena, Picked *out) {
  const Value *split = turn->inputs[0];
  int count, parts = split->rank - x->rank + 1;
  const int64_t *perm = node_ints(turn, "perm", &count);
  if (x->rank < 3 || parts < 2 || !value_same_shape(x, y) || !dim_is_static(x->dims[CHANNEL_AXIS])) return false;
  int64_t whole = 1, strides[MAX_RANK];
  for (int i = 0; i < split->rank; i++) {
    bool part = i >= CHANNEL_AXIS && i < CHANNEL_AXIS + parts;
    if (part ? !dim_is_static(split->dims[i]) || perm[i] < CHANNEL_AXIS || perm[i] >= CHANNEL_AXIS + parts
             : perm[i] != i || split->dims[i] != x->dims[i < CHANNEL_AXIS ? i : i - parts + 1])
      return false;
  }
  for (int i = CHANNEL_AXIS + parts - 1; i >= CHANNEL_AXIS; i--) strides[i] = whole, whole *= split->dims[i];
  if (whole != x->dims[CHANNEL_AXIS] || !whole) return false;
  *out = (Picked){arena_array(arena, int64_t, (size_t)whole), whole, whole};
  for (int64_t c = 0; c < whole; c++) {
    int64_t rest = c;
    for (int i = CHANNEL_AXIS + parts - 1; i >= CHANNEL_AXIS; rest /= split->dims[perm[i--]])
      out->from[c] += rest % split->dims[perm[i]] * strides[perm[i]];
  }
  return true;
}

// Of the channels alone, one after the other.
static bool cuts_channels(const Node *slice) {
  int count;
  const Value *x = slice->inputs[0], *y = slice->outputs[0];
  const int64_t *steps = node_ints(slice, "steps", &count);
  const Dim *starts = node_dims(slice, "starts", &count);
  for (int i = 0; i < x->rank; i++)
    if (steps[i] != 1 || !dim_is_static(starts[i]) || !dim_is_static(y->dims[CHANNEL_AXIS]) ||
        (i != CHANNEL_AXIS && x->dims[i] != y->dims[i]))
      return false;
  return true;
}

static Node *conv_before(const Value *value, const Node *reader);

// Whether what is cut off goes by a convolution's, into a concatenation of as many channels as there were.
static bool passes_by(const Value *value, Dim of) {
  const Node *concat = only_user(value);
  if (!concat || concat->op != &op_concat || concat->input_count != 2 || node_int(concat, "axis", 0) != CHANNEL_AXIS)
    return false;
  const Value *other = concat->inputs[concat->inputs[0] == value];
  return concat->outputs[0]->dims[CHANNEL_AXIS] == of && conv_before(other, concat);
}

// Every reader takes its part of the channels into its constants, or lets it pass by.
static bool parts_are_taken(const Value *value, int64_t of) {
  bool filtered = false;
  for (const Use *use = value->uses; use; use = use->next) {
    const Node *node = use->node;
    if (node->op == &op_slice && cuts_channels(node)) {
      const Value *part = node->outputs[0];
      bool filters = ends_in_filters(part, part->dims[CHANNEL_AXIS], of, 0);
      if (!filters && !passes_by(part, of)) return false;
      filtered |= filters;
    }
  }
  return filtered;
}

static bool is_taken(const Value *value, int64_t of) {
  bool cut = false;
  for (const Use *use = value->uses; use; use = use->next) cut |= use->node->op == &op_slice;
  if (!cut) return ends_in_filters(value, of, of, LONGEST_CHAIN);
  for (const Use *use = value->uses; use; use = use->next)
    if (use->node->op != &op_slice || !cuts_channels(use->node)) return false;
  return !value->is_output && parts_are_taken(value, of);
}

static Status shuffle_as_gather(Rewrite *r) {
  const Node *root = matched(r, "root");
  Value *x = operand(r, "x");
  Picked channels;
  WANT(!rewrite_options(r)->in_region, "it is part of a region");
  WANT(read_shuffle(x, matched(r, "turn"), root->outputs[0], rewrite_scratch(r), &channels),
       "it does more than to move channels");
  WANT(is_taken(root->outputs[0], channels.of), "somebody reads it who has no filters to take the order into");
  return gather_instead(r, x, &channels);
}

// ---- gathers -------------------------------------------------------------------------------------------------------------------

static Status gather_of_gather(Rewrite *r) {
  Picked inner, outer;
  WANT(read_channels(matched(r, "inner"), operand(r, "a")->constant, rewrite_scratch(r), &inner) &&
           read_channels(matched(r, "root"), operand(r, "b")->constant, rewrite_scratch(r), &outer),
       "they take no channels, or one twice");
  for (int64_t i = 0; i < outer.count; i++) outer.from[i] = inner.from[outer.from[i]];
  return gather_instead(r, operand(r, "x"), &outer);
}

static Status slice_of_gather(Rewrite *r) {
  const Node *slice = matched(r, "root");
  Picked channels;
  int count;
  WANT(cuts_channels(slice) &&
           read_channels(matched(r, "gather"), operand(r, "indices")->constant, rewrite_scratch(r), &channels),
       "it cuts something else, or the gather takes no channels");
  channels.from += node_dims(slice, "starts", &count)[CHANNEL_AXIS];
  channels.count = slice->outputs[0]->dims[CHANNEL_AXIS];
  WANT(channels.count > 0, "it is empty");
  return gather_instead(r, operand(r, "x"), &channels);
}

static Status gather_into_filters(Rewrite *r) {
  Node *conv = matched(r, "root");
  Picked channels;
  Tensor filters;
  WANT(read_channels(matched(r, "gather"), operand(r, "indices")->constant, rewrite_scratch(r), &channels),
       "it takes no channels, or one twice");
  WANT(takes_into_filters(conv, channels.count, channels.of), "the filters would be mostly zeros, or it has groups");
  TRY(scatter(rewrite_graph(r)->arena, operand(r, "w")->constant, 1, &channels, false, &filters));
  Node *made = rewrite_like(r, conv);
  node_set_input(made, 0, operand(r, "x"));
  node_set_input(made, 1, graph_add_constant(rewrite_graph(r), operand(r, "w")->name, &filters));
  return rewrite_root_by(r, made);
}

static Status gather_behind_depthwise(Rewrite *r) {
  Node *conv = matched(r, "root");
  Picked channels;
  Tensor filters;
  WANT(read_channels(matched(r, "gather"), operand(r, "indices")->constant, rewrite_scratch(r), &channels) &&
           takes_all(&channels),
       "it does not only move channels");
  WANT(is_depthwise(conv, channels.of), "it has more than a channel in a group");
  WANT(ends_in_filters(conv->outputs[0], channels.of, channels.of, LONGEST_CHAIN), "no filters behind it take the order");
  TRY(scatter(rewrite_graph(r)->arena, operand(r, "w")->constant, 0, &channels, false, &filters));
  Node *made = rewrite_like(r, conv);
  node_set_input(made, 0, operand(r, "x"));
  node_set_input(made, 1, graph_add_constant(rewrite_graph(r), operand(r, "w")->name, &filters));
  TRY(node_infer(made));
  return gather_instead(r, made->outputs[0], &channels);
}

static Status gather_behind_pointwise(Rewrite *r) {
  Node *root = matched(r, "root");
  const Value *gathered = matched(r, "gather")->outputs[0];
  Picked channels;
  Value *inputs[READS_LITTLE];
  WANT(read_channels(matched(r, "gather"), operand(r, "indices")->constant, rewrite_scratch(r), &channels) &&
           takes_all(&channels),
       "it does not only move channels");
  WANT(is_by_channels(root, gathered), "it reads something else than constants by channel");
  WANT(ends_in_filters(root->outputs[0], channels.of, channels.of, LONGEST_CHAIN), "no filters behind it take the order");
  for (int i = 0; i < root->input_count; i++) {
    inputs[i] = operand(r, "x");
    if (root->inputs[i] != gathered) TRY(put_back(r, root->inputs[i], gathered->rank, &channels, false, &inputs[i]));
  }
  Node *made = rewrite_like(r, root);
  for (int i = 0; i < root->input_count; i++) node_set_input(made, i, inputs[i]);
  TRY(node_infer(made));
  return gather_instead(r, made->outputs[0], &channels);
}

// ---- channels that pass by -----------------------------------------------------------------------------------------------------

// The convolution that makes the value for this reader alone, or a program by channels behind it; NULL where none does.
static Node *conv_before(const Value *value, const Node *reader) {
  Node *made = value->producer;
  if (!made || only_user(value) != reader || value_use_count(value) != 1) return NULL;
  if (filters_of(made)) return node_int(made, "group", 1) == 1 ? made : NULL;
  for (int i = 0; made->op == &op_elementwise && i < MIN(made->input_count, READS_LITTLE); i++) {
    Node *conv = made->inputs[i]->producer;
    bool alone = conv && filters_of(conv) && only_user(conv->outputs[0]) == made;
    if (alone && is_by_channels(made, conv->outputs[0])) return node_int(conv, "group", 1) == 1 ? conv : NULL;
  }
  return NULL;
}

// Those that the gather leaves: for the convolution's own.
static Picked rest_of(const Picked *channels, Arena *arena) {
  Picked rest = {arena_array(arena, int64_t, (size_t)channels->of + 1), 0, channels->of};
  bool *taken = arena_array(arena, bool, (size_t)channels->of);
  for (int64_t i = 0; i < channels->count; i++) taken[channels->from[i]] = true;
  for (int64_t i = 0; i < channels->of; i++)
    if (!taken[i]) rest.from[rest.count++] = i;
  return rest;
}

static Status add_mask(Graph *graph, const Picked *own, int rank, Value **out) {
  int64_t dims[MAX_RANK];
  Tensor mask;
  for (int i = 0; i < rank - CHANNEL_AXIS; i++) dims[i] = i ? 1 : own->of;
  TRY(tensor_new(graph->arena, DTYPE_BOOL, rank - CHANNEL_AXIS, dims, &mask));
  for (int64_t i = 0; i < own->of; i++) tensor_set_i(&mask, i, 0);
  for (int64_t i = 0; i < own->count; i++) tensor_set_i(&mask, own->from[i], 1);
  *out = graph_add_constant(graph, NULL, &mask);
  return OK;
}

// What `made` gives where it has channels, `x` elsewhere.
static Status add_choice(Rewrite *r, Value *x, const Node *made, const Node *conv, Value *all, const Picked *own, Node **out) {
  Graph *graph = rewrite_graph(r);
  bool behind = made != conv;
  int count = behind ? made->input_count : 1, map[READS_LITTLE];
  Value *inputs[READS_LITTLE + 2] = {all};
  for (int i = 0; i < count; i++) {
    map[i] = i;
    if (!behind) continue;
    if (made->inputs[i] == conv->outputs[0]) inputs[i] = all;
    else TRY(put_back(r, made->inputs[i], x->rank, own, true, &inputs[i]));
  }
  Program *program = program_new(graph->arena, count + 2);
  int result;
  if (behind) {
    const Program *inner = node_program(made, "program");
    int *results = arena_array(rewrite_scratch(r), int, (size_t)inner->count + 1);
    program_append(program, inner, map, results);
    result = program_cast(program, x->dtype, results[inner->outputs[0]]);
  } else {
    result = program_input(program, 0, x->dtype);
  }
  int passing = program_input(program, count, x->dtype), mask = program_input(program, count + 1, DTYPE_BOOL);
  program_output(program, program_op3(program, OP_select, mask, result, passing));
  inputs[count] = x;
  TRY(add_mask(graph, own, x->rank, &inputs[count + 1]));
  *out = rewrite_add(r, &op_elementwise, 0, NULL, 1);
  set_program_inputs(*out, program, count + 2, inputs, 0);
  node_set_program(*out, "program", program);
  return node_infer(*out);
}

static Status add_scattered(Rewrite *r, const Node *conv, const Picked *own, Node **out) {
  Tensor filters;
  TRY(scatter(rewrite_graph(r)->arena, conv->inputs[1]->constant, 0, own, false, &filters));
  *out = rewrite_like(r, conv);
  node_set_input(*out, 1, graph_add_constant(rewrite_graph(r), conv->inputs[1]->name, &filters));
  return node_infer(*out);
}

// Where the concatenation's channels are now.
static Picked joined(const Picked *first, const Picked *second, Arena *arena) {
  Picked all = {arena_array(arena, int64_t, (size_t)first->of), first->of, first->of};
  for (int64_t i = 0; i < first->count; i++) all.from[i] = first->from[i];
  for (int64_t i = 0; i < second->count; i++) all.from[first->count + i] = second->from[i];
  return all;
}

// A product of so many channels into `own` is not in vain for the others.
static bool is_worth_it(const Node *conv, const Picked *own) {
  const Tensor *filters = conv->inputs[1]->constant;
  int64_t depth = tensor_count(filters) / MAX(filters->dims[0], 1), vain = own->of - own->count;
  return vain <= 2 * own->count && vain * depth <= MOST_VAIN * own->count;
}

static Status pass_by(Rewrite *r) {
  Node *root = matched(r, "root"), *gather = matched(r, "gather"), *all, *choice;
  Value *x = operand(r, "x");
  Picked passing;
  WANT(root->input_count == 2 && node_int(root, "axis", 0) == CHANNEL_AXIS, "it does not join channels of two");
  WANT(read_channels(gather, operand(r, "indices")->constant, rewrite_scratch(r), &passing),
       "it takes no channels, or one twice");
  bool first = root->inputs[0] == gather->outputs[0];
  Node *conv = conv_before(root->inputs[first], root), *made = root->inputs[first]->producer;
  Picked own = rest_of(&passing, rewrite_scratch(r));
  WANT(conv && root->inputs[first]->dims[CHANNEL_AXIS] == own.count && value_same_shape(root->outputs[0], x),
       "what joins them is no convolution's alone, or of other sizes than what is left of the image");
  WANT(is_worth_it(conv, &own), "it would multiply too much in vain");
  TRY(add_scattered(r, conv, &own, &all));
  TRY(add_choice(r, x, made, conv, all->outputs[0], &own, &choice));
  rewrite_cover(r, made);
  rewrite_cover(r, conv);
  Picked whole = first ? joined(&passing, &own, rewrite_scratch(r)) : joined(&own, &passing, rewrite_scratch(r));
  return gather_instead(r, choice->outputs[0], &whole);
}

#define CHANNEL_RULE(text, shown, ...) \
  { .name = #text, .help = shown, .device = CUDA_ONLY, .apply = text, __VA_ARGS__ }

static const Rule rules[] = {
    CHANNEL_RULE(shuffle_as_gather, "a shuffle of channels that filters can undo is a gather",
                 .pattern = "reshape(turn: transpose(reshape(x)!)!)", .exactness = EXACT, .tells_misses = true),
    CHANNEL_RULE(gather_of_gather, "a gather of gathered channels is one", .pattern = "gather(inner: gather(x, #a), #b)",
                 .exactness = EXACT),
    CHANNEL_RULE(slice_of_gather, "some of gathered channels are gathered", .pattern = "slice(gather: gather(x, #indices))",
                 .exactness = EXACT),
    CHANNEL_RULE(gather_into_filters,
                 "a convolution reads gathered channels where they were, by filters with zeros for the others",
                 .pattern = "conv(gather: gather(x, #indices), #w)", .exactness = ROUNDED | OF_OPERANDS | ZERO_SIGNS | FINITE,
                 .bound = "sums have another order, and zeros among them, which are NaN times infinity", .tells_misses = true),
    CHANNEL_RULE(gather_behind_depthwise, "a convolution of a channel each stands in front of a gather of all channels",
                 .pattern = "conv(gather: gather(x, #indices), #w)", .exactness = EXACT),
    CHANNEL_RULE(gather_behind_pointwise, "so does what is done to each channel",
                 .pattern = "elementwise(..., gather: gather(x, #indices), ...)", .exactness = EXACT, .root = reads_little),
    CHANNEL_RULE(pass_by, "of channels that pass by a convolution's those stay where they are that nobody replaces",
                 .pattern = "concat(..., gather: gather(x, #indices), ...)", .exactness = EXACT, .tells_misses = true),
};

const Pass pass_channel_places = {
    .name = "channel_places",
    .help = "takes the order of channels into the constants of convolutions",
    .rules = (const Rule *const[]){&rules[0], &rules[1], &rules[2], &rules[3], &rules[4], &rules[5], &rules[6], NULL}};
