// The tactic for convolutions on tensor cores (mma_conv.cuh). It wants channels fastest in x, or takes single elements where they are not,
// and repacks constant filters unless they already lie as [filter][tap][channel] on 16-byte lines.
#include "kernels/common/mma_config.h"
#include "kernels/conv/conv.h"
#include "kernels/conv/conv_problem.h"

enum { TAP_BITS = 32, MIN_GROUP = 8 };

typedef struct MmaConv {
  ConvProblem p;
  DType dtype;
  bool plain, pack;
  int64_t a_outer, b_outer;
  int copy_a, copy_b;  // bytes
} MmaConv;

// A 1x1 convolution without strides or padding over an image whose positions are evenly spaced is a plain product.
static bool is_plain(const ConvProblem *p, int64_t *outer) {
  int64_t runs[4] = {p->images, p->in[0], p->in[1], p->in[2]},
          strides[4] = {p->x_image, p->x_space[0], p->x_space[1], p->x_space[2]};
  int64_t next = 0, extent = 1;
  if (p->x_channel != 1) return false;
  for (int i = 0; i < 3; i++)
    if (p->kernel[i] != 1 || p->stride[i] != 1 || p->pad[i] != 0 || p->in[i] != p->out[i]) return false;
  *outer = 0;
  for (int i = 3; i >= 0; i--) {
    if (runs[i] == 1) continue;
    if (extent == 1) *outer = strides[i];
    else if (strides[i] != next) return false;
    extent *= runs[i];
    next = *outer * extent;
  }
  return true;
}

// The filters as they lie are already what the kernel reads.
static bool filters_ready(const Site *site, const ConvProblem *p) {
  const TensorDesc *w = &site->inputs[1];
  int64_t expected = p->channels;
  int chunk = 16 / (int)dtype_size(w->dtype);
  if (p->channels > 1 && p->w_channel != 1) return false;
  for (int i = 2; i >= 0; i--) {
    if (p->kernel[i] > 1 && p->w_tap[i] != expected) return false;
    expected *= p->kernel[i];
  }
  return w->offset % chunk == 0 && p->w_filter % chunk == 0 && p->w_group % chunk == 0;
}

static bool describe(const Site *site, MmaConv *out) {
  if (!conv_problem(site, &out->p)) return false;
  const ConvProblem *p = &out->p;
  out->dtype = site->inputs[0].dtype;
  int size = (int)dtype_size(out->dtype);
  if (site->inputs[1].dtype != out->dtype || !mma_dtype_supported(site, out->dtype) || p->accumulator != DTYPE_F32 || p->k == 0)
    return false;
  if (p->groups > 1 && (p->channels % MIN_GROUP || p->filters < MIN_GROUP)) return false;
  out->plain = is_plain(p, &out->a_outer);
  if (!out->plain && p->kernel[0] + p->kernel[1] + p->kernel[2] > TAP_BITS) return false;
  if (!out->plain && !conv_offsets_fit(site, p)) return false;
  out->copy_a = conv_x_copy(site, p);
  out->pack = !filters_ready(site, p);
  if (out->pack && !site->inputs[1].constant) return false;
  out->copy_b = 16;
  out->b_outer = out->pack ? (p->k + 16 / size - 1) / (16 / size) * (16 / size) : p->w_filter;
  return true;
}

static bool supports(const Site *site) {
  MmaConv c;
  return describe(site, &c);
}

static int candidates(const Site *site, CudaContext *cuda, Candidate *out, int limit) {
  (void)cuda;
  MmaConv c;
  if (!describe(site, &c)) return 0;
  TiledProduct product = {c.p.m, c.p.filters, c.p.k, c.p.groups, c.dtype};
  return mma_candidates(site, &product, out, limit);
}

static void bind(Emission *emission, Launch *launch, const void *context) {
  const int *packed = context;
  emit_buffer(emission, launch, BUFFER_INPUT, 0);
  if (*packed >= 0) emit_buffer(emission, launch, BUFFER_PACKED, *packed);
  else emit_buffer(emission, launch, BUFFER_INPUT, 1);
}

static Status emit(const Site *site, const Candidate *candidate, CudaContext *cuda, Emission *out) {
  (void)cuda;
  MmaConv c;
  if (!describe(site, &c)) FAIL(ERROR_UNSUPPORTED, "mma_conv does not take this convolution");
  const ConvProblem *p = &c.p;
  const int *config = candidate->config;
  if (p->m * p->filters == 0) return OK;
  int packed = -1, chunk = 16 / (int)dtype_size(c.dtype);
  if (c.pack) packed = conv_pack_filters(out, site, p, chunk, &c.b_outer);
  const char *type = device_type(c.dtype);

  Text text = text_new(out->arena);
  mma_emit_includes(&text, candidate);
  text_add(&text, "struct Problem {\n");
  conv_emit_geometry(&text, p);
  mma_emit_tile(&text, candidate, c.dtype);
  text_add(&text, "  static constexpr int COPY_A = %d, COPY_B = %d;\n", c.copy_a, c.copy_b);
  text_add(&text, "  static constexpr bool A_K_FAST = true, B_K_FAST = true, C_FAST = true, PLAIN = %d, WHOLE_K = %d;\n",
           c.plain, p->k % config[MMA_BK] == 0);
  text_add(&text, "  static constexpr i64 A_OUTER = %lldll, B_OUTER = %lldll;\n};\n", (long long)c.a_outer,
           (long long)c.b_outer);
  int64_t w_group = c.pack ? p->filters * c.b_outer : p->w_group;
  const char *body = arena_printf(
      out->arena, "  mma_conv<Problem, %s>(x + (i64)batch * %lldll, w + (i64)batch * %lldll, tile, k_begin, k_end, output);\n",
      mma_tile_type(out->arena, candidate, c.dtype), (long long)(p->channels * p->x_channel), (long long)w_group);
  TiledKernel kernel = {.name = "mma_conv",
                        .operands = arena_printf(out->arena, "const %s *x, const %s *w", type, type),
                        .body = body,
                        .output = &p->output,
                        .accumulator = DTYPE_F32,
                        .threads = mma_threads(candidate),
                        .bm = config[MMA_BM],
                        .bn = config[MMA_BN],
                        .bk = config[MMA_BK],
                        .splits = config[MMA_SPLITS],
                        .k = p->k,
                        .shared_bytes = (unsigned)mma_shared_bytes(candidate, c.dtype)};
  return tiled_kernel_emit(&kernel, site, &text, "kernels/conv/mma_conv.cuh", bind, &packed, out);
}

const Tactic mma_conv_tactic = {"mma_conv", &op_conv, false, supports, candidates, emit};
