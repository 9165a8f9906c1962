// What narrows values and orders their strides looks at nodes one by one, and knows anchors with their epilogues (kernels/fused.h). So the other regions of rules go
// before that, in every build; nested ones first, since bodies are visited before the graph that holds them.
#include "passes/fused_region.h"

static bool is_not_fused(const Node *node) { return fused_anchor(node) == node; }

static Status apply(Rewrite *r) { return rewrite_inline(r, matched(r, "root")); }

static const Rule inline_region = {.name = "inline_region",
                                   .help = "a region's body takes its place",
                                   .pattern = "region(...)",
                                   .exactness = UNSTORED,
                                   .bound = "half precision is rounded to between nodes again",
                                   .root = is_not_fused,
                                   .apply = apply};

const Pass pass_inline_regions = {.name = "inline_regions",
                                  .help = "puts the bodies of regions in their place",
                                  .rules = (const Rule *const[]){&inline_region, NULL},
                                  .needed = true};
