// The implementations for convolutions and transposed convolutions on tensor cores (mma_conv.cuh). They want channels fastest in x, or take single
// elements where they are not, and repack constant filters unless they already lie as [filter][tap][channel] on 16-byte lines.
//
// A transposed convolution is made phase by phase, or as one product whose columns are phase and filter: with a kernel no larger than the
// stride that is a plain product whose store shuffles pixels, and with few filters it fills a tile that phases alone would leave empty.
//
// An image of few channels, as the first of a network, is also offered widened: a kernel before writes channels side by side with zeros behind
// them (widen_channels.cuh), so that a tap is one copy instead of single elements.
//
// Windows that lie side by side, as those that cut an image into patches, are windows of a single column over more channels.
//
// Narrow groups are also offered joined: several as one, whose filters have zeros for each other's channels, fill a tile's columns and read whole lines.
#include "kernels/tile/mma_config.h"
#include "kernels/tile/prologue_source.h"
#include "kernels/conv/conv.h"
#include "kernels/conv/conv_sizes.h"

enum { TAP_BITS = 32, MIN_GROUP = 8, MOST_WAYS = 3, WIDE_STEP = 4, MOST_NARROW = 7 };
enum { LEAST_JOINED = 4, JOINED_FROM = 32, JOINED_TO = 64 };  // channels and filters: of a group, and of those that are one

// What a way makes of the site's own problem: nothing else; all phases as one product; several groups as one; channels of the columns of a window; channels and zeros
// behind them.
typedef enum ConvForm { FORM_OWN, FORM_PHASES_MERGED, FORM_GROUPS_JOINED, FORM_COLUMNS, FORM_WIDENED } ConvForm;

// One way to make the site.
typedef struct MmaConv {
  ConvForm form;
  ConvProblem own, p;   // the site's, and the one that the kernel computes
  ConvSizes sizes;      // of p
  MergedPhases window;  // FORM_PHASES_MERGED
  DType dtype;
  bool plain, pack;
  int64_t a_outer, b_outer;
  int copy_a, copy_b;  // bytes
  int64_t wide;        // FORM_WIDENED: channels of the image that p reads
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

static bool prologue_fits(const Site *site, const ConvProblem *p) {
  for (int i = 0; i < 3 && site->prologue; i++)
    if (p->kernel[i] != 1 || p->pad[i] != 0 || p->stride[i] * (p->out[i] - 1) >= p->in[i]) return false;
  return !site->prologue || (!p->axis[0].phases && p->groups == 1 && prologue_supported(site, 1, p->m, p->filters));
}

// What follows from the problem; false where the kernel cannot take it. read: the site with the image and the filters as the kernel reads them.
static bool complete(const Site *site, const Site *read, MmaConv *out) {
  const ConvProblem *p = &out->p;
  int size = (int)dtype_size(out->dtype), chunk = 16 / size;
  REQUIRE(site, p->k > 0, "there is nothing to sum");
  out->plain = !p->phased && is_plain(p, &out->a_outer);
  REQUIRE(site, out->plain || p->kernel[0] + p->kernel[1] + p->kernel[2] <= TAP_BITS, "its windows have too many taps");
  REQUIRE(site, out->plain || conv_offsets_fit(read, p), "offsets into the image do not fit 32 bits");
  out->sizes = conv_sizes(site, &read->inputs[0], p);
  out->copy_a = conv_x_copy(read, p);
  out->copy_b = 16;
  // A phase's taps begin at any tap of a filter.
  while (p->phased && p->channels * size % out->copy_b) out->copy_b /= 2;
  out->b_outer = !out->pack ? p->w_filter : p->phased ? p->taps * p->channels : (p->k + chunk - 1) / chunk * chunk;
  return true;
}

// The same over an image with channels fastest and zeros behind them up to whole steps.
static bool widen(const Site *site, const MmaConv *as_it_is, MmaConv *out) {
  const TensorDesc *x = &site->inputs[0];
  int64_t channels = as_it_is->p.channels, wide = (channels + WIDE_STEP - 1) / WIDE_STEP * WIDE_STEP;
  if (as_it_is->p.phased || as_it_is->p.groups > 1 || channels > MOST_NARROW || as_it_is->copy_a >= 8 || site->prologue)
    return false;
  if (!site->inputs[1].constant) return false;
  TensorDesc inputs[2] = {*x, site->inputs[1]};
  OpenDims open = {.dims[1] = extent_static(wide), .strides[1] = extent_static(1)};
  TensorDesc *image = &inputs[0];
  image->dims[1] = wide, image->strides[1] = 1, image->offset = 0, image->constant = NULL, image->open = &open;
  Extent stride = extent_static(wide);
  for (int i = x->rank - 1; i >= 0; i--) {
    if (i == 1) continue;
    open.dims[i] = desc_extent(x, i), open.strides[i] = stride;
    image->strides[i] = stride.now;
    stride = extent_mul(site->dims, stride, open.dims[i]);
  }
  Site read = *site;
  read.inputs = inputs;
  *out = (MmaConv){.form = FORM_WIDENED, .own = as_it_is->own, .wide = wide, .dtype = as_it_is->dtype, .pack = true};
  return desc_count(image) <= INT32_MAX && conv_problem(&read, &out->p) && complete(site, &read, out) && !out->plain;
}

// Groups joined by twos, fours and so on; at most MOST_WAYS - 1 ways.
static int join(const Site *site, const ConvProblem *own, DType dtype, MmaConv *ways) {
  int count = 0;
  if (own->groups == 1 || MIN(own->channels, own->filters) < LEAST_JOINED || !site->inputs[1].constant) return 0;
  for (int64_t groups = 2; groups * MAX(own->channels, own->filters) <= JOINED_TO; groups *= 2) {
    MmaConv *way = &ways[count];
    *way = (MmaConv){.form = FORM_GROUPS_JOINED, .own = *own, .dtype = dtype, .pack = true};
    if (!conv_join_groups(own, groups, &way->p) || MIN(way->p.channels, way->p.filters) < JOINED_FROM) continue;
    if (way->p.channels % MIN_GROUP == 0 && complete(site, site, way)) count++;
  }
  return count;
}

// The ways to make the site, at most MOST_WAYS, of equal ones the better first.
static int describe(const Site *site, MmaConv *ways) {
  ConvProblem p;
  DType dtype = site->inputs[0].dtype;
  if (!conv_problem(site, &p)) return 0;
  REQUIRE(site, site->inputs[1].dtype == dtype && mma_dtype_supported(site, dtype), MMA_TYPES);
  REQUIRE(site, prologue_fits(site, &p), "the program in front does not fit windows, groups or sizes");
  REQUIRE(site, p.accumulator == DTYPE_F32, "its sums are not in f32");
  if (p.groups > 1 && (p.channels % MIN_GROUP || p.filters < MIN_GROUP)) {
    int joined = join(site, &p, dtype, ways);
    REQUIRE(site, joined, "its groups are too narrow for tiles, and cannot be joined");
    return joined;
  }
  bool pack = p.phased || !filters_ready(site, &p);
  REQUIRE(site, !pack || site->inputs[1].constant, "filters lie in another order than tiles read, and are not constant");
  int count = 0;
  MmaConv *merged = &ways[0];
  *merged = (MmaConv){.form = FORM_PHASES_MERGED, .own = p, .dtype = dtype, .pack = true};
  if (p.phased && conv_merge_phases(site, &p, &merged->window, &merged->p) && complete(site, site, merged)) count++;
  if (count && p.phases == 1) return count;  // the same
  ways[count] = (MmaConv){.own = p, .p = p, .dtype = dtype, .pack = pack};
  if (conv_merge_columns(&p, &ways[count].p)) ways[count].form = FORM_COLUMNS;
  if (!complete(site, site, &ways[count])) return count;
  count++;
  return count + (p.groups > 1 ? join(site, &p, dtype, &ways[count]) : widen(site, &ways[count - 1], &ways[count]));
}

static size_t wide_bytes(const MmaConv *c) {
  return (size_t)(c->p.images * c->p.in[0] * c->p.in[1] * c->p.in[2]) * (size_t)c->wide * dtype_size(c->dtype);
}

static bool supports(const Site *site) {
  MmaConv ways[MOST_WAYS];
  return describe(site, ways) > 0;
}

// What memory sees is the image itself, once before and once in the product, not its repeats.
static void tell_widened(const Site *site, const MmaConv *c, TiledProduct *product) {
  const ConvProblem *p = &c->p;
  product->name = " wide";
  product->elements = (double)wide_bytes(c) / (double)dtype_size(c->dtype) + (double)p->k * (double)p->filters +
                      (double)p->m * (double)p->filters;
  product->before = cost_of_moving(site->device, 2 * (double)wide_bytes(c));
}

static const char *joined_name(const MmaConv *c) {
  static const char *const names[] = {"", " joined2", " joined4", " joined8", " joined16"};
  int doublings = 0;
  while (c->p.groups << doublings < c->own.groups) doublings++;
  return names[doublings];
}

typedef struct Forms {
  MmaConv list[MOST_WAYS];
  int count;
} Forms;

static int ways_at(const Site *site, Rung rung, const Way *only, const void *context, Way *out, int limit) {
  const Forms *forms = context;
  TiledProduct products[MOST_WAYS];
  for (int i = 0; i < forms->count; i++) {
    const MmaConv *form = &forms->list[i];
    products[i] = conv_product(&form->p, form->dtype);
    if (form->form == FORM_PHASES_MERGED && form->own.phases > 1) products[i].name = " merged";
    if (form->form == FORM_GROUPS_JOINED) products[i].name = joined_name(form);
    if (form->form == FORM_WIDENED) tell_widened(site, form, &products[i]);
    conv_sizes_round(&form->sizes, rung, &products[i]);
  }
  return mma_ways(site, products, forms->count, only, out, limit);
}

static int ways(const Site *site, const Machine *machine, Way *out, int limit) {
  Forms forms;
  forms.count = describe(site, forms.list);
  bool open = false;
  for (int i = 0; i < forms.count; i++) open = open || forms.list[i].sizes.rows.open;
  return ways_of_sizes(site, open, ways_at, &forms, out, limit);
}

typedef struct Operands {
  const Site *site;
  bool wide;
  size_t image;  // where the widened image lies in the workspace
  int packed;    // number of the packed filters, or -1
} Operands;

static void bind(Emission *emission, Launch *launch, const void *context) {
  const Operands *operands = context;
  if (operands->wide) emit_workspace(emission, launch, operands->image);
  else emit_buffer(emission, launch, BUFFER_INPUT, 0);
  if (operands->packed >= 0) emit_buffer(emission, launch, BUFFER_PACKED, operands->packed);
  else emit_buffer(emission, launch, BUFFER_INPUT, 1);
  prologue_arguments(emission, launch, operands->site);
}

// Behind the partial sums of a split.
static Status emit_widening(const Site *site, const MmaConv *c, int splits, Emission *out, Operands *operands) {
  enum { THREADS = 256, ALIGNMENT = 256 };
  ConvSizes sizes = conv_sizes_of_image(site, &c->own);
  KernelArguments arguments = {.arena = out->arena};
  Text text = text_new(out->arena), kernel = text_new(out->arena);
  const char *made = conv_sizes_emit(&kernel, "Image::Sizes", &sizes, &arguments);
  text_add(&text, "#include \"kernels/conv/widen_channels.cuh\"\nstruct Image {\n");
  conv_emit_geometry(&text, &c->own, sizes.rows.open);
  text_add(&text, "  static constexpr int WIDE = %lld;\n};\n", (long long)c->wide);
  if (sizes.rows.open) kernel_arguments_struct(&text, &arguments);
  const char *word = dtype_size(c->dtype) == 2 ? "u16" : "u32";
  text_add(&text, "%sextern \"C\" __global__ void __launch_bounds__(%d) widen_channels_kernel(const %s *x, %s *out",
           text_get(&kernel), THREADS, word, word);
  kernel_arguments_parameters(&text, &arguments);
  text_add(&text, ") {\n  begin_kernel();\n");
  if (sizes.rows.open) kernel_arguments_gather(&text, &arguments);
  text_add(&text, "  widen_channels<Image>(x, out, %s);\n}\n", made);
  size_t sums = splits > 1 ? (size_t)splits * (size_t)(c->p.m * c->p.filters) * sizeof(float) : 0;
  operands->image = align_up(sums, ALIGNMENT);
  unsigned grid[3] = {(unsigned)ceil_div(sizes.rows.now, THREADS), 1, 1}, block[3] = {THREADS, 1, 1};
  Launch *launch = emit_kernel(out, text_get(&text), "widen_channels_kernel", grid, block);
  launch->label = "widen_channels";
  emit_buffer(out, launch, BUFFER_INPUT, 0);
  emit_workspace(out, launch, operands->image);
  emit_arguments(out, launch, &arguments);
  out->workspace_bytes = MAX(out->workspace_bytes, operands->image + wide_bytes(c));
  return OK;
}

static Status pack_filters(const Site *site, MmaConv *c, Emission *out, int *packed) {
  int chunk = 16 / (int)dtype_size(c->dtype);
  *packed = -1;
  if (!c->pack) return OK;
  switch (c->form) {
    case FORM_GROUPS_JOINED: return conv_pack_joined(out, site, &c->own, &c->p, chunk, &c->b_outer, packed);
    case FORM_PHASES_MERGED: return conv_pack_merged(out, site, &c->own, &c->window, &c->p, chunk, &c->b_outer, packed);
    case FORM_COLUMNS: return conv_pack_filters(out, site, &c->own, chunk, &c->b_outer, packed);
    default: return conv_pack_filters(out, site, &c->p, c->p.phased ? 1 : chunk, &c->b_outer, packed);
  }
}

static void emit_problem(Text *text, const MmaConv *c, const Way *way) {
  const ConvProblem *p = &c->p;
  // Splits and the phases' taps end on whole pieces of BK.
  bool whole = (p->phased ? p->channels : p->k) % way->config[MMA_BK] == 0;
  mma_emit_includes(text, way);
  text_add(text, "#include \"kernels/conv/window.cuh\"\nstruct Problem {\n");
  conv_emit_geometry(text, p, c->sizes.rows.open);
  mma_emit_tile(text, way, c->dtype);
  text_add(text, "  static constexpr int COPY_A = %d, COPY_B = %d;\n", c->copy_a, c->copy_b);
  text_add(text, "  static constexpr bool A_K_FAST = true, B_K_FAST = true, C_FAST = true, PLAIN = %d, WHOLE_K = %d;\n",
           c->plain, whole);
  text_add(text, "  static constexpr i64 A_OUTER = %lldll, B_OUTER = %lldll;\n};\n", (long long)c->a_outer,
           (long long)c->b_outer);
}

static Status lower(const Site *site, const Way *way, const Machine *machine, Emission *out) {
  MmaConv ways[MOST_WAYS];
  const int *config = way->config;
  if (config[MMA_PRODUCT] >= describe(site, ways)) FAIL(ERROR_UNSUPPORTED, "mma_conv does not take this convolution");
  MmaConv *c = &ways[config[MMA_PRODUCT]];
  const ConvProblem *p = &c->p;
  if (p->m * p->filters == 0) return OK;
  Operands operands = {.site = site, .wide = c->form == FORM_WIDENED};
  TRY(pack_filters(site, c, out, &operands.packed));
  if (operands.wide) TRY(emit_widening(site, c, config[MMA_SPLITS], out, &operands));
  const char *type = device_type(c->dtype);
  Text text = text_new(out->arena);
  emit_problem(&text, c, way);
  size_t tile_bytes = (size_t)mma_shared_bytes(way, c->dtype);
  TRY(prologue_emit(&text, site, 1, split_depth(p->k, config[MMA_BK], config[MMA_SPLITS]), tile_bytes));
  Text parameters = text_new(out->arena), prologue = text_new(out->arena);
  text_add(&parameters, "const %s *x, const %s *w", type, type);
  prologue_parameters(&parameters, site);
  text_add(&prologue, ", ");
  prologue_construct(&prologue, site);
  int64_t w_group = c->pack ? p->filters * c->b_outer : p->w_group;
  KernelArguments arguments = {.arena = out->arena, .table = c->sizes.output};
  OutputWalk output = conv_sizes_output(site, p, &c->sizes);
  Text declarations = text_new(out->arena);
  const char *sizes = conv_sizes_emit(&declarations, "Problem::Sizes", &c->sizes, &arguments);
  const char *call = arena_printf(out->arena, "mma_conv<Problem, %s>", mma_tile_type(out->arena, way, c->dtype));
  TiledKernel kernel = {.name = "mma_conv",
                        .operands = text_get(&parameters),
                        .body = conv_body(out->arena, call, p, sizes, w_group, p->phased, text_get(&prologue)),
                        .output = &output,
                        .accumulator = DTYPE_F32,
                        .threads = mma_threads(way),
                        .bm = config[MMA_BM],
                        .bn = config[MMA_BN],
                        .bk = config[MMA_BK],
                        .splits = config[MMA_SPLITS],
                        .neighbours = p->phases,
                        .k = extent_static(p->k),
                        .shared_bytes = (unsigned)tile_bytes,
                        .declarations = text_get(&declarations),
                        .rows = c->sizes.rows,
                        .arguments = &arguments};
  return tiled_kernel_emit(&kernel, site, &text, "kernels/conv/mma_conv.cuh", bind, &operands, out);
}

const Implementation cuda_mma_conv = {
    .name = "mma_conv",
    .backend = BACKEND_CUDA,
    .op = &op_conv,
    .writes_anywhere = true,
    .takes_prologue = true,
    .supports = supports,
    .ways = ways,
    .lower = lower,
};
const Implementation cuda_mma_conv_transpose = {
    .name = "mma_conv",
    .backend = BACKEND_CUDA,
    .op = &op_conv_transpose,
    .writes_anywhere = true,
    .supports = supports,
    .ways = ways,
    .lower = lower,
};
