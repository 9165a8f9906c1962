// The device under a trial.
#include "tests/instructions/lab.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

extern const DeviceSource instruction_sources[];  // the .cuh of this folder, made by cmake/embed.cmake

Status lab_open(Lab *lab, int device) {
  TRY(cuda_context_open(&(CudaContextOptions){.device = device}, &lab->context));
  lab->sm = lab->context->info.sm;
  return cuda_enter(lab->context);
}

void lab_close(Lab *lab) {
  if (!lab->context) return;
  lab_clear(lab);
  cuda_leave(lab->context);
  cuda_context_close(lab->context);
  lab->context = NULL;
}

Status lab_compile(Lab *lab, const char *file, int sm, Cubin *out) {
  char path[128];
  snprintf(path, sizeof path, "tests/instructions/%s", file);
  for (const DeviceSource *source = instruction_sources; source->path; source++) {
    if (strcmp(source->path, path)) continue;
    KernelSource kernel = {file, source->text, sm};
    return compiler_compile(lab->compiler, &kernel, out);
  }
  FAIL(ERROR_INTERNAL, "there is no file %s", path);
}

void lab_clear(Lab *lab) {
  for (int i = 0; i < lab->memory_count; i++) cuda_free(lab->context, lab->memory[i], lab->sizes[i]);
  lab->memory_count = 0;
}

Status lab_memory(Lab *lab, const void *data, size_t size, void **out) {
  if (lab->memory_count == COUNT_OF(lab->memory)) FAIL(ERROR_INTERNAL, "a trial uses more memory than there is room for");
  TRY(cuda_alloc(lab->context, size, out));
  lab->memory[lab->memory_count] = *out;
  lab->sizes[lab->memory_count++] = size;
  if (data) return cuda_upload(lab->context, *out, data, size);
  return cuda_fill(lab->context, *out, 0xcd, size, lab->context->stream);
}

Status lab_launch(Lab *lab, const char *file, const char *kernel, Shape shape, void **arguments) {
  Cubin cubin;
  CudaFunction function;
  LoadedModule *module;  // stays until the context closes
  TRY(lab_compile(lab, file, lab->sm, &cubin));
  TRY(cuda_function(lab->context, &(ModuleImage){cubin.key, cubin.data, cubin.size}, kernel, shape.shared, &module, &function));
  unsigned grid[3] = {shape.grid, 1, 1}, block[3] = {shape.block, 1, 1},
           cluster[3] = {shape.cluster, shape.cluster ? 1 : 0, shape.cluster ? 1 : 0};
  const CudaLaunchHow how = {.overlap = shape.overlaps, .cooperative = shape.cooperative};
  return cuda_launch(lab->context, function, grid, block, cluster, shape.shared, how, arguments, lab->context->stream);
}

Status lab_finish(Lab *lab) { return cuda_synchronize(lab->context, lab->context->stream); }

Status lab_expect(Lab *lab, const void *device, const uint32_t *expected, size_t count) {
  uint32_t *actual = malloc(count * sizeof *actual);
  if (!actual) return status_out_of_memory();
  Status status = lab_finish(lab);
  if (!status) status = cuda_download(lab->context, actual, device, count * sizeof *actual);
  size_t wrong = 0, first = 0;
  for (size_t i = count; i-- > 0 && !status;)
    if (actual[i] != expected[i]) wrong++, first = i;
  if (wrong)
    status = status_make(ERROR_INTERNAL, "%zu of %zu words differ; the first is word %zu: %08x, not %08x", wrong, count, first,
                         actual[first], expected[first]);
  free(actual);
  return status;
}

uint32_t lab_word(uint32_t i) {
  uint32_t x = (i + 1) * 0x9e3779b9u;
  x = (x ^ x >> 15) * 0x85ebca6bu;
  return x ^ x >> 13;
}
