// See trace.h: "Trace Event Format", in microseconds. Steps are timed one by one: each is put where its stream and what it waits for are done. A track a stream.
#include "cli/report/trace.h"

enum { PROCESS = 1 };

static void name_track(Json *json, const char *what, int track, const char *name) {
  json_object(json, NULL);
  json_string(json, "name", what);
  json_string(json, "ph", "M");
  json_int(json, "pid", PROCESS);
  json_int(json, "tid", track);
  json_object(json, "args");
  json_string(json, "name", name);
  json_end_object(json);
  json_end_object(json);
}

static void add_step(Json *json, const ReportStep *step, int number) {
  json_object(json, NULL);
  json_string(json, "name", step->name);
  json_string(json, "cat", step->op);
  json_string(json, "ph", "X");
  json_double(json, "ts", step->start * 1e3);
  json_double(json, "dur", step->ms * 1e3);
  json_int(json, "pid", PROCESS);
  json_int(json, "tid", step->stream);
  json_object(json, "args");
  json_int(json, "step", number);
  json_string(json, "tactic", step->tactic);
  json_string(json, "from", step->origins);
  json_double(json, "predicted_us", step->predicted * 1e3);
  json_double(json, "floor_us", report_floor(step) * 1e3);
  json_string(json, "bound", step->products > step->moving ? "compute" : "memory");
  json_double(json, "flops", step->flops);
  json_double(json, "bytes", step->bytes);
  json_end_object(json);
  json_end_object(json);
}

void trace_write(Text *text, const Report *report) {
  Json json = json_new(text);
  char name[48];
  json_object(&json, NULL);
  json_string(&json, "displayTimeUnit", "ns");
  json_array(&json, "traceEvents");
  name_track(&json, "process_name", 0, report->device);
  for (int i = 0; i < report->streams; i++) {
    snprintf(name, sizeof name, "stream %d, steps timed alone", i);
    name_track(&json, "thread_name", i, name);
  }
  for (int i = 0; i < report->step_count; i++) add_step(&json, &report->steps[i], i);
  json_end_array(&json);
  json_end_object(&json);
}
