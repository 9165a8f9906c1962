// cuDNN 9, opened at run time: NVIDIA's convolutions. Two interfaces are used: the classic one (descriptors, algorithms, a fixed
// fusion of bias, addition and activation) and the graph one (operation graphs, for which engines are compiled at run time).
// A handle serves one thread at a time, so calls that enqueue work hold its mutex.
#pragma once
#include <pthread.h>
#include "base/arena.h"
#include "cuda/driver.h"

typedef int CudnnResult;
typedef struct cudnnContext *CudnnHandle;
typedef struct cudnnTensorStruct *CudnnTensor;
typedef struct cudnnFilterStruct *CudnnFilter;
typedef struct cudnnConvolutionStruct *CudnnConvolution;
typedef struct cudnnActivationStruct *CudnnActivation;
typedef void *CudnnBackend;  // cudnnBackendDescriptor_t

typedef enum CudnnType {
  CUDNN_F32 = 0,
  CUDNN_F64 = 1,
  CUDNN_F16 = 2,
  CUDNN_I8 = 3,
  CUDNN_I32 = 4,
  CUDNN_BF16 = 9,
} CudnnType;
typedef enum CudnnFormat { CUDNN_NCHW = 0, CUDNN_NHWC = 1 } CudnnFormat;
// Default math may use TF32 for f32; FMA never does.
typedef enum CudnnMath { CUDNN_MATH_DEFAULT = 0, CUDNN_MATH_TENSOR = 1, CUDNN_MATH_FMA = 3 } CudnnMath;
typedef enum CudnnActivationMode { CUDNN_RELU = 1, CUDNN_IDENTITY = 5 } CudnnActivationMode;
enum { CUDNN_CROSS_CORRELATION = 1, CUDNN_PROPAGATE_NAN = 1 };
enum { CUDNN_ALGO_PRECOMPUTED_GEMM = 1, CUDNN_ALGO_FFT = 4, CUDNN_ALGO_COUNT = 8 };

typedef struct CudnnAlgoResult {
  int algo;
  CudnnResult status;
  float time;
  size_t memory;
  int determinism, math;
  int reserved[3];
} CudnnAlgoResult;
_Static_assert(sizeof(CudnnAlgoResult) == 48, "as cudnnConvolutionFwdAlgoPerf_t");

// clang-format off
#define CUDNN_TABLE(CALL)                                                                                                       \
  CALL(cudnnGetVersion, size_t, (void))                                                                                         \
  CALL(cudnnGetErrorString, const char *, (CudnnResult result))                                                                 \
  CALL(cudnnGetLastErrorString, void, (char *text, size_t size))                                                                \
  CALL(cudnnCreate, CudnnResult, (CudnnHandle *handle))                                                                         \
  CALL(cudnnDestroy, CudnnResult, (CudnnHandle handle))                                                                         \
  CALL(cudnnSetStream, CudnnResult, (CudnnHandle handle, CudaStream stream))                                                    \
  CALL(cudnnCreateTensorDescriptor, CudnnResult, (CudnnTensor *tensor))                                                         \
  CALL(cudnnDestroyTensorDescriptor, CudnnResult, (CudnnTensor tensor))                                                         \
  CALL(cudnnSetTensorNdDescriptor, CudnnResult, (CudnnTensor tensor, int type, int rank, const int *dims, const int *strides))  \
  CALL(cudnnCreateFilterDescriptor, CudnnResult, (CudnnFilter *filter))                                                         \
  CALL(cudnnDestroyFilterDescriptor, CudnnResult, (CudnnFilter filter))                                                         \
  CALL(cudnnSetFilterNdDescriptor, CudnnResult, (CudnnFilter filter, int type, int format, int rank, const int *dims))          \
  CALL(cudnnCreateConvolutionDescriptor, CudnnResult, (CudnnConvolution *convolution))                                          \
  CALL(cudnnDestroyConvolutionDescriptor, CudnnResult, (CudnnConvolution convolution))                                          \
  CALL(cudnnSetConvolutionNdDescriptor, CudnnResult,                                                                            \
       (CudnnConvolution convolution, int rank, const int *pads, const int *strides, const int *dilations, int mode, int type)) \
  CALL(cudnnSetConvolutionGroupCount, CudnnResult, (CudnnConvolution convolution, int groups))                                  \
  CALL(cudnnSetConvolutionMathType, CudnnResult, (CudnnConvolution convolution, int math))                                      \
  CALL(cudnnCreateActivationDescriptor, CudnnResult, (CudnnActivation *activation))                                             \
  CALL(cudnnDestroyActivationDescriptor, CudnnResult, (CudnnActivation activation))                                             \
  CALL(cudnnSetActivationDescriptor, CudnnResult, (CudnnActivation activation, int mode, int nan, double coefficient))          \
  CALL(cudnnGetConvolutionForwardAlgorithm_v7, CudnnResult,                                                                     \
       (CudnnHandle handle, CudnnTensor x, CudnnFilter w, CudnnConvolution convolution, CudnnTensor y, int wanted, int *count,  \
        CudnnAlgoResult *results))                                                                                              \
  CALL(cudnnGetConvolutionForwardWorkspaceSize, CudnnResult,                                                                    \
       (CudnnHandle handle, CudnnTensor x, CudnnFilter w, CudnnConvolution convolution, CudnnTensor y, int algo, size_t *size)) \
  CALL(cudnnConvolutionForward, CudnnResult,                                                                                    \
       (CudnnHandle handle, const void *alpha, CudnnTensor x_desc, const void *x, CudnnFilter w_desc, const void *w,            \
        CudnnConvolution convolution, int algo, void *workspace, size_t workspace_bytes, const void *beta, CudnnTensor y_desc,  \
        void *y))                                                                                                               \
  CALL(cudnnConvolutionBiasActivationForward, CudnnResult,                                                                      \
       (CudnnHandle handle, const void *alpha, CudnnTensor x_desc, const void *x, CudnnFilter w_desc, const void *w,            \
        CudnnConvolution convolution, int algo, void *workspace, size_t workspace_bytes, const void *alpha2,                    \
        CudnnTensor z_desc, const void *z, CudnnTensor bias_desc, const void *bias, CudnnActivation activation,                 \
        CudnnTensor y_desc, void *y))                                                                                           \
  CALL(cudnnBackendCreateDescriptor, CudnnResult, (int type, CudnnBackend *descriptor))                                         \
  CALL(cudnnBackendDestroyDescriptor, CudnnResult, (CudnnBackend descriptor))                                                   \
  CALL(cudnnBackendFinalize, CudnnResult, (CudnnBackend descriptor))                                                            \
  CALL(cudnnBackendSetAttribute, CudnnResult,                                                                                   \
       (CudnnBackend descriptor, int name, int type, int64_t count, const void *values))                                        \
  CALL(cudnnBackendGetAttribute, CudnnResult,                                                                                   \
       (CudnnBackend descriptor, int name, int type, int64_t room, int64_t *count, void *values))                               \
  CALL(cudnnBackendExecute, CudnnResult, (CudnnHandle handle, CudnnBackend plan, CudnnBackend variant_pack))
// clang-format on

typedef struct Cudnn {
#define CUDNN_FIELD(name, result, parameters) result(*name) parameters;
  CUDNN_TABLE(CUDNN_FIELD)
#undef CUDNN_FIELD
  Arena *arena;
  CudnnHandle handle;
  pthread_mutex_t mutex;  // held from cudnn_begin to cudnn_end
  const char *path;
  size_t version;  // 91900 for 9.19.0
} Cudnn;

// Opens the library ($INGOT_CUDNN, libcudnn.so.9) and makes a handle for the current CUDA context.
MUST_CHECK Status cudnn_open(Cudnn **out);
void cudnn_close(Cudnn *dnn);  // in the same context; NULL is fine
// ERROR_UNSUPPORTED where a call was made for another version.
MUST_CHECK Status cudnn_check_version(const Cudnn *dnn, size_t version);
MUST_CHECK Status cudnn_error(const Cudnn *dnn, CudnnResult result, const char *call);

// Takes the handle for this thread and sets its stream; where it fails, the handle is not taken.
MUST_CHECK Status cudnn_begin(Cudnn *dnn, CudaStream stream);
void cudnn_end(Cudnn *dnn);

// CUDNN_TRY(dnn, cudnnCreateTensorDescriptor(&x)) calls through the table and forwards an error.
#define CUDNN_TRY(dnn, call)                                            \
  do {                                                                  \
    CudnnResult cudnn_result_ = (dnn)->call;                            \
    if (cudnn_result_) return cudnn_error((dnn), cudnn_result_, #call); \
  } while (0)
