// dft: a block for each line; see dft.cuh. The sums are those of the definition, n steps for each output, which is faster than memory
// for the lengths of audio and image models (up to about a thousand).
#include "base/checked.h"
#include "kernels/common/points.h"
#include "kernels/fft/fft.h"

enum { THREADS = 256, SHARED_LIMIT = 48 * 1024 };

static bool supports(const Site *site) { return true; }

static int ways(const Site *site, const Machine *machine, Way *out, int limit) {
  out[0] = (Way){.name = "definition"};
  return 1;
}

static Status lower(const Site *site, const Way *way, const Machine *machine, Emission *out) {
  const Node *node = site->node;
  const TensorDesc *x = &site->inputs[0], *y = &site->outputs[0];
  Arena *arena = out->arena;
  int axis = (int)node_int(node, "axis", 0), parts = x->rank - 1, count;
  bool inverse = node_int(node, "inverse", 0) != 0, onesided = node_int(node, "onesided", 0) != 0,
       mirrored = inverse && onesided;
  const Dim *length = node_dims(node, "length", &count);
  int64_t in = x->dims[axis], n = count == 1 ? length[0] : mirrored ? 2 * (in - 1) : in;
  if (desc_count(y) == 0) return OK;
  if (n < 1 || n > INT32_MAX) FAIL(ERROR_INVALID_MODEL, "a transform of length %lld", (long long)n);
  TensorDesc lines = desc_with_extent(arena, y, axis, extent_static(1));
  lines = desc_with_extent(arena, &lines, parts, extent_static(1));
  Points points = points_begin_blocks(site, arena, "dft", "", &lines, THREADS);
  Text *text = &points.body;
  const char *sums = x->dtype == DTYPE_F64 ? "double" : "float", *dtype = dtype_name(x->dtype);
  bool shared = (size_t)n * (x->dtype == DTYPE_F64 ? 32 : 16) <= SHARED_LIMIT;
  const char *names[MAX_RANK] = {0};
  names[axis] = "t";
  names[parts] = "0";
  const char *real_in = points_offset(&points, x, names);
  names[parts] = "1";
  const char *imaginary_in = points_offset(&points, x, names);
  names[axis] = "k";
  const char *imaginary_out = points_offset(&points, y, names);
  names[parts] = "0";
  const char *real_out = points_offset(&points, y, names);

  text_add(&points.before, "#include \"kernels/fft/dft.cuh\"\n");
  text_add(text, "  typedef %s A;\n  typedef Element_%s E;\n  constexpr int N = %lld;\n", sums, dtype, (long long)n);
  text_add(text, "  auto load = [=](int t) {\n");
  if (mirrored) text_add(text, "    const bool upper = t > N / 2, real = t == 0 || 2 * t == N;\n    if (upper) t = N - t;\n");
  text_add(text, "    Complex<A> value = {0, 0};\n    if (t < %lld) {\n      value.real = E::get(x0[%s]);\n", (long long)in,
           real_in);
  if (x->dims[parts] == 2) text_add(text, "      value.imaginary = E::get(x0[%s]);\n", imaginary_in);
  text_add(text, "    }\n");
  if (mirrored) text_add(text, "    value.imaginary = real ? 0 : upper ? -value.imaginary : value.imaginary;\n");
  text_add(
      text,
      "    return value;\n  };\n  auto store = [=](int k, Complex<A> value) {\n    y0[%s] = E::set((E::Value)value.real);\n",
      real_out);
  if (y->dims[parts] == 2) text_add(text, "    y0[%s] = E::set((E::Value)value.imaginary);\n", imaginary_out);
  text_add(text, "  };\n  %s<A, N, %s, %d>(%lld, (A)1%s, load, store);\n", shared ? "dft_shared" : "dft_direct",
           inverse ? "true" : "false", THREADS, (long long)y->dims[axis], inverse ? " / N" : "");
  points_end(&points, out);
  return OK;
}

const Implementation cuda_dft = {
    .name = "dft",
    .backend = BACKEND_CUDA,
    .op = &op_dft,
    .general = true,
    .supports = supports,
    .ways = ways,
    .lower = lower,
};
