// What `ingot verify` found, value by value.
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/checked.h"
#include "cli/verify.h"
#include "ir/origins.h"
#include "run/device.h"

static bool same_type(const Tensor *a, const Tensor *b) {
  return a->dtype == b->dtype && a->rank == b->rank && !memcmp(a->dims, b->dims, (size_t)a->rank * sizeof *a->dims);
}

typedef struct Counts {
  int64_t nan, infinite, all;
} Counts;

static Counts count_nonfinite(const Tensor *tensor) {
  Counts counts = {.all = tensor_count(tensor)};
  for (int64_t i = 0; dtype_is_float(tensor->dtype) && i < counts.all; i++) {
    double value = tensor_get_f(tensor, i);
    counts.nan += isnan(value) != 0;
    counts.infinite += isinf(value) != 0;
  }
  return counts;
}

// Whether what is not finite in the expected values keeps the actual ones from agreeing.
static bool is_void(const Counts *expected, NonFinite nonfinite) {
  int64_t count = expected->nan + expected->infinite;
  return count && (nonfinite == NONFINITE_DISAGREES || (nonfinite == NONFINITE_SOME && count == expected->all));
}

static bool agrees(const Tensor *actual, const Tensor *expected, const Tolerance *tolerance, Comparison *comparison) {
  *comparison = tensor_compare(actual, expected, tolerance->rtol, tolerance->atol);
  if (!same_type(actual, expected)) return false;
  if (tolerance->norm < 0) return !comparison->mismatches;
  // A norm of what is not finite says nothing: those elements are compared one by one.
  Comparison exact = tensor_compare(actual, expected, 0, INFINITY);
  return comparison->norm_error <= tolerance->norm && !exact.mismatches;
}

static const char *shape_text(Arena *arena, const Tensor *tensor) {
  return cli_kind_text(arena, &(HostValue){.tensor = *tensor});
}

typedef struct Finding {
  const char *name;
  bool ok, empty;  // empty: NaN or infinities keep equal values from agreeing
  const Tensor *actual, *expected;
  Comparison comparison;
  Counts actual_counts, expected_counts;
  const Node *node;
} Finding;

static void print_json(Json *json, Arena *arena, const Finding *finding) {
  const Comparison *c = &finding->comparison;
  json_object(json, NULL);
  json_string(json, "name", finding->name);
  json_bool(json, "agrees", finding->ok);
  json_string(json, "type", shape_text(arena, finding->actual));
  if (!same_type(finding->actual, finding->expected)) {
    json_string(json, "expected_type", shape_text(arena, finding->expected));
  } else {
    json_double(json, "relative_norm", c->norm_error);
    json_double(json, "largest_difference", c->max_absolute);
    json_int(json, "mismatches", c->mismatches);
    json_int(json, "first_mismatch", c->first_mismatch);
    json_int(json, "nan", finding->actual_counts.nan);
    json_int(json, "infinite", finding->actual_counts.infinite);
    json_int(json, "expected_nan", finding->expected_counts.nan);
    json_int(json, "expected_infinite", finding->expected_counts.infinite);
  }
  if (finding->node) {
    json_string(json, "operator", finding->node->op->name);
    json_string(json, "origins", node_origins_text(finding->node, arena));
  }
  json_end_object(json);
}

static void print_counts(const char *whose, const Counts *counts) {
  if (counts->nan) printf(", %s: %lld of %lld NaN", whose, (long long)counts->nan, (long long)counts->all);
  if (counts->infinite) printf(", %s: %lld of %lld infinite", whose, (long long)counts->infinite, (long long)counts->all);
}

static void print_line(Arena *arena, const Finding *finding) {
  const Comparison *c = &finding->comparison;
  bool same = same_type(finding->actual, finding->expected);
  printf("%s  %-28s %s", finding->ok ? "ok    " : "DIFFER", finding->name, shape_text(arena, finding->actual));
  if (!same) printf(", expected %s", shape_text(arena, finding->expected));
  else printf("  relative norm %.2e, largest difference %.2e", c->norm_error, c->max_absolute);
  if (same && c->mismatches && !finding->ok && c->first_mismatch >= 0)
    printf(", %lld elements, the first at %lld: %.9g for %.9g", (long long)c->mismatches, (long long)c->first_mismatch,
           tensor_get_f(finding->actual, c->first_mismatch), tensor_get_f(finding->expected, c->first_mismatch));
  if (same) print_counts("result", &finding->actual_counts);
  if (same) print_counts("expected", &finding->expected_counts);
  if (finding->empty) printf(": equal, but no agreement");
  printf("\n");
  if (!finding->ok && finding->node) printf("        from %s\n", node_origins_text(finding->node, arena));
}

void report_value(Report *report, Arena *arena, const char *name, const Tensor *actual, const Tensor *expected,
                  const Tolerance *tolerance, NonFinite nonfinite, const Node *node) {
  Finding finding = {.name = name,
                     .actual = actual,
                     .expected = expected,
                     .actual_counts = count_nonfinite(actual),
                     .expected_counts = count_nonfinite(expected),
                     .node = node};
  finding.ok = agrees(actual, expected, tolerance, &finding.comparison);
  finding.empty = finding.ok && is_void(&finding.expected_counts, nonfinite);
  finding.ok = finding.ok && !finding.empty;
  report->compared++;
  report->elements += tensor_count(expected);
  report->differing += !finding.ok;
  report->nonfinite |= !finding.ok && finding.actual_counts.nan + finding.actual_counts.infinite > 0;
  if (report->silent) return;
  if (report->json) print_json(report->json, arena, &finding);
  else if (!finding.ok || (node ? report->verbose : !report->quiet)) print_line(arena, &finding);
}

void report_kind(Report *report, Arena *arena, const HostValue *actual, const HostValue *expected) {
  bool ok = actual->kind == expected->kind && actual->count == expected->count;
  report->compared++;
  report->differing += !ok;
  if (report->silent) return;
  if (report->json) {
    json_object(report->json, NULL);
    json_string(report->json, "name", actual->name);
    json_bool(report->json, "agrees", ok);
    json_string(report->json, "type", cli_kind_text(arena, actual));
    if (!ok) json_string(report->json, "expected_type", cli_kind_text(arena, expected));
    json_end_object(report->json);
  } else if (!ok || !report->quiet) {
    printf("%s  %-28s %s", ok ? "ok    " : "DIFFER", actual->name, cli_kind_text(arena, actual));
    if (!ok) printf(", expected %s", cli_kind_text(arena, expected));
    printf("\n");
  }
}
