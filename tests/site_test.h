// A site built in a test: a node over host tensors, each laid out in memory with strides of the test's choosing, so that an implementation's
// library call can be run over a library that computes on the host.
#pragma once
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "base/checked.h"
#include "base/chips.h"
#include "cuda/context.h"
#include "kernels/ops.h"
#include "kernels/implementation.h"

enum { SITE_TENSORS = 8 };

typedef struct SiteTest {
  Arena *arena;
  Graph *graph;
  Node *node;
  Program *epilogue;
  int input_count;               // of both
  Tensor tensors[SITE_TENSORS];  // row-major contents of the inputs
  TensorDesc inputs[SITE_TENSORS], outputs[1];
  void *memory[SITE_TENSORS], *output;  // as the strides lay them out
  Tensor expected;                      // by the reference, epilogue included where the test wants it
  DeviceInfo device;
  Site site;
} SiteTest;

static inline SiteTest *site_test_new(void) {
  Arena *arena = arena_new();
  SiteTest *test = arena_new_of(arena, SiteTest);
  test->arena = arena;
  test->graph = graph_new(arena, core_ops, "test");
  test->device = (DeviceInfo){.kind = DEVICE_CUDA, .sm = 90, .multiprocessors = 132, .cublaslt = true, .cudnn = true};
  chip_take_rates(&test->device, 0, 0);
  return test;
}

// order: stride order, outermost first (NULL: row-major); elements of small integers, exact in every type.
static inline void site_input(SiteTest *test, DType dtype, int rank, const int64_t *dims, const uint8_t *order) {
  int number = test->input_count++;
  Tensor *tensor = &test->tensors[number];
  TensorDesc *desc = &test->inputs[number];
  cr_assert_null(tensor_new(test->arena, dtype, rank, dims, tensor));
  for (int64_t i = 0; i < tensor_count(tensor); i++) tensor_set_f(tensor, i, (double)((i * 7 + number * 3) % 11) - 5);
  *desc = (TensorDesc){.dtype = dtype, .rank = rank};
  int64_t stride = 1;
  for (int i = rank - 1; i >= 0; i--) {
    int axis = order ? order[i] : i;
    desc->dims[axis] = dims[axis];
    desc->strides[axis] = stride;
    stride *= dims[axis];
  }
}

// Copies between row-major contents and memory.
static inline void site_copy(const TensorDesc *desc, void *memory, void *contents, bool out_of_memory) {
  size_t size = dtype_size(desc->dtype);
  for (int64_t i = 0; i < desc_count(desc); i++) {
    int64_t rest = i, offset = 0;
    for (int axis = desc->rank - 1; axis >= 0; axis--) {
      offset += rest % desc->dims[axis] * desc->strides[axis];
      rest /= desc->dims[axis];
    }
    char *at = (char *)memory + offset * (int64_t)size, *element = (char *)contents + i * (int64_t)size;
    memcpy(out_of_memory ? element : at, out_of_memory ? at : element, size);
  }
}

static inline void site_node(SiteTest *test, const OpDef *op, int own_inputs) {
  Value *values[SITE_TENSORS];
  for (int i = 0; i < test->input_count; i++)
    values[i] = graph_add_input(test->graph, NULL, test->tensors[i].dtype, test->tensors[i].rank, test->tensors[i].dims);
  test->node = graph_add(test->graph, NULL, op, own_inputs, values, 1);
}

// An epilogue in the text of programs, over the inputs that the node does not read.
static inline void site_epilogue(SiteTest *test, const char *text) {
  Status status = program_parse(test->arena, &text, &test->epilogue);
  cr_assert_null(status, "%s", status_message(status));
}

// The epilogue of element i of the output, in plain floats; operands broadcast from the right.
static inline double site_evaluate(const SiteTest *test, int at, int64_t i) {
  const Instruction *code = &test->epilogue->code[at];
  if (code->op == OP_const) return code->number;
  if (code->op == OP_input && code->args[0] == 0) return tensor_get_f(&test->expected, i);
  if (code->op == OP_input) {
    const Tensor *operand = &test->tensors[test->node->input_count + code->args[0] - 1];
    int64_t index = 0, stride = 1;
    for (int axis = test->expected.rank - 1; axis >= 0; axis--) {
      int own = axis - (test->expected.rank - operand->rank);
      int64_t size = own < 0 ? 1 : operand->dims[own];
      index += size == 1 ? 0 : i % test->expected.dims[axis] * stride;
      stride *= size;
      i /= test->expected.dims[axis];
    }
    return tensor_get_f(operand, index);
  }
  double a = site_evaluate(test, code->args[0], i),
         b = code->op == OP_relu || code->op == OP_tanh ? 0 : site_evaluate(test, code->args[1], i);
  return code->op == OP_add ? a + b : code->op == OP_mul ? a * b : code->op == OP_tanh ? tanh(a) : fmax(a, b);
}

// After attributes are set. order: of the output. The expected output is that of the reference with (or without) the epilogue.
static inline void site_ready(SiteTest *test, const uint8_t *order, bool with_epilogue) {
  Status status = node_infer(test->node);
  cr_assert_null(status, "%s", status_message(status));
  const Tensor *inputs[SITE_TENSORS];
  for (int i = 0; i < test->input_count; i++) {
    inputs[i] = &test->tensors[i];
    int64_t room = test->inputs[i].offset + desc_count(&test->inputs[i]);
    for (int axis = 0; axis < test->inputs[i].rank; axis++)
      room = MAX(room, test->inputs[i].dims[axis] * llabs(test->inputs[i].strides[axis]));
    test->memory[i] = arena_alloc(test->arena, (size_t)room * dtype_size(test->inputs[i].dtype));
    site_copy(&test->inputs[i], test->memory[i], test->tensors[i].data, false);
  }
  Reference reference = {test->node, test->arena, inputs, &test->expected};
  status = test->node->op->reference(&reference);
  cr_assert_null(status, "%s", status_message(status));
  for (int64_t i = 0; with_epilogue && test->epilogue && i < tensor_count(&test->expected); i++)
    tensor_set_f(&test->expected, i, site_evaluate(test, test->epilogue->outputs[0], i));
  const Value *value = test->node->outputs[0];
  const Program *program = test->epilogue;
  TensorDesc *desc = &test->outputs[0];
  *desc = (TensorDesc){.dtype = program ? program->code[program->outputs[0]].dtype : value->dtype, .rank = value->rank};
  int64_t stride = 1;
  for (int i = value->rank - 1; i >= 0; i--) {
    int axis = order ? order[i] : i;
    desc->dims[axis] = value->dims[axis];
    desc->strides[axis] = stride;
    stride *= value->dims[axis];
  }
  test->output = arena_alloc(test->arena, desc_bytes(desc));
  test->site = (Site){.node = test->node,
                      .epilogue = test->epilogue,
                      .inputs = test->inputs,
                      .outputs = test->outputs,
                      .device = &test->device};
}

static inline void site_call_library(CudaContext *cuda, const Launch *launch, void *const *inputs, void *const *outputs,
                                     void *const *packed, void *workspace) {
  void *arguments[SITE_TENSORS + 4];
  cr_assert_leq(launch->arg_count, (int)COUNT_OF(arguments));
  for (int i = 0; i < launch->arg_count; i++) {
    const BufferRef *ref = &launch->args[i].buffer;
    arguments[i] = ref->kind == BUFFER_INPUT    ? inputs[ref->index]
                   : ref->kind == BUFFER_OUTPUT ? outputs[ref->index]
                   : ref->kind == BUFFER_PACKED ? packed[ref->index]
                                                : (char *)workspace + ref->offset;
  }
  CudaShared *opened;
  Status status = library_routine_open(cuda, launch->routine, launch->parameters, &opened);
  if (!status) status = launch->routine->run(cuda_shared_get(opened), arguments, NULL);
  cr_assert_null(status, "%s", status_message(status));
  cuda_shared_drop(cuda, opened);
}

// Emits every way of an implementation, runs its library calls (not its kernels) and compares the output. Returns how many launches
// the last emission had.
static inline int site_run_some(SiteTest *test, const Implementation *implementation, CudaContext *cuda, int limit) {
  Way list[16];
  cr_assert(implementation->supports(&test->site), "%s does not support the site", implementation->name);
  int count = implementation->ways(&test->site, &(Machine){.cuda = cuda}, list, MIN(limit, (int)COUNT_OF(list))), launches = 0;
  cr_assert_gt(count, 0, "no ways");
  for (int i = 0; i < count; i++) {
    Emission emission = {.arena = arena_new()};
    Status status = implementation->lower(&test->site, &list[i], &(Machine){.cuda = cuda}, &emission);
    cr_assert_null(status, "%s: %s", list[i].name, status_message(status));
    void *packed[SITE_TENSORS];
    for (uint32_t p = 0; p < emission.packed_count; p++) {
      packed[p] = arena_alloc(emission.arena, emission.packed[p]->bytes);
      cr_assert_null(recipe_run(emission.packed[p], packed[p]));
    }
    const void *inputs[SITE_TENSORS];
    for (int k = 0; k < test->input_count; k++) inputs[k] = test->memory[k];
    void *outputs[1] = {test->output};
    memset(test->output, 0xcc, desc_bytes(test->outputs));
    void *workspace = arena_alloc(emission.arena, emission.workspace_bytes + 1);
    for (uint32_t k = 0; k < emission.launch_count; k++)
      if (emission.launches[k].kind == LAUNCH_LIBRARY)
        site_call_library(cuda, &emission.launches[k], (void *const *)inputs, outputs, packed, workspace);
    Tensor actual;
    cr_assert_null(tensor_new(emission.arena, test->expected.dtype, test->expected.rank, test->expected.dims, &actual));
    site_copy(test->outputs, test->output, actual.data, true);
    Comparison comparison = tensor_compare(&actual, &test->expected, 1e-5, 1e-5);
    cr_assert_eq(comparison.mismatches, 0, "%s: element %ld is %g, expected %g", list[i].name, (long)comparison.first_mismatch,
                 tensor_get_f(&actual, comparison.first_mismatch), tensor_get_f(&test->expected, comparison.first_mismatch));
    launches = (int)emission.launch_count;
    arena_free(emission.arena);
  }
  return launches;
}

static inline int site_run_calls(SiteTest *test, const Implementation *implementation, CudaContext *cuda) {
  return site_run_some(test, implementation, cuda, 16);
}
static inline void site_done(SiteTest *test) { arena_free(test->arena); }

#define SITE_DIMS(...) \
  (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), (const int64_t[]) { __VA_ARGS__ }
#define SITE_ORDER(...) \
  (const uint8_t[]) { __VA_ARGS__ }
