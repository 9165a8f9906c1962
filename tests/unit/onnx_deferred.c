// Nodes that waited come from an engine as often as from a model, and an engine is a stranger's: whatever a deferred node says, its
// translation refuses it with a reason or makes something sound of it.
#include <criterion/criterion.h>
#include <string.h>
#include "base/checked.h"
#include "ir/verify.h"
#include "kernels/build.h"
#include "kernels/sequence/sequence.h"
#include "onnx/translate.h"

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

// One, or one after the other from there on.
static void try(const OnnxOp *op, int count, int sort, bool mixed) {
  Fixture f = fixture_new();
  Value *inputs[MOST_INPUTS];
  bool done;
  for (int i = 0; i < count; i++) inputs[i] = of_sort(&f, mixed ? (sort + i) % SORTS : sort);
  Node *node = deferred(&f, op->domain, op->name, op->since, count, inputs, 1 + sort % 2);
  Status status = translate_deferred(node, NULL, &done);
  if (status) cr_expect_neq(status_code(status), ERROR_INTERNAL, "%s-%d: %s", op->name, op->since, status_message(status));
  status_free(status);
  status = graph_verify(f.graph);
  cr_expect_null(status, "%s-%d, %d inputs of sort %d: %s", op->name, op->since, count, sort, status_message(status));
  status_free(status);
  arena_free(f.arena);
}

Test(onnx_deferred, every_operator_with_inputs_of_every_sort, .timeout = 120) {
  for (const OnnxOp *const *table = onnx_ops; *table; table++)
    for (const OnnxOp *op = *table; op->name; op++)
      for (int count = 0; count <= MOST_INPUTS; count++)
        for (int sort = 0; sort < SORTS; sort++) {
          try(op, count, sort, false);
          try(op, count, sort, true);
        }
}
