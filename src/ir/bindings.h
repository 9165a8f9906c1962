// What the symbols of a graph are found to be, while it is specialised or rewritten: a size, or an expression over other symbols. A symbol is
// learned wherever a type that was recorded earlier meets what takes its place: an input's actual shape, the branch that an `if`
// turns into, the result of a translation, the node that does the same, the type a node has for static inputs. So no symbol depends on one place to be bound.
#pragma once
#include "ir/graph.h"

typedef struct Bindings {
  Graph *graph;
  StringMap *dims;  // symbol -> Dim, boxed
  int count;
} Bindings;

Bindings bindings_new(Graph *graph);
// The dim with every bound symbol replaced.
Dim bindings_resolve(const Bindings *bindings, Dim dim);
// Where `recorded` is a symbol without a value, it stands for `found` from here on.
void bindings_learn(Bindings *bindings, Dim recorded, Dim found);
void bindings_learn_type(Bindings *bindings, int rank, const Dim *recorded, const Value *found);
// The types of a node's results before it is inferred or translated anew, from which symbols are learned afterwards; NULL where they have none.
typedef struct RecordedType {
  int rank;
  Dim dims[MAX_RANK];
} RecordedType;
RecordedType *bindings_record(Arena *arena, const Node *node);
void bindings_learn_recorded(Bindings *bindings, const RecordedType *recorded, int output,
                             const Value *found);  // NULLs are fine
// Types, contents and dims attributes; of a node with its outputs, or of a whole graph. Bodies and branches, which may speak of the
// symbols of the graph around them, are part of the latter. True where everything the node's attributes say is a number now.
bool bindings_apply(const Bindings *bindings, Node *node);
void bindings_apply_everywhere(const Bindings *bindings, Graph *graph);
