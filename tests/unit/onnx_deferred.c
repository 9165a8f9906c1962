// Nodes that waited come from an engine as often as from a model, and an engine is a stranger's: whatever a deferred node says, its
// translation refuses it with a reason or makes something sound of it.
#include <criterion/criterion.h>
#include <string.h>
#include "base/checked.h"
#include "ir/verify.h"
#include "kernels/build.h"
#include "kernels/ops.h"
#include "kernels/sequence/sequence.h"
#include "onnx/ops/schema.h"
#include "onnx/ops/translate.h"

typedef struct Fixture {
  Arena *arena;
  Graph *graph;
} Fixture;

static Fixture fixture_new(void) {
  Arena *arena = arena_new();
  return (Fixture){arena, graph_new(arena, core_ops, "test")};
}

static Node *deferred(Fixture *f, const char *domain, const char *op, int opset, int count, Value *const *inputs, int outputs) {
  Node *node = graph_add(f->graph, NULL, &op_deferred, count, inputs, outputs);
  node_set_string(node, DEFERRED_OP_TYPE, op);
  node_set_string(node, DEFERRED_DOMAIN, domain);
  node_set_string(node, DEFERRED_NAME, "the_node");
  node_set_int(node, DEFERRED_OPSET, opset);
  return node;
}

static void expect_refusal(Node *node, const char *words) {
  bool done;
  Status status = translate_deferred(node, NULL, &done);
  cr_assert_not_null(status, "taken, where '%s' is expected", words);
  cr_expect(strstr(status_message(status), "node 'the_node'"), "%s", status_message(status));
  cr_expect(strstr(status_message(status), words), "'%s' does not say '%s'", status_message(status), words);
  status_free(status);
}

static Value *sequence_of(Fixture *f, Value *item) {
  Node *node = graph_add(f->graph, NULL, &op_sequence, 1, &item, 1);
  cr_assert_null(node_infer(node));
  return node->outputs[0];
}

Test(onnx_deferred, what_breaks_the_specification_is_refused) {
  Fixture f = fixture_new();
  Value *x = graph_add_input(f.graph, "x", DTYPE_F32, 2, (Dim[]){2, 3});
  Value *s = graph_add_input(f.graph, "s", DTYPE_STRING, 2, (Dim[]){2, 3}), *list = sequence_of(&f, x);
  expect_refusal(deferred(&f, "", "Equal", 6, 1, &x, 1), "it has 1 inputs, expected 2 to 2");
  expect_refusal(deferred(&f, "", "Equal", 17, 0, NULL, 1), "it has 0 inputs");
  expect_refusal(deferred(&f, "", "Relu", 17, 2, (Value *[]){x, x}, 1), "it has 2 inputs");
  expect_refusal(deferred(&f, "", "Relu", 17, 1, &x, 2), "it has 2 outputs");
  expect_refusal(deferred(&f, "", "Equal", 17, 2, (Value *[]){NULL, x}, 1), "input 0 is empty");
  expect_refusal(deferred(&f, "", "Relu", 17, 1, &s, 1), "is of type string");
  expect_refusal(deferred(&f, "", "Relu", 17, 1, &list, 1), "is of type seq");
  expect_refusal(deferred(&f, "", "SequenceLength", 17, 1, &x, 1), "is of type f32, expected one of: seq");
  expect_refusal(deferred(&f, "", "Concat", 17, 1, &x, 1), "the attribute 'axis' is missing");
  expect_refusal(deferred(&f, "", "Nonsense", 17, 1, &x, 1), "no such operator");
  Node *node = deferred(&f, "", "LeakyRelu", 17, 1, &x, 1);
  node_set_string(node, "alpha", "0.1");
  expect_refusal(node, "attribute 'alpha' is of type string, expected float");
  node = deferred(&f, "", "Gelu", 20, 1, &x, 1);
  node_set_string(node, "approximate", "tahn");
  expect_refusal(node, "expected one of: none tanh");
  node = deferred(&f, "", "Relu", 17, 1, &x, 1);
  node_set_int(node, "captures", 2);
  expect_refusal(node, "2 of its 1 inputs are said to be captured");
  node_set_int(node, "captures", -1);
  expect_refusal(node, "-1 of its 1 inputs");
  arena_free(f.arena);
}

Test(onnx_deferred, branches_that_ask_for_more_inputs_are_refused) {
  Fixture f = fixture_new();
  Value *condition = graph_add_constant(f.graph, NULL, tensor_scalar_f(f.arena, DTYPE_BOOL, 1));
  Node *node = deferred(&f, "", "If", 16, 1, &condition, 1);
  static const char *const names[] = {"then_branch", "else_branch"};
  for (int i = 0; i < 2; i++) {
    Graph *branch = graph_new_inside(f.graph, "branch");
    graph_mark_output(branch, graph_add_input(branch, "captured", DTYPE_F32, 0, NULL));
    node_set_graph(node, names[i], branch);
  }
  expect_refusal(node, "a branch has 1 inputs");
  arena_free(f.arena);
}

// --- Every operator, with inputs of every sort in every number

enum { SORTS = 9, MOST_INPUTS = 5 };

static Value *of_sort(Fixture *f, int sort) {
  static const int64_t few[] = {1, 0, 2};
  switch (sort) {
    case 0: return NULL;
    case 1: return graph_add_input(f->graph, NULL, DTYPE_F32, 0, NULL);
    case 2: return graph_add_input(f->graph, NULL, DTYPE_F32, 2, (Dim[]){2, 3});
    case 3: return graph_add_input(f->graph, NULL, DTYPE_F16, 4, (Dim[]){1, 2, 3, 3});
    case 4: return graph_add_input(f->graph, NULL, DTYPE_I64, 1, (Dim[]){0});
    case 5: return graph_add_constant(f->graph, NULL, tensor_vector_i64(f->arena, few, 3));
    case 6: return graph_add_constant(f->graph, NULL, tensor_scalar_f(f->arena, DTYPE_BOOL, 1));
    case 7: return graph_add_input(f->graph, NULL, DTYPE_STRING, 3, (Dim[]){1, 2, 1});
    default: return sequence_of(f, graph_add_input(f->graph, NULL, DTYPE_F32, 1, (Dim[]){3}));
  }
}

// Translates, and lets go of all. The reason, if it fails, may be anything but our own fault.
static void finish(Fixture *f, Node *node, const OnnxOp *op, const char *what) {
  bool done;
  Status status = translate_deferred(node, NULL, &done);
  if (status)
    cr_expect_neq(status_code(status), ERROR_INTERNAL, "%s-%d, %s: %s", op->name, op->since, what, status_message(status));
  status_free(status);
  status = graph_verify(f->graph);
  cr_expect_null(status, "%s-%d, %s: %s", op->name, op->since, what, status_message(status));
  status_free(status);
  arena_free(f->arena);
}

// One sort, or one after the other from there on.
static void try_inputs(const OnnxOp *op, int count, int sort, bool mixed) {
  Fixture f = fixture_new();
  Value *inputs[MOST_INPUTS];
  for (int i = 0; i < count; i++) inputs[i] = of_sort(&f, mixed ? (sort + i) % SORTS : sort);
  Node *node = deferred(&f, op->domain, op->name, op->since, count, inputs, 1 + sort % 2);
  finish(&f, node, op, arena_printf(f.arena, "%d inputs of sort %d", count, sort));
}

Test(onnx_deferred, every_operator_with_inputs_of_every_sort, .timeout = 120) {
  for (const OnnxOp *const *table = onnx_ops; *table; table++)
    for (const OnnxOp *op = *table; op->name; op++)
      for (int count = 0; count <= MOST_INPUTS; count++)
        for (int sort = 0; sort < SORTS; sort++) {
          try_inputs(op, count, sort, false);
          try_inputs(op, count, sort, true);
        }
}

// --- Every integer attribute at its extremes

static void set_extreme(Node *node, const char *name, int length, bool list, int64_t value) {
  int64_t values[4] = {value, value, value, value};
  name = arena_string_n(node->graph->arena, name, (size_t)length);
  node_set_ints(node, name, values, list ? 4 : 1);
}

// Inputs of the sorts that most operators take; what else is required, with values that mean something.
static void try_attribute(const OnnxOp *op, const Schema *schema, const char *name, int length, bool list, int64_t value,
                          int sort) {
  Fixture f = fixture_new();
  Value *inputs[MOST_INPUTS];
  int count = MIN(op->min_inputs + 1, MOST_INPUTS);
  if (op->max_inputs >= 0) count = MIN(count, op->max_inputs);
  for (int i = 0; i < count; i++) inputs[i] = of_sort(&f, i && sort > SORTS ? 5 : sort % SORTS);
  Node *node = deferred(&f, op->domain, op->name, schema->since, count, inputs, MAX(op->min_outputs, 1));
  for (const char *at = schema->attributes; *at;) {
    int word = (int)strcspn(at, " "), letters = (int)strcspn(at, ":");
    if (at[word - 1] == '!' && (strncmp(at + letters, ":int!", 5) == 0 || strncmp(at + letters, ":ints!", 6) == 0))
      set_extreme(node, at, letters, at[letters + 4] == 's', 2);
    at += word + (at[word] == ' ');
  }
  set_extreme(node, name, length, list, value);
  finish(&f, node, op, arena_printf(f.arena, "%.*s = %lld", length, name, (long long)value));
}

static void try_attributes(const OnnxOp *op, const Schema *schema) {
  static const int64_t values[] = {INT64_MIN, INT64_MIN + 1, -1, 0, 1, INT32_MAX, (int64_t)1 << 62, INT64_MAX};
  static const int sorts[] = {2, 3, SORTS + 2, SORTS + 3};
  for (const char *at = schema->attributes; *at;) {
    int word = (int)strcspn(at, " "), letters = (int)strcspn(at, ":");
    bool integer = strncmp(at + letters, ":int", 4) == 0, list = integer && at[letters + 4] == 's';
    for (size_t v = 0; integer && v < COUNT_OF(values); v++)
      for (size_t s = 0; s < COUNT_OF(sorts); s++) try_attribute(op, schema, at, letters, list, values[v], sorts[s]);
    at += word + (at[word] == ' ');
  }
}

Test(onnx_deferred, every_integer_at_its_extremes, .timeout = 240) {
  for (const OnnxOp *const *table = onnx_ops; *table; table++)
    for (const OnnxOp *op = *table; op->name; op++) {
      const Schema *schema = schema_find(op->domain, op->name, op->until ? op->until : 1000);
      if (schema) try_attributes(op, schema);
    }
}
