// A convolution site as the kernels see it: the product of an image matrix (rows are output positions, K the taps and channels) with the
// filters, one for each group. Spatial axes are padded to three with ones in front. A transposed convolution is one such product for each
// phase of its outputs (phases.h).
#pragma once
#include "kernels/tile/tiled_kernel.h"
#include "kernels/conv/phases.h"

typedef struct ConvProblem {
  bool phased;
  int64_t phases;                             // products of a group that read the same images; 1 unless phased
  PhasedAxis axis[3];                         // of a transposed convolution, also once merged
  int64_t images, groups, channels, filters;  // channels and filters of one group
  // Phased: of any phase. `out` is the most outputs a phase has, `kernel` the most taps, `pad` the furthest it reaches; `taps` are those of all.
  int64_t in[3], out[3], kernel[3], stride[3], dilation[3], pad[3];
  int64_t x_image, x_channel, x_space[3];  // strides in elements
  int64_t w_filter, w_channel, w_tap[3], w_group;
  int64_t m, k, taps;  // of one group and phase; n is filters
  DType accumulator;
  OutputWalk output;  // batch: group and phase; row: image and position; column: filter within the group
} ConvProblem;

// False where the kernels cannot take it: more than three spatial axes, types without arithmetic, sizes beyond 2^31 - 1.
bool conv_problem(const Site *site, ConvProblem *out);
// A phased problem as one convolution that makes all phases, each by filters of its own (phases_merge); their columns are phase and filter.
bool conv_merge_phases(const Site *site, const ConvProblem *phased, MergedPhases *merged, ConvProblem *out);
// Neighbouring groups of a convolution as one, whose filters have zeros for the channels of the others (an infinity there is no number in all of them):
// tiles are full and reads run longer. False where the groups are no multiple of `count`.
bool conv_join_groups(const ConvProblem *apart, int64_t count, ConvProblem *joined);
// Windows as wide as their steps over an image with channels innermost: what one of them covers of a line lies together, as channels of a single tap. The filters' order
// stays. False where it is not so.
bool conv_merge_columns(const ConvProblem *windows, ConvProblem *merged);
// The bytes that can be copied at once along the channels of x; the element's size where they are not contiguous.
int conv_x_copy(const Site *site, const ConvProblem *problem);
// Every offset into x, taps in the padding included, fits 32 bits.
bool conv_offsets_fit(const Site *site, const ConvProblem *problem);
// Adds the geometry's constants to the generated `struct Problem` (see kernels/conv/window.cuh); its struct Sizes is conv_sizes_emit's. open: rows are an argument.
void conv_emit_geometry(Text *text, const ConvProblem *problem, bool open);

// What the cost model sees.
TiledProduct conv_product(const ConvProblem *problem, DType dtype);
// The kernel's statement (TiledKernel.body): `call` with the group's operands, the phase of these sizes (conv_sizes_emit) and `more` arguments. by_phase: filters are packed, those of a
// phase side by side.
const char *conv_body(Arena *arena, const char *call, const ConvProblem *problem, const char *sizes, int64_t w_group,
                      bool by_phase, const char *more);

// Filters as [group][filter][tap][channel], each filter padded with zeros to a multiple of `pad` elements; from constant weights in any
// layout. Gives the packed constant's number, and the elements of one filter in *pitch. Phased: the taps of each phase side by side.
MUST_CHECK Status conv_pack_filters(Emission *emission, const Site *site, const ConvProblem *problem, int pad, int64_t *pitch,
                                    int *packed);
MUST_CHECK Status conv_pack_merged(Emission *emission, const Site *site, const ConvProblem *phased, const MergedPhases *merged,
                                   const ConvProblem *problem, int pad, int64_t *pitch, int *packed);
MUST_CHECK Status conv_pack_joined(Emission *emission, const Site *site, const ConvProblem *apart, const ConvProblem *joined,
                                   int pad, int64_t *pitch, int *packed);
// Filters as [tap][channel], for depthwise convolutions with one filter a group.
MUST_CHECK Status conv_pack_depthwise(Emission *emission, const Site *site, const ConvProblem *problem, int *packed);
