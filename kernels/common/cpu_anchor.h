// What oneDNN implementations share around the call of the library. The library computes in f32 on tensors that lie in one of its favourite ways;
// an operand that does not (another float type, other strides) is staged: copied into the workspace first. The result is staged
// likewise. The epilogue is fused; that of a staged result is a pass, which also puts it into its place.
#pragma once
#include "kernels/common/cpu_copy.h"
#include "kernels/common/onednn_epilogue.h"
#include "kernels/implementation.h"
#include "kernels/program/cpu_strips.h"

typedef struct CpuAnchor {
  Arena *arena;
  ThreadPool *pool;
  Site site;  // a copy: the planner reuses its own
  Onednn *one;
  size_t workspace_bytes;
  struct {
    CpuStrips *copy;     // NULL: read where it lies
    size_t at, scratch;  // in the workspace
    void *packed;        // constant, in the library's own layout; set once
  } operands[2];
  TensorDesc inputs[2], y;  // as the library sees them
  bool y_staged;
  TensorDesc result;  // what the pass reads: y with the site's axes
  size_t y_at, scratch_at;
  EpilogueSource source;
  int residual;  // operand whose content is copied into y before the call, or -1
  CpuCopy residual_copy;
  bool fused;  // else `pass` does the epilogue
  OnednnEpilogue epilogue;
  CpuStrips *pass;
  void **pass_inputs;
} CpuAnchor;

// The anchor's first two inputs and output, seen as the site has them.
MUST_CHECK Status cpu_anchor_new(const Site *site, Arena *arena, ThreadPool *pool, CpuAnchor **out);
// f32 tensors of the desc's dims in a stride order; staged unless the tensor lies so already. strides NULL: as it is, only the type matters.
void cpu_anchor_stage(CpuAnchor *anchor, int input, const int64_t *strides);
void cpu_anchor_stage_result(CpuAnchor *anchor, const int64_t *strides);
// The epilogue with operands seen through axes that the caller merged; by default they are the site's own.
void cpu_anchor_source(CpuAnchor *anchor, int channel_axis);
// Describes the operation (all but its bias, which is the epilogue's) with what can be fused of the epilogue, where that is fast, and the rest behind each slice.
MUST_CHECK Status cpu_anchor_describe(CpuAnchor *anchor, const OnednnOperation *operation, bool *fast);
// Describes it again with the addition of a whole tensor made in place: oneDNN has faster ways then. Kept if what it would use starts with
// `prefix`.
MUST_CHECK Status cpu_anchor_try_residual(CpuAnchor *anchor, const char *prefix);
// Makes the primitive, and the pass. Packs constant operand 1, given in f32 as `weights` lies.
MUST_CHECK Status cpu_anchor_finish(CpuAnchor *anchor, const OnednnTensor *weights, size_t *workspace_bytes);
Status cpu_anchor_run(void *anchor, const HostCall *call);

// Whether the implementations can compute the site at all: oneDNN is there, floats of 32 bits and less, no empty tensor, an epilogue the strips engine can run.
bool cpu_anchor_supports(const Site *site);
