// topk. A row goes through shared memory: all of it where it fits, else in pieces, each sorted together with the best k so far (k up
// to half of the room). Rows too long for that with a large k are sorted in the workspace by a bitonic network whose short
// distances run in shared memory.
// Traffic: the input once. Limit on the chip: the sorting network, in shared memory.
#include "base/checked.h"
#include "kernels/common/points.h"
#include "kernels/sort/sort.h"

// Rows of open length: rooms are four times as large as the next smaller one, down to this many slots, so that few kernels serve all lengths.
enum { SLOT_BYTES = 32768, SORT_THREADS = 512, OPEN_ROOM = 256 };

typedef struct TopK {
  const Site *site;
  const TensorDesc *x, *y;
  int axis;
  int64_t n, k, rows;
  int room;  // slots in shared memory
  bool wide, largest;
  TensorDesc lines;  // one point a row
  KernelArguments *arguments;
  DimTable *dims;  // of open dims, which are arguments; NULL: the kernels are for the sizes of now
} TopK;

static bool supports(const Site *site) {
  DTypeKind kind = dtype_kind(site->inputs[0].dtype);
  REQUIRE(site, kind != KIND_STRING && kind != KIND_COMPLEX, "elements have no order");
  REQUIRE(site, site->inputs[0].dims[node_int(site->node, "axis", 0)] < INT32_MAX, "the axis is longer than its indices count");
  return true;
}

static int ways(const Site *site, const Machine *machine, Way *out, int limit) {
  out[0] = (Way){.name = "bitonic"};
  return 1;
}

static TopK read_topk(const Site *site) {
  TopK t = {.site = site, .x = &site->inputs[0], .y = &site->outputs[0], .axis = (int)node_int(site->node, "axis", 0)};
  DType dtype = t.x->dtype;
  t.n = t.x->dims[t.axis];
  t.k = t.y->dims[t.axis];
  t.wide = dtype_bits(dtype) > 32;
  t.largest = node_int(site->node, "largest", 1) != 0;
  t.room = SLOT_BYTES / (t.wide ? 16 : 8);
  bool open = desc_extent(t.x, t.axis).open;
  int step = open ? 4 : 2;
  while (t.room / step >= t.n && t.room > (open ? OPEN_ROOM : 2)) t.room /= step;
  t.lines = *t.x;
  t.lines.dims[t.axis] = 1;
  t.rows = desc_count(&t.lines);
  return t;
}

static const char *size_text(const TopK *t, Extent extent, bool wide) {
  return extent_text(t->arguments, t->dims ? extent : extent_static(extent.now), wide);
}
static char *offset_of(const TopK *t, const TensorDesc *desc, const char *const *names) {
  return desc_open_offset(t->arguments->arena, t->dims, t->arguments, desc, names);
}

// Between elements of a row, as a factor.
static Extent row_stride(const TopK *t) {
  Extent stride = desc_stride(t->x, t->axis);
  return t->dims ? stride : extent_static(stride.now);
}
static char *stride_text(const TopK *t) { return arena_printf(t->arguments->arena, "(%s)", size_text(t, row_stride(t), true)); }

static void add_types(Text *text, const TopK *t) {
  text_add(text, "#include \"kernels/sort/sort.cuh\"\n");
  text_add(text, "typedef %s Slot;\ntypedef Element_%s E;\n", t->wide ? "WideSlot" : "NarrowSlot", dtype_name(t->x->dtype));
  text_add(text,
           "DEVICE Slot slot_of(const E::Stored *row, i64 i%s) {\n  return Slot::make(sort_key<%s>(E::get(row[i * %s])), "
           "(u32)i);\n}\n",
           row_stride(t).open ? ", const Dims &dims" : "", t->largest ? "true" : "false", stride_text(t));
}

// Sets `row` to the input's first element of the row at i0, i1 ..., and defines how result r is stored.
static void add_row(Text *text, const TopK *t) {
  const char *names[MAX_RANK] = {0};
  names[t->axis] = "0";
  text_add(text, "  const E::Stored *row = x0 + (%s);\n", offset_of(t, t->x, names));
}
static void add_store(Text *text, const TopK *t, const char *slot) {
  const char *names[MAX_RANK] = {0}, *stride = stride_text(t);
  names[t->axis] = "r";
  text_add(text, "    const u32 place = (%s).place();\n    y0[%s] = row[(i64)place * %s];\n", slot, offset_of(t, t->y, names),
           stride);
  if (t->site->node->output_count > 1) text_add(text, "    y1[%s] = place;\n", offset_of(t, &t->site->outputs[1], names));
}

static char *slot_text(const TopK *t, const char *place) {
  return arena_printf(t->arguments->arena, row_stride(t).open ? "slot_of(row, %s, dims)" : "slot_of(row, %s)", place);
}

static int threads_of(const TopK *t) { return MAX(MIN(SORT_THREADS, t->room / 2), 32); }

static Status emit_shared(TopK *t, Emission *out) {
  int threads = threads_of(t);
  t->lines = desc_with_extent(out->arena, t->x, t->axis, extent_static(1));
  Points points = points_begin_blocks(t->site, out->arena, "topk", "", &t->lines, threads);
  t->arguments = &points.arguments;
  t->dims = t->site->dims;
  Text *text = &points.body;
  Extent n = desc_extent(t->x, t->axis), k = desc_extent(t->y, t->axis);
  const char *kept = size_text(t, k, false);
  add_types(&points.before, t);
  add_row(text, t);
  text_add(text, "  constexpr int ROOM = %d, THREADS = %d;\n  __shared__ Slot slots[ROOM];\n", t->room, threads);
  text_add(text, "  for (int i = threadIdx.x; i < ROOM; i += THREADS) slots[i] = i < %s ? %s : Slot::last();\n",
           size_text(t, n, false), slot_text(t, "i"));
  text_add(text, "  sort_shared<Slot, ROOM, THREADS>(slots);\n");
  if (t->n > t->room) {
    // The best k stay in front; the rest of the room takes the next piece.
    const char *length = size_text(t, n, true);
    text_add(text, "  for (i64 done = ROOM; done < %s; done += ROOM - %s) {\n", length, kept);
    text_add(text,
             "    for (int i = %s + threadIdx.x; i < ROOM; i += THREADS) {\n      const i64 at = done + i - %s;\n"
             "      slots[i] = at < %s ? %s : Slot::last();\n    }\n",
             kept, kept, length, slot_text(t, "at"));
    text_add(text, "    sort_shared<Slot, ROOM, THREADS>(slots);\n  }\n");
  }
  text_add(text, "  for (int r = threadIdx.x; r < %s; r += THREADS) {\n", kept);
  add_store(text, t, "slots[r]");
  text_add(text, "  }\n");
  points_end(&points, out);
  return OK;
}

// --- Rows sorted in the workspace

static Status emit_global(TopK *t, Emission *out) {
  KernelArguments none = {.arena = out->arena};
  t->arguments = &none;
  int64_t length = 1;
  while (length < t->n) length *= 2;
  size_t bytes, row_bytes = (size_t)length * (t->wide ? 16 : 8);
  if (!checked_mul(row_bytes, (size_t)t->rows, &bytes)) FAIL(ERROR_OUT_OF_MEMORY, "sorting %lld rows", (long long)t->rows);
  out->workspace_bytes = MAX(out->workspace_bytes, bytes);
  Arena *arena = out->arena;
  int room = t->room;
  int64_t pairs = length / 2, points = pairs * t->rows;
  t->lines.open = NULL;
  Points load = points_begin_blocks(t->site, arena, "sort_load", ", Slot *slots", &t->lines, SORT_THREADS);
  Points store = points_begin_blocks(t->site, arena, "sort_store", ", const Slot *slots", &t->lines, SORT_THREADS);
  Text *text = &store.before;
  add_row(&load.body, t);
  text_add(&load.body,
           "  for (i64 i = threadIdx.x; i < %lldll; i += %d)\n    slots[point * %lldll + i] = i < %lldll ? slot_of(row, i) : "
           "Slot::last();\n",
           (long long)length, SORT_THREADS, (long long)length, (long long)t->n);
  add_types(text, t);
  text_add(text, "%s", points_source(&load));
  // All sizes up to what fits; or, for one size, all strides that fit.
  text_add(text,
           "extern \"C\" __global__ void sort_near(Slot *slots, i64 first_size, i64 last_size) {\n  begin_kernel();\n  "
           "constexpr int ROOM = %d;\n "
           " __shared__ Slot part[ROOM];\n"
           "  Slot *from = slots + (i64)blockIdx.x * ROOM;\n  const i64 base = (i64)blockIdx.x * ROOM %% %lldll;\n"
           "  for (int i = threadIdx.x; i < ROOM; i += %d) part[i] = from[i];\n"
           "  for (i64 size = first_size; size <= last_size; size *= 2)\n"
           "    for (int stride = size < ROOM ? (int)size / 2 : ROOM / 2; stride > 0; stride /= 2) {\n      __syncthreads();\n"
           "      for (int pair = threadIdx.x; pair < ROOM / 2; pair += %d) sort_pair(part, base, pair, size, stride);\n    }\n"
           "  __syncthreads();\n  for (int i = threadIdx.x; i < ROOM; i += %d) from[i] = part[i];\n}\n",
           room, (long long)length, SORT_THREADS, SORT_THREADS, SORT_THREADS);
  text_add(
      text,
      "extern \"C\" __global__ void sort_far(Slot *slots, i64 size, i64 stride) {\n  begin_kernel();\n  const i64 point = "
      "(i64)blockIdx.x * %d + "
      "threadIdx.x;\n"
      "  if (point >= %lldll) return;\n  sort_pair(slots + point / %lldll * %lldll, 0, point %% %lldll, size, stride);\n}\n",
      SORT_THREADS, (long long)points, (long long)pairs, (long long)length, (long long)pairs);
  add_row(&store.body, t);
  text_add(&store.body, "  for (i64 r = threadIdx.x; r < %lldll; r += %d) {\n", (long long)t->k, SORT_THREADS);
  add_store(&store.body, t, arena_printf(arena, "slots[point * %lldll + r]", (long long)length));
  text_add(&store.body, "  }\n");

  const char *source = points_source(&store);
  unsigned block[3] = {SORT_THREADS, 1, 1}, near_grid[3] = {(unsigned)(length * t->rows / room), 1, 1};
  unsigned far_grid[3] = {(unsigned)ceil_div(points, SORT_THREADS), 1, 1};
  emit_workspace(out, points_launch(&load, source, out), 0);
  for (int64_t size = room; size <= length; size *= 2) {
    for (int64_t stride = size / 2; stride >= room; stride /= 2) {
      Launch *far_pass = emit_kernel(out, source, "sort_far", far_grid, block);
      emit_workspace(out, far_pass, 0);
      emit_i64(out, far_pass, size);
      emit_i64(out, far_pass, stride);
    }
    Launch *near_pass = emit_kernel(out, source, "sort_near", near_grid, block);
    emit_workspace(out, near_pass, 0);
    emit_i64(out, near_pass, size == room ? 2 : size);
    emit_i64(out, near_pass, size);
  }
  emit_workspace(out, points_launch(&store, source, out), 0);
  return OK;
}

static bool is_shared(const TopK *t) { return t->n <= t->room || t->k <= t->room / 2; }

// A launch for each pass of emit_global: those over distances that a block's shared memory does not hold, and one for each size.
static double cost(const Site *site) {
  TopK t = read_topk(site);
  int launches = 2;
  if (is_shared(&t)) return cost_of_site(site, 1);
  for (int64_t size = t.room, far_passes = 0; size / 2 < t.n; size *= 2, far_passes++) launches += 1 + (int)far_passes;
  return cost_of_site(site, launches);
}

static Status lower(const Site *site, const Way *way, const Machine *machine, Emission *out) {
  TopK t = read_topk(site);
  if (desc_count(t.y) == 0) return OK;
  return is_shared(&t) ? emit_shared(&t, out) : emit_global(&t, out);
}

const Implementation cuda_topk = {
    .name = "topk",
    .backend = BACKEND_CUDA,
    .op = &op_topk,
    .general = true,
    .supports = supports,
    .ways = ways,
    .cost = cost,
    .lower = lower,
};
