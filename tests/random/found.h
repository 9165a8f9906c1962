// Graphs that failed, as text: after the line that says what was wrong come the way and the values, then the graph.
//
//   // what was wrong
//   // way: passes fold_scale,layout cuda
//   // values: 17
//   graph random(...) ...
#pragma once
#include "tests/random/trial.h"

void found_print(Text *text, const char *what, const Graph *graph, uint64_t values, const RewriteWay *way);
MUST_CHECK Status found_read(Arena *arena, const char *path, Graph **graph, uint64_t *values, RewriteWay *way);
// Tries every file of the folder; those that skipped.txt in it names must still fail. The number of surprises.
int found_run(const char *folder);
