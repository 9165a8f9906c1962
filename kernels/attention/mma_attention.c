// The implementation of attention on tensor cores (attention.cuh, wgmma_attention.cuh, piped_attention.cuh): f16 and bf16, heads of up to 256, any score that is a scalar program over operands which broadcast.
#include "base/format.h"

#include "kernels/attention/mma_attention.h"
#include "kernels/tile/tiled_kernel.h"
#include "kernels/control/region.h"

int mma_attention_padded(int64_t size) {
  int to = 16;
  while (to < size) to *= 2;
  return to;
}

int mma_attention_threads(const int *config) { return config[WARPS] * 32 + (config[FORM] == PIPED ? 128 : 0); }

static int rows_of(const int *config) { return config[WARPS] * config[FRAGMENTS] * 16; }

static int shared_bytes(const MmaAttention *m, const int *config) {
  int d = mma_attention_padded(m->d), dv = mma_attention_padded(m->dv), stages = config[FORM] == PIPED ? 3 : 2;
  int tiles = (rows_of(config) * d + stages * config[KEYS] * (d + dv)) * 2, corners = config[WARPS] * 16 * (dv + 8) * 4;
  int barriers = config[FORM] == PIPED ? stages * 32 : 0;
  return MAX(tiles, corners) + barriers + (config[FORM] != BY_WARPS ? 1024 : 0);  // to begin at a multiple of it
}

// Of a thread: sums, scores, queries or packed weights, and the rest.
static int registers(const MmaAttention *m, const int *config) {
  int steps = mma_attention_padded(m->d) / 16, kept = config[FRAGMENTS] * steps <= 8 ? steps : 1;
  int operand = config[FORM] != BY_WARPS ? config[KEYS] / 4 : kept * 4;
  return config[FRAGMENTS] * (mma_attention_padded(m->dv) / 2 + config[KEYS] / 2 + operand) + 56;
}

// Four warpgroups hide each other's exponentials; left alone, a compiler takes a few registers too many for that.
int mma_attention_blocks(const MmaAttention *m, const int *config) {
  return config[FORM] == BY_WARPGROUPS && registers(m, config) <= 144 ? 16 / config[WARPS] : 1;
}

// rate: multiply-adds in a clock on each multiprocessor, of H200; other chips have as large a part of their peak. Those by warpgroups, piped, 64x32 and 32x32 are fitted to what was
// measured of them with heads of 64 and 128, 128 to 4096 keys, causal and not (tests/unit/attention_ways.inc); the others stand to 64x32 as they did in an earlier measurement.
static const struct {
  int config[CONFIG_COUNT];
  double rate;
} rows[] = {
    {{4, 1, 64, BY_WARPGROUPS}, 970},
    {{4, 1, 128, BY_WARPGROUPS}, 1060},
    {{8, 1, 64, BY_WARPGROUPS}, 860},
    {{8, 1, 128, PIPED}, 1170},
    {{4, 1, 32}, 580},
    {{2, 1, 32}, 530},
    {{4, 2, 32}, 520},
    {{2, 1, 64}, 510},
    {{4, 1, 64}, 500},
    {{4, 1, 128}, 460},
    {{2, 2, 64}, 430},
    {{4, 2, 64}, 415},
    {{4, 2, 128}, 400},
    {{8, 1, 64}, 335},
    {{8, 2, 64}, 310},
};

// Tiles of keys that a block goes over, as score_bounds.h has them, in the mean: KeyTiles in softmax.cuh.
static double tiles_of_keys(const MmaAttention *m, const int *config, int64_t rows, int64_t keys) {
  enum { LOOKED_AT = 64 };
  int64_t height = rows_of(config), step = MAX(ceil_div(rows, height * LOOKED_AT), 1) * height, tiles = 0, looked_at = 0;
  for (int64_t row = 0; row < rows; row += step, looked_at++) {
    int64_t from = MIN(MAX(row + m->bounds.behind, 0), keys - 1), to = MIN(MAX(row + height + m->bounds.ahead, from + 1), keys);
    tiles += ceil_div(to, config[KEYS]) - from / config[KEYS];
  }
  return (double)tiles / (double)looked_at;
}

// Multiply-adds at their rate where a multiprocessor has eight warps or more, and what blocks and tiles take to start.
static double microseconds(const Site *site, const MmaAttention *m, Rung rung, const int *config, double rate) {
  const double start = 3000, turn = 25, full_warps = 8;
  const DeviceInfo *device = site->device;
  rate *= config[FORM] != BY_WARPS ? device->rates.tensor / 2048 : device->rates.warp_tensor / 1620;
  int64_t rows = extent_at(m->m, rung), keys = extent_at(m->n, rung), batch = extent_at(m->batch, rung);
  int resident = device->shared_per_block / shared_bytes(m, config);
  double height = rows_of(config), tiles = tiles_of_keys(m, config, rows, keys);
  double work = height * tiles * config[KEYS] * (mma_attention_padded(m->d) + mma_attention_padded(m->dv));
  double blocks = (double)ceil_div(rows, (int64_t)height) * (double)batch, each = MAX(blocks / device->multiprocessors, 1);
  double times = MAX(each * full_warps / MIN(resident * config[WARPS], full_warps), full_warps / config[WARPS]);
  double clocks =
      (work / rate + turn * tiles * config[WARPS] / full_warps) * times + start * each * config[WARPS] / full_warps + start;
  return clocks / cost_clocks(device);
}

// piped_attention.cuh, which multiplies with 224 registers a thread, gains from heads of 128; it has no room for larger ones.
static bool fits_form(const Site *site, const MmaAttention *m, const int *config) {
  int d = mma_attention_padded(m->d), dv = mma_attention_padded(m->dv);
  if (config[FORM] == BY_WARPS) return true;
  if (site->device->sm != 90 || d % 64 || dv % 64) return false;
  return config[FORM] != PIPED || (m->q.fast && m->k.fast && MAX(d, dv) == 128);
}

// What a compiler adds to shared memory counts as well: less than all of it.
static bool fits(const Site *site, const MmaAttention *m, const int *config) {
  return fits_form(site, m, config) && shared_bytes(m, config) < site->device->shared_per_block &&
         registers(m, config) <= MIN(255, 65536 / 32 / config[WARPS]);
}

static int ways_at(const Site *site, Rung rung, const Way *only, const void *context, Way *out, int limit) {
  const MmaAttention *m = context;
  WayList list = {.items = out, .limit = limit, .only = only};
  for (size_t i = 0; i < COUNT_OF(rows); i++) {
    const int *c = rows[i].config;
    if (!fits(site, m, c)) continue;
    Way way = {.config = {c[WARPS], c[FRAGMENTS], c[KEYS], c[FORM]}, .cost = microseconds(site, m, rung, c, rows[i].rate)};
    static const char *const forms[] = {[BY_WARPS] = "w", [BY_WARPGROUPS] = "wg", [PIPED] = "piped"};
    int count = c[FORM] == BY_WARPS ? c[WARPS] : c[WARPS] / 4;
    format_into(way.name, sizeof way.name, "%dx%d %s%d", rows_of(c), c[KEYS], forms[c[FORM]], count);
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
  int64_t rows = ceil_div(m.m.now, rows_of(config));
  unsigned grid[3] = {(unsigned)(rows * m.batch.now), 1, 1};
  unsigned block[3] = {(unsigned)mma_attention_threads(config), 1, 1};
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
