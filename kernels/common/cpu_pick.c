// See cpu_pick.h.
#include "kernels/common/cpu_pick.h"
#include <string.h>
#include "base/checked.h"

enum { GRAIN_BYTES = 1 << 15, WORTHY_RUN = 4 };

static int inner_axis(const TensorDesc *y) {
  int inner = -1;
  for (int i = 0; i < y->rank; i++)
    if (y->dims[i] != 1 && y->strides[i] == 1) inner = i;
  return inner;
}

bool cpu_pick_supports(const TensorDesc *y) { return desc_is_dense(y) && (inner_axis(y) >= 0 || desc_count(y) == 1); }

static void find_runs(CpuPick *pick, Arena *arena) {
  uint32_t capacity = 0, count = 0;
  for (int64_t i = 0; i < pick->length; i++) {
    int64_t offset = pick->inner_offsets[i];
    PickRun *last = count ? &pick->runs[count - 1] : NULL;
    bool continues = last && (last->offset == PICK_CONSTANT ? offset == PICK_CONSTANT : offset == last->offset + last->length);
    if (continues) last->length++;
    else *ARENA_PUSH(arena, pick->runs, count, capacity) = (PickRun){i, 1, offset};
  }
  pick->run_count = (int)count;
}

static bool goes_on(const int64_t *offsets, int64_t count, int64_t step) {
  for (int64_t i = 0; i < count; i++)
    if (offsets[i] == PICK_CONSTANT || offsets[i] != offsets[0] + i * step) return false;
  return true;
}

// Axes that are copied whole make one row of those inside them: short rows cost more to find than to copy.
static void join_rows(CpuPick *pick) {
  while (pick->rank && pick->run_count == 1 && pick->runs[0].offset != PICK_CONSTANT) {
    int last = pick->rank - 1;
    if (pick->to[last] != pick->length || !goes_on(pick->offsets[last], pick->dims[last], pick->length)) return;
    pick->runs[0].offset += pick->offsets[last][0];
    pick->length = pick->runs[0].length = pick->length * pick->dims[last];
    pick->rank--;
  }
}

static bool runs_are_worth_it(const CpuPick *pick) {
  for (int i = 0; i < pick->run_count; i++)
    if (pick->runs[i].offset == PICK_CONSTANT) return true;
  return pick->length >= (int64_t)pick->run_count * WORTHY_RUN;
}

void cpu_pick_plan(CpuPick *pick, Arena *arena, const TensorDesc *y, int64_t *const *offsets) {
  int inner = inner_axis(y);
  *pick = (CpuPick){.size = dtype_size(y->dtype), .length = 1, .units = 1};
  // Outer axes in memory order, so that writing is a walk.
  bool taken[MAX_RANK] = {0};
  if (inner >= 0) taken[inner] = true;
  for (int n = 0; n < y->rank - (inner >= 0); n++) {
    int next = -1;
    for (int i = 0; i < y->rank; i++)
      if (!taken[i] && (next < 0 || y->strides[i] > y->strides[next])) next = i;
    taken[next] = true;
    pick->dims[pick->rank] = y->dims[next];
    pick->to[pick->rank] = y->strides[next];
    pick->offsets[pick->rank++] = offsets[next];
  }
  if (inner >= 0) pick->length = y->dims[inner], pick->inner_offsets = offsets[inner];
  else pick->inner_offsets = arena_array(arena, int64_t, 1);
  find_runs(pick, arena);
  int axes = pick->rank;
  join_rows(pick);
  if (pick->rank == axes && !runs_are_worth_it(pick)) pick->run_count = 0;
  for (int i = 0; i < pick->rank; i++) pick->units *= pick->dims[i];
}

typedef struct Job {
  const CpuPick *pick;
  char *y;
  const char *x, *constant;
} Job;

static void fill(char *to, const char *constant, size_t size, int64_t count) {
  if (count == 0) return;
  memcpy(to, constant, size);
  for (size_t done = size, all = size * (size_t)count; done < all;) {
    size_t part = MIN(done, all - done);
    memcpy(to + done, to, part);
    done += part;
  }
}

#define GATHER(Type)                         \
  for (int64_t i = 0; i < pick->length; i++) \
  ((Type *)(void *)to)[i] = ((const Type *)(const void *)from)[pick->inner_offsets[i]]

static void gather_row(const CpuPick *pick, char *to, const char *from) {
  switch (pick->size) {
    case 1: GATHER(uint8_t); break;
    case 2: GATHER(uint16_t); break;
    case 4: GATHER(uint32_t); break;
    case 8: GATHER(uint64_t); break;
    default:
      for (int64_t i = 0; i < pick->length; i++)
        memcpy(to + (size_t)i * pick->size, from + pick->inner_offsets[i] * (int64_t)pick->size, pick->size);
  }
}

static void pick_row(const Job *job, int64_t to, int64_t from) {
  const CpuPick *pick = job->pick;
  int64_t size = (int64_t)pick->size;
  char *row = job->y + to * size;
  if (from == PICK_CONSTANT) {
    fill(row, job->constant, pick->size, pick->length);
    return;
  }
  const char *source = job->x + from * size;
  if (pick->run_count == 0) gather_row(pick, row, source);
  for (int i = 0; i < pick->run_count; i++) {
    const PickRun *run = &pick->runs[i];
    if (run->offset == PICK_CONSTANT) fill(row + run->begin * size, job->constant, pick->size, run->length);
    else memcpy(row + run->begin * size, source + run->offset * size, (size_t)(run->length * size));
  }
}

static void run_units(void *context, int64_t begin, int64_t end) {
  const Job *job = context;
  const CpuPick *pick = job->pick;
  for (int64_t unit = begin; unit < end; unit++) {
    int64_t rest = unit, to = 0, from = 0;
    for (int i = pick->rank - 1; i >= 0; i--) {
      int64_t index = rest % pick->dims[i], offset = pick->offsets[i][index];
      rest /= pick->dims[i];
      to += index * pick->to[i];
      from = from == PICK_CONSTANT || offset == PICK_CONSTANT ? PICK_CONSTANT : from + offset;
    }
    pick_row(job, to, from);
  }
}

void cpu_pick_run(const CpuPick *pick, ThreadPool *pool, void *y, const void *x, const void *constant) {
  Job job = {pick, y, x, constant};
  int64_t row_bytes = pick->length * (int64_t)pick->size;
  parallel_for(pool, pick->units, MAX(GRAIN_BYTES / MAX(row_bytes, (int64_t)1), (int64_t)1), run_units, &job);
}
