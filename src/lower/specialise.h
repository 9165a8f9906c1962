// Specialising: a graph with symbols, control flow and run-time operands, given the shapes of one call (and the contents of the
// small inputs that shapes depend on), becomes static. What can be computed now is folded; an `if` whose condition is known becomes its
// branch; a region that the device has no kernel for its body; a deferred operator whose operands are known is translated.
//
// Where something depends on data, the graph is cut into stages:
//   ready    the static part that can run at once, planned like any model;
//   actions  nodes that the host carries out after it: loops, reads of how much a data-dependent operator gave, operators whose output
//            size depends on data or that the device has no kernel for (run by their reference), and
//   fetches  values whose contents decide how the rest looks;
//   rest     what remains: specialised in turn once those contents and sizes are known.
// A model without data-dependent shapes is one stage: ready alone.
#pragma once
#include "ir/graph.h"

typedef struct StageInput {
  ValueKind kind;  // VALUE_OPTIONAL: one without an element
  int64_t dims[MAX_RANK];
  int rank;
  DType dtype;
  const Tensor *known;             // content, or NULL
  bool read;                       // its elements are what the contents of the graph's input call symbols (reads.h)
  const struct StageInput *items;  // of a sequence: tensors
  int count;
} StageInput;

// Where a value of a later part comes from.
typedef enum SlotKind { SLOT_INPUT, SLOT_READY, SLOT_ACTION, SLOT_CONSTANT, SLOT_SEQUENCE, SLOT_NOTHING } SlotKind;
typedef struct Slot {
  SlotKind kind;
  int index;               // ready's input, ready's output, or action
  int output;              // SLOT_ACTION: output of that action's node
  const Tensor *constant;  // SLOT_CONSTANT
  struct Slot *items;      // SLOT_SEQUENCE
  int count;
  DType dtype;
} Slot;

typedef struct Action {
  Node *node;    // in `pending`; a loop, a scan, or a node to run by its reference
  Slot *inputs;  // node->input_count; kind SLOT_CONSTANT with constant NULL where absent
} Action;

typedef struct Stage {
  Graph *ready;                 // inputs: all of the stage's, in order, the elements of a sequence in its place
  size_t folded_bytes;          // of what was computed here
  struct Rebinding *rebinding;  // for calls of other sizes: rebind.h; NULL where it serves these alone, for the reason `closed`
  const char *closed;
  bool rewritten;  // operators were translated or branches inlined: passes have new work
  bool complete;   // nothing is left after ready; of what follows only `results` and `direct` are set
  Slot *results;   // where complete: each of the graph's outputs, ready's or made of what is at hand (strings, sequences)
  bool direct;     // where complete: ready's outputs are the graph's
  Action *actions;
  uint32_t action_count, action_capacity;
  Graph *rest;        // outputs: the graph's outputs
  bool rest_is_open;  // it says of sizes what the model does, and serves all calls that the stage can be bound to
  Slot *rest_inputs;  // one for each of rest's inputs
  bool *fetch;        // one for each of rest's inputs: its content must be known before rest is specialised
} Stage;

typedef struct SpecialiseHooks {
  // Translates a deferred operator in place; results: what stands for its outputs then. NULL: deferred operators are refused.
  Status (*translate)(Node *node, Value **results, bool *done);
  bool (*is_deferred)(const Node *node);
  // Whether the device computes this (static) node itself.
  bool (*runs)(void *context, const Node *node);
  void *context;
  bool
      reserves;  // what data-dependent operators give is made on the device, in memory for all there may be, where it runs that; only the count is read
} SpecialiseHooks;

// The result lives in the arena; constants' bytes are shared with `graph`.
MUST_CHECK Status specialise(const Graph *graph, const StageInput *inputs, const SpecialiseHooks *hooks, Arena *arena,
                             Stage **out);

// In a stage that passes have rewritten since, regions that the device has no kernel for become their bodies.
void specialise_regions(Graph *ready, const SpecialiseHooks *hooks, Arena *arena);

// mask[i]: the content of graph input i (a small integer or bool tensor) decides shapes or branches, so knowing it up front keeps
// the model in one stage.
void graph_shape_inputs(const Graph *graph, bool (*is_deferred)(const Node *), bool *mask);
