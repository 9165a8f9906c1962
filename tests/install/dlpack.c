/* A DLTensor is an ingot_tensor in memory, whichever dlpack.h it is of, and whichever header came first. C and C++.
 * DLPACK: the header's name. FIRST: dlpack.h comes before ingot.h. */
#ifdef FIRST
#include DLPACK
#endif
#include <ingot/ingot.h>
#ifndef FIRST
#include DLPACK
#endif
#include <ingot/ingot.h> /* twice does not hurt */
#include <stdio.h>

#define SAME_PLACE(field)                                        \
  (offsetof(DLTensor, field) == offsetof(ingot_tensor, field) && \
   sizeof(((DLTensor *)0)->field) == sizeof(((ingot_tensor *)0)->field))

int main(int count, char **arguments) {
  ingot_config config;
  ingot_engine *engine = NULL;
  ingot_session *session = NULL;
  ingot_tensor answer;
  static unsigned char pixels[64];
  int64_t shape[] = {1, 1, 8, 8};
  DLTensor image;
  if (count != 2 || ingot_config_init(&config)) return 2;
  if (sizeof(DLTensor) != sizeof(ingot_tensor) || !SAME_PLACE(data) || !SAME_PLACE(ndim) || !SAME_PLACE(dtype) ||
      !SAME_PLACE(shape) || !SAME_PLACE(strides) || !SAME_PLACE(byte_offset))
    return 3;
  if ((int)kDLCPU != (int)INGOT_CPU || (int)kDLUInt != (int)INGOT_UINT || (int)kDLFloat != (int)INGOT_FLOAT) return 4;
  config.device = INGOT_DEVICE_CPU;
  image.data = pixels;
  PLACE_OF(image).device_type = kDLCPU;
  PLACE_OF(image).device_id = 0;
  image.ndim = 4;
  image.dtype.code = kDLUInt;
  image.dtype.bits = 8;
  image.dtype.lanes = 1;
  image.shape = shape;
  image.strides = NULL;
  image.byte_offset = 0;
  if (ingot_engine_load(arguments[1], &config, &engine) || ingot_session_create(engine, &config, &session)) return 5;
  if (ingot_session_run(session, (const ingot_tensor *)&image, 1, &answer, 1)) return 6;
  const DLTensor *result = (const DLTensor *)&answer;
  int good = result->ndim == 2 && result->shape[1] == 10 && result->dtype.code == kDLFloat;
  ingot_session_free(session);
  ingot_engine_free(engine);
  return good ? 0 : 7;
}
