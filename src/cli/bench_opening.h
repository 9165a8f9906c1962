// The parts of what opening an engine and its first runs took (base/opening.h), for `ingot bench`.
#pragma once
#include "cli/bench_kinds.h"

void bench_print_opening(const Bench *bench);
void bench_json_opening(const Bench *bench, Json *json);  // "opening": {"context_ms": 150, "file_ms": 9, ...}
