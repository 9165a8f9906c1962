// Translations that serve an operator of another domain too.
#pragma once
#include "onnx/ops/translate.h"

Status translate_unsqueeze(Translation *t);     // movement.c
Status translate_pad(Translation *t);           // movement.c
Status translate_trilu(Translation *t);         // shape.c
Status translate_gather_nd(Translation *t);     // gather.c
Status translate_grid_sample(Translation *t);   // resize.c
Status translate_layer_norm(Translation *t);    // normalize.c
Status translate_pool(Translation *t);          // pool.c
Status translate_quantize(Translation *t);      // quantize.c
Status translate_dequantize(Translation *t);    // quantize.c
Status translate_qlinear_conv(Translation *t);  // quantize.c
