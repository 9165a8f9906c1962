// Rowwise nodes: every reduction on every class, nested reductions, rows inside, outside and across memory order, long rows, and
// the layers that are made of them.
#include "kernels/ops.h"
#include "kernels/reference.h"
#include "kernels/rowwise/rowwise.h"
#include "tests/unit/naive.h"

extern const Implementation cpu_rowwise;

static void check_rows(const Program *program, int rank, const int64_t *dims, unsigned axes, const Tensor *inputs,
                       int input_count, double rtol) {
  Naive naive = {.program = program, .rank = rank, .inputs = inputs};
  for (int i = 0; i < rank; i++) {
    naive.dims[i] = dims[i];
    naive.reduced[i] = axes >> i & 1;
  }
  check_case(&op_rowwise, &cpu_rowwise, program, &naive, input_count, rtol, 1e-5);
}

static Program *softmax(Arena *arena) {
  Program *p = program_new(arena, 1);
  int x = program_input(p, 0, DTYPE_F32);
  int e = program_op1(p, OP_exp, program_op2(p, OP_sub, x, program_reduce(p, OP_reduce_max, x, DTYPE_F32)));
  program_output(p, program_op2(p, OP_div, e, program_reduce(p, OP_reduce_sum, e, DTYPE_F32)));
  return p;
}

// (x - mean) / sqrt(variance + epsilon) * scale + bias, and the mean.
static Program *layer_norm(Arena *arena) {
  Program *p = program_new(arena, 3);
  int x = program_input(p, 0, DTYPE_F32), n = program_row_extent(p, DTYPE_F32);
  int mean = program_op2(p, OP_div, program_reduce(p, OP_reduce_sum, x, DTYPE_F32), n);
  int d = program_op2(p, OP_sub, x, mean);
  int variance = program_op2(p, OP_div, program_reduce(p, OP_reduce_sum, program_op2(p, OP_mul, d, d), DTYPE_F32), n);
  int scale = program_op1(p, OP_rsqrt, program_op2(p, OP_add, variance, program_const_f(p, DTYPE_F32, 1e-2)));
  int y = program_op2(p, OP_mul, program_op2(p, OP_mul, d, scale), program_input(p, 1, DTYPE_F32));
  program_output(p, program_op2(p, OP_add, y, program_input(p, 2, DTYPE_F32)));
  program_output(p, mean);
  return p;
}

static unsigned random_axes(int rank) {
  unsigned axes = 0;
  while (!axes) axes = (unsigned)random_below(1 << rank);
  return axes;
}

Test(rowwise, every_reduction_on_every_class) {
  static const DType types[] = {DTYPE_F32, DTYPE_F64, DTYPE_F16, DTYPE_I8,  DTYPE_I32,
                                DTYPE_I64, DTYPE_U8,  DTYPE_U64, DTYPE_BOOL};
  static const int class_of[] = {CLASS_F, CLASS_I, CLASS_U, CLASS_B};
  for (int op = OP_reduce_sum; op <= OP_reduce_argmin_last; op++) {
    const OpcodeInfo *info = opcode_info((Opcode)op);
    for (size_t t = 0; t < COUNT_OF(types); t++) {
      if (!(info->classes & class_of[dtype_kind(types[t])])) continue;
      for (int trial = 0; trial < 6; trial++) {
        Arena *arena = arena_new();
        int64_t dims[3] = {1 + random_below(5), 1 + random_below(40), 1 + random_below(8)};
        Tensor input = random_input(arena, types[t], 3, dims, true);
        // Ties, so that first and last differ; products that stay finite.
        for (int64_t i = 0; i < tensor_count(&input); i++)
          if (dtype_is_float(types[t]))
            tensor_set_f(&input, i, op == OP_reduce_prod ? 0.95 + random_unit() * 0.1 : random_below(5));
        if (trial == 0 && dtype_is_float(types[t]) && op != OP_reduce_sum && op != OP_reduce_prod)
          tensor_set_f(&input, random_below((int)tensor_count(&input)), NAN);
        Program *p = program_new(arena, 1);
        program_output(p, program_reduce(p, (Opcode)op, program_input(p, 0, types[t]), DTYPE_I64));
        check_rows(p, 3, dims, random_axes(3), &input, 1, types[t] == DTYPE_F16 ? 2e-3 : 2e-5);
        arena_free(arena);
      }
    }
  }
}

Test(rowwise, softmax_and_layer_norm_of_any_shape) {
  for (int trial = 0; trial < 300; trial++) {
    Arena *arena = arena_new();
    int rank = 1 + random_below(5);
    int64_t dims[MAX_RANK];
    for (int i = 0; i < rank; i++) dims[i] = 1 + random_below(random_below(5) ? 7 : 30);
    Tensor inputs[3];
    for (int i = 0; i < 3; i++) inputs[i] = random_input(arena, DTYPE_F32, rank, dims, i == 0 && trial % 4);
    if (trial % 2) check_rows(softmax(arena), rank, dims, random_axes(rank), inputs, 1, 1e-4);
    else check_rows(layer_norm(arena), rank, dims, random_axes(rank), inputs, 3, 1e-3);
    arena_free(arena);
  }
}

// Rows that do not fit into a strip, along every axis.
Test(rowwise, long_rows) {
  const int64_t shapes[][3] = {{2, 1, 5003}, {1, 4099, 3}, {3, 700, 21}, {1, 300, 257}, {4200, 1, 2}};
  for (size_t s = 0; s < COUNT_OF(shapes); s++) {
    for (unsigned axes = 1; axes < 8; axes++) {
      Arena *arena = arena_new();
      Tensor inputs[3];
      for (int i = 0; i < 3; i++) inputs[i] = random_input(arena, DTYPE_F32, 3, shapes[s], i == 0);
      // One reduction behind another is a loop in a loop for the naive evaluator: only where rows are few and not too long.
      Program *p = program_new(arena, 1);
      int x = program_input(p, 0, DTYPE_F32);
      program_output(p, program_reduce(p, OP_reduce_sum, x, DTYPE_F32));
      program_output(p, program_reduce(p, OP_reduce_argmin_last, program_op1(p, OP_abs, x), DTYPE_I64));
      program_output(p, program_reduce(p, OP_reduce_max, program_op1(p, OP_exp, x), DTYPE_F32));
      check_rows(p, 3, shapes[s], axes, inputs, 1, 1e-4);
      arena_free(arena);
    }
  }
}

// In one call, against sums that are computed here: rows of 5000 along the last and along the first axis.
Test(rowwise, long_softmax) {
  for (int along = 0; along < 2; along++) {
    Arena *arena = arena_new();
    Graph *graph = graph_new(arena, core_ops, "test");
    int64_t dims[2] = {along ? 3 : 5000, along ? 5000 : 3};
    Tensor x, y;
    cr_assert(!tensor_new(arena, DTYPE_F32, 2, dims, &x));
    cr_assert(!tensor_new(arena, DTYPE_F32, 2, dims, &y));
    random_fill(&x);
    Value *value = graph_add_input(graph, "x", DTYPE_F32, 2, dims);
    Node *node = graph_add(graph, NULL, &op_rowwise, 1, &value, 1);
    node_set_program(node, "program", softmax(arena));
    node_set_int(node, "axes", along);
    cr_assert(!node_infer(node));
    TensorDesc desc = {.dtype = DTYPE_F32, .rank = 2, .dims = {dims[0], dims[1]}, .strides = {dims[1], 1}};
    DeviceInfo device = {.kind = DEVICE_CPU};
    Site site = {.node = node, .inputs = &desc, .outputs = &desc, .device = &device};
    void *workspace;
    HostTest host;
    ThreadPool *pool = thread_pool_new(2);
    cr_assert(!host_lower(&cpu_rowwise, &site, arena, pool, &host));
    cr_assert(!arena_try_alloc(arena, host.workspace_bytes, 64, &workspace));
    HostCall call = {&x.data, &y.data, workspace, pool};
    cr_assert(!host.routine->run(host.state, &call));
    for (int r = 0; r < 3; r++) {
      double sum = 0;
      for (int l = 0; l < 5000; l++) sum += exp(tensor_get_f(&x, along ? r * 5000 + l : l * 3 + r));
      for (int l = 0; l < 5000; l++) {
        int64_t at = along ? r * 5000 + l : l * 3 + r;
        double expected = exp(tensor_get_f(&x, at)) / sum;
        cr_assert_float_eq(tensor_get_f(&y, at), expected, 1e-6 * expected + 1e-12);
      }
    }
    // In place: the result may take the input's memory.
    HostCall again = {&x.data, &x.data, workspace, pool};
    cr_assert(!host.routine->run(host.state, &again));
    cr_assert(memcmp(x.data, y.data, tensor_bytes(&x)) == 0);
    thread_pool_free(pool);
    arena_free(arena);
  }
}

Test(rowwise, empty_rows_give_the_identity) {
  Arena *arena = arena_new();
  int64_t dims[2] = {3, 0};
  Tensor input = random_input(arena, DTYPE_I32, 2, dims, true), out[4] = {{0}};
  Graph *graph = graph_new(arena, core_ops, "test");
  Program *p = program_new(arena, 1);
  int x = program_input(p, 0, DTYPE_I32);
  program_output(p, program_reduce(p, OP_reduce_sum, x, DTYPE_I32));
  program_output(p, program_reduce(p, OP_reduce_prod, x, DTYPE_I32));
  program_output(p, program_reduce(p, OP_reduce_max, x, DTYPE_I32));
  program_output(p, program_reduce(p, OP_reduce_argmax, x, DTYPE_I64));
  Value *value = graph_add_input(graph, "x", DTYPE_I32, 2, dims);
  Node *node = graph_add(graph, NULL, &op_rowwise, 1, &value, 4);
  node_set_program(node, "program", p);
  node_set_int(node, "axes", 1);
  cr_assert(!node_infer(node));
  cr_assert(!reference_run(node, arena, (const Tensor *[]){&input}, out));
  for (int i = 0; i < 3; i++) {
    cr_assert_eq(tensor_get_i(&out[0], i), 0);
    cr_assert_eq(tensor_get_i(&out[1], i), 1);
    cr_assert_eq(tensor_get_i(&out[2], i), INT32_MIN);
    cr_assert_eq(tensor_get_i(&out[3], i), 0);
  }
  arena_free(arena);
}
