// Regions that are made behind the pass that opens them: a build must not end with one all the same.
#include "passes/plugin.h"

static Status apply(Rewrite *r) { return rewrite_outline_match(r, "late"); }

static const Rule late_region = {
    .name = "late_region", .help = "a convolution is a region", .pattern = "conv(...)", .exactness = EXACT, .apply = apply};

static const Pass pass = {"late_regions", "makes regions late", (const Rule *const[]){&late_region, NULL}};
const PassPlugin ingot_plugin = {INGOT_VERSION, &pass, "layout"};
