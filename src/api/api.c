// Errors, element types, devices: what every part of the public interface needs.
#include "api/api.h"

#include <stdarg.h>

_Static_assert((int)INGOT_INTERNAL == (int)ERROR_INTERNAL, "public and internal error codes are the same numbers");
_Static_assert(sizeof(ingot_allocator) == sizeof(Allocator), "public and internal allocators are the same struct");
_Static_assert((int)INGOT_VERBOSE == (int)LOG_VERBOSE, "public and internal severities are the same numbers");

const char *ingot_version(void) { return INGOT_VERSION; }

ingot_error *api_error(Status status) { return (ingot_error *)status; }
ingot_code ingot_error_code(const ingot_error *error) {
  return error ? (ingot_code)status_code((Status)(uintptr_t)error) : INGOT_OK;
}
const char *ingot_error_message(const ingot_error *error) { return status_message((Status)(uintptr_t)error); }
void ingot_error_free(ingot_error *error) { status_free((Status)error); }

Status api_require(const char *function, ...) {
  va_list pairs;
  Status status = OK;
  va_start(pairs, function);
  for (const char *name = va_arg(pairs, const char *); name && !status; name = va_arg(pairs, const char *))
    if (!va_arg(pairs, const void *)) status = status_make(ERROR_INVALID_ARGUMENT, "%s: %s is NULL", function, name);
  va_end(pairs);
  return status;
}

Log api_log(const ingot_config *config) {
  // The public severities are the internal ones, so the caller's function is called as it is.
  return (Log){.write = (void (*)(void *, LogSeverity, const char *))config->log,
               .context = config->log_context,
               .most = (LogSeverity)config->log_most};
}

// DLPack's type codes by ours; a type that only a run tells has bits 0.
ingot_dtype api_dtype(DType dtype) {
  uint8_t code = 0;
  switch (dtype) {
    case DTYPE_BF16: code = INGOT_BFLOAT; break;
    case DTYPE_F8E4M3FN: code = INGOT_FLOAT8_E4M3FN; break;
    case DTYPE_F8E4M3FNUZ: code = INGOT_FLOAT8_E4M3FNUZ; break;
    case DTYPE_F8E5M2: code = INGOT_FLOAT8_E5M2; break;
    case DTYPE_F8E5M2FNUZ: code = INGOT_FLOAT8_E5M2FNUZ; break;
    case DTYPE_F8E8M0: code = INGOT_FLOAT8_E8M0FNU; break;
    case DTYPE_F4E2M1: code = INGOT_FLOAT4_E2M1FN; break;
    case DTYPE_STRING: return (ingot_dtype){.code = INGOT_STRING, .bits = 8 * sizeof(char *), .lanes = 1};
    case DTYPE_COUNT: return (ingot_dtype){0};
    default:
      switch (dtype_kind(dtype)) {
        case KIND_FLOAT: code = INGOT_FLOAT; break;
        case KIND_SIGNED: code = INGOT_INT; break;
        case KIND_UNSIGNED: code = INGOT_UINT; break;
        case KIND_BOOL: code = INGOT_BOOL; break;
        default: code = INGOT_COMPLEX;
      }
  }
  return (ingot_dtype){.code = code, .bits = (uint8_t)dtype_bits(dtype), .lanes = 1};
}

bool api_dtype_from(ingot_dtype type, DType *out) {
  for (int d = 0; d < DTYPE_COUNT; d++) {
    ingot_dtype have = api_dtype((DType)d);
    if (have.bits && have.code == type.code && have.bits == type.bits && type.lanes == 1) {
      *out = (DType)d;
      return true;
    }
  }
  return false;
}

Status api_open_device(const ingot_config *config, const Log *log, bool tf32, WeightStore *weights,
                       const struct TuningDatabase *tuning, Device **out) {
  DeviceOptions options = {.index = config->device_index,
                           .threads = config->threads,
                           .parallel = config->parallel,
                           .parallel_context = config->parallel_context,
                           .tf32 = tf32,
                           .no_graph = config->no_cuda_graph,
                           .streams = config->streams,
                           .check_plans = config->check_plans,
                           .workspace_limit = config->workspace_limit,
                           .cache_directory = config->cache_directory,
                           .cuda_context = config->cuda_context,
                           .cuda_stream = config->cuda_stream,
                           .device_allocator = (const Allocator *)config->device_allocator,
                           .weights = weights,
                           .tuning = tuning,
                           .log = log};
  if (config->device != INGOT_DEVICE_CPU) {
    Status status = cuda_device_new(&options, out);
    if (!status || config->device == INGOT_DEVICE_CUDA || api_wants_gpu(config)) return status;
    log_add(log, LOG_INFO, "no usable GPU (%s): using the CPU", status_message(status));
    status_free(status);
  }
  return cpu_device_new(&options, out);
}
