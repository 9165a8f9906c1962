// The implementation of attention on tensor cores (attention.cuh, wgmma_attention.cuh): f16 and bf16, heads of up to 256, any score that is a scalar program over operands which broadcast.
#include "base/format.h"

#include "kernels/attention/mma_attention.h"
#include "kernels/tile/tiled_kernel.h"
#include "kernels/control/region.h"

int mma_attention_padded(int64_t size) {
  int to = 16;
  while (to < size) to *= 2;
  return to;
}

static int shared_bytes(const MmaAttention *m, const int *config) {
  int d = mma_attention_padded(m->d), dv = mma_attention_padded(m->dv), rows = config[WARPS] * config[FRAGMENTS] * 16;
  int tiles = (rows * d + 2 * config[KEYS] * (d + dv)) * 2, corners = config[WARPS] * 16 * (dv + 8) * 4;
  return MAX(tiles, corners) + (config[WARPGROUPS] ? 1024 : 0);  // to begin at a multiple of it
}

// Of a thread: sums, scores, queries or packed weights, and the rest.
static int registers(const MmaAttention *m, const int *config) {
  int steps = mma_attention_padded(m->d) / 16, kept = config[FRAGMENTS] * steps <= 8 ? steps : 1;
  int operand = config[WARPGROUPS] ? config[KEYS] / 4 : kept * 4;
  return config[FRAGMENTS] * (mma_attention_padded(m->dv) / 2 + config[KEYS] / 2 + operand) + 56;
}

// Four warpgroups hide each other's exponentials; left alone, a compiler takes a few registers too many for that.
int mma_attention_blocks(const MmaAttention *m, const int *config) {
  bool few = config[WARPGROUPS] && registers(m, config) <= 144 && config[WARPS] <= 8;
  return few ? 16 / config[WARPS] : 1;
}

// rate: multiply-adds in a clock on each multiprocessor, measured on an H200 with heads of 64 and hundreds of them; other chips have as large a part of their peak.
static const struct {
  int config[4];
  double rate;
} rows[] = {
    {{8, 1, 64, 1}, 425},   {{4, 1, 64, 1}, 470}, {{12, 1, 64, 1}, 320}, {{8, 1, 128, 1}, 300}, {{4, 1, 128, 1}, 460},
    {{12, 1, 128, 1}, 280}, {{4, 1, 32}, 335},    {{2, 1, 32}, 330},     {{4, 2, 32}, 300},     {{2, 1, 64}, 295},
    {{4, 1, 64}, 290},      {{4, 1, 128}, 265},   {{2, 2, 64}, 250},     {{4, 2, 64}, 240},     {{4, 2, 128}, 230},
    {{8, 1, 64}, 195},      {{8, 2, 64}, 180},
};

// Multiply-adds at their rate where eight warps share a multiprocessor or more, and what blocks and tiles take to start.
static double microseconds(const Site *site, const MmaAttention *m, Rung rung, const int *config, double rate) {
  const double start = 3000, turn = 150, full_warps = 8;
  const DeviceRates *rates = &site->device->rates;
  rate *= config[WARPGROUPS] ? rates->tensor / 2048 : rates->warp_tensor / 1620;
  int64_t rows = extent_at(m->m, rung), keys = extent_at(m->n, rung), batch = extent_at(m->batch, rung);
  double height = config[WARPS] * config[FRAGMENTS] * 16, tiles = (double)ceil_div(keys, config[KEYS]);
  double work = height * tiles * config[KEYS] * (mma_attention_padded(m->d) + mma_attention_padded(m->dv));
  double blocks = (double)ceil_div(rows, (int64_t)height) * (double)batch, each = blocks / site->device->multiprocessors;
  double alone = full_warps / config[WARPS], times = MAX(each < 1 ? 1 : each, alone);
  double clocks = (work / rate + turn * tiles * config[WARPS] / full_warps) * times +
                  start * (each < 1 ? 1 : each) * config[WARPS] / full_warps + start;
  return clocks / cost_clocks(site->device);
}

// What a compiler adds to shared memory counts as well: less than all of it.
static bool fits(const Site *site, const MmaAttention *m, const int *config) {
  bool whole_lines = mma_attention_padded(m->d) % 64 == 0 && mma_attention_padded(m->dv) % 64 == 0;
  if (config[WARPGROUPS] && (site->device->sm != 90 || !whole_lines)) return false;
  return shared_bytes(m, config) < site->device->shared_per_block &&
         registers(m, config) <= MIN(255, 65536 / 32 / config[WARPS]);
}

static int ways_at(const Site *site, Rung rung, const Way *only, const void *context, Way *out, int limit) {
  const MmaAttention *m = context;
  WayList list = {.items = out, .limit = limit, .only = only};
  for (size_t i = 0; i < COUNT_OF(rows); i++) {
    const int *c = rows[i].config;
    if (!fits(site, m, c)) continue;
    Way way = {.config = {c[WARPS], c[FRAGMENTS], c[KEYS], c[WARPGROUPS]},
               .cost = microseconds(site, m, rung, c, rows[i].rate)};
    if (c[WARPGROUPS]) format_into(way.name, sizeof way.name, "%dx%d wg%d", c[WARPS] * 16, c[KEYS], c[WARPS] / 4);
    else format_into(way.name, sizeof way.name, "%dx%d w%d", c[WARPS] * c[FRAGMENTS] * 16, c[KEYS], c[WARPS]);
    way_offer(&list, &way);
  }
  return list.count;
}

static int ways(const Site *site, const Machine *machine, Way *out, int limit) {
  Arena *scratch = arena_scratch();
  MmaAttention m;
  bool described = mma_attention_read(site, scratch, &m);
  int count = described ? ways_of_sizes(site, m.table, ways_at, &m, out, limit) : 0;
  arena_free(scratch);
  return count;
}

// A region that no way has room for is taken apart.
static bool supports(const Site *site) {
  Arena *scratch = arena_scratch();
  MmaAttention m;
  bool supported = false, described = mma_attention_read(site, scratch, &m);
  for (size_t i = 0; i < COUNT_OF(rows) && described && !supported; i++) supported = fits(site, &m, rows[i].config);
  if (described && !supported) site_refuse(site, "no tile of rows and keys fits a block's shared memory and registers");
  arena_free(scratch);
  return supported;
}

static Status lower(const Site *site, const Way *way, const Machine *machine, Emission *out) {
  MmaAttention m;
  if (!mma_attention_read(site, out->arena, &m)) FAIL(ERROR_UNSUPPORTED, "mma_attention does not take this region");
  const int *config = way->config;
  Text text = text_new(out->arena);
  KernelArguments arguments = {.arena = out->arena, .table = m.table};
  TRY(mma_attention_text(&text, site, &m, config, &arguments));
  int64_t rows = ceil_div(m.m.now, config[WARPS] * config[FRAGMENTS] * 16);
  unsigned grid[3] = {(unsigned)(rows * m.batch.now), 1, 1};
  unsigned block[3] = {(unsigned)config[WARPS] * 32, 1, 1};
  Launch *launch = emit_kernel(out, text_get(&text), "mma_attention_kernel", grid, block);
  launch->label = "mma_attention";
  launch->shared_bytes = (unsigned)shared_bytes(&m, config);
  emit_buffer(out, launch, BUFFER_INPUT, m.q.input);
  emit_buffer(out, launch, BUFFER_INPUT, m.k.input);
  emit_buffer(out, launch, BUFFER_INPUT, m.v.input);
  for (int i = 0; i < m.a.score->input_count; i++)
    if (m.a.inputs[i].value) emit_buffer(out, launch, BUFFER_INPUT, m.score_inputs[i]);
  emit_buffer(out, launch, BUFFER_OUTPUT, 0);
  for (int i = m.a.last.anchor->input_count; i < m.a.last.operand_count; i++)
    emit_buffer(out, launch, BUFFER_INPUT, region_input(region_body(site->node), fused_operand(&m.a.last, i)));
  emit_arguments(out, launch, &arguments);
  return OK;
}

const Implementation cuda_mma_attention = {
    .name = "mma_attention",
    .backend = BACKEND_CUDA,
    .op = &op_region,
    .writes_anywhere = true,
    .supports = supports,
    .ways = ways,
    .lower = lower,
};
