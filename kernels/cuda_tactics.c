// Every way to compute a site on a GPU, preferred first among those of one operator.
#include "kernels/tactic.h"

extern const Tactic simt_matmul_tactic;

const Tactic *const cuda_tactics[] = {
    &simt_matmul_tactic,
    NULL,
};
