// What a report is drawn and written with: layers that go down, nodes that leave each other room, and names that are a stranger's.
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "base/checked.h"
#include "cli/report/html.h"
#include "cli/report/layout.h"

enum { WIDTH = 100, HEIGHT = 30, LAYER = 50, GAP = 10 };

static Layout laid_out(Arena *arena, int count, int edge_count, int (*edges)[2]) {
  Layout layout = {.arena = arena,
                   .count = count,
                   .edge_count = edge_count,
                   .edges = edges,
                   .node_width = WIDTH,
                   .node_height = HEIGHT,
                   .gap = GAP,
                   .layer_height = LAYER};
  layout_make(&layout);
  for (int i = 0; i < count; i++) {
    cr_expect(layout.nodes[i].x - WIDTH / 2.0 > -1e-6 && layout.nodes[i].x + WIDTH / 2.0 < layout.width + 1e-6);
    cr_expect(layout.nodes[i].y >= 0 && layout.nodes[i].y + HEIGHT <= layout.height);
    for (int k = 0; k < i; k++)
      cr_expect(layout.nodes[i].y != layout.nodes[k].y || fabs(layout.nodes[i].x - layout.nodes[k].x) > WIDTH + GAP - 1e-6,
                "%d and %d overlap", k, i);
  }
  for (int e = 0; e < edge_count; e++) {
    const Route *route = &layout.routes[e];
    cr_expect(route->count >= 2 && route->points[0].x == layout.nodes[edges[e][0]].x &&
              route->points[route->count - 1].y == layout.nodes[edges[e][1]].y);
    for (int i = 1; i < route->count; i++) cr_expect_gt(route->points[i].y, route->points[i - 1].y, "edge %d goes up", e);
  }
  return layout;
}

Test(report, a_chain_is_a_straight_line) {
  Arena *arena = arena_new();
  int edges[][2] = {{0, 1}, {1, 2}, {2, 3}};
  Layout layout = laid_out(arena, 4, COUNT_OF(edges), edges);
  for (int i = 0; i < 4; i++) cr_expect(layout.nodes[i].x == WIDTH / 2.0 && layout.nodes[i].y == i * LAYER);
  cr_expect(layout.width == WIDTH && layout.height == 3 * LAYER + HEIGHT);
  arena_free(arena);
}

// Two chains that change sides would cross three edges: sorted, none does.
Test(report, edges_cross_no_more_than_they_must) {
  Arena *arena = arena_new();
  int edges[][2] = {{0, 3}, {1, 2}, {2, 5}, {3, 4}, {4, 6}, {5, 6}};
  Layout layout = laid_out(arena, 7, COUNT_OF(edges), edges);
  cr_expect_eq(layout.nodes[0].x < layout.nodes[1].x, layout.nodes[3].x < layout.nodes[2].x);
  cr_expect_eq(layout.nodes[3].x < layout.nodes[2].x, layout.nodes[4].x < layout.nodes[5].x);
  arena_free(arena);
}

Test(report, an_edge_over_layers_passes_beside_their_nodes) {
  Arena *arena = arena_new();
  int edges[][2] = {{0, 1}, {1, 2}, {2, 3}, {0, 3}};
  Layout layout = laid_out(arena, 4, COUNT_OF(edges), edges);
  const Route *skip = &layout.routes[3];
  cr_assert_eq(skip->count, 4);
  for (int i = 1; i < 3; i++) cr_expect_gt(fabs(skip->points[i].x - layout.nodes[i].x), WIDTH / 2.0);
  arena_free(arena);
}

Test(report, what_comes_of_constants_alone_stands_near_its_reader) {
  Arena *arena = arena_new();
  int edges[][2] = {{0, 1}, {1, 2}, {2, 5}, {3, 4}, {4, 5}};
  const bool pinned[6] = {true};
  Layout layout = {.arena = arena,
                   .count = 6,
                   .edge_count = COUNT_OF(edges),
                   .edges = edges,
                   .pinned = pinned,
                   .node_width = WIDTH,
                   .node_height = HEIGHT,
                   .gap = GAP,
                   .layer_height = LAYER};
  layout_make(&layout);
  cr_expect_eq(layout.nodes[4].y, layout.nodes[2].y);
  cr_expect_eq(layout.nodes[3].y, layout.nodes[1].y);
  cr_expect_eq(layout.nodes[0].y, 0);
  arena_free(arena);
}

Test(report, graphs_of_nothing_and_of_very_much_are_laid_out) {
  Arena *arena = arena_new();
  enum { COUNT = 700 };
  static int edges[COUNT * COUNT][2];
  int count = 0;
  laid_out(arena, 0, 0, NULL);
  laid_out(arena, 3, 0, NULL);
  for (int to = 1; to < COUNT; to++)
    for (int from = 0; from < to; from += 9) edges[count][0] = from, edges[count++][1] = to;
  laid_out(arena, COUNT, count, edges);
  arena_free(arena);
}

Test(report, names_are_text_in_a_page) {
  Arena *arena = arena_new();
  Text text = text_new(arena);
  html_add(&text, "</script><img src=x onerror='a(\"&\")'>");
  cr_expect_str_eq(text_get(&text), "&lt;/script&gt;&lt;img src=x onerror=&#39;a(&quot;&amp;&quot;)&#39;&gt;");
  text = text_new(arena);
  html_json(&text, "{\"</script><!-- &\":1}");
  cr_expect_str_eq(text_get(&text), "{\"\\u003c/script\\u003e\\u003c!-- \\u0026\":1}");
  text = text_new(arena);
  html_add_end(&text, "/encoder/äöü<b>", 6);
  cr_expect_str_eq(text_get(&text), "…öü&lt;b&gt;");
  text = text_new(arena);
  html_add_end(&text, "short", 6);
  cr_expect_str_eq(text_get(&text), "short");
  arena_free(arena);
}
