// A `deferred` node: an ONNX operator whose operands are known only at run time, kept until they are (see onnx/ops/translate.h). It
// holds the ONNX node's own attributes and, under the names below, what else its translation needs.
#pragma once
#include "ir/op.h"

extern const OpDef op_deferred;

#define DEFERRED_PREFIX "deferred."
#define DEFERRED_OP_TYPE "deferred.op_type"  // string
#define DEFERRED_DOMAIN "deferred.domain"    // string, "" for ai.onnx
#define DEFERRED_NAME "deferred.name"        // string: the ONNX node's name
#define DEFERRED_OPSET "deferred.opset"      // int
#define DEFERRED_WANTS "deferred.wants"      // int: the input whose content the translation asked for; absent: none yet
