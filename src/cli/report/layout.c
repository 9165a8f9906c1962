// See layout.h. Sugiyama's method: layers by the longest way from a source; edges over several layers get a bend in each; each layer is sorted by the
// mean place of its neighbours above and below, in turns; then each takes the place nearest to theirs that leaves room, by least squares under the order
// (isotonic regression by pooling neighbours).
#include "cli/report/layout.h"

#include <stdlib.h>
#include <string.h>

#include "base/checked.h"

enum { SWEEPS = 12, MOST_BENDS = 60000, BEND_WIDTH = 10 };

// A node, or the bend of an edge in a layer between.
typedef struct Item {
  int layer, number;  // number: of its making, which decides between equals
  double place, x, half;
  int *above, *below;  // items
  uint32_t above_count, above_capacity, below_count, below_capacity;
} Item;

typedef struct Layer {
  int *items;
  uint32_t count, capacity;
} Layer;

typedef struct Drawing {
  Layout *layout;
  Arena *arena;
  Item *items;
  uint32_t item_count, item_capacity;
  Layer *layers;
  int layer_count;
  int **bends;  // of each edge: its items, from the first to the last
  int *bend_counts;
  struct Ranked *ranked;  // of one layer
  struct Pool *pools;
  double *offsets;
} Drawing;

// ---- layers ------------------------------------------------------------------------------------------------------------------

// What comes of no pinned node goes down to its first reader.
static void sink(Drawing *d, int *layers) {
  const Layout *layout = d->layout;
  bool *held = arena_array(d->arena, bool, (size_t)layout->count + 1), moved = layout->pinned != NULL;
  int *first = arena_array(d->arena, int, (size_t)layout->count + 1);
  for (int i = 0; i < layout->count && layout->pinned; i++) held[i] = layout->pinned[i];
  for (int e = 0; e < layout->edge_count; e++) held[layout->edges[e][1]] |= held[layout->edges[e][0]];
  while (moved) {
    moved = false;
    for (int i = 0; i < layout->count; i++) first[i] = INT32_MAX;
    for (int e = 0; e < layout->edge_count; e++)
      first[layout->edges[e][0]] = MIN(first[layout->edges[e][0]], layers[layout->edges[e][1]]);
    for (int i = 0; i < layout->count; i++) {
      if (held[i] || first[i] == INT32_MAX || layers[i] >= first[i] - 1) continue;
      layers[i] = first[i] - 1;
      moved = true;
    }
  }
}

static void find_layers(Drawing *d) {
  const Layout *layout = d->layout;
  int *layers = arena_array(d->arena, int, (size_t)layout->count + 1);
  bool moved = true;
  // Edges lead to higher numbers: in their order one round does, and in any other a few.
  for (int round = 0; moved && round < layout->count; round++) {
    moved = false;
    for (int e = 0; e < layout->edge_count; e++) {
      int from = layout->edges[e][0], to = layout->edges[e][1];
      if (layers[to] > layers[from]) continue;
      layers[to] = layers[from] + 1;
      moved = true;
    }
  }
  sink(d, layers);
  for (int i = 0; i < layout->count; i++) {
    d->items[i].layer = layers[i];
    d->layer_count = MAX(d->layer_count, layers[i] + 1);
  }
}

static int add_item(Drawing *d, int layer, double half) {
  Item *item = ARENA_PUSH(d->arena, d->items, d->item_count, d->item_capacity);
  *item = (Item){.layer = layer, .number = (int)d->item_count - 1, .half = half};
  return (int)d->item_count - 1;
}

static void join(Drawing *d, int above, int below) {
  Item *a = &d->items[above], *b = &d->items[below];
  *ARENA_PUSH(d->arena, a->below, a->below_count, a->below_capacity) = below;
  *ARENA_PUSH(d->arena, b->above, b->above_count, b->above_capacity) = above;
}

// Edges that would take too many bends are drawn straight.
static void add_bends(Drawing *d) {
  const Layout *layout = d->layout;
  d->bends = arena_array(d->arena, int *, (size_t)layout->edge_count + 1);
  d->bend_counts = arena_array(d->arena, int, (size_t)layout->edge_count + 1);
  for (int e = 0; e < layout->edge_count; e++) {
    int from = layout->edges[e][0], to = layout->edges[e][1], last = from;
    int between = d->items[to].layer - d->items[from].layer - 1;
    if (d->item_count + (uint32_t)between > (uint32_t)(MOST_BENDS + layout->count)) between = 0;
    d->bends[e] = arena_array(d->arena, int, (size_t)between + 1);
    for (int i = 0; i < between; i++) {
      int bend = add_item(d, d->items[from].layer + 1 + i, BEND_WIDTH / 2.0);
      join(d, last, bend);
      d->bends[e][d->bend_counts[e]++] = last = bend;
    }
    join(d, last, to);
  }
}

static void fill_layers(Drawing *d) {
  d->layers = arena_array(d->arena, Layer, (size_t)d->layer_count + 1);
  for (uint32_t i = 0; i < d->item_count; i++) {
    Layer *layer = &d->layers[d->items[i].layer];
    d->items[i].place = layer->count;
    *ARENA_PUSH(d->arena, layer->items, layer->count, layer->capacity) = (int)i;
  }
}

// ---- order -------------------------------------------------------------------------------------------------------------------

static double mean_place(const Drawing *d, const Item *item, const int *others, uint32_t count) {
  double sum = 0;
  for (uint32_t i = 0; i < count; i++) sum += d->items[others[i]].place;
  return count ? sum / count : item->place;
}

typedef struct Ranked {
  double rank;
  int number;
} Ranked;

static int by_rank(const void *a, const void *b) {
  const Ranked *x = a, *y = b;
  if (x->rank != y->rank) return x->rank < y->rank ? -1 : 1;
  return (x->number > y->number) - (x->number < y->number);
}

static void sort_layer(Drawing *d, Layer *layer, bool by_above) {
  Ranked *ranked = d->ranked;
  for (uint32_t i = 0; i < layer->count; i++) {
    const Item *item = &d->items[layer->items[i]];
    double rank =
        by_above ? mean_place(d, item, item->above, item->above_count) : mean_place(d, item, item->below, item->below_count);
    ranked[i] = (Ranked){rank, layer->items[i]};
  }
  qsort(ranked, layer->count, sizeof *ranked, by_rank);
  // Places are shares of the layer's width, so that layers of many items and of few compare.
  for (uint32_t i = 0; i < layer->count; i++) {
    layer->items[i] = ranked[i].number;
    d->items[ranked[i].number].place = (i + 0.5) / layer->count;
  }
}

static void order_layers(Drawing *d) {
  for (int sweep = 0; sweep < SWEEPS; sweep++) {
    bool down = sweep % 2 == 0;
    for (int i = 0; i < d->layer_count; i++) sort_layer(d, &d->layers[down ? i : d->layer_count - 1 - i], down);
  }
}

// ---- places ------------------------------------------------------------------------------------------------------------------

static double wanted_x(const Drawing *d, const Item *item, bool by_above, bool by_below) {
  double sum = 0;
  int count = 0;
  for (uint32_t i = 0; by_above && i < item->above_count; i++) sum += d->items[item->above[i]].x, count++;
  for (uint32_t i = 0; by_below && i < item->below_count; i++) sum += d->items[item->below[i]].x, count++;
  return count ? sum / count : item->x;
}

// Runs of items that stand as close as may be, at the mean of what they want.
typedef struct Pool {
  double sum;
  int count, first;
} Pool;

static double mean_of(const Pool *pool) { return pool->sum / pool->count; }

static void place_layer(Drawing *d, const Layer *layer, bool by_above, bool by_below) {
  Pool *pools = d->pools;
  double *offset = d->offsets;
  int count = 0;
  for (uint32_t i = 0; i < layer->count; i++) {
    const Item *item = &d->items[layer->items[i]];
    if (i) offset[i] = offset[i - 1] + d->items[layer->items[i - 1]].half + item->half + d->layout->gap;
    pools[count++] = (Pool){wanted_x(d, item, by_above, by_below) - offset[i], 1, (int)i};
    for (; count > 1 && mean_of(&pools[count - 2]) > mean_of(&pools[count - 1]); count--) {
      pools[count - 2].sum += pools[count - 1].sum;
      pools[count - 2].count += pools[count - 1].count;
    }
  }
  for (int p = 0; p < count; p++)
    for (int i = pools[p].first; i < pools[p].first + pools[p].count; i++)
      d->items[layer->items[i]].x = mean_of(&pools[p]) + offset[i];
}

static void place_items(Drawing *d) {
  for (int i = 0; i < d->layer_count; i++) place_layer(d, &d->layers[i], false, false);  // side by side
  for (int sweep = 0; sweep < SWEEPS; sweep++) {
    bool down = sweep % 2 == 0, last = sweep + 2 >= SWEEPS;
    for (int i = 0; i < d->layer_count; i++)
      place_layer(d, &d->layers[down ? i : d->layer_count - 1 - i], down || last, !down || last);
  }
}

// ---- the drawing -------------------------------------------------------------------------------------------------------------

static void shift(Drawing *d) {
  double least = 0, most = 0;
  for (uint32_t i = 0; i < d->item_count; i++) {
    const Item *item = &d->items[i];
    least = i ? MIN(least, item->x - item->half) : item->x - item->half;
    most = i ? MAX(most, item->x + item->half) : item->x + item->half;
  }
  for (uint32_t i = 0; i < d->item_count; i++) d->items[i].x -= least;
  d->layout->width = most - least;
  d->layout->height = d->layer_count ? (d->layer_count - 1) * d->layout->layer_height + d->layout->node_height : 0;
}

static double top_of(const Drawing *d, int item) { return d->items[item].layer * d->layout->layer_height; }

static void draw(Drawing *d) {
  Layout *layout = d->layout;
  layout->nodes = arena_array(layout->arena, Point, (size_t)layout->count + 1);
  layout->routes = arena_array(layout->arena, Route, (size_t)layout->edge_count + 1);
  for (int i = 0; i < layout->count; i++) layout->nodes[i] = (Point){d->items[i].x, top_of(d, i)};
  for (int e = 0; e < layout->edge_count; e++) {
    Route *route = &layout->routes[e];
    int from = layout->edges[e][0], to = layout->edges[e][1];
    route->points = arena_array(layout->arena, Point, (size_t)d->bend_counts[e] + 2);
    route->points[route->count++] = (Point){d->items[from].x, top_of(d, from) + layout->node_height};
    for (int i = 0; i < d->bend_counts[e]; i++)
      route->points[route->count++] = (Point){d->items[d->bends[e][i]].x, top_of(d, d->bends[e][i]) + layout->node_height / 2};
    route->points[route->count++] = (Point){d->items[to].x, top_of(d, to)};
  }
}

void layout_make(Layout *layout) {
  Drawing d = {.layout = layout, .arena = arena_scratch()};
  for (int i = 0; i < layout->count; i++) add_item(&d, 0, layout->node_width / 2);
  find_layers(&d);
  add_bends(&d);
  fill_layers(&d);
  d.ranked = arena_array(d.arena, Ranked, d.item_count);
  d.pools = arena_array(d.arena, Pool, d.item_count);
  d.offsets = arena_array(d.arena, double, d.item_count);
  order_layers(&d);
  place_items(&d);
  shift(&d);
  draw(&d);
  arena_free(d.arena);
}
