// The parts of what opening an engine and its first runs took (base/opening.h), for `ingot bench`.
#pragma once
#include "base/opening.h"
#include "cli/bench_kinds.h"

void bench_print_opening(const Bench *bench);
void bench_json_opening(const Bench *bench, Json *json);  // "opening": {"context_ms": 150, "file_ms": 9, ...}
// Where the first answer of other shapes went, between the two: "specialise_ms": 2, "plan_ms": 3, ..., and for how many stages the graph was specialised
// anew: "specialised": 0 where one at hand was bound to these shapes.
void bench_json_shape(Json *json, const Opening *before, const Opening *after);
