// What passes ask of program nodes and of values.
#pragma once
#include "kernels/elementwise/elementwise.h"
#include "kernels/rowwise/rowwise.h"
#include "passes/passes.h"

static inline bool is_program_node(const Node *node) { return node->op->has_program; }

// The one node that uses the value, however many of its inputs; NULL where there are others or the graph gives it out.
Node *only_user(const Value *value);
// The domain a program node iterates over, as inference says. Returns the rank; -1 where it is open.
int node_domain(const Node *node, Dim *dims);
bool has_domain(const Node *node, int rank, const Dim *dims);  // a known one
Value *only_variable(const Node *node);               // the one operand that is no constant; NULL where there are several
bool value_is_scalar(const Value *value);             // one element, whatever the rank
const Tensor *repeated_constant(const Value *value);  // the constant that it is, or repeats; NULL: it is computed
bool is_operation(const Node *node,
                  Opcode op);  // elementwise, one result, of its operands in their order, by this opcode alone
bool reads_coordinates(const Program *program);
// What is left of a program where the value of instruction `given` is known: which inputs it still reads, by number; and itself, with the value of input number `input`
// there, plus that of the next input where `shifted`. The new one is of two inputs more than `input`.
void program_reads_around(const Program *program, int given, bool *reads);
Program *program_around(const Program *program, int given, int input, bool shifted, Arena *arena);

// What rules that look at every operand look at before: at most so many.
enum { READS_LITTLE = 32 };
bool reads_little(const Node *node);

// Gives the new node a program over `inputs` and the attributes of another, whose domain it keeps, though it may read less. The first `fixed` of them it has already. False: that
// domain is open, and may be another without an operand that goes.
bool set_program_over(Node *made, const Node *node, Program *program, int input_count, Value *const *inputs, int fixed);
// Gives the program to the node after dropping inputs it does not need and merging inputs that are the same value.
void set_program_inputs(Node *node, Program *program, int input_count, Value *const *inputs, int first_input);
