// Every way to compute a site on a GPU, preferred first among those of one operator.
#include "kernels/tactic.h"

extern const Tactic cublaslt_matmul_tactic, mma_matmul_tactic, simt_matmul_tactic;

const Tactic *const cuda_tactics[] = {
    &cublaslt_matmul_tactic,
    &mma_matmul_tactic,
    &simt_matmul_tactic,
    NULL,
};
