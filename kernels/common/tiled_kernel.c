// See tiled_kernel.h.
#include "kernels/common/tiled_kernel.h"

#include <math.h>

int64_t split_depth(int64_t k, int bk, int splits) { return ceil_div(ceil_div(k, bk), splits) * bk; }

static int resident_blocks(const DeviceInfo *device, const TileCost *tile) {
  int sm = device->sm, threads = sm == 75 ? 1024 : sm == 86 || sm == 89 || sm == 120 ? 1536 : 2048;
  int by_shared = device->shared_per_multiprocessor / MAX(tile->shared_bytes + 1024, 1);
  int by_registers = 65536 / (tile->registers * tile->threads);
  return MAX(1, MIN(MIN(by_shared, by_registers), threads / tile->threads));
}

// A multiprocessor takes its share of the blocks in turns. Blocks that run together hide each other's latency: with few warps resident
// the arithmetic units wait, and where too few steps are under way it waits for operands. Memory is a bound of its own, and a split pays for
// writing and reading its partial sums. The overheads and rates of the tensor cores' tiles are fitted to 333 measurements of 14 products and
// convolutions on an H200, where the tile this picks is within 3% of the best one on average, those of the others to 1,500; what
// matters is the order, so other chips share them but for their memory.
double tile_microseconds(const DeviceInfo *device, const TileCost *tile, const TiledProduct *p, int splits) {
  const double clocks_per_us = 1740, memory_bytes_per_us = device->sm >= 90 ? 3.4e6 : device->sm == 80 ? 1.6e6 : 7e5;
  const TileOverhead *overhead = tile->overhead;
  const double m = (double)p->m, n = (double)p->n, k = (double)p->k, batch = (double)p->batch,
               size = (double)dtype_size(p->dtype);
  double filled = p->filled > 0 ? p->filled : 1;
  double blocks = ceil(m / tile->bm) * ceil(n / tile->bn) * batch * splits;
  double steps = filled * (double)split_depth(p->k, tile->bk, splits) / tile->bk;
  double share = ceil(blocks / MAX(device->multiprocessors, 1));
  double together = fmin(share, resident_blocks(device, tile));
  double warps = together * tile->threads / 32;
  double step_math = (double)tile->bm * tile->bn * tile->bk / (tile->rate * fmin(1, warps / overhead->full_warps));
  double step_bytes = (double)(tile->bm + tile->bn) * tile->bk * size / overhead->l2_bytes;
  double step = fmax(fmax(step_math, step_bytes) * together + overhead->step, overhead->latency / tile->ahead);
  double turn = overhead->start + overhead->store * tile->bm * tile->bn * together / 1024 + steps * step;
  double compute = share / together * turn / clocks_per_us;
  double elements = p->elements > 0 ? p->elements : batch * (m * k + k * n + m * n);
  double traffic = elements * size / memory_bytes_per_us;
  double cost = fmax(compute, traffic);
  if (splits > 1) cost += overhead->split_us + splits * batch * m * n * 4 / memory_bytes_per_us;
  return cost + p->before;
}

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

void way_offer(WayList *list, double cost, const Way *way) {
  int limit = MIN(list->limit, (int)COUNT_OF(list->cost)), at = list->count;
  while (at > 0 && list->cost[at - 1] > cost) at--;
  if (at >= limit) return;
  if (list->count < limit) list->count++;
  for (int i = list->count - 1; i > at; i--) list->cost[i] = list->cost[i - 1], list->items[i] = list->items[i - 1];
  list->cost[at] = cost;
  list->items[at] = *way;
}

// Adds the launch that sums the partial products of the splits and applies the epilogue. They lie at the workspace's start.
static Status emit_split_reduce(Emission *emission, const Site *site, const OutputWalk *walk, DType accumulator, int splits) {
  enum { THREADS = 128 };
  Text text = text_new(emission->arena);
  int64_t batch = walk_count(&walk->batch), rows = walk_count(&walk->row), columns = walk_count(&walk->column);
  const char *type = device_type(accumulator);
  text_add(&text, "#include \"kernels/common/output.cuh\"\n");
  TRY(output_emit(&text, site, walk, accumulator));
  text_add(&text,
           "#include \"kernels/common/split_reduce.cuh\"\nextern \"C\" __global__ void __launch_bounds__(%d) "
           "split_reduce_kernel(const %s *sums, ",
           THREADS, type);
  output_parameters(&text, site);
  text_add(&text, ") {\n  begin_kernel();\n  split_reduce<%s, %d, %lld, %lld, %lld>(sums, ", type, splits, (long long)batch,
           (long long)rows, (long long)columns);
  output_construct(&text, site);
  text_add(&text, ");\n}\n");
  int vector = columns % 4 == 0 ? 4 : columns % 2 == 0 ? 2 : 1;
  unsigned grid[3] = {(unsigned)ceil_div(batch * rows * columns / vector, THREADS), 1, 1}, block[3] = {THREADS, 1, 1};
  Launch *launch = emit_kernel(emission, text_get(&text), "split_reduce_kernel", grid, block);
  launch->label = "split_reduce";
  emit_workspace(emission, launch, 0);
  output_arguments(emission, launch, site);
  return OK;
}

// Neighbours, tiles and splits along x; the rest of the batch along y and z, 65535 a step.
Status tiled_kernel_emit(const TiledKernel *kernel, const Site *site, Text *text, const char *include,
                         void (*bind)(Emission *emission, Launch *launch, const void *context), const void *context,
                         Emission *emission) {
  int64_t batch = walk_count(&kernel->output->batch), rows = walk_count(&kernel->output->row),
          columns = walk_count(&kernel->output->column);
  int64_t tiles = ceil_div(rows, kernel->bm) * ceil_div(columns, kernel->bn);
  const char *sum = device_type(kernel->accumulator);
  bool split = kernel->splits > 1;
  if (split)
    text_add(text, "typedef Partial<%s, %lld, %lld, %lld> Output;\n", sum, (long long)rows, (long long)columns,
             (long long)batch);
  else TRY(output_emit(text, site, kernel->output, kernel->accumulator));
  text_add(text, "#include \"%s\"\nextern \"C\" __global__ void __launch_bounds__(%d) %s_kernel(%s, ", include, kernel->threads,
           kernel->name, kernel->operands);
  if (split) text_add(text, "%s *sums", sum);
  else output_parameters(text, site);
  int64_t neighbours = MAX(kernel->neighbours, 1), rest = batch / neighbours;
  text_add(text,
           ") {\n  begin_kernel();\n  const u32 batch = (blockIdx.y + blockIdx.z * 65535u) * %lldu + blockIdx.x %% %lldu, "
           "place = blockIdx.x / %lldu, "
           "tile = place %% %lldu, split = place / %lldu;\n",
           (long long)neighbours, (long long)neighbours, (long long)neighbours, (long long)tiles, (long long)tiles);
  text_add(text, "  if (batch >= %lldu) return;\n  Output output = ", (long long)batch);
  if (split) text_add(text, "{sums}");
  else output_construct(text, site);
  int64_t depth = split_depth(kernel->k, kernel->bk, kernel->splits);
  text_add(text, ";\n  output.begin(%sbatch);\n  const int k_begin = (int)split * %lld, k_end = min(%lld, k_begin + %lld);\n",
           split ? "split, " : "", (long long)depth, (long long)kernel->k, (long long)depth);
  text_add(text, "%s}\n", kernel->body);

  unsigned grid[3] = {(unsigned)(tiles * kernel->splits * neighbours), (unsigned)MIN(rest, 65535),
                      (unsigned)ceil_div(rest, 65535)};
  unsigned block[3] = {(unsigned)kernel->threads, 1, 1};
  Launch *launch = emit_kernel(emission, text_get(text), arena_printf(emission->arena, "%s_kernel", kernel->name), grid, block);
  launch->label = kernel->name;
  launch->shared_bytes = kernel->shared_bytes;
  bind(emission, launch, context);
  if (!split) {
    output_arguments(emission, launch, site);
    return OK;
  }
  emit_workspace(emission, launch, 0);
  size_t bytes = (size_t)kernel->splits * (size_t)(batch * rows * columns) * dtype_size(kernel->accumulator);
  emission->workspace_bytes = MAX(emission->workspace_bytes, bytes);
  return emit_split_reduce(emission, site, kernel->output, kernel->accumulator, kernel->splits);
}
