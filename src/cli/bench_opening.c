// Where opening and the first run went, part by part: as a line of the table, and as JSON.
#include "cli/bench_opening.h"

#include <stdio.h>

#include "api/api.h"
#include "base/checked.h"

typedef struct Row {
  OpeningPart part;
  const char *key, *text;
} Row;

static const Row rows[] = {{OPENING_FILE, "file_ms", "file"},
                           {OPENING_GRAPH, "graph_ms", "its graph"},
                           {OPENING_DEVICE, "session_ms", "session"},
                           {OPENING_SPECIALISE, "specialise_ms", "specialising"},
                           {OPENING_PLAN, "plan_ms", "plan"},
                           {OPENING_KERNELS, "kernels_ms", "kernels"},
                           {OPENING_CONSTANTS, "constants_ms", "constants"},
                           {OPENING_UPLOAD, "upload_ms", "upload"},
                           {OPENING_BIND, "bind_ms", "binding"},
                           {OPENING_RECORD, "record_ms", "recording"}};

void bench_print_opening(const Bench *bench) {
  const Opening opening = api_opening(bench->session);
  printf("            ");
  if (bench->gpu) printf("context %.1f, ", bench->context_ms);
  for (size_t i = 0; i < COUNT_OF(rows); i++)
    printf("%s %.1f%s", rows[i].text, opening.seconds[rows[i].part] * 1e3, i + 1 < COUNT_OF(rows) ? ", " : " ms\n");
}

static void json_parts(Json *json, const Opening *opening, OpeningPart first) {
  for (size_t i = 0; i < COUNT_OF(rows); i++)
    if (rows[i].part >= first) json_double(json, rows[i].key, opening->seconds[rows[i].part] * 1e3);
}

void bench_json_opening(const Bench *bench, Json *json) {
  const Opening opening = api_opening(bench->session);
  json_object(json, "opening");
  if (bench->gpu) json_double(json, "context_ms", bench->context_ms);
  json_parts(json, &opening, 0);
  json_end_object(json);
}

void bench_json_shape(Json *json, const Opening *before, const Opening *after) {
  Opening spent;
  for (int i = 0; i < OPENING_PARTS; i++) spent.seconds[i] = after->seconds[i] - before->seconds[i];
  json_parts(json, &spent, OPENING_SPECIALISE);
  json_int(json, "specialised", after->specialised - before->specialised);
}
