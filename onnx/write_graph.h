// A core graph as an ONNX file, for viewers that draw such: operators are of the domain "ingot", what is no number in their attributes is text, and constants of more than
// a few elements stand among the inputs. A region is a call of a local function. It cannot be read back: the text form is for that.
#pragma once
#include "ir/graph.h"

MUST_CHECK Status onnx_write_graph_file(const char *path, const Graph *graph);
