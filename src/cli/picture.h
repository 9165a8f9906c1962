// Pictures as inputs: .jpg, .png, .bmp, .ppm and .pgm, resized to what the model wants.
#pragma once
#include "base/file.h"
#include "ir/graph.h"

// An input as the model declares it and --shapes completes it; of an output what it is compared with.
typedef struct Wanted {
  const char *name, *dtype_name;
  ValueKind kind;
  int rank;  // -1: unknown
  int64_t dims[MAX_RANK];
  bool said;  // by --shapes
} Wanted;

// Each value becomes (value - mean) * scale, with values from 0 to 255 and the channels in the order red, green, blue.
typedef struct PictureOptions {
  double mean[3], scale[3];
  bool bgr;         // the model wants blue first; mean and scale follow the model's order
  bool normalised;  // mean or scale were given; else floats are scaled to [0, 1] and integers left as they are
} PictureOptions;

// "127", "0.485,0.456,0.406" or "1/128": one number for all channels, or three.
bool picture_parse_numbers(const char *text, double out[3]);
bool picture_is_one(const char *path);  // by extension
// wanted: its dims decide size and layout (N,C,H,W; N,H,W,C; or without N); sizes of -1 are the picture's own, and an open
// batch is 1.
MUST_CHECK Status picture_decode(Bytes bytes, const Wanted *wanted, const PictureOptions *options, Arena *arena, Tensor *out);
