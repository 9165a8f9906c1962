// Side by side. A small network's step fills a part of a GPU, and branches that need nothing of each other may share it. The plan is played through with
// predicted times, again and again the step that can begin first: on the stream of one of those whose results it reads, which costs nothing, or on another, whose price is
// a wait when it leaves and one when its result comes back. Of steps that could begin at once the one with the longest way to the end goes first, so that the critical path keeps its
// stream and what is beside it goes elsewhere. Nothing begins where it finds no room on the chip: of steps that fill it
// nothing is won by running two.
//
// Times are whole nanoseconds, so that the same plan comes out everywhere. What one stream would do as fast, or nearly, stays on one.
#include "lower/streams.h"

#include <math.h>
#include <string.h>

#include "base/checked.h"
#include "lower/clocks.h"
#include "lower/pieces.h"

enum {
  CROSSING =
      1500,  // nanoseconds that a step which waits for another stream begins later than behind one of its own (recorded graphs on an H200: 1 to 1.5 us)
  LEAST_GAIN = 4,   // percent of the plan's time, predicted, for which streams are worth having
  FULL_WARPS = 16,  // of a multiprocessor: beside them others gain little
  WINDOW = 32,  // steps that are looked at from the first on that has not begun: what is far apart stays so, and memory with it
  WHOLE = 1 << 20,  // of a chip
};

// Of each step the steps that write what it reads: those numbered from first[step] to first[step + 1], excluded, in `steps`.
typedef struct Sources {
  uint32_t *first;
  int *steps;
} Sources;

typedef struct Player {
  const Plan *plan;
  int limit;
  Sources sources;
  int64_t *times, *ways;   // by step: how long it takes; from its beginning to the end of all that needs it
  int *heirs;              // by step: of those that read what it writes the one with the longest way to the end, or -1
  int *there;              // by step: of its sources the first so many are known to have begun
  int *shares;             // by step: of the chip, of WHOLE
  int64_t *ends;           // by step that has begun
  int *streams;            // by step: -1 before it has begun
  int last[PLAN_STREAMS];  // that has begun on each, or -1
} Player;

// ---- what a step takes -------------------------------------------------------------------------------------------------------

static double share_of_launch(const Launch *launch, const DeviceInfo *device) {
  if (launch->kind != LAUNCH_KERNEL) return 1;  // a library's grids are its own
  double blocks = (double)launch->grid[0] * launch->grid[1] * launch->grid[2];
  double warps = ceil((double)launch->block[0] * launch->block[1] * launch->block[2] / 32);
  double on_each = blocks / device->multiprocessors;
  if (launch->cooperative) return on_each;  // a block keeps what it reads again and again in all of a multiprocessor
  return fmax(on_each * warps / FULL_WARPS, on_each * launch->shared_bytes / device->shared_per_multiprocessor);
}

// By its blocks, and by what of the chip's peaks it is predicted to reach.
static int share_of(const PlanStep *step, const DeviceInfo *device, double microseconds) {
  const Emission *emission = step->selection.emission;
  double share = cost_at_least(&step->site) / fmax(microseconds, 1e-3);
  for (uint32_t i = 0; i < emission->launch_count; i++) share = fmax(share, share_of_launch(&emission->launches[i], device));
  return (int)(fmin(share, 1) * WHOLE);
}

// A piece of a buffer, and the step that writes it.
typedef struct Written {
  Piece piece;
  int step;
  const struct Written *next;
} Written;

// Those that write what the step reads, from number `count` of the list on; returns how many are in it then.
static uint32_t add_sources(const PlanStep *step, const Written *const *written, Arena *arena, Sources *out, uint32_t count,
                            uint32_t *capacity) {
  for (int i = 0; i < site_input_count(&step->site); i++) {
    const Written *at = step->inputs[i].buffer < 0 ? NULL : written[step->inputs[i].buffer];
    if (!at || !desc_count(&step->site.inputs[i])) continue;
    Piece read = piece_read(&step->site.inputs[i], step->inputs[i].offset, at->piece.row);
    for (; at; at = at->next)
      if (pieces_meet(&at->piece, &read)) *ARENA_PUSH(arena, out->steps, count, *capacity) = at->step;
  }
  return count;
}

static Sources find_sources(const Plan *plan, Arena *arena) {
  Sources sources = {.first = arena_array(arena, uint32_t, plan->step_count + 1)};
  const Written **written = arena_array(arena, const Written *, plan->buffer_count);
  uint32_t count = 0, capacity = 0;
  for (uint32_t s = 0; s < plan->step_count; s++) {
    const PlanStep *step = &plan->steps[s];
    sources.first[s] = count;
    count = add_sources(step, written, arena, &sources, count, &capacity);
    for (int i = 0; i < step->node->output_count; i++) {
      int buffer = step->outputs[i].buffer;
      Written *piece = arena_new_of(arena, Written);
      *piece = (Written){.step = (int)s, .next = written[buffer]};
      if (!desc_count(&step->site.outputs[i]) ||
          !piece_of(&step->site.outputs[i], step->outputs[i].offset, plan->buffers[buffer].bytes, &piece->piece))
        continue;
      written[buffer] = piece;
    }
  }
  sources.first[plan->step_count] = count;
  return sources;
}

static Player player_new(const Plan *plan, int limit, Arena *arena) {
  uint32_t count = plan->step_count;
  Player p = {.plan = plan,
              .limit = limit,
              .sources = find_sources(plan, arena),
              .times = arena_array(arena, int64_t, count),
              .ways = arena_array(arena, int64_t, count),
              .heirs = arena_array(arena, int, count),
              .there = arena_array(arena, int, count),
              .shares = arena_array(arena, int, count),
              .ends = arena_array(arena, int64_t, count),
              .streams = arena_array(arena, int, count)};
  for (int i = 0; i < PLAN_STREAMS; i++) p.last[i] = -1;
  for (uint32_t s = count; s--;) {
    const PlanStep *step = &plan->steps[s];
    double microseconds = selection_cost(&step->selection, &step->site);
    p.times[s] = llround(microseconds * 1e3);
    p.shares[s] = share_of(step, plan->device, microseconds);
    p.streams[s] = p.heirs[s] = -1;
  }
  for (uint32_t s = count; s--;) {
    p.ways[s] += p.times[s];
    for (uint32_t i = p.sources.first[s]; i < p.sources.first[s + 1]; i++) {
      int writer = p.sources.steps[i];
      if (p.ways[writer] > p.ways[s]) continue;
      p.ways[writer] = p.ways[s];
      p.heirs[writer] = (int)s;
    }
  }
  return p;
}

// ---- playing -----------------------------------------------------------------------------------------------------------------

typedef struct Move {
  int step, stream;
  int64_t begin, price;  // price: when it begins, what leaving costs when its result comes back, and what it delays
} Move;

// The earliest time from `at` on at which there is room: when a stream's last step ends, there may be.
static int64_t find_room(const Player *p, int step, int64_t at) {
  for (;;) {
    int64_t load = 0, next = INT64_MAX;
    for (int i = 0; i < p->limit; i++) {
      int other = p->last[i];
      if (other < 0 || p->ends[other] <= at) continue;
      load += p->shares[other];
      next = MIN(next, p->ends[other]);
    }
    if (!load || load + p->shares[step] <= WHOLE) return at;
    at = next;
  }
}

static bool may_begin(const Player *p, int number) {
  const uint32_t *first = &p->sources.first[number];
  int *there = &p->there[number];
  for (; (uint32_t)*there < first[1] - first[0]; ++*there)
    if (p->streams[p->sources.steps[first[0] + (uint32_t)*there]] < 0) return false;
  return p->streams[number] < 0;
}

// What the one that continues the stream's last step, and could begin, is made to wait for another.
static int64_t delay_of(const Player *p, int number, int stream) {
  int last = p->last[stream], heir = last < 0 ? -1 : p->heirs[last];
  return heir < 0 || heir == number || !may_begin(p, heir) ? 0 : p->times[number];
}

static Move move_of(const Player *p, int number, int stream) {
  int64_t begin = p->last[stream] < 0 ? 0 : p->ends[p->last[stream]];
  bool alone = true, home = false;
  for (uint32_t i = p->sources.first[number]; i < p->sources.first[number + 1]; i++) {
    int writer = p->sources.steps[i];
    bool here = p->streams[writer] == stream;
    begin = MAX(begin, p->ends[writer] + (here ? 0 : CROSSING));
    alone = false;
    home |= here;
  }
  begin = find_room(p, number, begin);
  int64_t leaves = home || (alone && !stream) ? 0 : CROSSING;
  return (Move){number, stream, begin, begin + leaves + delay_of(p, number, stream)};
}

static bool is_better(const Player *p, const Move *move, const Move *than) {
  if (than->step < 0 || move->price != than->price) return than->step < 0 || move->price < than->price;
  return p->ways[move->step] > p->ways[than->step];
}

// The first in the plan's order and on the lowest stream, of those that are as good.
static Move best_move(const Player *p, int first) {
  Move best = {.step = -1};
  int end = MIN(first + WINDOW, (int)p->plan->step_count);
  for (int s = first; s < end; s++) {
    if (!may_begin(p, s)) continue;
    int streams = p->plan->steps[s].selection.implementation->library
                      ? 1
                      : p->limit;  // what a library keeps for its calls, it keeps once
    for (int stream = 0; stream < streams; stream++) {
      Move move = move_of(p, s, stream);
      if (is_better(p, &move, &best)) best = move;
    }
  }
  return best;
}

// Fills the order in which steps begin; returns when the last ends.
static int64_t play(Player *p, uint32_t *order) {
  int64_t end = 0;
  int first = 0;
  for (uint32_t i = 0; i < p->plan->step_count; i++) {
    while (p->streams[first] >= 0) first++;
    Move move = best_move(p, first);
    p->streams[move.step] = move.stream;
    p->ends[move.step] = move.begin + p->times[move.step];
    p->last[move.stream] = move.step;
    order[i] = (uint32_t)move.step;
    end = MAX(end, p->ends[move.step]);
  }
  return end;
}

// ---- waits -------------------------------------------------------------------------------------------------------------------

static void drop_wait(PlanStep *step, int index) { step->waits[index] = step->waits[--step->wait_count]; }

// Of the steps on another stream the last is enough.
static void want_wait(PlanStep *step, const PlanClocks *clocks, uint32_t writer) {
  const PlanStep *steps = clocks->plan->steps;
  for (int i = 0; i < step->wait_count; i++) {
    if (steps[step->waits[i]].stream != steps[writer].stream) continue;
    step->waits[i] = MAX(step->waits[i], writer);
    return;
  }
  step->waits[step->wait_count++] = writer;
}

// What one of them has waited for itself need not be waited for.
static void drop_implied(PlanStep *step, const PlanClocks *clocks) {
  for (int i = 0; i < step->wait_count;) {
    bool implied = false;
    for (int k = 0; k < step->wait_count; k++) implied |= k != i && clocks_is_before(clocks, step->waits[i], step->waits[k]);
    if (implied) drop_wait(step, i);
    else i++;
  }
}

static void find_waits(Plan *plan, Arena *arena) {
  Sources sources = find_sources(plan, arena);
  PlanClocks clocks = clocks_new(plan, arena);
  for (uint32_t s = 0; s < plan->step_count; s++) {
    PlanStep *step = &plan->steps[s];
    for (uint32_t i = sources.first[s]; i < sources.first[s + 1]; i++) {
      uint32_t writer = (uint32_t)sources.steps[i];
      if (!clock_has(&clocks.ends[step->stream], &clocks, writer)) want_wait(step, &clocks, writer);
    }
    drop_implied(step, &clocks);
    clocks_take(&clocks, s);
  }
}

void streams_assign(Plan *plan, int limit, Arena *arena) {
  limit = MIN(limit, PLAN_STREAMS);
  if (limit < 2 || plan->device->kind != DEVICE_CUDA || plan->step_count < 2) return;
  Arena *scratch = arena_scratch();
  Player p = player_new(plan, limit, scratch);
  uint32_t *order = arena_array(scratch, uint32_t, plan->step_count);
  int64_t alone = 0, end = play(&p, order);
  for (uint32_t s = 0; s < plan->step_count; s++) alone += p.times[s];
  if (end * 100 <= alone * (100 - LEAST_GAIN)) {
    PlanStep *steps = arena_copy(scratch, plan->steps, plan->step_count * sizeof *steps);
    for (uint32_t s = 0; s < plan->step_count; s++) {
      plan->steps[s] = steps[order[s]];
      plan->steps[s].stream = p.streams[order[s]];
    }
    find_waits(plan, scratch);
  }
  arena_free(scratch);
}
