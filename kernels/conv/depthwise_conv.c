// How a GPU computes depthwise convolutions (depthwise_conv.cuh): one channel and one filter a group; f32, f16 and bf16, channels last or
// first.
#include <stdio.h>

#include "kernels/conv/conv.h"
#include "kernels/conv/conv_sizes.h"

enum { BLOCK = 128 };

static bool describe(const Site *site, ConvProblem *p) {
  const TensorDesc *x = &site->inputs[0], *w = &site->inputs[1];
  if (!conv_problem(site, p)) return false;
  REQUIRE(site, p->channels == 1 && p->filters == 1 && p->groups > 1,
          "it is not depthwise: groups have more than one channel or filter");
  REQUIRE(site, w->dtype == x->dtype && (x->dtype == DTYPE_F32 || x->dtype == DTYPE_F16 || x->dtype == DTYPE_BF16),
          "operands are not both f32, f16 or bf16");
  return true;
}

static bool supports(const Site *site) {
  ConvProblem p;
  return describe(site, &p);
}

// config: output positions a thread makes along a row.
static int ways(const Site *site, const Machine *machine, Way *out, int limit) {
  static const int widths[] = {4, 2, 8, 1};
  ConvProblem p;
  if (!describe(site, &p)) return 0;
  int count = 0;
  for (size_t i = 0; i < COUNT_OF(widths) && count < limit; i++) {
    if (count && widths[i] > p.out[2]) continue;
    out[count] = (Way){.config = {widths[i]}};
    snprintf(out[count].name, sizeof out[count].name, "w%d", widths[i]);
    count++;
  }
  return count;
}

static Status lower(const Site *site, const Way *way, const Machine *machine, Emission *out) {
  ConvProblem p;
  if (!describe(site, &p)) FAIL(ERROR_UNSUPPORTED, "depthwise_conv does not take this convolution");
  if (p.m == 0) return OK;
  const TensorDesc *x = &site->inputs[0], *y = &site->outputs[0];
  bool channels_last = p.x_channel == 1, packed = channels_last && site->inputs[1].constant;
  int vector = channels_last ? desc_vector(NULL, x, x, 1, 16) : 1, width = way->config[0];
  while (p.groups % vector) vector /= 2;
  const char *type = device_type(x->dtype);

  // Channels last: rows are positions and columns channels. Channels first: columns are positions of one image row.
  OutputWalk walk = {0};
  if (channels_last) {
    walk.row = p.output.row;
    walk_add(&walk.column, 1, p.groups, 1);
  } else {
    walk_add(&walk.batch, 0, p.images, 1);
    walk_add(&walk.batch, 1, p.groups, 1);
    for (int axis = 2; axis < y->rank - 1; axis++) walk_add(&walk.row, axis, y->dims[axis], 1);
    walk_add(&walk.column, y->rank - 1, p.out[2], 1);
  }
  ConvProblem whole = p;
  whole.output = walk;
  ConvSizes sizes = channels_last ? conv_sizes(site, x, &whole) : conv_sizes_static(&p),
            strips = conv_sizes_of_strips(&sizes, width);
  int64_t threads = strips.rows.now * (p.groups / vector);
  KernelArguments arguments = {.arena = out->arena, .table = sizes.output};
  Text text = text_new(out->arena), declarations = text_new(out->arena), output = text_new(out->arena);
  const char *made = conv_sizes_emit(&declarations, "Problem::Sizes", &sizes, &arguments);
  const char *cut = conv_sizes_emit(&declarations, "Problem::Strips", &strips, &arguments);
  text_add(&text, "#include \"kernels/common/output.cuh\"\nstruct Problem {\n  struct Strips;\n");
  conv_emit_geometry(&text, &p, sizes.rows.open);
  text_add(&text, "  static constexpr int TW = %d, V = %d, CHANNELS = %lld;\n", width, vector, (long long)p.groups);
  text_add(&text, "  static constexpr bool CHANNELS_LAST = %d, PACKED = %d;\n", channels_last, packed);
  text_add(&text, "  static constexpr i64 W_GROUP = %lldll, W_D = %lldll, W_H = %lldll, W_W = %lldll;\n};\n",
           (long long)p.w_group, (long long)p.w_tap[0], (long long)p.w_tap[1], (long long)p.w_tap[2]);
  walk = conv_sizes_output(site, &whole, &sizes);
  TRY(output_emit(&output, site, &walk, DTYPE_F32, &arguments));
  if (sizes.rows.open) kernel_arguments_struct(&text, &arguments);
  text_add(&text, "%s#include \"kernels/conv/depthwise_conv.cuh\"\n%s", text_get(&output), text_get(&declarations));
  text_add(&text, "extern \"C\" __global__ void __launch_bounds__(%d) depthwise_conv_kernel(const %s *x, const %s *w, ", BLOCK,
           type, type);
  output_parameters(&text, site);
  kernel_arguments_parameters(&text, &arguments);
  text_add(&text, ") {\n  begin_kernel();\n");
  if (sizes.rows.open) kernel_arguments_gather(&text, &arguments);
  text_add(&text, "  depthwise_conv<Problem, %s>(x, w, ", type);
  output_construct(&text, site, &arguments);
  text_add(&text, ", %s, %s);\n}\n", made, cut);

  unsigned grid[3] = {(unsigned)ceil_div(threads, BLOCK), 1, 1}, block[3] = {BLOCK, 1, 1};
  Launch *launch = emit_kernel(out, text_get(&text), "depthwise_conv_kernel", grid, block);
  launch->label = "depthwise_conv";
  emit_buffer(out, launch, BUFFER_INPUT, 0);
  int number = 1;
  if (packed) TRY(conv_pack_depthwise(out, site, &p, &number));
  emit_buffer(out, launch, packed ? BUFFER_PACKED : BUFFER_INPUT, number);
  output_arguments(out, launch, site);
  emit_arguments(out, launch, &arguments);
  return OK;
}

const Implementation cuda_depthwise_conv = {
    .name = "depthwise_conv",
    .backend = BACKEND_CUDA,
    .op = &op_conv,
    .writes_anywhere = true,
    .supports = supports,
    .ways = ways,
    .lower = lower,
};
