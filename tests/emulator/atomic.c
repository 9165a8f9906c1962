// Atomic operations, and what they order. A thread that fences (__threadfence) and then changes a place atomically publishes what it knew at its
// fence; whoever changes the place after it learns of that. So the last block of a grid, by a counter, may read what the others left.
// What other threads of a block wrote must be known to the thread that fences: the barrier goes before the fence, not after.
// Blocks of a cooperative launch are one group, and know of each other by its clocks: red.release publishes at its place, and ld.acquire learns there.
#include <stdlib.h>
#include <string.h>
#include "tests/emulator/emulator.h"

// What threads of one group have published at a place: a clock for each thread of the group, as in Knowledge.
typedef struct Release {
  struct Release *next;
  uint32_t serial;
  size_t count;
  uint32_t clock[];
} Release;
typedef struct Place {
  struct Place *next;
  uintptr_t address;
  Release *releases;
} Place;
enum { PLACES = 256 };
static Place *places[PLACES];  // of the launch that runs

// What a thread of the group has learned of another group, and when.
typedef struct Acquired {
  struct Acquired *next;
  const Release *release;
  uint32_t thread, clock;
} Acquired;

static Place *place_of(uintptr_t address) {
  Place **bucket = &places[address / 4 % PLACES];
  for (Place *p = *bucket; p; p = p->next)
    if (p->address == address) return p;
  Place *p = malloc(sizeof *p);
  if (!p) abort();
  *p = (Place){*bucket, address, NULL};
  return *bucket = p;
}

static Release *release_of(Place *place, const Group *group) {
  for (Release *r = place->releases; r; r = r->next)
    if (r->serial == group->serial) return r;
  size_t count = clock_numbers(group);
  Release *r = calloc(1, sizeof *r + count * sizeof *r->clock);
  if (!r) abort();
  r->next = place->releases;
  r->serial = group->serial;
  r->count = count;
  return place->releases = r;
}

static void learn(Thread *t, Release *r) {
  if (r->serial == t->group->serial) {
    Knowledge known = {.clock = r->clock, .fenced = r->clock + r->count / 2};
    clock_acquire(t, &known);
    return;
  }
  Acquired *a = malloc(sizeof *a);
  if (!a) abort();
  *a = (Acquired){t->group->acquired, r, t->id, t->clock};
  t->group->acquired = a;
}

static void learn_at(Thread *t, Place *place) {
  for (Release *r = place->releases; r; r = r->next) learn(t, r);
}

static void publish_at(const Thread *t, Place *place, const Knowledge *known) {
  if (!known) return;
  Release *r = release_of(place, t->group);
  for (size_t i = 0; i < r->count; i++)
    if (known->clock[i] > r->clock[i]) r->clock[i] = known->clock[i];
}

// Whether the work of another group of this launch was published to the thread, or to one that it has met since.
bool atomics_order(const Thread *t, Epoch e) {
  for (const Acquired *a = t->group->acquired; a; a = a->next)
    if (a->release->serial == epoch_serial(e) && a->release->clock[epoch_thread(e)] >= epoch_clock(e) &&
        clock_knows(t, a->thread, a->clock))
      return true;
  return false;
}

void atomics_forget_group(Group *group) {
  for (unsigned i = 0; i < group->thread_count; i++) {
    knowledge_drop(group, group->threads[i]->published);
    group->threads[i]->published = NULL;
  }
  for (Acquired *a = group->acquired, *next; a; a = next) {
    next = a->next;
    free(a);
  }
  group->acquired = NULL;
}

void atomics_forget_launch(void) {
  for (int i = 0; i < PLACES; i++)
    while (places[i]) {
      Place *p = places[i];
      places[i] = p->next;
      for (Release *r = p->releases, *next; r; r = next) {
        next = r->next;
        free(r);
      }
      free(p);
    }
}

// --- The operations.

#define ATOMIC_INTEGER(T)                                               \
  static void atomic_##T(int kind, T *at, T value, T compare, T *old) { \
    T now = *at;                                                        \
    *old = now;                                                         \
    *at = kind == 0        ? (T)(now + value)                           \
          : kind == 1      ? now < value ? now : value                  \
          : kind == 2      ? now > value ? now : value                  \
          : kind == 3      ? (now & value)                              \
          : kind == 4      ? (now | value)                              \
          : kind == 5      ? (now ^ value)                              \
          : kind == 6      ? value                                      \
          : now == compare ? value                                      \
                           : now;                                       \
  }
#define ATOMIC_FLOAT(T)                                                                                                        \
  static void atomic_##T(int kind, T *at, T value, T compare, T *old) {                                                        \
    T now = *at;                                                                                                               \
    *old = now;                                                                                                                \
    *at = kind == 0 ? now + value : kind == 1 ? (now < value ? now : value) : kind == 2 ? (now > value ? now : value) : value; \
  }
ATOMIC_INTEGER(int32_t)
ATOMIC_INTEGER(uint32_t)
ATOMIC_INTEGER(int64_t)
ATOMIC_INTEGER(uint64_t)
ATOMIC_FLOAT(float)
ATOMIC_FLOAT(double)

EMULATED_API void emulated_atomic(int kind, char type, void *address, const void *operand, const void *compare, void *old) {
  unsigned size = type == 'l' || type == 'U' || type == 'd' ? 8 : 4;
  uintptr_t pc = CALLER;
  emulator.ticks++;
  if ((uintptr_t)address % size)
    finding(FOUND_MISALIGNED, pc, "changes %u bytes at %p, no multiple of %u", size, address, size);
  access_memory(emulator.thread, (uintptr_t)address, size, ACCESS_WRITE | ACCESS_ATOMIC, pc);
  if (memory_is_device((uintptr_t)address)) {
    Place *place = place_of((uintptr_t)address);
    learn_at(emulator.thread, place);
    publish_at(emulator.thread, place, emulator.thread->published);
  }
#define CASE(letter, T) \
  case letter: atomic_##T(kind, address, *(const T *)operand, *(const T *)compare, old); break
  switch (type) {
    CASE('i', int32_t);
    CASE('u', uint32_t);
    CASE('l', int64_t);
    CASE('U', uint64_t);
    CASE('f', float);
    CASE('d', double);
  }
#undef CASE
  if (emulator_random(16) == 0) thread_yield();
}

EMULATED_API void emulated_thread_fence(void) {
  Thread *t = emulator.thread;
  emulator.ticks++;
  knowledge_drop(t->group, t->published);
  t->published = clock_release(t, NULL);
}

// --- Releases and acquisitions: atomic, of 4 bytes of device memory.

static Place *ordered_place(const void *address, AccessKind kind, uintptr_t pc) {
  emulator.ticks++;
  if ((uintptr_t)address % 4) finding(FOUND_MISALIGNED, pc, "%s 4 bytes at %p, no multiple of 4", access_verb(kind), address);
  access_memory(emulator.thread, (uintptr_t)address, 4, kind | ACCESS_ATOMIC, pc);
  if (!memory_is_device((uintptr_t)address))
    finding(FOUND_ADDRESS, pc, "%s %p, no device memory", access_verb(kind | ACCESS_ATOMIC), address);
  return place_of((uintptr_t)address);
}

// Where all that runs are threads that ask, none will be answered.
static void note_ask(Group *group, uintptr_t pc) {
  group->asks = emulator.ticks == group->asked_at + 1 ? group->asks + 1 : 0;
  group->asked_at = emulator.ticks;
  if (group->asks <= 2 * group->thread_count || bulk_progress(group)) return;
  finding(FOUND_TIMEOUT, pc, "waits for ever: it asks again and again for what nobody is left to write");
}

// Threads that ask again and again let others run meanwhile.
EMULATED_API unsigned emulated_load_acquire(const unsigned *from) {
  learn_at(emulator.thread, ordered_place(from, ACCESS_READ, CALLER));
  unsigned value = *from;
  note_ask(emulator.group, CALLER);
  thread_yield();
  return value;
}

EMULATED_API void emulated_release_add(unsigned *to, unsigned value) {
  Thread *t = emulator.thread;
  Place *place = ordered_place(to, ACCESS_WRITE, CALLER);
  Knowledge *known = clock_release(t, NULL);
  publish_at(t, place, known);
  knowledge_drop(t->group, known);
  *to += value;
  if (emulator_random(4) == 0) thread_yield();
}
