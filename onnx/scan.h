// The scan that a stranger's protobuf bytes pass before they are unpacked. See scan.c.
#pragma once
#include <protobuf-c/protobuf-c.h>
#include "base/file.h"

// Bounds on what a model may take. Zero fields mean the defaults.
typedef struct OnnxLimits {
  size_t file_bytes;    // of the model file and those of its external data; default: no limit
  size_t memory_bytes;  // taken for the unpacked messages, and again for tensors that cannot stay in the file; default 8 GiB
  int depth;            // of nested messages; default 64
} OnnxLimits;
OnnxLimits onnx_limits_or_default(const OnnxLimits *limits);  // NULL: all defaults

// Checks that `in` is a well-formed message of this type within the limits, and writes an equivalent one for protobuf-c to
// unpack: without unknown fields, and with bulky tensor data replaced by its place in `in` (cut_* of onnx.proto).
// Unpacking *out takes at most MIN(limits->memory_bytes, 64 MiB + 32 * in.size) bytes. Errors name the offset.
MUST_CHECK Status onnx_scan(const ProtobufCMessageDescriptor *type, Bytes in, const OnnxLimits *limits, Arena *arena,
                            Bytes *out);
// onnx_scan, then unpacking into the arena. There is nothing to free. `what` names the bytes in errors: "model", "tensor file".
MUST_CHECK Status onnx_unpack(const ProtobufCMessageDescriptor *type, const char *what, Bytes in, const OnnxLimits *limits,
                              Arena *arena, void **out);
