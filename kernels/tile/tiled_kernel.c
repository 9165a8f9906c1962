// See tiled_kernel.h.
#include "kernels/tile/tiled_kernel.h"

#include <math.h>

int split_choices(const DeviceInfo *device, const TileCost *tile, const TiledProduct *p, int *out, int limit) {
  static const int splits[] = {1, 2, 3, 4, 6, 8, 12, 16, 24, 32};
  double blocks = ceil((double)p->m / tile->bm) * ceil((double)p->n / tile->bn) * (double)p->batch;
  int count = 0;
  for (size_t i = 0; i < COUNT_OF(splits) && count < limit; i++) {
    // Beyond four blocks a multiprocessor, or under two steps a split, cutting finer only costs.
    bool useful = blocks * splits[i] <= 4.0 * device->multiprocessors && p->k >= (int64_t)splits[i] * tile->bk * 2;
    // The last split must not be empty.
    if (splits[i] == 1 || (useful && ceil_div(p->k, split_depth(p->k, tile->bk, splits[i])) == splits[i]))
      out[count++] = splits[i];
  }
  return count;
}

int64_t tile_rows_to_choose_by(Extent rows) {
  enum { STEP = 2 };
  int64_t size = 16;
  while (rows.open && size < rows.now) size *= STEP;
  return rows.open ? size : rows.now;
}

void way_offer(WayList *list, const Way *way) {
  int at = list->count;
  while (at > 0 && list->items[at - 1].cost > way->cost) at--;
  if (at >= list->limit) return;
  if (list->count < list->limit) list->count++;
  for (int i = list->count - 1; i > at; i--) list->items[i] = list->items[i - 1];
  list->items[at] = *way;
}

// Adds the launch that sums the partial products of the splits and applies the epilogue. They lie at the workspace's start.
static Status emit_split_reduce(Emission *emission, const Site *site, const TiledKernel *kernel) {
  enum { THREADS = 128 };
  Text text = text_new(emission->arena);
  const OutputWalk *walk = kernel->output;
  DType accumulator = kernel->accumulator;
  int64_t batch = walk_count(&walk->batch), rows = walk_count(&walk->row), columns = walk_count(&walk->column);
  const char *type = device_type(accumulator);
  KernelArguments arguments = {.arena = emission->arena};
  const char *open_rows = kernel->rows.open ? extent_text(&arguments, kernel->rows, false) : NULL;
  text_add(&text, "#include \"kernels/common/output.cuh\"\n");
  TRY(output_emit(&text, site, walk, accumulator));
  text_add(&text, "#include \"kernels/tile/split_reduce.cuh\"\n");
  if (open_rows) kernel_arguments_struct(&text, &arguments);
  text_add(&text, "extern \"C\" __global__ void __launch_bounds__(%d) split_reduce_kernel(const %s *sums, ", THREADS, type);
  output_parameters(&text, site);
  kernel_arguments_parameters(&text, &arguments);
  text_add(&text, ") {\n  begin_kernel();\n");
  if (open_rows) kernel_arguments_gather(&text, &arguments);
  text_add(&text, "  split_reduce<%s, %d, %lld, %lld, %lld>(sums, ", type, kernel->splits, (long long)batch,
           open_rows ? -1 : (long long)rows, (long long)columns);
  output_construct(&text, site);
  text_add(&text, "%s%s);\n}\n", open_rows ? ", " : "", open_rows ? open_rows : "");
  int vector = columns % 4 == 0 ? 4 : columns % 2 == 0 ? 2 : 1;
  unsigned grid[3] = {(unsigned)ceil_div(batch * rows * columns / vector, THREADS), 1, 1}, block[3] = {THREADS, 1, 1};
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

// Neighbours, tiles and splits along x; the rest of the batch along y and z, 65535 a step.
Status tiled_kernel_emit(const TiledKernel *kernel, const Site *site, Text *text, const char *include,
                         void (*bind)(Emission *emission, Launch *launch, const void *context), const void *context,
                         Emission *emission) {
  int64_t batch = walk_count(&kernel->output->batch), rows = walk_count(&kernel->output->row),
          columns = walk_count(&kernel->output->column);
  bool open = kernel->rows.open;
  Extent down = open ? extent_ceil_div(site->dims, kernel->rows, kernel->bm) : extent_static(ceil_div(rows, kernel->bm));
  Extent tiles = extent_mul(site->dims, down, extent_static(ceil_div(columns, kernel->bn)));
  Text body = text_new(emission->arena);
  const char *sum = device_type(kernel->accumulator);
  bool split = kernel->splits > 1;
  if (split)
    text_add(text, "typedef Partial<%s, %lld, %lld, %lld> Output;\n", sum, open ? -1 : (long long)rows, (long long)columns,
             (long long)batch);
  else TRY(output_emit(text, site, kernel->output, kernel->accumulator));
  int64_t neighbours = MAX(kernel->neighbours, 1), rest = batch / neighbours;
  emit_place(&body, kernel, neighbours, tiles);
  text_add(&body, "  if (batch >= %lldu) return;\n  Output output = ", (long long)batch);
  if (split) text_add(&body, "{sums, %s}", open ? extent_text(kernel->arguments, kernel->rows, false) : "0");
  else output_construct(&body, site);
  int64_t depth = split_depth(kernel->k, kernel->bk, kernel->splits);
  text_add(&body, ";\n  output.begin(%sbatch);\n  const int k_begin = (int)split * %lld, k_end = min(%lld, k_begin + %lld);\n",
           split ? "split, " : "", (long long)depth, (long long)kernel->k, (long long)depth);
  text_add(&body, "%s}\n", kernel->body);

  text_add(text, "#include \"%s\"\n", include);
  if (open) kernel_arguments_struct(text, kernel->arguments);
  if (kernel->declarations) text_add(text, "%s", kernel->declarations);
  text_add(text, "extern \"C\" __global__ void __launch_bounds__(%d) %s_kernel(%s, ", kernel->threads, kernel->name,
           kernel->operands);
  if (split) text_add(text, "%s *sums", sum);
  else output_parameters(text, site);
  if (open) kernel_arguments_parameters(text, kernel->arguments);
  text_add(text, ") {\n  begin_kernel();\n");
  if (open) kernel_arguments_gather(text, kernel->arguments);
  text_add(text, "%s", text_get(&body));

  unsigned grid[3] = {(unsigned)(tiles.now * kernel->splits * neighbours), (unsigned)MIN(rest, 65535),
                      (unsigned)ceil_div(rest, 65535)};
  unsigned block[3] = {(unsigned)kernel->threads, 1, 1};
  Launch *launch = emit_kernel(emission, text_get(text), arena_printf(emission->arena, "%s_kernel", kernel->name), grid, block);
  launch->label = kernel->name;
  launch->shared_bytes = kernel->shared_bytes;
  bind(emission, launch, context);
  if (split) emit_workspace(emission, launch, 0);
  else output_arguments(emission, launch, site);
  if (open) emit_arguments(emission, launch, kernel->arguments);
  if (!split) return OK;
  size_t bytes = (size_t)kernel->splits * (size_t)(batch * rows * columns) * dtype_size(kernel->accumulator);
  emission->workspace_bytes = MAX(emission->workspace_bytes, bytes);
  return emit_split_reduce(emission, site, kernel);
}
