// Vertical fusion of pointwise nodes: a node whose only user is another pointwise node over the same domain is computed inside it.
// So is a mask that follows from positions, however many read it. This comes before epilogue fusion, so that an activation written as ten operators is one node when an anchor takes it.
#include "passes/join.h"
#include "passes/places.h"

static Status apply(Rewrite *r) {
  Node *producer = matched(r, "producer");
  WANT(producer->output_count == 1, "the first one gives out more than one result");
  return join_nodes(r, producer, matched(r, "root"));
}

static const Rule fuse_elementwise = {
    .name = "fuse_elementwise",
    .help = "joins two pointwise nodes over the same elements",
    .pattern = "elementwise(..., producer: elementwise(...)!, ...)",
    .exactness = UNSTORED,
    .bound = "what was stored between the two is no longer rounded to its type where that is narrower than f32",
    .root = may_take_in,
    .tells_misses = true,
    .apply = apply,
};

const Pass pass_fuse_elementwise = {"fuse_elementwise", "joins chains of pointwise nodes",
                                    (const Rule *const[]){&fuse_elementwise, &rule_positions_inside, NULL}};
