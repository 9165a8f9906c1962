// ingot bench --on-request: a process that stays and measures when it is told, so that several engines can take turns.
#pragma once
#include "cli/bench_kinds.h"

// Answers each line of the standard input by one line of JSON, until it ends. An exit code.
int bench_answer(Bench *bench, Common *common, int warmup);
