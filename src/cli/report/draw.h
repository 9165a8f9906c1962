// The pictures of a report, as SVG that needs no script: graphs, steps in time, memory over steps.
#pragma once
#include "cli/report/facts.h"

void draw_graph(Text *text, const Report *report, const ReportGraph *graph, const char *name);
void draw_timeline(Text *text, const Report *report);
void draw_memory(Text *text, const Report *report);
