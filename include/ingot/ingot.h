/* Ingot: build an engine from an ONNX model, save it, load it, run it. The whole public interface is in this header.
 *
 *     ingot_model *model;      ingot_model_open("resnet50.onnx", NULL, &model);
 *     ingot_engine *engine;    ingot_engine_build(model, NULL, &engine);
 *     ingot_session *session;  ingot_session_create(engine, NULL, &session);
 *     ingot_session_run(session, inputs, 1, outputs, 1);
 *
 * Errors. A function that can fail returns NULL on success and otherwise an ingot_error that the caller frees. Results are
 * untouched on failure. No function exits, aborts, or prints.
 *
 * Threads. Models and engines may be used from several threads at once. A session serves one thread at a time; make one for each
 * thread: sessions share the engine's weights.
 *
 * Ownership. Every object is freed by its own _free function; NULL is accepted. An engine does not need its model any more; a
 * session keeps its engine alive. Strings returned by getters live as long as the object asked.
 */
#ifndef INGOT_H
#define INGOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define INGOT_API __attribute__((visibility("default")))

#define INGOT_VERSION_MAJOR 0
#define INGOT_VERSION_MINOR 1
#define INGOT_VERSION_PATCH 0
INGOT_API const char *ingot_version(void); /* "0.1.0" */

/* ---- Errors -------------------------------------------------------------------------------------------------------------- */

typedef struct ingot_error ingot_error;
typedef enum ingot_code {
  INGOT_OK = 0,
  INGOT_INVALID_ARGUMENT, /* the caller broke the contract of a function */
  INGOT_INVALID_MODEL,    /* the model is malformed; the message lists every problem found */
  INGOT_UNSUPPORTED,      /* well formed, but Ingot does not do it */
  INGOT_OUT_OF_MEMORY,    /* host or device memory was refused */
  INGOT_IO,               /* a file could not be opened, read or written */
  INGOT_DEVICE,           /* the CUDA driver or one of its libraries failed */
  INGOT_NOT_FOUND,        /* no input, output or device has that name */
  INGOT_CORRUPT,          /* an engine file fails its checks */
  INGOT_MISMATCH,         /* results that should agree do not */
  INGOT_CANCELLED,        /* the progress callback asked to stop */
  INGOT_INTERNAL          /* a defect of Ingot */
} ingot_code;
INGOT_API ingot_code ingot_error_code(const ingot_error *error);     /* INGOT_OK for NULL */
INGOT_API const char *ingot_error_message(const ingot_error *error); /* "" for NULL */
INGOT_API void ingot_error_free(ingot_error *error);

/* ---- Tensors: DLPack's structures, so that tensors pass to and from other libraries without a copy ----------------------- */

#ifndef DLPACK_DLPACK_H_
typedef enum { kDLCPU = 1, kDLCUDA = 2, kDLCUDAHost = 3 } DLDeviceType;
typedef struct {
  DLDeviceType device_type;
  int32_t device_id;
} DLDevice;
typedef enum {
  kDLInt = 0,
  kDLUInt = 1,
  kDLFloat = 2,
  kDLOpaqueHandle = 3,
  kDLBfloat = 4,
  kDLComplex = 5,
  kDLBool = 6,
  kDLFloat8_e4m3fn = 10,
  kDLFloat8_e4m3fnuz = 11,
  kDLFloat8_e5m2 = 12,
  kDLFloat8_e5m2fnuz = 13,
  kDLFloat8_e8m0fnu = 14,
  kDLFloat4_e2m1fn = 17
} DLDataTypeCode;
typedef struct {
  uint8_t code, bits;
  uint16_t lanes;
} DLDataType;
typedef struct {
  void *data;
  DLDevice device;
  int32_t ndim;
  DLDataType dtype;
  int64_t *shape;
  int64_t *strides; /* NULL: row-major, the only form Ingot takes and gives */
  uint64_t byte_offset;
} DLTensor;
#endif
/* Strings: code kDLOpaqueHandle, 64 bits, on the host; data is an array of `const char *`, each UTF-8 that ends in NUL. Those of inputs are
 * the caller's, those of outputs the session's, until its run after the next. */
typedef DLTensor ingot_tensor;

/* ---- Configuration ------------------------------------------------------------------------------------------------------- */

typedef enum ingot_severity {
  INGOT_INTERNAL_ERROR_MESSAGE,
  INGOT_ERROR_MESSAGE,
  INGOT_WARNING,
  INGOT_INFO,
  INGOT_VERBOSE
} ingot_severity;
typedef enum ingot_device { INGOT_DEVICE_AUTO, INGOT_DEVICE_CPU, INGOT_DEVICE_CUDA } ingot_device;

/* Precisions beyond the model's own; a bit set. Accumulation is always fp32 (int32 for 8-bit integers). */
enum { INGOT_FP16 = 1, INGOT_BF16 = 2, INGOT_TF32 = 4 };

typedef struct ingot_config {
  size_t size;                 /* sizeof(ingot_config); set by ingot_config_init */
  ingot_device device;         /* AUTO: CUDA where a usable GPU is present, else the CPU. The choice is logged */
  int device_index;            /* CUDA ordinal */
  uint32_t precision;          /* INGOT_FP16 | ... ; 0: as the model is written */
  double tuning_seconds;       /* 0: no measuring, the cost model picks. The tuner may stop at any moment */
  const char *tuning_file;     /* database of measurements, read before and merged into after tuning; NULL: none */
  size_t workspace_limit;      /* bytes one operator may use beside its tensors; 0: 256 MiB */
  size_t model_limit;          /* bytes of a model with its external data that open accepts; 0: 64 GiB */
  int threads;                 /* CPU threads of a session; 0: one for each core */
  const char *cache_directory; /* compiled kernels; NULL: $INGOT_CACHE_DIR, else $XDG_CACHE_HOME/ingot, else ~/.cache/ingot */
  const char *disabled_passes; /* comma-separated names of passes to leave out; "all": every optional one; NULL: none */
  void *cuda_context;          /* the caller's CUcontext and CUstream, or NULL: Ingot makes its own */
  void *cuda_stream;
  bool no_cuda_graph; /* launch kernel by kernel instead of replaying a CUDA graph */
  void (*log)(void *context, ingot_severity severity,
              const char *message); /* may be called from several threads; NULL: silent */
  void *log_context;
  ingot_severity log_most; /* messages less severe are dropped */
  /* Called now and then during long work; seconds_left is negative where unknown. Returning false cancels. */
  bool (*progress)(void *context, const char *stage, double fraction, double seconds_left);
  void *progress_context;
} ingot_config;
INGOT_API void ingot_config_init(ingot_config *config); /* defaults; a NULL config anywhere means these */

/* ---- Models -------------------------------------------------------------------------------------------------------------- */

typedef struct ingot_model ingot_model;
INGOT_API ingot_error *ingot_model_open(const char *path, const ingot_config *config, ingot_model **out);
/* folder: where external data is looked for; NULL refuses it. The bytes may be freed afterwards. */
INGOT_API ingot_error *ingot_model_open_memory(const void *bytes, size_t size, const char *folder, const ingot_config *config,
                                               ingot_model **out);
INGOT_API void ingot_model_free(ingot_model *model);
INGOT_API char *ingot_model_text(
    const ingot_model *model); /* the imported graph, before any pass; free() it; NULL if out of memory */

/* ---- Engines ------------------------------------------------------------------------------------------------------------- */

typedef struct ingot_engine ingot_engine;
INGOT_API ingot_error *ingot_engine_build(const ingot_model *model, const ingot_config *config, ingot_engine **out);
INGOT_API ingot_error *ingot_engine_save(const ingot_engine *engine, const char *path);
INGOT_API ingot_error *ingot_engine_load(const char *path, const ingot_config *config, ingot_engine **out);
INGOT_API void ingot_engine_free(ingot_engine *engine);

/* Inputs and outputs, by number. A dim of -1 is not known beforehand; ingot_engine_dim_name says what it is called. */
typedef struct ingot_binding {
  const char *name;
  DLDataType dtype;
  const char *dtype_name; /* "f32", "i64", "f8e4m3fn" ...; "unknown" where only a run tells */
  int rank;               /* -1: not known beforehand */
  int64_t dims[8];
} ingot_binding;
INGOT_API int ingot_engine_input_count(const ingot_engine *engine);
INGOT_API int ingot_engine_output_count(const ingot_engine *engine);
INGOT_API ingot_binding ingot_engine_input(const ingot_engine *engine, int index);
INGOT_API ingot_binding ingot_engine_output(const ingot_engine *engine, int index);
INGOT_API const char *ingot_engine_dim_name(const ingot_engine *engine, bool output, int index,
                                            int axis);         /* "batch", "2*seq"; "" if fixed */
INGOT_API char *ingot_engine_text(const ingot_engine *engine); /* the optimised graph; free() it; NULL if out of memory */
typedef struct ingot_pass_report {
  const char *name;
  int changes;
  double seconds;
  int nodes_after;
} ingot_pass_report;
/* What each pass did when the engine was built, in order; seconds are 0 for an engine from a file. Fills at most `limit`, returns how
 * many there are. */
INGOT_API int ingot_engine_passes(const ingot_engine *engine, ingot_pass_report *out, int limit);

/* ---- Sessions ------------------------------------------------------------------------------------------------------------ */

typedef struct ingot_session ingot_session;
INGOT_API ingot_error *ingot_session_create(ingot_engine *engine, const ingot_config *config, ingot_session **out);
INGOT_API void ingot_session_free(ingot_session *session);
INGOT_API const char *ingot_session_device(const ingot_session *session); /* "NVIDIA H200 (CUDA device 0, sm_90)" */

/* Plans and compiles for these input shapes now rather than at the first run: shapes[i] has the rank of input i. */
INGOT_API ingot_error *ingot_session_set_shapes(ingot_session *session, const int64_t *const *shapes, int count);

/* Runs the model. Inputs come in the engine's order, on the host or on the session's device. outputs[i] with data set receives the
 * result there (host or device memory large enough; shape is filled in if not NULL); with data NULL, Ingot points data, shape, ndim and
 * dtype at memory of the session, on the device that outputs[i].device names, valid until the next run (which may be given the same array). Returns when
 * host outputs are written; with device outputs only, the work is enqueued on the session's stream. */
INGOT_API ingot_error *ingot_session_run(ingot_session *session, const ingot_tensor *inputs, int input_count,
                                         ingot_tensor *outputs, int output_count);
INGOT_API ingot_error *ingot_session_synchronize(ingot_session *session);

typedef struct ingot_memory {
  size_t weights;  /* bytes; shared by all sessions of the engine */
  size_t arena;    /* temporaries, packed */
  size_t unpacked; /* what the temporaries would take without reuse */
} ingot_memory;
INGOT_API ingot_memory ingot_session_memory(const ingot_session *session); /* of the shapes set or run last */

/* One profiled run: the time of each step. Fills at most `limit` steps and sets *count to how many there are. */
typedef struct ingot_step {
  const char *name, *op, *tactic, *origins;
  double milliseconds;
} ingot_step;
INGOT_API ingot_error *ingot_session_profile(ingot_session *session, const ingot_tensor *inputs, int input_count,
                                             ingot_step *out, int limit, int *count);

/* How long one inference takes when runs are enqueued back to back, inputs and outputs staying where they are: the median over
 * batches of runs, in milliseconds, measured for about `seconds`. */
INGOT_API ingot_error *ingot_session_time(ingot_session *session, const ingot_tensor *inputs, int input_count, double seconds,
                                          double *milliseconds);

#ifdef __cplusplus
}
#endif
#endif
