// Runs elementwise and rowwise programs on the host, strip by strip. An elementwise node is a rowwise one without reduced axes, so one
// engine serves both; references use it in precise mode.
//
// The domain's axes are put into memory order and collapsed where no operand can tell. They are walked in boxes: a strip is one
// box, held densely in registers. Reduced axes lie together, inside the kept ones (rows are runs of the strip) where the
// innermost axis in memory is reduced, else outside them (rows lie side by side). A box has whole rows where they fit;
// longer rows come in chunks, once for every phase: phase p computes the reductions that need p reductions before them.
#pragma once
#include "kernels/program/interpret.h"
#include "kernels/site.h"

typedef enum OperandKind { OPERAND_INPUT, OPERAND_INDEX, OPERAND_POSITION, OPERAND_OUTPUT } OperandKind;

// Something that has an address at each point of the domain: a tensor, or a number that grows by strides.
typedef struct StripOperand {
  OperandKind kind;
  int instruction;            // whose register is loaded or stored; POSITION: none
  int number;                 // of the input or output
  DType dtype;                // in memory
  RegisterClass class;        // of the register
  StripConvert *narrow;       // inputs read as a narrower type
  bool row_level;             // an output with one element a row
  bool in_place;              // memory and register look alike, so that a contiguous run needs no copy
  int64_t strides[MAX_RANK];  // along the walked axes, in elements
} StripOperand;

typedef struct StripAxis {
  int64_t extent, box;
  bool reduced;
} StripAxis;

typedef enum ActionKind {
  ACTION_LOAD,         // operand into its element register
  ACTION_COMPUTE,      // instruction on element registers
  ACTION_COMPUTE_ROW,  // instruction on row registers
  ACTION_EXPAND,       // row register to element register
  ACTION_BEGIN,        // reduction: identity into its total
  ACTION_REDUCE,       // reduction: strip into its total
  ACTION_FINISH,       // reduction: total into its row register
  ACTION_STORE,        // element register to operand
  ACTION_STORE_ROW,    // row register to operand
} ActionKind;

typedef struct StripAction {
  ActionKind kind;
  int index;   // operand or instruction
  int direct;  // COMPUTE: operand whose memory may take the result at once, or -1
} StripAction;

typedef struct ActionList {
  StripAction *actions;
  uint32_t count, capacity;
} ActionList;

typedef struct StripPhase {
  ActionList begin, body, end;  // for each group of rows, for each strip of them, after the strips
} StripPhase;

typedef struct StripReduction {
  int instruction;
  DType operand;        // dtype of what is reduced
  size_t total, where;  // scratch offsets; where only for searches
} StripReduction;

typedef struct Strips {
  StripProgram program;
  int rank;  // walked axes
  StripAxis axes[MAX_RANK];
  bool rows_inside;        // rows lie side by side, the innermost axis is kept
  int64_t dims[MAX_RANK];  // of the domain
  int64_t row_extent;      // elements of a row
  int64_t box_rows, box_length;
  int64_t group_count;  // boxes along the kept axes
  int64_t chunk_count;  // boxes along the reduced axes
  bool divisible;       // the chunks of a row may be shared among threads
  StripOperand *operands;
  uint32_t operand_count, operand_capacity;
  int position;                // operand that counts along rows, or -1
  StripReduction *reductions;  // by instruction
  ActionList once;             // what does not change from strip to strip
  StripPhase *phases;
  int phase_count;
  size_t *element_at, *row_at;  // scratch offsets of each instruction's registers; SIZE_MAX: none
  size_t position_at;
  size_t scratch_bytes;
} Strips;

// reduced[i]: whether domain axis i is. Inputs broadcast to dims, outputs have them, with 1 along reduced axes where row-level.
Strips *strips_new(Arena *arena, const Program *program, bool precise, int rank, const int64_t *dims, const bool *reduced,
                   const TensorDesc *inputs, int input_count, const TensorDesc *outputs);
// One group of rows, shared: in each phase every area's turn computes the chunks that it can take; when all are done, strips_join_phase, alone,
// joins what they found. Area i lies at scratch + i * area_bytes.
void strips_share_phase(const Strips *strips, void *const *inputs, void *const *outputs, void *scratch, int64_t group,
                        int phase, bool (*take)(void *context, int64_t *begin, int64_t *end), void *context);
void strips_join_phase(const Strips *strips, void *const *inputs, void *const *outputs, char *scratch, size_t area_bytes,
                       int area_count, int64_t group, int phase);
// Groups [begin, end) of group_count. scratch: scratch_bytes, 64-byte aligned, of this thread.
void strips_run(const Strips *strips, void *const *inputs, void *const *outputs, void *scratch, int64_t begin, int64_t end);
