// What the makers of random graphs share. A maker adds a node, or a few that belong together, over values that the graph has already,
// and leaves its results among them; where what it drew makes no sense it adds nothing, and another one is tried. Each family of operators
// has a file of makers.
#pragma once
#include "tests/random/draw.h"
#include "kernels/build.h"
#include "ir/op.h"

enum { MOST_SIZES = 4, MOST_DTYPES = 3 };

typedef struct Maker {
  Graph *graph;
  Draw draw;
  int flavour;  // of constants
  Value **pool;
  uint32_t count, capacity;
  Dim sizes[MOST_SIZES];  // few, so that shapes meet
  int size_count;
  DType dtypes[MOST_DTYPES];  // that new inputs and casts have
  int dtype_count;
} Maker;

typedef bool Make(Maker *maker);
typedef struct MakeRow {
  const char *name;
  int weight;
  Make *make;
} MakeRow;
// Each ends with a row without a name.
extern const MakeRow program_makes[], view_makes[], window_makes[], product_makes[], movement_makes[], control_makes[],
    case_makes[], idiom_makes[], rule_makes[], size_makes[];

// Values. A predicate of NULL takes any; the last ones are taken more often; NULL where there is none.
typedef bool Takes(const Value *value);
Value *maker_pick(Maker *maker, Takes *takes);
void maker_keep(Maker *maker, Value *value);
Value *maker_input(Maker *maker, DType dtype, int rank, const Dim *dims);
Value *maker_constant(Maker *maker, DType dtype, int rank, const int64_t *dims);  // drawn
Value *maker_scalar(Maker *maker, DType dtype, double value);
// A constant that broadcasts to the value, where its axes are static; along each axis as long or 1.
Value *maker_broadcast(Maker *maker, const Value *to, DType dtype);
Dim maker_size(Maker *maker);
DType maker_dtype(Maker *maker);
int maker_below(Maker *maker, int count);
bool maker_one_in(Maker *maker, int count);

// Nodes: attributes are set between the two. maker_finish infers and keeps the results; false: the node made no sense and is gone.
Node *maker_node(Maker *maker, const OpDef *op, int input_count, Value *const *inputs, int output_count);
bool maker_finish(Maker *maker, Node *node);
bool maker_small(const Value *value);
// What a builder returned: kept, where it is a node's.
bool maker_built(Maker *maker, const Builder *builder, Value *value);

// Predicates
bool is_float(const Value *value);
bool is_f32(const Value *value);
enum { MANY_CHANNELS = 64 };        // a convolution of as many into as many takes the references long
bool is_image(const Value *value);  // float, of rank 3 or 4, channels known

// Random scalar programs: one more instruction over those there are; its number.
int maker_instruction(Maker *maker, Program *program, bool over_rows);

// A whole graph of 1 to `most` nodes.
MUST_CHECK Status make_graph(Arena *arena, uint64_t seed, int most, Graph **out);
