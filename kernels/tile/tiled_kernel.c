// See tiled_kernel.h.
#include "kernels/tile/tiled_kernel.h"

#include <math.h>

int split_choices(const DeviceInfo *device, const TileCost *tile, const TiledProduct *p, int *out, int limit) {
  static const int splits[] = {1, 2, 3, 4, 6, 8, 12, 16, 24, 32};
  double blocks = ceil((double)p->m / tile->bm) * ceil((double)p->n / tile->bn) * (double)p->batch;
  int count = 0;
  for (size_t i = 0; i < COUNT_OF(splits) && count < limit; i++) {
    // Beyond four blocks a multiprocessor, or under two steps a split, cutting finer only costs.
    bool useful =
        !p->k_open && blocks * splits[i] <= 4.0 * device->multiprocessors && p->k >= (int64_t)splits[i] * tile->bk * 2;
    // The last split must not be empty.
    if (splits[i] == 1 || (useful && ceil_div(p->k, split_depth(p->k, tile->bk, splits[i])) == splits[i]))
      out[count++] = splits[i];
  }
  return count;
}

// Open sizes of the output, in a kernel's parameters and its template's.
typedef struct OutputSizes {
  Extent batch, rows, columns;
} OutputSizes;

static OutputSizes sizes_of(const TiledKernel *kernel, DimTable *table) {
  const OutputWalk *walk = kernel->output;
  Extent rows = kernel->rows.open ? kernel->rows : walk_extent(table, &walk->row);
  return (OutputSizes){walk_extent(table, &walk->batch), rows, walk_extent(table, &walk->column)};
}

static bool are_open(const OutputSizes *sizes) { return sizes->batch.open || sizes->rows.open || sizes->columns.open; }

static char *template_texts(Arena *arena, const DimTable *table, const OutputSizes *sizes, bool batch_first) {
  long long batch = (long long)extent_constant(table, sizes->batch), rows = (long long)extent_constant(table, sizes->rows),
            columns = (long long)extent_constant(table, sizes->columns);
  return batch_first ? arena_printf(arena, "%lld, %lld, %lld", batch, rows, columns)
                     : arena_printf(arena, "%lld, %lld, %lld", rows, columns, batch);
}

static char *size_texts(KernelArguments *arguments, const OutputSizes *sizes) {
  return arena_printf(arguments->arena, "%s, %s, %s", extent_text(arguments, sizes->batch, false),
                      extent_text(arguments, sizes->rows, false), extent_text(arguments, sizes->columns, false));
}

// In front of what takes them, once it is known which.
static Text with_arguments(Arena *arena, bool open, const KernelArguments *arguments, const Text *rest) {
  Text text = text_new(arena);
  if (open) kernel_arguments_struct(&text, arguments);
  text_add(&text, "%s", text_get(rest));
  return text;
}

// Adds the launch that sums the partial products of the splits and applies the epilogue. They lie at the workspace's start.
static Status emit_split_reduce(Emission *emission, const Site *site, const TiledKernel *kernel) {
  enum { THREADS = 128 };
  Arena *arena = emission->arena;
  const OutputWalk *walk = kernel->output;
  DType accumulator = kernel->accumulator;
  OutputSizes sizes = sizes_of(kernel, site->dims);
  bool open = kernel->arguments->table || kernel->rows.open;
  const char *type = device_type(accumulator);
  KernelArguments arguments = {.arena = arena, .table = kernel->arguments->table};
  Text rest = text_new(arena), body = text_new(arena);
  TRY(output_emit(&rest, site, walk, accumulator, &arguments));
  text_add(&body, "  split_reduce<%s, %d, %s>(sums, ", type, kernel->splits, template_texts(arena, site->dims, &sizes, true));
  output_construct(&body, site, &arguments);
  if (are_open(&sizes)) text_add(&body, ", %s", size_texts(&arguments, &sizes));
  text_add(&body, ");\n}\n");
  text_add(&rest, "#include \"kernels/tile/split_reduce.cuh\"\n");
  text_add(&rest, "extern \"C\" __global__ void __launch_bounds__(%d) split_reduce_kernel(const %s *sums, ", THREADS, type);
  output_parameters(&rest, site);
  if (open) kernel_arguments_parameters(&rest, &arguments);
  text_add(&rest, ") {\n  begin_kernel();\n");
  if (open) kernel_arguments_gather(&rest, &arguments);
  text_add(&rest, "%s", text_get(&body));
  Text text = text_new(arena), all = with_arguments(arena, open, &arguments, &rest);
  text_add(&text, "#include \"kernels/common/output.cuh\"\n%s", text_get(&all));
  int64_t vector = extent_factor(site->dims, sizes.columns, 4);
  int64_t elements = sizes.batch.now * sizes.rows.now * sizes.columns.now;
  unsigned grid[3] = {(unsigned)ceil_div(elements / vector, THREADS), 1, 1}, block[3] = {THREADS, 1, 1};
  Launch *launch = emit_kernel(emission, text_get(&text), "split_reduce_kernel", grid, block);
  launch->label = "split_reduce";
  emit_workspace(emission, launch, 0);
  output_arguments(emission, launch, site);
  emit_arguments(emission, launch, &arguments);
  return OK;
}

// Which tile, and which split of k. The neighbours are static.
static void emit_place(Text *text, const TiledKernel *kernel, int64_t neighbours, Extent tiles) {
  text_add(text,
           "  const u32 batch = (blockIdx.y + blockIdx.z * 65535u) * %lldu + blockIdx.x %% %lldu, place = blockIdx.x / %lldu, ",
           (long long)neighbours, (long long)neighbours, (long long)neighbours);
  if (tiles.open)
    text_add(text, "split = %s, tile = place - split * %s;\n", extent_divide(kernel->arguments, "place", tiles, false),
             extent_text(kernel->arguments, tiles, false));
  else text_add(text, "tile = place %% %lldu, split = place / %lldu;\n", (long long)tiles.now, (long long)tiles.now);
}

// What of k this block does: `k_begin` and `k_end`.
static void emit_depth(Text *text, const TiledKernel *kernel) {
  if (kernel->k.open) {  // in one piece
    text_add(text, "  const int k_begin = 0, k_end = %s;\n", extent_text(kernel->arguments, kernel->k, false));
    return;
  }
  long long depth = (long long)split_depth(kernel->k.now, kernel->bk, kernel->splits), k = (long long)kernel->k.now;
  text_add(text, "  const int k_begin = (int)split * %lld, k_end = min(%lld, k_begin + %lld);\n", depth, k, depth);
}

static void emit_body(Text *text, const TiledKernel *kernel, const Site *site, const OutputSizes *sizes, int64_t neighbours,
                      Extent tiles) {
  bool split = kernel->splits > 1;
  emit_place(text, kernel, neighbours, tiles);
  const char *batch = sizes->batch.open
                          ? arena_printf(text->arena, "(u32)%s", extent_text(kernel->arguments, sizes->batch, false))
                          : arena_printf(text->arena, "%lldu", (long long)sizes->batch.now);
  text_add(text, "  if (batch >= %s) return;\n  Output output = ", batch);
  if (!split) output_construct(text, site, kernel->arguments);
  else if (are_open(sizes)) text_add(text, "{sums, %s}", size_texts(kernel->arguments, sizes));
  else text_add(text, "{sums, 0}");
  text_add(text, ";\n  output.begin(%sbatch);\n", split ? "split, " : "");
  emit_depth(text, kernel);
  text_add(text, "%s}\n", kernel->body);
}

// Neighbours, tiles and splits along x; the rest of the batch along y and z, 65535 a step.
static Status emit_all(const TiledKernel *kernel, const Site *site, Text *text, const char *include,
                       void (*bind)(Emission *emission, Launch *launch, const void *context), const void *context,
                       Emission *emission) {
  Arena *arena = emission->arena;
  KernelArguments *arguments = kernel->arguments;
  DimTable *table = site->dims;
  OutputSizes sizes = sizes_of(kernel, table);
  bool open = arguments->table || kernel->rows.open;
  Extent down = extent_ceil_div(table, sizes.rows, kernel->bm), across = extent_ceil_div(table, sizes.columns, kernel->bn);
  Extent tiles = extent_mul(table, down, across);
  Text body = text_new(arena);
  const char *sum = device_type(kernel->accumulator);
  bool split = kernel->splits > 1;
  if (split) text_add(text, "typedef Partial<%s, %s> Output;\n", sum, template_texts(arena, table, &sizes, false));
  else TRY(output_emit(text, site, kernel->output, kernel->accumulator, arguments));
  int64_t neighbours = MAX(kernel->neighbours, 1), rest = sizes.batch.now / neighbours;
  emit_body(&body, kernel, site, &sizes, neighbours, tiles);

  text_add(text, "#include \"%s\"\n", include);
  if (kernel->declarations) text_add(text, "%s", kernel->declarations);
  text_add(text, "extern \"C\" __global__ void __launch_bounds__(%d) %s_kernel(%s, ", kernel->threads, kernel->name,
           kernel->operands);
  if (split) text_add(text, "%s *sums", sum);
  else output_parameters(text, site);
  if (open) kernel_arguments_parameters(text, arguments);
  text_add(text, ") {\n  begin_kernel();\n");
  if (open) kernel_arguments_gather(text, arguments);
  text_add(text, "%s", text_get(&body));
  Text whole = with_arguments(arena, open, arguments, text);

  unsigned grid[3] = {(unsigned)(tiles.now * kernel->splits * neighbours), (unsigned)MIN(rest, 65535),
                      (unsigned)ceil_div(rest, 65535)};
  unsigned block[3] = {(unsigned)kernel->threads, 1, 1};
  Launch *launch = emit_kernel(emission, text_get(&whole), arena_printf(arena, "%s_kernel", kernel->name), grid, block);
  launch->label = kernel->name;
  launch->shared_bytes = kernel->shared_bytes;
  bind(emission, launch, context);
  if (split) emit_workspace(emission, launch, 0);
  else output_arguments(emission, launch, site);
  emit_arguments(emission, launch, arguments);
  if (!split) return OK;
  int64_t elements = sizes.batch.now * sizes.rows.now * sizes.columns.now;
  size_t bytes = (size_t)kernel->splits * (size_t)elements * dtype_size(kernel->accumulator);
  emission->workspace_bytes = MAX(emission->workspace_bytes, bytes);
  return emit_split_reduce(emission, site, kernel);
}

Status tiled_kernel_emit(const TiledKernel *kernel, const Site *site, Text *text, const char *include,
                         void (*bind)(Emission *emission, Launch *launch, const void *context), const void *context,
                         Emission *emission) {
  KernelArguments none = {.arena = emission->arena};
  TiledKernel own = *kernel;
  if (!own.arguments) own.arguments = &none;
  return emit_all(&own, site, text, include, bind, context, emission);
}
