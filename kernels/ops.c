// Every core operator, in the order of docs/operators.md. Adding a row here is what makes an operator known.
#include "kernels/control/control.h"
#include "kernels/control/region.h"
#include "kernels/conv/conv.h"
#include "kernels/deferred.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/fft/fft.h"
#include "kernels/gather/gather.h"
#include "kernels/linear/linear.h"
#include "kernels/matmul/matmul.h"
#include "kernels/ops.h"
#include "kernels/pad/pad.h"
#include "kernels/pool/pool.h"
#include "kernels/random/random.h"
#include "kernels/recurrent/recurrent.h"
#include "kernels/resize/resize.h"
#include "kernels/rowwise/rowwise.h"
#include "kernels/scan/scan.h"
#include "kernels/sequence/sequence.h"
#include "kernels/sort/sort.h"
#include "kernels/text/strings.h"
#include "kernels/tree/tree.h"
#include "kernels/view/view.h"

const OpDef *const core_ops[] = {
    // scalar programs
    &op_elementwise,
    &op_rowwise,
    // view
    &op_dims,
    &op_transpose,
    &op_reshape,
    &op_slice,
    &op_expand,
    &op_bitcast,
    // products over windows
    &op_matmul,
    &op_conv,
    &op_conv_transpose,
    &op_deform_conv,
    &op_pool,
    &op_col2im,
    // movement by index
    &op_gather,
    &op_gather_elements,
    &op_gather_nd,
    &op_scatter_elements,
    &op_scatter_nd,
    &op_concat,
    &op_pad,
    // sampling, order, sequences
    &op_resize,
    &op_cumulative,
    &op_topk,
    &op_nonzero,
    &op_recurrent,
    &op_grid_sample,
    &op_roi_align,
    &op_unique,
    &op_nms,
    &op_nonzero_reserved,
    &op_nms_reserved,
    &op_counted,
    &op_dft,
    &op_random,
    &op_det,
    // strings, tables, trees
    &op_string_concat,
    &op_string_equal,
    &op_string_split,
    &op_string_normalize,
    &op_string_match,
    &op_string_cast,
    &op_lookup,
    &op_ngrams,
    &op_trees,
    // control
    &op_sequence,
    &op_nothing,
    &op_if,
    &op_loop,
    &op_scan,
    &op_region,
    // an ONNX operator that waits
    &op_deferred,
    NULL,
};
