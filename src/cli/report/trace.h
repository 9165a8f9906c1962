// A profiled run in the format of Chrome's trace viewer, which Perfetto reads.
#pragma once
#include "cli/report/facts.h"

void trace_write(Text *text, const Report *report);
