// The rules of simplify_views that have files of their own: over what cuts and joins (simplify_pieces.c), paddings and pools (simplify_windows.c), chains of views (view_chains.c), transposes (transposes_meet.c),
// what stands behind merged axes or in front of split ones (merged_axes.c), and rows that are put into windows and back (rows_by_window.c).
#pragma once
#include "passes/rule.h"

// Whether each element of what the view reads is in its result once.
bool view_keeps_elements(const Node *view);

// Whether images of this type will lie with their channels innermost (layout.c).
bool layout_wants_channels_last(const PassOptions *options, DType dtype);

// A rule of these that is named as its function.
#define MOVING_RULE(text, shown, ...) \
  { .name = #text, .help = shown, .exactness = EXACT, .apply = text, __VA_ARGS__ }

extern const Rule rule_compose_slices, rule_slice_of_concat, rule_slice_across_concat, rule_slice_of_pad, rule_concat_of_one,
    rule_flatten_concat, rule_join_slices, rule_remove_pad, rule_remove_pool, rule_compose_pads, rule_gather_as_slice;
extern const Rule rule_transpose_before_merge, rule_product_before_merge, rule_split_before_product,
    rule_split_before_biased_product, rule_pointwise_before_merge;
extern const Rule rule_sort_axes, rule_chain_as_reshape, rule_expand_by_reader, rule_transposes_meet, rule_transpose_behind,
    rule_transpose_behind_product, rule_rows_by_window;
