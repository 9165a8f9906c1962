// Opening models. A model from a file and one from memory differ only in where the bytes come from and in which folder external
// data may lie.
#include "onnx/model.h"
#include "base/checked.h"
#include "onnx.pb-c.h"
#include "onnx/sort.h"
#include "onnx/tensor.h"

static const char *text_or_empty(const char *text) { return text ? text : ""; }

Status onnx_model_open_bytes(Bytes bytes, const char *folder, const OnnxLimits *limits, Arena *arena, const Log *log,
                             Model **out) {
  Model *model = arena_new_of(arena, Model);
  OnnxLimits in_force = onnx_limits_or_default(limits);
  void *proto;
  *out = NULL;
  if (in_force.file_bytes && bytes.size > in_force.file_bytes)
    FAIL(ERROR_LIMIT, "the model has %zu bytes, more than the limit of %zu", bytes.size, in_force.file_bytes);
  TRY(onnx_unpack(&onnx__model__descriptor, "the model", bytes, &in_force, arena, &proto));
  model->proto = proto;
  if (!model->proto->graph) FAIL(ERROR_INVALID_MODEL, "the file holds no graph: it is empty, or no ONNX model");
  model->arena = arena;
  if (log) model->log = *log;
  model->path = "";
  model->folder = folder ? arena_string(arena, folder) : NULL;
  model->tensors = tensor_source_new(arena, bytes, model->folder, in_force.memory_bytes,
                                     in_force.file_bytes ? in_force.file_bytes - bytes.size : SIZE_MAX);
  model->ir_version = model->proto->ir_version;
  model->version = model->proto->model_version;
  model->producer = text_or_empty(model->proto->producer_name);
  model->producer_version = text_or_empty(model->proto->producer_version);
  model->domain = text_or_empty(model->proto->domain);
  model->doc = text_or_empty(model->proto->doc_string);
  model->graph_name = text_or_empty(model->proto->graph->name);
  model->graph_doc = text_or_empty(model->proto->graph->doc_string);
  onnx_sort_nodes(model);
  *out = model;
  return OK;
}

// Beside what comes through an open file, of whatever kind, no other files lie.
static const char *folder_of(Arena *arena, const char *path) {
  return path_open_number(path) >= 0 || file_is_stream(path) ? NULL : path_folder(arena, path);
}

Status onnx_model_open(const char *path, const OnnxLimits *limits, Arena *arena, const Log *log, Model **out) {
  Bytes bytes;
  *out = NULL;
  size_t stream_limit = limits && limits->file_bytes ? MIN(limits->file_bytes, FILE_STREAM_LIMIT) : FILE_STREAM_LIMIT;
  TRY(file_map(path, stream_limit, arena, &bytes));
  Status status = onnx_model_open_bytes(bytes, folder_of(arena, path), limits, arena, log, out);
  if (status) return status_context(status, "'%s'", path);
  (*out)->path = arena_string(arena, path);
  return OK;
}

const char *onnx_model_note(const Model *model, int index, const char **value) {
  if (index < 0 || (size_t)index >= model->proto->n_metadata_props) return NULL;
  const Onnx__KeyValue *note = model->proto->metadata_props[index];
  *value = text_or_empty(note->value);
  return text_or_empty(note->key);
}
