// Encoding tensor maps, as strictly as the driver does. The map describes itself, with a checksum, so that a kernel that is given something
// else is found out. Interleaved layouts are not emulated.
#include <string.h>
#include "tests/emulator/fault.h"
#include "tests/emulator/tensor.h"

enum {
  INVALID = 1,
  NOT_SUPPORTED = 801,
  MAGIC = 0x70616d74,
  TYPES = 13,
  BOX_LIMIT = 256,
  PIXEL_LIMIT = 1024,
  STRIDE_LIMIT = 8
};
static const uint8_t type_bytes[TYPES] = {1, 2, 4, 4, 8, 8, 2, 4, 8, 2, 4, 4, 4};
static bool is_float(int type) { return type >= CUDA_TENSOR_F16; }

uint32_t tensor_map_check(const TensorMap *map) {
  TensorMap copy;
  memcpy(&copy, map, sizeof copy);  // with what lies between the fields
  copy.check = 0;
  uint32_t hash = 2166136261u;
  for (size_t i = 0; i < sizeof copy; i++) hash = (hash ^ ((const unsigned char *)&copy)[i]) * 16777619u;
  return hash;
}
bool tensor_map_valid(const TensorMap *map) { return map->magic == MAGIC && map->check == tensor_map_check(map); }

// What both kinds have in common.
static CudaResult begin(TensorMap *map, int type, uint32_t rank, const void *address, const uint64_t *dims,
                        const uint64_t *strides, const uint32_t *element_strides, int interleave, int swizzle, int promotion,
                        int fill) {
  memset(map, 0, sizeof *map);
  if (type < 0 || type >= TYPES || !rank || rank > TENSOR_RANK) return INVALID;
  if (interleave) return NOT_SUPPORTED;
  if (swizzle < 0 || swizzle > CUDA_SWIZZLE_128 || promotion < 0 || promotion > CUDA_L2_256 || fill < 0 || fill > 1)
    return INVALID;
  if (fill && !is_float(type)) return INVALID;
  if (!address || (uintptr_t)address % 16) return INVALID;
  for (uint32_t i = 0; i < rank; i++) {
    if (!dims[i] || dims[i] > (uint64_t)1 << 32 || !element_strides[i] || element_strides[i] > STRIDE_LIMIT) return INVALID;
    map->last[i] = (uint32_t)(dims[i] - 1);
    map->element_strides[i] = i ? (uint8_t)element_strides[i] : 1;  // not so of the fastest dimension
    if (i + 1 == rank) break;
    if (strides[i] % 16 || strides[i] >= (uint64_t)1 << 40) return INVALID;
    map->strides[i] = strides[i];
  }
  map->magic = MAGIC;
  map->type = (uint8_t)type, map->rank = (uint8_t)rank, map->swizzle = (uint8_t)swizzle, map->fill = (uint8_t)fill;
  map->element_bytes = type_bytes[type];
  map->address = (uintptr_t)address;
  return CUDA_OK;
}

static CudaResult end(TensorMap *map, CudaTensorMap *out) {
  uint32_t line = (uint32_t)map->box[0] * map->element_bytes;
  if (line % 16 || (map->swizzle && line > 16u << map->swizzle)) return INVALID;
  map->check = tensor_map_check(map);
  memset(out, 0, sizeof *out);
  memcpy(out, map, sizeof *map);
  return CUDA_OK;
}

EMULATED_API CudaResult cuTensorMapEncodeTiled(CudaTensorMap *out, int type, uint32_t rank, void *address, const uint64_t *dims,
                                               const uint64_t *strides, const uint32_t *box, const uint32_t *element_strides,
                                               int interleave, int swizzle, int promotion, int fill) {
  MAY_FAIL();
  if (emulator.sm < 90) return NOT_SUPPORTED;
  TensorMap map;
  CudaResult result = begin(&map, type, rank, address, dims, strides, element_strides, interleave, swizzle, promotion, fill);
  if (result) return result;
  for (uint32_t i = 0; i < rank; i++) {
    if (!box[i] || box[i] > BOX_LIMIT) return INVALID;
    map.box[i] = (uint16_t)box[i];
  }
  return end(&map, out);
}

EMULATED_API CudaResult cuTensorMapEncodeIm2col(CudaTensorMap *out, int type, uint32_t rank, void *address,
                                                const uint64_t *dims, const uint64_t *strides, const int *lower,
                                                const int *upper, uint32_t channels, uint32_t pixels,
                                                const uint32_t *element_strides, int interleave, int swizzle, int promotion,
                                                int fill) {
  MAY_FAIL();
  if (emulator.sm < 90) return NOT_SUPPORTED;
  if (rank < 3) return INVALID;
  TensorMap map;
  CudaResult result = begin(&map, type, rank, address, dims, strides, element_strides, interleave, swizzle, promotion, fill);
  if (result) return result;
  if (!channels || channels > BOX_LIMIT || !pixels || pixels > PIXEL_LIMIT) return INVALID;
  int limit = rank == 3 ? 1 << 15 : rank == 4 ? 1 << 7 : 1 << 4;
  for (uint32_t i = 0; i < rank - 2; i++) {
    if (lower[i] < -limit || lower[i] >= limit || upper[i] < -limit || upper[i] >= limit) return INVALID;
    map.lower[i] = (int16_t)lower[i], map.upper[i] = (int16_t)upper[i];
  }
  map.im2col = 1;
  map.box[0] = (uint16_t)channels, map.box[1] = (uint16_t)pixels;
  return end(&map, out);
}
