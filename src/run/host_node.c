// See host_node.h.
#include "run/host_node.h"

#include <string.h>

#include "base/memory.h"
#include "kernels/reference.h"
#include "kernels/sort/sort.h"

// Elements point to bytes of the reference's scratch memory, or of its inputs': they get bytes that outlive both.
static void keep_strings(Arena *strings, const char **elements, int64_t count) {
  for (int64_t i = 0; i < count; i++) elements[i] = arena_string(strings, elements[i]);
}

Status host_node_run(Device *device, const Node *node, Arena *strings, const RunTensor *inputs, RunTensor *outputs) {
  Arena *scratch = arena_scratch();
  Status status = OK;
  Tensor *tensors = arena_array(scratch, Tensor, node->input_count);
  const Tensor **pointers = arena_array(scratch, const Tensor *, node->input_count);
  Tensor *results = arena_array(scratch, Tensor, node->output_count);
  for (int i = 0; i < node->input_count; i++) {
    if (!inputs[i].storage) continue;
    tensors[i] = (Tensor){.dtype = inputs[i].dtype, .rank = inputs[i].rank};
    memcpy(tensors[i].dims, inputs[i].dims, sizeof tensors[i].dims);
    TRY_GOTO(run_tensor_host(&inputs[i], &tensors[i].data));
    pointers[i] = &tensors[i];
  }
  TRY_GOTO(reference_run(node, scratch, pointers, results));
  for (int i = 0; i < node->output_count; i++) {
    TRY_GOTO(run_tensor_borrow_host(device, &results[i], &outputs[i]));
    size_t bytes = tensor_bytes(&results[i]);
    void *copy;
    status = memory_take(bytes, &copy);
    if (status) {
      run_tensor_drop(&outputs[i]);
      goto done;
    }
    memcpy(copy, results[i].data, bytes);
    outputs[i].storage->host_memory = copy;
    outputs[i].storage->owns_host = true;
    if (results[i].dtype == DTYPE_STRING) keep_strings(strings, copy, tensor_count(&results[i]));
  }
done:
  arena_free(scratch);
  return status;
}

Status host_node_count(const Node *node, const RunTensor *inputs, RunTensor *out) {
  void *count;
  int64_t dims[2];
  TRY(run_tensor_host(&inputs[1], &count));
  TRY(counted_dims(node, inputs[0].dims[0], *(const int64_t *)count, dims));
  return run_tensor_part(&inputs[0], 2, dims, out);
}
