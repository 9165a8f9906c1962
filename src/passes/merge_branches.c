// Convolutions of one image whose results are summed are one convolution, as in networks that are trained with branches of several kernels and an identity, each with
// a batch norm behind it: a kernel inside a larger one is added where it lies in it, and an identity is a one in the middle. Where the sum stands in a program of
// per-channel constants, its scales go into the weights, and the shifts become one.
//
// Arithmetic is reassociated. Weights and shifts are composed in double; each is rounded once, to its own type. The rule refuses types below f32, weights that leave the
// digits of their type (or the range of half precision, where they get that later), scales and weights so large or small that a product on the way might leave its range,
// and shifts so large that rounding beside them shows: the largest that is met, times the rounding unit, stays below 2^-14 of a result of inputs about 1
// (below sixteen such results where weights become half precision later). Results so keep within 2^-14 of their own scale.
#include <float.h>
#include <math.h>

#include "kernels/conv/conv.h"
#include "kernels/meaning.h"
#include "passes/programs.h"
#include "passes/rule.h"

enum { MAX_BRANCHES = 8, MAX_CODE = 128, MAX_READ = 32, HALF_MOST = 65504 };
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
  Branch branches[MAX_BRANCHES];  // the host is one of them
  int count, top;                 // top: the instruction that is their sum
} Merge;

// A value of the program for one channel: the branches times their scales, and a shift; `most` is the largest met on the way.
typedef struct Sum {
  bool is_sum;
  unsigned reads;  // a bit for each branch
  double scales[MAX_BRANCHES], shift, most;
} Sum;

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
  return node && node->op == &op_conv && node->input_count == 2 && !node->epilogue && node->inputs[1]->constant;
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
  for (int i = 0; i < merge->root->input_count && merge->count < MAX_BRANCHES; i++)
    if (merge->root->inputs[i]) merge->count += read_branch(merge, merge->root->inputs[i], &merge->branches[merge->count]);
}

// --- The program as sums.

static Sum read_input(const Merge *merge, const Value *value, int64_t channel) {
  Sum sum = {.is_sum = true};
  for (int i = 0; i < merge->count; i++)
    if (merge->branches[i].value == value) {
      sum.scales[i] = 1;
      sum.reads = 1u << i;
      return sum;
    }
  int rank = merge->host->outputs[0]->rank;
  if (!value->constant) return (Sum){0};
  for (int k = 0; k < value->rank; k++)
    if (value->dims[k] != 1 && (rank - value->rank + k != 1 || value->dims[k] != merge->channels)) return (Sum){0};
  sum.shift = tensor_get_f(value->constant, tensor_count(value->constant) == 1 ? 0 : channel);
  sum.most = fabs(sum.shift);
  return sum;
}

static Sum scaled(Sum a, double factor) {
  for (int i = 0; i < MAX_BRANCHES; i++) a.scales[i] *= factor;
  a.shift *= factor;
  a.most *= fabs(factor);
  return a;
}

static Sum added(Sum a, Sum b) {
  for (int i = 0; i < MAX_BRANCHES; i++) a.scales[i] += b.scales[i];
  a.shift += b.shift;
  a.most = fmax(fmax(a.most, b.most), fabs(a.shift));
  a.reads |= b.reads;
  return a;
}

static Sum evaluate(const Merge *merge, const Instruction *in, const Sum *values, int64_t channel) {
  if (in->dtype != merge->weights->dtype) return (Sum){0};
  if (in->op == OP_const) return (Sum){.is_sum = true, .shift = in->number, .most = fabs(in->number)};
  if (in->op == OP_input) return read_input(merge, merge->root->inputs[in->args[0]], channel);
  if (in->op != OP_neg && in->op != OP_add && in->op != OP_sub && in->op != OP_mul && in->op != OP_div) return (Sum){0};
  Sum a = values[in->args[0]], b = in->op == OP_neg ? a : values[in->args[1]];
  if (!a.is_sum || !b.is_sum) return (Sum){0};
  switch (in->op) {
    case OP_neg: return scaled(a, -1);
    case OP_add: return added(a, b);
    case OP_sub: return added(a, scaled(b, -1));
    case OP_div: return b.reads ? (Sum){0} : scaled(a, 1 / b.shift);
    default: return a.reads && b.reads ? (Sum){0} : a.reads ? scaled(a, b.shift) : scaled(b, a.shift);
  }
}

static void evaluate_all(const Merge *merge, int64_t channel, int end, Sum *values) {
  for (int i = 0; i < end; i++) values[i] = evaluate(merge, &merge->program->code[i], values, channel);
}

static int count_bits(unsigned bits) { return __builtin_popcount(bits); }

// The last instruction that sums the most branches, of which one is the host; -1 where none sums two.
static int find_top(const Merge *merge) {
  Sum values[MAX_CODE];
  int top = -1, most = 2;
  unsigned host = 0;
  for (int i = 0; i < merge->count; i++)
    if (merge->branches[i].value == merge->host->outputs[0]) host = 1u << i;
  evaluate_all(merge, 0, merge->program->count, values);
  for (int i = 0; i < merge->program->count; i++)
    if (values[i].is_sum && values[i].reads & host && count_bits(values[i].reads) >= most) {
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
static bool merge_channel(const Merge *merge, int64_t channel, const Sum *top, bool becomes_half, double *row, Tensor *out) {
  double unit = out->dtype == DTYPE_F64 ? DBL_EPSILON / 2 : FLT_EPSILON / 2, sum = 0;
  for (int i = 0; i < merge->count; i++) {
    if (!(top->reads >> i & 1)) continue;
    double of_branch = add_weights(merge, &merge->branches[i], channel, top->scales[i], row);
    if (!(fabs(top->scales[i]) < LARGEST) || !(of_branch < LARGEST)) return false;
  }
  for (int64_t k = 0; k < merge->per_channel; k++) {
    int64_t at = channel * merge->per_channel + k;
    double magnitude = fabs(row[k]);
    tensor_set_f(out, at, row[k]);
    if (magnitude > NEGLIGIBLE && !(fabs(tensor_get_f(out, at) - row[k]) <= unit * magnitude)) return false;
    if (becomes_half && magnitude > HALF_MOST) return false;
    sum += magnitude;
  }
  return (sum == 0 || sum > SMALLEST) && top->most * unit <= 0x1p-14 * sum && (!becomes_half || top->most <= 16 * sum);
}

static bool merge_weights(const Merge *merge, bool becomes_half, Arena *scratch, Tensor *weights, Tensor *shifts) {
  Sum values[MAX_CODE];
  for (int64_t c = 0; c < merge->channels; c++) {
    double *row = arena_array(scratch, double, (size_t)merge->per_channel);
    evaluate_all(merge, c, merge->top + 1, values);
    tensor_set_f(shifts, c, values[merge->top].shift);
    if (!merge_channel(merge, c, &values[merge->top], becomes_half, row, weights)) return false;
  }
  return true;
}

// --- The graph.

// The program with the sum of two more inputs, the merged convolution's result and any shift, in the place of the top.
static Program *around(const Merge *merge, int inputs, bool shifts, Arena *arena) {
  const Program *program = merge->program;
  Program *out = program_new(arena, inputs + 2);
  int map[MAX_CODE];
  for (int i = 0; i < program->count; i++) {
    Instruction in = program->code[i];
    for (int k = 0; k < opcode_info(in.op)->arity; k++) in.args[k] = map[in.args[k]];
    if (i != merge->top) {
      map[i] = program_instruction(out, in);
      continue;
    }
    map[i] = program_input(out, inputs, in.dtype);
    if (shifts) map[i] = program_op2(out, OP_add, map[i], program_input(out, inputs + 1, in.dtype));
  }
  program_output(out, map[program->outputs[0]]);
  return out;
}

// Whether the program reads one of these branches beside the sum.
static bool reads_beside(const Merge *merge, unsigned reads) {
  const Program *program = merge->program;
  bool live[MAX_CODE] = {0};
  live[program->outputs[0]] = true;
  for (int i = program->count; i-- > 0;) {
    const Instruction *in = &program->code[i];
    for (int k = 0; live[i] && i != merge->top && k < opcode_info(in->op)->arity; k++) live[in->args[k]] = true;
    for (int k = 0; live[i] && in->op == OP_input && k < merge->count; k++)
      if (reads >> k & 1 && merge->branches[k].weights && merge->branches[k].value == merge->root->inputs[in->args[0]])
        return true;
  }
  return false;
}

static unsigned reads_of_top(const Merge *merge) {
  Sum values[MAX_CODE];
  evaluate_all(merge, 0, merge->top + 1, values);
  return values[merge->top].reads;
}

static bool is_zero(const Tensor *tensor) {
  for (int64_t i = 0; i < tensor_count(tensor); i++)
    if (tensor_get_f(tensor, i) != 0) return false;
  return true;
}

static Status replace_sum(Rewrite *r, const Merge *merge, unsigned reads, const Tensor *weights, const Tensor *shifts) {
  Graph *graph = rewrite_graph(r);
  int count = merge->root->input_count;
  Value **inputs = arena_array(rewrite_scratch(r), Value *, count + 2);
  for (int i = 0; i < merge->count; i++)
    if (reads >> i & 1 && merge->branches[i].weights) rewrite_cover(r, merge->branches[i].value->producer);
  Node *conv = rewrite_like(r, merge->host);
  node_set_input(conv, 1, graph_add_constant(graph, operand(r, "w")->name, weights));
  TRY(node_infer(conv));
  for (int i = 0; i < count; i++) inputs[i] = merge->root->inputs[i];
  inputs[count] = conv->outputs[0];
  bool shifted = !is_zero(shifts);
  inputs[count + 1] = shifted ? graph_add_constant(graph, NULL, shifts) : NULL;
  Program *program = around(merge, count, shifted, graph->arena);
  if (program->code[program->outputs[0]].op == OP_input) return rewrite_root_by(r, conv);
  Node *reader = rewrite_add(r, &op_elementwise, 0, NULL, 1);
  set_program_inputs(reader, program, count + 2, inputs, 0);
  node_set_program(reader, "program", program);
  return rewrite_root_by(r, reader);
}

static Status apply(Rewrite *r) {
  Merge merge = {.root = matched(r, "root"), .host = matched(r, "host"), .weights = operand(r, "w")->constant};
  Node *root = merge.root;
  Graph *graph = rewrite_graph(r);
  Tensor weights, shifts;
  merge.program = node_program(root, "program");
  merge.channels = merge.weights->dims[0];
  WANT(is_plain_conv(merge.host) && merge.channels && tensor_count(merge.weights),
       "the convolution carries something, or is empty");
  merge.per_channel = tensor_count(merge.weights) / merge.channels;
  WANT(merge.weights->dtype == DTYPE_F32 || merge.weights->dtype == DTYPE_F64, "its type has too few digits");
  WANT(root->output_count == 1 && !node_attribute(root, "dims") && merge.program->count <= MAX_CODE, "it is more than a sum");
  WANT(value_same_shape(root->outputs[0], merge.host->outputs[0]), "the result is broadcast");
  read_branches(&merge);
  WANT(merge.count > 1 && (merge.top = find_top(&merge)) >= 0, "nothing that fits into the kernel is added to it");
  unsigned reads = reads_of_top(&merge);
  WANT(!reads_beside(&merge, reads), "a branch is read beside the sum");
  int64_t dims[MAX_RANK];
  for (int i = 0; i < merge.weights->rank; i++) dims[i] = i == 1 ? merge.channels : 1;
  TRY(tensor_new(graph->arena, merge.weights->dtype, merge.weights->rank, merge.weights->dims, &weights));
  TRY(tensor_new(graph->arena, merge.weights->dtype, merge.weights->rank, dims, &shifts));
  bool becomes_half = rewrite_options(r)->precision != DTYPE_COUNT && weights.dtype == DTYPE_F32;
  WANT(merge_weights(&merge, becomes_half, rewrite_scratch(r), &weights, &shifts), "weights would lose digits");
  return replace_sum(r, &merge, reads, &weights, &shifts);
}

static bool reads_little(const Node *node) { return node->input_count <= MAX_READ; }

static const Rule merge_branches = {.name = "merge_branches",
                                    .help = "convolutions of one image whose results are summed are one",
                                    .pattern = "elementwise(..., host: conv(x, #w)!, ...)",
                                    .exactness = ROUNDED | ZERO_SIGNS | FINITE,
                                    .bound = "2^-14 of a result's own scale; see the file's beginning",
                                    .root = reads_little,
                                    .apply = apply};

const Pass pass_merge_branches = {"merge_branches", "makes summed convolutions of one image one",
                                  (const Rule *const[]){&merge_branches, NULL}};
