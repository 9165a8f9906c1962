// Sequences and optionals: a sequence is a node that holds its elements, and an operator on it is translated into what it does to
// them, as soon as they are known. An optional is the value itself, or the node `nothing`.
#include "kernels/sequence/sequence.h"
#include "onnx/ops/common.h"

enum { MAX_ELEMENTS = 1 << 16 };

typedef struct Elements {
  Value **items;
  int count;
} Elements;

// Waits where the elements, of a loop's state or an input, show only when the model runs, or their types do.
static Status elements_of(Translation *t, int input, Elements *out) {
  const Value *sequence = t->inputs[input];
  if (!sequence || sequence->kind != VALUE_SEQUENCE) TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "input %d is no sequence", input);
  t->deferred = !sequence->producer || sequence->producer->op != &op_sequence;
  if (t->deferred) return OK;
  *out = (Elements){sequence->producer->inputs, sequence->producer->input_count};
  for (int i = 0; i < out->count; i++) t->deferred |= out->items[i]->rank < 0 || out->items[i]->dtype == DTYPE_COUNT;
  return OK;
}

#define NEED_ELEMENTS(t, input, out)       \
  do {                                     \
    TRY(elements_of((t), (input), (out))); \
    if ((t)->deferred) return OK;          \
  } while (0)

static Value *sequence_node(Builder *b, int count, Value *const *items) {
  if (!b->status && count > MAX_ELEMENTS) b->status = status_make(ERROR_UNSUPPORTED, "a sequence has %d elements", count);
  Node *node = node_start(b, "sequence", b->status ? 0 : count, items, 1);
  return node_done(b, node);
}

// An optional position; the last place in [0, limit] by default.
static Status position_of(Translation *t, int input, int limit, int otherwise, int *out) {
  *out = otherwise;
  if (!translate_has(t, input)) return OK;
  const int64_t *given;
  int count;
  NEED_INTS(t, input, &given, &count);
  int64_t place = count == 1 ? *given : limit;
  if (place < 0) place += limit;
  if (count != 1 || place < 0 || place > MIN(limit, otherwise + 1))
    TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "its position is out of range");
  *out = (int)place;
  return OK;
}

static Status sequence_construct(Translation *t) {
  Builder b = translate_begin(t);
  TRY(check_present(t));
  t->outputs[0] = sequence_node(&b, t->input_count, t->inputs);
  return translate_end(t, &b);
}

static Status sequence_empty(Translation *t) {
  Builder b = translate_begin(t);
  DType dtype;
  TRY(dtype_attribute(t, "dtype", DTYPE_F32, &dtype));
  t->outputs[0] = sequence_node(&b, 0, NULL);
  if (!b.status) t->outputs[0]->dtype = dtype;
  return translate_end(t, &b);
}

static Status sequence_insert(Translation *t) {
  Builder b = translate_begin(t);
  Elements in;
  int place;
  NEED_ELEMENTS(t, 0, &in);
  TRY(position_of(t, 2, in.count, in.count, &place));
  if (t->deferred) return OK;
  Value **items = arena_array(t->graph->arena, Value *, (size_t)in.count + 1);
  for (int i = 0; i <= in.count; i++) items[i] = i < place ? in.items[i] : i == place ? t->inputs[1] : in.items[i - 1];
  t->outputs[0] = sequence_node(&b, in.count + 1, items);
  return translate_end(t, &b);
}

static Status sequence_erase(Translation *t) {
  Builder b = translate_begin(t);
  Elements in;
  int place;
  NEED_ELEMENTS(t, 0, &in);
  if (in.count == 0) TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "its sequence is empty");
  TRY(position_of(t, 1, in.count, in.count - 1, &place));
  if (t->deferred) return OK;
  if (place == in.count) TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "its position is out of range");
  Value **items = arena_array(t->graph->arena, Value *, (size_t)in.count + 1);
  for (int i = 0; i + 1 < in.count; i++) items[i] = in.items[i < place ? i : i + 1];
  t->outputs[0] = sequence_node(&b, in.count - 1, items);
  return translate_end(t, &b);
}

static Status sequence_at(Translation *t) {
  Elements in;
  int place;
  NEED_ELEMENTS(t, 0, &in);
  TRY(position_of(t, 1, in.count, in.count - 1, &place));
  if (t->deferred) return OK;
  if (place < 0 || place >= in.count) TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "its sequence has %d elements", in.count);
  t->outputs[0] = in.items[place];
  return OK;
}

static Status sequence_length(Translation *t) {
  Builder b = translate_begin(t);
  Elements in;
  NEED_ELEMENTS(t, 0, &in);
  t->outputs[0] = build_constant(&b, tensor_scalar_i64(t->graph->arena, in.count));
  return translate_end(t, &b);
}

static Status concat_from_sequence(Translation *t) {
  Builder b = translate_begin(t);
  Elements in;
  NEED_ELEMENTS(t, 0, &in);
  if (in.count == 0) TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "its sequence is empty");
  bool fresh = node_int(t->attributes, "new_axis", 0) != 0;
  int axis;
  TRY(normalise_axis(t, node_int(t->attributes, "axis", 0), in.items[0]->rank + fresh, &axis));
  Value **items = arena_array(t->graph->arena, Value *, (size_t)in.count);
  int64_t at = axis;
  for (int i = 0; i < in.count; i++) items[i] = fresh ? build_unsqueeze(&b, in.items[i], &at, 1) : in.items[i];
  t->outputs[0] = b.status || in.count == 1 ? items[0] : build_concat(&b, in.count, items, axis);
  return translate_end(t, &b);
}

// Sizes: a list, one size for all (the last may be smaller), or 1, and then the axis goes unless keepdims.
static Status split_to_sequence(Translation *t) {
  Builder b = translate_begin(t);
  Value *x = t->inputs[0];
  int axis, count = 0;
  const int64_t *sizes = NULL;
  TRY(normalise_axis(t, node_int(t->attributes, "axis", 0), x->rank, &axis));
  if (translate_has(t, 1)) NEED_INTS(t, 1, &sizes, &count);
  bool listed = sizes && t->inputs[1]->rank == 1, squeeze = !sizes && !node_int(t->attributes, "keepdims", 1);
  if (!listed && !dim_is_static(x->dims[axis])) {
    t->deferred = true;
    return OK;
  }
  int64_t size = sizes && !listed ? sizes[0] : 1;
  if (!listed && size < 1) TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "its size is %lld", (long long)size);
  int64_t parts = listed ? count : ceil_div(x->dims[axis], size), at = 0, where = axis;
  if (parts > MAX_ELEMENTS) TRANSLATE_FAIL(t, ERROR_UNSUPPORTED, "it makes %lld parts", (long long)parts);
  Value **items = arena_array(t->graph->arena, Value *, (size_t)parts + 1);
  for (int64_t i = 0; i < parts; i++) {
    int64_t part = listed ? sizes[i] : MIN(size, x->dims[axis] - at);
    if (part < 0 || part > INT32_MAX)
      TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "size %lld is %lld", (long long)i, (long long)part);
    items[i] = build_slice_axis(&b, x, axis, at, part);
    if (squeeze) items[i] = build_squeeze(&b, items[i], &where, 1);
    at += part;
  }
  TRY(translate_end(t, &b));
  t->outputs[0] = sequence_node(&b, (int)parts, items);
  return translate_end(t, &b);
}

// The body is copied once for each element of the first sequence; tensors among the inputs go to every copy.
static Status sequence_map(Translation *t) {
  Builder b = translate_begin(t);
  Graph *body = node_graph(t->attributes, "body");
  Elements first;
  NEED_ELEMENTS(t, 0, &first);
  if (!body || body->input_count != t->input_count || body->output_count < t->output_count)
    TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "its body does not fit its inputs and outputs");
  Arena *arena = t->graph->arena;
  Value **arguments = arena_array(arena, Value *, (size_t)t->input_count);
  Value **results = arena_array(arena, Value *, (size_t)body->output_count + 1);
  Value **items = arena_array(arena, Value *, (size_t)first.count * (size_t)t->output_count + 1);
  for (int k = 0; k < first.count; k++) {
    for (int i = 0; i < t->input_count; i++) {
      Elements in;
      arguments[i] = t->inputs[i];
      if (!arguments[i]) TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "input %d is missing", i);
      if (arguments[i]->kind != VALUE_SEQUENCE) continue;
      NEED_ELEMENTS(t, i, &in);
      if (k >= in.count) TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "its sequences differ in length");
      arguments[i] = in.items[k];
    }
    TRY(translate_inline(t, body, arguments, results));
    for (int i = 0; i < t->output_count; i++) items[i * first.count + k] = results[i];
  }
  for (int i = 0; i < t->output_count; i++) t->outputs[i] = sequence_node(&b, first.count, items + i * first.count);
  return translate_end(t, &b);
}

static bool is_nothing(const Translation *t, int input) {
  return !translate_has(t, input) || t->inputs[input]->kind == VALUE_OPTIONAL;
}

static Status optional(Translation *t) {
  Builder b = translate_begin(t);
  t->outputs[0] = translate_has(t, 0) ? t->inputs[0] : node_done(&b, node_start(&b, "nothing", 0, NULL, 1));
  return translate_end(t, &b);
}

static Status optional_get_element(Translation *t) {
  if (is_nothing(t, 0)) TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "its optional has no element");
  t->outputs[0] = t->inputs[0];
  return OK;
}

static Status optional_has_element(Translation *t) {
  Builder b = translate_begin(t);
  t->outputs[0] = build_scalar(&b, DTYPE_BOOL, !is_nothing(t, 0));
  return translate_end(t, &b);
}

const OnnxOp onnx_sequence_ops[] = {
    {"", "SequenceConstruct", 11, 0, 1, -1, 1, 1, sequence_construct},
    {"", "SequenceEmpty", 11, 0, 0, 0, 1, 1, sequence_empty},
    {"", "SequenceInsert", 11, 0, 2, 3, 1, 1, sequence_insert},
    {"", "SequenceErase", 11, 0, 1, 2, 1, 1, sequence_erase},
    {"", "SequenceAt", 11, 0, 2, 2, 1, 1, sequence_at},
    {"", "SequenceLength", 11, 0, 1, 1, 1, 1, sequence_length},
    {"", "ConcatFromSequence", 11, 0, 1, 1, 1, 1, concat_from_sequence},
    {"", "SplitToSequence", 11, 0, 1, 2, 1, 1, split_to_sequence},
    {"", "SequenceMap", 17, 0, 1, -1, 1, -1, sequence_map},
    {"", "Optional", 15, 0, 0, 1, 1, 1, optional},
    {"", "OptionalGetElement", 15, 0, 1, 1, 1, 1, optional_get_element},
    {"", "OptionalHasElement", 15, 0, 0, 1, 1, 1, optional_has_element},
    {0},
};
