// See library_epilogue.h.
#include "kernels/common/library_epilogue.h"
#include <math.h>
#include "base/checked.h"
#include "kernels/program/interpret.h"
#include "kernels/program/generate.h"

typedef struct Match {
  const Site *site;
  const Program *program;
  int channel_axis;
  DType dtype;
  int results;  // how often the anchor's own result is added
  LibraryEpilogue *out;
} Match;

// Size and stride of an operand along an axis of the output, to which it broadcasts.
static int64_t size_along(const TensorDesc *desc, int rank, int axis) {
  int own = axis - (rank - desc->rank);
  return own < 0 ? 1 : desc->dims[own];
}
static int64_t stride_along(const TensorDesc *desc, int rank, int axis) {
  int own = axis - (rank - desc->rank);
  return own < 0 || desc->dims[own] == 1 ? 0 : desc->strides[own];
}

static bool is_channel_vector(const TensorDesc *desc, const TensorDesc *y, int channel_axis) {
  for (int axis = 0; axis < y->rank; axis++)
    if (size_along(desc, y->rank, axis) != (axis == channel_axis ? y->dims[axis] : 1)) return false;
  return y->dims[channel_axis] == 1 || stride_along(desc, y->rank, channel_axis) == 1;
}

static bool is_laid_out_as(const TensorDesc *desc, const TensorDesc *y) {
  for (int axis = 0; axis < y->rank; axis++) {
    if (size_along(desc, y->rank, axis) != y->dims[axis]) return false;
    if (y->dims[axis] != 1 && stride_along(desc, y->rank, axis) != y->strides[axis]) return false;
  }
  return true;
}

static bool take_operand(Match *match, int input) {
  const Site *site = match->site;
  if (input == 0) return ++match->results == 1;
  int number = site->node->input_count + input - 1;
  const TensorDesc *desc = &site->inputs[number];
  if (desc->dtype != match->dtype) return false;
  if (match->out->bias < 0 && is_channel_vector(desc, &site->outputs[0], match->channel_axis)) {
    match->out->bias = number;
    return true;
  }
  if (match->out->residual >= 0 || !is_laid_out_as(desc, &site->outputs[0])) return false;
  match->out->residual = number;
  return true;
}

// Casts between the floats of a sum leave it as precise or make it more so: the libraries add in float.
static int skip_casts(const Program *program, int at) {
  while (program->code[at].op == OP_cast && dtype_is_float(program->code[at].dtype) &&
         dtype_bits(program->code[at].dtype) >= 16 && dtype_is_float(program->code[program->code[at].args[0]].dtype))
    at = program->code[at].args[0];
  return at;
}

// The anchor's result times a number.
static bool take_scaled(Match *match, const Instruction *product) {
  const Instruction *code = match->program->code;
  for (int side = 0; side < 2; side++) {
    const Instruction *scale = &code[skip_casts(match->program, product->args[side])];
    const Instruction *result = &code[skip_casts(match->program, product->args[1 - side])];
    if (scale->op != OP_const || result->op != OP_input || result->args[0] != 0) continue;
    match->out->scale = (float)scale->number;
    return isfinite(match->out->scale) && match->out->scale != 0 && take_operand(match, 0);
  }
  return false;
}

static bool take_sum(Match *match, int at, int depth) {
  at = skip_casts(match->program, at);
  const Instruction *instruction = &match->program->code[at];
  if (depth > 4 || !dtype_is_float(instruction->dtype)) return false;
  if (instruction->op == OP_input) return take_operand(match, instruction->args[0]);
  if (instruction->op == OP_mul) return take_scaled(match, instruction);
  if (instruction->op != OP_add) return false;
  return take_sum(match, instruction->args[0], depth + 1) && take_sum(match, instruction->args[1], depth + 1);
}

static bool is_zero(const Program *program, int at) {
  at = skip_casts(program, at);
  return program->code[at].op == OP_const && program->code[at].number == 0;
}

// --- GELU in its tanh form, which models spell in many ways: recognised by its values. The usual form, with erf, differs from it by
// up to 5e-4; constants rounded to half precision move it by less than 1e-4.

// Marks what `at` needs above `sum`; false if that is more than constants and plain arithmetic.
static bool needs_only(const Program *program, int at, int sum, bool *needed) {
  if (at == sum || needed[at]) return true;
  const Instruction *instruction = &program->code[at];
  if (at < sum && instruction->op != OP_const) return false;
  if (instruction->op == OP_input || instruction->op == OP_index || instruction->op == OP_extent) return false;
  if (!dtype_is_float(instruction->dtype)) return false;
  needed[at] = true;
  for (int i = 0; i < opcode_info(instruction->op)->arity; i++)
    if (!needs_only(program, instruction->args[i], sum, needed)) return false;
  return true;
}

static bool has_values_of_gelu(const Program *program, int sum, const bool *needed, Arena *scratch) {
  enum { SAMPLES = 64 };
  StripProgram strip;
  strip_program_init(&strip, scratch, program, true);
  double **registers = arena_array(scratch, double *, (size_t)program->count);
  int *list = arena_array(scratch, int, (size_t)program->count), count = 0;
  for (int i = 0; i < program->count; i++) {
    registers[i] = arena_array(scratch, double, SAMPLES);
    if (!needed[i]) continue;
    if (program->code[i].op == OP_const) strip_fill(strip.classes[i], registers[i], program->code[i].number, 0, SAMPLES);
    else list[count++] = i;
  }
  for (int i = 0; i < SAMPLES; i++) registers[sum][i] = (i - SAMPLES / 2) * 0.19 + 0.01;
  double x[SAMPLES];
  for (int i = 0; i < SAMPLES; i++) x[i] = registers[sum][i];
  program_run_strip(&strip, list, count, (void *const *)registers, SAMPLES);
  const double *y = registers[program->outputs[0]];
  for (int i = 0; i < SAMPLES; i++) {
    double expected = 0.5 * x[i] * (1 + tanh(0.79788456080286536 * (x[i] + 0.044715 * x[i] * x[i] * x[i])));
    if (!(fabs(y[i] - expected) <= 1e-4)) return false;
  }
  return true;
}

// Tries every sum that the rest of the program sees nothing below.
static bool match_gelu(const Site *site, int channel_axis, DType natural, LibraryEpilogue *out) {
  const Program *program = site->epilogue;
  bool matched = false;
  Arena *scratch = arena_scratch();
  for (int sum = program->outputs[0] - 1; sum >= 0 && !matched; sum--) {
    *out = (LibraryEpilogue){1, LIBRARY_GELU_TANH, -1, -1};
    Match match = {site, program, channel_axis, natural, 0, out};
    bool *needed = arena_array(scratch, bool, (size_t)program->count);
    matched = needs_only(program, program->outputs[0], sum, needed) && take_sum(&match, sum, 0) && match.results == 1 &&
              has_values_of_gelu(program, sum, needed, scratch);
  }
  arena_free(scratch);
  return matched;
}

bool library_epilogue(const Site *site, int channel_axis, DType natural, LibraryEpilogue *out) {
  *out = LIBRARY_NOTHING;
  if (site->outputs[0].dtype != natural) return false;
  const Program *program = site->epilogue;
  if (!program) return true;
  if (!dtype_is_float(natural) || program->output_count != 1 || program_has_reduction(program)) return false;
  Match match = {site, program, channel_axis, natural, 0, out};
  int at = skip_casts(program, program->outputs[0]);
  const Instruction *last = &program->code[at];
  int relu = last->op == OP_relu                                     ? last->args[0]
             : last->op == OP_max && is_zero(program, last->args[1]) ? last->args[0]
             : last->op == OP_max && is_zero(program, last->args[0]) ? last->args[1]
                                                                     : -1;
  if (relu >= 0) out->activation = LIBRARY_RELU;
  if (take_sum(&match, relu >= 0 ? relu : at, 0) && match.results == 1) return true;
  return match_gelu(site, channel_axis, natural, out);
}

LibraryResult library_result(const Site *site, DType natural, size_t workspace_bytes) {
  LibraryResult result = {.desc = site->outputs[0], .kind = BUFFER_OUTPUT};
  if (site->outputs[0].dtype == natural) return result;
  result.kind = BUFFER_WORKSPACE;
  result.offset = align_up(workspace_bytes, 256);
  result.desc.dtype = natural;
  result.desc.offset = 0;
  if (!desc_is_dense(&result.desc)) {
    int64_t stride = 1;
    for (int axis = result.desc.rank - 1; axis >= 0; axis--) {
      result.desc.strides[axis] = stride;
      stride *= result.desc.dims[axis];
    }
  }
  result.bytes = desc_bytes(&result.desc);
  return result;
}

void library_emit_target(Emission *emission, Launch *launch, const LibraryResult *result) {
  if (result->kind == BUFFER_OUTPUT) emit_buffer(emission, launch, BUFFER_OUTPUT, 0);
  else emit_workspace(emission, launch, result->offset);
}

Status library_emit_epilogue(Emission *emission, const Site *site, const LibraryResult *result) {
  const Node *node = site->node;
  int count = site->epilogue->input_count;
  TensorDesc *inputs = arena_array(emission->arena, TensorDesc, (size_t)count);
  inputs[0] = result->desc;
  for (int i = 1; i < count; i++) inputs[i] = site->inputs[node->input_count + i - 1];
  GeneratedKernel kernel;
  TRY(generate_elementwise(site->epilogue, count, inputs, 1, site->outputs, site->dims, emission->arena, &kernel));
  if (kernel.grid[0] == 0) return OK;
  Launch *launch = emit_kernel(emission, kernel.source, kernel.entry, kernel.grid, kernel.block);
  launch->label = "epilogue";
  if (result->kind == BUFFER_OUTPUT) emit_buffer(emission, launch, BUFFER_OUTPUT, 0);
  else emit_workspace(emission, launch, result->offset);
  for (int i = 1; i < count; i++) emit_buffer(emission, launch, BUFFER_INPUT, node->input_count + i - 1);
  emit_buffer(emission, launch, BUFFER_OUTPUT, 0);
  emit_arguments(emission, launch, &kernel.arguments);
  return OK;
}
