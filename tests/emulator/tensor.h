// Tensor maps of the emulated device. See tensor.c and tensor_map.c.
#pragma once
#include "tests/emulator/emulator.h"

enum { TENSOR_RANK = 5, TENSOR_SPACE = 3 };

// What the 128 bytes of a map hold here. Dimensions are kept less one, so that 2^32 fits.
typedef struct TensorMap {
  uint32_t magic, check;
  uint8_t type, rank, swizzle, fill, im2col, element_bytes;
  uint8_t element_strides[TENSOR_RANK];
  uint64_t address;
  uint32_t last[TENSOR_RANK];
  uint16_t box[TENSOR_RANK];  // im2col: channels, pixels
  uint64_t strides[TENSOR_RANK - 1];
  int16_t lower[TENSOR_SPACE], upper[TENSOR_SPACE];  // im2col: the corners of where windows begin
} TensorMap;
_Static_assert(sizeof(TensorMap) <= sizeof(CudaTensorMap), "the bytes of a map");

uint32_t tensor_map_check(const TensorMap *map);
bool tensor_map_valid(const TensorMap *map);
