#pragma once
#include "kernels/common/types.cuh"

// The order in which blocks take tiles: down eight tiles of rows before the next column, so that neighbours in time share operands
// in L2.
template <unsigned TILES_M, unsigned TILES_N> DEVICE void tile_position(unsigned tile, int &tile_m, int &tile_n) {
  constexpr unsigned GROUP = 8;
  unsigned first = tile / (GROUP * TILES_N) * GROUP, within = tile % (GROUP * TILES_N);
  unsigned height = TILES_M - first < GROUP ? TILES_M - first : GROUP;
  tile_m = (int)(first + within % height);
  tile_n = (int)(within / height);
}
