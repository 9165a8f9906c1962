// cuDNN's graph interface: everything is a descriptor with typed attributes, finalized and then read-only. Here are the numbers of the
// few that Ingot uses, and helpers that give each descriptor an owner.
#pragma once
#include "cuda/cudnn.h"

typedef enum BackendKind {
  BACKEND_POINTWISE = 0,
  BACKEND_CONVOLUTION = 1,
  BACKEND_ENGINE = 2,
  BACKEND_ENGINE_CONFIG = 3,
  BACKEND_HEURISTIC = 4,
  BACKEND_PLAN = 5,
  BACKEND_CONVOLUTION_FORWARD = 10,
  BACKEND_POINTWISE_OPERATION = 13,
  BACKEND_GRAPH = 15,
  BACKEND_VARIANT_PACK = 16,
  BACKEND_TENSOR = 17,
} BackendKind;

typedef enum BackendAttribute {
  POINTWISE_MODE = 0,
  POINTWISE_PRECISION = 1,
  CONVOLUTION_PRECISION = 100,
  CONVOLUTION_MODE = 101,
  CONVOLUTION_DILATIONS = 102,
  CONVOLUTION_STRIDES = 103,
  CONVOLUTION_POST_PADS = 104,
  CONVOLUTION_PRE_PADS = 105,
  CONVOLUTION_AXES = 106,
  HEURISTIC_MODE = 200,
  HEURISTIC_GRAPH = 201,
  HEURISTIC_RESULTS = 202,
  ENGINE_CONFIG_ENGINE = 300,
  PLAN_HANDLE = 400,
  PLAN_ENGINE_CONFIG = 401,
  PLAN_WORKSPACE = 402,
  FORWARD_ALPHA = 700,
  FORWARD_BETA = 701,
  FORWARD_CONVOLUTION = 702,
  FORWARD_W = 703,
  FORWARD_X = 704,
  FORWARD_Y = 705,
  OPERATION_POINTWISE = 750,
  OPERATION_X = 751,
  OPERATION_B = 752,
  OPERATION_Y = 753,
  GRAPH_HANDLE = 800,
  GRAPH_OPERATIONS = 801,
  TENSOR_ALIGNMENT = 900,
  TENSOR_TYPE = 901,
  TENSOR_DIMS = 902,
  TENSOR_STRIDES = 903,
  TENSOR_ID = 906,
  TENSOR_VIRTUAL = 907,
  PACK_IDS = 1000,
  PACK_POINTERS = 1001,
  PACK_WORKSPACE = 1003,
  ENGINE_INDEX = 1301,
  ENGINE_NOTES = 1303,
} BackendAttribute;

typedef enum BackendType {
  BACKEND_TYPE_HANDLE = 0,
  BACKEND_TYPE_DATA_TYPE = 1,
  BACKEND_TYPE_BOOL = 2,
  BACKEND_TYPE_I64 = 3,
  BACKEND_TYPE_F32 = 4,
  BACKEND_TYPE_F64 = 5,
  BACKEND_TYPE_POINTER = 6,
  BACKEND_TYPE_CONVOLUTION_MODE = 7,
  BACKEND_TYPE_HEURISTIC_MODE = 8,
  BACKEND_TYPE_NOTE = 11,
  BACKEND_TYPE_POINTWISE_MODE = 14,
  BACKEND_TYPE_DESCRIPTOR = 15,
} BackendType;

enum { BACKEND_POINTWISE_ADD = 0, BACKEND_POINTWISE_RELU = 100 };
typedef enum BackendHeuristic { BACKEND_HEURISTIC_FALLBACK = 2, BACKEND_HEURISTIC_A = 3 } BackendHeuristic;
typedef enum BackendNote {
  BACKEND_NOTE_TENSOR_CORE,
  BACKEND_NOTE_DOWN_CONVERTS,
  BACKEND_NOTE_REDUCED_PRECISION,
  BACKEND_NOTE_FFT,
  BACKEND_NOTE_NONDETERMINISTIC,
  BACKEND_NOTE_WINOGRAD,
  BACKEND_NOTE_WINOGRAD_4x4,
  BACKEND_NOTE_WINOGRAD_6x6,
  BACKEND_NOTE_WINOGRAD_13x13,
  BACKEND_NOTE_STRICT_NAN,
  BACKEND_NOTE_COUNT,
} BackendNote;

// A new descriptor, destroyed with the arena.
MUST_CHECK Status backend_new(const Cudnn *dnn, Arena *arena, BackendKind kind, CudnnBackend *out);
MUST_CHECK Status backend_set(const Cudnn *dnn, CudnnBackend descriptor, BackendAttribute name, BackendType type, int64_t count,
                              const void *values);
MUST_CHECK Status backend_set_descriptor(const Cudnn *dnn, CudnnBackend descriptor, BackendAttribute name, CudnnBackend value);
// *count: how many values there are, of which at most `room` were written. Descriptors among the values must exist before.
MUST_CHECK Status backend_get(const Cudnn *dnn, CudnnBackend descriptor, BackendAttribute name, BackendType type, int64_t room,
                              int64_t *count, void *values);
MUST_CHECK Status backend_finalize(const Cudnn *dnn, CudnnBackend descriptor);
