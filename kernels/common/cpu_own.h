// What implementations on products of our own (cpu_gemm.h) share: operands brought into the kernels' form, and the epilogue as a pass over the
// result, which also puts it into its place where it is computed elsewhere.
#pragma once
#include "kernels/common/cpu_copy.h"
#include "kernels/common/cpu_gemm.h"
#include "base/hash.h"
#include "kernels/implementation.h"
#include "kernels/program/cpu_strips.h"

typedef struct CpuOwn {
  Arena *arena;
  ThreadPool *pool;
  Site site;  // a copy: the planner reuses its own
  GemmKind kind;
  size_t workspace_bytes;
  // Of x into the workspace: as it is, or through another type, less its zero point but for quads; neither: read where it lies.
  bool moves;
  CpuCopy move;
  CpuStrips *copy;
  size_t x_at, x_bytes;
  bool clear_x;  // what the copy leaves between rows is zero
  bool y_staged;
  size_t y_at;
  TensorDesc result;  // what the kernels write
  CpuStrips *pass;
  void **pass_inputs;
  size_t scratch, scratch_at;
} CpuOwn;

// Floats of 32 bits and less, or integers that sum to i32; no empty tensor.
bool cpu_own_supports(const Site *site);
MUST_CHECK Status cpu_own_new(const Site *site, Arena *arena, ThreadPool *pool, CpuOwn *out);
// Whether quads do: bytes times a constant of bytes, or of what fits them.
bool cpu_own_takes_quads(const Site *site);
int32_t cpu_own_zero(const CpuOwn *own, const HostCall *call);  // of quads
DType cpu_own_dtype(GemmKind kind);                             // of x as the kernels read it
size_t cpu_own_reserve(CpuOwn *own, size_t bytes);
// x, seen through axes `from` (those of the site, split or as they are), is copied into `to`, of the kernels' type, unless it lies so.
void cpu_own_stage(CpuOwn *own, const TensorDesc *from, const TensorDesc *to, size_t bytes);
// The kernels write the output where its strides and type allow it, else the workspace.
void cpu_own_result(CpuOwn *own, const int64_t *strides, bool direct);
void cpu_own_finish(CpuOwn *own);  // the pass; nothing is reserved behind it
void *cpu_own_x(const CpuOwn *own, const HostCall *call);
void *cpu_own_y(const CpuOwn *own, const HostCall *call);
void cpu_own_pass(CpuOwn *own, const HostCall *call);
// The constant right operand, of any type, as floats or int32_t less its zero point, row-major; where it is of that type, the tensor's own memory.
// How it is packed: `place`, and what cpu_own_constant does.
Hash128 cpu_own_form(const CpuOwn *own, const void *place, size_t bytes);
MUST_CHECK Status cpu_own_constant(const CpuOwn *own, Arena *scratch, const void **out);
