// Convolutions of one image whose results are summed are one convolution, as in networks that are trained with branches of several kernels and an identity, each with
// a batch norm behind it: a kernel inside a larger one is added where it lies in it, and an identity is a one in the middle. Where the sum stands in a program of
// per-channel constants, its scales go into the weights, and the shifts become one.
//
// Arithmetic is reassociated and bounded, as affine.h tells. The rule also refuses types below f32, and scales and weights so large or small that a product on the way
// might leave its range.
#include <math.h>

#include "kernels/conv/conv.h"
#include "kernels/meaning.h"
#include "passes/affine.h"
#include "passes/programs.h"
#include "passes/rule.h"

// What is lost below f32's range, times the largest scale, is nothing beside results of the smallest size; so are weights that are negligible.
#define LARGEST 0x1p32
#define SMALLEST 0x1p-90
#define NEGLIGIBLE 0x1p-120

// What is summed: a convolution, or the image itself (no weights). `at`: the tap of the host's kernel that its first tap lies at.
typedef struct Branch {
  const Value *value;
  const Tensor *weights;
  int64_t at[MAX_RANK];
} Branch;

typedef struct Merge {
  Node *root, *host;
  const Program *program;
  const Tensor *weights;  // the host's
  int64_t channels, per_channel;
  Branch branches[AFFINE_VARIABLES];  // the host is one of them
  int count, top;                     // top: the instruction that is their sum
  unsigned reads;                     // a bit for each branch that it sums
} Merge;

static bool windows_of(const Node *host, const Node *other, Window *a, Window *b) {
  Status first = window_read(host, host->inputs[0]->rank - 2, host->inputs[1]->dims + 2, a);
  Status second = window_read(other, host->inputs[0]->rank - 2, other->inputs[1]->dims + 2, b);
  bool read = !first && !second;
  status_free(first);
  status_free(second);
  return read;
}

// Whether the taps of a kernel that pads and strides so are taps of the host's.
static bool lies_inside(const Window *host, const Window *window, int64_t *at) {
  for (int i = 0; i < host->axes; i++) {
    int64_t more = host->pad_begin[i] - window->pad_begin[i];
    if (host->stride[i] != window->stride[i] || more < 0 || more % host->dilation[i]) return false;
    if (window->kernel[i] != 1 && window->dilation[i] != host->dilation[i]) return false;
    at[i] = more / host->dilation[i];
    if (at[i] + window->kernel[i] > host->kernel[i]) return false;
  }
  return true;
}

static bool is_plain_conv(const Node *node) {
  return node && node->op == &op_conv && node->input_count == 2 && node->inputs[1]->constant;
}

static bool read_branch(const Merge *merge, const Value *value, Branch *out) {
  const Node *host = merge->host, *node = value->producer;
  Window window, own;
  *out = (Branch){.value = value};
  if (!value_same_shape(value, host->outputs[0]) || !windows_of(host, host, &window, &own)) return false;
  if (value == host->inputs[0]) {
    for (int i = 0; i < own.axes; i++) own.kernel[i] = own.stride[i] = 1, own.pad_begin[i] = 0;
    return lies_inside(&window, &own, out->at);
  }
  if (!is_plain_conv(node) || node->inputs[0] != host->inputs[0] || only_user(value) != merge->root) return false;
  out->weights = node->inputs[1]->constant;
  return node_int(node, "group", 1) == node_int(host, "group", 1) && out->weights->dtype == merge->weights->dtype &&
         windows_of(host, node, &window, &own) && lies_inside(&window, &own, out->at);
}

static void read_branches(Merge *merge) {
  for (int i = 0; i < merge->root->input_count && merge->count < AFFINE_VARIABLES; i++)
    if (merge->root->inputs[i]) merge->count += read_branch(merge, merge->root->inputs[i], &merge->branches[merge->count]);
}

// --- The program as sums.

static void evaluate(const Merge *merge, int64_t channel, int end, Affine *values) {
  AffineProgram program = {.node = merge->root, .count = merge->count, .channel_axis = 1, .channels = merge->channels};
  for (int i = 0; i < merge->count; i++) program.variables[i] = merge->branches[i].value;
  affine_evaluate(&program, channel, end, values);
}

static int count_bits(unsigned bits) { return __builtin_popcount(bits); }

// The last instruction that sums the most branches, of which one is the host; -1 where none sums two.
static int find_top(const Merge *merge) {
  Affine values[AFFINE_CODE];
  int top = -1, most = 2;
  unsigned host = 0;
  for (int i = 0; i < merge->count; i++)
    if (merge->branches[i].value == merge->host->outputs[0]) host = 1u << i;
  evaluate(merge, 0, merge->program->count, values);
  for (int i = 0; i < merge->program->count; i++)
    if (values[i].reads & host && merge->program->code[i].dtype == merge->weights->dtype &&
        count_bits(values[i].reads) >= most) {
      top = i;
      most = count_bits(values[i].reads);
    }
  return top;
}

// --- The weights.

// Adds the branch's weights of a channel to `row`, the host's of that channel; the sum of their magnitudes.
static double add_weights(const Merge *merge, const Branch *branch, int64_t channel, double scale, double *row) {
  const Tensor *host = merge->weights, *own = branch->weights;
  int64_t dims[MAX_RANK] = {host->dims[1]}, index[MAX_RANK] = {0}, from = 0;
  double sum = 0;
  for (int k = 1; k < host->rank - 1; k++) dims[k] = own ? own->dims[k + 1] : 1;
  if (own) from = channel * (tensor_count(own) / merge->channels);
  do {
    int64_t place = index[0];
    for (int k = 1; k < host->rank - 1; k++) place = place * host->dims[k + 1] + index[k] + branch->at[k - 1];
    double weight = own ? tensor_get_f(own, from++) : index[0] == channel % host->dims[1];
    row[place] += weight * scale;
    sum += fabs(weight);
  } while (index_next(host->rank - 1, dims, index));
  return sum;
}

// One channel of the merged weights, rounded; false where they may not be so.
static bool merge_channel(const Merge *merge, int64_t channel, const Affine *top, bool becomes_half, double *row, Tensor *out) {
  double sum = 0;
  for (int i = 0; i < merge->count; i++) {
    if (!(top->reads >> i & 1)) continue;
    double of_branch = add_weights(merge, &merge->branches[i], channel, top->scales[i], row);
    if (!(fabs(top->scales[i]) < LARGEST) || !(of_branch < LARGEST)) return false;
  }
  for (int64_t k = 0; k < merge->per_channel; k++) {
    int64_t at = channel * merge->per_channel + k;
    double magnitude = fabs(row[k]);
    tensor_set_f(out, at, row[k]);
    if (magnitude > NEGLIGIBLE && !weight_fits(out->dtype, row[k], becomes_half)) return false;
    sum += magnitude;
  }
  return (sum == 0 || sum > SMALLEST) && shift_fits(out->dtype, top->most, sum, becomes_half);
}

static bool merge_weights(const Merge *merge, bool becomes_half, Arena *scratch, Tensor *weights, Tensor *shifts) {
  Affine values[AFFINE_CODE];
  for (int64_t c = 0; c < merge->channels; c++) {
    double *row = arena_array(scratch, double, (size_t)merge->per_channel);
    evaluate(merge, c, merge->top + 1, values);
    tensor_set_f(shifts, c, values[merge->top].shift);
    if (!merge_channel(merge, c, &values[merge->top], becomes_half, row, weights)) return false;
  }
  return true;
}

// --- The graph.

// Whether the program reads one of these branches beside the sum.
static bool reads_beside(const Merge *merge) {
  bool read[READS_LITTLE] = {0};
  program_reads_around(merge->program, merge->top, read);
  for (int i = 0; i < merge->root->input_count; i++)
    for (int k = 0; read[i] && k < merge->count; k++)
      if (merge->reads >> k & 1 && merge->branches[k].weights && merge->branches[k].value == merge->root->inputs[i])
        return true;
  return false;
}

static unsigned reads_of_top(const Merge *merge) {
  Affine values[AFFINE_CODE];
  evaluate(merge, 0, merge->top + 1, values);
  return values[merge->top].reads;
}

static bool is_zero(const Tensor *tensor) {
  for (int64_t i = 0; i < tensor_count(tensor); i++)
    if (tensor_get_f(tensor, i) != 0) return false;
  return true;
}

static Status replace_sum(Rewrite *r, const Merge *merge, const Tensor *weights, const Tensor *shifts) {
  Graph *graph = rewrite_graph(r);
  int count = merge->root->input_count;
  Value **inputs = arena_array(rewrite_scratch(r), Value *, count + 2);
  for (int i = 0; i < merge->count; i++)
    if (merge->reads >> i & 1 && merge->branches[i].weights) rewrite_cover(r, merge->branches[i].value->producer);
  Node *conv = rewrite_like(r, merge->host);
  node_set_input(conv, 1, graph_add_constant(graph, operand(r, "w")->name, weights));
  TRY(node_infer(conv));
  for (int i = 0; i < count; i++) inputs[i] = merge->root->inputs[i];
  inputs[count] = conv->outputs[0];
  bool shifted = !is_zero(shifts);
  inputs[count + 1] = shifted ? graph_add_constant(graph, NULL, shifts) : NULL;
  Program *program = program_around(merge->program, merge->top, count, shifted, graph->arena);
  if (program->code[program->outputs[0]].op == OP_input) return rewrite_root_by(r, conv);
  Node *reader = rewrite_add(r, &op_elementwise, 0, NULL, 1);
  set_program_inputs(reader, program, count + 2, inputs, 0);
  node_set_program(reader, "program", program);
  return rewrite_root_by(r, reader);
}

// Why the sum is not one convolution; NULL where it may be.
static const char *read_merge(Rewrite *r, Merge *m) {
  const Node *root = matched(r, "root");
  const Tensor *weights = operand(r, "w")->constant;
  *m = (Merge){.root = matched(r, "root"), .host = matched(r, "host"), .weights = weights, .channels = weights->dims[0]};
  m->program = node_program(root, "program");
  if (!is_plain_conv(m->host) || !tensor_count(weights)) return "the convolution carries something, or is empty";
  m->per_channel = tensor_count(weights) / m->channels;
  if (weights->dtype != DTYPE_F32 && weights->dtype != DTYPE_F64) return "its type has too few digits";
  bool sum = root->output_count == 1 && !node_attribute(root, "dims") && m->program->count <= AFFINE_CODE;
  if (!sum) return "it is more than a sum";
  if (!value_same_shape(root->outputs[0], m->host->outputs[0])) return "the result is broadcast";
  read_branches(m);
  m->top = m->count > 1 ? find_top(m) : -1;
  if (m->top < 0) return "nothing that fits into the kernel is added to it";
  m->reads = reads_of_top(m);
  return reads_beside(m) ? "a branch is read beside the sum" : NULL;
}

// Those of the host, and a shift for each channel.
static Status new_weights(const Merge *m, Arena *arena, Tensor *weights, Tensor *shifts) {
  int64_t dims[MAX_RANK];
  for (int i = 0; i < m->weights->rank; i++) dims[i] = i == 1 ? m->channels : 1;
  TRY(tensor_new(arena, m->weights->dtype, m->weights->rank, m->weights->dims, weights));
  return tensor_new(arena, m->weights->dtype, m->weights->rank, dims, shifts);
}

static Status apply(Rewrite *r) {
  Merge merge;
  Tensor weights, shifts;
  const char *why = read_merge(r, &merge);
  WANT(!why, why);
  TRY(new_weights(&merge, rewrite_graph(r)->arena, &weights, &shifts));
  WANT(merge_weights(&merge, weights_become_half(r, weights.dtype), rewrite_scratch(r), &weights, &shifts),
       "weights would lose digits");
  return replace_sum(r, &merge, &weights, &shifts);
}

static const Rule merge_branches = {.name = "merge_branches",
                                    .help = "convolutions of one image whose results are summed are one",
                                    .pattern = "elementwise(..., host: conv(x, #w)!, ...)",
                                    .exactness = ROUNDED | ZERO_SIGNS | FINITE,
                                    .bound = "2^-14 of a result's own scale; see the file's beginning",
                                    .root = reads_little,
                                    .apply = apply};

const Pass pass_merge_branches = {"merge_branches", "makes summed convolutions of one image one",
                                  (const Rule *const[]){&merge_branches, NULL}};
