// Rules: what passes are made of. A rule is a name, one line of help, a pattern, and a function that rewrites what the pattern matched, or says why it does not.
// A pass is a list of rules, which the workshop applies until none applies any more (workshop.c). Rules see one graph: bodies and branches are visited
// before the graph that holds them.
//
// A pattern is text, read once a pass. Its outermost node is the root, in whose place new nodes come; operands are what stands before it.
//
//   conv(pad: pad(x, value?)!, ...)
//
//   conv(...)          a node of this operator; conv|conv_transpose(...): of one of them; @view(...): of an operator with this trait (pattern.c); *(...): of any
//   name: conv(...)    gives the node a name (`root` is the outermost one's); x: gives a value one; the same name twice: the same value
//   #w                 a constant                       x?    may be absent
//   f(a, b)            exactly these operands           f(a, b, ...)    these first       f(..., a, ...)    a at any place, each in turn       f(...)    any
//   f(...)!            its one output has no user but the node that it is an operand of, and is not given out
#pragma once
#include "ir/bindings.h"
#include "passes/passes.h"

typedef struct Rewrite Rewrite;

typedef enum RuleDevice { ANY_DEVICE, CPU_ONLY, CUDA_ONLY } RuleDevice;
// What may differ from the graph as it was: nothing, or any of these. A bit each, so that those of rules that applied add up; tests/random judges by them.
typedef enum Exactness {
  EXACT = 0,
  ZERO_SIGNS = 1,    // a zero may have the other sign
  FINITE = 2,        // results that infinities and NaN had a part in
  UNSTORED = 4,      // half precision between nodes that become one is no longer rounded to; f32 and f64 keep their bits
  ROUNDED = 8,       // rounding in any type, within the bound that the rule names: one of a result's own size, or with it
  OF_OPERANDS = 16,  // one of the size of what is computed on the way: a result near zero may be another
} Exactness;

struct Rule {
  const char *name;     // "pad_into_conv"
  const char *help;     // one line
  const char *pattern;  // see above
  Exactness exactness;
  const char *bound;  // where not EXACT: one line
  RuleDevice device;
  bool (*root)(
      const Node *
          node);  // what it looks at before anything else, so that a node with thousands of operands costs no more than a look; NULL: nothing
  bool tells_misses;  // a match that it refuses goes into the log, with why
  // Rewrites the match, or refuses. A refusal leaves no trace: nodes it added go.
  Status (*apply)(Rewrite *rewrite);
};

// --- The match. A name that the pattern does not have is a programming error.
Node *matched(const Rewrite *rewrite, const char *name);
Value *operand(const Rewrite *rewrite, const char *name);  // NULL where it is absent
Graph *rewrite_graph(const Rewrite *rewrite);
const PassOptions *rewrite_options(const Rewrite *rewrite);
// Whether a constant of this type is rounded where other values are not: in half precision, in a region (kernels/control/region.h).
bool rewrite_rounds_constants(const Rewrite *rewrite, DType dtype);
// Memory that lasts as long as the pass, and one pointer in it that the rule keeps from match to match.
Arena *rewrite_scratch(const Rewrite *rewrite);
void **rewrite_state(Rewrite *rewrite);

// --- Refusing: `WANT(condition, "why not");` at the head of `apply`, whose argument is `r`.
MUST_CHECK Status rewrite_refuse(Rewrite *rewrite, const char *why);
#define WANT(condition, why) \
  if (!(condition)) return rewrite_refuse(r, why)

// --- Replacing. New nodes stand before the root. They come from the ONNX nodes that all that was matched came from; one that is like another, and replaces nothing,
// from those of the other.
Node *rewrite_add(Rewrite *rewrite, const OpDef *op, int input_count, Value *const *inputs, int output_count);
Node *rewrite_like(Rewrite *rewrite, const Node *node);  // with its inputs and attributes
// A node that belongs to the match though the pattern does not show it: its origins count, and it goes where nobody uses it any more.
void rewrite_cover(Rewrite *rewrite, Node *node);
// `to`, a constant or a value that was there, takes the place of `from` everywhere.
MUST_CHECK Status rewrite_replace(Rewrite *rewrite, Value *from, Value *to);
// The values, or the root's outputs, become those of the new node, in order, with their stride orders and names; types are inferred. Refuses where a size would be
// another or be written in another way.
MUST_CHECK Status rewrite_values_by(Rewrite *rewrite, Value *const *values, Node *node);
MUST_CHECK Status rewrite_root_by(Rewrite *rewrite, Node *node);
void rewrite_set_input(Rewrite *rewrite, Node *node, int index, Value *value);
// Nodes become one region (kernels/control/region.h) that holds them, named `name`: those given, or all that the pattern matched. What of their results others use
// are its results. Refuses nodes that have nothing to do with each other, that a node outside of them would have to run between, or that no region may hold.
MUST_CHECK Status rewrite_outline(Rewrite *rewrite, Node *const *nodes, int count, const char *name);
MUST_CHECK Status rewrite_outline_match(Rewrite *rewrite, const char *name);
MUST_CHECK Status rewrite_inline(Rewrite *rewrite, Node *region);  // its body takes its place, and is what it was before
void rewrite_learn(Rewrite *rewrite,
                   const Bindings *sizes);  // symbols that stand for something from here on, in the whole graph
