// What an anchor does in one step. An anchor (a product, a convolution, a pool, a resize: OpDef.takes_epilogue) may have a scalar program behind it, its epilogue, which
// works on each element of the result while the anchor has it in registers. In the graph the two are a region (control/region.h) whose body holds them and
// nothing else:
//
//   %y = region(%x, %w, %b) {body: graph fused(%x, %w, %b) -> (%y) { %s = conv(%x, %w) %y = elementwise(%s, %b) {program: ...} }}
//
// Whoever asks what an anchor computes asks here, whether or not it has an epilogue: rules, which see the node of the graph, and implementations, whose Site (site.h) is
// filled from what is read here. Operands have one order, whatever the region's inputs are: first the anchor's, in the anchor's order, absent ones too, then what the
// epilogue reads beside the result. A node that is no such region is its own anchor.
//
// A program in front of the first operand, its prologue, is a region around that: of a pointwise node and the anchor, or the region of it and its epilogue. Opened, it is those
// two again. It is made last and read by fused_site alone: to rules it is a region like any other. Its operands stand behind all others.
//
//   %y = region(%x, %s, %w, %b) {body: graph fused(...) -> (%y) { %p = elementwise(%x, %s) {program: ...} %y = region(%p, %w, %b) {body: as above} }}
#pragma once
#include "kernels/site.h"

enum { FUSED_OPERANDS = 15 };  // that an epilogue reads

typedef struct Fused {
  const Node *node;    // of the graph
  const Node *anchor;  // whose operator and attributes count; `node` itself where that is no region of this form
  const Program
      *program;  // the epilogue; NULL: none. Input 0 is the anchor's result, input k operand number anchor->input_count + k - 1
  int operand_count;                  // of both
  bool reads_all;                     // no input of the region is there for nothing
  const Value *read[FUSED_OPERANDS];  // in the body, by the epilogue's operands
} Fused;

// Whether the node is a region of an anchor and its epilogue; `out` is filled either way. A program whose result does not come first is made anew in the arena.
bool fused_read(const Node *node, Arena *arena, Fused *out);
const Node *fused_anchor(const Node *node);  // the node itself where it is no such region
// Which input of the node the operand is; -1: it is absent.
int fused_input(const Fused *fused, int operand);
Value *fused_operand(const Fused *fused, int operand);  // NULL where it is absent

// The node that does the work, within a prologue's region too.
const Node *fused_core(const Node *node);
// The site of a node, but for its tensors and device. numbers: which input of the node each of the site's is, -1 where it is absent.
void fused_site(const Node *node, Arena *arena, Site *site, int **numbers);
