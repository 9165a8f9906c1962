// See page.h. page.css and page.js are texts of their own, which cmake/embed.cmake makes part of the program; what the script knows is one block of JSON.
#include "cli/report/page.h"

#include <stdlib.h>
#include <string.h>

#include "api/api.h"
#include "base/checked.h"
#include "base/device_source.h"
#include "base/hash.h"
#include "cli/report/draw.h"
#include "cli/report/html.h"
#include "cli/report/tables.h"

extern const DeviceSource report_files[];

static const char *file_named(const char *name) {
  for (int i = 0; report_files[i].path; i++)
    if (!strcmp(report_files[i].path, name)) return report_files[i].text;
  return "";
}

// ---- what the script knows ---------------------------------------------------------------------------------------------------

static void json_step(Json *json, const ReportStep *step, const StepRules *rules) {
  json_object(json, NULL);
  json_string(json, "name", step->name);
  json_string(json, "op", step->op);
  json_string(json, "tactic", step->tactic);
  json_string(json, "site", step->site);
  json_double(json, "ms", step->ms);
  json_double(json, "predicted_ms", step->predicted);
  json_double(json, "moving_ms", step->moving);
  json_double(json, "products_ms", step->products);
  json_double(json, "flops", step->flops);
  json_double(json, "bytes", step->bytes);
  json_int(json, "launches", step->launches);
  json_array(json, "from");
  for (int i = 0; i < step->from_count; i++) {
    json_array(json, NULL);
    json_string(json, NULL, step->from[i].name);
    json_string(json, NULL, step->from[i].op_type);
    json_end_array(json);
  }
  json_end_array(json);
  json_array(json, "rules");
  for (uint32_t i = 0; i < rules->count; i++) json_string(json, NULL, rules->names[i]);
  json_end_array(json);
  json_end_object(json);
}

static const char *facts(const Report *report, const StepRules *rules) {
  Text text = text_new(report->arena);
  Json json = json_new(&text);
  json_object(&json, NULL);
  json_string(&json, "model", report->model);
  json_string(&json, "device", report->device);
  json_string(&json, "precision", report->precision);
  json_double(&json, "ms", report->ms);
  json_array(&json, "steps");
  for (int i = 0; i < report->step_count; i++) json_step(&json, &report->steps[i], &rules[i]);
  json_end_array(&json);
  json_end_object(&json);
  return text_get(&text);
}

// ---- the page ----------------------------------------------------------------------------------------------------------------

// Nobody who writes a model knows the nonce, which follows from times too: a script that a name smuggled in would not run.
static void begin_page(Text *text, const Report *report, const char *nonce) {
  text_add(
      text,
      "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width, "
      "initial-scale=1\">\n<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src "
      "'unsafe-inline'; "
      "script-src 'nonce-%s'\">\n<title>",
      nonce);
  html_add(text, report->model);
  text_add(text, "</title>\n<style>");
  text_add_n(text, file_named("page.css"), strlen(file_named("page.css")));
  text_add(text, "</style></head><body><main>\n<header><div><h1>");
  html_add(text, report->model);
  text_add(text, "</h1><div class=\"soft\">on ");
  html_add(text, report->device);
  text_add(text, ", precision: %s, Ingot %s</div><nav>", report->precision, ingot_version());
  static const char *const sections[][2] = {{"sites", "Where time goes"}, {"timeline", "Timeline"}, {"memory", "Memory"},
                                            {"graphs", "Graphs"},         {"fused", "What fused"},  {"rules", "Rules"}};
  for (size_t i = 0; i < COUNT_OF(sections); i++) text_add(text, "<a href=\"#%s\">%s</a>", sections[i][0], sections[i][1]);
  text_add(text, "</nav></div><button type=\"button\" id=\"theme\" hidden>light / dark</button></header>\n");
}

static void figure(Text *text, const char *value, const char *what) {
  text_add(text, "<div class=\"figure\"><b>%s</b><span>%s</span></div>", value, what);
}

static void figures(Text *text, const Report *r) {
  char value[64], other[24], size[24];
  Arena *arena = r->arena;
  double alone = 0, least = 0;
  for (int i = 0; i < r->step_count; i++) alone += r->steps[i].ms, least += report_floor(&r->steps[i]);
  text_add(text, "<div class=\"figures\">");
  snprintf(value, sizeof value, "%.4g ms", r->ms);
  figure(text, value, "one run, enqueued back to back with others (median)");
  snprintf(value, sizeof value, "%.0f%%", r->ms > 0 ? least / r->ms * 100 : 0);
  figure(text, value, arena_printf(arena, "of that time is what the chip's peaks ask for: %.4g ms for all steps", least));
  snprintf(value, sizeof value, "%d steps", r->step_count);
  figure(text, value, arena_printf(arena, "%d launches; each step alone, all added up: %.4g ms", r->kernels, alone));
  if (r->before.count) {
    snprintf(value, sizeof value, "%d nodes", r->before.count);
    figure(text, value, "of the graph as imported, its inputs and outputs among them");
  }
  figure(text, cli_bytes((double)r->weights, size), "weights on the device, in all their forms");
  figure(text, cli_bytes((double)r->arena_bytes, size),
         arena_printf(arena, "arena of temporaries, %s without reuse", cli_bytes((double)r->unpacked, other)));
  text_add(text, "</div>\n");
  if (*r->rest) text_add(text, "<p class=\"soft\">Each step is timed alone%s.</p>\n", r->rest);
}

static void legend(Text *text) {
  text_add(text, "<div class=\"legend\">");
  for (int i = 0; i < FAMILIES; i++) text_add(text, "<span class=\"key f%d\"><i></i>%s</span>", i, family_names[i]);
  text_add(text, "</div>\n");
}

static void pictures(Text *text, const Report *r) {
  text_add(
      text,
      "<section id=\"timeline\"><h2>Timeline</h2><p class=\"soft\">Steps in the order in which they run, as wide as each takes "
      "alone: the median of %d profiled runs.%s</p><div class=\"card\">",
      r->profiled, r->streams > 1 ? " A lane a stream: each step begins where its stream and what it waits for are done." : "");
  draw_timeline(text, r);
  legend(text);
  text_add(text,
           "</div></section>\n<section id=\"memory\"><h2>Memory over time</h2><p class=\"soft\">The arena: each buffer from "
           "the step that writes it to the last that reads it, where it lies from the bottom up.</p><div class=\"card\">");
  draw_memory(text, r);
  legend(text);
  text_add(text, "</div></section>\n");
}

static void pane(Text *text, const Report *r, const ReportGraph *graph, const char *id, const char *title) {
  text_add(text,
           "<details class=\"pane\" open><summary>%s<span class=\"zoom\" data-for=\"%s\" hidden><button "
           "type=\"button\">&minus;</button><button "
           "type=\"button\">+</button><button type=\"button\">fit</button></span></summary><div class=\"view\" id=\"%s\">\n",
           title, id, id);
  draw_graph(text, r, graph, id);
  text_add(text, "</div></details>\n");
}

static void graphs(Text *text, const Report *r) {
  text_add(text,
           "<section id=\"graphs\"><h2>The graph, before and after</h2><p class=\"soft\">Constants are not drawn, nor, as "
           "planned, views. "
           "The bar at "
           "the foot of a step, and of what became part of it, is its share of the dearest step's time; what is faint became "
           "part of no step.");
  text_add(text,
           "<span class=\"script\" hidden> Click a node to see where it came from; drag to move, Ctrl and the wheel to "
           "zoom.</span></p>"
           "<div class=\"panes\">\n");
  if (r->before.count) pane(text, r, &r->before, "before", arena_printf(r->arena, "as imported, %d nodes", r->before.count));
  pane(text, r, &r->after, "after", arena_printf(r->arena, "as planned, %d steps", r->step_count));
  text_add(
      text,
      "<aside id=\"detail\" class=\"card script\" hidden><p class=\"soft\">Click a node, a bar or a buffer.</p></aside></div>");
  if (!r->before.count)
    text_add(text, "<p class=\"soft\">An engine keeps no graph from before the passes: a report of the model has it.</p>");
  legend(text);
  text_add(text, "</section>\n");
}

void page_write(Text *text, const Report *r) {
  StepRules *rules = tables_rules(r);
  const char *data = facts(r, rules);
  char nonce[33];
  hash128_hex(hash128_bytes(data, strlen(data)), nonce);
  begin_page(text, r, nonce);
  figures(text, r);
  tables_sites(text, r);
  pictures(text, r);
  graphs(text, r);
  tables_fused(text, r, rules);
  tables_rules_log(text, r);
  text_add(text, "</main>\n<script type=\"application/json\" id=\"facts\">");
  html_json(text, data);
  text_add(text, "</script>\n<script nonce=\"%s\">", nonce);
  text_add_n(text, file_named("page.js"), strlen(file_named("page.js")));
  text_add(text, "</script></body></html>\n");
}
