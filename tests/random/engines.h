// The same graph with unrelated nodes in other orders, by one tuning database: its engines are the same bytes.
#pragma once
#include <stdint.h>

#include "base/status.h"

// On the CPU, where there is no database; where the driver is the emulated GPU's, on that: each graph is tuned for a moment first.
MUST_CHECK Status engines_run(uint64_t seed, long count, int nodes, int orders, int *result);
