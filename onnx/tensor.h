// ONNX tensors, in models and in the .pb files beside them, to and from host tensors.
#pragma once
#include "base/file.h"
#include "ir/graph.h"
#include "onnx/scan.h"

struct Onnx__Tensor;
struct Onnx__SparseTensor;

// Where a message's tensors find their bytes, and how much memory they may take.
typedef struct TensorSource TensorSource;
// bytes: what the message was unpacked from. folder NULL: external data is refused. memory_bytes: for tensors that cannot
// point into a file (unpacked, converted or made dense), all together. file_bytes: of all files of external data.
TensorSource *tensor_source_new(Arena *arena, Bytes bytes, const char *folder, size_t memory_bytes, size_t file_bytes);
// Data points into the file where it is plain and aligned for its type. Errors name the tensor.
MUST_CHECK Status onnx_read_tensor(TensorSource *source, const struct Onnx__Tensor *proto, Tensor *out);
MUST_CHECK Status onnx_read_sparse_tensor(TensorSource *source, const struct Onnx__SparseTensor *proto, Tensor *out);  // dense

// The message of a tensor, whose bytes it points at. name "": none.
struct Onnx__Tensor *onnx_tensor_message(Arena *arena, const char *name, const Tensor *tensor);

// What a test's .pb file holds.
typedef struct HostValue {
  ValueKind kind;
  const char *name;  // "" where it has none
  Tensor tensor;     // of VALUE_TENSOR
  int count;         // VALUE_SEQUENCE: elements; VALUE_OPTIONAL: 0 or 1
  struct HostValue *items;
} HostValue;

// Such files do not say what they hold: a sequence and an optional look alike on the wire, so `kind` must be known (from the
// model's inputs and outputs). Memory as for models; the arena must outlive the result.
MUST_CHECK Status onnx_read_value(Bytes bytes, ValueKind kind, Arena *arena, HostValue *out);
MUST_CHECK Status onnx_read_value_file(const char *path, ValueKind kind, Arena *arena, HostValue *out);
// A value of that type in the model: of an optional with an element that element, which may also stand in the file alone.
MUST_CHECK Status onnx_read_declared(Bytes bytes, ValueKind declared, Arena *arena, HostValue *out);
MUST_CHECK Status onnx_read_declared_file(const char *path, ValueKind declared, Arena *arena, HostValue *out);
// A tensor; a sequence or optional is reported as such.
MUST_CHECK Status onnx_read_tensor_file(const char *path, Arena *arena, Tensor *out);
// Writes atomically. Elements of a sequence are tensors, that of an optional a tensor or a sequence.
MUST_CHECK Status onnx_write_value_file(const char *path, const HostValue *value);
