// The argument MODEL of every command: an .onnx file, an engine, or either through a pipe (`ingot run /dev/stdin <model.onnx`,
// `ingot run <(curl ...)`). What comes through a pipe comes once, and some commands open it more often: it is kept.
#include <string.h>

#include "api/api.h"
#include "base/file.h"
#include "cli/cli.h"

static struct {
  Arena *arena;
  const char *path;
  Bytes bytes;
} piped;

static Status keep(const char *path, const ingot_config *config) {
  piped.arena = arena_new();
  return file_load(path, config->model_limit, 1, piped.arena, &piped.bytes);
}

int cli_keep_piped(const char *path, const ingot_config *config) {
  if (!file_is_stream(path)) return 0;
  Status status = API_LIMITED(config, keep(path, config));
  if (status) return cli_fail(api_error(status));
  piped.path = path;
  return 0;
}

static bool begins_as_engine(const void *bytes, size_t size) { return size >= 5 && !memcmp(bytes, "INGOT", 5); }

bool cli_is_engine(const char *path) {
  char head[5] = {0};
  if (piped.path == path) return begins_as_engine(piped.bytes.data, piped.bytes.size);
  FILE *file = fopen(path, "rbe");
  size_t size = file ? fread(head, 1, sizeof head, file) : 0;
  if (file) fclose(file);
  return begins_as_engine(head, size);
}

static ingot_error *about(const char *path, ingot_error *error) {
  return error ? api_error(status_context((Status)error, "%s", path)) : NULL;
}

ingot_error *cli_open_model(const char *path, const ingot_config *config, ingot_model **out) {
  const Bytes *bytes = &piped.bytes;
  if (piped.path != path) return ingot_model_open(path, config, out);
  return about(path, ingot_model_open_memory(bytes->data, bytes->size, NULL, config, out));
}

ingot_error *cli_load_engine(const char *path, const ingot_config *config, ingot_engine **out) {
  const Bytes *bytes = &piped.bytes;
  if (piped.path != path) return ingot_engine_load(path, config, out);
  return about(path, ingot_engine_load_memory(bytes->data, bytes->size, config, out));
}

ingot_error *cli_open_engine(const char *path, const ingot_config *config, ingot_engine **out) {
  if (cli_is_engine(path)) return cli_load_engine(path, config, out);
  ingot_model *model = NULL;
  ingot_error *error = cli_open_model(path, config, &model);
  if (!error) error = ingot_engine_build(model, config, out);
  ingot_model_free(model);
  return error;
}
