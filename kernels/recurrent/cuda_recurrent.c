// recurrent: the host side of recurrent.cuh and recurrent_mma.cuh. Writes the struct through which the device code sees the site, and the launches: the
// projections, unless they come in, then either one launch that runs all steps or one or two launches a step, on tensor cores where those take them.
#include <math.h>
#include <string.h>
#include "base/checked.h"
#include "kernels/common/points.h"
#include "kernels/recurrent/recurrent.h"

enum { PROJECT_THREADS = 256, ALONE_THREADS = 512, STEP_THREADS = 256, PERSISTENT_BYTES = 1 << 20 };
enum {
  MMA_UNITS = 8,
  MMA_THREADS = 128,
  MMA_FROM_BYTES = 1 << 17,
  MMA_DEPTH = 64
};                     // see recurrent_mma.cuh; smaller layers are one launch
enum { WAY_MMA = 1 };  // a way's config

typedef struct Recurrent {
  const Site *site;
  RecurrentSpec spec;
  int64_t steps, batch, input, hidden;
  const char *sums;  // the type of arithmetic
  size_t sum_size;
  int rows;  // batch rows of a warp
  bool projected;
  bool open;  // steps and batch are arguments
  KernelArguments *arguments;
} Recurrent;

static bool supports(const Site *site) { return true; }

static bool present(const Site *site, int input) { return input < site->node->input_count && !site->inputs[input].absent; }

// Whether steps or rows of the batch are all that differs from call to call.
static bool is_open(const Site *site) {
  static const int weights[] = {1, 2, 3, 7};
  const TensorDesc *x = &site->inputs[0];
  bool open = site->dims && (desc_extent(x, 0).open || desc_extent(x, 1).open) && !desc_extent(x, 2).open;
  for (size_t i = 0; i < COUNT_OF(weights); i++)
    if (present(site, weights[i]) && desc_is_open(&site->inputs[weights[i]])) return false;
  return open;
}

static char *offset(Text *text, const Recurrent *r, const TensorDesc *desc, const char *const *names) {
  return desc_open_offset(text->arena, r->open ? r->site->dims : NULL, r->arguments, desc, names);
}

static Status read_recurrent(const Site *site, Recurrent *r) {
  *r = (Recurrent){.site = site};
  TRY(recurrent_read(site->node, &r->spec));
  const TensorDesc *x = &site->inputs[0];
  r->steps = x->dims[0];
  r->batch = x->dims[1];
  r->input = x->dims[2];
  r->projected = !present(site, 1);
  r->hidden = site->inputs[2].dims[2];
  r->sums = x->dtype == DTYPE_F64 ? "double" : "float";
  r->sum_size = x->dtype == DTYPE_F64 ? 8 : 4;
  r->open = is_open(site);
  r->rows = r->batch >= 4 || r->open ? 4 : r->batch >= 2 ? 2 : 1;
  return OK;
}

static size_t step_weights(const Recurrent *r) {
  return (size_t)(r->spec.gates * r->hidden * r->hidden) * dtype_size(r->site->inputs[2].dtype);
}
static bool is_persistent(const Recurrent *r) { return r->steps > 1 && step_weights(r) <= PERSISTENT_BYTES; }
static bool has_two_phases(const Recurrent *r) { return r->spec.kind == RECURRENT_GRU && !r->spec.linear_before_reset; }

// --- Tensor cores

typedef struct MmaSteps {
  int rows, depth;
} MmaSteps;

static int most_gates(const Recurrent *r) { return has_two_phases(r) ? 2 : r->spec.gates; }

// As RecurrentStep::BYTES.
static int mma_bytes(const Recurrent *r, const MmaSteps *m) {
  int columns = most_gates(r) * MMA_UNITS, splits = MMA_THREADS / 32 / (m->rows / 16);
  return (columns + m->rows) * m->depth * 2 + splits * m->rows * (columns + 4) * 4;
}

static bool has_rows_of_chunks(const TensorDesc *r) {
  const int chunk = 8;
  return r->constant && r->strides[2] == 1 && r->offset % chunk == 0 && r->strides[0] % chunk == 0 &&
         r->strides[1] % chunk == 0 && r->dims[2] % chunk == 0;
}

static bool read_mma(const Recurrent *r, MmaSteps *out) {
  const TensorDesc *weights = &r->site->inputs[2];
  bool narrow = weights->dtype == DTYPE_F16 || weights->dtype == DTYPE_BF16;
  if (!r->projected || !narrow || r->site->device->sm < (weights->dtype == DTYPE_F16 ? 75 : 80) || r->steps == 0 ||
      r->batch == 0 || r->hidden == 0 || !has_rows_of_chunks(weights) || r->hidden > INT16_MAX)
    return false;
  *out = (MmaSteps){.rows = r->batch > 16 ? 32 : 16, .depth = (int)align_up((size_t)r->hidden, MMA_DEPTH)};
  if (mma_bytes(r, out) > r->site->device->shared_per_block) out->rows = 16;
  return mma_bytes(r, out) <= r->site->device->shared_per_block;
}

// Small layers are faster in one launch, whose weights stay near.
static int ways(const Site *site, const Machine *machine, Way *out, int limit) {
  Recurrent r;
  MmaSteps mma;
  Status status = read_recurrent(site, &r);
  bool tensor_cores = !status && read_mma(&r, &mma);
  status_free(status);
  Way steps = {.name = "steps"}, products = {.name = "mma", .config = {WAY_MMA}};
  bool first = tensor_cores && step_weights(&r) >= MMA_FROM_BYTES;
  int count = 0;
  if (first) out[count++] = products;
  if (count < limit) out[count++] = steps;
  if (tensor_cores && !first && count < limit) out[count++] = products;
  return count;
}

// The projection, then a launch for each phase of a step; or one in which a single multiprocessor reads the weights in every step.
static double cost(const Site *site) {
  Recurrent r;
  Status status = read_recurrent(site, &r);
  bool known = !status;
  status_free(status);
  if (!known || !is_persistent(&r))
    return cost_of_site(site, known ? 1 + (int)MIN(r.steps, 1 << 20) * (1 + has_two_phases(&r)) : 1);
  double a_step = (double)step_weights(&r) / (site->device->rates.l2_bytes * cost_clocks(site->device));
  return cost_of_site(site, 2) + (double)r.steps * a_step;
}

// --- Text

// `A name(int a, int b ...) const`, which reads an input at these coordinates; 0 where the input is absent.
static void add_reader(Text *text, const Recurrent *r, int input, const char *name, int rank) {
  static const char *const coordinates[] = {"a", "b", "c"};
  text_add(text, "  __device__ __forceinline__ A %s(", name);
  for (int i = 0; i < rank; i++) text_add(text, "%sint %s", i ? ", " : "", coordinates[i]);
  text_add(text, ") const { return ");
  if (!present(r->site, input)) text_add(text, "0");
  else
    text_add(text, "(A)Element_%s::get(x%d[%s])", dtype_name(r->site->inputs[input].dtype), input,
             offset(text, r, &r->site->inputs[input], coordinates));
  text_add(text, "; }\n");
}

static void add_writer(Text *text, const Recurrent *r, int output, const char *name, int rank) {
  static const char *const coordinates[] = {"a", "b", "c", "d"};
  text_add(text, "  __device__ __forceinline__ void %s(", name);
  for (int i = 0; i < rank; i++) text_add(text, "int %s, ", coordinates[i]);
  text_add(text, "A value) const {");
  if (output < r->site->node->output_count) {
    const TensorDesc *y = &r->site->outputs[output];
    text_add(text, " y%d[%s] = Element_%s::set((Element_%s::Value)value);", output, offset(text, r, y, coordinates),
             dtype_name(y->dtype), dtype_name(y->dtype));
  }
  text_add(text, " }\n");
}

static char *number(Arena *arena, double value) {
  uint64_t bits;
  memcpy(&bits, &value, sizeof bits);
  return arena_printf(arena, "(A)__longlong_as_double(0x%016llxll /* %g */)", (unsigned long long)bits, value);
}

static char *activation(Arena *arena, const RecurrentActivation *f) {
  char *alpha = number(arena, f->alpha), *beta = number(arena, f->beta);
  switch (f->function) {
    case FUNCTION_RELU: return arena_string(arena, "v > 0 ? v : 0");
    case FUNCTION_TANH: return arena_string(arena, "x_tanh(v)");
    case FUNCTION_SIGMOID: return arena_string(arena, "x_sigmoid(v)");
    case FUNCTION_AFFINE: return arena_printf(arena, "%s * v + %s", alpha, beta);
    case FUNCTION_LEAKY_RELU: return arena_printf(arena, "v >= 0 ? v : %s * v", alpha);
    case FUNCTION_THRESHOLDED_RELU: return arena_printf(arena, "v > %s ? v : 0", alpha);
    case FUNCTION_SCALED_TANH: return arena_printf(arena, "%s * x_tanh(%s * v)", alpha, beta);
    case FUNCTION_HARD_SIGMOID: return arena_printf(arena, "x_min((A)1, x_max((A)0, %s * v + %s))", alpha, beta);
    case FUNCTION_ELU: return arena_printf(arena, "v >= 0 ? v : %s * x_expm1(v)", alpha);
    case FUNCTION_SOFTSIGN: return arena_string(arena, "v / (1 + x_abs(v))");
    default: return arena_string(arena, "x_log1p(x_exp(-x_abs(v))) + x_max(v, (A)0)");
  }
}

static void add_struct(Text *text, const Recurrent *r) {
  const Node *node = r->site->node;
  const RecurrentSpec *spec = &r->spec;
  const TensorDesc *x = &r->site->inputs[0];
  text_add(text, "struct In {\n%s  typedef %s A;\n  enum { LSTM = %d, GRU = %d, RNN = %d, KIND = %d };\n",
           r->open ? "  Dims dims;\n" : "", r->sums, RECURRENT_LSTM, RECURRENT_GRU, RECURRENT_RNN, spec->kind);
  text_add(text, "  static constexpr int INPUT = %lld, HIDDEN = %lld, GATES = %d, DIRECTIONS = %d;\n", (long long)r->input,
           (long long)r->hidden, spec->gates, spec->directions);
  text_add(text,
           "  __device__ __forceinline__ int steps() const { return %s; }\n  __device__ __forceinline__ int batch() const { "
           "return %s; "
           "}\n",
           extent_text(r->arguments, r->open ? desc_extent(x, 0) : extent_static(r->steps), false),
           extent_text(r->arguments, r->open ? desc_extent(x, 1) : extent_static(r->batch), false));
  text_add(text, "  static constexpr bool REVERSED = %d, LINEAR_BEFORE_RESET = %d, INPUT_FORGET = %d;\n", spec->reversed,
           spec->linear_before_reset, spec->input_forget);
  for (int i = 0; i < node->input_count; i++)
    if (present(r->site, i)) text_add(text, "  const Element_%s::Stored *x%d;\n", dtype_name(r->site->inputs[i].dtype), i);
  for (int i = 0; i < node->output_count; i++)
    text_add(text, "  Element_%s::Stored *y%d;\n", dtype_name(r->site->outputs[i].dtype), i);
  add_reader(text, r, 0, "x", 3);
  if (!r->projected) add_reader(text, r, 1, "w", 3);
  text_add(
      text,
      "  __device__ __forceinline__ A projection(const A *projected, int direction, int time, int row, int unit) const {\n    "
      "return %s;\n  }\n",
      r->projected ? "x(time, row, direction * GATES * HIDDEN + unit)"
                   : "projected[(((i64)direction * steps() + time) * batch() + row) * (GATES * HIDDEN) + unit]");
  add_reader(text, r, 2, "r", 3);
  add_reader(text, r, 3, "bias", 2);
  add_reader(text, r, 5, "h0", 3);
  add_reader(text, r, 6, "c0", 3);
  add_reader(text, r, 7, "peephole", 2);
  text_add(text, "  __device__ __forceinline__ int length(int a) const {\n");
  if (present(r->site, 4))
    text_add(
        text,
        "    const i64 length = (i64)x4[%s];\n    return length < 0 ? 0 : length > steps() ? steps() : (int)length;\n  }\n",
        offset(text, r, &r->site->inputs[4], (const char *const[]){"a"}));
  else text_add(text, "    return steps();\n  }\n");
  add_writer(text, r, 0, "set_y", 4);
  add_writer(text, r, 1, "set_h", 3);
  add_writer(text, r, 2, "set_c", 3);
  text_add(text, "  DEVICE A clipped(A v) { return %s; }\n",
           spec->clip > 0 ? arena_printf(text->arena, "x_min(%s, x_max(-%s, v))", number(text->arena, spec->clip),
                                         number(text->arena, spec->clip))
                          : "v");
  text_add(text, "  DEVICE A activate(int direction, int function, A v) {\n    switch (direction * 3 + function) {\n");
  for (int d = 0; d < spec->directions; d++)
    for (int f = 0; f < spec->functions; f++)
      text_add(text, "      case %d: return %s;\n", d * 3 + f, activation(text->arena, &spec->activations[d][f]));
  text_add(text, "      default: return v;\n    }\n  }\n");
}

static void add_mma(Text *text, const Recurrent *r, const MmaSteps *m) {
  const char *type = dtype_name(r->site->inputs[2].dtype);
  const char *names[] = {"a", "b", "0"};
  text_add(text, "  typedef Element_%s::Stored T;\n  static constexpr int ROWS = %d, DEPTH = %d;\n", type, m->rows, m->depth);
  text_add(text, "  DEVICE T narrow(A v) { return Element_%s::set(v); }\n", type);
  text_add(text, "  __device__ __forceinline__ const T *weights(int a, int b) const { return x2 + %s; }\n",
           offset(text, r, &r->site->inputs[2], names));
  text_add(text,
           "  __device__ __forceinline__ u16 h0_bits(int a, int b, int c) const {\n    union {\n      T value;\n      u16 "
           "bits;\n    } "
           "word = {narrow(h0(a, b, c))};\n    return word.bits;\n  }\n");
}

// begin: what it does first.
static void add_kernel(Text *text, const Recurrent *r, const char *entry, int threads, const char *more, const char *begin,
                       const char *body) {
  text_add(text, "extern \"C\" __global__ void __launch_bounds__(%d) %s(", threads, entry);
  site_parameters(text, r->site);
  kernel_arguments_parameters(text, r->arguments);
  text_add(text, ", %s) {\n%s", more, begin);
  if (r->open) kernel_arguments_gather(text, r->arguments);
  text_add(text, "  const In in = {%s", r->open ? "dims" : "");
  const char *comma = r->open ? ", " : "";
  for (int i = 0; i < r->site->node->input_count; i++) {
    if (!present(r->site, i)) continue;
    text_add(text, "%sx%d", comma, i);
    comma = ", ";
  }
  for (int i = 0; i < r->site->node->output_count; i++) text_add(text, ", y%d", i);
  text_add(text, "};\n  %s;\n}\n", body);
}

// --- Launches

static void emit_steps(const Recurrent *r, Emission *out, const char *source, unsigned blocks, unsigned threads, size_t states,
                       int first, int last, int phases) {
  unsigned groups = (unsigned)(ceil_div(r->batch, r->rows) * r->spec.directions);
  Launch *launch =
      emit_kernel(out, source, "recurrent_steps_kernel", (unsigned[]){blocks, groups, 1}, (unsigned[]){threads, 1, 1});
  site_arguments(out, launch, r->site);
  emit_arguments(out, launch, r->arguments);
  emit_workspace(out, launch, 0);
  emit_workspace(out, launch, states);
  emit_i32(out, launch, first);
  emit_i32(out, launch, last);
  emit_i32(out, launch, phases);
}

// The struct, which has told by now what is an argument, behind those.
static void begin_source(Text *text, const Recurrent *r, const char *header, const char *in) {
  text_add(text, "#include \"kernels/recurrent/%s.cuh\"\n", header);
  if (r->open) kernel_arguments_struct(text, r->arguments);
  text_add(text, "%s};\n", in);
}

static Status emit_mma(const Recurrent *r, const MmaSteps *m, Emission *out) {
  static const struct {
    const char *entry;
    bool second;
  } phases[] = {{"recurrent_step_kernel", false}, {"recurrent_second_kernel", true}};
  Text text = text_new(out->arena), in = text_new(out->arena);
  add_struct(&in, r);
  add_mma(&in, r, m);
  begin_source(&text, r, "recurrent_mma", text_get(&in));
  int count = 1 + has_two_phases(r);
  for (int p = 0; p < count; p++)
    add_kernel(&text, r, phases[p].entry, MMA_THREADS, "In::A *states, int step", "",
               arena_printf(out->arena, "RecurrentStep<In, %s, %d, %d, %s>::run(in, states, step)",
                            r->site->inputs[2].dtype == DTYPE_F16 ? "MmaF16" : "MmaBf16", phases[p].second ? 2 : 0,
                            phases[p].second ? 1 : most_gates(r), phases[p].second ? "true" : "false"));
  size_t elements = (size_t)(r->spec.directions * r->batch * r->hidden);
  out->workspace_bytes = MAX(out->workspace_bytes, elements * (5 * r->sum_size + 3 * sizeof(uint16_t)));
  unsigned grid[3] = {(unsigned)ceil_div(r->hidden, MMA_UNITS), (unsigned)(ceil_div(r->batch, m->rows) * r->spec.directions),
                      1};
  for (int step = 0; step < r->steps; step++)
    for (int p = 0; p < count; p++) {
      Launch *launch = emit_kernel(out, text_get(&text), phases[p].entry, grid, (unsigned[]){MMA_THREADS, 1, 1});
      launch->shared_bytes = (unsigned)mma_bytes(r, m);
      site_arguments(out, launch, r->site);
      emit_arguments(out, launch, r->arguments);
      emit_workspace(out, launch, 0);
      emit_i32(out, launch, step);
    }
  return OK;
}

// No steps: the final states are the initial ones.
static Status emit_initial(const Recurrent *r, Emission *out, Text *text) {
  const TensorDesc *yh = &r->site->outputs[1];
  if (r->site->node->output_count < 2 || desc_count(yh) == 0) return OK;
  text_add(text, "#include \"kernels/recurrent/recurrent.cuh\"\nextern \"C\" __global__ void recurrent_initial(");
  site_parameters(text, r->site);
  text_add(text,
           ") {\n  begin_kernel();\n  const int i = blockIdx.x * %d + threadIdx.x, k = i %% %lld, row = i / %lld;\n  if (i >= "
           "%lld) return;\n",
           POINT_THREADS, (long long)r->hidden, (long long)r->hidden, (long long)desc_count(yh));
  const char *names[] = {arena_printf(out->arena, "(row / %lld)", (long long)r->batch),
                         arena_printf(out->arena, "(row %% %lld)", (long long)r->batch), "k"};
  for (int o = 1; o < r->site->node->output_count; o++) {
    int input = o + 4;
    text_add(text, "  y%d[%s] = ", o, desc_offset(out->arena, &r->site->outputs[o], names));
    if (present(r->site, input)) text_add(text, "x%d[%s];\n", input, desc_offset(out->arena, &r->site->inputs[input], names));
    else text_add(text, "Element_%s::set(0);\n", dtype_name(r->site->outputs[o].dtype));
  }
  text_add(text, "}\n");
  unsigned grid[3] = {(unsigned)ceil_div(desc_count(yh), POINT_THREADS), 1, 1};
  site_arguments(out, emit_kernel(out, text_get(text), "recurrent_initial", grid, (unsigned[]){POINT_THREADS, 1, 1}), r->site);
  return OK;
}

static Status lower(const Site *site, const Way *way, const Machine *machine, Emission *out) {
  Recurrent recurrent, *r = &recurrent;
  TRY(read_recurrent(site, r));
  KernelArguments arguments = {.arena = out->arena};
  r->arguments = &arguments;
  if (r->batch == 0 || r->hidden == 0) return OK;
  MmaSteps mma;
  if (way->config[0] == WAY_MMA) {
    if (!read_mma(r, &mma)) FAIL(ERROR_UNSUPPORTED, "tensor cores do not take this recurrent layer");
    return emit_mma(r, &mma, out);
  }
  Text text = text_new(out->arena), in = text_new(out->arena);
  if (r->steps == 0) return emit_initial(r, out, &text);
  int64_t rows = r->steps * r->batch, units = r->spec.gates * r->hidden;
  size_t projected, states;
  if (!checked_mul((size_t)(rows * r->spec.directions), (size_t)units * r->sum_size, &projected) || rows > INT32_MAX)
    FAIL(ERROR_OUT_OF_MEMORY, "a recurrent layer over %lld steps", (long long)r->steps);
  projected = r->projected ? 0 : align_up(projected, 256);
  states = 5 * (size_t)(r->spec.directions * r->batch * r->hidden) * r->sum_size;
  out->workspace_bytes = MAX(out->workspace_bytes, projected + states);

  bool few = rows < 16 && !r->open;
  add_struct(&in, r);
  begin_source(&text, r, "recurrent", text_get(&in));
  if (!r->projected)
    add_kernel(&text, r, "recurrent_project", PROJECT_THREADS, "In::A *out", "  begin_kernel();\n",
               few ? "project_warp(in, out)" : "project_tile(in, out)");
  add_kernel(&text, r, "recurrent_steps_kernel", step_weights(r) <= PERSISTENT_BYTES ? ALONE_THREADS : STEP_THREADS,
             "const In::A *projected, In::A *states, int first, int last, int phases", "  begin_kernel();\n",
             arena_printf(out->arena, "recurrent_steps<In, %d>(in, projected, states, first, last, phases)", r->rows));
  const char *source = text_get(&text);
  if (!r->projected) {
    unsigned grid[3] = {(unsigned)ceil_div(units, few ? 8 : 64), (unsigned)(few ? rows : ceil_div(rows, 64)),
                        (unsigned)r->spec.directions};
    Launch *launch = emit_kernel(out, source, "recurrent_project", grid, (unsigned[]){PROJECT_THREADS, 1, 1});
    site_arguments(out, launch, site);
    emit_arguments(out, launch, r->arguments);
    emit_workspace(out, launch, 0);
  }

  if (is_persistent(r)) {
    emit_steps(r, out, source, 1, ALONE_THREADS, projected, 0, (int)r->steps, 3);
    return OK;
  }
  unsigned blocks = (unsigned)ceil_div(r->hidden, STEP_THREADS / 32);
  for (int step = 0; step < r->steps; step++)
    for (int phase = 1; phase <= 1 + has_two_phases(r); phase++)
      emit_steps(r, out, source, blocks, STEP_THREADS, projected, step, step + 1, phase);
  return OK;
}

const Implementation cuda_recurrent = {
    .name = "recurrent",
    .backend = BACKEND_CUDA,
    .op = &op_recurrent,
    .general = true,
    .supports = supports,
    .ways = ways,
    .cost = cost,
    .lower = lower,
};
