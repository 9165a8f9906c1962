// See draw.h. What belongs to a step has its number (data-s), so that the page's script can show one wherever it is.
#include "cli/report/draw.h"

#include <math.h>

#include "base/checked.h"
#include "cli/report/html.h"
#include "cli/report/layout.h"

enum { NODE_WIDTH = 152, NODE_HEIGHT = 34, LAYER_HEIGHT = 52, GAP = 12, MARGIN = 12, LABEL = 20 };
enum { PICTURE_WIDTH = 1160, LANE_HEIGHT = 44, LANE_GAP = 4, MEMORY_HEIGHT = 260 };

// ---- graphs ------------------------------------------------------------------------------------------------------------------

static bool is_below(Point a, Point b) { return fabs(a.x - b.x) < 1; }

// Straight down as far as it goes, in one line; to the side in a curve. Relative places are shorter to write.
static void draw_route(Text *text, const Route *route) {
  const Point *p = route->points;
  Point at = {round(p[0].x), round(p[0].y)};
  text_add(text, "M%.0f %.0f", at.x, at.y);
  for (int i = 1; i < route->count; i++) {
    if (i + 1 < route->count && is_below(at, p[i]) && is_below(at, p[i + 1])) continue;
    double x = round(p[i].x) - at.x, y = round(p[i].y) - at.y;
    if (is_below(at, p[i])) text_add(text, "v%.0f", y), x = 0;
    else text_add(text, "c0 %.0f %.0f %.0f %.0f %.0f", y / 2, x, y / 2, x, y);
    at = (Point){at.x + x, at.y + y};
  }
}

static void draw_edges(Text *text, const ReportGraph *graph, const Layout *layout) {
  for (int e = 0; e < layout->edge_count; e++) {
    text_add(text, "<path data-a=\"%d\" data-b=\"%d\" d=\"", graph->edges[e][0], graph->edges[e][1]);
    draw_route(text, &layout->routes[e]);
    text_add(text, "\"/>\n");
  }
}

// The bar at a step's foot is its share of the dearest step's time.
static void draw_node(Text *text, const Report *report, const ReportGraph *graph, int number, Point place, double dearest) {
  const ReportNode *node = &graph->nodes[number];
  if (node->end) text_add(text, "<g class=\"end\"");
  else if (node->step < 0) text_add(text, "<g class=\"f%d gone\"", node->family);
  else text_add(text, "<g class=\"f%d\" data-s=\"%d\"", node->family, node->step);
  text_add(text, " data-n=\"%d\" transform=\"translate(%.0f %.0f)\"><title>", number, place.x - NODE_WIDTH / 2.0, place.y);
  html_add(text, node->label);
  text_add(text, " ");
  html_add(text, node->name);
  text_add(text, "</title><rect width=\"%d\" height=\"%d\" rx=\"5\"/><text x=\"10\" y=\"14\">", NODE_WIDTH, NODE_HEIGHT);
  html_add_end(text, node->label, LABEL);
  text_add(text, "</text><text x=\"10\" y=\"27\" class=\"t\">");
  html_add_end(text, node->name, LABEL);
  text_add(text, "</text>");
  if (node->step >= 0 && dearest > 0)
    text_add(text, "<rect class=\"heat\" x=\"0\" y=\"%d\" height=\"3\" width=\"%.1f\"/>", NODE_HEIGHT - 3,
             NODE_WIDTH * report->steps[node->step].ms / dearest);
  text_add(text, "</g>\n");
}

static double dearest_step(const Report *report) {
  double most = 0;
  for (int i = 0; i < report->step_count; i++) most = MAX(most, report->steps[i].ms);
  return most;
}

void draw_graph(Text *text, const Report *report, const ReportGraph *graph, const char *name) {
  Layout layout = {.arena = report->arena,
                   .count = graph->count,
                   .edge_count = graph->edge_count,
                   .edges = graph->edges,
                   .node_width = NODE_WIDTH,
                   .node_height = NODE_HEIGHT,
                   .gap = GAP,
                   .layer_height = LAYER_HEIGHT};
  bool *pinned = arena_array(report->arena, bool, (size_t)graph->count + 1);
  for (int i = 0; i < graph->count; i++) pinned[i] = graph->nodes[i].end;
  layout.pinned = pinned;
  layout_make(&layout);
  double width = layout.width + 2 * MARGIN, height = layout.height + 2 * MARGIN, dearest = dearest_step(report);
  text_add(text,
           "<svg class=\"graph\" id=\"%s-svg\" width=\"%.0f\" height=\"%.0f\" viewBox=\"%d %d %.0f %.0f\" role=\"img\">\n<g "
           "class=\"edges\">\n",
           name, width, height, -MARGIN, -MARGIN, width, height);
  draw_edges(text, graph, &layout);
  text_add(text, "</g>\n");
  for (int i = 0; i < graph->count; i++) draw_node(text, report, graph, i, layout.nodes[i], dearest);
  text_add(text, "</svg>\n");
}

// ---- time --------------------------------------------------------------------------------------------------------------------

static void begin_picture(Text *text, const char *kind, int height) {
  text_add(text, "<svg class=\"%s\" viewBox=\"0 0 %d %d\" role=\"img\">\n", kind, PICTURE_WIDTH, height);
}

static void draw_moment(Text *text, double x, double y, const char *anchor, const char *label) {
  text_add(text, "<text class=\"tick\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">%s</text>\n", x, y, anchor, label);
}

// A lane a stream.
void draw_timeline(Text *text, const Report *report) {
  char label[48];
  int height = MAX(report->streams, 1) * (LANE_HEIGHT + LANE_GAP);
  begin_picture(text, "timeline", height + 18);
  for (int i = 0; i < report->step_count && report->end > 0; i++) {
    const ReportStep *step = &report->steps[i];
    double x = step->start / report->end * PICTURE_WIDTH, width = step->ms / report->end * PICTURE_WIDTH;
    text_add(text, "<rect class=\"f%d\" data-s=\"%d\" x=\"%.2f\" y=\"%d\" width=\"%.2f\" height=\"%d\"><title>%d  ",
             step->family, i, x, step->stream * (LANE_HEIGHT + LANE_GAP), MAX(width, 0.3), LANE_HEIGHT, i);
    html_add(text, step->name);
    text_add(text, "  %.4f ms</title></rect>\n", step->ms);
  }
  for (int i = 0; i <= 4; i++) {
    snprintf(label, sizeof label, "%.4g ms", report->end * i / 4);
    draw_moment(text, PICTURE_WIDTH * i / 4.0, height + 12, i == 0 ? "start" : i == 4 ? "end" : "middle", label);
  }
  text_add(text, "</svg>\n");
}

// ---- memory ------------------------------------------------------------------------------------------------------------------

void draw_memory(Text *text, const Report *report) {
  char label[24];
  double steps = MAX(report->step_count, 1), bytes = (double)MAX(report->arena_bytes, (size_t)1);
  begin_picture(text, "memory", MEMORY_HEIGHT + 18);
  for (int i = 0; i < report->buffer_count; i++) {
    const ReportBuffer *b = &report->buffers[i];
    double height = (double)b->bytes / bytes * MEMORY_HEIGHT,
           top = MEMORY_HEIGHT - (double)b->offset / bytes * MEMORY_HEIGHT - height;
    text_add(text, "<rect class=\"f%d\" data-s=\"%d\" x=\"%.2f\" y=\"%.2f\" width=\"%.2f\" height=\"%.2f\"><title>", b->family,
             b->first_step, b->first_step / steps * PICTURE_WIDTH, top,
             (b->last_step + 1 - b->first_step) / steps * PICTURE_WIDTH, MAX(height, 0.3));
    html_add(text, b->name);
    text_add(text, "  %s at %zu, steps %d to %d</title></rect>\n", cli_bytes((double)b->bytes, label), b->offset, b->first_step,
             b->last_step);
  }
  draw_moment(text, PICTURE_WIDTH - 4.0, 12, "end", cli_bytes((double)report->arena_bytes, label));
  draw_moment(text, 0, MEMORY_HEIGHT + 14, "start", "first step");
  draw_moment(text, PICTURE_WIDTH, MEMORY_HEIGHT + 14, "end", "last step");
  text_add(text, "</svg>\n");
}
