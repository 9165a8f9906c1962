// See waiting.h.
#include "onnx/ops/waiting.h"

#include <string.h>

static const Value *present(const Translation *t, int input) {
  return input < t->input_count && t->inputs[input] && t->inputs[input]->kind == VALUE_TENSOR ? t->inputs[input] : NULL;
}

static int rank_of(const Translation *t, int input) {
  const Value *value = present(t, input);
  return value ? value->rank : -1;
}

// Elements of an input of rank 0 or 1: how long a shape or a list of axes is.
static int length_of(const Translation *t, int input) {
  const Value *value = present(t, input);
  if (!value || value->rank < 0 || value->rank > 1) return -1;
  if (value->rank == 0) return 1;
  return dim_is_static(value->dims[0]) && value->dims[0] <= MAX_RANK ? (int)value->dims[0] : -1;
}

static int like_input(const Translation *t) { return rank_of(t, 0); }
static int one_more(const Translation *t) { return rank_of(t, 0) < 0 ? -1 : rank_of(t, 0) + 1; }
static int vector(const Translation *t) { return 1; }
static int by_shape(const Translation *t) { return length_of(t, 1); }
static int by_own_elements(const Translation *t) { return length_of(t, 0); }

static int cache(const Translation *t) { return 4; }

static int broadcast(const Translation *t) {
  int rank = rank_of(t, 0), length = length_of(t, 1);
  return rank < 0 || length < 0 ? -1 : rank > length ? rank : length;
}

static int fewer(const Translation *t) {
  int rank = rank_of(t, 0), length = length_of(t, 1);
  return rank < length || length < 0 ? -1 : rank - length;
}

static int more(const Translation *t) {
  int rank = rank_of(t, 0), length = length_of(t, 1);
  return rank < 0 || length < 0 ? -1 : rank + length;
}

static int reduced(const Translation *t) { return node_int(t->attributes, "keepdims", 1) ? rank_of(t, 0) : -1; }

// The element type: that of an input, or one of these.
enum { TYPE_OF_VALUE = -1, TYPE_UNKNOWN = -2 };

static const struct Rule {
  const char *op;
  ValueKind kind;
  int type;                           // input, or one of the above
  int (*rank)(const Translation *t);  // NULL: unknown
  int (*rest)(const Translation *t);  // of the outputs after the first; NULL: as the first
} rules[] = {
    {"GroupQueryAttention", VALUE_TENSOR, 0, like_input, cache},
    {"Slice", VALUE_TENSOR, 0, like_input},
    {"Pad", VALUE_TENSOR, 0, like_input},
    {"Tile", VALUE_TENSOR, 0, like_input},
    {"Split", VALUE_TENSOR, 0, like_input},
    {"CenterCropPad", VALUE_TENSOR, 0, like_input},
    {"Resize", VALUE_TENSOR, 0, like_input},
    {"Upsample", VALUE_TENSOR, 0, like_input},
    {"CumSum", VALUE_TENSOR, 0, like_input},
    {"MaxUnpool", VALUE_TENSOR, 0, like_input},
    {"TopK", VALUE_TENSOR, 0, like_input},
    {"Reshape", VALUE_TENSOR, 0, by_shape},
    {"Expand", VALUE_TENSOR, 0, broadcast},
    {"Squeeze", VALUE_TENSOR, 0, fewer},
    {"Unsqueeze", VALUE_TENSOR, 0, more},
    {"ReduceSum", VALUE_TENSOR, 0, reduced},
    {"ReduceMean", VALUE_TENSOR, 0, reduced},
    {"ReduceMax", VALUE_TENSOR, 0, reduced},
    {"ReduceMin", VALUE_TENSOR, 0, reduced},
    {"ReduceProd", VALUE_TENSOR, 0, reduced},
    {"Range", VALUE_TENSOR, 0, vector},
    {"OneHot", VALUE_TENSOR, 2, one_more},
    {"ConstantOfShape", VALUE_TENSOR, TYPE_OF_VALUE, by_own_elements},
    {"SequenceEmpty", VALUE_SEQUENCE, TYPE_UNKNOWN, NULL},
    {"SequenceConstruct", VALUE_SEQUENCE, TYPE_UNKNOWN, NULL},
    {"SequenceInsert", VALUE_SEQUENCE, TYPE_UNKNOWN, NULL},
    {"SequenceErase", VALUE_SEQUENCE, TYPE_UNKNOWN, NULL},
    {"SplitToSequence", VALUE_SEQUENCE, TYPE_UNKNOWN, NULL},
    {"SequenceMap", VALUE_SEQUENCE, TYPE_UNKNOWN, NULL},
};

static const struct Rule *find_rule(const Translation *t) {
  if (t->domain[0] && strcmp(t->domain, "com.microsoft") != 0) return NULL;
  for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
    if (strcmp(rules[i].op, t->op_type) == 0) return &rules[i];
  return NULL;
}

static DType type_by(const Translation *t, const struct Rule *rule, int output) {
  if (rule->op[0] == 'T' && output == 1) return DTYPE_I64;  // TopK's places
  if (rule->type == TYPE_OF_VALUE) {
    const Tensor *value = node_tensor(t->attributes, "value");
    return value ? value->dtype : DTYPE_F32;
  }
  const Value *like = rule->type >= 0 ? present(t, rule->type) : NULL;
  return like ? like->dtype : DTYPE_COUNT;
}

static ValueKind merged(ValueKind a, ValueKind b) { return a == b ? a : VALUE_OPTIONAL; }

static ValueKind kind_of(const Translation *t, int input) {
  return input < t->input_count && t->inputs[input] ? t->inputs[input]->kind : VALUE_TENSOR;
}

static ValueKind result_of(const Translation *t, const char *graph, int output) {
  const Graph *inner = node_graph(t->attributes, graph);
  return inner && output < inner->output_count ? inner->outputs[output]->kind : VALUE_TENSOR;
}

// What an operator hands on is of the kind it got. VALUE_OPTIONAL: only the run knows which.
static ValueKind kind_passed_on(const Translation *t, int output) {
  if (strcmp(t->op_type, "If") == 0) return merged(result_of(t, "then_branch", output), result_of(t, "else_branch", output));
  if (strcmp(t->op_type, "Loop") == 0) {
    ValueKind result = result_of(t, "body", 1 + output);
    const Graph *body = node_graph(t->attributes, "body");
    bool state = body && output + 2 < body->input_count - (int)node_int(t->attributes, "captures", 0);
    return state ? merged(result, kind_of(t, 2 + output)) : result;
  }
  static const char *const movers[] = {"Identity", "Optional", "OptionalGetElement"};
  for (size_t i = 0; i < sizeof movers / sizeof *movers; i++)
    if (strcmp(t->op_type, movers[i]) == 0) return kind_of(t, 0);
  return VALUE_TENSOR;
}

void waiting_types(const Translation *t, Node *deferred) {
  const struct Rule *rule = find_rule(t);
  for (int i = 0; i < deferred->output_count; i++) {
    Value *value = deferred->outputs[i];
    if (!rule) {
      value->kind = t->domain[0] ? VALUE_TENSOR : kind_passed_on(t, i);
      continue;
    }
    DType dtype = type_by(t, rule, i);
    int (*rank_by)(const Translation *t) = i > 0 && rule->rest ? rule->rest : rule->rank;
    int rank = rank_by ? rank_by(t) : -1;
    Dim dims[MAX_RANK];
    if (rank > MAX_RANK || dtype == DTYPE_COUNT) rank = -1;
    for (int k = 0; k < rank; k++) dims[k] = dim_fresh(t->graph->dims, "waits");
    value_set_type(value, dtype, rank, dims);
    value->kind = rule->kind;
  }
}
