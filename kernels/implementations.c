// Every way to compute a site, preferred first among those of one operator and one device. The reference is the last for the CPU.
#include <string.h>
#include "kernels/implementation.h"

// clang-format off: one line an implementation
#define IMPLEMENTATIONS(ROW)    \
  ROW(cuda_cublaslt_matmul)     \
  ROW(cuda_mma_matmul)          \
  ROW(cuda_simt_matmul)         \
  ROW(cuda_mma_attention)       \
  ROW(cuda_depthwise_conv)      \
  ROW(cuda_cudnn_graph_conv)    \
  ROW(cuda_cudnn_conv)          \
  ROW(cuda_mma_conv)            \
  ROW(cuda_mma_conv_transpose)  \
  ROW(cuda_simt_conv)           \
  ROW(cuda_simt_conv_transpose) \
  ROW(cuda_elementwise)         \
  ROW(cuda_rowwise)             \
  ROW(cuda_concat)              \
  ROW(cuda_concat_programs)     \
  ROW(cuda_pad)                 \
  ROW(cuda_pool)                \
  ROW(cuda_pool_programs)       \
  ROW(cuda_resize)              \
  ROW(cuda_cumulative)          \
  ROW(cuda_topk)                \
  ROW(cuda_nonzero)             \
  ROW(cuda_nms)                 \
  ROW(cuda_recurrent)           \
  ROW(cuda_grid_sample)         \
  ROW(cuda_roi_align)           \
  ROW(cuda_col2im)              \
  ROW(cuda_deform_conv)         \
  ROW(cuda_dft)                 \
  ROW(cuda_det)                 \
  ROW(cuda_random)              \
  ROW(cuda_gather)              \
  ROW(cuda_gather_elements)     \
  ROW(cuda_gather_nd)           \
  ROW(cuda_scatter_elements)    \
  ROW(cuda_scatter_nd)          \
  ROW(cpu_conv)                 \
  ROW(cpu_own_conv)             \
  ROW(cpu_own_conv_transpose)   \
  ROW(cpu_conv_transpose)       \
  ROW(cpu_matmul)               \
  ROW(cpu_own_matmul)           \
  ROW(cpu_pool)                 \
  ROW(cpu_concat)               \
  ROW(cpu_gather)               \
  ROW(cpu_pad)                  \
  ROW(cpu_resize)               \
  ROW(cpu_recurrent)            \
  ROW(cpu_copy)                 \
  ROW(cpu_elementwise)          \
  ROW(cpu_rowwise)              \
  ROW(cpu_reference)

#define DECLARE(name) extern const Implementation name;
#define LIST(name) &name,
IMPLEMENTATIONS(DECLARE)
const Implementation *const implementations[] = {IMPLEMENTATIONS(LIST) NULL};

const Implementation *implementation_named(const char *name, const Site *site) {
  for (int i = 0; implementations[i]; i++)
    if (!strcmp(implementations[i]->name, name) && implementation_serves(implementations[i], site)) return implementations[i];
  return NULL;
}
