// See cpu_pool.c.
#include "kernels/pool/cpu_pool_run.h"
#include <string.h>
#include "base/checked.h"

typedef struct Job {
  const Pool *pool;
  const char *x;
  char *y;
} Job;

// A stretch of each counted axis at one place of the others.
typedef struct Part {
  PoolRun run;  // from x, over the whole innermost axis
  char *y;
  double divisor;
} Part;

typedef struct Place {
  int64_t x, y;  // in elements
} Place;

// Adds what place `at` of an axis brings to the addresses, and its taps to the run.
static void enter(const Pool *pool, int axis, int64_t at, Part *part, Place *place) {
  place->x += at * pool_x_step(pool, axis);
  place->y += at * pool->own.result.strides[axis];
  if (axis < 2) return;
  const Reach *reach = &pool->reach[axis - 2];
  int64_t q = at % pool->own.result.dims[axis], stride = pool->x.strides[axis];  // a run goes on behind the axis
  int slot = POOL_AXES - pool->axes + axis - 2;
  place->x += (reach->first[q] * reach->dilation - reach->pad) * stride;
  part->run.taps[slot] = reach->inside[q];
  part->run.tap_steps[slot] = reach->dilation * stride;
  part->divisor *= (double)MAX((pool->counts_padding ? reach->padded : reach->inside)[q], 1);
}

static Part part_of(const Job *job, int64_t outer, const Stretch *const stretches[2]) {
  const Pool *pool = job->pool;
  const TensorDesc *y = &pool->own.result;
  Part part = {.run = {.counts = {1, 1}, .taps = {1, 1, 1}, .least = &pool->least}, .divisor = 1};
  Place place = {0, 0};
  for (int n = pool->outer_count - 1; n >= 0; n--) {  // the last runs fastest
    int axis = pool->outer_axes[n];
    enter(pool, axis, outer % y->dims[axis], &part, &place);
    outer /= y->dims[axis];
  }
  for (int n = 0; n < 2; n++) {
    int axis = pool->counted[n].axis;
    if (axis < 0) continue;
    enter(pool, axis, stretches[n]->begin, &part, &place);
    part.run.counts[n] = stretches[n]->count;
    part.run.x_steps[n] = pool_x_step(pool, axis);
    part.run.y_steps[n] = y->strides[axis];
  }
  bool empty = part.run.taps[0] * part.run.taps[1] * part.run.taps[2] == 0;
  part.run.x = empty ? job->x : job->x + place.x * (int64_t)pool->item;
  part.y = job->y + place.y * (int64_t)pool->item;
  return part;
}

// ---- Taps are vectors -------------------------------------------------------------------------------------------------------

static void run_across(const Pool *pool, Part *part, int64_t begin, int64_t count) {
  PoolRun *run = &part->run;
  run->x = (const char *)run->x + begin * (int64_t)pool->item;
  run->y = part->y + begin * (int64_t)pool->item;
  run->width = count;
  run->divisor = part->divisor;
  pool->across(run);
}

// ---- Taps lie along the line ------------------------------------------------------------------------------------------------

typedef struct Lines {
  int64_t row, rows;               // of the stretch
  int64_t column, columns;         // outputs
  int64_t start, low, high, span;  // what the line holds of the image: elements start + low .. start + high
  int64_t filled;                  // rows whose ends hold pads for these
  _Alignas(64) char line[POOL_LINE * sizeof(double)], out[POOL_LINE * sizeof(double)], means[POOL_LINE * sizeof(double)];
} Lines;

static void fill(const Pool *pool, size_t item, char *to, int64_t count) {
  for (int64_t i = 0; i < count; i++) memcpy(to + i * (int64_t)item, &pool->least, item);
}

static void fill_pads(const Pool *pool, size_t item, Lines *lines) {
  for (; lines->filled < lines->rows; lines->filled++) {
    char *line = lines->line + lines->filled * pool->pitch * (int64_t)item;
    fill(pool, item, line, lines->low);
    fill(pool, item, line + lines->high * (int64_t)item, (pool->most_rows > 1 ? pool->pitch : lines->span) - lines->high);
  }
}

// Where on the line the image lies for taps [tap, tap + taps).
static void span_taps(const Pool *pool, int64_t tap, int64_t taps, Lines *lines) {
  const Reach *reach = &pool->reach[pool->inner - 2];
  int64_t start = lines->column * pool->stride - reach->pad + tap * reach->dilation;
  int64_t span = (lines->columns - 1) * pool->stride + (taps - 1) * reach->dilation + 1;
  int64_t low = MIN(MAX(-start, 0), span), high = MIN(MAX(pool->x.dims[pool->inner] - start, low), span);
  if (low != lines->low || high != lines->high || span != lines->span) lines->filled = 0;
  lines->start = start, lines->low = low, lines->high = high, lines->span = span;
}

// What the window's line holds: rows combined, between pads.
static void combine_rows(const Pool *pool, const PoolLines *loops, const Part *part, Lines *lines) {
  PoolRun run = part->run;
  fill_pads(pool, loops->item, lines);
  if (lines->low == lines->high) return;
  run.x = (const char *)run.x + (lines->row * run.x_steps[0] + lines->start + lines->low) * (int64_t)pool->item;
  run.y = lines->line + lines->low * (int64_t)loops->item;
  run.y_steps[0] = pool->pitch;
  run.counts[0] = lines->rows;
  run.width = lines->high - lines->low;
  run.divisor = 1;
  loops->across(&run);
}

// Whether all means are finite.
static bool store_rows(const Pool *pool, const PoolLines *loops, const Part *part, Lines *lines, int64_t outputs) {
  int64_t pitch = pool->pitch / pool->stride, step = part->run.y_steps[0], rows = lines->rows, columns = lines->columns;
  const float *divisors = pool->divisors ? pool->divisors + lines->column : NULL;
  bool finite =
      !loops->divide || loops->divide(lines->means, lines->out, divisors, (float)part->divisor * pool->divisor, outputs);
  const char *from = loops->divide ? lines->means : lines->out;
  char *to = part->y + (lines->row * step + lines->column) * (int64_t)pool->item;
  if (pitch == columns && step == pitch) columns *= rows, rows = 1;
  for (int64_t r = 0; r < rows; r++, to += step * (int64_t)pool->item, from += pitch * (int64_t)pool->item)
    memcpy(to, from, (size_t)columns * pool->item);
  return finite;
}

static bool run_lines(const Pool *pool, const PoolLines *loops, const Part *part, Lines *lines) {
  const Reach *reach = &pool->reach[pool->inner - 2];
  int64_t outputs = (lines->rows - 1) * pool->pitch / pool->stride + lines->columns;
  for (int64_t tap = 0; tap < reach->taps; tap += pool->taps) {
    int64_t taps = MIN(reach->taps - tap, pool->taps);
    span_taps(pool, tap, taps, lines);
    combine_rows(pool, loops, part, lines);
    loops->along(lines->out, lines->line, pool->stride, &(PoolTaps){taps, reach->dilation}, outputs, tap == 0);
  }
  return store_rows(pool, loops, part, lines, outputs);
}

static void run_along(const Pool *pool, const Part *part, Lines *lines) {
  int64_t outputs = pool->own.result.dims[pool->inner];
  for (lines->row = 0; lines->row < part->run.counts[0]; lines->row += lines->rows) {
    lines->rows = MIN(part->run.counts[0] - lines->row, pool->most_rows);
    for (lines->column = 0; lines->column < outputs; lines->column += lines->columns) {
      lines->columns = MIN(outputs - lines->column, pool->columns);
      if (run_lines(pool, &pool->lines, part, lines) || !pool->exact_lines.across) continue;
      lines->filled = 0;
      run_lines(pool, &pool->exact_lines, part, lines);
      lines->filled = 0;
    }
  }
}

// ---- All --------------------------------------------------------------------------------------------------------------------

// A few lines of outputs at a time, so that what their channels share with the next ones is in the cache.
static void run_vectors(const Job *job, int64_t outer, const Stretch *stretch, int64_t channel) {
  const Pool *pool = job->pool;
  const Counted *inner = &pool->counted[1];
  int64_t width = MIN(pool->own.result.dims[pool->inner] - channel, pool->width);
  for (int64_t done = 0; done < stretch->count; done += pool->most_lines) {
    Stretch some = {stretch->begin + done, MIN(stretch->count - done, pool->most_lines)};
    for (int64_t n = 0; n < inner->stretch_count; n++) {
      Part part = part_of(job, outer, (const Stretch *[]){&some, &inner->stretches[n]});
      run_across(pool, &part, channel, width);
    }
  }
}

static void run_parts(void *context, int64_t begin, int64_t end) {
  const Job *job = context;
  const Pool *pool = job->pool;
  const Counted *counted = pool->counted;
  Lines lines;
  lines.filled = lines.low = lines.high = lines.span = 0;
  for (int64_t i = begin; i < end; i++) {
    int64_t outer = pool->parts_first ? i % pool->outers : i / pool->parts;
    int64_t part = pool->parts_first ? i / pool->outers : i % pool->parts;
    const Stretch *stretch = &counted->stretches[part % counted->stretch_count];
    if (pool->inner < 2) {
      run_vectors(job, outer, stretch, part / counted->stretch_count * pool->width);
    } else {
      Part rows = part_of(job, outer, (const Stretch *[]){stretch, counted[1].stretches});
      run_along(pool, &rows, &lines);
    }
  }
}

Status pool_run(void *state, const HostCall *call) {
  enum { GRAIN = 1 << 16 };  // bytes of taps
  Pool *pool = state;
  Job job = {pool, cpu_own_x(&pool->own, call), cpu_own_y(&pool->own, call)};
  int64_t count = pool->outers * pool->parts, bytes = desc_count(&pool->own.result) / count * (int64_t)pool->item;
  for (int i = 0; i < pool->axes; i++) bytes *= pool->reach[i].taps;
  parallel_for(call->pool, count, MAX(GRAIN / MAX(bytes, 1), 1), run_parts, &job);
  cpu_own_pass(&pool->own, call);
  return OK;
}
