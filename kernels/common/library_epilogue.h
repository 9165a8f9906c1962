// Epilogues that NVIDIA's libraries can do by themselves: activation(scale * result + bias + residual). Anything else is computed by a generated
// kernel after the library's, which is why no site is refused for its epilogue.
#pragma once
#include "kernels/implementation.h"

typedef enum LibraryActivation { LIBRARY_IDENTITY, LIBRARY_RELU, LIBRARY_GELU_TANH } LibraryActivation;
typedef struct LibraryEpilogue {
  float scale;
  LibraryActivation activation;
  int bias;      // input number of a vector along the channel axis, or -1
  int residual;  // input number of a tensor laid out as the output, or -1
} LibraryEpilogue;
#define LIBRARY_NOTHING ((LibraryEpilogue){1, LIBRARY_IDENTITY, -1, -1})

// Whether the site's epilogue (or none) is of that form. Operands and output have one type, `natural`, that of the anchor's own result.
bool library_epilogue(const Site *site, int channel_axis, DType natural, LibraryEpilogue *out);

// Where the library writes when it cannot do the epilogue: the output itself where the types agree, else the workspace, row-major.
typedef struct LibraryResult {
  TensorDesc desc;
  BufferKind kind;       // BUFFER_OUTPUT or BUFFER_WORKSPACE
  size_t offset, bytes;  // in the workspace; 0 bytes in the output
} LibraryResult;
// workspace_bytes: what the library itself needs before it.
LibraryResult library_result(const Site *site, DType natural, size_t workspace_bytes);
// An argument of the library's call: where it writes.
void library_emit_target(Emission *emission, Launch *launch, const LibraryResult *result);
// Adds the kernel that computes the epilogue from there.
MUST_CHECK Status library_emit_epilogue(Emission *emission, const Site *site, const LibraryResult *result);
