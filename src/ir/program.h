// Scalar programs: the pointwise and row-reducing arithmetic of a node, as a short SSA list. Every elementwise ONNX operator,
// cast, quantize and where is one; fusing two nodes is joining two programs.
//
// Types. Each instruction has a result dtype. Floats of 32 bits and less are computed in float (f32), f64 in double,
// signed integers in int64_t wrapped to their width, unsigned in uint64_t wrapped, bool as 0/1. An instruction typed
// f16 rounds its result to f16 only if it is a cast; otherwise precision inside a program is that of float. An `input`
// instruction converts from the value's storage type to its dtype; storing an output converts to the output value's
// storage type. Such implicit conversions happen between float types only; all others are `cast` instructions.
//
// Levels. In a rowwise node a reduction turns an element-level operand into a row-level result; constants are row-level,
// inputs and index() are element-level; any other instruction is element-level if an operand is. An element-level output has the
// domain's shape, a row-level one has 1 along the reduced axes.
#pragma once
#include "base/text.h"
#include "ir/dim.h"
#include "ir/dtype.h"

typedef struct Program Program;

// The one table of opcodes: ir/opcodes.inc, rows OPCODE(name, arity, operand classes, result rule, expression).
typedef enum Opcode {
#define OPCODE(name, arity, classes, result, expression) OP_##name,
#include "ir/opcodes.inc"
#undef OPCODE
  OPCODE_COUNT
} Opcode;

// Which dtypes operands may have.
enum {
  CLASS_F = 1,
  CLASS_I = 2,
  CLASS_U = 4,
  CLASS_B = 8,
  CLASS_INT = CLASS_I | CLASS_U,
  CLASS_NUMBER = CLASS_F | CLASS_INT,
  CLASS_ANY = CLASS_NUMBER | CLASS_B
};
typedef enum ResultRule {
  RESULT_SAME,      // dtype of the first operand (all operands agree)
  RESULT_BOOL,      // operands agree, result is bool
  RESULT_SELECT,    // bool, then two that agree
  RESULT_DECLARED,  // the instruction says (const, input, index, extent, cast, arg-reductions)
} ResultRule;

typedef struct OpcodeInfo {
  const char *name;
  int arity;
  int classes;
  ResultRule result;
  const char *expression;  // in a, b, c; valid C for the interpreter and CUDA C++ for the generator; NULL where special
  bool reduces;            // element-level operand to row-level result
} OpcodeInfo;
const OpcodeInfo *opcode_info(Opcode op);
bool opcode_parse(const char *name, Opcode *out);
bool opcode_chooses(Opcode op);  // its result is an operand of its own, but for the sign: nothing is rounded

typedef struct Instruction {
  Opcode op;
  DType dtype;
  int args[3];  // instruction numbers; OP_input: args[0] is the input's number; OP_index, OP_extent: args[0] is the domain axis
  double number;    // OP_const of float kind
  int64_t integer;  // OP_const of integer or bool kind; OP_cast: flags, see below
} Instruction;

// Flags of a cast. Floats to 8 bits and less: CAST_SATURATE gives the largest finite value where the operand is out of range, otherwise
// infinity or NaN. Floats to integers truncate. CAST_SATURATE clamps to the type, and NaN gives 0; otherwise, as C compilers do on x86 and
// ONNX Runtime with them, a value goes through i32, or i64 where the type has 64 bits; what does not fit there, and NaN, is the most negative
// value of that type; the result is cut to the width of the type. u32 and u64 take their own upper halves, and 0 beyond.
// To f8e8m0 the rounding is E8m0Rounding (base/half.h) << CAST_ROUNDING_SHIFT.
enum { CAST_SATURATE = 1, CAST_ROUNDING_SHIFT = 1 };

struct Program {
  Arena *arena;
  int input_count;
  int count;
  uint32_t capacity;
  Instruction *code;
  int output_count;
  int *outputs;  // instruction numbers
  int *index;    // where equal instructions are looked for in long programs; see program.c
  uint32_t index_size;
  int indexed;
};

Program *program_new(Arena *arena, int input_count);
uint64_t program_hash(const Program *program, uint64_t seed);
Program *program_copy(Arena *arena, const Program *program);
// Builders. Each appends one instruction and returns its number; identical instructions are shared.
int program_input(Program *program, int input, DType dtype);
int program_const_f(Program *program, DType dtype, double value);
int program_const_i(Program *program, DType dtype, int64_t value);
int program_const(Program *program, DType dtype, double value);  // by the dtype's kind
int program_index(Program *program, DType dtype, int axis);      // coordinate along a domain axis
int program_extent(Program *program, DType dtype, int axis);     // size of a domain axis
int program_row_extent(Program *program, DType dtype);           // number of elements a reduction runs over
int program_cast(Program *program, DType dtype, int a);  // no instruction if a already has the dtype; saturates for f8, f4
int program_cast_with(Program *program, DType dtype, int a, int64_t flags);  // CAST_*
int program_op1(Program *program, Opcode op, int a);
int program_op2(Program *program, Opcode op, int a, int b);
int program_op3(Program *program, Opcode op, int a, int b, int c);
int program_instruction(Program *program, Instruction instruction);    // as it is, its operands being the program's
int program_reduce(Program *program, Opcode op, int a, DType result);  // OP_reduce_*; result is i64 for arg-reductions
void program_output(Program *program, int instruction);

// Joins: appends producer's code into consumer, mapping producer's inputs through input_map (number in consumer) and
// replacing consumer's input `replaced` by producer's output `output`. Unused inputs stay; program_prune drops them.
// Where the consumer's input has another dtype than the producer's result, a cast to it is inserted (rounding as memory would).
void program_inline(Program *consumer, int replaced, const Program *producer, int output, const int *input_map);
// Appends all of other's code; other's input i becomes input input_map[i]. result_map[instruction of other] = new number.
void program_append(Program *program, const Program *other, const int *input_map, int *result_map);
// Drops instructions no output needs and renumbers inputs; used[i] = new number of input i, or -1. Returns the new input count.
int program_prune(Program *program, int *used);
bool program_is_identity(const Program *program);  // one output that is input 0
bool program_has_reduction(const Program *program);
// level[i]: 1 if instruction i is element-level, 0 if row-level.
void program_levels(const Program *program, uint8_t *level);
MUST_CHECK Status program_check(const Program *program);
bool program_equal(const Program *a, const Program *b);
bool program_has(const Program *program, Opcode op);  // one of its instructions is such; NULL has none
// {%0: f32 = input 0; %1 = relu %0; yield %1}: prints and parses back to the same program. For the syntax see program_text.c.
void program_print(Text *text, const Program *program);
MUST_CHECK Status program_parse(Arena *arena, const char **cursor, Program **out);
