// The sizes of a convolution's images as its kernels read them: constants, or arguments where they differ from call to call.
#pragma once
#include "kernels/conv/conv_problem.h"

typedef struct ConvSizes {
  DimTable *dims;
  DimTable *output;                    // NULL: the text that output_emit adds is to say what sizes are now, where it says any
  Extent rows, images, in[3], out[3];  // rows: of the output, image and position
  Extent x_image, x_channel, x_space[3];  // strides in elements
} ConvSizes;

// x: the image as the kernel reads it, the site's or one made of it. Open where filters and channels are the same in every call; else all are static.
ConvSizes conv_sizes(const Site *site, const TensorDesc *x, const ConvProblem *problem);
ConvSizes conv_sizes_static(const ConvProblem *problem);
// The problem's, whose rows are open where the output's text is.
OutputWalk conv_sizes_output(const Site *site, const ConvProblem *problem, const ConvSizes *sizes);
// Those of the image alone, every element of which is a position.
ConvSizes conv_sizes_of_image(const Site *site, const ConvProblem *problem);
// Where `width` neighbouring positions along a row are one.
ConvSizes conv_sizes_of_strips(const ConvSizes *sizes, int width);
// Adds `struct NAME { ... }` (P::Sizes of kernels/conv/window.cuh), whose member is the kernel's `dims` where something is open, and gives the expression that makes it.
const char *conv_sizes_emit(Text *text, const char *name, const ConvSizes *sizes, KernelArguments *arguments);
// What the cost model sees where rows are open.
void conv_sizes_round(const ConvSizes *sizes, Rung rung, TiledProduct *product);
