// A report as one page of HTML that needs nothing else: tables and pictures without a script, which only joins them.
#pragma once
#include "cli/report/facts.h"

void page_write(Text *text, const Report *report);
