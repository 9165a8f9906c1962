// See domain.h.
#include "kernels/program/domain.h"
#include <string.h>
#include "kernels/meaning.h"
#include "kernels/reference.h"

// --- Inference

static Status read_axes(const Node *node, int rank, bool *reduced) {
  int count;
  const int64_t *axes = node_ints(node, "axes", &count);
  memset(reduced, 0, sizeof(bool) * MAX_RANK);
  for (int i = 0; i < count; i++) {
    if (axes[i] < 0 || axes[i] >= rank)
      FAIL(ERROR_INVALID_MODEL, "axis %lld is outside the domain of rank %d", (long long)axes[i], rank);
    reduced[axes[i]] = true;
  }
  return OK;
}

static Status check_program(const Node *node, const Program *program) {
  bool has_axes = node_attribute(node, "axes") != NULL;
  TRY(program_check(program));
  if (program->input_count > node->input_count)
    FAIL(ERROR_INVALID_MODEL, "the program has %d inputs, the node %d", program->input_count, node->input_count);
  if (program->output_count != node->output_count)
    FAIL(ERROR_INVALID_MODEL, "the program yields %d values, the node has %d outputs", program->output_count,
         node->output_count);
  if (!has_axes && program_has_reduction(program)) FAIL(ERROR_INVALID_MODEL, "an elementwise program has a reduction");
  for (int i = 0; i < program->count; i++) {
    const Instruction *instruction = &program->code[i];
    if (instruction->op != OP_input) continue;
    const Value *value = node->inputs[instruction->args[0]];
    if (!value) FAIL(ERROR_INVALID_MODEL, "the program reads input %d, which is missing", instruction->args[0]);
    bool floats = value->dtype < DTYPE_COUNT && dtype_is_float(value->dtype) && dtype_is_float(instruction->dtype);
    if (value->dtype < DTYPE_COUNT && value->dtype != instruction->dtype && !floats)
      FAIL(ERROR_INVALID_MODEL, "the program reads input %d, '%s', as %s, but it is %s", instruction->args[0], value->name,
           dtype_name(instruction->dtype), dtype_name(value->dtype));
  }
  return OK;
}

static Status check_index_axes(const Program *program, int rank) {
  for (int i = 0; i < program->count; i++) {
    const Instruction *instruction = &program->code[i];
    if ((instruction->op == OP_index || instruction->op == OP_extent) && instruction->args[0] >= rank)
      FAIL(ERROR_INVALID_MODEL, "the program asks for axis %d of a domain of rank %d", instruction->args[0], rank);
  }
  return OK;
}

// Merges one tensor's dims into the domain, aligned at the last axis.
static Status broadcast(const Node *node, int rank, Dim *domain, int tensor_rank, const Dim *dims) {
  for (int i = 0; i < tensor_rank; i++) {
    Dim *axis = &domain[i + rank - tensor_rank];
    TRY(meaning_broadcast_dim(node, *axis, dims[i], axis));
  }
  return OK;
}

// Against a domain that is given: what is read outside of a tensor is nobody's. Sizes not known yet are checked when they are.
static Status check_reach(int rank, const Dim *domain, int tensor_rank, const Dim *dims) {
  for (int i = 0; i < tensor_rank; i++) {
    Dim have = dims[i], want = domain[i + rank - tensor_rank];
    if (have != 1 && have != want && dim_is_static(have) && dim_is_static(want))
      FAIL(ERROR_INVALID_MODEL, "axis %d has size %lld, the domain %lld", i, (long long)have, (long long)want);
  }
  return OK;
}

// Reduced axes are in no output, so that its size does not bound the domain's.
static Status too_many_points(void) {
  FAIL(ERROR_OUT_OF_MEMORY, "the domain has more than %lld points", (long long)TENSOR_MAX_BYTES);
}

Status domain_shape(const Node *node, int *rank, Dim *domain) {
  const Attribute *given = node_attribute(node, "dims");
  *rank = given ? given->count : 0;
  if (*rank > MAX_RANK) FAIL(ERROR_UNSUPPORTED, "rank %d is above %d", *rank, MAX_RANK);
  for (int i = 0; i < node->input_count; i++) {
    const Value *value = node->inputs[i];
    if (!value) continue;
    if (given && value->rank > *rank)
      FAIL(ERROR_INVALID_MODEL, "input %d, '%s', has rank %d, the domain %d", i, value->name, value->rank, *rank);
    if (value->rank < 0 && !given) {
      *rank = -1;
      return OK;
    }
    *rank = MAX(*rank, value->rank);
  }
  for (int i = 0; i < *rank; i++) domain[i] = given ? given->dims[i] : 1;
  for (int i = 0; i < node->input_count; i++) {
    const Value *value = node->inputs[i];
    if (!value) continue;
    Status status =
        given ? check_reach(*rank, domain, value->rank, value->dims) : broadcast(node, *rank, domain, value->rank, value->dims);
    TRY(status_context(status, "input %d, '%s'", i, value->name));
  }
  if (!dims_may_fit(node->graph->dims, DTYPE_U8, *rank, domain)) return too_many_points();
  return OK;
}

Status domain_infer(Node *node) {
  const Program *program = node_program(node, "program");
  if (!program) FAIL(ERROR_INVALID_MODEL, "there is no program");
  TRY(check_program(node, program));
  int rank;
  Dim domain[MAX_RANK] = {0};
  bool reduced[MAX_RANK];
  TRY(domain_shape(node, &rank, domain));
  if (rank < 0) {
    for (int i = 0; i < node->output_count; i++)
      value_set_type(node->outputs[i], program->code[program->outputs[i]].dtype, -1, NULL);
    return OK;
  }
  TRY(read_axes(node, rank, reduced));
  TRY(check_index_axes(program, rank));
  uint8_t *level = arena_array(node->graph->arena, uint8_t, (size_t)program->count);
  program_levels(program, level);
  for (int i = 0; i < node->output_count; i++) {
    int instruction = program->outputs[i];
    Dim dims[MAX_RANK];
    for (int k = 0; k < rank; k++) dims[k] = reduced[k] && !level[instruction] ? 1 : domain[k];
    value_set_type(node->outputs[i], program->code[instruction].dtype, rank, dims);
  }
  return OK;
}

bool domain_permute(const Node *node, const int64_t *perm, Node *out) {
  const Program *program = node_program(node, "program");
  int count;
  const int64_t *axes = node_ints(node, "axes", &count);
  if (node_attribute(node, "dims")) return false;
  for (int i = 0; i < program->count; i++)
    if (program->code[i].op == OP_index || program->code[i].op == OP_extent) return false;
  int64_t moved[MAX_RANK];
  for (int i = 0; i < count; i++) moved[i] = perm[axes[i]];
  if (out && axes) node_set_ints(out, "axes", moved, count);
  return true;
}

// --- Concrete shapes

static TensorDesc desc_of_tensor(const Tensor *tensor) {
  TensorDesc desc = {.dtype = tensor->dtype, .rank = tensor->rank};
  memcpy(desc.dims, tensor->dims, sizeof desc.dims);
  dims_strides(tensor->rank, tensor->dims, desc.strides);
  return desc;
}

// The domain of actual tensors; for a node with the dims attribute those, which must be static.
static Status concrete_domain(const Node *node, const TensorDesc *inputs, int *rank, int64_t *domain) {
  const Attribute *given = node_attribute(node, "dims");
  *rank = given ? given->count : 0;
  for (int i = 0; i < node->input_count && !given; i++)
    if (!inputs[i].absent) *rank = MAX(*rank, inputs[i].rank);
  for (int i = 0; i < *rank; i++) {
    domain[i] = 1;
    if (given && !dim_get_constant(node->graph->dims, given->dims[i], &domain[i]))
      FAIL(ERROR_INVALID_MODEL, "size %d of the domain is not known before the model runs", i);
  }
  for (int i = 0; i < node->input_count; i++) {
    if (inputs[i].absent) continue;
    if (inputs[i].rank > *rank) FAIL(ERROR_INVALID_MODEL, "input %d has rank %d, the domain %d", i, inputs[i].rank, *rank);
    for (int k = 0; k < inputs[i].rank; k++) {
      int64_t *axis = &domain[k + *rank - inputs[i].rank], size = inputs[i].dims[k];
      if (*axis == 1 && !given) *axis = size;
      if (size != *axis && size != 1)
        FAIL(ERROR_INVALID_MODEL, "input %d has size %lld where the domain has %lld", i, (long long)size, (long long)*axis);
    }
  }
  if (!dims_fit(DTYPE_U8, *rank, domain)) return too_many_points();
  return OK;
}

// --- Reference

Status domain_compute(Arena *arena, const Program *program, int rank, const int64_t *dims, const bool *reduced,
                      const Tensor *const *inputs, int input_count, Tensor *outputs) {
  TensorDesc *descs = arena_array(arena, TensorDesc, (size_t)(input_count + program->output_count));
  void **pointers = arena_array(arena, void *, (size_t)(input_count + program->output_count));
  for (int i = 0; i < input_count; i++) {
    if (!inputs[i]) {
      descs[i].absent = true;
      continue;
    }
    descs[i] = desc_of_tensor(inputs[i]);
    pointers[i] = inputs[i]->data;
  }
  for (int i = 0; i < program->output_count; i++) {
    descs[input_count + i] = desc_of_tensor(&outputs[i]);
    pointers[input_count + i] = outputs[i].data;
  }
  Strips *strips = strips_new(arena, program, true, rank, dims, reduced, descs, input_count, descs + input_count);
  void *scratch;
  TRY(arena_try_alloc(arena, strips->scratch_bytes, 64, &scratch));
  strips_run(strips, pointers, pointers + input_count, scratch, 0, strips->group_count);
  return OK;
}

Status domain_reference(Reference *reference) {
  const Node *node = reference->node;
  const Program *program = node_program(node, "program");
  TensorDesc *descs = arena_array(reference->arena, TensorDesc, (size_t)node->input_count);
  for (int i = 0; i < node->input_count; i++) {
    if (reference->inputs[i]) descs[i] = desc_of_tensor(reference->inputs[i]);
    else descs[i].absent = true;
  }
  int rank;
  int64_t domain[MAX_RANK] = {0};
  bool reduced[MAX_RANK];
  TRY(check_program(node, program));
  TRY(concrete_domain(node, descs, &rank, domain));
  TRY(read_axes(node, rank, reduced));
  TRY(check_index_axes(program, rank));
  uint8_t *level = arena_array(reference->arena, uint8_t, (size_t)program->count);
  program_levels(program, level);
  for (int i = 0; i < node->output_count; i++) {
    int64_t dims[MAX_RANK];
    Tensor *out;
    for (int k = 0; k < rank; k++) dims[k] = reduced[k] && !level[program->outputs[i]] ? 1 : domain[k];
    TRY(reference_output(reference, i, program->code[program->outputs[i]].dtype, rank, dims, &out));
  }
  return domain_compute(reference->arena, program, rank, domain, reduced, reference->inputs, node->input_count,
                        reference->outputs);
}
