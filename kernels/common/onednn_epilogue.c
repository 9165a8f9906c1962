// See onednn_epilogue.h. Gates (x * sigmoid(x) and its kin) are products of two factors of which one is a function of the other.
#include "kernels/common/onednn_epilogue.h"
#include <math.h>
#include <string.h>
#include "base/checked.h"

enum { MAX_CODE = 64, MAX_FACTORS = 4 };

typedef struct Match {
  const EpilogueSource *source;
  const Program *program;
  bool depends[MAX_CODE];  // on the accumulator
  OnednnEpilogue *out;
} Match;

static bool chain(Match *m, int at);

static const Instruction *code(const Match *m, int at) { return &m->program->code[at]; }

static bool constant(const Match *m, int at, double *value) {
  if (code(m, at)->op != OP_const) return false;
  *value = code(m, at)->number;
  return true;
}

static bool near(double a, double b) { return fabs(a - b) <= 1e-5 * fmax(fabs(b), 1); }

// ---- Links ------------------------------------------------------------------------------------------------------------------

static EpilogueLink *last_link(Match *m, dnnl_alg_kind_t algorithm) {
  OnednnEpilogue *out = m->out;
  return out->count && out->links[out->count - 1].algorithm == algorithm ? &out->links[out->count - 1] : NULL;
}

// Two links of one algorithm share their constants in oneDNN's matrix products (seen in 2.6: tanh between two scales), so the second
// is refused.
static bool push(Match *m, dnnl_alg_kind_t algorithm, double alpha, double beta, int operand) {
  if (m->out->count == EPILOGUE_LINKS) return false;
  for (int i = 0; i < m->out->count && operand < 0; i++)
    if (m->out->links[i].algorithm == algorithm) return false;
  m->out->links[m->out->count++] = (EpilogueLink){algorithm, (float)alpha, (float)beta, operand, false};
  return true;
}

static bool push_linear(Match *m, double alpha, double beta) {
  if (alpha == 1 && beta == 0) return true;
  EpilogueLink *last = last_link(m, dnnl_eltwise_linear);
  if (!last) return push(m, dnnl_eltwise_linear, alpha, beta, -1);
  last->beta = (float)(alpha * last->beta + beta);
  last->alpha = (float)(alpha * last->alpha);
  return true;
}

static bool push_clip(Match *m, double low, double high) {
  EpilogueLink *last = last_link(m, dnnl_eltwise_clip), *relu = last_link(m, dnnl_eltwise_relu);
  if (relu && relu->alpha == 0) {
    *relu = (EpilogueLink){dnnl_eltwise_clip, 0, INFINITY, -1, false};
    last = relu;
  }
  if (!last) {
    if (!push(m, dnnl_eltwise_clip, low, high, -1)) return false;
    last = last_link(m, dnnl_eltwise_clip);
  } else {  // first into the old bounds, then into the new ones
    last->alpha = (float)fmin(fmax(last->alpha, low), high);
    last->beta = (float)fmin(fmax(last->beta, low), high);
  }
  if (last->alpha == 0 && isinf(last->beta)) *last = (EpilogueLink){dnnl_eltwise_relu, 0, 0, -1, false};
  return true;
}

// ---- Operands ---------------------------------------------------------------------------------------------------------------

static int64_t operand_dim(const TensorDesc *desc, const TensorDesc *y, int axis, int64_t *stride) {
  int own = axis - (y->rank - desc->rank);
  *stride = own < 0 ? 0 : desc->strides[own];
  return own < 0 || desc->strides[own] == 0 ? 1 : desc->dims[own];
}

static bool is_channel_vector(const EpilogueSource *source, const TensorDesc *desc) {
  for (int axis = 0; axis < source->y->rank; axis++) {
    int64_t stride, dim = operand_dim(desc, source->y, axis, &stride);
    if (dim != (axis == source->channel_axis ? source->y->dims[axis] : 1)) return false;
    if (axis == source->channel_axis && dim != 1 && stride != 1) return false;
  }
  return true;
}

static bool is_whole(const TensorDesc *desc, const TensorDesc *y) {
  for (int axis = 0; axis < y->rank; axis++) {
    int64_t stride, dim = operand_dim(desc, y, axis, &stride);
    if (dim != y->dims[axis] || (dim != 1 && stride != y->strides[axis])) return false;
  }
  return true;
}

// Whole tensors must lie as y does; anything that broadcasts must do so in a way that oneDNN has code for.
static bool operand_fits(const EpilogueSource *source, const TensorDesc *desc) {
  const TensorDesc *y = source->y;
  if (desc->absent || desc->dtype != DTYPE_F32 || desc->rank > y->rank) return false;
  bool scalar = true;
  for (int axis = 0; axis < y->rank; axis++) {
    int64_t stride;
    if (operand_dim(desc, y, axis, &stride) != 1) scalar = false;
  }
  return scalar || is_whole(desc, y) || is_channel_vector(source, desc);
}

static bool operand_of(const Match *m, int at, int *operand) {
  const Instruction *instruction = code(m, at);
  if (instruction->op != OP_input || instruction->args[0] == 0) return false;
  *operand = instruction->args[0] - 1;
  return operand_fits(m->source, &m->source->operands[*operand]);
}

static bool push_binary(Match *m, dnnl_alg_kind_t algorithm, int operand) {
  OnednnEpilogue *out = m->out;
  // oneDNN adds the bias before any link.
  if (m->source->bias_rank > 0 && out->count == 0 && out->bias < 0 && algorithm == dnnl_binary_add &&
      is_channel_vector(m->source, &m->source->operands[operand])) {
    out->bias = operand;
    return true;
  }
  return push(m, algorithm, 0, 0, operand);
}

// ---- Sums, products, gates --------------------------------------------------------------------------------------------------

// Adds a term that does not depend on the accumulator.
static bool add_term(Match *m, int at, double sign) {
  double value;
  int operand;
  if (constant(m, at, &value)) return push_linear(m, 1, sign * value);
  if (operand_of(m, at, &operand)) return push_binary(m, sign > 0 ? dnnl_binary_add : dnnl_binary_sub, operand);
  if (code(m, at)->op == OP_add) return add_term(m, code(m, at)->args[0], sign) && add_term(m, code(m, at)->args[1], sign);
  return false;
}

static bool chain_sum(Match *m, const Instruction *instruction) {
  int a = instruction->args[0], b = instruction->args[1];
  bool subtract = instruction->op == OP_sub;
  if (m->depends[a] && m->depends[b]) return false;
  if (m->depends[a]) return chain(m, a) && add_term(m, b, subtract ? -1 : 1);
  return chain(m, b) && push_linear(m, subtract ? -1 : 1, 0) && add_term(m, a, 1);
}

typedef struct Product {
  int factors[MAX_FACTORS], factor_count;  // that depend on the accumulator
  int operands[MAX_FACTORS], operand_count;
  double scale;
} Product;

static bool flatten(const Match *m, int at, Product *product) {
  const Instruction *instruction = code(m, at);
  double value;
  int operand;
  if (constant(m, at, &value)) {
    product->scale *= value;
    return true;
  }
  if (instruction->op == OP_mul) return flatten(m, instruction->args[0], product) && flatten(m, instruction->args[1], product);
  if (instruction->op == OP_div && constant(m, instruction->args[1], &value)) {
    product->scale /= value;
    return flatten(m, instruction->args[0], product);
  }
  if (instruction->op == OP_neg) {
    product->scale = -product->scale;
    return flatten(m, instruction->args[0], product);
  }
  if (instruction->op == OP_pow && constant(m, instruction->args[1], &value) && (value == 2 || value == 3)) {
    for (int i = 0; i < (int)value; i++)
      if (!flatten(m, instruction->args[0], product)) return false;
    return true;
  }
  if (!m->depends[at]) {
    if (!operand_of(m, at, &operand) || product->operand_count == MAX_FACTORS) return false;
    product->operands[product->operand_count++] = operand;
    return true;
  }
  if (product->factor_count == MAX_FACTORS) return false;
  product->factors[product->factor_count++] = at;
  return true;
}

// at = alpha * inner + beta, peeling constants.
static int peel_linear(const Match *m, int at, double *alpha, double *beta) {
  *alpha = 1, *beta = 0;
  for (;;) {
    const Instruction *instruction = code(m, at);
    int a = instruction->args[0], b = instruction->args[1];
    double value;
    bool swapped = instruction->op != OP_const && opcode_info(instruction->op)->arity == 2 && constant(m, a, &value);
    if (swapped) a = instruction->args[1], b = instruction->args[0];
    if (instruction->op == OP_neg) {
      *alpha = -*alpha;
    } else if (opcode_info(instruction->op)->arity != 2 || !constant(m, b, &value)) {
      return at;
    } else if (instruction->op == OP_mul) {
      *alpha *= value;
    } else if (instruction->op == OP_add) {
      *beta += *alpha * value;
    } else if (instruction->op == OP_div && !swapped) {
      *alpha /= value;
    } else if (instruction->op == OP_sub && !swapped) {
      *beta -= *alpha * value;
    } else {
      return at;
    }
    at = a;
  }
}

// at = min(max(inner, low), high), in either order; unbounded ends are infinite. Returns `at` itself where it is no clip.
static int peel_clip(const Match *m, int at, double *low, double *high) {
  *low = -INFINITY, *high = INFINITY;
  for (;;) {
    const Instruction *instruction = code(m, at);
    int a = instruction->args[0];
    double value;
    if (instruction->op == OP_relu) {
      if (*high >= 0) *low = fmax(*low, 0);
    } else if (instruction->op == OP_min || instruction->op == OP_max) {
      if (constant(m, a, &value)) a = instruction->args[1];
      else if (!constant(m, instruction->args[1], &value)) return at;
      // The outer bound, which is known already, has the last word.
      if (instruction->op == OP_min) *high = fmax(fmin(*high, value), *low);
      else *low = fmin(fmax(*low, value), *high);
    } else {
      return at;
    }
    at = a;
  }
}

// log1p(exp(-|x|)) + relu(x), or log1p(exp(x)).
static bool is_softplus_of(const Match *m, int at, int x) {
  const Instruction *sum = code(m, at);
  if (sum->op == OP_log1p) return code(m, sum->args[0])->op == OP_exp && code(m, sum->args[0])->args[0] == x;
  if (sum->op != OP_add) return false;
  for (int side = 0; side < 2; side++) {
    const Instruction *relu = code(m, sum->args[side]), *tail = code(m, sum->args[1 - side]);
    if (relu->op != OP_relu || relu->args[0] != x || tail->op != OP_log1p) continue;
    const Instruction *exponential = code(m, tail->args[0]);
    if (exponential->op != OP_exp) continue;
    const Instruction *negated = code(m, exponential->args[0]);
    if (negated->op != OP_neg) continue;
    const Instruction *magnitude = code(m, negated->args[0]);
    if (magnitude->op == OP_abs && magnitude->args[0] == x) return true;
  }
  return false;
}

// c * (x + 0.044715 x^3), with c = sqrt(2 / pi).
static bool is_gelu_tanh_argument(const Match *m, int at, int x) {
  double alpha, beta, cubic;
  int sum = peel_linear(m, at, &alpha, &beta);
  if (code(m, sum)->op != OP_add || beta != 0 || !near(alpha, sqrt(2 / M_PI))) return false;
  for (int side = 0; side < 2; side++) {
    if (code(m, sum)->args[side] != x) continue;
    Product product = {.scale = 1};
    if (!flatten(m, code(m, sum)->args[1 - side], &product)) return false;
    cubic = product.scale;
    return product.factor_count == 3 && product.operand_count == 0 && near(cubic, 0.044715) && product.factors[0] == x &&
           product.factors[1] == x && product.factors[2] == x;
  }
  return false;
}

// gate as a function of x such that x * gate is one of oneDNN's, times *scale.
static bool gated(Match *m, int x, int gate, double *scale) {
  double alpha, beta, inner_alpha, inner_beta, low, high;
  int body = peel_linear(m, gate, &alpha, &beta);
  const Instruction *function = code(m, body);
  int argument = opcode_info(function->op)->arity == 1 ? peel_linear(m, function->args[0], &inner_alpha, &inner_beta) : -1;
  if (function->op == OP_sigmoid && beta == 0 && argument == x && inner_beta == 0) {
    *scale *= alpha;
    return chain(m, x) && push(m, dnnl_eltwise_swish, inner_alpha, 0, -1);
  }
  if (function->op == OP_erf && near(alpha, beta) && argument == x && inner_beta == 0 && near(inner_alpha, M_SQRT1_2)) {
    *scale *= 2 * alpha;
    return chain(m, x) && push(m, dnnl_eltwise_gelu_erf, 0, 0, -1);
  }
  if (function->op == OP_tanh && near(alpha, beta) && is_gelu_tanh_argument(m, function->args[0], x)) {
    *scale *= 2 * alpha;
    return chain(m, x) && push(m, dnnl_eltwise_gelu_tanh, 0, 0, -1);
  }
  if (function->op == OP_tanh && beta == 0 && is_softplus_of(m, function->args[0], x)) {
    *scale *= alpha;
    return chain(m, x) && push(m, dnnl_eltwise_mish, 0, 0, -1);
  }
  int clipped = beta == 0 ? peel_clip(m, body, &low, &high) : body;
  if (clipped != body && peel_linear(m, clipped, &inner_alpha, &inner_beta) == x && low == 0 && inner_alpha > 0 &&
      near(inner_beta / inner_alpha, 3) && near(high / inner_alpha, 6)) {
    *scale *= alpha * high;
    return chain(m, x) && push(m, dnnl_eltwise_hardswish, 0, 0, -1);
  }
  return false;
}

static bool chain_product(Match *m, int at) {
  Product product = {.scale = 1};
  if (!flatten(m, at, &product)) return false;
  if (product.factor_count == 1 && product.factors[0] == at) return false;  // a power that is no product
  OnednnEpilogue before = *m->out;
  bool found = product.factor_count == 1 && chain(m, product.factors[0]);
  for (int side = 0; side < 2 && !found && product.factor_count == 2; side++) {
    double scale = product.scale;
    *m->out = before;
    found = gated(m, product.factors[side], product.factors[1 - side], &scale);
    if (found) product.scale = scale;
  }
  if (!found && product.factor_count == 2 && product.factors[0] == product.factors[1]) {
    *m->out = before;
    found = chain(m, product.factors[0]) && push(m, dnnl_eltwise_square, 0, 0, -1);
  }
  for (int i = 0; i < product.operand_count && found; i++) found = push_binary(m, dnnl_binary_mul, product.operands[i]);
  return found && push_linear(m, product.scale, 0);
}

// Leaky ReLU and ELU: a choice between x and a function of it.
static bool chain_select(Match *m, const Instruction *select) {
  const Instruction *test = code(m, select->args[0]);
  bool below = test->op == OP_lt || test->op == OP_le;
  if (!below && test->op != OP_gt && test->op != OP_ge) return false;
  int x = test->args[0], negative = select->args[below ? 1 : 2], positive = select->args[below ? 2 : 1];
  double zero, alpha, beta, inner_alpha, inner_beta;
  if (!constant(m, test->args[1], &zero) || zero != 0 || positive != x || !m->depends[x]) return false;
  int body = peel_linear(m, negative, &alpha, &beta);
  if (body == x && beta == 0) return chain(m, x) && push(m, dnnl_eltwise_relu, alpha, 0, -1);
  const Instruction *function = code(m, body);
  bool unit = (function->op == OP_expm1 || function->op == OP_exp) &&
              peel_linear(m, function->args[0], &inner_alpha, &inner_beta) == x && inner_alpha == 1 && inner_beta == 0;
  if (!unit || !near(beta, function->op == OP_exp ? -alpha : 0)) return false;
  return chain(m, x) && push(m, dnnl_eltwise_elu, alpha, 0, -1);
}

static bool chain_bounds(Match *m, int at) {
  double low, high;
  int operand, inner = peel_clip(m, at, &low, &high);
  if (inner != at) return chain(m, inner) && push_clip(m, low, high);
  const Instruction *instruction = code(m, at);
  int side = m->depends[instruction->args[0]] ? 0 : 1;
  if (!operand_of(m, instruction->args[1 - side], &operand)) return false;
  return chain(m, instruction->args[side]) &&
         push_binary(m, instruction->op == OP_min ? dnnl_binary_min : dnnl_binary_max, operand);
}

static const struct {
  Opcode op;
  dnnl_alg_kind_t algorithm;
} functions[] = {
    {OP_tanh, dnnl_eltwise_tanh}, {OP_sigmoid, dnnl_eltwise_logistic}, {OP_abs, dnnl_eltwise_abs},
    {OP_sqrt, dnnl_eltwise_sqrt}, {OP_exp, dnnl_eltwise_exp},          {OP_log, dnnl_eltwise_log},
};

// Appends the links that make instruction `at` out of the accumulator.
static bool chain(Match *m, int at) {
  const Instruction *instruction = code(m, at);
  if (!m->depends[at] || instruction->dtype != DTYPE_F32) return false;
  for (size_t i = 0; i < COUNT_OF(functions); i++)
    if (functions[i].op == instruction->op) return chain(m, instruction->args[0]) && push(m, functions[i].algorithm, 0, 0, -1);
  int operand;
  switch (instruction->op) {
    case OP_input: return instruction->args[0] == 0;
    case OP_relu:
    case OP_min:
    case OP_max: return chain_bounds(m, at);
    case OP_add:
      for (int side = 0; side < 2; side++)  // softplus
        if (code(m, instruction->args[side])->op == OP_relu && is_softplus_of(m, at, code(m, instruction->args[side])->args[0]))
          return chain(m, code(m, instruction->args[side])->args[0]) && push(m, dnnl_eltwise_soft_relu, 1, 0, -1);
      return chain_sum(m, instruction);
    case OP_sub: return chain_sum(m, instruction);
    case OP_neg:
    case OP_pow:
    case OP_mul: return chain_product(m, at);
    case OP_div:
      if (operand_of(m, instruction->args[1], &operand))
        return chain(m, instruction->args[0]) && push_binary(m, dnnl_binary_div, operand);
      return code(m, instruction->args[1])->op == OP_const && chain_product(m, at);
    case OP_select: return chain_select(m, instruction);
    default: return false;
  }
}

bool onednn_epilogue_match(const EpilogueSource *source, OnednnEpilogue *out) {
  *out = (OnednnEpilogue){.bias = -1};
  const Program *program = source->program;
  if (!program) return true;
  if (program->output_count != 1 || program->count > MAX_CODE) return false;
  Match m = {.source = source, .program = program, .out = out};
  for (int i = 0; i < program->count; i++) {
    const Instruction *instruction = &program->code[i];
    if (instruction->op == OP_input) {
      m.depends[i] = instruction->args[0] == 0;
    } else if (instruction->op != OP_index && instruction->op != OP_extent) {
      for (int k = 0; k < opcode_info(instruction->op)->arity; k++) m.depends[i] |= m.depends[instruction->args[k]];
    }
  }
  return chain(&m, program->outputs[0]);
}

// ---- To oneDNN --------------------------------------------------------------------------------------------------------------

static Status operand_memory_desc(const EpilogueSource *source, int operand, dnnl_memory_desc_t *out) {
  const TensorDesc *desc = &source->operands[operand], *y = source->y;
  dnnl_dims_t dims, strides;
  int64_t packed = 1;
  bool broadcasts = false;
  for (int axis = y->rank - 1; axis >= 0; axis--) {
    dims[axis] = operand_dim(desc, y, axis, &strides[axis]);
    broadcasts |= dims[axis] != y->dims[axis];
  }
  // A vector's or scalar's axes of size 1 get the strides of a packed tensor; a whole tensor has those of y.
  for (int axis = y->rank - 1; axis >= 0; axis--) {
    strides[axis] = broadcasts ? packed : y->strides[axis];
    packed *= dims[axis];
  }
  TRY_DNNL(dnnl_memory_desc_init_by_strides(out, y->rank, dims, dnnl_f32, strides));
  return OK;
}

static Status append_link(dnnl_post_ops_t operations, const EpilogueLink *link, const EpilogueSource *source) {
  if (link->operand < 0) {
    TRY_DNNL(dnnl_post_ops_append_eltwise(operations, 1, link->algorithm, link->alpha, link->beta));
    return OK;
  }
  if (link->in_place) {
    TRY_DNNL(dnnl_post_ops_append_sum(operations, 1));
    return OK;
  }
  dnnl_memory_desc_t desc;
  TRY(operand_memory_desc(source, link->operand, &desc));
  TRY_DNNL(dnnl_post_ops_append_binary(operations, link->algorithm, &desc));
  return OK;
}

Status onednn_epilogue_set(Onednn *one, const OnednnEpilogue *epilogue, const EpilogueSource *source) {
  dnnl_post_ops_t operations;
  Status status = OK;
  TRY_DNNL(dnnl_post_ops_create(&operations));
  for (int i = 0; epilogue && i < epilogue->count; i++) TRY_GOTO(append_link(operations, &epilogue->links[i], source));
  status = onednn_status(dnnl_primitive_attr_set_post_ops(one->attributes, operations), "setting an epilogue");
done:
  dnnl_post_ops_destroy(operations);
  return status;
}

int onednn_epilogue_add_in_place(OnednnEpilogue *epilogue, const EpilogueSource *source) {
  for (int i = 0; i < epilogue->count; i++) {
    EpilogueLink *link = &epilogue->links[i];
    if (link->algorithm != dnnl_binary_add || !is_whole(&source->operands[link->operand], source->y)) continue;
    link->in_place = true;
    return link->operand;
  }
  return -1;
}

void onednn_bias_desc(const EpilogueSource *source, dnnl_memory_desc_t *out) {
  int64_t channels = source->y->dims[source->channel_axis];
  dnnl_dims_t dims, strides;
  for (int i = 0; i < source->bias_rank; i++) {
    bool is_channel = source->bias_rank == 1 || i == source->channel_axis;
    dims[i] = is_channel ? channels : 1;
    strides[i] = is_channel || i > source->channel_axis ? 1 : channels;
  }
  dnnl_memory_desc_init_by_strides(out, source->bias_rank, dims, dnnl_f32, strides);
}

static Status add_argument(Onednn *one, OnednnEpilogue *epilogue, const EpilogueSource *source, int argument, int operand,
                           const dnnl_memory_desc_t *desc) {
  int i = epilogue->argument_count++;
  epilogue->inputs[i] = source->first_input + operand;
  return onednn_argument(one, argument, desc, &epilogue->arguments[i]);
}

Status onednn_epilogue_add(Onednn *one, OnednnEpilogue *epilogue, const EpilogueSource *source) {
  dnnl_memory_desc_t desc;
  for (int i = 0; i < epilogue->count; i++) {
    if (epilogue->links[i].operand < 0 || epilogue->links[i].in_place) continue;
    TRY(operand_memory_desc(source, epilogue->links[i].operand, &desc));
    TRY(add_argument(one, epilogue, source, DNNL_ARG_ATTR_MULTIPLE_POST_OP(i) | DNNL_ARG_SRC_1, epilogue->links[i].operand,
                     &desc));
  }
  if (epilogue->bias < 0) return OK;
  const dnnl_memory_desc_t *bias = onednn_memory_desc(one, dnnl_query_weights_md, 1);
  return add_argument(one, epilogue, source, DNNL_ARG_BIAS, epilogue->bias, bias);
}

void onednn_epilogue_bind(Onednn *one, const OnednnEpilogue *epilogue, void *const *node_inputs) {
  for (int i = 0; i < epilogue->argument_count; i++) onednn_set(one, epilogue->arguments[i], node_inputs[epilogue->inputs[i]]);
}
