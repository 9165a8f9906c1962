// A convolution site as the kernels see it: the product of an image matrix (rows are output positions, K the taps and channels) with the
// filters, one for each group. Spatial axes are padded to three with ones in front. A transposed convolution is the same product
// whose rows look at the input through the stride backwards.
#pragma once
#include "kernels/common/tiled_kernel.h"

typedef struct ConvProblem {
  bool transposed;
  int64_t images, groups, channels, filters;  // channels and filters of one group
  int64_t in[3], out[3], kernel[3], stride[3], dilation[3], pad[3];
  int64_t x_image, x_channel, x_space[3];  // strides in elements
  int64_t w_filter, w_channel, w_tap[3], w_group;
  int64_t m, k, taps;  // of one group; n is filters
  DType accumulator;
  OutputWalk output;  // batch: group; row: image and position; column: filter within the group
} ConvProblem;

// False where the kernels cannot take it: more than three spatial axes, types without arithmetic, sizes beyond 2^31 - 1.
bool conv_problem(const Site *site, ConvProblem *out);
// The bytes that can be copied at once along the channels of x; the element's size where they are not contiguous.
int conv_x_copy(const Site *site, const ConvProblem *problem);
// Every offset into x, taps in the padding included, fits 32 bits.
bool conv_offsets_fit(const Site *site, const ConvProblem *problem);
// Adds the geometry's constants to the generated `struct Problem` (see kernels/conv/window.cuh).
void conv_emit_geometry(Text *text, const ConvProblem *problem);

// Filters as [group][filter][tap][channel], each filter padded with zeros to a multiple of `pad` elements; from constant weights in any
// layout. Returns the packed constant's number, and the elements of one filter in *pitch.
int conv_pack_filters(Emission *emission, const Site *site, const ConvProblem *problem, int pad, int64_t *pitch);
// Filters as [tap][channel], for depthwise convolutions with one filter a group.
int conv_pack_depthwise(Emission *emission, const Site *site, const ConvProblem *problem);
