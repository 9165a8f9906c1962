// Matrix products on the CPU without oneDNN, and those of integers (cpu_gemm.h). Batches that share b are rows of one product. A constant b is
// packed once.
#include <string.h>
#include "base/checked.h"
#include "kernels/packings.h"
#include "kernels/common/cpu_own.h"
#include "kernels/implementation.h"
#include "kernels/matmul/matmul.h"
#include "kernels/meaning.h"

typedef struct OwnMatmul {
  CpuOwn own;
  int64_t rows, columns, depth;  // of one product
  int64_t count;                 // products
  int batch_rank;
  int64_t batch[MAX_RANK];  // their dims
  int64_t a_strides[MAX_RANK], b_strides[MAX_RANK],
      y_strides[MAX_RANK];  // along these; of a and y in elements as the kernels see them
  int64_t a_row, y_row, b_row, b_column;
  char *packed;                    // of all distinct b, in the order of b's own batch dims; NULL: b is packed in each run
  size_t packed_bytes, packed_at;  // of one
  int64_t packed_strides[MAX_RANK];
} OwnMatmul;

static int64_t stride_along(const TensorDesc *desc, int axis, int rank) {
  int own = axis - (rank - desc->rank);
  return own < 0 || desc->dims[own] == 1 ? 0 : desc->strides[own];
}

static bool supports(const Site *site) { return cpu_own_supports(site); }

static void packed_strides(const TensorDesc *desc, int64_t last, int64_t *strides) {
  int64_t stride = last;
  strides[desc->rank - 1] = 1;
  for (int i = desc->rank - 2; i >= 0; i--) {
    strides[i] = stride;
    stride *= desc->dims[i];
  }
}

// a in the kernels' type, its rows packed; those of pairs hold an even count.
static void stage_a(OwnMatmul *m, TensorDesc *a) {
  const TensorDesc *site = &m->own.site.inputs[0];
  int rank = site->rank;
  *a = *site;
  a->dtype = cpu_own_dtype(m->own.kind);
  a->offset = 0;
  int64_t unit = gemm_unit_elements(m->own.kind), row = align_up(m->depth, unit);
  bool readable = site->dtype == a->dtype && row == m->depth && (m->depth == 1 || site->strides[rank - 1] == 1);
  if (!readable) packed_strides(a, row, a->strides);
  cpu_own_stage(&m->own, site, a, (size_t)(desc_count(a) / m->depth * row) * dtype_size(a->dtype));
}

// Where b has no batch and a and y walk theirs like rows, all are rows.
static void merge_batches(OwnMatmul *m) {
  int64_t rows = m->rows;
  for (int i = m->batch_rank - 1; i >= 0; i--) {
    if (m->batch[i] == 1) continue;
    if (m->b_strides[i] != 0 || m->a_strides[i] != m->a_row * rows || m->y_strides[i] != m->y_row * rows) return;
    rows *= m->batch[i];
  }
  m->rows = rows;
  m->count = 1;
  m->batch_rank = 0;
}

static void pack_one(const OwnMatmul *m, const void *b, ThreadPool *pool, void *packed) {
  GemmSource source = {b, 1, m->depth, m->columns, NULL, m->b_row, m->b_column};
  gemm_pack(m->own.kind, &source, pool, packed);
}

static Status fill_packed(void *context, void *out) {
  const OwnMatmul *m = context;
  const Tensor *constant = m->own.site.inputs[1].constant;
  int64_t matrix = m->depth * m->columns, matrices = tensor_count(constant) / matrix;
  Arena *scratch = arena_scratch();
  const char *data;
  Status status = cpu_own_constant(&m->own, scratch, (const void **)&data);
  for (int64_t i = 0; i < matrices && !status; i++)
    pack_one(m, data + i * matrix * 4, m->own.pool, (char *)out + (size_t)i * m->packed_bytes);
  arena_free(scratch);
  return status;
}

// Distinct matrices of a constant, by b's own batch index.
static Status pack_constant(OwnMatmul *m, const TensorDesc *b) {
  const Tensor *constant = b->constant;
  int64_t matrix = m->depth * m->columns, matrices = tensor_count(constant) / matrix, strides[MAX_RANK];
  int64_t form[] = {m->own.kind, m->depth, m->columns, (int64_t)m->packed_bytes};
  int rank = m->own.site.outputs[0].rank;
  dims_strides(constant->rank, constant->dims, strides);
  m->b_row = m->columns, m->b_column = 1;
  TRY(packing_take(&m->own.site, constant, cpu_own_form(&m->own, form, sizeof form), m->packed_bytes * (size_t)matrices,
                   fill_packed, m, m->own.arena, (void **)&m->packed));
  for (int i = 0; i < rank - 2; i++) {
    int own = i - (rank - constant->rank);
    m->packed_strides[i] = own < 0 || constant->dims[own] == 1 ? 0 : strides[own] / matrix;
  }
  return OK;
}

static Status open_state(const HostParameters *parameters, Arena *arena, ThreadPool *pool, void **state,
                         size_t *workspace_bytes) {
  const Site *site = parameters->site;
  OwnMatmul *m = arena_new_of(arena, OwnMatmul);
  const TensorDesc *b = &site->inputs[1], *y = &site->outputs[0];
  int rank = y->rank;
  int64_t strides[MAX_RANK];
  TRY(cpu_own_new(site, arena, pool, &m->own));
  m->rows = y->dims[rank - 2], m->columns = y->dims[rank - 1], m->depth = site->inputs[0].dims[site->inputs[0].rank - 1];
  TensorDesc a;
  stage_a(m, &a);
  packed_strides(y, m->columns, strides);
  cpu_own_result(&m->own, strides, m->columns == 1 || y->strides[rank - 1] == 1);
  m->a_row = a.dims[a.rank - 2] == 1 ? 0 : a.strides[a.rank - 2];
  m->y_row = m->own.result.strides[rank - 2];
  m->b_row = b->strides[b->rank - 2], m->b_column = b->strides[b->rank - 1];
  m->batch_rank = rank - 2;
  m->count = 1;
  for (int i = 0; i < rank - 2; i++) {
    m->batch[i] = y->dims[i];
    m->count *= y->dims[i];
    m->a_strides[i] = stride_along(&a, i, rank);
    m->b_strides[i] = stride_along(b, i, rank);
    m->y_strides[i] = m->own.result.strides[i];
  }
  m->packed_bytes = align_up(gemm_packed_bytes(m->own.kind, 1, m->depth, m->columns), 64);
  if (b->constant) TRY(pack_constant(m, b));
  else m->packed_at = cpu_own_reserve(&m->own, m->packed_bytes);
  merge_batches(m);
  cpu_own_finish(&m->own);
  *state = m;
  *workspace_bytes = m->own.workspace_bytes;
  return OK;
}

typedef struct Rows {
  const char *a;
  char *y;
  int64_t a_row, y_row;  // bytes
} Rows;

static void locate(const void *context, int64_t first, int count, const void **a, void **y) {
  const Rows *rows = context;
  for (int r = 0; r < count; r++) {
    a[r] = rows->a + (first + r) * rows->a_row;
    y[r] = rows->y + (first + r) * rows->y_row;
  }
}

static Status run(void *state, const HostCall *call) {
  OwnMatmul *m = state;
  const char *a = cpu_own_x(&m->own, call);
  char *y = cpu_own_y(&m->own, call);
  int32_t zero = m->own.kind == GEMM_QUADS ? cpu_own_zero(&m->own, call) : 0;
  int64_t a_size = (int64_t)dtype_size(cpu_own_dtype(m->own.kind)), index[MAX_RANK] = {0}, last_b = -1;
  for (int64_t i = 0; i < m->count; i++, index_next(m->batch_rank, m->batch, index)) {
    int64_t a_offset = 0, b_offset = 0, y_offset = 0, packed = 0;
    for (int k = 0; k < m->batch_rank; k++) {
      a_offset += index[k] * m->a_strides[k], b_offset += index[k] * m->b_strides[k];
      y_offset += index[k] * m->y_strides[k], packed += index[k] * m->packed_strides[k];
    }
    char *panels = m->packed ? m->packed + (size_t)packed * m->packed_bytes : (char *)call->workspace + m->packed_at;
    if (!m->packed && b_offset != last_b) pack_one(m, (const char *)call->inputs[1] + b_offset * 4, call->pool, panels);
    last_b = b_offset;
    Rows rows = {a + a_offset * a_size, y + y_offset * 4, m->a_row * a_size, m->y_row * 4};
    GemmProblem problem = {.kind = m->own.kind,
                           .rows = m->rows,
                           .columns = m->columns,
                           .taps = 1,
                           .depth = m->depth,
                           .packed = panels,
                           .zero = zero,
                           .locate = locate,
                           .context = &rows};
    gemm_run(&problem, call->pool);
  }
  cpu_own_pass(&m->own, call);
  return OK;
}

static const HostRoutine routine = {"gemm_matmul", open_state, run};

const Implementation cpu_own_matmul = {
    .name = "gemm_matmul",
    .backend = BACKEND_CPU,
    .op = &op_matmul,
    .supports = supports,
    .ways = one_way,
    .share = 0.4,
    .host = &routine,
};
