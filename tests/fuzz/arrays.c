// Files of tensors: NumPy's .npy and .npz, told by how they begin; anything else is taken for ONNX's .pb.
#include "base/budget.h"
#include "base/recover.h"
#include "cli/numpy.h"
#include "tests/fuzz/fuzz.h"
#include "onnx/tensor.h"

static Status read_archive(Bytes bytes, Arena *arena) {
  Archive archive;
  TRY(archive_open(bytes, arena, &archive));
  for (uint32_t i = 0; i < archive.count && i < 8; i++) {
    Bytes member;
    Tensor tensor;
    TRY(archive_read(&archive, &archive.members[i], arena, &member));
    TRY(npy_read(member, DTYPE_COUNT, arena, &tensor));
  }
  return OK;
}

static Status read_array(Bytes bytes, Arena *arena) {
  Tensor tensor, again;
  Text text = text_new(arena);
  TRY(npy_read(bytes, bytes.size % 2 ? DTYPE_BF16 : DTYPE_COUNT, arena, &tensor));
  TRY(npy_write(&text, &tensor));
  Bytes written = {(const uint8_t *)text.bytes, text.length};
  TRY(npy_read(written, tensor.dtype, arena, &again));
  FUZZ_EXPECT(tensor_bytes(&tensor) == tensor_bytes(&again) && !memcmp(tensor.data, again.data, tensor_bytes(&tensor)),
              "not the same again");
  return OK;
}

static Status check(Bytes bytes, Arena *arena) {
  HostValue value;
  if (bytes.size && bytes.data[0] == 0x93) return read_array(bytes, arena);
  if (bytes.size && bytes.data[0] == 'P') return read_archive(bytes, arena);
  return onnx_read_value(bytes, (ValueKind)(bytes.size % 3), arena, &value);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
  Arena *arena = arena_new();
  Budget budget = {0};
  budget_enter(&budget, &(BudgetLimits){.memory = FUZZ_MEMORY, .seconds = FUZZ_SECONDS});
  Status status = RECOVER_GUARD(check((Bytes){bytes, size}, arena));
  budget_leave(&budget);
  FUZZ_EXPECT(!status || *status_message(status), "an error without a message");
  status_free(status);
  arena_free(arena);
  return 0;
}
