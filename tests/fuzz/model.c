// From the bytes of a model to its results: opened, built, its model freed, run twice.
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
  ingot_config config;
  ingot_model *model = NULL;
  ingot_engine *engine = NULL;
  fuzz_config(&config);
  if (!fuzz_passed(ingot_model_open_memory(bytes, size, NULL, &config, &model))) return 0;
  int built = fuzz_passed(ingot_engine_build(model, &config, &engine));
  ingot_model_free(model);
  if (built) fuzz_run_engine(engine);
  ingot_engine_free(engine);
  return 0;
}
