// ingot-seeds FOLDER MODEL.onnx...: makes the seeds that need Ingot itself. For each model that builds: FOLDER/text/N-*.txt, its graph before
// and after the passes; FOLDER/engine/N.engine.
#include "base/file.h"
#include "base/recover.h"
#include "tests/fuzz/fuzz.h"

static void write(const char *folder, const char *kind, int number, const char *extension, const void *bytes, size_t size) {
  char path[4096];
  snprintf(path, sizeof path, "%s/%s", folder, kind);
  Status status = directory_make(path);
  snprintf(path, sizeof path, "%s/%s/%d%s", folder, kind, number, extension);
  if (!status) status = file_write(path, bytes, size);
  FUZZ_EXPECT(!status, "%s", status_message(status));
}

static void write_text(const char *folder, int number, const char *extension, char *text) {
  if (text && strlen(text) < 4096) write(folder, "text", number, extension, text, strlen(text));
  free(text);
}

static void take(const char *folder, int number, const char *path) {
  ingot_config config;
  ingot_model *model = NULL;
  ingot_engine *engine = NULL;
  void *bytes;
  size_t size;
  fuzz_config(&config);
  if (!fuzz_passed(ingot_model_open(path, &config, &model))) return;
  if (fuzz_passed(ingot_engine_build(model, &config, &engine))) {
    write_text(folder, number, "-before.txt", ingot_model_text(model));
    write_text(folder, number, "-after.txt", ingot_engine_text(engine));
    if (fuzz_passed(ingot_engine_save_memory(engine, &bytes, &size))) {
      if (size <= 1 << 16) write(folder, "engine", number, ".engine", bytes, size);
      free(bytes);
    }
  }
  ingot_engine_free(engine);
  ingot_model_free(model);
}

int main(int argc, char **argv) {
  for (int i = 2; i < argc; i++) take(argv[1], i - 1, argv[i]);
  return argc < 3;
}
