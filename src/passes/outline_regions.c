// What the device computes as one step becomes a region. Here only what it looks like is asked; whether some implementation takes it with the sizes at hand, each plan
// finds out, and takes regions apart that none does.
#include <string.h>

#include "kernels/attention/attention.h"
#include "kernels/view/view.h"
#include "passes/programs.h"
#include "passes/rule.h"

static bool multiplies_what_is_made(const Node *node) {
  Arena *scratch = arena_scratch();
  Fused fused;
  fused_read(node, scratch, &fused);
  const Value *weights = fused.operand_count ? fused_operand(&fused, 0) : NULL;
  const Node *maker = weights ? weights->producer : NULL;
  arena_free(scratch);
  return maker && (maker->op == &op_rowwise || maker->op == &op_reshape);
}

// What is turned behind it is written as it lies then, if rows stay rows: otherwise a copy would do it.
static void lie_as_turned(Value *value) {
  const Node *user = only_user(value);
  int count = 0;
  const int64_t *perm = user && user->op == &op_transpose ? node_ints(user, "perm", &count) : NULL;
  if (!perm || count != value->rank || perm[count - 1] != count - 1) return;
  for (int i = 0; i < count; i++) value->order[i] = (uint8_t)perm[i];
}

static Status outline_attention(Rewrite *r) {
  Attention attention;
  WANT(!rewrite_options(r)->in_region, "it is part of a region");
  const char *why = attention_read(matched(r, "root"), rewrite_scratch(r), &attention);
  WANT(!why, why);
  WANT(dtype_size(fused_operand(&attention.last, 1)->dtype) == 2, "it is computed in one step in half precision only");
  for (int i = 0; i < attention.node_count; i++)
    WANT(attention.nodes[i] == attention.product || only_user(attention.nodes[i]->outputs[0]),
         "others use what it computes on the way");
  Value *y = attention.product->outputs[0];
  uint8_t order[MAX_RANK];
  memcpy(order, y->order, sizeof order);
  lie_as_turned(y);
  TRY(rewrite_outline(r, attention.nodes, attention.node_count, "attention"));
  if (y->uses) memcpy(y->order, order, sizeof order);  // refused
  return OK;
}

static const Rule rule_attention = {
    .name = "outline_attention",
    .help = "a softmax between two products, in half precision, is one step",
    .pattern = "matmul|region(...)",
    .exactness = UNSTORED | FINITE,
    .bound = "scores and weights are not rounded to half precision in between; rows without a weight are 0 times their values",
    .device = CUDA_ONLY,
    .root = multiplies_what_is_made,
    .tells_misses = true,
    .apply = outline_attention};

const Pass pass_outline_regions = {.name = "outline_regions",
                                   .help = "makes a region of what one step computes",
                                   .rules = (const Rule *const[]){&rule_attention, NULL}};
