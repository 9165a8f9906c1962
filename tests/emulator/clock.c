// Who knows of whose work. A thread's time is cut by its synchronisations; it knows another thread's work up to a clock when a chain of
// synchronisations leads there. The usual vector clock of one number per thread and thread would cost a million numbers for a block
// of 1,024; here threads that met at a barrier share one vector (Knowledge), and beside it each keeps the 32 numbers of its own
// warp, which change at every __syncwarp.
#include <stdlib.h>
#include <string.h>
#include "tests/emulator/emulator.h"

static size_t vector_size(const Group *group) { return group->thread_count + CLOCKS_MORE; }
size_t clock_numbers(const Group *group) { return 2 * vector_size(group); }

static Knowledge *knowledge_new(Group *group) {
  Knowledge *k = group->free_knowledge;
  size_t count = vector_size(group);
  if (k) {
    group->free_knowledge = k->next_free;
  } else {
    k = malloc(sizeof *k + 2 * count * sizeof(uint32_t));
    if (!k) abort();
    k->clock = (uint32_t *)(k + 1);
    k->fenced = k->clock + count;
  }
  k->references = 1;
  k->taken_in = NULL;
  memset(k->clock, 0, 2 * count * sizeof(uint32_t));
  return k;
}

void knowledge_drop(Group *group, Knowledge *k) {
  if (!k || --k->references) return;
  knowledge_drop(group, k->taken_in);
  k->next_free = group->free_knowledge;
  group->free_knowledge = k;
}

static void raise(uint32_t *to, const uint32_t *from, size_t count) {
  for (size_t i = 0; i < count; i++) to[i] = from[i] > to[i] ? from[i] : to[i];
}

// The first thread of the warp and how many threads it has.
static uint32_t warp_slice(const Thread *t, uint32_t *count) {
  uint32_t first = t->id - t->lane, end = t->block->first_thread + t->block->thread_count;
  *count = end - first < WARP ? end - first : WARP;
  return first;
}

static void set_epoch(Thread *t) { t->epoch = epoch_make(t->group->serial, t->id, t->clock); }

void clock_begin(Group *group) {
  Knowledge *nothing = knowledge_new(group);
  for (unsigned i = 0; i < group->thread_count; i++) {
    Thread *t = group->threads[i];
    t->knowledge = nothing;
    t->clock = 1;
    memset(t->known, 0, sizeof t->known);
    memset(t->known_fenced, 0, sizeof t->known_fenced);
    set_epoch(t);
  }
  nothing->references = (int)group->thread_count;
  group->exited_knowledge = NULL;
}

void clock_end(Group *group) {
  for (unsigned i = 0; i < group->thread_count; i++) knowledge_drop(group, group->threads[i]->knowledge);
  knowledge_drop(group, group->exited_knowledge);
  knowledge_drop(group, group->learned_from);
  knowledge_drop(group, group->learned);
  for (Knowledge *k = group->free_knowledge, *next; k; k = next) {
    next = k->next_free;
    free(k);
  }
  group->free_knowledge = NULL;
}

void clock_advance(Thread *t) {
  if (++t->clock >> EPOCH_CLOCK_BITS)
    finding(FOUND_TIMEOUT, 0, "more than %d synchronisations of one thread", 1 << EPOCH_CLOCK_BITS);
  set_epoch(t);
}

bool clock_knows_fenced(const Thread *t, uint32_t other, uint32_t clock) {
  uint32_t lane = other - (t->id - t->lane);
  if (lane < WARP && t->known_fenced[lane] >= clock) return true;
  return t->knowledge->fenced[other] >= clock;
}

static void own_warp_raise(Thread *t) {
  uint32_t count, first = warp_slice(t, &count);
  raise(t->known, t->knowledge->clock + first, count);
  raise(t->known_fenced, t->knowledge->fenced + first, count);
}

// Everything the thread knows of becomes visible to the asynchronous proxy through it.
void clock_fence_proxy(Thread *t) {
  Group *group = t->group;
  t->known[t->lane] = t->clock;
  Knowledge *k = knowledge_new(group);
  size_t count = vector_size(group);
  memcpy(k->clock, t->knowledge->clock, count * sizeof *k->clock);
  memcpy(k->fenced, t->knowledge->clock, count * sizeof *k->clock);
  knowledge_drop(group, t->knowledge);
  t->knowledge = k;
  memcpy(t->known_fenced, t->known, sizeof t->known);
  own_warp_raise(t);
  clock_advance(t);
}

static void add_all(Thread *t, Knowledge *into) {
  uint32_t count, first = warp_slice(t, &count);
  t->known[t->lane] = t->clock;
  raise(into->clock + first, t->known, count);
  raise(into->fenced + first, t->known_fenced, count);
}

// Within one warp whose lanes share what they know of others, 32 numbers change and no vector is needed.
static bool join_in_warp(Thread *const *threads, unsigned count) {
  for (unsigned i = 1; i < count; i++)
    if (threads[i]->knowledge != threads[0]->knowledge ||
        threads[i]->id - threads[i]->lane != threads[0]->id - threads[0]->lane)
      return false;
  uint32_t known[WARP] = {0}, fenced[WARP] = {0};
  for (unsigned i = 0; i < count; i++) {
    threads[i]->known[threads[i]->lane] = threads[i]->clock;
    raise(known, threads[i]->known, WARP);
    raise(fenced, threads[i]->known_fenced, WARP);
  }
  for (unsigned i = 0; i < count; i++) {
    memcpy(threads[i]->known, known, sizeof known);
    memcpy(threads[i]->known_fenced, fenced, sizeof fenced);
    clock_advance(threads[i]);
  }
  return true;
}

void clock_join(Thread *const *threads, unsigned count) {
  if (count <= WARP && join_in_warp(threads, count)) return;
  Group *group = threads[0]->group;
  Knowledge *all = knowledge_new(group), *last = NULL;
  for (unsigned i = 0; i < count; i++) {
    if (threads[i]->knowledge != last) {
      last = threads[i]->knowledge;
      raise(all->clock, last->clock, 2 * vector_size(group));
    }
    add_all(threads[i], all);
  }
  all->references += (int)count;
  for (unsigned i = 0; i < count; i++) {
    knowledge_drop(group, threads[i]->knowledge);
    threads[i]->knowledge = all;
    own_warp_raise(threads[i]);
    clock_advance(threads[i]);
  }
  knowledge_drop(group, all);
}

Knowledge *clock_release(Thread *t, Knowledge *into) {
  if (!into) into = knowledge_new(t->group);
  if (into->taken_in != t->knowledge) {
    raise(into->clock, t->knowledge->clock, 2 * vector_size(t->group));
    knowledge_drop(t->group, into->taken_in);
    into->taken_in = t->knowledge;
    t->knowledge->references++;
  }
  add_all(t, into);
  clock_advance(t);
  return into;
}

void clock_acquire(Thread *t, const Knowledge *from) {
  Group *group = t->group;
  if (!from) return;
  Knowledge *k = knowledge_new(group);
  size_t count = 2 * vector_size(group);
  memcpy(k->clock, t->knowledge->clock, count * sizeof *k->clock);
  raise(k->clock, from->clock, count);
  knowledge_drop(group, t->knowledge);
  t->knowledge = k;
  own_warp_raise(t);
}

// Threads that knew the same know the same behind it.
void clock_learn_begun(Thread *t) {
  Group *group = t->group;
  uint32_t agent = clock_agent(group, AGENTS);
  Knowledge *from = t->knowledge;
  if (from->clock[agent]) return;
  if (group->learned_from != from) {
    knowledge_drop(group, group->learned_from);
    knowledge_drop(group, group->learned);
    group->learned = clock_add(group, from, NULL);
    group->learned->clock[agent] = 1;
    group->learned_from = from;
    from->references++;
  }
  group->learned->references++;
  t->knowledge = group->learned;
  knowledge_drop(group, from);
}

Knowledge *clock_add(Group *group, const Knowledge *from, Knowledge *into) {
  if (!into) into = knowledge_new(group);
  if (from) raise(into->clock, from->clock, 2 * vector_size(group));
  return into;
}

void clock_exit(Thread *t) { t->group->exited_knowledge = clock_release(t, t->group->exited_knowledge); }
