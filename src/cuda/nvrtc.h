// NVRTC, NVIDIA's run-time compiler, opened at run time: CUDA C++ text in, a cubin for one architecture out. It needs no GPU and no
// toolkit. Generated kernels include device code by its path in the repository; those texts are handed over as headers.
#pragma once
#include "base/file.h"
#include "base/device_source.h"

typedef struct Nvrtc Nvrtc;

// Opens libnvrtc once: $INGOT_NVRTC, the library path, toolkit folders, Python wheels. ERROR_UNSUPPORTED where there is none.
// Lives as long as the arena. All functions are safe to call from several threads at once.
MUST_CHECK Status nvrtc_open(Arena *arena, const Nvrtc **out);
int nvrtc_version(const Nvrtc *nvrtc);  // 13000 for 13.0
const char *nvrtc_path(const Nvrtc *nvrtc);

// "sm_90a" for 90: architecture-specific instructions (wgmma, TMA with multicast, tcgen05) where the chip has them.
const char *cuda_arch_name(int sm, char out[16]);

// The options every kernel is compiled with, as one text for cache keys.
const char *nvrtc_options(void);

// headers ends with a NULL path (see device_source.h). On failure the message starts with `name` and holds the compiler's
// log. The cubin lives in the arena, and so does what the compiler remarks of a kernel that it takes: "" mostly.
MUST_CHECK Status nvrtc_compile(const Nvrtc *nvrtc, const char *name, const char *source, int sm, const DeviceSource *headers,
                                Arena *arena, Bytes *cubin, const char **remarks);
