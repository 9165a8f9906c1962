// An ONNX model as read from its file: scanned, unpacked, not yet understood. onnx/validate.h says what is wrong with it,
// onnx/import.h makes a graph of it.
#pragma once
#include "base/file.h"
#include "base/log.h"
#include "base/map.h"
#include "onnx/scan.h"

typedef struct TensorSource TensorSource;  // onnx/tensor.h

typedef struct Model {
  Arena *arena;
  Log log;
  const char *path;           // "" for a model from memory
  const char *folder;         // where external data is looked for; NULL: it is refused
  struct Onnx__Model *proto;  // never NULL; has a graph
  TensorSource *tensors;      // how its tensors are read
  int64_t ir_version;
  const char *producer, *producer_version, *domain, *doc, *graph_name, *graph_doc;  // "" where absent
  int64_t version;
} Model;

// The file is mapped and tensors point into it, so the arena must outlive everything made from the model, graphs included.
// What comes through a pipe is read to its end, and finds no external data. limits NULL: defaults. log NULL: silent.
MUST_CHECK Status onnx_model_open(const char *path, const OnnxLimits *limits, Arena *arena, const Log *log, Model **out);
// The same from bytes in memory, which must live as long as the arena. folder: see Model.
MUST_CHECK Status onnx_model_open_bytes(Bytes bytes, const char *folder, const OnnxLimits *limits, Arena *arena, const Log *log,
                                        Model **out);
// The model's own notes (metadata_props). NULL past the end.
const char *onnx_model_note(const Model *model, int index, const char **value);
