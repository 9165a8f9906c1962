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

static bool push_link(Match *m, OnednnFunction function, double alpha, double beta, int operand) {
  if (m->out->count == ONEDNN_LINKS) return false;
  m->out->links[m->out->count++] = (EpilogueLink){function, (float)alpha, (float)beta, -1, operand};
  return true;
}

// Two links of one function share their constants in oneDNN's matrix products (seen in 2.6: tanh between two scales).
static bool is_free(const Match *m, OnednnFunction function) {
  for (int i = 0; i < m->out->count; i++)
    if (m->out->links[i].function == function) return false;
  return true;
}

static bool push(Match *m, OnednnFunction function, double alpha, double beta) {
  return is_free(m, function) && push_link(m, function, alpha, beta, EPILOGUE_CONSTANT);
}

static bool is_power_of_two(double value) {
  int exponent;
  return fabs(frexp(value, &exponent)) == 0.5;
}

static bool push_scale(Match *m, double scale) {
  if (scale == 1) return true;
  if (is_free(m, ONEDNN_LINEAR)) return push(m, ONEDNN_LINEAR, scale, 0);
  return push_link(m, ONEDNN_MUL, scale, 0, EPILOGUE_CONSTANT);
}

// Behind a scale that rounds nothing, the sum of both is one rounding too.
static bool push_shift(Match *m, double shift) {
  OnednnEpilogue *out = m->out;
  EpilogueLink *last = out->count ? &out->links[out->count - 1] : NULL;
  if (last && last->function == ONEDNN_LINEAR && last->beta == 0 && fabsf(last->alpha) == 1) {
    last->beta = (float)shift;
    return true;
  }
  if (is_free(m, ONEDNN_LINEAR)) return push(m, ONEDNN_LINEAR, 1, shift);
  return push_link(m, ONEDNN_ADD, shift, 0, EPILOGUE_CONSTANT);
}

// Bounds do not round: a clip of a clip is one.
static bool push_clip(Match *m, double low, double high) {
  OnednnEpilogue *out = m->out;
  EpilogueLink *last = out->count ? &out->links[out->count - 1] : NULL;
  if (last && last->function == ONEDNN_RELU && last->alpha == 0)
    *last = (EpilogueLink){ONEDNN_CLIP, 0, INFINITY, -1, EPILOGUE_CONSTANT};
  if (last && last->function == ONEDNN_CLIP) {  // first into the old bounds, then into the new ones
    last->alpha = (float)fmin(fmax(last->alpha, low), high);
    last->beta = (float)fmin(fmax(last->beta, low), high);
  } else if (push(m, ONEDNN_CLIP, low, high)) {
    last = &out->links[out->count - 1];
  } else {
    return false;
  }
  bool is_relu = last->alpha == 0 && isinf(last->beta);
  if (is_relu && is_free(m, ONEDNN_RELU)) *last = (EpilogueLink){ONEDNN_RELU, 0, 0, -1, EPILOGUE_CONSTANT};
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

// oneDNN may add a bias to the accumulator before the products: what is far larger than they are, as the constants are that make
// floats round to integers, would take their digits.
static bool is_commensurate(const Tensor *constant) {
  const double most = 65536;
  for (int64_t i = 0; constant && i < tensor_count(constant); i++)
    if (!(fabs(tensor_get_f(constant, i)) <= most)) return false;
  return constant != NULL;
}

static bool push_binary(Match *m, OnednnFunction function, int operand) {
  OnednnEpilogue *out = m->out;
  const TensorDesc *desc = &m->source->operands[operand];
  if (m->source->bias_rank > 0 && out->count == 0 && out->bias < 0 && function == ONEDNN_ADD &&
      is_channel_vector(m->source, desc) && is_commensurate(desc->constant)) {
    out->bias = operand;
    return true;
  }
  return push_link(m, function, 0, 0, operand);
}

// ---- Sums, products, gates --------------------------------------------------------------------------------------------------

static bool chain_sum(Match *m, const Instruction *instruction) {
  int a = instruction->args[0], b = instruction->args[1], operand;
  bool subtract = instruction->op == OP_sub;
  double value;
  if (m->depends[a] && m->depends[b]) return false;
  bool negated = subtract && !m->depends[a];  // a - x is -x + a
  int inner = m->depends[a] ? a : b, term = m->depends[a] ? b : a;
  if (!chain(m, inner) || (negated && !push_scale(m, -1))) return false;
  bool minus = subtract && !negated;
  if (constant(m, term, &value)) return push_shift(m, minus ? -value : value);
  return operand_of(m, term, &operand) && push_binary(m, minus ? ONEDNN_SUB : ONEDNN_ADD, operand);
}

typedef struct Product {
  int factors[MAX_FACTORS], factor_count;  // that depend on the accumulator
  double scale;
} Product;

// The factors of what may be a gate.
static bool flatten(const Match *m, int at, Product *product) {
  const Instruction *instruction = code(m, at);
  double value;
  if (constant(m, at, &value)) {
    product->scale *= value;
    return true;
  }
  if (instruction->op == OP_mul) return flatten(m, instruction->args[0], product) && flatten(m, instruction->args[1], product);
  if (instruction->op == OP_div && constant(m, instruction->args[1], &value)) {
    product->scale /= value;
    return flatten(m, instruction->args[0], product);
  }
  if (instruction->op == OP_pow && constant(m, instruction->args[1], &value) && (value == 2 || value == 3)) {
    for (int i = 0; i < (int)value; i++)
      if (!flatten(m, instruction->args[0], product)) return false;
    return true;
  }
  if (!m->depends[at] || product->factor_count == MAX_FACTORS) return false;
  product->factors[product->factor_count++] = at;
  return true;
}

// at = alpha * inner + beta, peeling scales and at most one constant that is added: of several, the difference may be what rounds.
static int peel_linear(const Match *m, int at, double *alpha, double *beta) {
  bool shifted = false;
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
    } else if (instruction->op == OP_add && !shifted) {
      *beta = *alpha * value, shifted = true;
    } else if (instruction->op == OP_div && !swapped) {
      *alpha /= value;
    } else if (instruction->op == OP_sub && !swapped && !shifted) {
      *beta = -*alpha * value, shifted = true;
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
      if (isnan(value)) return at;
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
    return product.factor_count == 3 && near(cubic, 0.044715) && product.factors[0] == x && product.factors[1] == x &&
           product.factors[2] == x;
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
    return chain(m, x) && push(m, ONEDNN_SWISH, inner_alpha, 0);
  }
  if (function->op == OP_erf && near(alpha, beta) && argument == x && inner_beta == 0 && near(inner_alpha, M_SQRT1_2)) {
    *scale *= 2 * alpha;
    return chain(m, x) && push(m, ONEDNN_GELU_ERF, 0, 0);
  }
  if (function->op == OP_tanh && near(alpha, beta) && is_gelu_tanh_argument(m, function->args[0], x)) {
    *scale *= 2 * alpha;
    return chain(m, x) && push(m, ONEDNN_GELU_TANH, 0, 0);
  }
  if (function->op == OP_tanh && beta == 0 && is_softplus_of(m, function->args[0], x)) {
    *scale *= alpha;
    return chain(m, x) && push(m, ONEDNN_MISH, 0, 0);
  }
  int clipped = beta == 0 ? peel_clip(m, body, &low, &high) : body;
  if (clipped != body && peel_linear(m, clipped, &inner_alpha, &inner_beta) == x && low == 0 && inner_alpha > 0 &&
      near(inner_beta / inner_alpha, 3) && near(high / inner_alpha, 6)) {
    *scale *= alpha * high;
    return chain(m, x) && push(m, ONEDNN_HARDSWISH, 0, 0);
  }
  return false;
}

// x * gate(x), in any order of its constants; what these make together must be 1.
static bool chain_gate(Match *m, int at) {
  Product product = {.scale = 1};
  if (!flatten(m, at, &product) || product.factor_count != 2 || product.factors[0] == product.factors[1]) return false;
  OnednnEpilogue before = *m->out;
  for (int side = 0; side < 2; side++) {
    double scale = product.scale;
    if (gated(m, product.factors[side], product.factors[1 - side], &scale) && near(scale, 1)) return true;
    *m->out = before;
  }
  return false;
}

static bool chain_product(Match *m, const Instruction *instruction) {
  int a = instruction->args[0], b = instruction->args[1], operand;
  double value;
  if (a == b) return chain(m, a) && push(m, ONEDNN_SQUARE, 0, 0);
  if (m->depends[a] && m->depends[b]) return false;
  int inner = m->depends[a] ? a : b, factor = m->depends[a] ? b : a;
  if (!chain(m, inner)) return false;
  if (constant(m, factor, &value)) return push_scale(m, value);
  return operand_of(m, factor, &operand) && push_binary(m, ONEDNN_MUL, operand);
}

static bool chain_quotient(Match *m, const Instruction *instruction) {
  int operand;
  double value;
  if (!m->depends[instruction->args[0]] || !chain(m, instruction->args[0])) return false;
  if (!constant(m, instruction->args[1], &value))
    return operand_of(m, instruction->args[1], &operand) && push_binary(m, ONEDNN_DIV, operand);
  if (is_power_of_two(value) && isfinite((float)(1 / value))) return push_scale(m, 1 / value);
  return push_link(m, ONEDNN_DIV, value, 0, EPILOGUE_CONSTANT);
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
  if (body == x && beta == 0) return chain(m, x) && push(m, ONEDNN_RELU, alpha, 0);
  const Instruction *function = code(m, body);
  bool unit = (function->op == OP_expm1 || function->op == OP_exp) &&
              peel_linear(m, function->args[0], &inner_alpha, &inner_beta) == x && inner_alpha == 1 && inner_beta == 0;
  if (!unit || !near(beta, function->op == OP_exp ? -alpha : 0)) return false;
  return chain(m, x) && push(m, ONEDNN_ELU, alpha, 0);
}

static bool chain_bounds(Match *m, int at) {
  double low, high;
  int operand, inner = peel_clip(m, at, &low, &high);
  if (inner != at) return chain(m, inner) && push_clip(m, low, high);
  const Instruction *instruction = code(m, at);
  int side = m->depends[instruction->args[0]] ? 0 : 1;
  if (!operand_of(m, instruction->args[1 - side], &operand)) return false;
  return chain(m, instruction->args[side]) && push_binary(m, instruction->op == OP_min ? ONEDNN_MIN : ONEDNN_MAX, operand);
}

static const struct {
  Opcode op;
  OnednnFunction function;
} functions[] = {
    {OP_tanh, ONEDNN_TANH}, {OP_sigmoid, ONEDNN_SIGMOID}, {OP_abs, ONEDNN_ABS},
    {OP_sqrt, ONEDNN_SQRT}, {OP_exp, ONEDNN_EXP},         {OP_log, ONEDNN_LOG},
};

static bool chain_links(Match *m, int at) {
  const Instruction *instruction = code(m, at);
  if (!m->depends[at] || instruction->dtype != DTYPE_F32) return false;
  for (size_t i = 0; i < COUNT_OF(functions); i++)
    if (functions[i].op == instruction->op) return chain(m, instruction->args[0]) && push(m, functions[i].function, 0, 0);
  double value;
  switch (instruction->op) {
    case OP_input: return instruction->args[0] == 0;
    case OP_relu:
    case OP_min:
    case OP_max: return chain_bounds(m, at);
    case OP_add:
      for (int side = 0; side < 2; side++)  // softplus
        if (code(m, instruction->args[side])->op == OP_relu && is_softplus_of(m, at, code(m, instruction->args[side])->args[0]))
          return chain(m, code(m, instruction->args[side])->args[0]) && push(m, ONEDNN_SOFTPLUS, 1, 0);
      return chain_sum(m, instruction);
    case OP_sub: return chain_sum(m, instruction);
    case OP_neg: return chain(m, instruction->args[0]) && push_scale(m, -1);
    case OP_pow:
      return constant(m, instruction->args[1], &value) && value == 2 && chain(m, instruction->args[0]) &&
             push(m, ONEDNN_SQUARE, 0, 0);
    case OP_mul: return chain_gate(m, at) || chain_product(m, instruction);
    case OP_div: return chain_gate(m, at) || chain_quotient(m, instruction);
    case OP_select: return chain_select(m, instruction);
    default: return false;
  }
}

// Appends the links that make instruction `at` out of the accumulator.
static bool chain(Match *m, int at) {
  OnednnEpilogue *out = m->out;
  if (!chain_links(m, at)) return false;
  if (out->count) out->links[out->count - 1].at = at;
  else if (out->bias >= 0) out->bias_at = at;
  return true;
}

// ---- The tail ---------------------------------------------------------------------------------------------------------------

// What the library makes of NaN, infinities and subnormal numbers is what the program does.
static bool keeps_edges(const EpilogueLink *link) {
  switch (link->function) {
    case ONEDNN_RELU: return link->alpha != 0;
    case ONEDNN_CLIP:
    case ONEDNN_MAX:
    case ONEDNN_MIN:
    case ONEDNN_ELU:
    case ONEDNN_EXP:
    case ONEDNN_LOG:
    case ONEDNN_TANH:
    case ONEDNN_SIGMOID:
    case ONEDNN_SOFTPLUS: return false;
    default: return true;
  }
}

// Whether what is needed from `at` on needs the accumulator only through `cut`.
static bool reaches_past(const Match *m, int at, int cut, bool *seen) {
  const Instruction *instruction = code(m, at);
  if (at == cut || !m->depends[at] || seen[at]) return false;
  seen[at] = true;
  if (instruction->op == OP_input) return true;
  for (int k = 0; k < opcode_info(instruction->op)->arity; k++)
    if (reaches_past(m, instruction->args[k], cut, seen)) return true;
  return false;
}

// The links up to the first that does not keep the edges; what follows is the tail.
static bool cut_tail(Match *m, Arena *arena) {
  OnednnEpilogue *out = m->out;
  int kept = 0, result = m->program->outputs[0];
  while (kept < out->count && keeps_edges(&out->links[kept])) kept++;
  if (kept == out->count) return true;
  int cut = kept ? out->links[kept - 1].at : out->bias >= 0 ? out->bias_at : -1;
  bool seen[MAX_CODE] = {0};
  out->count = kept;
  out->tail = m->program;
  if (cut < 0) return true;
  if (reaches_past(m, result, cut, seen)) return false;
  Program *tail = program_copy(arena, m->program);
  tail->code[cut] = (Instruction){.op = OP_input, .dtype = DTYPE_F32};
  out->tail = tail;
  return true;
}

void onednn_epilogue_leave(const EpilogueSource *source, OnednnEpilogue *out) {
  *out = (OnednnEpilogue){.bias = -1, .tail = source->program};
}

void onednn_epilogue_match(const EpilogueSource *source, Arena *arena, OnednnEpilogue *out) {
  const Program *program = source->program;
  *out = (OnednnEpilogue){.bias = -1};
  if (!program) return;
  Match m = {.source = source, .program = program, .out = out};
  bool fits = program->output_count == 1 && program->count <= MAX_CODE;
  for (int i = 0; i < program->count && fits; i++) {
    const Instruction *instruction = &program->code[i];
    if (instruction->op == OP_input) {
      m.depends[i] = instruction->args[0] == 0;
    } else if (instruction->op != OP_index && instruction->op != OP_extent) {
      for (int k = 0; k < opcode_info(instruction->op)->arity; k++) m.depends[i] |= m.depends[instruction->args[k]];
    }
  }
  if (!fits || !chain(&m, program->outputs[0]) || !cut_tail(&m, arena)) onednn_epilogue_leave(source, out);
}

// ---- To oneDNN --------------------------------------------------------------------------------------------------------------

static OnednnTensor operand_tensor(const EpilogueSource *source, int operand) {
  const TensorDesc *desc = &source->operands[operand], *y = source->y;
  OnednnTensor tensor = {.rank = y->rank};
  int64_t packed = 1;
  bool broadcasts = false;
  for (int axis = y->rank - 1; axis >= 0; axis--) {
    tensor.dims[axis] = operand_dim(desc, y, axis, &tensor.strides[axis]);
    broadcasts |= tensor.dims[axis] != y->dims[axis];
  }
  // A vector's or scalar's axes of size 1 get the strides of a packed tensor; a whole tensor has those of y.
  for (int axis = y->rank - 1; axis >= 0; axis--) {
    tensor.strides[axis] = broadcasts ? packed : y->strides[axis];
    packed *= tensor.dims[axis];
  }
  return tensor;
}

static OnednnTensor scalar_tensor(int rank) {
  OnednnTensor tensor = {.rank = rank};
  for (int axis = 0; axis < rank; axis++) tensor.dims[axis] = tensor.strides[axis] = 1;
  return tensor;
}

static bool has_operand(OnednnFunction function) { return function >= ONEDNN_ADD && function != ONEDNN_ADD_TO_Y; }

int onednn_epilogue_links(const OnednnEpilogue *epilogue, const EpilogueSource *source, OnednnLink *links) {
  for (int i = 0; i < epilogue->count; i++) {
    const EpilogueLink *link = &epilogue->links[i];
    links[i] = (OnednnLink){.function = link->function, .alpha = link->alpha, .beta = link->beta};
    if (!has_operand(link->function)) continue;
    links[i].operand = link->operand < 0 ? scalar_tensor(source->y->rank) : operand_tensor(source, link->operand);
  }
  return epilogue->count;
}

// A program that only bounds what it gets: ReLU, Clip.
static bool only_clips(const EpilogueSource *source, const Program *program, OnednnTail *tail) {
  Match m = {.source = source, .program = program};
  double low, high;
  int result = program->outputs[0], inner = peel_clip(&m, result, &low, &high);
  const Instruction *input = &program->code[inner];
  tail->low = (float)low, tail->high = (float)high;
  return inner != result && input->op == OP_input && input->args[0] == 0 && low <= high &&
         program->code[result].dtype == DTYPE_F32 && input->dtype == DTYPE_F32;
}

// As y sees the operands: 1 where they are broadcast.
OnednnTail onednn_epilogue_tail(const OnednnEpilogue *epilogue, const EpilogueSource *source) {
  OnednnTail tail = {.program = epilogue->tail};
  if (!tail.program) return tail;
  tail.clips = only_clips(source, tail.program, &tail);
  tail.count = source->program->input_count - 1;
  for (int i = 0; i < tail.count; i++) {
    tail.dtypes[i] = source->operands[i].dtype;
    tail.operands[i].rank = source->y->rank;
    for (int axis = 0; axis < source->y->rank; axis++)
      tail.operands[i].dims[axis] = operand_dim(&source->operands[i], source->y, axis, &tail.operands[i].strides[axis]);
  }
  return tail;
}

int onednn_epilogue_add_in_place(OnednnEpilogue *epilogue, const EpilogueSource *source) {
  for (int i = 0; i < epilogue->count; i++) {
    EpilogueLink *link = &epilogue->links[i];
    if (link->function != ONEDNN_ADD || link->operand < 0 || !is_whole(&source->operands[link->operand], source->y)) continue;
    link->function = ONEDNN_ADD_TO_Y;
    return link->operand;
  }
  return -1;
}

OnednnTensor onednn_epilogue_bias(const EpilogueSource *source) {
  int64_t channels = source->y->dims[source->channel_axis];
  OnednnTensor bias = {.rank = source->bias_rank};
  for (int i = 0; i < source->bias_rank; i++) {
    bool is_channel = source->bias_rank == 1 || i == source->channel_axis;
    bias.dims[i] = is_channel ? channels : 1;
    bias.strides[i] = is_channel || i > source->channel_axis ? 1 : channels;
  }
  return bias;
}

void onednn_epilogue_bind(Onednn *one, const OnednnEpilogue *epilogue, const EpilogueSource *source, void *const *node_inputs) {
  if (epilogue->bias >= 0) onednn_set(one, ONEDNN_BIAS, node_inputs[source->first_input + epilogue->bias]);
  for (int i = 0; i < epilogue->count; i++) {
    const EpilogueLink *link = &epilogue->links[i];
    if (has_operand(link->function))
      onednn_set(one, ONEDNN_LINK + i,
                 link->operand < 0 ? (void *)&link->alpha : node_inputs[source->first_input + link->operand]);
  }
  for (int i = 0; epilogue->tail && i < source->program->input_count - 1; i++)
    onednn_set(one, ONEDNN_OPERAND + i, node_inputs[source->first_input + i]);
}
