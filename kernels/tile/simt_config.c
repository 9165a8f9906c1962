// See simt_config.h.
#include "kernels/tile/simt_config.h"

#include "base/format.h"

// The last is the one every type can afford.
enum { SIMT_TILES = 9 };
const SimtTile simt_tiles[SIMT_TILES] = {{128, 128, 8, 8, 8, 124}, {128, 64, 8, 8, 8, 146}, {64, 128, 8, 8, 8, 151},
                                         {64, 64, 16, 8, 8, 190},  {32, 64, 16, 4, 8, 127}, {32, 32, 16, 4, 4, 80},
                                         {16, 128, 16, 4, 4, 96},  {8, 128, 16, 2, 4, 83},  {64, 64, 16, 4, 4, 64}};
static const TileOverhead overhead = {.start = 100, .step = 350, .full_warps = 7.5, .l2_share = 35 / 64.0, .split_us = 6.7};

int simt_threads(const SimtTile *t) { return t->bm / t->tm * (t->bn / t->tn); }

int simt_ways(const Site *site, const TiledProduct *p, DType accumulator, const Way *only, Way *out, int limit) {
  WayList list = {.items = out, .limit = limit, .only = only};
  for (int i = accumulator == DTYPE_F32 ? 0 : SIMT_TILES - 1; i < SIMT_TILES; i++) {
    const SimtTile *t = &simt_tiles[i];
    TileCost cost = {.bm = t->bm,
                     .bn = t->bn,
                     .bk = t->bk,
                     .threads = simt_threads(t),
                     .ahead = 1,
                     .shared_bytes = 2 * t->bk * (t->bm + t->bn + 8) * 4,
                     .registers = t->registers,
                     .rate = 178 / 128.0 * site->device->rates.f32 * t->tm * t->tn / (t->tm * t->tn + 1.4 * (t->tm + t->tn)),
                     .overhead = &overhead};
    int splits[10], count = split_choices(site->device, &cost, p, splits, accumulator == DTYPE_F32 ? 10 : 1);
    for (int s = 0; s < count; s++) {
      Way way = {.config = {i, splits[s]}, .cost = cost_of_tiles(site->device, &cost, p, splits[s])};
      format_into(way.name, sizeof way.name, "%dx%dx%d t%dx%d splitk%d", t->bm, t->bn, t->bk, t->tm, t->tn, splits[s]);
      way_offer(&list, &way);
    }
  }
  return list.count;
}

int simt_vector(int vector, bool k_fast, int64_t extent, int64_t k, const SimtTile *t, int rows) {
  int most = MIN(4, MAX(1, rows * t->bk / simt_threads(t)));
  vector = MAX(1, MIN(vector, most));
  while ((k_fast ? k : extent) % vector || (k_fast ? t->bk : rows) % vector) vector /= 2;
  return vector;
}
