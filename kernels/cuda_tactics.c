// Every way to compute a site on a GPU, preferred first among those of one operator.
#include "kernels/tactic.h"

extern const Tactic cublaslt_matmul_tactic, mma_matmul_tactic, simt_matmul_tactic;
extern const Tactic depthwise_conv_tactic, cudnn_graph_conv_tactic, cudnn_conv_tactic, mma_conv_tactic;
extern const Tactic mma_conv_transpose_tactic, simt_conv_tactic, simt_conv_transpose_tactic;
extern const Tactic elementwise_tactic, rowwise_tactic;
extern const Tactic concat_tactic, pad_tactic, pool_tactic, resize_tactic, cumulative_tactic, topk_tactic, recurrent_tactic;
extern const Tactic grid_sample_tactic, roi_align_tactic, col2im_tactic, deform_conv_tactic, dft_tactic, det_tactic,
    random_tactic;
extern const Tactic gather_tactic, gather_elements_tactic, gather_nd_tactic, scatter_elements_tactic, scatter_nd_tactic;

// clang-format off: one line a tactic
const Tactic *const cuda_tactics[] = {
    &cublaslt_matmul_tactic,
    &mma_matmul_tactic,
    &simt_matmul_tactic,
    &depthwise_conv_tactic,
    &cudnn_graph_conv_tactic,
    &cudnn_conv_tactic,
    &mma_conv_tactic,
    &mma_conv_transpose_tactic,
    &simt_conv_tactic,
    &simt_conv_transpose_tactic,
    &elementwise_tactic,
    &rowwise_tactic,
    &concat_tactic,
    &pad_tactic,
    &pool_tactic,
    &resize_tactic,
    &cumulative_tactic,
    &topk_tactic,
    &recurrent_tactic,
    &grid_sample_tactic,
    &roi_align_tactic,
    &col2im_tactic,
    &deform_conv_tactic,
    &dft_tactic,
    &det_tactic,
    &random_tactic,
    &gather_tactic,
    &gather_elements_tactic,
    &gather_nd_tactic,
    &scatter_elements_tactic,
    &scatter_nd_tactic,
    NULL,
};
