// What a rowwise kernel is going to do, decided before a line of it is written: which axes are rows (rowwise_plan.c), who
// computes a row (rowwise_shape.c). rowwise_text.c and rowwise_reductions.c turn it into a kernel.
//
// The domain's axes fall into kept ones (a point of them is a row) and reduced ones (a point of them is a step of a row).
// A program with nested reductions runs in passes over each row: pass p feeds the reductions that depend on results of pass
// p - 1, and a last pass writes element-level outputs. Element-level instructions are computed anew in each pass, from
// inputs that stay in registers when a row is short enough, so that memory is read once.
//
// Open sizes. The number of rows may be an argument, and so may a row's length: then nothing of a row stays in registers, and who computes it follows from a typical length.
//
// Moments. A sum of squared distances from a value that a sum over the same elements gives (a variance) would take a second
// pass. Where rows do not stay in registers, one pass collects sum and squares of distances from some value near the mean
// (Moments in reduce.cuh), and the squared distances from any other value follow: sum (e - m)^2 = sum (e - mean)^2 +
// count * (mean - m)^2.
#pragma once
#include "base/checked.h"
#include "kernels/program/nest.h"

// Who computes a row.
//   lanes    a group of up to 32 lanes of a warp; short rows, contiguous along the row
//   block    all threads of a block; long rows
//   columns  kept axes are the contiguous ones: a thread owns a few neighbouring rows (a column), neighbouring threads neighbouring
//            columns, and the rest of the block's threads stand along the row
typedef enum RowShape { SHAPE_LANES, SHAPE_BLOCK, SHAPE_COLUMNS } RowShape;

typedef struct RowPlan {
  const Site *site;
  const Program *program;
  Arena *arena;
  int input_count, output_count;
  int rank;
  DimTable *dims;  // of open extents; NULL: all are taken for static
  KernelArguments *arguments;
  Extent extents[MAX_RANK];
  bool reduced[MAX_RANK];
  Nest nest;          // inputs, outputs, index tensors, row index; kept axes first
  int outer;          // how many axes are kept
  bool open;          // the kernel takes sizes as arguments
  int64_t rows, row;  // rows and elements of one; where open typical numbers of them, by which is decided what the kernel is
  Extent all_rows, whole_row;
  int index_tensor[MAX_RANK];
  int row_tensor;  // the linear index within the row, or -1
  bool *used;
  uint8_t *level;
  bool *needed;
  int *pass;     // of a reduction: the pass that feeds it; of others: the first pass in which it is known
  int *moments;  // of a sum of squares: the sum whose moments it follows from, of that sum: itself; of others -1
  int passes;    // with reductions
  bool stores_elements;
  bool narrow;  // program_is_narrow
  int main;     // the tensor whose layout decides the shape

  RowShape shape;
  int axis, vector;  // the axis of the nest along which a thread takes several elements at once, and how many
  int owned;         // rows a thread computes: in columns `vector`, otherwise 1
  int64_t groups;    // of `owned` rows; typical ones likewise
  Extent all_groups;
  int block_groups;   // groups a block computes
  int lanes, splits;  // threads of a block that share a group, blocks that share it
  int64_t steps;      // of a thread that were alone with its group; a typical number likewise
  Extent all_steps;
  int64_t part;  // steps of a block, a multiple of lanes, where several share the group
  int cached;    // steps a thread keeps in registers; 0: none
  int unroll;    // steps loaded at once, where none are kept
} RowPlan;

// Fills everything above `shape`.
void row_plan_analyse(RowPlan *p);
// Passes once more, with moments.
void row_plan_use_moments(RowPlan *p);
// Fills the rest.
void row_plan_choose_shape(RowPlan *p);

static inline const TensorDesc *row_plan_operand(const RowPlan *p, int tensor) {
  return tensor < p->input_count ? &p->site->inputs[tensor] : &p->site->outputs[tensor - p->input_count];
}
static inline int row_plan_threads(const RowPlan *p) { return p->block_groups * p->lanes; }
// Whether a tensor stands still along the row.
bool row_plan_still(const RowPlan *p, int tensor);
bool row_plan_reduces(const RowPlan *p, int instruction);
// Whether elements of this pass are fed to the instruction: a reduction that does not follow from another's moments.
bool row_plan_feeds(const RowPlan *p, int instruction, int pass);
static inline bool row_plan_is_arg(Opcode op) { return op >= OP_reduce_argmax && op <= OP_reduce_argmin_last; }
// Bytes of one partial result of a reduction, as other threads and launches see it.
size_t row_plan_partial_bytes(const RowPlan *p, int instruction);
size_t row_plan_largest_partial(const RowPlan *p);

// Adds a kernel that runs passes [first, last), and then stores if `store`. Passes before `first` are read from the workspace.
void row_text_kernel(const RowPlan *p, Text *text, const char *entry, int first, int last, bool store);
int64_t row_text_workspace(const RowPlan *p);  // bytes of all partial results of split rows
