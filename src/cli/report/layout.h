// Where the nodes of a graph are drawn: in layers from top to bottom, each below all that it reads, ordered so that few edges cross, and near the nodes that they are joined to.
#pragma once
#include <stdbool.h>

#include "base/arena.h"

typedef struct Point {
  double x, y;
} Point;

typedef struct Route {
  Point *points;  // from the bottom of a node to the top of another, by way of the layers between them
  int count;
} Route;

typedef struct Layout {
  Arena *arena;
  // Given: nodes 0 to count - 1; each edge leads from a node to one with a higher number; edges stand in the order of where they lead.
  int count, edge_count;
  int (*edges)[2];
  const bool *pinned;  // nodes that stay above all; what comes of others alone stands near what reads it. NULL: none are
  double node_width, node_height, gap, layer_height;
  // Found: the middle of a node's top, an edge's route, and how large it all is.
  Point *nodes;
  Route *routes;
  double width, height;
} Layout;

void layout_make(Layout *layout);
