// See mma_config.h.
#include "kernels/tile/mma_config.h"

#include "base/format.h"
#include <string.h>
#include "kernels/tile/best_ways.h"

static const MmaConfig configs[] = {
    {128, 256, 128, 64, 64, 3}, {256, 128, 128, 64, 64, 3}, {128, 256, 64, 64, 64, 4}, {256, 128, 64, 64, 64, 4},
    {128, 128, 64, 64, 64, 4},  {128, 128, 128, 64, 64, 3}, {128, 64, 64, 64, 32, 4},  {128, 64, 128, 64, 32, 3},
    {64, 128, 64, 32, 64, 4},   {64, 128, 128, 32, 64, 3},  {64, 64, 64, 32, 32, 5},   {64, 64, 128, 32, 32, 4},
    {64, 32, 128, 32, 16, 4},   {32, 64, 128, 16, 32, 4},   {32, 128, 128, 32, 32, 4}, {16, 64, 128, 16, 16, 5},
    {16, 128, 128, 16, 32, 4},  {128, 32, 128, 32, 32, 4},  {32, 32, 128, 16, 16, 4},
};

// For wgmma: wm is a warpgroup's rows, wn is bn.
static const MmaConfig warpgroup_configs[] = {
    {128, 256, 128, 64, 256, 4}, {256, 128, 128, 128, 128, 4}, {128, 128, 128, 64, 128, 3},
    {128, 128, 128, 64, 128, 6}, {128, 64, 128, 64, 64, 4},    {256, 64, 128, 128, 64, 4},
    {64, 256, 128, 64, 256, 4},  {64, 128, 128, 64, 128, 4},   {64, 64, 128, 64, 64, 4},
};

bool mma_dtype_supported(const Site *site, DType dtype) {
  if (dtype == DTYPE_F16) return site->device->sm >= 75;
  if (dtype == DTYPE_BF16) return site->device->sm >= 80;
  return dtype == DTYPE_F32 && site->tf32 && site->device->sm >= 80;
}

char *mma_tile_type(Arena *arena, const Way *c, DType dtype) {
  const char *instruction = dtype == DTYPE_F16 ? "MmaF16" : dtype == DTYPE_BF16 ? "MmaBf16" : "MmaTf32";
  return arena_printf(arena, "%s<Problem, %s>", c->config[MMA_WARPGROUPS] ? "WgmmaTile" : "MmaTile", instruction);
}

void mma_emit_includes(Text *text, const Way *c) {
  text_add(text, "#include \"kernels/tile/%s.cuh\"\n", c->config[MMA_WARPGROUPS] ? "wgmma_tile" : "mma_tile");
}

void mma_emit_tile(Text *text, const Way *c, DType dtype) {
  const int *config = c->config;
  text_add(text, "  static constexpr int BM = %d, BN = %d, BK = %d, WM = %d, WN = %d, STAGES = %d, SIZE = %d;\n",
           config[MMA_BM], config[MMA_BN], config[MMA_BK], config[MMA_WM], config[MMA_WN], config[MMA_STAGES],
           (int)dtype_size(dtype));
}

// A warpgroup (four warps) makes wm x bn, a warp wm x wn.
static int tile_threads(int bm, int bn, int wm, int wn, bool warpgroups) {
  return warpgroups ? bm / wm * 128 : bm / wm * (bn / wn) * 32;
}
// The stages, or what the epilogue needs to turn fragments into rows; a warpgroup's stages start on a multiple of 1024.
static int tile_shared_bytes(int bm, int bn, int bk_bytes, int wn, int stages, int threads, bool warpgroups) {
  return MAX(stages * (bm + bn) * bk_bytes, threads / 32 * 16 * (wn + 8) * 4) + (warpgroups ? 1024 : 0);
}

int mma_threads(const Way *c) {
  const int *config = c->config;
  return tile_threads(config[MMA_BM], config[MMA_BN], config[MMA_WM], config[MMA_WN], config[MMA_WARPGROUPS]);
}
int mma_shared_bytes(const Way *c, DType dtype) {
  const int *config = c->config;
  return tile_shared_bytes(config[MMA_BM], config[MMA_BN], config[MMA_BK] * (int)dtype_size(dtype), config[MMA_WN],
                           config[MMA_STAGES], mma_threads(c), config[MMA_WARPGROUPS]);
}

// Multiply-adds per clock and multiprocessor with 16-bit operands: what the chip does, and what its shared memory can feed (a warp reads
// wm + wn lines of 32 bytes for wm * wn * 16 products, at 128 bytes per clock).
static double mma_rate(const DeviceRates *rates, const MmaConfig *c) {
  double feed = 64.0 * c->wm * c->wn / (c->wm + c->wn);
  return 1 / (1 / rates->warp_tensor + 0.53 / feed);
}

// Warpgroup products read both operands from shared memory: the fewer columns, the more of it for each of them.
static double wgmma_rate(const DeviceRates *rates, const MmaConfig *c) {
  return rates->tensor * (c->bn >= 256 ? 2048 : c->bn >= 128 ? 1640 : 1220) / 2048;
}

static const TileOverhead warp_overhead = {
    .start = 2885, .step = 123, .latency = 1090, .store = 181, .full_warps = 5, .l2_share = 67 / 64.0, .split_us = 3.3};
static const TileOverhead warpgroup_overhead = {
    .start = 2610, .step = 87, .latency = 1090, .store = 181, .full_warps = 5.7, .l2_share = 67 / 64.0, .split_us = 3.3};

static void offer_tile(WayList *list, const Site *site, const TiledProduct *p, int number, const MmaConfig *c,
                       bool warpgroups) {
  const int *only = list->only ? list->only->config : NULL;
  if (only && (only[MMA_BM] != c->bm || only[MMA_BN] != c->bn || only[MMA_WARPGROUPS] != warpgroups)) return;
  int size = (int)dtype_size(p->dtype), most = site->device->shared_per_block, fewest = warpgroups ? 3 : 2;
  int threads = tile_threads(c->bm, c->bn, c->wm, c->wn, warpgroups), stages = site->device->sm < 80 ? 2 : c->stages;
  while (stages > fewest && tile_shared_bytes(c->bm, c->bn, c->bk_bytes, c->wn, stages, threads, warpgroups) > most) stages--;
  int shared = tile_shared_bytes(c->bm, c->bn, c->bk_bytes, c->wn, stages, threads, warpgroups);
  if (shared > most) return;
  int registers = warpgroups ? c->wm / 64 * c->bn / 2 + 50 : c->wm * c->wn / 32 + c->wm + c->wn + 48;
  const DeviceRates *rates = &site->device->rates;
  double rate = warpgroups ? wgmma_rate(rates, c) : mma_rate(rates, c) * 2 / size;
  TileCost cost = {.bm = c->bm,
                   .bn = c->bn,
                   .bk = c->bk_bytes / size,
                   .threads = threads,
                   .ahead = warpgroups ? stages - 2 : stages - 1,
                   .shared_bytes = shared,
                   .registers = MIN(registers, 255),
                   .rate = rate,
                   .overhead = warpgroups ? &warpgroup_overhead : &warp_overhead};
  int splits[10], count = split_choices(site->device, &cost, p, splits, 10);
  for (int s = 0; s < count; s++) {
    Way way = {.config = {c->bm, c->bn, c->bk_bytes / size, c->wm, c->wn, stages, splits[s], warpgroups, number},
               .cost = cost_of_tiles(site->device, &cost, p, splits[s])};
    if (way_is_wanted(list, way.cost)) way_offer(list, &way);
  }
}

static void offer_tiles(WayList *list, const Site *site, const TiledProduct *p, int number) {
  for (size_t i = 0; i < COUNT_OF(configs); i++)
    // Words of tf32 need more addresses than registers are left for with large warp tiles.
    if (dtype_size(p->dtype) == 2 || configs[i].wm * configs[i].wn <= 2048)
      offer_tile(list, site, p, number, &configs[i], false);
  for (size_t i = 0; i < COUNT_OF(warpgroup_configs) && site->device->sm == 90 && dtype_size(p->dtype) == 2; i++)
    offer_tile(list, site, p, number, &warpgroup_configs[i], true);
}

// The best ways of each product come first, so that whoever measures a few meets them all.
static void best_of_each(Way *list, int count) {
  int heads = 0;
  for (int i = 0; i < count; i++) {
    bool first = true;
    for (int k = 0; k < heads; k++) first = first && list[k].config[MMA_PRODUCT] != list[i].config[MMA_PRODUCT];
    if (!first) continue;
    Way head = list[i];
    memmove(list + heads + 1, list + heads, (size_t)(i - heads) * sizeof *list);
    list[heads++] = head;
  }
}

static void name_way(Way *way, const TiledProduct *products) {
  const int *config = way->config;
  const char *product = products[config[MMA_PRODUCT]].name;
  format_into(way->name, sizeof way->name, "%dx%dx%d w%s%dx%d s%d splitk%d%s", config[MMA_BM], config[MMA_BN], config[MMA_BK],
              config[MMA_WARPGROUPS] ? "g" : "", config[MMA_WM], config[MMA_WN], config[MMA_STAGES], config[MMA_SPLITS],
              product ? product : "");
}

int mma_ways(const Site *site, const TiledProduct *products, int count, const Way *only, Way *out, int limit) {
  bool best = limit == 1 && !only && count;  // follows from the products and the device alone
  if (best && best_ways_find(site->best, products, count, out)) return 1;
  WayList list = {.items = out, .limit = limit, .only = only};
  for (int i = 0; i < count; i++)
    if (!only || only->config[MMA_PRODUCT] == i) offer_tiles(&list, site, &products[i], i);
  best_of_each(out, list.count);
  for (int i = 0; i < list.count; i++) name_way(&out[i], products);  // texts cost more than costs do
  if (best && list.count) best_ways_keep(site->best, products, count, out);
  return list.count;
}
