// Scalar programs as CUDA C++. The one place that turns instructions into text: elementwise and rowwise kernels, the
// epilogues of tensor-core kernels and of library calls all come from here, so an opcode means the same everywhere.
//
// Generated text needs `#include "kernels/program/element.cuh"` (the Element_<dtype> structs) and
// `#include "kernels/program/scalar.cuh"` (the functions x_* of ir/opcodes.inc); GENERATED_INCLUDES has both.
#pragma once
#include "kernels/implementation.h"

#define GENERATED_INCLUDES "#include \"kernels/program/scalar.cuh\"\n#include \"kernels/program/element.cuh\"\n"

// The C++ type a dtype is computed in: float, double, int, u32, i64, u64, bool.
const char *value_type(DType dtype);
// An expression of what memory holds (Element_<to>::Stored) for a value computed as `from`. Floats convert among each other; other
// dtypes must be equal.
char *stored_expression(Arena *arena, DType to, DType from, const char *value);

// What a program's leaves are called in the text around it.
typedef struct ProgramNames {
  const char *const *inputs;   // of each input an expression of its value in value_type(input_dtypes[i]); NULL where unused
  const DType *input_dtypes;   // as stored
  const char *const *indices;  // of each domain axis an integer expression; only those that the program reads
  const char *const *extents;  // of each domain axis an i64 expression; only those that the program reads
  const char *row_extent;      // an i64 expression of how many elements a reduction runs over; only where the program reads it
  const char *prefix;          // of the variables' names: "v" gives v0, v1 ...
  bool narrow;                 // see program_is_narrow
} ProgramNames;
// Whether functions may be approximated (narrow_* in scalar.cuh) instead of computed as precisely as f32 holds: all results are stored in half precision, and nothing in the program jumps, as
// rounding and comparisons of floats do, which would make a last place a whole one.
bool program_is_narrow(const Program *program, int output_count, const TensorDesc *outputs);
// Adds `const T v3 = ...;` for one instruction that is no reduction, and sets values[index] (in the text's arena) to what
// stands for it: the variable, or the literal of a constant.
void instruction_emit_cuda(Text *text, const Program *program, int index, const ProgramNames *names, const char **values);
// Adds statements for all instructions the outputs need; results[i] stands for output i, in value_type of its instruction's
// dtype. The program has no reductions.
void program_emit_cuda(Text *text, const Program *program, const ProgramNames *names, const char **results);
// needed[i]: whether an output depends on instruction i.
void program_needed(const Program *program, bool *needed);

// Adds the epilogue of an anchor as one function of one element:
//   DEVICE <y stored> epilogue(<accumulator> acc, <e1 stored> e1, <e2 stored> e2 ..., i64 i0, i64 i1 ..., const Dims &dims)
// e1, e2 ... are the epilogue's operands, as loaded from memory; i0, i1 ... are the coordinates in the output,
// one an axis, there only if program_has(site->epilogue, OP_index); dims are there only if `arguments` have a table, for the sizes that it reads. Without an epilogue it converts acc to y's type.
// Addresses, broadcasting and vector loads are the caller's business.
MUST_CHECK Status epilogue_program_emit(Text *text, const Site *site, DType accumulator, KernelArguments *arguments);

// Adds the prologue of an anchor's first operand likewise, of one element as stored: DEVICE <x stored> prologue(<x stored> e0, <e1 stored> e1, ...).
MUST_CHECK Status prologue_program_emit(Text *text, const Site *site);

// A kernel for an elementwise program over the shape of the outputs, which all have the same dims. Inputs broadcast to it as
// numpy does. The kernel's parameters are the inputs' pointers, then the outputs', each to element 0 of its desc; inputs that are
// absent have none. dims: of the descs' open dims, which the kernel takes as arguments; NULL: all are written into it. A program over nothing (a dim is 0) gives grid 0: launch nothing.
typedef struct GeneratedKernel {
  const char *source, *entry;
  unsigned grid[3], block[3];
  KernelArguments arguments;  // behind the pointers
} GeneratedKernel;
MUST_CHECK Status generate_elementwise(const Program *program, int input_count, const TensorDesc *inputs, int output_count,
                                       const TensorDesc *outputs, DimTable *dims, Arena *arena, GeneratedKernel *out);
// Several such programs as one kernel, one after another in its grid: the parts of a concatenation. Its parameters are those of the
// parts in order; no part is over nothing, but for one of open sizes. bases: where element 0 of a tensor lies that many elements behind the
// pointer the kernel is given (inputs, then outputs), of which the desc's offset tells; NULL: it is there.
typedef struct ElementwisePart {
  const Program *program;
  int input_count, output_count;
  const TensorDesc *inputs, *outputs;
  const Extent *bases;
  DimTable *dims;
} ElementwisePart;
MUST_CHECK Status generate_elementwise_parts(int count, const ElementwisePart *parts, Arena *arena, GeneratedKernel *out);
