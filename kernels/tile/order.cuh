// The order in which blocks take tiles: down eight tiles of rows before the next column, so that neighbours in time share operands
// in L2.
#pragma once
#include "kernels/common/types.cuh"

// TILES_M, TILES_N 0: an argument says how many.
template <unsigned TILES_M, unsigned TILES_N>
DEVICE void tile_position(unsigned tile, int &tile_m, int &tile_n, unsigned down = TILES_M, unsigned across = TILES_N) {
  constexpr unsigned GROUP = 8;
  const unsigned tiles_m = TILES_M ? TILES_M : down, tiles_n = TILES_N ? TILES_N : across;
  unsigned first = tile / (GROUP * tiles_n) * GROUP, within = tile % (GROUP * tiles_n);
  unsigned height = tiles_m - first < GROUP ? tiles_m - first : GROUP;
  tile_m = (int)(first + within % height);
  tile_n = (int)(within / height);
}
