/* Ingot: build an engine from an ONNX model, save it, load it, run it. The whole public interface is in this header.
 *
 *     ingot_model *model;      ingot_model_open("resnet50.onnx", NULL, &model);
 *     ingot_engine *engine;    ingot_engine_build(model, NULL, &engine);
 *     ingot_session *session;  ingot_session_create(engine, NULL, &session);
 *     ingot_session_run(session, inputs, 1, outputs, 1);
 *
 * Errors. A function that can fail returns NULL on success and otherwise an ingot_error that the caller frees. Results are
 * untouched on failure. No function exits, aborts, or prints. A NULL where something is needed, a negative count and an unknown
 * number in an enum are errors like any other; getters, which return no error, then give NULL, "", 0 or -1 as is said beside them.
 *
 * Threads. Models and engines may be used from several threads at once. A session serves one thread at a time; make one for each
 * thread: sessions share the engine's weights.
 *
 * Ownership. Every object is freed by its own _free function; NULL is accepted. An engine does not need its model any more; a
 * session keeps its engine alive. Strings and arrays returned by getters live as long as the object asked.
 *
 * Callbacks (log, progress, allocators, parallel) run in the locale and the floating-point mode of the caller, whatever Ingot computes in, and
 * what they change of these stays changed.
 *
 * Callbacks return. One that throws a C++ exception through Ingot, or leaves by longjmp, leaves locks held and memory lost: the objects of
 * that call, and the process's use of Ingot, are undefined afterwards. Catch inside, return false from progress, and throw when the call is back.
 *
 * Fork. A child process may use models and engines, if no other thread was in a call of Ingot when it was forked. Sessions stay the
 * parent's: in the child their functions fail, and freeing them does nothing. New sessions on the CPU work in the child; on a GPU they do
 * where the parent had none, else they fail as CUDA has it. Nothing hangs.
 *
 * Trust. Models are strangers' files: bounded and checked. So is what an engine holds, except its kernels, which are machine code: see
 * untrusted_engine for engines of strangers.
 *
 * Growth. Structs that callers fill in begin with their size: later versions add fields at the end and go on understanding the
 * shorter structs of older callers. What Ingot describes, it describes through getters.
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
  INGOT_CANCELLED,        /* the caller, or its progress callback, asked to stop */
  INGOT_INTERNAL,         /* a defect of Ingot */
  INGOT_LIMIT             /* a limit of the configuration was reached */
} ingot_code;
INGOT_API ingot_code ingot_error_code(const ingot_error *error);     /* INGOT_OK for NULL */
INGOT_API const char *ingot_error_message(const ingot_error *error); /* "" for NULL */
INGOT_API void ingot_error_free(ingot_error *error);

/* ---- Tensors: in memory the same as DLPack's, under names of Ingot's own, so that any version of dlpack.h may be included before or
 * after this header. `(const ingot_tensor *)&dl_tensor` is how a DLTensor comes in, and the same the other way how one goes out. ---- */

enum { INGOT_CPU = 1, INGOT_CUDA = 2, INGOT_CUDA_HOST = 3 }; /* kDLCPU, kDLCUDA, kDLCUDAHost */
typedef struct ingot_place {
  int32_t device_type; /* INGOT_CPU ... */
  int32_t device_id;   /* the CUDA ordinal; of the host 0 */
} ingot_place;

enum { /* kDLInt ... */
       INGOT_INT = 0,
       INGOT_UINT = 1,
       INGOT_FLOAT = 2,
       INGOT_STRING = 3, /* kDLOpaqueHandle, see below */
       INGOT_BFLOAT = 4,
       INGOT_COMPLEX = 5,
       INGOT_BOOL = 6,
       INGOT_FLOAT8_E4M3FN = 10,
       INGOT_FLOAT8_E4M3FNUZ = 11,
       INGOT_FLOAT8_E5M2 = 12,
       INGOT_FLOAT8_E5M2FNUZ = 13,
       INGOT_FLOAT8_E8M0FNU = 14,
       INGOT_FLOAT4_E2M1FN = 17,
       INGOT_TENSORS = 128 /* not DLPack's: a sequence, see below */
};
typedef struct ingot_dtype {
  uint8_t code, bits; /* INGOT_FLOAT and 32; 4- and 2-bit numbers take a byte each. bits 0: DLPack has no such type */
  uint16_t lanes;     /* 1 */
} ingot_dtype;

typedef struct ingot_tensor {
  void *data;
  ingot_place device;
  int32_t ndim;
  ingot_dtype dtype;
  int64_t *shape;   /* ndim of them */
  int64_t *strides; /* NULL, or those of a row-major tensor: the only form Ingot takes and gives */
  uint64_t byte_offset;
} ingot_tensor;
/* Strings: code INGOT_STRING, 64 bits, on the host; data is an array of `const char *`, each UTF-8 that ends in NUL. Those of inputs are
 * the caller's, those of outputs the session's, until its run after the next.
 *
 * Sequences, of inputs: code INGOT_TENSORS, 64 bits, on the host; ndim is 1, shape[0] the number of elements, and data an array of
 * ingot_tensor, each like an input of its own, of the same element type. An optional without an element: data NULL, ndim 0, bits 0. Results of
 * these kinds are read by ingot_session_output_element. */

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

/* A way to stop calls from another thread: every call whose configuration names it ends with INGOT_CANCELLED soon after a request, those that
 * begin later too, until it is reset. May be shared by any number of calls, and must outlive them and the sessions made with it. */
typedef struct ingot_cancellation ingot_cancellation;
INGOT_API ingot_cancellation *ingot_cancellation_new(void);                  /* NULL if out of memory */
INGOT_API void ingot_cancellation_request(ingot_cancellation *cancellation); /* from any thread, or a signal handler */
INGOT_API void ingot_cancellation_reset(ingot_cancellation *cancellation);
INGOT_API void ingot_cancellation_free(ingot_cancellation *cancellation);

/* Memory of the caller's. The struct and what stands behind it outlive every object made with it. Functions are called from any thread and
 * may not call Ingot. */
typedef struct ingot_allocator {
  size_t size; /* sizeof(ingot_allocator) */
  /* bytes, never 0, on an address that is a multiple of alignment: a power of two, at most 64 on the host, 256 on a device. NULL: refused. */
  void *(*allocate)(void *context, size_t bytes, size_t alignment);
  void (*release)(void *context, void *memory, size_t bytes); /* what allocate gave, and for how many bytes */
  void *context;
} ingot_allocator;

/* One configuration may serve all calls: each uses what concerns it, and all refuse values that make no sense (an unknown number or bit, a
 * pass that does not exist, a negative count). What is asked for and cannot be had is refused, not ignored:
 *
 *                                    opening   building          loading, sessions
 *   device, device_index,            -         used              loading: -; sessions: used. An index, a context or a stream with
 *     cuda_context, cuda_stream                                  device CPU is refused, and with AUTO the CPU is then no substitute
 *   no_cuda_graph                    -         -                 sessions: used on a GPU; refused with device CPU
 *   streams                          -         for the plans     sessions: used on a GPU, where the engine's plan has more: put on
 *                                              it makes; refused fewer; refused with device CPU
 *                                              with device CPU
 *   precision, disabled_passes       -         used              refused where the engine was built without them. Passes left out are
 *                                                                left out of what sessions optimise later, too
 *   tuning_seconds, tuning_file,     -         used; on the CPU  refused where the engine was built without any of them
 *     tuning_shapes                            refused, seconds
 *                                              of open shapes too
 *   targets                          -         used; refused     -
 *                                              with device CPU
 *                                              and with seconds
 *   workspace_limit                  -         used              sessions: used
 *   model_limit                      used      -                 loading: bytes of the engine
 *   threads                          -         to compile; plan  loading: used; sessions: used; on a GPU to compile kernels and to
 *                                              for on a CPU      bring weights into their form
 *   cache_directory                  -         used on a GPU     sessions: used on a GPU
 *   untrusted_engine                 -         -                 used on a GPU: kernels are all that is code in an engine,
 *                                                                and its plans for a GPU, which launch them, are left with them
 *   plan_cache_limit                 -         -                 sessions: used
 *   check_plans                      -         -                 sessions: used
 *   host_allocator                   used      used              used
 *   device_allocator                 -         used to tune      sessions: used on a GPU; refused with device CPU
 *   log, progress, limits            used      used              used; sessions keep them for their runs
 */
typedef struct ingot_config {
  size_t size;           /* of the struct as the caller knows it; set by ingot_config_init */
  ingot_device device;   /* AUTO: CUDA where a usable GPU is present, else the CPU. The choice is logged */
  int device_index;      /* CUDA ordinal */
  uint32_t precision;    /* INGOT_FP16 | ... ; 0: as the model is written */
  double tuning_seconds; /* 0: no measuring, the cost model picks. The tuner may stop at any moment; at last it measures the
                              whole, with what it found and without, and keeps what is faster */
  const char *
      tuning_file; /* database of measurements: read before, and each is added when it is made, so that whatever ends the tuning loses
                              one at most. What it knows is not measured again, what was measured with other kernels or libraries is
                              told of in the log and left out. Several processes may tune into one file. NULL: none */
  size_t workspace_limit;      /* bytes one operator may use beside its tensors; 0: 256 MiB on a GPU, no limit on a CPU */
  size_t model_limit;          /* bytes of a model with its external data, or of an engine, that is accepted; 0: 64 GiB */
  int threads;                 /* CPU threads, at most 1024; 0: one for each core */
  const char *cache_directory; /* compiled kernels; NULL: $INGOT_CACHE_DIR, else $XDG_CACHE_HOME/ingot, else ~/.cache/ingot */
  const char *
      disabled_passes; /* comma-separated: what to leave out, PASS, RULE or "all", or at one node of the model, RULE@NODE; NULL or "": none. inline_regions cannot be left out */
  void *cuda_context;  /* the caller's CUcontext and CUstream, or NULL: Ingot makes its own */
  void *cuda_stream;
  bool no_cuda_graph; /* launch kernel by kernel instead of replaying a CUDA graph */
  void (*log)(void *context, ingot_severity severity,
              const char *message); /* may be called from several threads; NULL: silent */
  void *log_context;
  ingot_severity log_most; /* messages less severe are dropped */
  /* Called on the calling thread during "opening", "passes", "compiling", "tuning" and "running": when a stage begins, and at least ten
   * times a second while work lasts and while a GPU is waited for, of what a call of a library (oneDNN, cuDNN) takes in one piece excepted.
   * It may not call Ingot, but for ingot_cancellation_request.
   * fraction is how much of the stage is done, 0 where that is unknown; seconds_left is negative where unknown. Returning false cancels. */
  bool (*progress)(void *context, const char *stage, double fraction, double seconds_left);
  void *progress_context;
  /* Limits of one call that opens, builds, loads, prepares or runs; exceeding one ends it with INGOT_LIMIT, and the object may go on
   * to be used. What ends a call does not interrupt a kernel that NVRTC is compiling, nor what a GPU was given to do: the call waits for
   * the one, and for the other where it has to give memory back; else the GPU goes on, and device memory of the caller's that the call was
   * given is in use until ingot_session_synchronize or ingot_session_free has returned. Memory is that of the host which the model being opened, the engine being built or the session holds at once: graphs, plans, tensors,
   * scratch; of a mapped file's pages nothing, of libraries (oneDNN, the CUDA driver) nothing. */
  size_t memory_limit;              /* bytes; 0: none */
  double time_limit;                /* seconds; 0: none */
  ingot_cancellation *cancellation; /* NULL: none */
  /* Bytes of the plans that a session remembers, one for each combination of shapes it met: descriptions and generated code, on the host and
   * the GPU together; beside weights, which are one copy, the arena, which is that of the largest plan, and memory of inputs and results, which
   * calls of all shapes share. Under a memory_limit they have at most half of what nothing else takes, and a run that it ends all the same is begun
   * again without anything that is remembered. Those used least recently go first, with the kernels that no other plan uses; the one in use always stays. Of kernels that no plan
   * uses any more, 16 MiB are kept in memory. 0: 256 MiB */
  size_t plan_cache_limit;
  /* An engine's kernels are machine code, which nothing can check. true: those that a loaded engine brings are ignored, and what a session
   * needs is compiled anew from text that Ingot itself makes (or found in the cache of this user). The rest of an engine is data, and checked. */
  bool untrusted_engine;
  /* Where large memory comes from. The host's: graphs, plans, weights that are not mapped from a file, packed weights, temporaries, tensors,
   * lent results (not: small objects, error messages, strings that are free()d, a library's own). The device's: all that Ingot takes there;
   * called with the device's context current. NULL: malloc, the CUDA driver. */
  const ingot_allocator *host_allocator, *device_allocator;
  /* "ids:1x128,mask:1x128": shapes to tune for, and to plan and compile kernels for, where the model leaves them open; NULL: as the model declares them.
   * "ids:1..8x16..512": sizes from the least to the most, "1..4..8" with the one to tune for between them (else it is the most). Kernels are then compiled for all shapes in
   * the ranges, but for steps whose kernels have sizes written into them (docs/architecture.md, "Specialise, then plan"): those compile when a shape is met. Other shapes run as well, and compile what is missing. What is said of a size holds wherever the model calls it by the same name. */
  const char *tuning_shapes;
  /* The caller's threads, for a session on the CPU; NULL: the session makes its own, which spin for at most 20 us for more work and then sleep.
   * Calls task(argument, 0) ... task(argument, count - 1), each once, in whichever threads and at the same time or one after the
   * other, and returns when all have returned. count is at most `threads`. Called by the thread that runs the session, from several at
   * once if several sessions share it; a task never calls it. What a task does in it must not throw or be cancelled. */
  void (*parallel)(void *context, int count, void (*task)(void *argument, int index), void *argument);
  void *parallel_context;
  /* Every plan is printed, read back from its text and compared before it runs, and what runs is what was read: for whoever works on Ingot. */
  bool check_plans;
  /* "sm_80,sm_89,H100": GPUs to build for that need not be here, by architecture (sm_75, sm_80, ...; the first chip of one stands for it) or by chip:
   * for each the engine gets the plan of the declared shapes, or of tuning_shapes, made of Ingot's own kernels, and the kernels. Takes NVRTC,
   * and neither a driver nor a GPU. The same bytes each time. NULL: the engine is built for the device at hand. */
  const char *targets;
  /* Branches of a model that need nothing of each other may run side by side on a GPU, on so many streams at most, inside of the one CUDA graph that a
   * run is; a plan does so where that is predicted to be faster. 1 to 4; 1: everything runs one after the other; 0: 4. Launches without a graph are
   * one after the other in any case. Results are the same bits. */
  int streams;
} ingot_config;
/* Sets defaults; a NULL config anywhere means these. An error, with the struct zeroed, where the caller's struct is larger than this
 * library knows: the program was compiled for a newer Ingot than it runs with. Never writes more than `size` bytes. */
INGOT_API ingot_error *ingot_config_init_sized(ingot_config *config, size_t size);
static inline ingot_error *ingot_config_init(ingot_config *config) { return ingot_config_init_sized(config, sizeof *config); }

/* ---- Models -------------------------------------------------------------------------------------------------------------- */

typedef struct ingot_model ingot_model;
/* The model's file and its files of external data are mapped until the model is freed: nobody may shorten or rewrite them before (SIGBUS).
 * Engines have copies of what they need. A pipe or a socket (/dev/stdin, /dev/fd/63) is read to its end, within the limits of the call,
 * model_limit and 4 GiB; it has no external data. */
INGOT_API ingot_error *ingot_model_open(const char *path, const ingot_config *config, ingot_model **out);
/* folder: where external data is looked for; NULL refuses it. The bytes may be freed afterwards. */
INGOT_API ingot_error *ingot_model_open_memory(const void *bytes, size_t size, const char *folder, const ingot_config *config,
                                               ingot_model **out);
INGOT_API void ingot_model_free(ingot_model *model);
/* What the file says of itself, "" where it does not; its version (0); and the notes that its maker gave it (metadata_props), by number: the name,
 * NULL where there is none of that number, and in *value, if value is not NULL, the text. Engines do not have it. */
typedef enum ingot_property {
  INGOT_MODEL_PRODUCER,
  INGOT_MODEL_PRODUCER_VERSION,
  INGOT_MODEL_DOMAIN,
  INGOT_MODEL_DESCRIPTION,
  INGOT_MODEL_GRAPH,
  INGOT_MODEL_GRAPH_DESCRIPTION
} ingot_property;
INGOT_API const char *ingot_model_property(const ingot_model *model, ingot_property property);
INGOT_API int64_t ingot_model_version(const ingot_model *model);
INGOT_API const char *ingot_model_note(const ingot_model *model, int index, const char **value);
/* The imported graph, before any pass; free() it; NULL if out of memory. */
INGOT_API char *ingot_model_text(const ingot_model *model);

/* ---- Engines ------------------------------------------------------------------------------------------------------------- */

typedef struct ingot_engine ingot_engine;
INGOT_API ingot_error *ingot_engine_build(const ingot_model *model, const ingot_config *config, ingot_engine **out);
INGOT_API ingot_error *ingot_engine_save(const ingot_engine *engine, const char *path);
/* The file is read whole into memory of the engine's own, and may be changed, shortened or removed afterwards. It may be a pipe. */
INGOT_API ingot_error *ingot_engine_load(const char *path, const ingot_config *config, ingot_engine **out);
/* The same bytes as a file would have. *bytes is the caller's: free() it. */
INGOT_API ingot_error *ingot_engine_save_memory(const ingot_engine *engine, void **bytes, size_t *size);
/* The bytes are copied and may be freed afterwards. */
INGOT_API ingot_error *ingot_engine_load_memory(const void *bytes, size_t size, const ingot_config *config, ingot_engine **out);
INGOT_API void ingot_engine_free(ingot_engine *engine);

/* Inputs and outputs, by number; NULL where there is none of that number. */
typedef struct ingot_binding ingot_binding;
INGOT_API int ingot_engine_input_count(const ingot_engine *engine);
INGOT_API int ingot_engine_output_count(const ingot_engine *engine);
INGOT_API const ingot_binding *ingot_engine_input(const ingot_engine *engine, int index);
INGOT_API const ingot_binding *ingot_engine_output(const ingot_engine *engine, int index);
INGOT_API const char *ingot_binding_name(const ingot_binding *binding);
/* What kind of value it is. Of an INGOT_SEQUENCE or an INGOT_OPTIONAL dtype is that of the tensors in it, and rank -1. */
typedef enum ingot_kind {
  INGOT_NOTHING, /* as a result: an optional without an element. Of no binding or output of that number */
  INGOT_TENSOR,
  INGOT_SEQUENCE, /* of tensors, each of a shape of its own */
  INGOT_OPTIONAL  /* of a binding: one of the other three, which the caller or the run decides */
} ingot_kind;
INGOT_API ingot_kind ingot_binding_kind(const ingot_binding *binding);
INGOT_API ingot_dtype ingot_binding_dtype(const ingot_binding *binding);      /* bits 0 where only a run tells */
INGOT_API const char *ingot_binding_dtype_name(const ingot_binding *binding); /* "f32", "i64", "f8e4m3fn" ...; "unknown" */
INGOT_API int ingot_binding_rank(const ingot_binding *binding);               /* -1: not known beforehand */
INGOT_API const int64_t *ingot_binding_dims(const ingot_binding *binding);    /* rank of them; -1: not known beforehand */
INGOT_API const char *ingot_binding_dim_name(const ingot_binding *binding, int axis); /* "batch", "2*seq"; "" if fixed */
/* Of an input that the model has a default for (since version 4 of the file format, an initializer that is also an input). A run may leave
 * it out: past the end of its inputs, or as a tensor with data NULL and ndim 0. Then it is a constant like any other, and the session
 * optimises with it when it meets the call's shapes; engines of such models are therefore not optimised while they are built, unless
 * a precision is asked for. A value that is given counts for that run. */
INGOT_API bool ingot_binding_has_default(const ingot_binding *binding);
INGOT_API char *ingot_engine_text(const ingot_engine *engine); /* the optimised graph; free() it; NULL if out of memory */

/* What each pass did when the engine was built, in order; NULL where there is none of that number. */
typedef struct ingot_pass ingot_pass;
INGOT_API int ingot_engine_pass_count(const ingot_engine *engine);
INGOT_API const ingot_pass *ingot_engine_pass(const ingot_engine *engine, int index);
INGOT_API const char *ingot_pass_name(const ingot_pass *pass);
INGOT_API int ingot_pass_changes(const ingot_pass *pass);
INGOT_API int ingot_pass_nodes_before(const ingot_pass *pass);
INGOT_API int ingot_pass_nodes_after(const ingot_pass *pass);
INGOT_API double ingot_pass_seconds(const ingot_pass *pass); /* 0 of an engine from a file */

/* What the rules of the passes did when the engine was built, one application after the other, which is kept in its file too. The place is
 * the name of an ONNX node; before and after are the operators of the nodes that went and came, like "pad, conv" and "conv". */
typedef struct ingot_rewrite ingot_rewrite;
INGOT_API int ingot_engine_rewrite_count(const ingot_engine *engine);
INGOT_API const ingot_rewrite *ingot_engine_rewrite(const ingot_engine *engine, int index);
INGOT_API const char *ingot_rewrite_pass(const ingot_rewrite *rewrite);
INGOT_API const char *ingot_rewrite_rule(const ingot_rewrite *rewrite);
INGOT_API const char *ingot_rewrite_place(const ingot_rewrite *rewrite);
INGOT_API const char *ingot_rewrite_before(const ingot_rewrite *rewrite);
INGOT_API const char *ingot_rewrite_after(const ingot_rewrite *rewrite);

/* Plans that the engine holds, each for the shapes that the model declares, or that were given to tune for, where nothing else decides about a call. A
 * session on such a device takes its plan as it is (of several, that of the GPU most like it), and makes one anew where what the plan depends on is another there; the log says why. */
typedef struct ingot_plan ingot_plan;
INGOT_API int ingot_engine_plan_count(const ingot_engine *engine);
INGOT_API const ingot_plan *ingot_engine_plan(const ingot_engine *engine,
                                              int index);       /* NULL where there is none of that number */
INGOT_API const char *ingot_plan_needs(const ingot_plan *plan); /* what it depends on: "plan version 2, sm_90" */
INGOT_API int ingot_plan_multiprocessors(
    const ingot_plan *plan);                                   /* of the GPU it was made for, or the CPU's threads; 0 of none */
INGOT_API const char *ingot_plan_text(const ingot_plan *plan); /* as ingot_session_plan_text gives it; the engine's */
/* Steps of the plan; launches of kernels in them; and how many of those are of kernels that the engine does not bring along. */
INGOT_API int ingot_plan_steps(const ingot_engine *engine, const ingot_plan *plan);
INGOT_API int ingot_plan_kernels(const ingot_engine *engine, const ingot_plan *plan);
INGOT_API int ingot_plan_missing_kernels(const ingot_engine *engine, const ingot_plan *plan);

/* ---- Sessions ------------------------------------------------------------------------------------------------------------ */

typedef struct ingot_session ingot_session;
INGOT_API ingot_error *ingot_session_create(ingot_engine *engine, const ingot_config *config, ingot_session **out);
INGOT_API void ingot_session_free(ingot_session *session);
INGOT_API const char *ingot_session_device(const ingot_session *session); /* "NVIDIA H200 (CUDA device 0, sm_90)" */

/* Plans and compiles for these input shapes now rather than at the first run: shapes[i] has the rank of input i,
 * or is NULL to leave out an input that has a default. Inputs whose rank is not known beforehand, sequences and optionals among them, are
 * refused. */
INGOT_API ingot_error *ingot_session_set_shapes(ingot_session *session, const int64_t *const *shapes, int count);

/* Runs the model. Inputs come in the engine's order, on the host or on the session's device; what the session lent at the run before may
 * be among them. outputs is only written to: each comes on the host, in memory that the session lends until its next run or its end. */
INGOT_API ingot_error *ingot_session_run(ingot_session *session, const ingot_tensor *inputs, int input_count,
                                         ingot_tensor *outputs, int output_count);

/* Where a result is to go, for a caller who wants it elsewhere than ingot_session_run puts it. */
typedef enum ingot_owner {
  INGOT_OWNED_BY_SESSION, /* lent until the next run, where tensor.device says: on the host or the session's GPU. The rest of tensor
                             is only written to */
  INGOT_OWNED_BY_CALLER /* written to tensor.data + tensor.byte_offset, on the host or the session's GPU */
} ingot_owner;
typedef struct ingot_output {
  size_t size; /* sizeof(ingot_output), in each element */
  ingot_owner owner;
  /* Of the caller's memory: with capacity 0, ndim, shape and dtype say what is there, and the result must be exactly that. */
  ingot_tensor tensor;
  size_t
      capacity; /* bytes from tensor.data + byte_offset on. Then ndim, dtype and (lent, as above) shape are set to the result's */
} ingot_output;
/* As ingot_session_run. A result that does not fit what its caller's memory was said to be, strides that are not row-major, memory that
 * overlaps an input, another output or what the session lent are refused, and then none of the outputs is written to. (Only a device
 * that fails in the middle of a run leaves the caller's device memory undefined.) Returns when all results on the host are there; with
 * results on the GPU only, when the work is enqueued on the session's stream. */
INGOT_API ingot_error *ingot_session_run_into(ingot_session *session, const ingot_tensor *inputs, int input_count,
                                              ingot_output *outputs, int output_count);
INGOT_API ingot_error *ingot_session_synchronize(ingot_session *session);

/* Order between a session on a GPU and a stream of the caller's, a CUstream of the same context (1 and NULL: the legacy default stream). Nobody
 * waits on the host. follow: what the session is given from now on begins when what the stream holds now is done, like the making of an input.
 * precede: what the stream is given from now on begins when what the session was given is done, like the reading of a result, or memory that was
 * an input being written to again. A session on the CPU refuses both. */
INGOT_API ingot_error *ingot_session_follow(ingot_session *session, void *cuda_stream);
INGOT_API ingot_error *ingot_session_precede(ingot_session *session, void *cuda_stream);
/* ingot_session_follow, ingot_session_run_into and ingot_session_precede in one call: the run comes behind what the stream holds now and in front of
 * what it is given afterwards, also where it fails after work was enqueued. */
INGOT_API ingot_error *ingot_session_run_ordered(ingot_session *session, void *cuda_stream, const ingot_tensor *inputs,
                                                 int input_count, ingot_output *outputs, int output_count);

/* What the last run made of an output: not INGOT_OPTIONAL, since an optional with an element is that element. One that is no tensor has
 * data NULL and bits 0 where ingot_session_run describes it, is always lent, and is read here. */
INGOT_API ingot_kind ingot_session_output_kind(const ingot_session *session, int index);
INGOT_API int ingot_session_output_length(const ingot_session *session, int index); /* of a sequence; else 0 */
/* On the host, lent until the next run. */
INGOT_API ingot_error *ingot_session_output_element(ingot_session *session, int index, int element, ingot_tensor *out);

/* Takes a result that the last run lent: its memory is no longer the session's, which runs on without it. It stays where the run described it
 * (tensor.data, on the host or the GPU), until ingot_result_free, which comes before the session's end. A result that is no tensor, strings and
 * memory of the caller's are refused. Freeing one on the host is done by any thread at any time; freeing one on a GPU is a call of the session like
 * any other, and what the session's stream was given before may still use the memory. */
typedef struct ingot_result ingot_result;
INGOT_API ingot_error *ingot_session_take_output(ingot_session *session, int index, ingot_result **out);
INGOT_API void ingot_result_free(ingot_result *result);

/* Page-locked memory of the host, which a GPU reads and writes itself: what lies there, inputs and outputs of the caller's of 128 KiB and more, is not
 * copied on its way. (Such memory of others, by cuMemHostAlloc or PyTorch's pin_memory, is recognised as well.) Its pages are nobody else's until it is
 * freed, by any thread and before the caller's CUcontext if the configuration names one. config: whose GPU, by device, device_index and cuda_context;
 * NULL: the first. Ends where there is no GPU with INGOT_UNSUPPORTED, for INGOT_DEVICE_CPU with INGOT_INVALID_ARGUMENT. */
typedef struct ingot_pinned ingot_pinned;
INGOT_API ingot_error *ingot_pinned_new(const ingot_config *config, size_t bytes, ingot_pinned **out);
INGOT_API void *ingot_pinned_data(const ingot_pinned *memory);
INGOT_API void ingot_pinned_free(ingot_pinned *memory);

/* Bytes of memory, for the shapes set or run last. */
typedef enum ingot_memory {
  INGOT_MEMORY_WEIGHTS, /* shared by all sessions of the engine */
  INGOT_MEMORY_ARENA,   /* temporaries, packed */
  INGOT_MEMORY_UNPACKED /* what the temporaries would take without reuse */
} ingot_memory;
INGOT_API size_t ingot_session_memory(const ingot_session *session, ingot_memory kind); /* 0 of an unknown kind */

/* One profiled run: the time of each step, as far as the shapes of the call decide them: what depends on data (loops, sizes that a result
 * decides) is left out. A profile stands alone: the session may run, or end, before it is freed. */
typedef struct ingot_profile ingot_profile;
INGOT_API ingot_error *ingot_session_profile(ingot_session *session, const ingot_tensor *inputs, int input_count,
                                             ingot_profile **out);
INGOT_API void ingot_profile_free(ingot_profile *profile);
INGOT_API int ingot_profile_step_count(const ingot_profile *profile);
INGOT_API const char *ingot_profile_name(const ingot_profile *profile, int step); /* of the value it computes */
INGOT_API const char *ingot_profile_op(const ingot_profile *profile, int step);
INGOT_API const char *ingot_profile_tactic(const ingot_profile *profile, int step);
INGOT_API const char *ingot_profile_origins(const ingot_profile *profile, int step); /* "conv1 (Conv), relu1 (Relu)" */
INGOT_API double ingot_profile_milliseconds(const ingot_profile *profile, int step);
/* What the cost model says of the step in milliseconds, from its work and the device's rates alone: nothing of it was measured here. 0 for a
 * step that there is not. */
INGOT_API double ingot_profile_predicted(const ingot_profile *profile, int step);
/* Which of the plan's streams the step is on, from 0: those on different ones may run side by side, where runs are recorded as CUDA graphs (`streams`
 * in the configuration). 0 for a step that there is not. */
INGOT_API int ingot_profile_stream(const ingot_profile *profile, int step);

/* How long one inference takes when runs are enqueued back to back, inputs and outputs staying where they are: the median over
 * batches of runs, in milliseconds, measured for about `seconds`. */
INGOT_API ingot_error *ingot_session_time(ingot_session *session, const ingot_tensor *inputs, int input_count, double seconds,
                                          double *milliseconds);

/* The plan that a call with these inputs follows, as far as their shapes decide it, as text: buffers, then steps with the ONNX nodes they came
 * from and what each launches. Made, where it is not yet, but not run. The same each time; free() it. */
INGOT_API ingot_error *ingot_session_plan_text(ingot_session *session, const ingot_tensor *inputs, int input_count, char **out);

/* Why steps of that plan are computed as they are, as text or as JSON: of each the chosen implementation and way and what chose it, then every
 * implementation there is for it, with what it lacks to take the step, or its ways, each with what the cost model says and what measuring said. What
 * tuning tried and left out is known while the engine is the object that was built, not from a file. site: an ONNX node that steps came from, the name
 * of a step's result, or a step's number; INGOT_NOT_FOUND where there is none. Ways are made for it, and nothing runs; free() the text. */
INGOT_API ingot_error *ingot_session_explain(ingot_session *session, const ingot_tensor *inputs, int input_count,
                                             const char *site, bool json, char **out);

#ifdef __cplusplus
}
#endif
#endif
