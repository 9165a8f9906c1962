// Copies of boxes of a tensor (cp.async.bulk.tensor). A box is lines of its fastest dimension, one after the other in shared memory, their 16-byte
// chunks permuted by the swizzle; what of a line lies outside the tensor is filled or left out. An im2col box has for each line the
// channels of one pixel: pixels follow each other within the corners that the map gives, row after row, image after image.
#include <string.h>
#include "tests/emulator/tensor.h"

typedef struct Line {
  bool inside;
  uintptr_t address;         // of the part inside the tensor
  uint32_t skip, bytes, at;  // that part: where in the line, how long; where in the box the line is
} Line;
typedef void VisitLine(const Line *line, void *context);

static TensorMap read_map(Thread *t, const void *address, uintptr_t pc) {
  uintptr_t at = (uintptr_t)address;
  TensorMap map;
  if (at % 64) finding(FOUND_MISALIGNED, pc, "gives a tensor map at %p, no multiple of 64", address);
  // A parameter of the kernel is on its stack here.
  if (at - (uintptr_t)t->fiber.stack >= 128u << 10) access_memory(t, at, sizeof(CudaTensorMap), ACCESS_READ | ACCESS_PROXY, pc);
  memcpy(&map, address, sizeof map);
  if (!tensor_map_valid(&map))
    finding(FOUND_INSTRUCTION, pc, "gives something as a tensor map that the driver did not encode: the tensor map is invalid");
  return map;
}

EMULATED_API void emulated_tensor_prefetch(const void *map) { read_map(emulator.thread, map, CALLER); }

static uint32_t lines_along(const TensorMap *map, int i) {
  return ((uint32_t)map->box[i] + map->element_strides[i] - 1) / map->element_strides[i];
}

static uint32_t box_bytes(const TensorMap *map) {
  uint32_t bytes = (uint32_t)map->box[0] * map->element_bytes;
  if (map->im2col) return bytes * map->box[1];
  for (int i = 1; i < map->rank; i++) bytes *= lines_along(map, i);
  return bytes;
}

// The line that begins at the place.
static Line line_at(const TensorMap *map, const int64_t *place, uint32_t at) {
  Line line = {.inside = true, .address = map->address, .at = at};
  for (int i = 1; i < map->rank; i++) {
    line.inside &= place[i] >= 0 && place[i] <= map->last[i];
    line.address += (uint64_t)place[i] * map->strides[i - 1];
  }
  int64_t from = place[0] < 0 ? 0 : place[0], to = place[0] + map->box[0], end = (int64_t)map->last[0] + 1;
  if (to > end) to = end;
  if (from >= to) line.inside = false;
  if (!line.inside) return line;
  line.address += (uint64_t)from * map->element_bytes;
  line.skip = (uint32_t)(from - place[0]) * map->element_bytes;
  line.bytes = (uint32_t)(to - from) * map->element_bytes;
  return line;
}

static void visit_tile(const TensorMap *map, const int *place, VisitLine *visitor, void *context) {
  uint32_t step = (uint32_t)map->box[0] * map->element_bytes, count = box_bytes(map) / step;
  for (uint32_t i = 0; i < count; i++) {
    int64_t at[TENSOR_RANK] = {place[0]};
    uint32_t rest = i;
    for (int k = 1; k < map->rank; k++) {
      at[k] = place[k] + (int64_t)(rest % lines_along(map, k)) * map->element_strides[k];
      rest /= lines_along(map, k);
    }
    Line line = line_at(map, at, i * step);
    visitor(&line, context);
  }
}

static void visit_im2col(const TensorMap *map, const int *place, const unsigned short *offset, VisitLine *visitor,
                         void *context) {
  uint32_t step = (uint32_t)map->box[0] * map->element_bytes;
  int64_t pixel[TENSOR_RANK];
  for (int k = 0; k < map->rank; k++) pixel[k] = place[k];
  for (uint32_t i = 0; i < map->box[1]; i++) {
    int64_t at[TENSOR_RANK];
    for (int k = 0; k < map->rank; k++) at[k] = pixel[k] + (k && k < map->rank - 1 ? offset[k - 1] : 0);
    Line line = line_at(map, at, i * step);
    visitor(&line, context);
    int k = 1;
    for (; k < map->rank - 1; k++) {
      pixel[k] += map->element_strides[k];
      if (pixel[k] <= (int64_t)map->last[k] + map->upper[k - 1]) break;
      pixel[k] = map->lower[k - 1];
    }
    if (k == map->rank - 1) pixel[k]++;
  }
}

// --- Shared memory.

// Where the byte of the box lies, in the block's shared memory.
static uint32_t swizzled(const TensorMap *map, uint32_t offset) {
  static const uint32_t masks[] = {0, 1, 3, 7};
  return offset ^ (offset >> 7 & masks[map->swizzle]) << 4;
}

static void check_shared(const TensorMap *map, uint32_t offset, uintptr_t pc) {
  if (offset % 128)
    finding(FOUND_MISALIGNED, pc, "copies a box of a tensor from or to shared memory +%u, no multiple of 128", offset);
  uint32_t line = (uint32_t)map->box[0] * map->element_bytes;
  if (map->swizzle && line != 16u << map->swizzle)
    finding(FOUND_INSTRUCTION, pc, "copies a box with lines of %u bytes and a swizzle of %u, which is not emulated", line,
            16u << map->swizzle);
}

typedef struct Transfer {
  const TensorMap *map;
  Thread *thread;
  uintptr_t pc;
  uint32_t shared;  // where the box begins
  char *box;        // as it lies in shared memory
  BulkCopy *store;
  const Mbarrier *barrier;  // of a load
} Transfer;

// An element of the line, whose 16-byte chunk may lie elsewhere.
static void load_line(const Line *line, void *context) {
  Transfer *transfer = context;
  const TensorMap *map = transfer->map;
  uint32_t length = (uint32_t)map->box[0] * map->element_bytes, size = map->element_bytes;
  // A NaN of all ones, in every type.
  static const char nothing[2][8] = {{0}, {-1, -1, -1, -1, -1, -1, -1, -1}};
  if (line->inside) bulk_read_memory(transfer->thread, transfer->barrier, line->address, line->bytes, transfer->pc);
  for (uint32_t i = 0; i < length; i += size) {
    char *to = transfer->box + (swizzled(map, transfer->shared + line->at + i) - transfer->shared);
    bool inside = line->inside && i >= line->skip && i < line->skip + line->bytes;
    memcpy(to, inside ? (const char *)line->address + (i - line->skip) : nothing[map->fill], size);
  }
}

static void store_line(const Line *line, void *context) {
  Transfer *transfer = context;
  if (!line->inside) return;
  for (uint32_t i = 0; i < line->bytes;) {
    uint32_t from = line->at + line->skip + i, count = 16 - from % 16;
    if (count > line->bytes - i) count = line->bytes - i;
    bulk_add_run(transfer->store, line->address + i, count,
                 swizzled(transfer->map, transfer->shared + from) - transfer->shared);
    i += count;
  }
}

static void check_kind(const TensorMap *map, int rank, bool im2col, uintptr_t pc) {
  if (map->rank != rank) finding(FOUND_INSTRUCTION, pc, "copies a box of %d dimensions by a tensor map of %d", rank, map->rank);
  if (map->im2col != im2col)
    finding(FOUND_INSTRUCTION, pc, "copies %s by a tensor map that was encoded for %s", im2col ? "im2col" : "a tile",
            map->im2col ? "im2col" : "tiles");
}

// A box begins at a 16-byte boundary of the tensor's lines, wherever it hangs over: a GPU takes anything else for an illegal instruction.
static void check_start(const TensorMap *map, const int *place, uintptr_t pc) {
  if (place[0] * (int)map->element_bytes % 16)
    finding(FOUND_INSTRUCTION, pc,
            "copies a box that begins at element %d of a line, %d bytes from its start: no multiple of 16", place[0],
            place[0] * (int)map->element_bytes);
}

static void check_offsets(const TensorMap *map, const unsigned short *offset, uintptr_t pc) {
  static const unsigned limits[] = {1 << 16, 1 << 8, 1 << 5};
  for (int i = 0; i < map->rank - 2; i++)
    if (offset[i] >= limits[map->rank - 3])
      finding(FOUND_INSTRUCTION, pc, "gives im2col an offset of %u, of at most %u", offset[i], limits[map->rank - 3] - 1);
}

EMULATED_API void emulated_tensor_load(unsigned to, const void *address, int rank, const int *place,
                                       const unsigned short *offset, unsigned barrier, unsigned blocks) {
  Thread *t = emulator.thread;
  uintptr_t pc = CALLER;
  TensorMap map = read_map(t, address, pc);
  check_kind(&map, rank, offset != NULL, pc);
  check_start(&map, place, pc);
  if (offset) check_offsets(&map, offset, pc);
  uint32_t at, bytes = box_bytes(&map);
  Block *own = shared_block(t, to, &at);
  check_shared(&map, at, pc);
  if (blocks >> group_cluster(t->group))
    finding(FOUND_INSTRUCTION, pc, "copies to the blocks %04x of a cluster of %u", blocks, group_cluster(t->group));
  for (unsigned rank_to = 0; rank_to < t->group->block_count; rank_to++) {
    if (blocks ? !(blocks >> rank_to & 1) : rank_to != own->rank) continue;
    unsigned there = blocks && rank_to != t->block->rank ? (rank_to + 1) << 24 | (barrier & 0xffffff)
                     : blocks                            ? barrier & 0xffffff
                                                         : barrier;
    Mbarrier *b = mbarrier_use(t, there, pc);
    BulkCopy *copy = bulk_start(t, BULK_LOAD, t->group->blocks[rank_to], at, bytes, pc);
    if (b->block != copy->block)
      finding(FOUND_INSTRUCTION, pc, "lets a copy to block %u count at an mbarrier of block %u", rank_to, b->block->rank);
    Transfer transfer = {.map = &map, .thread = t, .pc = pc, .shared = at, .box = copy->data, .barrier = b};
    if (offset) visit_im2col(&map, place, offset, load_line, &transfer);
    else visit_tile(&map, place, load_line, &transfer);
    bulk_into(copy, b);
  }
  bulk_sometimes(t->group);
}

EMULATED_API void emulated_tensor_store(const void *address, int rank, const int *place, unsigned from) {
  Thread *t = emulator.thread;
  uintptr_t pc = CALLER;
  TensorMap map = read_map(t, address, pc);
  check_kind(&map, rank, false, pc);
  check_start(&map, place, pc);
  for (int i = 0; i < rank; i++)  // loads may, filling in zeros
    if (place[i] < 0)
      finding(FOUND_INSTRUCTION, pc, "stores a box that begins before the tensor, at %d in dimension %d", place[i], i);
  check_shared(&map, from, pc);
  BulkCopy *copy = bulk_start(t, BULK_STORE, t->block, from, box_bytes(&map), pc);
  copy->source = from;
  bulk_read_source(copy);
  Transfer transfer = {.map = &map, .thread = t, .pc = pc, .shared = from, .box = copy->data, .store = copy};
  visit_tile(&map, place, store_line, &transfer);
  bulk_sometimes(t->group);
}
