// What the lanes of a warp do together: shuffles, votes, matches, and the meetings that every collective instruction is. A meeting is found by
// its instruction and its lanes; lanes that wait in different ones can never go on, which the scheduler sees as a deadlock. Shuffles order
// no memory: only __syncwarp does.
#include <stdlib.h>
#include <string.h>
#include "tests/emulator/emulator.h"

static Meeting **meetings_of(Block *block, unsigned warp, unsigned count) {
  return &block->meetings[count == WARP ? warp : BLOCK_THREADS / WARP + warp / 4];
}

static bool is_expected(const Meeting *m, const Block *block, unsigned first, unsigned i) {
  if (!(m->mask >> (i % WARP) & 1)) return false;
  unsigned linear = first + i;
  if (linear >= block->thread_count) return false;
  return block->group->threads[block->first_thread + linear]->state != THREAD_EXITED;
}

static bool complete(const Meeting *m, const Block *block, unsigned first) {
  for (unsigned i = 0; i < m->count; i++)
    if (!m->threads[i] && is_expected(m, block, first, i)) return false;
  return true;
}

static Meeting *kept;  // for use again
static Meeting *meeting_new(void) {
  Meeting *m = kept;
  if (m) kept = m->next;
  else m = malloc(sizeof *m);
  if (!m) abort();
  memset(m, 0, sizeof *m);
  return m;
}
static void meeting_free(Meeting *m) {
  m->next = kept;
  kept = m;
}

static void close_meeting(Meeting **at) {
  Meeting *m = *at;
  m->run(m);
  *at = m->next;
  for (unsigned i = 0; i < m->count; i++)
    if (m->threads[i] && m->threads[i] != emulator.thread) thread_wake(m->threads[i]);
  meeting_free(m);
}

void meet(const char *name, unsigned count, uint32_t mask, void *argument, uintptr_t line, void (*run)(Meeting *meeting)) {
  Thread *t = emulator.thread;
  emulator.ticks++;
  if (!(mask >> t->lane & 1))
    finding(FOUND_INSTRUCTION, line, "executes %s with a mask %08x that leaves itself out", name, mask);
  unsigned first = count == WARP ? t->warp * WARP : t->warp / 4 * 4 * WARP, own = t->warp * WARP + t->lane - first;
  Meeting **at = meetings_of(t->block, t->warp, count);
  while (*at && ((*at)->run != run || (*at)->mask != mask || (*at)->threads[own])) at = &(*at)->next;
  if (!*at) {
    *at = meeting_new();
    (*at)->name = name;
    (*at)->count = count;
    (*at)->mask = mask;
    (*at)->line = line;
    (*at)->run = run;
  }
  Meeting *m = *at;
  m->threads[own] = t;
  m->arguments[own] = argument;
  if (complete(m, t->block, first)) close_meeting(at);
  else thread_wait(name, m, line);
}

void meetings_check(Block *block) {
  for (unsigned i = 0; i < BLOCK_THREADS / WARP * 5 / 4; i++)
    for (Meeting **at = &block->meetings[i]; *at;) {
      unsigned first = i < BLOCK_THREADS / WARP ? i * WARP : (i - BLOCK_THREADS / WARP) * 4 * WARP;
      if (complete(*at, block, first)) close_meeting(at);
      else at = &(*at)->next;
    }
}

void meetings_forget(Block *block) {
  for (unsigned i = 0; i < BLOCK_THREADS / WARP * 5 / 4; i++)
    while (block->meetings[i]) {
      Meeting *m = block->meetings[i];
      block->meetings[i] = m->next;
      meeting_free(m);
    }
}

// --- __syncwarp

static void run_syncwarp(Meeting *m) {
  Thread *present[WARP];
  unsigned count = 0;
  for (unsigned i = 0; i < WARP; i++)
    if (m->threads[i]) present[count++] = m->threads[i];
  clock_join(present, count);
}
EMULATED_API void emulated_syncwarp(unsigned mask) { meet("__syncwarp", WARP, mask, NULL, CALLER, run_syncwarp); }

// --- Shuffles

typedef struct Shuffle {
  int kind, size, lane, width;
  void *value;
  char from[16];
} Shuffle;

static unsigned source_lane(const Shuffle *s, unsigned lane) {
  unsigned width = (unsigned)s->width, first = lane / width * width;
  int at;
  switch (s->kind) {
    case 0: return first + ((unsigned)s->lane & (width - 1));
    case 1: at = (int)lane - s->lane; return at < (int)first ? lane : (unsigned)at;
    case 2: at = (int)lane + s->lane; return at >= (int)(first + width) ? lane : (unsigned)at;
    default: at = (int)(lane ^ (unsigned)s->lane); return at >= (int)(first + width) ? lane : (unsigned)at;
  }
}

static void run_shuffle(Meeting *m) {
  for (unsigned i = 0; i < WARP; i++)
    if (m->threads[i]) {
      Shuffle *s = m->arguments[i];
      memcpy(s->from, s->value, (size_t)s->size);
    }
  for (unsigned i = 0; i < WARP; i++) {
    if (!m->threads[i]) continue;
    Shuffle *s = m->arguments[i];
    unsigned from = source_lane(s, i);
    if (from < WARP && m->threads[from]) memcpy(s->value, ((Shuffle *)m->arguments[from])->from, (size_t)s->size);
    else memset(s->value, 0xa5, (size_t)s->size);  // of a lane that does not take part: undefined
  }
}

EMULATED_API void emulated_shuffle(int kind, unsigned mask, void *value, int size, int lane, int width) {
  Shuffle shuffle = {.kind = kind, .size = size, .lane = lane, .width = width, .value = value};
  if (width < 1 || width > WARP || (width & (width - 1)))
    finding(FOUND_INSTRUCTION, CALLER, "shuffles with a width of %d", width);
  meet("a shuffle", WARP, mask, &shuffle, CALLER, run_shuffle);
}

// --- Votes and matches

typedef struct Vote {
  int predicate, size;
  const void *value;
  unsigned result;
} Vote;

static void run_ballot(Meeting *m) {
  unsigned result = 0;
  for (unsigned i = 0; i < WARP; i++)
    if (m->threads[i] && ((Vote *)m->arguments[i])->predicate) result |= 1u << i;
  for (unsigned i = 0; i < WARP; i++)
    if (m->threads[i]) ((Vote *)m->arguments[i])->result = result;
}
static void run_match(Meeting *m) {
  for (unsigned i = 0; i < WARP; i++) {
    if (!m->threads[i]) continue;
    Vote *vote = m->arguments[i];
    vote->result = 0;
    for (unsigned j = 0; j < WARP; j++)
      if (m->threads[j] && !memcmp(vote->value, ((Vote *)m->arguments[j])->value, (size_t)vote->size)) vote->result |= 1u << j;
  }
}
EMULATED_API unsigned emulated_ballot(unsigned mask, int predicate) {
  Vote vote = {.predicate = predicate};
  meet("a vote", WARP, mask, &vote, CALLER, run_ballot);
  return vote.result;
}
EMULATED_API unsigned emulated_match(unsigned mask, const void *value, int size) {
  Vote vote = {.value = value, .size = size};
  meet("a match", WARP, mask, &vote, CALLER, run_match);
  return vote.result;
}
// Lanes of this emulator are never together by chance.
EMULATED_API unsigned emulated_active_mask(void) { return 1u << emulator.thread->lane; }

// --- elect.sync: the same lane every time, but not one that a kernel may count on.
static void run_elect(Meeting *m) {
  unsigned present = 0, which;
  for (unsigned i = 0; i < WARP; i++) present += m->threads[i] != NULL;
  which = (unsigned)(emulator.seed % present);
  for (unsigned i = 0; i < WARP; i++)
    if (m->threads[i]) *(bool *)m->arguments[i] = which-- == 0;
}
EMULATED_API bool emulated_elect(void) {
  bool elected = false;
  meet("elect.sync", WARP, 0xffffffffu, &elected, CALLER, run_elect);
  return elected;
}

// --- setmaxnreg: warps of a warpgroup share out the registers of the block; together they may not have more than there are.

enum { REGISTERS = 65536 };
typedef struct RegisterCount {
  int count;
  bool raise;
} RegisterCount;

static void run_registers(Meeting *m) {
  Block *block = emulator.thread->block;
  const RegisterCount *first = m->arguments[0];
  unsigned warpgroup = m->threads[0] ? m->threads[0]->warp / 4 : 0, groups = block->thread_count / (WARP * 4), total = 0;
  for (unsigned i = 0; i < m->count; i++) {
    if (!m->threads[i])
      finding(FOUND_INSTRUCTION, m->line,
              "executes setmaxnreg, which takes a whole warpgroup, when some of it have ended or never were");
    const RegisterCount *other = m->arguments[i];
    if (other->count != first->count || other->raise != first->raise)
      finding(FOUND_INSTRUCTION, m->line, "executes setmaxnreg of %d while another warp of its warpgroup has %d", other->count,
              first->count);
  }
  unsigned before = block->registers[warpgroup];
  if (before && (first->raise ? before > (unsigned)first->count : before < (unsigned)first->count))
    finding(FOUND_INSTRUCTION, m->line, "%s its registers to %d from %u", first->raise ? "raises" : "lowers", first->count,
            before);
  block->registers[warpgroup] = (unsigned)first->count;
  for (unsigned i = 0; i < groups; i++) {
    if (!block->registers[i]) return;  // as many as the launch gave
    total += block->registers[i] * WARP * 4;
  }
  if (total > REGISTERS) finding(FOUND_INSTRUCTION, m->line, "brings the registers of its block to %u of %d", total, REGISTERS);
}
EMULATED_API void emulated_registers(int count, bool raise) {
  RegisterCount registers = {count, raise};
  meet("setmaxnreg", WARP * 4, 0xffffffffu, &registers, CALLER, run_registers);
}
