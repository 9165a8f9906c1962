// What remains of a graph behind what runs at once (specialise.h), in terms of sizes as the model has them: then it serves every call that the stage before it can be bound to.
// Whatever specialising has put into numbers is taken back: types, attributes, and constants that follow from sizes, which are computed again.
#pragma once
#include "lower/rebind.h"

typedef struct OpenRest {
  FromSizes *from;
  const ReadSymbols *reads;
  IntMap *made;  // by a value's number in from->graph: its copy in rest
} OpenRest;

OpenRest open_rest_new(FromSizes *from, const ReadSymbols *reads, Arena *arena);
// Whether the node holds a graph that runs on its own, in which this call's sizes stand: no branch, and no region's body.
bool open_rest_holds_graphs(const Node *node);
// Whether what the host carries out is the same for all sizes.
bool open_rest_takes_action(const OpenRest *open, const Node *node);
// Constants that follow from sizes are those of a graph which others were copied to: by the value's number, NULL for those that were not.
void open_rest_follow(OpenRest *open, Value *const *copies);
// The constant computed in rest; NULL: it does not follow from sizes.
Value *open_rest_constant(OpenRest *open, Graph *rest, const Value *constant);
void open_rest_node(Node *copy);
// Symbols that rest speaks of and no input of it shows.
StringMap *open_rest_symbols(const Graph *rest, Arena *arena);
// Whether the value, of the specialised graph, shows one of them, which is hidden no more.
bool open_rest_shows(const Value *value, StringMap *hidden);
bool open_rest_reads(const OpenRest *open, int input, StringMap *hidden);  // the same, of an input's contents
void open_rest_set_contents(const OpenRest *open, int input, Value *in_rest);
// Those that nodes of rest introduce, and nodes of the branches that it holds.
void open_rest_show_later(const Graph *rest, StringMap *hidden);
// Sizes of inputs that follow from what is hidden still become symbols of their own.
void open_rest_rename(Graph *rest, const StringMap *hidden, Arena *arena);
// Whether no node needs a size that is hidden still.
bool open_rest_says_all(const Graph *rest, const StringMap *hidden);
