// Judges every access. For each byte: is it inside an allocation, was it written, and is the last write, or are the last reads, ordered
// before this access? Ordered within a group is what clock.c knows; between groups of one launch nothing is; between launches
// the order of their streams decides (stream.c). INGOT_EMULATOR_CHECKS=off leaves only what a GPU itself would notice, addresses and
// alignment: for asking what a comparison of results alone would have shown.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "tests/emulator/emulator.h"

// Several threads that read one byte: a chain of epochs. The same threads read the same bytes in the same order as a rule, so
// that a chain is made once and found again: by its last continuation, or through a table of all.
enum { MEMBER_WORDS = BLOCK_THREADS / 64 };
typedef struct ReadSet {
  uint64_t before;  // number of the set it continues; 0: the epoch alone
  Epoch epoch;
  Epoch next_epoch;                // who continued it last; 0: nobody
  uint64_t next;                   // and to which set
  uint64_t members[MEMBER_WORDS];  // a bit for each thread in the chain, by its number in a block: who has none is not in it
} ReadSet;
enum { SET_LIMIT = 1 << 19, SET_TABLE = 1 << 16, PAIR_TABLE = 1 << 12 };
static ReadSet sets[SET_LIMIT];  // by number from the base on, modulo the limit: the oldest are forgotten
// Those below the floor were read before a barrier of all, or are forgotten. Behind such a barrier sets lie where the first ones did, which caches have.
static uint64_t set_next = 1, set_floor = 1, set_base = 1;
typedef struct Continuation {
  Epoch before, add;
  uint64_t number;
} Continuation;
static Continuation set_table[SET_TABLE], pair_table[PAIR_TABLE];

void reads_reset(void) { set_floor = set_base = set_next; }
static ReadSet *set_at(uint64_t number) { return &sets[(number - set_base) % SET_LIMIT]; }

static Epoch set_epoch(uint32_t serial, uint64_t number) { return epoch_make(serial, 0, 0) | EPOCH_SET | number; }
static uint64_t set_number(Epoch e) { return e & (EPOCH_PENDING - 1); }

static uint64_t *member_word(ReadSet *set, Epoch epoch) { return &set->members[epoch_thread(epoch) / 64 % MEMBER_WORDS]; }
static uint64_t member_bit(Epoch epoch) { return (uint64_t)1 << epoch_thread(epoch) % 64; }

// A thread that reads again what many read is found without walking the chain.
enum { MEMBER_TABLE = 1 << 14 };
static struct {
  uint64_t number;
  Epoch epoch;
} member_table[MEMBER_TABLE];

static bool set_has(uint64_t number, Epoch epoch) {
  if (!(*member_word(set_at(number), epoch) & member_bit(epoch))) return false;
  if (set_at(number)->epoch == epoch) return true;
  uint32_t slot = (uint32_t)((number * 0x9e3779b97f4a7c15u ^ epoch) * 0xff51afd7ed558ccdu >> 48) % MEMBER_TABLE;
  if (member_table[slot].number == number && member_table[slot].epoch == epoch) return true;
  for (uint64_t at = number; at >= set_floor; at = set_at(at)->before) {
    if (set_at(at)->epoch != epoch) continue;
    member_table[slot].number = number;
    member_table[slot].epoch = epoch;
    return true;
  }
  return false;
}

static uint64_t set_new(uint64_t before, Epoch epoch) {
  ReadSet *set = set_at(set_next);
  *set = (ReadSet){.before = before, .epoch = epoch};
  if (before) memcpy(set->members, set_at(before)->members, sizeof set->members);
  *member_word(set, epoch) |= member_bit(epoch);
  if (set_next - set_floor >= SET_LIMIT - 2) set_floor = set_next - SET_LIMIT / 2;
  return set_next++;
}

// Of two threads, wherever they are in time, one: what they read together before a barrier does not matter behind it.
static Continuation *continuation(Epoch before, Epoch add) {
  if (!(before & EPOCH_SET)) return &pair_table[(epoch_thread(before) * 61 + epoch_thread(add)) % PAIR_TABLE];
  uint64_t hash = (before * 0x9e3779b97f4a7c15u ^ add) * 0xff51afd7ed558ccdu;
  return &set_table[(uint32_t)(hash >> 48) % SET_TABLE];
}

// The set that it was added to before, so that it was not in it; 0: it never was.
static uint64_t set_known(Epoch before, Epoch add) {
  if (before & EPOCH_SET && set_number(before) >= set_floor && set_at(set_number(before))->next_epoch == add)
    return set_at(set_number(before))->next;
  const Continuation *known = continuation(before, add);
  return known->before == before && known->add == add && known->number >= set_floor ? known->number : 0;
}

static Epoch set_add(uint32_t serial, Epoch before, Epoch add) {
  uint64_t number = set_known(before, add);
  if (number) return set_epoch(serial, number);
  uint64_t first = before & EPOCH_SET ? set_number(before) : set_new(0, before);
  number = set_new(first, add);
  *continuation(before, add) = (Continuation){before, add, number};
  if (first >= set_floor) {
    set_at(first)->next_epoch = add;
    set_at(first)->next = number;
  }
  return set_epoch(serial, number);
}

// --- Orders.

// Of a launch that overlaps the one before it, a thread knows of that one once it has waited for it, or met one that has.
static bool overlapped(const Thread *t, const Launch *now, uint32_t serial) {
  const Launch *before = serial_launch(serial);
  return before && before->stream == now->stream && before->index > now->overlapped &&
         !clock_knows(t, clock_agent(t->group, AGENTS), 1);
}

static bool ordered_elsewhere(const Thread *t, Epoch e) {
  const Launch *now = emulator.group->launch;
  uint32_t serial = epoch_serial(e);
  if (now->overlaps && overlapped(t, now, serial)) return false;
  // Another group of this launch, for launches run one at a time: only what was published through an atomic is ordered.
  if (serial >= now->serial_first) return !(e & (EPOCH_PENDING | EPOCH_SET | EPOCH_MANY)) && atomics_order(t, e);
  static uint32_t good_serial;
  static const Launch *good_launch;
  static uint32_t good_first;
  if (serial == good_serial && now == good_launch && now->serial_first == good_first) return true;
  if (!serial_ordered(serial, now)) return false;
  good_serial = serial, good_launch = now, good_first = now->serial_first;
  return true;
}

static bool write_ordered(const Thread *t, Epoch e) {
  if (epoch_serial(e) != t->group->serial) return ordered_elsewhere(t, e);
  if (e & EPOCH_PENDING) return false;
  return clock_knows(t, epoch_thread(e), epoch_clock(e));
}

// NULL-like 0 if all readers are ordered before t, else one that is not.
static Epoch unordered_reader(const Thread *t, Epoch e) {
  if (e & EPOCH_MANY || epoch_serial(e) != t->group->serial) return ordered_elsewhere(t, e) ? 0 : e;
  if (!(e & EPOCH_SET)) return !(e & EPOCH_PENDING) && clock_knows(t, epoch_thread(e), epoch_clock(e)) ? 0 : e;
  for (uint64_t number = set_number(e); number >= set_floor; number = set_at(number)->before) {
    Epoch reader = set_at(number)->epoch;
    if (!clock_knows(t, epoch_thread(reader), epoch_clock(reader))) return reader;
  }
  return 0;
}

static Epoch add_reader(const Thread *t, Epoch readers) {
  if (!readers) return t->epoch;
  if (readers & EPOCH_MANY || epoch_serial(readers) != t->group->serial) {
    const Launch *now = t->group->launch;
    if (epoch_serial(readers) >= now->serial_first) return epoch_make(now->serial_first, 0, 0) | EPOCH_MANY;
    return ordered_elsewhere(t, readers) ? t->epoch : readers;
  }
  if (readers & EPOCH_PENDING) return readers;
  if (!(readers & EPOCH_SET))
    return clock_knows(t, epoch_thread(readers), epoch_clock(readers)) ? t->epoch
                                                                       : set_add(t->group->serial, readers, t->epoch);
  if (set_number(readers) < set_floor) return t->epoch;
  return set_has(set_number(readers), t->epoch) ? readers : set_add(t->group->serial, readers, t->epoch);
}

// --- What is wrong.

const char *access_verb(AccessKind kind) {
  return kind & ACCESS_ATOMIC  ? kind & ACCESS_WRITE ? "changes atomically" : "reads atomically"
         : kind & ACCESS_WRITE ? kind & ACCESS_PROXY ? "lets an asynchronous copy write" : "writes"
         : kind & ACCESS_PROXY ? "lets the asynchronous proxy read"
                               : "reads";
}

static void __attribute__((noreturn))
hazard(Thread *t, Epoch other, bool other_reads, AccessKind kind, uintptr_t pc, uintptr_t where) {
  char place[160], who[160];
  where_name(where, place, sizeof place);
  epoch_name(other_reads ? other : other & ~EPOCH_PROXY, who, sizeof who);
  bool own = epoch_serial(other) == t->group->serial;
  if (mbarrier_covers(t->group, where))
    finding(FOUND_HAZARD, pc, "%s %s, where an mbarrier is in use", access_verb(kind), place);
  if (own && (other & EPOCH_PENDING || epoch_thread(other) >= t->group->thread_count))
    finding(FOUND_HAZARD, pc, "%s %s, which an asynchronous operation is still %s: it was not waited for", access_verb(kind),
            place, other_reads ? "reading" : "writing");
  finding(FOUND_HAZARD, pc, "%s %s, which %s %s with nothing to order the two", access_verb(kind), place, who,
          other_reads            ? "reads"
          : other & EPOCH_ATOMIC ? "changes atomically"
                                 : "writes");
}

static void __attribute__((noreturn)) unwritten(AccessKind kind, uintptr_t pc, uintptr_t where) {
  char place[160];
  finding(FOUND_HAZARD, pc, "%s %s, which nothing wrote", access_verb(kind), where_name(where, place, sizeof place));
}

static void __attribute__((noreturn)) unfenced(Epoch writer, AccessKind kind, uintptr_t pc, uintptr_t where) {
  char place[160], who[160];
  where_name(where, place, sizeof place);
  epoch_name(writer & ~EPOCH_PROXY, who, sizeof who);
  finding(FOUND_HAZARD, pc, "%s %s, which %s wrote without fence.proxy.async after it", access_verb(kind), place, who);
}

// A write of the generic proxy is seen by the asynchronous one only through a fence.
static void check_fenced(Thread *t, Epoch w, AccessKind kind, uintptr_t pc, uintptr_t where) {
  if (epoch_serial(w) != t->group->serial || (w & EPOCH_PROXY)) return;
  if (!clock_knows_fenced(t, epoch_thread(w), epoch_clock(w))) unfenced(w, kind, pc, where);
}

static inline void __attribute__((always_inline))
judge(Thread *t, Cell *cells, unsigned size, AccessKind kind, uintptr_t pc, uintptr_t where) {
  Epoch good_write = 0, good_read = 0, read_from = 0, read_to = 0, mine = t->epoch;
  for (unsigned i = 0; i < size; i++) {
    Cell *cell = &cells[i];
    Epoch w = cell->write, r = cell->read;
    if (kind & ACCESS_WRITE) {
      if (w && w != good_write && (w != mine || kind & ACCESS_PROXY)) {
        bool both_atomic = kind & ACCESS_ATOMIC && w & EPOCH_ATOMIC && !(w & EPOCH_PENDING);
        if (!both_atomic && !write_ordered(t, w)) hazard(t, w, false, kind, pc, where + i);
        if (kind & ACCESS_PROXY) check_fenced(t, w, kind, pc, where + i);
        good_write = w;
      }
      if (r && r != good_read && r != mine) {
        Epoch reader = unordered_reader(t, r);
        if (reader) hazard(t, reader, true, kind, pc, where + i);
        good_read = r;
      }
      if (kind & ACCESS_ATOMIC && !w) unwritten(kind, pc, where + i);
      cell->write = kind & ACCESS_ATOMIC ? mine | EPOCH_ATOMIC : mine;
      cell->read = 0;
    } else {
      if (w != good_write || !w) {
        if (!w) unwritten(kind, pc, where + i);
        bool both_atomic = kind & ACCESS_ATOMIC && w & EPOCH_ATOMIC && !(w & EPOCH_PENDING);
        if (w != mine && !both_atomic && !write_ordered(t, w)) hazard(t, w, false, kind, pc, where + i);
        if (kind & ACCESS_PROXY) check_fenced(t, w, kind, pc, where + i);
        good_write = w;
      }
      if (r == mine || kind & ACCESS_ATOMIC) continue;  // who changes it atomically need not come behind
      if (r != read_from || !read_to) read_from = r, read_to = add_reader(t, r);
      cell->read = read_to;
    }
  }
}

static void __attribute__((noinline))
judge_each(Thread *t, Cell *cells, unsigned size, AccessKind kind, uintptr_t pc, uintptr_t where) {
  judge(t, cells, size, kind, pc, where);
}

typedef uint64_t CellWords __attribute__((vector_size(16), aligned(8)));

// As a rule the bytes of an access have one past, and it is judged once; and what a thread has read, or has written and nobody has read, it may
// read, or write, again until its time goes on: any access between would show in the cell.
void access_cells(Thread *t, Cell *cells, unsigned size, AccessKind kind, uintptr_t pc, uintptr_t where) {
  if (emulator.checks == CHECKS_OFF || !size) return;
  Epoch w = cells[0].write, r = cells[0].read;
  CellWords first = *(CellWords *)cells, other = {0};
  for (unsigned i = 1; i < size; i++) other |= *(CellWords *)&cells[i] ^ first;
  if (other[0] | other[1]) {
    judge_each(t, cells, size, kind, pc, where);
    return;
  }
  if (kind == ACCESS_READ && r == t->epoch) return;
  if (kind == ACCESS_WRITE && w == t->epoch && !r) return;
  judge(t, cells, 1, kind, pc, where);
  first = *(CellWords *)cells;
  for (unsigned i = 1; i < size; i++) *(CellWords *)&cells[i] = first;
}

static uintptr_t shared_place(const Block *block, uint32_t offset) { return (uintptr_t)offset | (uintptr_t)block->rank << 24; }

static void inside_window(const Block *block, uint32_t offset, unsigned size, AccessKind kind, uintptr_t pc) {
  uint32_t dynamic_at = offset - block->dynamic_offset;
  if (offset < block->static_bytes && size <= block->static_bytes - offset) return;
  if (dynamic_at < block->dynamic_bytes && size <= block->dynamic_bytes - dynamic_at) return;
  finding(FOUND_ADDRESS, pc,
          "%s %u bytes of shared memory at +%u; the block has %u of static variables and from +%u on %u of dynamic ones",
          access_verb(kind), size, offset, block->static_bytes, block->dynamic_offset, block->dynamic_bytes);
}

void access_shared(Thread *t, Block *block, uint32_t offset, unsigned size, AccessKind kind, uintptr_t pc) {
  if (block != t->block) cluster_touch(t, block, !(kind & ACCESS_PROXY), pc);
  inside_window(block, offset, size, kind, pc);
  if (emulator.checks != CHECKS_ALL) return;
  access_cells(t, block->cells + offset, size, kind, pc, shared_place(block, offset));
}

void proxy_read_begin(Thread *t, Block *block, uint32_t offset, unsigned size, uint32_t number, uintptr_t pc) {
  inside_window(block, offset, size, ACCESS_PROXY, pc);
  if (emulator.checks != CHECKS_ALL) return;
  Epoch good = 0, mark = epoch_make(t->group->serial, 0, 0) | EPOCH_PENDING | number;
  for (unsigned i = 0; i < size; i++) {
    Cell *cell = &block->cells[offset + i];
    if (cell->write != good || !good) {
      good = cell->write;
      if (!good) unwritten(ACCESS_PROXY, pc, shared_place(block, offset + i));
      if (!write_ordered(t, good)) hazard(t, good, false, ACCESS_PROXY, pc, shared_place(block, offset + i));
      check_fenced(t, good, ACCESS_PROXY, pc, shared_place(block, offset + i));
    }
    cell->read = mark;
  }
}

void proxy_read_end(Block *block, uint32_t offset, unsigned size, uint32_t number, const Epoch *readers, int count) {
  uint32_t serial = block->group->serial;
  Epoch mark = epoch_make(serial, 0, 0) | EPOCH_PENDING | number, all = count ? readers[0] : 0;
  for (int i = 1; i < count; i++) all = set_add(serial, all, readers[i]);
  for (unsigned i = 0; i < size; i++)
    if (block->cells[offset + i].read == mark) block->cells[offset + i].read = all;
}

bool shared_offset(const Block *block, uintptr_t address, uint32_t *out) {
  uintptr_t at = address - (uintptr_t)block->dynamic;
  if (block->dynamic && at < block->dynamic_gap) {
    *out = block->dynamic_offset + (uint32_t)at;
    return true;
  }
  at = address - (uintptr_t)block->statics;
  if (at >= (uintptr_t)block->static_bytes + block->dynamic_gap) return false;
  uintptr_t dynamic_at = (uintptr_t)block->dynamic - (uintptr_t)block->statics;
  *out = (uint32_t)(block->dynamic && at > dynamic_at ? at - block->dynamic_gap : at);
  return true;
}

static void __attribute__((noreturn)) outside(uintptr_t address, unsigned size, AccessKind kind, uintptr_t pc) {
  char place[160];
  where_name(address, place, sizeof place);
  finding(FOUND_ADDRESS, pc, "%s %u bytes at %s", access_verb(kind), size, place);
}

static bool in_module(const Thread *t, uintptr_t address, unsigned size) {
  const ModuleCopy *copy = t->block->copy;
  return address >= (uintptr_t)copy->begin && address + size <= (uintptr_t)copy->end;
}

static bool in_arguments(uintptr_t address) {
  return address >= (uintptr_t)stream_arguments_begin && address < (uintptr_t)stream_arguments_end;
}

// Whatever address a thread uses: its stack, shared memory of its cluster, device memory, constants of the kernel, pinned memory of
// the host, which has the same address there.
void access_memory(Thread *t, uintptr_t address, unsigned size, AccessKind kind, uintptr_t pc) {
  uint32_t offset;
  if (memory_is_device(address)) {
    const Allocation *allocation = memory_find(address);
    if (!allocation || address + size > allocation->end) outside(address, size, kind, pc);
    access_cells(t, memory_cells(address), size, kind, pc, address);
    return;
  }
  if (shared_offset(t->block, address, &offset)) {
    access_shared(t, t->block, offset, size, kind, pc);
    return;
  }
  for (unsigned i = 0; i < t->group->block_count; i++) {
    if (!shared_offset(t->group->blocks[i], address, &offset)) continue;
    access_shared(t, t->group->blocks[i], offset, size, kind, pc);
    return;
  }
  if (in_arguments(address) || memory_is_pinned((const void *)address)) return;
  if (!(kind & ACCESS_WRITE) && in_module(t, address, size)) return;
  outside(address, size, kind, pc);
}

void *shared_pointer(const Block *block, uint32_t offset) {
  if (offset >= block->dynamic_offset) return block->dynamic + (offset - block->dynamic_offset);
  uintptr_t dynamic_at = (uintptr_t)block->dynamic - (uintptr_t)block->statics;
  return block->statics + (block->dynamic && offset >= dynamic_at ? offset + block->dynamic_gap : offset);
}

Block *shared_block(Thread *t, uint32_t address, uint32_t *offset) {
  // mapa gives rank + 1 in the upper byte; an address without it is the block's own.
  unsigned rank = address >> 24;
  *offset = address & 0xffffff;
  if (!rank) return t->block;
  if (rank > t->group->block_count)
    finding(FOUND_ADDRESS, 0, "uses a shared address of block %u of a cluster of %u", rank - 1, t->group->block_count);
  return t->group->blocks[rank - 1];
}
