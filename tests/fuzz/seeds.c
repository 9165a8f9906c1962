// ingot-seeds FOLDER MODEL.onnx...: makes the seeds that need Ingot itself. For each model that builds: FOLDER/text/N-*.txt, its graph before
// and after the passes; FOLDER/engine/N.engine; where its shapes are known, FOLDER/plan/N.txt, its plan for the CPU.
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

static void write_plan(const char *folder, int number, ingot_engine *engine) {
  enum { MOST = 8 };
  ingot_tensor inputs[MOST];
  ingot_config config;
  ingot_session *session = NULL;
  char *plan = NULL;
  int count = ingot_engine_input_count(engine);
  if (count > MOST) return;
  for (int i = 0; i < count; i++) {
    const ingot_binding *b = ingot_engine_input(engine, i);
    if (ingot_binding_kind(b) != INGOT_TENSOR || ingot_binding_rank(b) < 0) return;
    for (int k = 0; k < ingot_binding_rank(b); k++)
      if (ingot_binding_dims(b)[k] < 0 || ingot_binding_dims(b)[k] > 64) return;
    inputs[i] = (ingot_tensor){.data = calloc(1, 1 << 20),
                               .device = {INGOT_CPU, 0},
                               .ndim = ingot_binding_rank(b),
                               .dtype = ingot_binding_dtype(b),
                               .shape = (int64_t *)(uintptr_t)ingot_binding_dims(b)};
  }
  fuzz_config(&config);
  if (fuzz_passed(ingot_session_create(engine, &config, &session)) &&
      fuzz_passed(ingot_session_plan_text(session, inputs, count, &plan)) && strlen(plan) < 8192)
    write(folder, "plan", number, ".txt", plan, strlen(plan));
  free(plan);
  for (int i = 0; i < count; i++) free(inputs[i].data);
  ingot_session_free(session);
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
    write_plan(folder, number, engine);
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
