// Filling the driver's table, from libcuda or from a list of symbols, and turning the driver's results into errors.
#include "cuda/driver.h"
#include <dlfcn.h>
#include <string.h>
#include "base/checked.h"
#include "cuda/library.h"

typedef struct DriverRow {
  const char *name;
  size_t offset;
  int version;
} DriverRow;

static const DriverRow driver_rows[] = {
#define DRIVER_ROW(name, exported, version, parameters) {exported, offsetof(CudaDriver, name), version},
    CUDA_DRIVER_TABLE(DRIVER_ROW)
#undef DRIVER_ROW
};

static void *lookup_in_library(const void *library, const char *name) { return dlsym((void *)library, name); }

static void *lookup_in_symbols(const void *symbols, const char *name) {
  for (const CudaSymbol *symbol = symbols; symbol->name; symbol++)
    if (strcmp(symbol->name, name) == 0) return symbol->function;
  return NULL;
}

static Status driver_fill(CudaDriver *driver, void *(*lookup)(const void *source, const char *name), const void *source) {
  for (size_t i = 0; i < COUNT_OF(driver_rows); i++) {
    const DriverRow *row = &driver_rows[i];
    void *function = lookup(source, row->name);
    if (!function && row->version == 0)
      FAIL(ERROR_UNSUPPORTED, "the CUDA driver is too old: it has no %s (11.4 or newer is needed)", row->name);
    memcpy((char *)driver + row->offset, &function, sizeof function);
  }
  return OK;
}

Status cuda_driver_from_table(Arena *arena, const CudaSymbol *symbols, const CudaDriver **out) {
  CudaDriver *driver = arena_new_of(arena, CudaDriver);
  TRY(driver_fill(driver, lookup_in_symbols, symbols));
  *out = driver;
  return OK;
}

Status cuda_driver_open(Arena *arena, const CudaDriver **out) {
  static const char *const names[] = {"libcuda.so.1", "libcuda.so", NULL};
  void *library;
  Status status = library_open("the CUDA driver", "INGOT_LIBCUDA", names, arena, &library, NULL);
  if (status) return status_context(status, "no NVIDIA GPU can be used");
  CudaDriver *driver = arena_new_of(arena, CudaDriver);
  TRY(driver_fill(driver, lookup_in_library, library));
  CudaResult result = driver->cuInit(0);
  if (result) {
    status = cuda_driver_error(driver, result, "cuInit");
    Status unsupported = status_make(ERROR_UNSUPPORTED, "no NVIDIA GPU can be used: %s", status_message(status));
    status_free(status);
    return unsupported;
  }
  *out = driver;
  return OK;
}

Status cuda_driver_error(const CudaDriver *driver, CudaResult result, const char *call) {
  const char *name = NULL, *text = NULL;
  if (driver->cuGetErrorName(result, &name) || !name) name = "unknown error";
  if (driver->cuGetErrorString(result, &text) || !text) text = "no description";
  return status_make(result == CUDA_OUT_OF_MEMORY ? ERROR_OUT_OF_MEMORY : ERROR_DEVICE, "%.*s: %s (%s, %d)",
                     (int)strcspn(call, "("), call, text, name, result);
}

bool cuda_result_is_fatal(CudaResult result) {
  // In the driver's numbering: deinitialized; uncorrectable memory and NVLink errors; faults of running kernels; destroyed contexts.
  static const CudaResult fatal[] = {4, 214, 220, 226, 700, 702, 709, 710, 714, 715, 716, 717, 718, 719, 721, 999};
  for (size_t i = 0; i < COUNT_OF(fatal); i++)
    if (result == fatal[i]) return true;
  return false;
}
