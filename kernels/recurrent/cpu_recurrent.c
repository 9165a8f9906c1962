// Recurrent layers on the CPU, in f32. What the input contributes to the gates of all steps is one matrix product; then each step is a product
// with the state by oneDNN (cpu_gemm.h without it), weights packed once where they are constant, and a scalar program for the gates (cell.h) run
// in strips. The state lives in the output: step t reads what step t - 1 wrote there.
#include "kernels/implementation.h"
#include <string.h>
#include "base/checked.h"
#include "kernels/common/cpu_gemm.h"
#include "kernels/common/onednn.h"
#include "kernels/packings.h"
#include "kernels/program/cpu_strips.h"
#include "kernels/recurrent/cell.h"

enum { X, W, R, BIAS, LENGTHS, H0, C0, PEEPHOLES, INPUTS };
// Products below this many multiplications stay on one thread: a step that takes ten microseconds does not pay for a fork.
enum { MOST_INPUTS = 16, WORTHY_PRODUCT = 1 << 20 };

// y[rows, columns] = a[rows, inner] * weights[columns, inner]' + bias
typedef struct Product {
  Onednn *one;  // NULL: a product of our own (cpu_gemm.h)
  int64_t count, columns;
  size_t packed_at;          // in the workspace, of our own weights that are not constant
  int64_t inner, first_row;  // of the weights of a direction
  void *packed[2];           // by direction; NULL: read where they lie
} Product;

typedef struct Gates {
  CpuStrips *strips[2];  // by direction
  int input_count;
  size_t scratch_bytes;
} Gates;

typedef struct RecurrentState {
  RecurrentSpec spec;
  int64_t steps, batch, input, hidden, rows;  // rows: gates * hidden
  bool has[INPUTS];
  bool split;  // gru whose candidate sees the state behind the reset gate
  int output_count;
  Product project, state, candidate;
  CellInputs cell, second;
  int z;
  Gates gates, update;
  size_t gates_at, recurrence_at, zero_at, c_at[2], z_at, reset_at, scratch_at;  // in the workspace
} RecurrentState;

static bool has_input(const Site *site, int index) { return index < site->node->input_count && !site->inputs[index].absent; }

// Rows that end early would each need their own order of steps.
static bool all_full(const TensorDesc *lengths, int64_t steps) {
  if (!lengths->constant) return false;
  for (int64_t i = 0; i < tensor_count(lengths->constant); i++)
    if (tensor_get_i(lengths->constant, i) != steps) return false;
  return true;
}

static bool supports(const Site *site) {
  for (int i = 0; i < site->node->input_count; i++)
    REQUIRE(site,
            !has_input(site, i) || i == LENGTHS || (site->inputs[i].dtype == DTYPE_F32 && desc_is_row_major(&site->inputs[i])),
            "an operand is not f32, or not row-major");
  for (int i = 0; i < site->node->output_count; i++)
    REQUIRE(site, desc_is_row_major(&site->outputs[i]), "a result is not row-major");
  REQUIRE(site, !has_input(site, LENGTHS) || all_full(&site->inputs[LENGTHS], site->inputs[X].dims[0]),
          "sequences may end early");
  REQUIRE(site, has_input(site, W) && desc_count(&site->inputs[X]) > 0 && desc_count(&site->outputs[0]) > 0,
          "there is nothing to compute");
  return true;
}

typedef struct Packing {
  Product *product;
  const OnednnTensor *plain;
  const float *weights;
} Packing;

static Status fill_packed(void *context, void *out) {
  const Packing *packing = context;
  return onednn_pack(packing->product->one, packing->plain, packing->weights, out);
}

static Status pack(const Site *site, Product *product, Arena *arena, const Tensor *constant, const OnednnTensor *plain,
                   int64_t rows, int directions) {
  Hash128 layout = onednn_weights_form(product->one);
  for (int d = 0; d < directions; d++) {
    int64_t first = (d * rows + product->first_row) * product->inner;
    Packing packing = {product, plain, (const float *)constant->data + first};
    Hash128 form = hash128_combine(layout, hash128_bytes(&first, sizeof first));
    TRY(packing_take(site, constant, form, onednn_weights_bytes(product->one), fill_packed, &packing, arena,
                     &product->packed[d]));
  }
  return OK;
}

static void pack_own(const Product *product, ThreadPool *pool, const float *weights, void *packed) {
  GemmSource source = {weights, 1, product->inner, product->columns, NULL, 1, product->inner};
  gemm_pack(GEMM_FLOATS, &source, pool, packed);
}

static Status pack_own_constants(Product *product, Arena *arena, ThreadPool *pool, const Tensor *constant,
                                 const RecurrentState *state) {
  size_t bytes = gemm_packed_bytes(GEMM_FLOATS, 1, product->inner, product->columns);
  for (int d = 0; d < state->spec.directions; d++) {
    const float *weights = (const float *)constant->data + (d * state->rows + product->first_row) * product->inner;
    TRY(arena_try_alloc(arena, bytes, 64, &product->packed[d]));
    pack_own(product, pool, weights, product->packed[d]);
  }
  return OK;
}

static OnednnTensor matrix(int64_t rows, int64_t columns) {
  return (OnednnTensor){.rank = 2, .dims = {rows, columns}, .strides = {columns, 1}};
}

// rows: of all gates, in the weights; the product takes `columns` of them from first_row on.
static Status make_product(const Site *site, Product *product, Arena *arena, ThreadPool *pool, int64_t count, int64_t inner,
                           int64_t columns, int64_t first_row, const RecurrentState *state, const Tensor *constant) {
  product->inner = inner;
  product->first_row = first_row;
  product->count = count;
  product->columns = columns;
  if (!onednn_library()) return constant ? pack_own_constants(product, arena, pool, constant, state) : OK;
  TRY(onednn_new(arena, count * inner * columns < WORTHY_PRODUCT ? NULL : pool, &product->one));
  OnednnTensor plain = {.rank = 2, .dims = {inner, columns}, .strides = {1, inner}};
  OnednnOperation operation = {.kind = ONEDNN_MATMUL, .x = matrix(count, inner), .weights = plain, .y = matrix(count, columns)};
  operation.weights.any = constant != NULL;
  if (state->has[BIAS]) operation.bias = matrix(1, columns);
  TRY(onednn_describe(product->one, &operation, NULL, 0, NULL));
  TRY(onednn_make(product->one));
  return constant ? pack(site, product, arena, constant, &plain, state->rows, state->spec.directions) : OK;
}

// [batch, hidden] with rows `stride` apart.
static TensorDesc rows_desc(const RecurrentState *state, int64_t stride) {
  return (TensorDesc){.dtype = DTYPE_F32, .rank = 2, .dims = {state->batch, state->hidden}, .strides = {stride, 1}};
}

static void make_gates(Gates *gates, Arena *arena, ThreadPool *pool, const RecurrentState *state, int direction,
                       const Program *program, const CellInputs *cell, int64_t state_rows) {
  TensorDesc inputs[MOST_INPUTS], outputs[2];
  int64_t dims[2] = {state->batch, state->hidden};
  static const bool reduced[MAX_RANK];
  for (int i = 0; i < MOST_INPUTS; i++) inputs[i] = rows_desc(state, state->hidden);
  for (int i = 0; i < 2; i++) outputs[i] = rows_desc(state, state->hidden);
  for (int k = 0; k < 4; k++) {
    if (cell->input_gates[k] >= 0) inputs[cell->input_gates[k]] = rows_desc(state, state->rows);
    if (cell->state_gates[k] >= 0) inputs[cell->state_gates[k]] = rows_desc(state, state_rows);
  }
  for (int k = 0; k < 3; k++)
    if (cell->peephole[k] >= 0)
      inputs[cell->peephole[k]] = (TensorDesc){.dtype = DTYPE_F32, .rank = 1, .dims = {state->hidden}, .strides = {1}};
  gates->input_count = program->input_count;
  Strips *strips = strips_new(arena, program, false, 2, dims, reduced, inputs, program->input_count, outputs);
  gates->strips[direction] = cpu_strips_new(arena, pool, strips, &gates->scratch_bytes);
}

static CellInputs no_inputs(void) {
  return (CellInputs){
      .input_gates = {-1, -1, -1, -1}, .state_gates = {-1, -1, -1, -1}, .h = -1, .c = -1, .peephole = {-1, -1, -1}};
}

static void make_cells(RecurrentState *state, Arena *arena, ThreadPool *pool) {
  for (int d = 0; d < state->spec.directions; d++) {
    state->cell = state->second = no_inputs();
    if (!state->split) {
      Program *program = cell_program(arena, &state->spec, d, state->has[PEEPHOLES], &state->cell);
      make_gates(&state->gates, arena, pool, state, d, program, &state->cell, state->rows);
      continue;
    }
    Program *reset = cell_reset_program(arena, &state->spec, d, &state->cell);
    make_gates(&state->gates, arena, pool, state, d, reset, &state->cell, 2 * state->hidden);
    Program *update = cell_update_program(arena, &state->spec, d, &state->second, &state->z);
    make_gates(&state->update, arena, pool, state, d, update, &state->second, state->hidden);
  }
}

static size_t reserve(size_t *bytes, int64_t floats) {
  size_t at = *bytes;
  *bytes += align_up((size_t)floats * sizeof(float), 256);
  return at;
}

static size_t scratch_of(const Product *product) { return product->one ? product->one->scratch_bytes : 0; }

static void reserve_workspace(RecurrentState *state, size_t *bytes) {
  int64_t block = state->batch * state->hidden;
  *bytes = 0;
  state->gates_at = reserve(bytes, state->steps * state->batch * state->rows);
  state->recurrence_at = reserve(bytes, state->batch * state->rows);
  state->zero_at = reserve(bytes, block);
  for (int i = 0; i < 2; i++) state->c_at[i] = reserve(bytes, block);
  state->z_at = reserve(bytes, block);
  state->reset_at = reserve(bytes, block);
  Product *products[] = {&state->project, &state->state, &state->candidate};
  for (int i = 0; i < 3; i++)
    if (!products[i]->one && !products[i]->packed[0])
      products[i]->packed_at =
          reserve(bytes, (int64_t)gemm_packed_bytes(GEMM_FLOATS, 1, products[i]->inner, products[i]->columns) / 4);
  state->scratch_at = *bytes;
  size_t scratch = MAX(MAX(scratch_of(&state->project), scratch_of(&state->state)), scratch_of(&state->candidate));
  *bytes += MAX(scratch, MAX(state->gates.scratch_bytes, state->update.scratch_bytes));
}

static Status open_state(const HostParameters *parameters, Arena *arena, ThreadPool *pool, void **out,
                         size_t *workspace_bytes) {
  const Site *site = parameters->site;
  RecurrentState *state = arena_new_of(arena, RecurrentState);
  const TensorDesc *x = &site->inputs[X];
  TRY(recurrent_read(site->node, &state->spec));
  state->steps = x->dims[0], state->batch = x->dims[1], state->input = x->dims[2];
  state->hidden = site->inputs[R].dims[2];
  state->rows = state->spec.gates * state->hidden;
  state->output_count = site->node->output_count;
  state->split = state->spec.kind == RECURRENT_GRU && !state->spec.linear_before_reset;
  for (int i = 0; i < INPUTS; i++) state->has[i] = has_input(site, i);
  const Tensor *w = site->inputs[W].constant, *r = site->inputs[R].constant;
  int64_t hidden = state->hidden, rows = state->rows;
  TRY(make_product(site, &state->project, arena, pool, state->steps * state->batch, state->input, rows, 0, state, w));
  TRY(make_product(site, &state->state, arena, pool, state->batch, hidden, state->split ? 2 * hidden : rows, 0, state, r));
  if (state->split) TRY(make_product(site, &state->candidate, arena, pool, state->batch, hidden, hidden, 2 * hidden, state, r));
  make_cells(state, arena, pool);
  reserve_workspace(state, workspace_bytes);
  *out = state;
  return OK;
}

typedef struct Run {
  const RecurrentState *state;
  const HostCall *call;
  char *workspace;
  void *scratch;
  int direction;
} Run;

static float *floats_at(const Run *run, size_t at) { return (float *)(void *)(run->workspace + at); }

typedef struct OwnRows {
  const float *a;
  float *y;
  int64_t inner, columns;
} OwnRows;

static void locate(const void *context, int64_t first, int count, const void **a, void **y) {
  const OwnRows *rows = context;
  for (int r = 0; r < count; r++) a[r] = rows->a + (first + r) * rows->inner, y[r] = rows->y + (first + r) * rows->columns;
}

static void multiply_own(const Run *run, const Product *product, const void *weights, const float *bias, const float *a,
                         float *y) {
  void *packed = product->packed[run->direction];
  ThreadPool *pool = product->count * product->inner * product->columns < WORTHY_PRODUCT ? NULL : run->call->pool;
  if (!packed) pack_own(product, pool, weights, packed = run->workspace + product->packed_at);
  OwnRows rows = {a, y, product->inner, product->columns};
  GemmProblem problem = {GEMM_FLOATS, product->count, product->columns, 1, product->inner, packed, locate, &rows};
  gemm_run(&problem, pool);
  for (int64_t i = 0; i < product->count && bias; i++)
    for (int64_t k = 0; k < product->columns; k++) y[i * product->columns + k] += bias[k];
}

// bias_half: 0 for what comes with the input, 1 for what comes with the state.
static Status multiply(const Run *run, const Product *product, int source, int bias_half, void *a, void *y) {
  const RecurrentState *state = run->state;
  int d = run->direction;
  float *unpacked = (float *)run->call->inputs[source] + (d * state->rows + product->first_row) * product->inner, *bias = NULL;
  if (state->has[BIAS]) bias = (float *)run->call->inputs[BIAS] + (2 * d + bias_half) * state->rows + product->first_row;
  if (!product->one) {
    multiply_own(run, product, unpacked, bias, a, y);
    return OK;
  }
  onednn_set(product->one, ONEDNN_X, a);
  onednn_set(product->one, ONEDNN_WEIGHTS, product->packed[d] ? product->packed[d] : unpacked);
  onednn_set(product->one, ONEDNN_Y, y);
  onednn_set(product->one, ONEDNN_SCRATCH, run->scratch);
  onednn_set(product->one, ONEDNN_BIAS, bias);
  return onednn_run(product->one);
}

static void set(void **inputs, int number, void *data) {
  if (number >= 0) inputs[number] = data;
}

static void compute(const Run *run, const Gates *gates, const CellInputs *cell, float *from_input, float *from_state, float *h,
                    float *c, float *z, int z_number, void *const *outputs) {
  const RecurrentState *state = run->state;
  void *inputs[MOST_INPUTS] = {0};
  int first = cell == &state->second ? 2 : 0;  // the second product gives the candidate alone
  for (int k = 0; k < 4; k++) {
    set(inputs, cell->input_gates[k], from_input + k * state->hidden);
    if (k >= first) set(inputs, cell->state_gates[k], from_state + (k - first) * state->hidden);
  }
  set(inputs, cell->h, h);
  set(inputs, cell->c, c);
  set(inputs, z_number, z);
  for (int k = 0; k < 3 && cell->peephole[k] >= 0; k++)
    set(inputs, cell->peephole[k], (float *)run->call->inputs[PEEPHOLES] + (run->direction * 3 + k) * state->hidden);
  cpu_strips_run(gates->strips[run->direction], run->call->pool, inputs, outputs, run->scratch);
}

// h, c: the state before; y, next_c: behind.
static Status step(const Run *run, float *from_input, float *h, float *c, float *y, float *next_c) {
  const RecurrentState *state = run->state;
  float *recurrence = floats_at(run, state->recurrence_at);
  TRY(multiply(run, &state->state, R, 1, h, recurrence));
  if (!state->split) {
    compute(run, &state->gates, &state->cell, from_input, recurrence, h, c, NULL, -1, (void *[]){y, next_c});
    return OK;
  }
  float *z = floats_at(run, state->z_at), *reset = floats_at(run, state->reset_at);
  compute(run, &state->gates, &state->cell, from_input, recurrence, h, NULL, NULL, -1, (void *[]){z, reset});
  TRY(multiply(run, &state->candidate, R, 1, reset, recurrence));
  compute(run, &state->update, &state->second, from_input, recurrence, h, NULL, z, state->z, (void *[]){y});
  return OK;
}

static Status run_direction(const Run *run) {
  const RecurrentState *state = run->state;
  const HostCall *call = run->call;
  int64_t block = state->batch * state->hidden, d = run->direction;
  size_t block_bytes = (size_t)block * sizeof(float);
  float *gates = floats_at(run, state->gates_at), *zero = floats_at(run, state->zero_at), *y = call->outputs[0];
  TRY(multiply(run, &state->project, W, 0, call->inputs[X], gates));
  memset(zero, 0, block_bytes);
  float *h = state->has[H0] ? (float *)call->inputs[H0] + d * block : zero;
  float *c = state->has[C0] ? (float *)call->inputs[C0] + d * block : zero;
  bool backwards = d == 1 || state->spec.reversed;
  for (int64_t s = 0; s < state->steps; s++) {
    int64_t t = backwards ? state->steps - 1 - s : s;
    float *next_h = y + (t * state->spec.directions + d) * block, *next_c = floats_at(run, state->c_at[s % 2]);
    TRY(step(run, gates + t * state->batch * state->rows, h, c, next_h, next_c));
    h = next_h, c = next_c;
  }
  if (state->output_count > 1) memcpy((float *)call->outputs[1] + d * block, h, block_bytes);
  if (state->output_count > 2) memcpy((float *)call->outputs[2] + d * block, c, block_bytes);
  return OK;
}

static Status run(void *context, const HostCall *call) {
  const RecurrentState *state = context;
  char *workspace = call->workspace;
  for (int d = 0; d < state->spec.directions; d++) {
    Run run = {state, call, workspace, workspace + state->scratch_at, d};
    TRY(run_direction(&run));
  }
  return OK;
}

static const HostRoutine routine = {"recurrent", open_state, run};

const Implementation cpu_recurrent = {
    .name = "steps",
    .backend = BACKEND_CPU,
    .op = &op_recurrent,
    .supports = supports,
    .ways = one_way,
    .host = &routine,
};
