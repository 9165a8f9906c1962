// Concatenations that take no step: what they join is written where it belongs as it is made. A line is the memory in which that happens, a tensor as wide along the axis as
// all that lies in it side by side, which may be more than one concatenation: those of a dense block each begin with the one before. Found for a whole graph, before anything is planned.
#pragma once
#include "lower/plan.h"

enum { LINE_CELLS = 64 };  // that one line has at most

// What a line holds from a place on: a value that a step makes, or room for the copy of one that must lie elsewhere.
typedef struct LineCell {
  const Value *value;  // NULL: a copy
  int64_t at, width;   // along the axis
} LineCell;

typedef struct Line {
  const Value *like;  // a concatenation in it, whose type and extents along other axes are those of all
  int axis;
  int64_t low, high;  // places along the axis: of what begins first, and behind what ends last
  bool exact;         // no wider than its concatenation, which a reshape reads
  int count;
  LineCell cells[LINE_CELLS];
  int buffer;  // the planner's; -1: not there yet
} Line;

typedef struct Lines Lines;
Lines *lines_find(const Graph *graph, const DeviceInfo *device, Arena *arena);
// The line that a step writes the value into, and where along the axis; NULL: none.
Line *lines_of(const Lines *lines, const Value *value, int64_t *at);
// The line in which what the concatenation joins lies side by side, and where; NULL: none.
Line *lines_joined(const Lines *lines, const Value *value, int64_t *at);
void lines_add(Lines *lines, const Value *value, Line *line, int64_t at);  // of a step's
// Extents and strides of the line's memory.
void line_layout(const Line *line, int64_t *dims, int64_t *strides);
