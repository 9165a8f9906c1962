// Pictures as inputs: JPEG, PNG, BMP and portable maps, scaled to the size a model wants.
#include "base/budget.h"
#include "base/recover.h"
#include "cli/picture.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
  // The last byte chooses what is wanted of it.
  int choice = size ? bytes[size - 1] : 0;
  Wanted wanted = {.name = "x", .dtype_name = choice & 1 ? "u8" : "f32", .rank = 4, .dims = {1, choice & 2 ? 1 : 3, 8, -1}};
  if (choice & 4) wanted.dims[2] = -1;
  PictureOptions options = {.scale = {1, 1, 1}};
  Arena *arena = arena_new();
  Tensor tensor;
  Budget budget = {0};
  budget_enter(&budget, &(BudgetLimits){.memory = FUZZ_MEMORY, .seconds = FUZZ_SECONDS});
  Status status = RECOVER_GUARD(picture_decode((Bytes){bytes, size}, &wanted, &options, arena, &tensor));
  budget_leave(&budget);
  FUZZ_EXPECT(!status || *status_message(status), "an error without a message");
  status_free(status);
  arena_free(arena);
  return 0;
}
