// The general implementation for convolutions and transposed convolutions (simt_conv.cuh): every element type and layout. K runs in the order in
// which the filters lie flat: channels fastest, or as ONNX stores them; constant filters that lie otherwise, phased ones always, are repacked.
#include "kernels/tile/simt_config.h"
#include "kernels/conv/conv.h"
#include "kernels/conv/conv_sizes.h"

static bool supports(const Site *site) {
  ConvProblem p;
  return conv_problem(site, &p);
}

typedef struct SizedConv {
  ConvProblem problem;
  ConvSizes sizes;
} SizedConv;

static int ways_at(const Site *site, Rung rung, const Way *only, const void *context, Way *out, int limit) {
  const SizedConv *c = context;
  TiledProduct product = conv_product(&c->problem, site->inputs[0].dtype);
  conv_sizes_round(&c->sizes, rung, &product);
  return simt_ways(site, &product, c->problem.accumulator, only, out, limit);
}

static int ways(const Site *site, const Machine *machine, Way *out, int limit) {
  SizedConv c;
  if (!conv_problem(site, &c.problem)) return 0;
  c.sizes = conv_sizes(site, &site->inputs[0], &c.problem);
  return ways_of_sizes(site, c.sizes.rows.open, ways_at, &c, out, limit);
}

typedef struct FilterLayout {
  bool flat, channels_fast, pack;
  int64_t pitch;  // elements from one filter to the next
} FilterLayout;

// Whether a filter's K elements lie one after the other, channels or taps fastest.
static bool filters_flat(const ConvProblem *p, bool channels_fast) {
  int64_t next = channels_fast ? p->channels : 1;
  for (int i = 2; i >= 0; i--) {
    if (p->kernel[i] > 1 && p->w_tap[i] != next) return false;
    next *= p->kernel[i];
  }
  return p->channels == 1 || p->w_channel == (channels_fast ? 1 : p->taps);
}

static FilterLayout filter_layout(const Site *site, const ConvProblem *p) {
  bool constant = site->inputs[1].constant != NULL, vectors = conv_x_copy(site, p) > (int)dtype_size(site->inputs[0].dtype);
  if (p->phased) return (FilterLayout){constant, true, constant, constant ? p->taps * p->channels : 0};
  if (filters_flat(p, true)) return (FilterLayout){true, true, false, p->w_filter};
  if (filters_flat(p, false) && !(vectors && constant)) return (FilterLayout){true, false, false, p->w_filter};
  if (constant) return (FilterLayout){true, true, true, p->k};
  return (FilterLayout){false, true, false, 0};
}

typedef struct Binding {
  int packed;
} Binding;
static void bind(Emission *emission, Launch *launch, const void *context) {
  const Binding *binding = context;
  emit_buffer(emission, launch, BUFFER_INPUT, 0);
  if (binding->packed >= 0) emit_buffer(emission, launch, BUFFER_PACKED, binding->packed);
  else emit_buffer(emission, launch, BUFFER_INPUT, 1);
}

// Elements of a flat filter that may be read at once.
static int filter_vector(const Site *site, const ConvProblem *p, const FilterLayout *layout, const SimtTile *t) {
  int vector = 16 / (int)dtype_size(site->inputs[1].dtype);
  int64_t offset = layout->pack ? 0 : site->inputs[1].offset, group = layout->pack ? p->filters * layout->pitch : p->w_group;
  int64_t start = p->phased ? p->channels : 0;  // phases begin at any tap
  while (vector > 1 && (layout->pitch % vector || offset % vector || group % vector || start % vector)) vector /= 2;
  return simt_vector(vector, true, p->filters, p->k, t, t->bn);
}

static Status lower(const Site *site, const Way *way, const Machine *machine, Emission *out) {
  ConvProblem p;
  if (!conv_problem(site, &p)) FAIL(ERROR_UNSUPPORTED, "simt_conv does not take this convolution");
  if (p.m * p.filters * p.groups == 0) return OK;
  const SimtTile *t = &simt_tiles[way->config[0]];
  FilterLayout layout = filter_layout(site, &p);
  int size = (int)dtype_size(site->inputs[0].dtype);
  int va = layout.channels_fast ? simt_vector(conv_x_copy(site, &p) / size, true, p.m, p.channels, t, t->bm) : 1;
  int vb = layout.flat ? filter_vector(site, &p, &layout, t) : 1;
  Binding binding = {.packed = -1};
  if (layout.pack) TRY(conv_pack_filters(out, site, &p, 1, &layout.pitch, &binding.packed));
  const char *x = device_type(site->inputs[0].dtype), *w = device_type(site->inputs[1].dtype);

  Text text = text_new(out->arena);
  text_add(
      &text,
      "#include \"kernels/common/output.cuh\"\n#include \"kernels/conv/window.cuh\"\nstruct Problem {\n  typedef %s Offset;\n",
      conv_offsets_fit(site, &p) ? "int" : "i64");
  ConvSizes of = conv_sizes(site, &site->inputs[0], &p);
  conv_emit_geometry(&text, &p, of.rows.open);
  text_add(&text, "  static constexpr int BM = %d, BN = %d, BK = %d, TM = %d, TN = %d, VA = %d, VB = %d;\n", t->bm, t->bn,
           t->bk, t->tm, t->tn, va, vb);
  text_add(&text, "  static constexpr bool C_FAST = %d, FLAT_FILTERS = %d;\n", layout.channels_fast, layout.flat);
  text_add(
      &text,
      "  static constexpr i64 B_N = %lldll, W_FILTER = %lldll, W_C = %lldll, W_D = %lldll, W_H = %lldll, W_W = %lldll;\n};\n",
      (long long)layout.pitch, (long long)p.w_filter, (long long)p.w_channel, (long long)p.w_tap[0], (long long)p.w_tap[1],
      (long long)p.w_tap[2]);
  int64_t w_group = layout.pack ? p.filters * layout.pitch : p.w_group;
  KernelArguments arguments = {.arena = out->arena, .table = of.output};
  OutputWalk output = conv_sizes_output(site, &p, &of);
  Text declarations = text_new(out->arena);
  const char *sizes = conv_sizes_emit(&declarations, "Problem::Sizes", &of, &arguments);
  const char *body =
      conv_body(out->arena, arena_printf(out->arena, "simt_conv<Problem, %s, %s, %s>", x, w, device_type(p.accumulator)), &p,
                sizes, w_group, layout.flat, "");
  TiledKernel kernel = {.name = "simt_conv",
                        .operands = arena_printf(out->arena, "const %s *x, const %s *w", x, w),
                        .body = body,
                        .output = &output,
                        .accumulator = p.accumulator,
                        .threads = simt_threads(t),
                        .bm = t->bm,
                        .bn = t->bn,
                        .bk = t->bk,
                        .splits = way->config[1],
                        .neighbours = p.phases,
                        .k = extent_static(p.k),
                        .declarations = text_get(&declarations),
                        .rows = of.rows,
                        .arguments = &arguments};
  return tiled_kernel_emit(&kernel, site, &text, "kernels/conv/simt_conv.cuh", bind, &binding, out);
}

const Implementation cuda_simt_conv = {
    .name = "simt_conv",
    .backend = BACKEND_CUDA,
    .op = &op_conv,
    .writes_anywhere = true,
    .general = true,
    .supports = supports,
    .ways = ways,
    .lower = lower,
};
const Implementation cuda_simt_conv_transpose = {
    .name = "simt_conv",
    .backend = BACKEND_CUDA,
    .op = &op_conv_transpose,
    .writes_anywhere = true,
    .general = true,
    .supports = supports,
    .ways = ways,
    .lower = lower,
};
