// det: a block for each matrix, which it copies to the workspace as doubles and eliminates there.
#include "base/checked.h"
#include "kernels/common/points.h"
#include "kernels/linear/linear.h"

enum { THREADS = 128 };

static bool supports(const Site *site) { return true; }

static int ways(const Site *site, const Machine *machine, Way *out, int limit) {
  out[0] = (Way){.name = "elimination"};
  return 1;
}

static Status lower(const Site *site, const Way *way, const Machine *machine, Emission *out) {
  const TensorDesc *x = &site->inputs[0], *y = &site->outputs[0];
  int64_t n = x->dims[x->rank - 1], count = desc_count(y);
  size_t bytes;
  if (count == 0) return OK;
  if (!checked_mul((size_t)(count * n), (size_t)n * sizeof(double), &bytes) || n > INT32_MAX)
    FAIL(ERROR_OUT_OF_MEMORY, "determinants of %lld matrices of size %lld", (long long)count, (long long)n);
  out->workspace_bytes = MAX(out->workspace_bytes, bytes);
  const char *names[MAX_RANK] = {0};
  names[x->rank - 2] = arena_printf(out->arena, "(e / %lld)", (long long)MAX(n, 1));
  names[x->rank - 1] = arena_printf(out->arena, "(e %% %lld)", (long long)MAX(n, 1));
  Points points = points_begin_blocks(site, out->arena, "det", ", double *work", y, THREADS);
  Text *text = &points.body;
  text_add(&points.before, "#include \"kernels/linear/det.cuh\"\n");
  text_add(text,
           "  double *a = work + (i64)point * %lldll;\n  for (i64 e = threadIdx.x; e < %lldll; e += %d) a[e] = "
           "Element_%s::get(x0[%s]);\n",
           (long long)(n * n), (long long)(n * n), THREADS, dtype_name(x->dtype), points_offset(&points, x, names));
  text_add(text, "  const double value = block_determinant<%d>(a, %lld);\n  if (threadIdx.x == 0) y0[%s] = %s;\n", THREADS,
           (long long)n, points_offset(&points, y, NULL), stored_expression(out->arena, y->dtype, DTYPE_F64, "value"));
  emit_workspace(out, points_end(&points, out), 0);
  return OK;
}

const Implementation cuda_det = {
    .name = "det",
    .backend = BACKEND_CUDA,
    .op = &op_det,
    .general = true,
    .supports = supports,
    .ways = ways,
    .lower = lower,
};
