// The configuration: its defaults, its growth, and what of it makes no sense.
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "api/api.h"
#include "base/checked.h"
#include "base/chips.h"
#include "lower/plan.h"
#include "passes/selection.h"

// The shortest a caller may bring: what the first version of the struct began with.
enum { SHORTEST = offsetof(ingot_config, tuning_seconds) };

static Status check_size(size_t size) {
  if (size > sizeof(ingot_config))
    FAIL(ERROR_INVALID_ARGUMENT,
         "the caller's ingot_config has %zu bytes, that of Ingot %s has %zu: the program was compiled for a newer one", size,
         INGOT_VERSION, sizeof(ingot_config));
  if (size < SHORTEST || size % _Alignof(ingot_config))
    FAIL(ERROR_INVALID_ARGUMENT, "ingot_config.size is %zu, which no version had: call ingot_config_init first", size);
  return OK;
}

ingot_error *ingot_config_init_sized(ingot_config *config, size_t size) {
  Status status = api_require("ingot_config_init", "config", config, NULL);
  if (status) return api_error(status);
  memset(config, 0, size);
  status = check_size(size);
  if (status) return api_error(status);
  ingot_config defaults = {.size = size, .log_most = INGOT_INFO};
  memcpy(config, &defaults, size);
  return NULL;
}

size_t api_size_limit(const ingot_config *config) { return config->model_limit ? config->model_limit : (size_t)64 << 30; }

bool api_wants_gpu(const ingot_config *config) { return config->device_index || config->cuda_context || config->cuda_stream; }

// ---- values that make no sense, whatever the configuration is for ------------------------------------------------------------

enum { MOST_THREADS = 1024, MOST_DEVICES = 4096 };

static Status check_device(const ingot_config *config) {
  if ((unsigned)config->device > INGOT_DEVICE_CUDA) FAIL(ERROR_INVALID_ARGUMENT, "device %d is unknown", (int)config->device);
  if (config->device_index < 0 || config->device_index >= MOST_DEVICES)
    FAIL(ERROR_INVALID_ARGUMENT, "device_index %d is no CUDA ordinal", config->device_index);
  if (config->device == INGOT_DEVICE_CPU && (api_wants_gpu(config) || config->no_cuda_graph))
    FAIL(ERROR_INVALID_ARGUMENT,
         "device_index, cuda_context, cuda_stream and no_cuda_graph are about a GPU, but the device asked for is the CPU");
  if (config->streams < 0 || config->streams > PLAN_STREAMS)
    FAIL(ERROR_INVALID_ARGUMENT, "%d streams are not between 1 and %d; 0 is %d", config->streams, PLAN_STREAMS, PLAN_STREAMS);
  if (config->device == INGOT_DEVICE_CPU && config->streams)
    FAIL(ERROR_INVALID_ARGUMENT, "streams are about a GPU, but the device asked for is the CPU");
  if (config->threads < 0 || config->threads > MOST_THREADS)
    FAIL(ERROR_INVALID_ARGUMENT, "%d threads are not between 0, for one a core, and %d", config->threads, MOST_THREADS);
  return OK;
}

static Status check_building(const ingot_config *config) {
  uint32_t unknown = config->precision & ~(uint32_t)(INGOT_FP16 | INGOT_BF16 | INGOT_TF32);
  if (unknown) FAIL(ERROR_INVALID_ARGUMENT, "precision has unknown bits 0x%x", unknown);
  if ((config->precision & INGOT_FP16) && (config->precision & INGOT_BF16))
    FAIL(ERROR_INVALID_ARGUMENT, "fp16 and bf16 cannot both be asked for");
  if (!(config->tuning_seconds >= 0 && isfinite(config->tuning_seconds)))
    FAIL(ERROR_INVALID_ARGUMENT, "tuning cannot take %g seconds", config->tuning_seconds);
  return config->disabled_passes && *config->disabled_passes ? passes_check_disabled(config->disabled_passes) : OK;
}

static Status check_targets(const ingot_config *config) {
  if (!config->targets) return OK;
  if (config->device == INGOT_DEVICE_CPU) FAIL(ERROR_INVALID_ARGUMENT, "targets are GPUs, but the device asked for is the CPU");
  if (config->tuning_seconds > 0)
    FAIL(ERROR_INVALID_ARGUMENT, "tuning measures on the GPU at hand, and targets are GPUs that need not be here");
  const char *at = config->targets;
  do {
    char name[64];
    DeviceInfo info;
    size_t length = strcspn(at, ",");
    snprintf(name, sizeof name, "%.*s", (int)length, at);
    TRY(chip_find(name, &info));
    at += length + (at[length] == ',');
  } while (*at);
  return OK;
}

static Status check_allocator(const ingot_allocator *allocator, const char *name) {
  if (!allocator) return OK;
  if (allocator->size != sizeof *allocator)
    FAIL(ERROR_INVALID_ARGUMENT, "%s->size is %zu, but an ingot_allocator of Ingot %s has %zu bytes", name, allocator->size,
         INGOT_VERSION, sizeof *allocator);
  if (!allocator->allocate || !allocator->release)
    FAIL(ERROR_INVALID_ARGUMENT, "%s has no function to allocate or none to release", name);
  return OK;
}

static Status check_values(const ingot_config *config) {
  TRY(check_allocator(config->host_allocator, "host_allocator"));
  TRY(check_allocator(config->device_allocator, "device_allocator"));
  if (config->device_allocator && config->device == INGOT_DEVICE_CPU)
    FAIL(ERROR_INVALID_ARGUMENT, "device_allocator is about a GPU, but the device asked for is the CPU");
  TRY(check_device(config));
  TRY(check_building(config));
  TRY(check_targets(config));
  if ((unsigned)config->log_most > INGOT_VERBOSE) FAIL(ERROR_INVALID_ARGUMENT, "log_most %d is unknown", (int)config->log_most);
  return OK;
}

Status api_config(const ingot_config *given, ingot_config *out) {
  *out = (ingot_config){.log_most = INGOT_INFO};
  if (given) {
    TRY(check_size(given->size));
    memcpy(out, given, given->size);
  }
  out->size = sizeof *out;
  return check_values(out);
}

// ---- what a finished engine cannot give any more -----------------------------------------------------------------------------

static Status check_precision(const ingot_config *config, const EngineOptions *built) {
  const struct {
    uint32_t bit;
    bool has;
    const char *name;
  } rows[] = {{INGOT_FP16, built->precision == DTYPE_F16, "fp16"},
              {INGOT_BF16, built->precision == DTYPE_BF16, "bf16"},
              {INGOT_TF32, built->tf32, "tf32"}};
  for (size_t i = 0; i < COUNT_OF(rows); i++)
    if ((config->precision & rows[i].bit) && !rows[i].has)
      FAIL(ERROR_INVALID_ARGUMENT, "the engine was built without %s: the precision is decided when an engine is built",
           rows[i].name);
  return OK;
}

Status api_config_finished(const ingot_config *config, const EngineOptions *built) {
  TRY(check_precision(config, built));
  TRY(passes_check_left_out(built->disabled, config->disabled_passes));
  if ((config->tuning_seconds > 0 || config->tuning_file || config->tuning_shapes) && !built->measured)
    FAIL(ERROR_INVALID_ARGUMENT, "the engine was built without tuning: that is done when an engine is built");
  return OK;
}
