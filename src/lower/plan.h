// The planner: a static graph becomes an ordered list of steps over buffers with fixed places. It resolves views into strides,
// selects how each node is to be computed (select.h), inserts copies where a kernel cannot read a view, computes lifetimes,
// and packs every temporary into one arena. It knows no device, and no operators but those that copies are made of.
#pragma once
#include "cuda/compiler.h"
#include "lower/select.h"

typedef enum PlanBufferKind {
  PLAN_INPUT,     // the caller's; index is the graph input's number; row-major
  PLAN_OUTPUT,    // the caller's; index is the graph output's number; row-major
  PLAN_CONSTANT,  // uploaded once; `constant` stored in `order`
  PLAN_ARENA,     // a temporary at `offset`
} PlanBufferKind;

typedef struct PlanBuffer {
  PlanBufferKind kind;
  int index;
  size_t bytes, offset;
  const Tensor *constant;
  const Hash128 *content;  // of the constant's bytes, where a text has named them by it; NULL: nobody has computed it
  uint8_t order[MAX_RANK];
  int first_step, last_step;  // lifetime, inclusive
  const char *name;           // of the value that made it
} PlanBuffer;

// Where a value lies: element (0, 0, ...) is `offset` elements into the buffer.
typedef struct PlanPlace {
  int buffer;      // -1: absent, or an empty tensor nobody needs
  int64_t offset;  // elements
} PlanPlace;

enum { PLAN_STREAMS = 4 };  // that a plan's steps may run on

// Steps of one stream run one after the other, in the plan's order; those of different streams side by side, but for what `waits` says. The plan's
// order is one in which everything may run on one stream.
typedef struct PlanStep {
  Node *node;
  Site site;                    // descs with resolved strides
  PlanPlace *inputs, *outputs;  // the site's
  Selection selection;          // how it is computed, and its launches
  int workspace_buffer;         // -1: none
  int stream;                   // 0 to PLAN_STREAMS - 1
  int wait_count;
  uint32_t waits[PLAN_STREAMS - 1];  // steps of other streams, one of each at most, that are done before it begins
} PlanStep;

// A node between a value and one that reads it.
typedef struct PlanCopy {
  Node *node, *reader;  // reader NULL: it is for a graph output
  int index;            // of the reader's input
  Value *source;
} PlanCopy;

// What the graph would have called the next ones, before it gained copies.
typedef struct GraphNumbers {
  uint32_t value_id, node_id, suffix;
} GraphNumbers;

typedef struct Plan {
  Graph *graph;
  const DeviceInfo *device;  // it is made for; outlives it
  bool tf32;
  PlanBuffer *buffers;
  uint32_t buffer_count, buffer_capacity;
  PlanStep *steps;
  uint32_t step_count, step_capacity;
  size_t arena_bytes;      // after packing
  size_t temporary_bytes;  // the sum of all temporaries: what the arena would take without reuse
  size_t constant_bytes;
  PlanCopy *copies;  // nodes that the graph gained, in the order of their making
  uint32_t copy_count, copy_capacity;
  GraphNumbers before;
} Plan;

// What a plan is made for.
typedef struct PlanTarget {
  const DeviceInfo *info;
  bool tf32;
  const SelectOptions *select;
  int streams;  // at most so many; 0 is 1
} PlanTarget;

enum { PLAN_ALIGNMENT = 256 };  // bytes, of every buffer in the arena

// Every value of the graph must be static. The graph may gain copy nodes. The plan lives in the arena and points into the graph.
MUST_CHECK Status plan_make(Graph *graph, const PlanTarget *target, Arena *arena, Plan **out);

// Told, while a plan is printed, of what its text names and does not hold. Each function may be NULL.
typedef struct PlanWitness {
  void (*constant)(void *context, Hash128 name, const Tensor *tensor);  // by the hash of its bytes
  void (*kernel)(void *context, Hash128 key, const char *source);       // source NULL: of a plan that was read without it
  void *context;
} PlanWitness;
// The plan as text, the same each time, from which plan_parse makes it again: see print.c. compiler: knows the kernels' hashes; NULL where
// none are. witness may be NULL.
void plan_print(Text *text, const Plan *plan, const Compiler *compiler, const PlanWitness *witness);

// Where what a plan's text names is found; NULL where it is not.
typedef struct PlanContents {
  const void *(*constant)(void *context, Hash128 name, size_t bytes);
  const char *(*kernel)(void *context,
                        Hash128 key);  // its source; NULL: kernels are found by their keys when the plan is loaded
  void *context;
} PlanContents;
// A plan from its text, which may be a stranger's: an error names the line. The plan is verified. ERROR_UNSUPPORTED: it is for another device.
// The device info and what contents gives outlive the plan.
MUST_CHECK Status plan_parse(const char *text, size_t length, const DeviceInfo *device, const PlanContents *contents,
                             Arena *arena, Plan **out);

// The graph as it was before plan_make. The plan runs on as it is, but is to be printed no more.
void plan_take_copies_out(const Plan *plan);

// What it depends on beyond its text: where this is another text, the plan is to be made anew. "plan version 4, sm_90".
const char *plan_needs(const Plan *plan, Arena *arena);

// Prints the plan, reads it back from its text, and checks that this prints alike. *out is what was read.
MUST_CHECK Status plan_reread(const Plan *plan, const Compiler *compiler, Arena *arena, Plan **out);

// Whether places lie inside of their buffers, launches name what is there, and, followed step by step, every value is still there when it is
// read. The error names the step and the buffer. In debug builds plan_make runs it.
MUST_CHECK Status plan_verify(const Plan *plan, Arena *scratch);
// Of it, what concerns one buffer, and one step with the buffers before it.
MUST_CHECK Status plan_verify_buffer(const Plan *plan, const PlanBuffer *buffer);
MUST_CHECK Status plan_verify_step(const Plan *plan, const PlanStep *step);

// Gives workspaces and all temporaries their places.
MUST_CHECK Status plan_place(Plan *plan, Arena *arena);
// Which steps use each buffer, the first and the last: -1 in both before.
void plan_find_lifetimes(Plan *plan);

// A tensor's strides where it lies densely in this stride order.
void order_strides(int rank, const int64_t *dims, const uint8_t *order, int64_t *strides);

// Packs intervals into one block: each item gets an offset; items whose lifetimes overlap never overlap in memory.
typedef struct PackItem {
  size_t bytes;
  int first, last;
  const struct BufferSpan
      *span;  // where streams run side by side (clocks.h): of items whose intervals overlap, what they really do; else NULL
  size_t offset;
} PackItem;
size_t pack_intervals(PackItem *items, int count, size_t alignment, Arena *scratch);  // returns the block's size

// How a reshape of a strided tensor looks without moving data; false where it takes a copy.
bool strides_reshape(DimTable *table, int rank, const Extent *dims, const Extent *strides, int new_rank, const Extent *new_dims,
                     Extent *new_strides);
