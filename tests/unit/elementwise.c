// Elementwise nodes: every opcode and cast on every class of types, random programs over random shapes and strides, inference,
// and epilogues.
#include "kernels/elementwise/elementwise.h"
#include "kernels/control/region.h"
#include "kernels/ops.h"
#include "kernels/reference.h"
#include "tests/unit/naive.h"

extern const Implementation cpu_elementwise;

static Naive naive_new(const Program *program, int rank, const int64_t *dims, const Tensor *inputs) {
  Naive naive = {.program = program, .rank = rank, .inputs = inputs};
  memcpy(naive.dims, dims, sizeof(int64_t) * (size_t)rank);
  return naive;
}

// An operand in a range where the function is defined and smooth.
static void fill_for(Opcode op, Tensor *tensor) {
  random_fill(tensor);
  if (!dtype_is_float(tensor->dtype)) return;
  for (int64_t i = 0; i < tensor_count(tensor); i++) {
    double v = tensor_get_f(tensor, i);
    switch (op) {
      case OP_log:
      case OP_sqrt:
      case OP_rsqrt:
      case OP_log1p:
      case OP_pow: v = fabs(v) + 0.01; break;
      case OP_asin:
      case OP_acos:
      case OP_atanh: v *= 0.49; break;
      case OP_acosh: v = fabs(v) + 1.01; break;
      case OP_tan: v *= 0.6; break;
      case OP_div:
      case OP_recip: v = v < 0 ? v - 0.1 : v + 0.1; break;
      default: break;
    }
    tensor_set_f(tensor, i, v);
  }
}

Test(elementwise, every_opcode_on_every_type) {
  static const DType types[] = {DTYPE_F32, DTYPE_F64, DTYPE_F16, DTYPE_BF16, DTYPE_I8,   DTYPE_I16, DTYPE_I32, DTYPE_I64,
                                DTYPE_U8,  DTYPE_U16, DTYPE_U32, DTYPE_U64,  DTYPE_BOOL, DTYPE_I4,  DTYPE_U4};
  static const int class_of[] = {CLASS_F, CLASS_I, CLASS_U, CLASS_B};
  for (int op = 0; op < OPCODE_COUNT; op++) {
    const OpcodeInfo *info = opcode_info((Opcode)op);
    if (info->arity == 0 || info->reduces || op == OP_cast) continue;
    for (size_t t = 0; t < COUNT_OF(types); t++) {
      if (!(info->classes & class_of[dtype_kind(types[t])])) continue;
      Arena *arena = arena_new();
      int64_t dims[2] = {3, 367};
      Tensor inputs[3];
      Program *p = program_new(arena, info->arity);
      int args[3] = {0};
      for (int k = 0; k < info->arity; k++) {
        DType dtype = op == OP_select && k == 0 ? DTYPE_BOOL : types[t];
        inputs[k] = random_input(arena, dtype, 2, dims, true);
        fill_for((Opcode)op, &inputs[k]);
        args[k] = program_input(p, k, dtype);
      }
      program_output(p, info->arity == 1   ? program_op1(p, (Opcode)op, args[0])
                        : info->arity == 2 ? program_op2(p, (Opcode)op, args[0], args[1])
                                           : program_op3(p, (Opcode)op, args[0], args[1], args[2]));
      Naive naive = naive_new(p, 2, dims, inputs);
      // A result on the edge between two halves may round either way.
      double rtol = types[t] == DTYPE_F16 ? 1e-3 : types[t] == DTYPE_BF16 ? 8e-3 : 2e-6;
      // f32 operands are exact in double, but mod is not continuous.
      if (op == OP_mod || op == OP_fmod) rtol = MAX(rtol, 1e-5);
      check_case(&op_elementwise, &cpu_elementwise, p, &naive, info->arity, rtol, 1e-6);
      arena_free(arena);
    }
  }
}

Test(elementwise, every_cast) {
  Arena *arena = arena_new();
  int64_t dims[1] = {97};
  for (int from = 0; from < DTYPE_COUNT; from++) {
    for (int to = 0; to < DTYPE_COUNT; to++) {
      if (dtype_kind((DType)from) >= KIND_COMPLEX || dtype_kind((DType)to) >= KIND_COMPLEX) continue;
      for (int flags = 0; flags < 2; flags++) {
        Program *p = program_new(arena, 1);
        program_output(p, program_cast_with(p, (DType)to, program_input(p, 0, (DType)from), flags));
        Tensor input;
        cr_assert(!tensor_new(arena, (DType)from, 1, dims, &input));
        for (int i = 0; i < 97; i++) {
          static const double special[] = {0,        -0.0,      1e-9, 3e9,   -3e9, 1e19, 3e19, -3e19,
                                           INFINITY, -INFINITY, NAN,  65504, 448,  500,  6.5};
          double v = i < 15 ? special[i] : (random_unit() - 0.5) * (i % 2 ? 10 : 600);
          if (dtype_is_float((DType)from)) tensor_set_f(&input, i, v);
          else tensor_set_i(&input, i, (int64_t)(random_bits() << 16));
        }
        Naive naive = naive_new(p, 1, dims, &input);
        check_case(&op_elementwise, &cpu_elementwise, p, &naive, 1, 1e-7, 0);
      }
    }
  }
  arena_free(arena);
}

// Smooth opcodes, so that the rounding of f32 stays small.
static int random_float_instruction(Program *p, int count) {
  static const Opcode unary[] = {OP_neg, OP_abs, OP_tanh, OP_sigmoid, OP_erf, OP_relu, OP_sin, OP_atan};
  static const Opcode binary[] = {OP_add, OP_sub, OP_mul, OP_min, OP_max};
  int a = random_below(count), b = random_below(count);
  switch (random_below(6)) {
    case 0:
    case 1: return program_op1(p, unary[random_below((int)COUNT_OF(unary))], a);
    case 2:
      return program_op3(p, OP_select, program_op2(p, OP_lt, program_index(p, DTYPE_I32, 0), program_const_i(p, DTYPE_I32, 2)),
                         a, b);
    default: return program_op2(p, binary[random_below((int)COUNT_OF(binary))], a, b);
  }
}

Test(elementwise, random_programs_shapes_and_strides) {
  for (int trial = 0; trial < 150; trial++) {
    Arena *arena = arena_new();
    int rank = 1 + random_below(5), inputs_used = 1 + random_below(4);
    int64_t dims[MAX_RANK];
    for (int i = 0; i < rank; i++) dims[i] = random_below(20) == 0 ? 0 : 1 + random_below(random_below(8) ? 6 : 40);
    if (trial % 50 == 0) dims[random_below(rank)] = 3000;
    Tensor inputs[4];
    Program *p = program_new(arena, inputs_used);
    for (int i = 0; i < inputs_used; i++) {
      DType dtype = trial % 3 == 0 && i == 1 ? DTYPE_F16 : DTYPE_F32;
      inputs[i] = random_input(arena, dtype, rank, dims, false);
      program_input(p, i, DTYPE_F32);
    }
    if (trial % 2) program_cast(p, DTYPE_F32, program_index(p, DTYPE_I64, random_below(rank)));
    if (trial % 5 == 0) program_index(p, DTYPE_F32, random_below(rank));
    // Only floats are operands; they come first or are what the loop appends.
    int floats = inputs_used;
    int made[64], made_count = 0;
    for (int i = 0; i < floats; i++) made[made_count++] = i;
    for (int k = 0; k < 1 + random_below(12); k++) {
      int instruction = random_float_instruction(p, floats);
      made[made_count++] = instruction;
      floats = inputs_used;
    }
    int sum = made[0];
    for (int k = 1; k < made_count; k++) sum = program_op2(p, k % 3 ? OP_add : OP_sub, sum, made[k]);
    program_output(p, sum);
    if (random_below(3) == 0) program_output(p, made[random_below(made_count)]);
    if (random_below(4) == 0) program_output(p, program_const_f(p, DTYPE_F32, 2.5));
    if (random_below(4) == 0) program_output(p, program_cast(p, DTYPE_I64, program_extent(p, DTYPE_F32, 0)));
    if (random_below(4) == 0) program_output(p, program_cast(p, DTYPE_F16, sum));
    Naive naive = naive_new(p, rank, dims, inputs);
    check_case(&op_elementwise, &cpu_elementwise, p, &naive, inputs_used, 2e-3, 1e-4);
    arena_free(arena);
  }
}

// Long enough for several strips, transposed inputs and a tail.
Test(elementwise, large_transposed) {
  Arena *arena = arena_new();
  int64_t dims[3] = {5, 130, 77};
  Program *p = program_new(arena, 2);
  program_output(p, program_op2(p, OP_add, program_input(p, 0, DTYPE_F32), program_input(p, 1, DTYPE_F32)));
  for (int trial = 0; trial < 12; trial++) {
    Tensor inputs[2] = {random_input(arena, DTYPE_F32, 3, dims, true), random_input(arena, DTYPE_F32, 3, dims, trial % 2)};
    Naive naive = naive_new(p, 3, dims, inputs);
    check_case(&op_elementwise, &cpu_elementwise, p, &naive, 2, 1e-6, 1e-6);
  }
  arena_free(arena);
}

static Value *symbolic_input(Graph *graph, const char *a, const char *b) {
  Dim dims[2] = {a ? dim_symbol(graph->dims, a) : 1, b ? dim_symbol(graph->dims, b) : 7};
  return graph_add_input(graph, NULL, DTYPE_F32, 2, dims);
}

Test(elementwise, inference) {
  Arena *arena = arena_new();
  Graph *graph = graph_new(arena, core_ops, "test");
  Program *p = program_new(arena, 2);
  program_output(p, program_op2(p, OP_lt, program_input(p, 0, DTYPE_F32), program_input(p, 1, DTYPE_F32)));
  Value *inputs[2] = {symbolic_input(graph, "n", NULL), symbolic_input(graph, NULL, NULL)};
  Node *node = graph_add(graph, NULL, &op_elementwise, 2, inputs, 1);
  node_set_program(node, "program", p);
  cr_assert(!node_infer(node));
  cr_assert_eq(node->outputs[0]->dtype, DTYPE_BOOL);
  cr_assert_eq(node->outputs[0]->dims[0], dim_symbol(graph->dims, "n"));
  cr_assert_eq(node->outputs[0]->dims[1], 7);
  // Types that programs do not convert by themselves.
  inputs[1] = graph_add_input(graph, NULL, DTYPE_I32, 0, NULL);
  node = graph_add(graph, NULL, &op_elementwise, 2, inputs, 1);
  node_set_program(node, "program", p);
  Status status = node_infer(node);
  cr_assert(status);
  cr_assert(strstr(status_message(status), "i32"), "%s", status_message(status));
  status_free(status);
  arena_free(arena);
}

// Conv-like anchors have a program behind them: here a sum over rows, then max(acc + bias, 0) in f16.
extern const OpDef op_rowwise;
Test(elementwise, epilogue_of_a_reference) {
  Arena *arena = arena_new();
  Graph *graph = graph_new(arena, core_ops, "test"), *body = graph_new_inside(graph, "fused");
  Program *total = program_new(arena, 1), *epilogue = program_new(arena, 2);
  program_output(total, program_reduce(total, OP_reduce_sum, program_input(total, 0, DTYPE_F32), DTYPE_F32));
  int sum = program_op2(epilogue, OP_add, program_input(epilogue, 0, DTYPE_F32), program_input(epilogue, 1, DTYPE_F32));
  program_output(epilogue, program_cast(epilogue, DTYPE_F16, program_op1(epilogue, OP_relu, sum)));
  Value *outer[2] = {graph_add_input(graph, "x", DTYPE_F32, 2, (Dim[]){2, 3}), graph_add_input(graph, "b", DTYPE_F32, 0, NULL)};
  Value *x = graph_add_input(body, "x", DTYPE_F32, 2, (Dim[]){2, 3}), *bias = graph_add_input(body, "b", DTYPE_F32, 0, NULL);
  Node *rows = graph_add(body, NULL, &op_rowwise, 1, &x, 1);
  node_set_program(rows, "program", total);
  node_set_int(rows, "axes", 1);
  cr_assert_null(node_infer(rows));
  Node *behind = graph_add(body, NULL, &op_elementwise, 2, (Value *[]){rows->outputs[0], bias}, 1);
  node_set_program(behind, "program", epilogue);
  cr_assert_null(node_infer(behind));
  graph_mark_output(body, behind->outputs[0]);
  Node *node = graph_add(graph, NULL, &op_region, 2, outer, 1);
  node_set_graph(node, "body", body);
  float values[6] = {1, 2, 3, -4, -5, -6}, one = 0.5f;
  Tensor in = {DTYPE_F32, 2, {2, 3}, values}, b = {DTYPE_F32, 0, {0}, &one}, out = {0};
  Status status = reference_run(node, arena, (const Tensor *[]){&in, &b}, &out);
  cr_assert(!status, "%s", status ? status_message(status) : "");
  cr_assert_eq(out.dtype, DTYPE_F16);
  cr_assert_eq(tensor_get_f(&out, 0), 6.5);
  cr_assert_eq(tensor_get_f(&out, 1), 0);
  arena_free(arena);
}
