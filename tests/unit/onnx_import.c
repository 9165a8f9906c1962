// Models become graphs: names, constants, symbolic shapes, subgraphs, functions; and what is wrong with a model is listed at once.
#include "tests/unit/onnx_model.h"
#include "ir/verify.h"
#include "onnx/ops/translate.h"

static int count_ops(const Graph *graph, const char *name) {
  int count = 0;
  FOR_NODES(node, graph) count += strcmp(node->op->name, name) == 0;
  return count;
}

static void import_ok(TestModel *t, Graph **graph) {
  ok(open_and_import(t, graph));
  ok(graph_verify(*graph));
}

static void import_fails(TestModel *t, const char *const *parts, int count) {
  Graph *graph;
  Status status = open_and_import(t, &graph);
  cr_assert(status != OK);
  for (int i = 0; i < count; i++)
    cr_assert(strstr(status_message(status), parts[i]) != NULL, "'%s' does not say '%s'", status_message(status), parts[i]);
  status_free(status);
}
#define FAILS(t, ...) import_fails(t, (const char *[]){__VA_ARGS__}, sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *))

Test(onnx_import, names_dims_and_origins_survive) {
  TestModel t = test_model();
  Graph *graph;
  float w[3] = {1, 2, 3};
  add_input(&t, "x", 1, 2, -2, 3);
  add_input(&t, "w", 1, 1, 3);  // an initializer too: not an input of the graph
  LIST_ADD(t.arena, t.graph, initializer, raw_tensor(t.arena, "w", 1, 1, (int64_t[]){3}, w, sizeof w));
  add_node(&t, "Add", "x w", "sum")->name = arena_string(t.arena, "adder");
  add_node(&t, "Relu", "sum", "y");
  add_output(&t, "y");
  import_ok(&t, &graph);
  cr_assert_eq(graph->input_count, 1);
  cr_assert_str_eq(graph->inputs[0]->name, "x");
  cr_assert_eq(graph->inputs[0]->dims[0], dim_symbol(graph->dims, "batch"));
  cr_assert_str_eq(graph->outputs[0]->name, "y");
  cr_assert(value_same_shape(graph->inputs[0], graph->outputs[0]));
  const Value *sum = graph_find_value(graph, "sum");
  cr_assert_not_null(sum);
  cr_assert_str_eq(sum->producer->origins[0].name, "adder");
  cr_assert_str_eq(sum->producer->origins[0].op_type, "Add");
  arena_free(t.arena);
}

Test(onnx_import, shape_arithmetic_disappears) {
  TestModel t = test_model();
  Graph *graph;
  add_input(&t, "x", 1, 3, -2, 4, 6);
  add_i64s(&t, "zero", 0);
  add_i64s(&t, "rest", -1);
  add_i64s(&t, "two", 2);
  add_node(&t, "Shape", "x", "shape");
  set_int(t.arena, add_node(&t, "Gather", "shape zero", "batch"), "axis", 0);
  add_node(&t, "Mul", "batch two", "twice");
  set_int(t.arena, add_node(&t, "Concat", "twice rest", "wanted"), "axis", 0);
  add_node(&t, "Reshape", "x wanted", "y");
  add_output(&t, "y");
  import_ok(&t, &graph);
  cr_assert_eq(graph->node_count, 1, "only the reshape is left");
  cr_assert_eq(graph->outputs[0]->dims[0], dim_mul(graph->dims, 2, dim_symbol(graph->dims, "batch")));
  cr_assert_eq(graph->outputs[0]->dims[1], 12);
  arena_free(t.arena);
}

Test(onnx_import, comparisons_of_dims_are_decided) {
  TestModel t = test_model();
  Graph *graph;
  add_input(&t, "x", 1, 2, -2, 1);
  add_i64s(&t, "wanted", -1, 5);
  add_i64s(&t, "minus", -1);
  add_i64s(&t, "one", 1);
  add_node(&t, "Shape", "x", "shape");
  add_node(&t, "Equal", "shape minus", "unset");  // batch == -1 is false whatever batch is
  add_node(&t, "Where", "unset one shape", "sizes");
  add_node(&t, "Equal", "wanted minus", "keep");
  add_node(&t, "Where", "keep sizes wanted", "target");
  add_node(&t, "Expand", "x target", "y");
  add_output(&t, "y");
  import_ok(&t, &graph);
  cr_assert_eq(graph->node_count, 1);
  cr_assert_eq(graph->outputs[0]->dims[0], dim_symbol(graph->dims, "batch"));
  cr_assert_eq(graph->outputs[0]->dims[1], 5);
  arena_free(t.arena);
}

Test(onnx_import, outputs_that_pass_through_are_copies) {
  TestModel t = test_model();
  Graph *graph;
  add_input(&t, "x", 1, 1, 3);
  add_node(&t, "Identity", "x", "y");
  add_node(&t, "Identity", "x", "z");
  add_output(&t, "y");
  add_output(&t, "z");
  import_ok(&t, &graph);
  cr_assert_str_eq(graph->inputs[0]->name, "x");
  cr_assert_str_eq(graph->outputs[0]->name, "y");
  cr_assert_str_eq(graph->outputs[1]->name, "z");
  arena_free(t.arena);
}

Test(onnx_import, run_time_operands_wait_and_are_translated_later) {
  TestModel t = test_model();
  Graph *graph;
  add_input(&t, "x", 1, 2, 4, 6);
  add_input(&t, "shape", 7, 1, 1);
  add_node(&t, "Reshape", "x shape", "flat");
  add_node(&t, "Relu", "flat", "y");
  add_output(&t, "y");
  import_ok(&t, &graph);
  cr_assert_eq(count_ops(graph, "deferred"), 1);  // the rank of its result is the length of its shape, which is enough for Relu
  cr_assert_eq(graph->outputs[0]->rank, 1);
  Node *reshape = graph->first, *relu = reshape->next;
  bool done;
  ok(translate_deferred(reshape, NULL, &done));
  cr_assert_not(done);
  node_set_input(reshape, 1, graph_add_constant(graph, NULL, tensor_vector_i64(t.arena, (int64_t[]){24}, 1)));
  ok(translate_deferred(reshape, NULL, &done));
  cr_assert(done);
  ok(node_infer(relu));
  cr_assert_eq(count_ops(graph, "deferred"), 0);
  cr_assert_eq(graph->outputs[0]->dims[0], 24);
  cr_assert_str_eq(graph->outputs[0]->name, "y");
  ok(graph_verify(graph));
  arena_free(t.arena);
}

static Onnx__Graph *branch(Arena *arena, const char *op_type, const char *inputs) {
  Onnx__Graph *graph = MAKE(arena, Onnx__Graph, ONNX__GRAPH__INIT);
  graph->name = arena_string(arena, op_type);
  LIST_ADD(arena, graph, node, make_node(arena, op_type, inputs, "r"));
  add_output_to(arena, graph, "r");
  return graph;
}

static void add_if(TestModel *t, const char *condition) {
  Onnx__Node *node = add_node(t, "If", condition, "y");
  add_attribute(t->arena, node, "then_branch", ONNX__ATTRIBUTE__KIND__GRAPH)->g = branch(t->arena, "Add", "a b");
  add_attribute(t->arena, node, "else_branch", ONNX__ATTRIBUTE__KIND__GRAPH)->g = branch(t->arena, "Mul", "a c");
  add_output(t, "y");
}

Test(onnx_import, captures_become_inputs_of_every_branch) {
  TestModel t = test_model();
  Graph *graph;
  add_input(&t, "p", 9, 0, 0);
  add_input(&t, "a", 7, 1, -2);
  add_input(&t, "b", 7, 1, -2);
  add_i64s(&t, "c", 3);
  add_if(&t, "p");
  import_ok(&t, &graph);
  const Node *node = graph->first;
  cr_assert_str_eq(node->op->name, "if");
  cr_assert_eq(node->input_count, 3, "the condition, a and b; the constant is copied");
  const Graph *then_branch = node_graph(node, "then_branch"), *else_branch = node_graph(node, "else_branch");
  cr_assert_eq(then_branch->input_count, 2);
  cr_assert_eq(else_branch->input_count, 2);
  cr_assert_eq(graph->outputs[0]->dims[0], dim_symbol(graph->dims, "batch"));
  arena_free(t.arena);
}

Test(onnx_import, a_known_condition_leaves_one_branch) {
  TestModel t = test_model();
  Graph *graph;
  add_input(&t, "a", 7, 1, -2);
  add_input(&t, "b", 7, 1, -2);
  add_i64s(&t, "c", 3);
  LIST_ADD(t.arena, t.graph, initializer, raw_tensor(t.arena, "p", 9, 0, NULL, "\1", 1));
  add_if(&t, "p");
  import_ok(&t, &graph);
  cr_assert_eq(graph->node_count, 1);
  cr_assert_str_eq(graph->first->op->name, "elementwise");
  arena_free(t.arena);
}

// A loop whose state grows by concatenation, and another that keeps its shape.
static TestModel model_of_a_loop(const char *inputs) {
  TestModel t = test_model();
  Onnx__Graph *body = MAKE(t.arena, Onnx__Graph, ONNX__GRAPH__INIT);
  body->name = arena_string(t.arena, "body");
  LIST_ADD(t.arena, body, input, value_info(t.arena, "i", 7, 0, NULL));
  LIST_ADD(t.arena, body, input, value_info(t.arena, "go", 9, 0, NULL));
  LIST_ADD(t.arena, body, input, value_info(t.arena, "grow", 1, -1, NULL));
  LIST_ADD(t.arena, body, input, value_info(t.arena, "keep", 1, -1, NULL));
  Onnx__Node *concat = make_node(t.arena, "Concat", "grow x", "grown");
  set_int(t.arena, concat, "axis", 0);
  LIST_ADD(t.arena, body, node, concat);
  LIST_ADD(t.arena, body, node, make_node(t.arena, "Add", "keep x", "kept"));
  add_output_to(t.arena, body, "go");
  add_output_to(t.arena, body, "grown");
  add_output_to(t.arena, body, "kept");
  add_input(&t, "n", 7, 0, 0);
  add_input(&t, "x", 1, 1, 4);
  Onnx__Node *loop = add_node(&t, "Loop", inputs, "a b");
  add_attribute(t.arena, loop, "body", ONNX__ATTRIBUTE__KIND__GRAPH)->g = body;
  add_output(&t, "a");
  add_output(&t, "b");
  return t;
}

Test(onnx_import, loop_states_that_change_shape_are_found) {
  TestModel t = model_of_a_loop("n - x x");
  Graph *graph;
  import_ok(&t, &graph);
  const Graph *inner = node_graph(graph->first, "body");
  cr_assert_str_eq(graph->first->op->name, "loop");
  cr_assert_eq(inner->input_count, 5, "iteration, condition, two states, one capture");
  cr_assert_eq(inner->inputs[2]->rank, 1);
  cr_assert_not(dim_is_static(inner->inputs[2]->dims[0]));
  cr_assert_eq(inner->inputs[3]->dims[0], 4);
  arena_free(t.arena);
}

// What a body captures does not stand in for a state that is missing.
Test(onnx_import, a_loop_and_its_body_agree_on_the_states) {
  TestModel few = model_of_a_loop("n - x"), empty = model_of_a_loop("n - x -"), many = model_of_a_loop("n - x x x");
  FAILS(&few, "(Loop)", "its body takes more inputs than it has");
  FAILS(&empty, "(Loop)", "its body takes more inputs than it has");
  FAILS(&many, "(Loop)", "its body takes fewer inputs than it has");
  arena_free(few.arena);
  arena_free(empty.arena);
  arena_free(many.arena);
}

static Onnx__Function *add_function(TestModel *t, const char *name, const char *input, const char *output) {
  Onnx__Function *function = MAKE(t->arena, Onnx__Function, ONNX__FUNCTION__INIT);
  function->name = arena_string(t->arena, name);
  function->domain = arena_string(t->arena, "own");
  LIST_ADD(t->arena, function, input, arena_string(t->arena, input));
  LIST_ADD(t->arena, function, output, arena_string(t->arena, output));
  LIST_ADD(t->arena, function, opset_import, t->model->opset_import[0]);
  LIST_ADD(t->arena, t->model, functions, function);
  return function;
}

static Onnx__Node *own_node(Arena *arena, const char *function, const char *inputs, const char *outputs) {
  Onnx__Node *node = make_node(arena, function, inputs, outputs);
  node->domain = arena_string(arena, "own");
  return node;
}

Test(onnx_import, functions_are_inlined_with_their_attributes) {
  TestModel t = test_model();
  Graph *graph;
  add_opset(&t, "own", 1);
  Onnx__Function *flip = add_function(&t, "Turn", "v", "r"), *outer = add_function(&t, "Outer", "v", "r");
  Onnx__Node *inner = make_node(t.arena, "Transpose", "v", "r");
  add_attribute(t.arena, inner, "perm", ONNX__ATTRIBUTE__KIND__INTS)->ref_attr_name = arena_string(t.arena, "order");
  LIST_ADD(t.arena, flip, node, inner);
  LIST_ADD(t.arena, flip, attribute, arena_string(t.arena, "order"));
  Onnx__Node *call = own_node(t.arena, "Turn", "v", "r");
  add_attribute(t.arena, call, "order", ONNX__ATTRIBUTE__KIND__INTS)->ref_attr_name = arena_string(t.arena, "axes");
  LIST_ADD(t.arena, outer, node, call);
  add_input(&t, "x", 1, 3, 2, 3, 4);
  Onnx__Node *node = own_node(t.arena, "Outer", "x", "y");
  node->name = arena_string(t.arena, "call");
  Onnx__Attribute *axes = add_attribute(t.arena, node, "axes", ONNX__ATTRIBUTE__KIND__INTS);
  LIST_ADD(t.arena, axes, ints, 1);
  LIST_ADD(t.arena, axes, ints, 2);
  LIST_ADD(t.arena, axes, ints, 0);
  LIST_ADD(t.arena, t.graph, node, node);
  add_output(&t, "y");
  import_ok(&t, &graph);
  cr_assert_eq(graph->node_count, 1);
  cr_assert_eq(graph->outputs[0]->dims[0], 3);
  cr_assert_eq(graph->outputs[0]->dims[2], 2);
  cr_assert_eq(graph->first->origin_count, 3, "the call, the inner call, the node");
  cr_assert_str_eq(graph->first->origins[0].name, "call");
  arena_free(t.arena);
}

Test(onnx_import, recursive_and_exploding_functions_are_refused) {
  TestModel t = test_model();
  add_opset(&t, "own", 1);
  Onnx__Function *self = add_function(&t, "Self", "v", "r");
  LIST_ADD(t.arena, self, node, own_node(t.arena, "Self", "v", "r"));
  add_input(&t, "x", 1, 0, 0);
  LIST_ADD(t.arena, t.graph, node, own_node(t.arena, "Self", "x", "y"));
  add_output(&t, "y");
  FAILS(&t, "calls itself");
  arena_free(t.arena);
}

Test(onnx_import, all_problems_are_listed) {
  TestModel t = test_model();
  add_input(&t, "x", 1, 1, 3);
  add_node(&t, "Frobnicate", "x", "a");
  add_node(&t, "Relu", "missing", "b")->name = arena_string(t.arena, "reads nothing");
  add_node(&t, "Add", "x", "c");
  add_node(&t, "Relu", "loop", "d");
  add_node(&t, "Relu", "d", "loop");
  add_node(&t, "Relu", "x", "later");
  add_node(&t, "Relu", "x", "later");
  add_node(&t, "Relu", "self", "self");
  Onnx__Node *strange = add_node(&t, "Strange", "x", "e");
  strange->domain = arena_string(t.arena, "nowhere");
  Onnx__Node *twice = add_node(&t, "Softmax", "x", "f");
  set_int(t.arena, twice, "axis", 0);
  set_int(t.arena, twice, "axis", 0);
  add_attribute(t.arena, twice, "t", ONNX__ATTRIBUTE__KIND__TENSOR);
  LIST_ADD(t.arena, t.graph, initializer, raw_tensor(t.arena, "short", 1, 1, (int64_t[]){4}, "1234", 4));
  add_output(&t, "nothing");
  FAILS(&t, "the model has", "node 'a' (Frobnicate): the operator is unknown",
        "node 'reads nothing' (Relu): input 0, 'missing'", "node 'c' (Add): it has 1 inputs, expected 2", "they form a cycle",
        "'later' is defined a second time", "is its own output", "the operator is unknown in domain 'nowhere'",
        "attribute 'axis' is there twice", "attribute 't' is not of the type it says",
        "tensor 'short': it has 4 bytes of data, expected 16", "output 'nothing' of graph 'test'");
  arena_free(t.arena);
}

Test(onnx_import, operators_below_their_opset_are_their_first_version) {
  TestModel t = test_model();
  Graph *graph;
  t.model->opset_import[0]->version = 6;
  add_input(&t, "x", 1, 0, 0);
  add_node(&t, "Gelu", "x", "y");  // since 20
  add_output(&t, "y");
  import_ok(&t, &graph);
  cr_assert_eq(graph->node_count, 1);
  arena_free(t.arena);
}

Test(onnx_import, operators_behind_their_last_opset_are_refused) {
  TestModel t = test_model();
  add_input(&t, "x", 1, 0, 0);
  add_node(&t, "Upsample", "x", "y");  // until 9
  add_output(&t, "y");
  FAILS(&t, "(Upsample): the operator is not supported in version 21 of domain 'ai.onnx'");
  arena_free(t.arena);
}

Test(onnx_import, opsets_that_nobody_knows_are_refused) {
  TestModel t = test_model();
  t.model->opset_import[0]->version = 1000;
  add_input(&t, "x", 1, 0, 0);
  add_node(&t, "Relu", "x", "y");
  add_output(&t, "y");
  FAILS(&t, "domain 'ai.onnx' is imported in version 1000, newer than");
  arena_free(t.arena);
}

Test(onnx_import, domains_without_import_are_taken_as_their_newest) {
  TestModel t = test_model();
  Graph *graph;
  add_input(&t, "x", 1, 1, 3);
  add_node(&t, "Binarizer", "x", "y")->domain = arena_string(t.arena, "ai.onnx.ml");
  add_output(&t, "y");
  import_ok(&t, &graph);
  arena_free(t.arena);
}

Test(onnx_import, nodes_are_sorted) {
  TestModel t = test_model();
  Graph *graph;
  add_input(&t, "x", 1, 1, 3);
  add_node(&t, "Relu", "c", "y");
  add_node(&t, "Neg", "b", "c");
  add_node(&t, "Abs", "x", "a");
  add_node(&t, "Add", "x a", "b");
  add_output(&t, "y");
  import_ok(&t, &graph);
  cr_assert_eq(graph->node_count, 4);
  arena_free(t.arena);
}

Test(onnx_import, attributes_keep_to_the_specification) {
  TestModel t = test_model();
  add_input(&t, "x", 1, 2, 3, 4);
  set_int(t.arena, add_node(&t, "LeakyRelu", "x", "a"), "alpha", 1);
  add_attribute(t.arena, add_node(&t, "LeakyRelu", "x", "b"), "alhpa", ONNX__ATTRIBUTE__KIND__FLOAT)->has_f = 1;
  set_int(t.arena, add_node(&t, "LpNormalization", "x", "c"), "p", 3);
  Onnx__Attribute *mode = add_attribute(t.arena, add_node(&t, "Gelu", "x", "d"), "approximate", ONNX__ATTRIBUTE__KIND__STRING);
  mode->has_s = 1;
  mode->s = (ProtobufCBinaryData){4, (uint8_t *)"tahn"};
  add_node(&t, "Concat", "x x", "e");
  add_node(&t, "Relu", "x x", "f");
  add_output(&t, "a");
  FAILS(&t, "node 'a' (LeakyRelu): attribute 'alpha' is of type int, expected float",
        "node 'b' (LeakyRelu): attribute 'alhpa' is unknown; the nearest is 'alpha'",
        "node 'c' (LpNormalization): p is 3, expected 1 to 2",
        "node 'd' (Gelu): approximate is 'tahn', expected one of: none tanh",
        "node 'e' (Concat): the attribute 'axis' is missing", "node 'f' (Relu): it has 2 inputs");
  arena_free(t.arena);
}

static void refuses_input(const char *op, const char *inputs, const char *message) {
  TestModel t = test_model();
  add_input(&t, "f", 1, 2, 3, 4);
  add_input(&t, "i", 6, 2, 3, 4);
  add_input(&t, "s", 8, 2, 3, 4);
  add_input(&t, "image", 1, 4, 1, 3, 8, 8);
  add_input(&t, "channels", 1, 1, 3);
  add_input(&t, "matrix", 1, 2, 3, 1);
  add_input(&t, "wrong", 1, 1, 2);
  add_node(&t, op, inputs, "y");
  add_output(&t, "y");
  FAILS(&t, message);
  arena_free(t.arena);
}

Test(onnx_import, types_and_ranks_keep_to_the_specification) {
  refuses_input("Relu", "s", "input 0 (X) is of type string, expected one of");
  refuses_input("Add", "f i", "input 1 (B) is of type i32, expected f32 as input 0 is");
  refuses_input("Conv", "i i", "input 0 (X) is of type i32, expected one of: f16, f32, f64");
  refuses_input("BatchNormalization", "image matrix channels channels channels", "input 1 has rank 2, expected 1");
  refuses_input("InstanceNormalization", "image wrong channels", "input 1 has 2 elements, expected 3");
  refuses_input("Mod", "f f", "fmod");
  refuses_input("Clip", "f matrix", "input 1 has rank 2");
}

static void refuses_size(const char *op, int64_t rows, const int64_t *sizes, int64_t count) {
  TestModel t = test_model();
  add_input(&t, "x", 1, 2, rows, 3);
  if (count) LIST_ADD(t.arena, t.graph, initializer, i64_tensor(t.arena, "sizes", 1, count, sizes));
  add_node(&t, op, strcmp(op, "ConstantOfShape") == 0 ? "sizes" : count ? "x sizes" : "x", "y");
  add_output(&t, "y");
  FAILS(&t, "more than 70368744177664");
  arena_free(t.arena);
}

Test(onnx_import, sizes_that_wrap_or_that_no_memory_holds_are_refused) {
  int64_t wide = (int64_t)1 << 32, to_twelve[] = {4, 3 + ((int64_t)1 << 62)}, to_zero[] = {wide, wide, 3};
  refuses_size("Reshape", 4, to_twelve, 2);
  refuses_size("Reshape", 0, to_zero, 3);
  refuses_size("Expand", 1, to_zero, 3);
  refuses_size("Tile", 3, (int64_t[]){wide, wide}, 2);
  refuses_size("ConstantOfShape", 2, to_zero, 3);
  refuses_size("ConstantOfShape", 2, (int64_t[]){0, wide, wide}, 3);
  refuses_size("Flatten", INT64_MAX / 2, NULL, 0);
}
