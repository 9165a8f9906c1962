// An emulated CUDA device: one shared library that answers as the CUDA driver and as NVRTC, so that any program of this repository runs on it
// unchanged ($INGOT_LIBCUDA and $INGOT_NVRTC name it; `./dev emulate` sets both). It is slow and strict: see docs/emulator.md.
//
//   nvrtc.c        NVRTC's interface; compose.c makes one text of a kernel and its headers, compile.c lets the host's C++ compiler make a shared
//                  object of it, instrumented as for the thread sanitizer; device.hpp gives CUDA's built-in names
//   driver*.c      the driver's table; fault.c calls that fail on purpose; module.c loading what was compiled, and lines of program counters
//   stream.c       streams, events, graphs; memory.c device memory, and for every byte who wrote and who read it last
//   group.c        the threads of a block (or cluster) as fibers with a seeded scheduler; fiber.c switches between them
//   hooks.c        what compiled kernels call at each load and store; check.c judges every access; clock.c who knows of whose work
//   warp.c barrier.c copy.c atomic.c product.c   the instructions; mbarrier.c bulk.c tensor.c cluster.c   those that go on beside
//                  the threads; tensor_map.c what the driver makes for tensor.c; report.c what was found
//
// One launch runs at a time, under one lock: group after group, a cluster or a block on its own, or all blocks of a cooperative launch.
#pragma once
#include <setjmp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "cuda/driver.h"

#define EMULATED_API __attribute__((visibility("default")))

enum {
  WARP = 32,
  BLOCK_THREADS = 1024,
  CLUSTER_BLOCKS = 16,
  SHARED_LIMIT = 227 << 10,  // of dynamic shared memory
  SHARED_WINDOW = 256 << 10,
  NAMED_BARRIERS = 16,
  FINDING_SIZE = 1024,
  STREAM_LIMIT = 48,
  // Beside threads, these have clocks in a group: barriers in shared memory (each one of AGENTS; they share where there are more), and the
  // launch before this one.
  AGENTS = 32,
  CLOCKS_MORE = AGENTS + 1,
};

// --- Time. An epoch names one thread of one group (a cluster, or a block on its own) between two of its synchronisations; host operations
// (copies, fills) are groups of one thread. Bits: serial of the group 26, flags 3, thread 14, clock 21. 0: nobody.
typedef uint64_t Epoch;
enum { EPOCH_CLOCK_BITS = 21, EPOCH_THREAD_BITS = 14, EPOCH_SERIAL_SHIFT = EPOCH_CLOCK_BITS + EPOCH_THREAD_BITS + 3 };
#define EPOCH_PENDING ((Epoch)1 << 35)  // a write or read under way that nobody has waited for
#define EPOCH_ATOMIC ((Epoch)1 << 36)   // of writes: by an atomic operation
#define EPOCH_SET ((Epoch)1 << 36)      // of reads: several threads; the low bits number the set
#define EPOCH_MANY ((Epoch)1 << 37)     // of reads: several groups of one launch
#define EPOCH_PROXY ((Epoch)1 << 37)    // of writes: by the asynchronous proxy
static inline uint32_t epoch_serial(Epoch e) { return (uint32_t)(e >> EPOCH_SERIAL_SHIFT); }
static inline uint32_t epoch_thread(Epoch e) { return (uint32_t)(e >> EPOCH_CLOCK_BITS) & ((1u << EPOCH_THREAD_BITS) - 1); }
static inline uint32_t epoch_clock(Epoch e) { return (uint32_t)e & ((1u << EPOCH_CLOCK_BITS) - 1); }
static inline Epoch epoch_make(uint32_t serial, uint32_t thread, uint32_t clock) {
  return (Epoch)serial << EPOCH_SERIAL_SHIFT | (Epoch)thread << EPOCH_CLOCK_BITS | clock;
}

// Every byte of shared and device memory has one. write 0: nothing wrote it.
typedef struct Cell {
  Epoch write, read;
} Cell;

typedef struct Index3 {
  unsigned x, y, z;
} Index3;

// What a thread knows of all threads of its group; shared by threads that know the same. fenced: the same, of writes that a proxy fence
// has made visible to the asynchronous proxy.
typedef struct Knowledge {
  int references;
  struct Knowledge *next_free;
  struct Knowledge
      *taken_in;  // the last that was added to it, which it holds: threads that met share one, which need not be added again
  uint32_t *clock, *fenced;  // of each thread of the group
} Knowledge;

typedef struct Fiber {
  void *stack_pointer;
  char *stack;       // lowest address
  void *fake_stack;  // the address sanitizer's
} Fiber;

typedef enum ThreadState { THREAD_READY, THREAD_WAITING, THREAD_EXITED } ThreadState;
typedef struct Thread Thread;
typedef struct Block Block;
typedef struct Group Group;
typedef struct Launch Launch;

// A copy that a thread started and has not waited for.
typedef struct PendingCopy {
  struct PendingCopy *next;
  uint32_t to;  // offset in the block's shared memory
  unsigned bytes;
  char data[16];
  int commit;  // its group; copies after the last commit have the number of the next one
  bool done;   // the bytes have arrived, though nobody may look
  uintptr_t line;
} PendingCopy;

struct Thread {
  Fiber fiber;
  Group *group;
  Block *block;
  uint32_t id;  // in the group
  Index3 index;
  unsigned lane, warp;  // warp: in the block
  ThreadState state;
  const char *waiting_for;
  void *waiting_at;        // what it waits in: a Meeting, a barrier
  uintptr_t waiting_line;  // program counter
  Epoch epoch;
  uint32_t clock;
  uint32_t known[WARP], known_fenced[WARP];  // of the threads of its warp, at least what `knowledge` says
  Knowledge *knowledge;
  Knowledge *published;  // what it knew at its last __threadfence; NULL: none
  PendingCopy *copies, **copies_end;
  int commits, waited;  // groups of copies committed, and known to be complete
  int product_commits;
  bool product_fence;               // wgmma.fence since registers could last change
  int bulk_commits;                 // groups of bulk copies
  uint32_t started;                 // blocks of the cluster that it has seen run, as bits
  uint32_t remote[CLUSTER_BLOCKS];  // its clock when it last touched another block's memory and that block does not know
  bool in_cluster_barrier;          // arrived, and has not waited
  uint32_t cluster_phase;
};

// Lanes of a warp that meet in one instruction; the last to come carries it out for all.
typedef struct Meeting {
  struct Meeting *next;
  const char *name;
  unsigned count;  // 32 lanes of a warp, or 128 threads of a warpgroup
  uint32_t mask;   // of those of each warp that are to come
  uintptr_t line;
  void *arguments[WARP * 4];
  Thread *threads[WARP * 4];  // NULL: not there yet
  void (*run)(struct Meeting *meeting);
} Meeting;

typedef struct BlockBarrier {
  unsigned expected, arrived, waiting;  // threads; expected 0: all of the block
  uintptr_t line;
  Thread *first, *threads[BLOCK_THREADS];  // those that wait
  Knowledge *knowledge;                    // of those that arrived and went on
} BlockBarrier;

struct Block {
  Group *group;
  Index3 index;
  unsigned rank;
  uint32_t first_thread;  // in the group
  unsigned thread_count, exited;
  struct ModuleCopy *copy;
  char *statics, *dynamic;                            // memory of static and dynamic shared variables
  uint32_t static_bytes, dynamic_bytes, dynamic_gap;  // gap: room that the dynamic variable takes among the statics
  uint32_t dynamic_offset;                            // in the window: statics, then dynamic
  Cell *cells;                                        // SHARED_WINDOW
  BlockBarrier barriers[NAMED_BARRIERS];
  int reduce_value[2], reduce_turn;                                    // of __syncthreads_count and its kin
  Meeting *meetings[BLOCK_THREADS / WARP + BLOCK_THREADS / WARP / 4];  // open ones: of each warp, then of each warpgroup
  struct Product *products[BLOCK_THREADS / WARP / 4];                  // wgmma under way, of each warpgroup
  struct Mbarrier *mbarriers;
  unsigned registers[BLOCK_THREADS / WARP / 4];  // setmaxnreg; 0: as launched
  bool touched;                                  // by another block of the cluster
};

struct Group {
  struct Acquired *acquired;  // what its threads learned of other groups
  Launch *launch;
  uint32_t serial;
  unsigned block_count, thread_count, exited;
  Block *blocks[CLUSTER_BLOCKS];
  Thread **threads;
  Thread **ready;  // a ring of thread_count + 1
  unsigned ready_head, ready_tail;
  Knowledge *free_knowledge;
  Knowledge *exited_knowledge;        // what threads knew that are gone
  Knowledge *learned_from, *learned;  // what threads knew that waited for the launch before, and what they know since
  struct ClusterBarrier {
    unsigned arrived;
    uint32_t phase;
    Knowledge *gathering, *completed;
  } cluster_barrier;
  struct BulkCopy *bulk_copies;  // under way
  uint64_t asked_at;             // tick of the last load that acquires
  unsigned asks;                 // of those, so many in a row with nothing else between them
  uint32_t agent_clock[AGENTS];
  unsigned agents;  // given away
};

typedef struct Kernel {
  const char *name;
  void (*invoke)(void **arguments);
  unsigned parameter_count, max_threads;
  const unsigned *parameter_sizes;
} Kernel;

struct Launch {
  const struct Function *function;
  unsigned grid[3], block[3], cluster[3], shared_bytes;
  bool cooperative;  // the whole grid is one group
  void **arguments;
  uint32_t serial_first;
  int stream;             // whose time it belongs to
  uint32_t index;         // on that stream
  const uint32_t *clock;  // what precedes it: for each stream, how many operations
  bool overlaps;  // the launch before it on the stream: operations after `overlapped` precede only threads that have waited
  uint32_t overlapped;
  Launch *next_kept;
};

// --- The device as a whole.
// What is judged: every access; only those of device memory, for tests of something else than kernels; none: what is left is what a GPU
// itself would show.
typedef enum Checks { CHECKS_ALL, CHECKS_DEVICE, CHECKS_OFF } Checks;
typedef struct Emulator {
  int sm, multiprocessors;
  uint64_t seed, random;
  uint64_t ticks;  // emulated time: accesses and instructions
  uint64_t preempt_at;
  uint64_t watchdog;  // tick at which a launch is given up
  Thread *thread;     // running now; NULL: the scheduler
  Group *group;
  bool on_fiber;    // the stack in use is a thread's
  jmp_buf on_host;  // where a finding goes that no thread made
  Checks checks;
  bool failed;                 // the context is lost
  char finding[FINDING_SIZE];  // what for
  int finding_code;
  int findings;
} Emulator;
extern Emulator emulator;

uint32_t emulator_random(uint32_t below);  // from the seed

// --- nvrtc.c: an image is what NVRTC gives and modules are loaded from.
typedef struct Image {
  char magic[16];
  uint64_t size, source_size;  // the shared object, then the text it was made of
  char data[];
} Image;
extern const char image_magic[16];

// --- module.c
typedef struct ModuleCopy {
  void *library;
  char *(*anchor)(void), *(*dynamic)(void);  // where a variable lies for the thread that asks; dynamic NULL: there is none
  size_t anchor_offset;                      // of it among the static variables
  uint32_t statics_bytes, dynamic_gap;
  const char *begin, *end;  // of its mapping
} ModuleCopy;
enum { WITHOUT_OPT_IN = 48 << 10 };  // bytes of shared memory, static and dynamic, of a function that was not allowed more
typedef struct Function {
  struct Function *next;
  struct Module *module;
  char *name;
  const Kernel *kernels[CLUSTER_BLOCKS];  // in each copy
  int dynamic_limit;
  bool opted_in;  // to more than WITHOUT_OPT_IN
} Function;
typedef struct Module {
  struct Module *next;
  const Image *image;
  int device;
  ModuleCopy *copies[CLUSTER_BLOCKS];
  Function *functions;
  uintptr_t alike[8][2];  // program counters found to be of one line, in turn: a compiler may write a barrier twice
  unsigned alike_turn;
} Module;
bool module_has_one_kernel(const Module *module);  // whose static variables are then those of the module
CudaResult module_load(const void *image, int device, Module **out);
void module_free(Module *module);
CudaResult module_function(Module *module, const char *name, Function **out);
CudaResult module_kernel(const ModuleCopy *copy, const char *name, const Kernel **out);
CudaResult module_copy(Module *module, unsigned rank, ModuleCopy **out);
// "kernels/tile/mma_tile.cuh:180, inlined at ..." of a program counter.
void module_describe(const Module *module, uintptr_t pc, char *out, size_t room);
// Whether both are of one line; if not, `first` is told. Asking for a line takes milliseconds: what was alike is remembered.
bool module_same_line(Module *module, uintptr_t a, uintptr_t b, char *first, size_t room);

// --- memory.c
typedef struct Allocation {
  uintptr_t begin, end;  // end: of the bytes asked for
  int device;
  uintptr_t limit;  // of reserved addresses; `end` is where the memory behind them ends. 0: no such
} Allocation;
bool memory_open(void);
CudaResult memory_alloc(size_t size, int device, CudaAddress *out);
CudaResult memory_free(CudaAddress address);
// Addresses, and memory behind them in one piece from the first on. Addresses alone may be had again; 1: they are not as the call says.
CudaResult memory_reserve(size_t size, int device, CudaAddress *out);
CudaResult memory_unreserve(CudaAddress address, size_t size);
CudaResult memory_map(CudaAddress address, size_t size);
CudaResult memory_unmap(CudaAddress address, size_t size);
CudaResult memory_take(size_t size);  // bytes of the device, wherever they lie
void memory_give_back(size_t size);
const Allocation *memory_find(uintptr_t address);
#define DEVICE_ADDRESSES ((size_t)1 << 36)
extern char *memory_base;
extern Cell *memory_base_cells;
static inline bool memory_is_device(uintptr_t address) { return address - (uintptr_t)memory_base < DEVICE_ADDRESSES; }
static inline Cell *memory_cells(uintptr_t address) { return memory_base_cells + (address - (uintptr_t)memory_base); }
size_t memory_live_bytes(void), memory_total(void);
int memory_live(void);
CudaResult memory_alloc_host(size_t size, void **out);
CudaResult memory_free_host(void *memory);
bool memory_is_pinned(const void *memory);

// --- fiber.c
void fiber_start(Fiber *fiber, void (*entry)(void));
void fiber_enter(Fiber *fiber);  // from the host's stack; returns when the fiber leaves
void fiber_entered(void);        // the first thing a fiber does
void fiber_leave(Fiber *fiber, bool for_good);
char *fiber_stacks(unsigned count, size_t *size);  // memory for them, kept

// --- group.c
// Runs all groups of a launch; a finding ends it.
void launch_run(Launch *launch);
void thread_yield(void);                                       // lets others run
void thread_wait(const char *what, void *at, uintptr_t line);  // until thread_wake
void thread_wake(Thread *thread);

// --- clock.c
void clock_begin(Group *group);
void clock_end(Group *group);
void clock_advance(Thread *thread);
static inline bool clock_knows(const Thread *t, uint32_t other, uint32_t clock) {
  if (other == t->id) return true;
  uint32_t lane = other - (t->id - t->lane);
  if (lane < WARP && t->known[lane] >= clock) return true;
  return t->knowledge->clock[other] >= clock;
}
bool clock_knows_fenced(const Thread *thread, uint32_t other, uint32_t clock);
void clock_fence_proxy(Thread *thread);
void clock_join(Thread *const *threads, unsigned count);    // all learn what any of them knows, then go on
Knowledge *clock_release(Thread *thread, Knowledge *into);  // adds what the thread knows; into NULL: a new one
void clock_acquire(Thread *thread, const Knowledge *from);
void clock_exit(Thread *thread);
void clock_learn_begun(Thread *thread);    // that the launch before this one is over
size_t clock_numbers(const Group *group);  // of a Knowledge: clock, then fenced, in one array
void knowledge_drop(Group *group, Knowledge *knowledge);
Knowledge *clock_add(Group *group, const Knowledge *from, Knowledge *into);  // into NULL: a new one
// Of a cluster; blocks of a cooperative launch are none.
static inline unsigned group_cluster(const Group *group) { return group->launch->cooperative ? 1 : group->block_count; }
static inline uint32_t clock_agent(const Group *group, unsigned agent) {
  return group->thread_count + agent;
}  // its number among the threads

// --- check.c: every access. Kind of access as bits.
typedef enum AccessKind {
  ACCESS_READ = 0,
  ACCESS_WRITE = 1,
  ACCESS_ATOMIC = 2,  // of reads: one that need not be ordered behind atomic changes
  ACCESS_PROXY = 4,   // by the asynchronous proxy, for the thread
} AccessKind;
void access_memory(Thread *thread, uintptr_t address, unsigned size, AccessKind kind, uintptr_t pc);
void access_shared(Thread *thread, Block *block, uint32_t offset, unsigned size, AccessKind kind, uintptr_t pc);
void access_cells(Thread *thread, Cell *cells, unsigned size, AccessKind kind, uintptr_t pc, uintptr_t where);
// Reads by the asynchronous proxy that last: checked when they begin; `number` says which operation's they are. At the end the threads
// that waited have read, at the given epochs.
void proxy_read_begin(Thread *thread, Block *block, uint32_t offset, unsigned size, uint32_t number, uintptr_t pc);
void proxy_read_end(Block *block, uint32_t offset, unsigned size, uint32_t number, const Epoch *readers, int count);
void *shared_pointer(const Block *block, uint32_t offset);
bool shared_offset(const Block *block, uintptr_t address, uint32_t *out);
// The block and offset of a 32-bit shared address, which may name another block of the cluster.
Block *shared_block(Thread *thread, uint32_t address, uint32_t *offset);
const char *access_verb(AccessKind kind);
void reads_reset(void);  // a barrier of all threads: who read before it does not matter any more

// --- report.c
__attribute__((noreturn, format(printf, 3, 4))) void finding(int code, uintptr_t pc, const char *message, ...);
__attribute__((format(printf, 2, 3))) void finding_host(int code, const char *message, ...);
const char *where_name(uintptr_t address, char *out, size_t room);  // "shared memory at +16", "byte 4 of the 64 at 0x..."
void epoch_name(Epoch epoch, char *out, size_t room);
enum { FOUND_ADDRESS = 700, FOUND_TIMEOUT = 702, FOUND_MISALIGNED = 716, FOUND_INSTRUCTION = 715, FOUND_HAZARD = 719 };

// --- stream.c
extern char *stream_arguments_begin, *stream_arguments_end;  // parameters of the launch that runs
uint32_t serial_take(Launch *launch);
const Launch *serial_launch(uint32_t serial);
bool serial_ordered(uint32_t before, const Launch *now);  // whether the other group's launch precedes this one
void host_access(Launch *launch, uintptr_t address, size_t size, bool write);

// --- warp.c
// Lanes of a warp (count 32) or the threads of a warpgroup (128) meet; `run` is called once for all, by the last to come.
void meet(const char *name, unsigned count, uint32_t mask, void *argument, uintptr_t line, void (*run)(Meeting *meeting));

void meetings_forget(Block *block);
void meetings_check(Block *block);  // a thread is gone: who waited for it goes on

// --- barrier.c
void barriers_check(Block *block);
void barriers_forget(Block *block);
void thread_exit(Thread *thread);

// --- copy.c
void copy_land(const Block *block, PendingCopy *copy);  // its bytes arrive
PendingCopy *copies_take(Thread *thread);               // all, which are no longer the thread's
void copies_exit(Thread *thread);
void copies_forget(Thread *thread);
// --- mbarrier.c: barriers in shared memory.
typedef struct Mbarrier {
  struct Mbarrier *next;
  Block *block;
  uint32_t offset;
  bool live, fenced;  // fenced: after its initialisation, for the asynchronous proxy
  unsigned count, missing;
  long bytes;                 // expected less those that came
  uint32_t phase;             // how many are over
  uint32_t copied, observed;  // the last phase that counted copies, and the last that a thread has waited for
  unsigned agent;
  Thread *maker;
  uint32_t made;  // the maker's clock
  Knowledge *gathering, *completed;
  struct BulkCopy *landed;  // copies that have arrived in this phase
} Mbarrier;
Mbarrier *mbarrier_use(Thread *thread, uint32_t address, uintptr_t pc);
void mbarrier_for_copy(Thread *thread, Mbarrier *barrier, uintptr_t pc);
void mbarrier_count(Mbarrier *barrier, struct BulkCopy *copy, long bytes, unsigned arrivals);  // a copy has landed
bool mbarrier_covers(const Group *group, uintptr_t where);
const char *wait_name(const Thread *thread, char *out, size_t room);
void mbarriers_finish(Block *block);
void mbarriers_forget(Block *block);

// --- bulk.c: copies by the asynchronous proxy. Their bytes are taken when they start and land late, in an order of the seed's.
typedef enum BulkKind { BULK_LOAD, BULK_SEND, BULK_STORE, BULK_ARRIVAL } BulkKind;
typedef struct BulkRun {
  uintptr_t address;   // in device memory
  uint32_t bytes, at;  // at: in the copy's data
} BulkRun;
typedef struct BulkCopy {
  struct BulkCopy *next;
  BulkKind kind;
  Thread *issuer;
  uintptr_t pc;
  Block *block;  // whose shared memory is written, or of a store read
  uint32_t offset, bytes;
  uint32_t source, number;  // of a send: the shared memory it reads, of the issuer's block; number: of a read that lasts
  Mbarrier *barrier;
  int commit;
  bool landed, released;  // of a store; released: its shared memory may be written again
  BulkRun *runs;
  unsigned run_count;
  PendingCopy *copies;  // of an arrival
  char *data;
} BulkCopy;
BulkCopy *bulk_start(Thread *thread, BulkKind kind, Block *block, uint32_t offset, uint32_t bytes, uintptr_t pc);
void bulk_into(BulkCopy *copy, Mbarrier *barrier);  // marks the shared memory it writes
void bulk_add_run(BulkCopy *copy, uintptr_t address, uint32_t bytes, uint32_t at);
void bulk_read_source(BulkCopy *copy);
void bulk_read_memory(Thread *thread, const Mbarrier *barrier, uintptr_t address, uint32_t bytes, uintptr_t pc);
void bulk_settle(BulkCopy *copy, Epoch epoch);  // its phase is over: it was done by then
void bulk_sometimes(Group *group);              // lets one land, if the seed says so
bool bulk_progress(Group *group);               // lets one land; false: there is none
void bulk_exit(Thread *thread);
void group_finish(Group *group);
void bulk_forget(Group *group);

// --- cluster.c
void cluster_touch(Thread *thread, Block *block, bool lasting, uintptr_t pc);  // another block's shared memory is used
void cluster_exit(Thread *thread);
void cluster_forget(Group *group);

// --- atomic.c
bool atomics_order(const Thread *thread, Epoch before);
void atomics_forget_group(Group *group);
void atomics_forget_launch(void);

// --- product.c
void products_exit(Thread *thread);
void products_forget(Block *block);

#define CALLER ((uintptr_t)__builtin_return_address(0))
