// A fusion of one's own: a convolution and the arithmetic behind it become one region, named after what it holds.
//
//   ./dev pass examples/pass/conv_region.c                          compiles it to conv_region.so
//   ingot passes model.onnx --pass conv_region.so --dump graphs     the graph with its regions, as text and for viewers of ONNX
//   ingot verify model.onnx --pass conv_region.so                   judges what comes of it
//
// The region is the whole match: what its parts read comes in, what others use of their results goes out. Its meaning is that of its parts, without rounding to
// half precision between them; the passes behind this one go on inside of it. One of this form is what Ingot's own rule makes, too, and stays closed to the end (kernels/fused.h); of
// any other a build ends with its body in its place.
#include "passes/plugin.h"

static Status apply(Rewrite *r) { return rewrite_outline_match(r, "conv_region"); }

static const Rule conv_region = {
    .name = "conv_region",
    .help = "a convolution and the arithmetic behind it are one step",
    .pattern = "elementwise(..., conv(...)!, ...)",
    .exactness = UNSTORED,
    .bound = "half precision between the two is no longer rounded to",
    .tells_misses = true,
    .apply = apply,
};

static const Pass pass = {"conv_regions", "makes regions of convolutions", (const Rule *const[]){&conv_region, NULL}};
const PassPlugin ingot_plugin = {INGOT_VERSION, &pass, "fuse_epilogue"};
