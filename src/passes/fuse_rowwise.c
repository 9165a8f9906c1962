// Fusion around reductions: a row node takes in the pointwise nodes before and after it and the row nodes over the same rows, until
// a softmax or a layer norm written as ten operators reads its input once. Values that others use too stay as outputs.
#include "passes/join.h"
#include "passes/programs.h"

static Status apply(Rewrite *r) {
  Node *producer = matched(r, "producer"), *node = matched(r, "root");
  WANT(producer->op == &op_rowwise || node->op == &op_rowwise, "neither reduces");
  // A pointwise producer with other users would be computed here and stored for them; only rows are worth that.
  bool alone = producer->output_count == 1 && only_user(producer->outputs[0]) == node;
  WANT(producer->op == &op_rowwise || alone, "others use the pointwise one too");
  return join_nodes(r, producer, node);
}

static const Rule fuse_rowwise = {
    .name = "fuse_rowwise",
    .help = "joins a reduction with the reduction or the pointwise node before or behind it",
    .pattern = "@program(..., producer: @program(...), ...)",
    .exactness = UNSTORED | ROUNDED,
    .bound = "what was stored between the two is no longer rounded to its type: half an ulp of each",
    .root = may_take_in,
    .tells_misses = true,
    .apply = apply,
};

const Pass pass_fuse_rowwise = {"fuse_rowwise", "joins reductions with the pointwise nodes and reductions around them",
                                (const Rule *const[]){&fuse_rowwise, NULL}};
