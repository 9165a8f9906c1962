// The pipeline: the whole optimiser is this list.
#include "passes/passes.h"

extern const Pass pass_fold_constants, pass_inline_scalars, pass_simplify_views, pass_fold_scale, pass_pad_into_conv,
    pass_common_subexpressions, pass_fuse_elementwise, pass_fuse_epilogue, pass_fuse_rowwise, pass_precision, pass_zero_points,
    pass_layout, pass_relu_behind_pool, pass_simplify_programs, pass_merge_branches, pass_inline_regions, pass_merge_products,
    pass_project_ahead, pass_channel_places, pass_outline_regions, pass_outline_prologues, pass_fold_steps;

const Pass *const pass_pipeline[] = {
    &pass_fold_constants,
    &pass_simplify_views,
    &pass_common_subexpressions,
    &pass_pad_into_conv,
    &pass_project_ahead,
    &pass_fold_scale,  // before fusion hides the batch norms
    &pass_inline_scalars,
    &pass_fuse_elementwise,  // so that a sum, or an activation, is one node ...
    &pass_channel_places,    // ... that a gather of channels can pass ...
    &pass_merge_branches,
    &pass_simplify_programs,  // ... in one spelling ...
    &pass_simplify_views,     // ... that can move in front of a view ...
    &pass_relu_behind_pool,   // ... or behind a pool ...
    &pass_zero_points,        // products of bytes are what they will be ...
    &pass_fuse_epilogue,      // ... and into the anchor before it
    &pass_fuse_rowwise,
    &pass_fuse_elementwise,
    &pass_simplify_programs,  // norms are one program now
    &pass_inline_regions,
    &pass_precision,  // after fusion: only what is stored becomes narrow
    &pass_layout,
    &pass_fuse_elementwise,  // a cast and the turn behind it
    &pass_common_subexpressions,
    &pass_merge_products,     // with what is behind them: alike or not shows only now
    &pass_inline_regions,     // those of loaded passes that ran behind the first time
    &pass_outline_regions,    // nodes are what they will be ...
    &pass_fold_steps,         // ... but for those that give the same in every run ...
    &pass_outline_prologues,  // ... and what is left in front of products is theirs
    NULL,
};
