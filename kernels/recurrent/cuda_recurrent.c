// recurrent: the host side of recurrent.cuh, recurrent_grid.cuh and recurrent_mma.cuh. Writes the struct through which the device code sees the site, and the launches: the
// projections, unless they come in, then either one launch that runs all steps, in a block for some rows or on the whole chip, or one or two launches a step, on tensor cores where
// those take them.
#include <math.h>
#include <stdio.h>
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
};  // see recurrent_mma.cuh; smaller layers are one launch
enum { GRID_THREADS = 256, GRID_BEGIN_THREADS = 32, GRID_COUNTER_BYTES = 128 };  // see recurrent_grid.cuh
enum { WAY_MMA = 1, WAY_GRID };  // a way's config; a grid's: units, rows, row warps

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

// Of 16 bytes.
static bool has_rows_of_chunks(const TensorDesc *r) {
  const int chunk = 16 / (int)dtype_size(r->dtype);
  return r->constant && r->strides[2] == 1 && r->offset % chunk == 0 && r->strides[0] % chunk == 0 &&
         r->strides[1] % chunk == 0 && r->dims[2] % chunk == 0;
}

// What both ways ask that keep weights near.
static bool has_constant_weights(const Recurrent *r) {
  return r->projected && r->steps > 0 && r->batch > 0 && r->hidden > 0 && r->hidden <= INT16_MAX &&
         has_rows_of_chunks(&r->site->inputs[2]);
}
static bool has_narrow_weights(const Recurrent *r) {
  DType dtype = r->site->inputs[2].dtype;
  return (dtype == DTYPE_F16 || dtype == DTYPE_BF16) && r->site->device->sm >= (dtype == DTYPE_F16 ? 75 : 80);
}

static bool read_mma(const Recurrent *r, MmaSteps *out) {
  if (!has_narrow_weights(r) || !has_constant_weights(r)) return false;
  *out = (MmaSteps){.rows = r->batch > 16 ? 32 : 16, .depth = (int)align_up((size_t)r->hidden, MMA_DEPTH)};
  if (mma_bytes(r, out) > r->site->device->shared_per_block) out->rows = 16;
  return mma_bytes(r, out) <= r->site->device->shared_per_block;
}

// --- All multiprocessors

// What a block has, see recurrent_grid.cuh; clocks: of a step, as predicted.
typedef struct GridSteps {
  int units, rows, row_warps;
  double clocks;
} GridSteps;

enum { GRID_WARPS = GRID_THREADS / 32, MOST_GRIDS = 3 };
// Numbers of a thread: what there is, less what addresses, sums and the compiler take; and of those the most that are weights, as fragments and as columns: with more of these the compiler
// keeps some in memory.
enum { GRID_REGISTERS = 200, GRID_FRAGMENT_REGISTERS = 128, GRID_LANE_REGISTERS = 96 };

static int grid_groups(const Recurrent *r, const GridSteps *g) {
  return (int)(ceil_div(r->batch, g->rows) * r->spec.directions);
}
static int grid_columns(const Recurrent *r, const GridSteps *g) { return r->spec.gates * g->units; }
static int grid_passes(const GridSteps *g) { return g->rows / (16 * g->row_warps); }
static int grid_items(const GridSteps *g) { return (int)ceil_div(16 * g->row_warps * g->units, GRID_THREADS); }
// Of two bytes in chunks of 32 of a warp's depth, of f32 the depth.
static int grid_chunks(const Recurrent *r, const GridSteps *g) {
  return (int)ceil_div(ceil_div(r->hidden, 32), GRID_WARPS / g->row_warps);
}
static int grid_depth(const Recurrent *r) { return (int)align_up((size_t)ceil_div(r->hidden, GRID_WARPS), 4); }

// As GridShape::SUMS, and behind it GridLanes' states.
static int grid_bytes(const Recurrent *r, const GridSteps *g) {
  int columns = grid_columns(r, g), states = has_narrow_weights(r) ? 0 : grid_depth(r);
  return GRID_WARPS * 16 * ((columns % 16 ? columns : columns + 8) + states) * 4;
}

// Of a step, by a pass of so many rows. PRODUCT and STEP: of a fragment's product and of a multiply-add, with two warps on a scheduler.
static double product_clocks(const Recurrent *r, const GridSteps *g, double rows) {
  enum { PRODUCT = 16, STEP = 3 };
  int columns = grid_columns(r, g);
  if (has_narrow_weights(r)) return (double)grid_chunks(r, g) * 2 * columns / 8 * PRODUCT;
  return rows * grid_depth(r) * (double)ceil_div(columns, 32) * STEP;
}

// Meeting the others, then of each pass its states from L2, products, the warps' sums there and back, and the units. The constants are latencies of an H200.
static double grid_clocks(const Recurrent *r, const GridSteps *g, int64_t batch) {
  enum { MEETING = 1900, READING = 700, UNIT = 150, SHARED_BYTES = 128 };
  int phases = 1 + has_two_phases(r);
  double rows = (double)MIN((int64_t)g->rows, batch), pass_rows = 16 * g->row_warps;
  double states = rows * (double)((size_t)r->hidden * dtype_size(r->site->inputs[2].dtype)) / r->site->device->rates.l2_bytes;
  double sums = 2 * GRID_WARPS / g->row_warps * pass_rows * grid_columns(r, g) * 4 / SHARED_BYTES;
  return phases * (MEETING + READING + states) +
         grid_passes(g) * (product_clocks(r, g, fmin(pass_rows, rows)) + sums + grid_items(g) * UNIT);
}

// Up to a power of two, so that open sizes of the batch have few kernels.
static int64_t batch_class(const Recurrent *r) {
  int64_t class = 16;
  while (class < r->batch) class *= 2;
  return class;
}

static int weight_registers(const Recurrent *r, const GridSteps *g) {
  int columns = grid_columns(r, g);
  return has_narrow_weights(r) ? grid_chunks(r, g) * columns / 8 * 4 : (int)ceil_div(columns, 32) * grid_depth(r);
}
static int other_registers(const Recurrent *r, const GridSteps *g) {
  int units = grid_passes(g) * grid_items(g) * (2 + r->spec.gates);
  return units + (has_narrow_weights(r) ? grid_chunks(r, g) * 8 + grid_columns(r, g) / 8 * 4 : 16);
}

// Whether the registers take it, and each multiprocessor has no more than one block.
static bool takes_grid(const Recurrent *r, const GridSteps *g) {
  DType dtype = r->site->inputs[2].dtype;
  if (!has_constant_weights(r) || (!has_narrow_weights(r) && (dtype != DTYPE_F32 || g->row_warps > 1))) return false;
  int weights = weight_registers(r, g);
  int64_t blocks = ceil_div(r->hidden, g->units), groups = ceil_div(batch_class(r), g->rows) * r->spec.directions;
  return blocks > 1 && blocks * groups <= r->site->device->multiprocessors &&
         weights <= (has_narrow_weights(r) ? GRID_FRAGMENT_REGISTERS : GRID_LANE_REGISTERS) &&
         weights + other_registers(r, g) <= GRID_REGISTERS && grid_bytes(r, g) <= r->site->device->shared_per_block;
}

static void keep_grid(GridSteps *list, int *count, GridSteps grid) {
  int at = *count < MOST_GRIDS ? (*count)++ : MOST_GRIDS - 1;
  if (at == MOST_GRIDS - 1 && list[at].clocks && list[at].clocks <= grid.clocks) return;
  for (; at && list[at - 1].clocks > grid.clocks; at--) list[at] = list[at - 1];
  list[at] = grid;
}

// The fastest first.
static int find_grids(const Recurrent *r, GridSteps list[MOST_GRIDS]) {
  int count = 0;
  memset(list, 0, MOST_GRIDS * sizeof *list);
  for (int units = 8; units <= 32; units *= 2)
    for (int rows = 16; rows <= 128; rows *= 2)
      for (int row_warps = 1; row_warps <= 2 && row_warps * 16 <= rows; row_warps++) {
        GridSteps grid = {units, rows, row_warps};
        if (rows > batch_class(r) || !takes_grid(r, &grid)) continue;
        grid.clocks = grid_clocks(r, &grid, batch_class(r));
        keep_grid(list, &count, grid);
      }
  return count;
}

// --- Ways

static double cost_of_steps(const Recurrent *r) {
  const Site *site = r->site;
  if (!is_persistent(r)) return cost_of_site(site, 1 + (int)MIN(r->steps, 1 << 20) * (1 + has_two_phases(r)));
  double a_step = (double)step_weights(r) / (site->device->rates.l2_bytes * cost_clocks(site->device));
  return cost_of_site(site, 2) + (double)r->steps * a_step;
}

static Way way_of_grid(const Recurrent *r, const GridSteps *g) {
  Way way = {.config = {WAY_GRID, g->units, g->rows, g->row_warps},
             .cost = cost_of_site(r->site, 2) + (double)r->steps * g->clocks / cost_clocks(r->site->device)};
  snprintf(way.name, sizeof way.name, "grid u%d r%dx%d", g->units, g->rows, g->row_warps);
  return way;
}

// Small layers are faster in one launch of few blocks, whose weights stay near; of others a few steps are as fast a launch each.
static int ways(const Site *site, const Machine *machine, Way *out, int limit) {
  enum { GRID_FROM_STEPS = 3 };
  Recurrent r;
  MmaSteps mma;
  GridSteps grids[MOST_GRIDS];
  Way list[MOST_GRIDS + 2];
  int count = 0, grid_count = 0;
  Status status = read_recurrent(site, &r);
  bool known = !status, large = known && step_weights(&r) >= MMA_FROM_BYTES, products = known && read_mma(&r, &mma);
  status_free(status);
  if (known) grid_count = find_grids(&r, grids);
  bool first = large && r.steps >= GRID_FROM_STEPS;
  for (int i = 0; i < grid_count && first; i++) list[count++] = way_of_grid(&r, &grids[i]);
  if (products && large) list[count++] = (Way){.name = "mma", .config = {WAY_MMA}};
  list[count++] = (Way){.name = "steps"};
  if (products && !large) list[count++] = (Way){.name = "mma", .config = {WAY_MMA}};
  for (int i = 0; i < grid_count && !first; i++) list[count++] = way_of_grid(&r, &grids[i]);
  count = MIN(count, limit);
  memcpy(out, list, (size_t)count * sizeof *out);
  return count;
}

// The projection, then a launch for each phase of a step; or one in which a single multiprocessor reads the weights in every step.
static double cost(const Site *site) {
  Recurrent r;
  Status status = read_recurrent(site, &r);
  bool known = !status;
  status_free(status);
  return known ? cost_of_steps(&r) : cost_of_site(site, 1);
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

// Then which one is known where the code is compiled.
static bool have_same_activations(const RecurrentSpec *spec) {
  bool same = true;
  for (int f = 0; f < spec->functions && spec->directions == 2; f++) {
    const RecurrentActivation *a = &spec->activations[0][f], *b = &spec->activations[1][f];
    same &= a->function == b->function && a->alpha == b->alpha && a->beta == b->beta;
  }
  return same;
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
  bool alike = have_same_activations(spec);
  text_add(text, "  DEVICE A activate(int direction, int function, A v) {\n    switch (%sfunction) {\n",
           alike ? "" : "direction * 3 + ");
  for (int d = 0; d < (alike ? 1 : spec->directions); d++)
    for (int f = 0; f < spec->functions; f++)
      text_add(text, "      case %d: return %s;\n", d * 3 + f, activation(text->arena, &spec->activations[d][f]));
  text_add(text, "      default: return v;\n    }\n  }\n");
}

// What ways need that keep weights near.
static void add_weights(Text *text, const Recurrent *r) {
  const char *type = dtype_name(r->site->inputs[2].dtype);
  const char *names[] = {"a", "b", "0"};
  text_add(text, "  typedef Element_%s::Stored T;\n  DEVICE T narrow(A v) { return Element_%s::set(v); }\n", type, type);
  text_add(text, "  __device__ __forceinline__ const T *weights(int a, int b) const { return x2 + %s; }\n",
           offset(text, r, &r->site->inputs[2], names));
}

static void add_mma(Text *text, const Recurrent *r, const MmaSteps *m) {
  add_weights(text, r);
  text_add(text, "  static constexpr int ROWS = %d, DEPTH = %d;\n", m->rows, m->depth);
  text_add(text,
           "  __device__ __forceinline__ u16 h0_bits(int a, int b, int c) const {\n    union {\n      T value;\n      u16 "
           "bits;\n    } "
           "word = {narrow(h0(a, b, c))};\n    return word.bits;\n  }\n");
}

// bounds: threads, and where the compiler is not to choose, blocks of a multiprocessor. begin: what it does first.
static void add_kernel(Text *text, const Recurrent *r, const char *entry, const char *bounds, const char *more,
                       const char *begin, const char *body) {
  text_add(text, "extern \"C\" __global__ void __launch_bounds__(%s) %s(", bounds, entry);
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

static const char *instruction(const Recurrent *r) { return r->site->inputs[2].dtype == DTYPE_F16 ? "MmaF16" : "MmaBf16"; }

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
    add_kernel(
        &text, r, phases[p].entry, arena_printf(out->arena, "%d", MMA_THREADS), "In::A *states, int step", "",
        arena_printf(out->arena, "RecurrentStep<In, %s, %d, %d, %s>::run(in, states, step)", instruction(r),
                     phases[p].second ? 2 : 0, phases[p].second ? 1 : most_gates(r), phases[p].second ? "true" : "false"));
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

// Counters lie in front of the states. What sets them to 0 is a launch of its own, so that whatever a run left there, or never came to leave, is nothing to the next.
static Status emit_grid(const Recurrent *r, const GridSteps *g, Emission *out) {
  Text text = text_new(out->arena), in = text_new(out->arena);
  const char *product =
      has_narrow_weights(r) ? arena_printf(out->arena, "GridFragments<In, %s>", instruction(r)) : "GridLanes<In>";
  int groups = grid_groups(r, g);
  size_t counters = align_up((size_t)groups * GRID_COUNTER_BYTES, 256),
         elements = (size_t)(r->spec.directions * r->batch * r->hidden);
  add_struct(&in, r);
  add_weights(&in, r);
  text_add(&in, "  static constexpr int UNITS = %d, ROWS = %d, ROW_WARPS = %d;\n", g->units, g->rows, g->row_warps);
  begin_source(&text, r, "recurrent_grid", text_get(&in));
  text_add(&text,
           "extern \"C\" __global__ void __launch_bounds__(%d) recurrent_grid_begin_kernel(u32 *counters, int count) {\n"
           "  recurrent_grid_begin(counters, count);\n}\n",
           GRID_BEGIN_THREADS);
  add_kernel(&text, r, "recurrent_grid_kernel", arena_printf(out->arena, "%d, 1", GRID_THREADS), "u32 *counters, In::T *states",
             "", arena_printf(out->arena, "RecurrentGrid<In, %s>::run(in, counters, states)", product));
  out->workspace_bytes = MAX(out->workspace_bytes, counters + elements * 3 * dtype_size(r->site->inputs[2].dtype));
  Launch *launch = emit_kernel(out, text_get(&text), "recurrent_grid_begin_kernel", (unsigned[]){1, 1, 1},
                               (unsigned[]){GRID_BEGIN_THREADS, 1, 1});
  emit_workspace(out, launch, 0);
  emit_i32(out, launch, groups);
  unsigned grid[3] = {(unsigned)ceil_div(r->hidden, g->units), (unsigned)groups, 1};
  launch = emit_kernel(out, text_get(&text), "recurrent_grid_kernel", grid, (unsigned[]){GRID_THREADS, 1, 1});
  launch->cooperative = true;
  launch->shared_bytes = (unsigned)grid_bytes(r, g);
  site_arguments(out, launch, r->site);
  emit_arguments(out, launch, r->arguments);
  emit_workspace(out, launch, 0);
  emit_workspace(out, launch, counters);
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
  GridSteps grid = {way->config[1], way->config[2], way->config[3]};
  if (way->config[0] == WAY_GRID) {
    if (!takes_grid(r, &grid)) FAIL(ERROR_UNSUPPORTED, "its blocks are not all in place at once here");
    return emit_grid(r, &grid, out);
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
    add_kernel(&text, r, "recurrent_project", arena_printf(out->arena, "%d", PROJECT_THREADS), "In::A *out",
               "  begin_kernel();\n", few ? "project_warp(in, out)" : "project_tile(in, out)");
  add_kernel(&text, r, "recurrent_steps_kernel",
             arena_printf(out->arena, "%d", step_weights(r) <= PERSISTENT_BYTES ? ALONE_THREADS : STEP_THREADS),
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
