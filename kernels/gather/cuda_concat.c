// concat: each input is copied into its part of the output, which is a view of it. The copies are generated elementwise kernels: they
// merge axes, move 16 bytes at a time and transpose through shared memory where layouts differ.
#include "kernels/elementwise/points.h"
#include "kernels/gather/gather.h"

static bool supports(const Site *site) { return dtype_kind(site->outputs[0].dtype) != KIND_STRING; }

static int candidates(const Site *site, CudaContext *cuda, Candidate *out, int limit) {
  out[0] = (Candidate){.name = "copies"};
  return 1;
}

static Status emit(const Site *site, const Candidate *candidate, CudaContext *cuda, Emission *out) {
  const TensorDesc *y = &site->outputs[0];
  int axis = (int)node_int(site->node, "axis", 0);
  int64_t at = 0;
  for (int i = 0; i < site->node->input_count; i++) {
    TensorDesc part = *y;
    part.dims[axis] = site->inputs[i].dims[axis];
    TRY(emit_copy(out, site, i, 0, &part, at * y->strides[axis]));
    at += part.dims[axis];
  }
  return OK;
}

const Tactic concat_tactic = {"concat", &op_concat, true, supports, candidates, emit};
