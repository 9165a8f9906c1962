// The order in which blocks take tiles: down eight tiles of rows before the next column, so that neighbours in time share operands
// in L2.
#pragma once
#include "kernels/common/types.cuh"

// TILES_M 0: an argument says how many.
template <unsigned TILES_M, unsigned TILES_N>
DEVICE void tile_position(unsigned tile, int &tile_m, int &tile_n, unsigned tiles = TILES_M) {
  constexpr unsigned GROUP = 8;
  const unsigned tiles_m = TILES_M ? TILES_M : tiles;
  unsigned first = tile / (GROUP * TILES_N) * GROUP, within = tile % (GROUP * TILES_N);
  unsigned height = tiles_m - first < GROUP ? tiles_m - first : GROUP;
  tile_m = (int)(first + within % height);
  tile_n = (int)(within / height);
}
