// Two tables: values and ranks. An operator "*" is any. Where ONNX Runtime takes a vector of one for a scalar, so do we.
#include "onnx/ops/rules.h"
#include <string.h>
#include "base/checked.h"

static const struct {
  const char *op, *attribute, *values;  // separated by spaces
} choices[] = {
    {"*", "auto_pad", "NOTSET SAME_UPPER SAME_LOWER VALID"},
    {"*", "post_transform", "NONE SOFTMAX LOGISTIC SOFTMAX_ZERO PROBIT"},
    {"*", "aggregate_function", "SUM AVERAGE MIN MAX"},
    {"LSTM", "direction", "forward reverse bidirectional"},
    {"GRU", "direction", "forward reverse bidirectional"},
    {"RNN", "direction", "forward reverse bidirectional"},
    {"BitShift", "direction", "LEFT RIGHT"},
    {"ScatterElements", "reduction", "none add mul max min"},
    {"ScatterND", "reduction", "none add mul max min"},
    {"NegativeLogLikelihoodLoss", "reduction", "none sum mean"},
    {"SoftmaxCrossEntropyLoss", "reduction", "none sum mean"},
    {"Pad", "mode", "constant reflect edge wrap"},
    {"Resize", "mode", "nearest linear cubic"},
    {"Upsample", "mode", "nearest linear bilinear cubic"},
    {"Resize", "coordinate_transformation_mode",
     "half_pixel half_pixel_symmetric pytorch_half_pixel align_corners asymmetric tf_crop_and_resize tf_half_pixel_for_nn"},
    {"Resize", "nearest_mode", "round_prefer_floor round_prefer_ceil floor ceil"},
    {"Resize", "keep_aspect_ratio_policy", "stretch not_larger not_smaller"},
    {"GridSample", "mode", "linear nearest cubic bilinear bicubic"},
    {"GridSample", "padding_mode", "zeros border reflection"},
    {"RoiAlign", "mode", "avg max"},
    {"RoiAlign", "coordinate_transformation_mode", "half_pixel output_half_pixel"},
    {"DepthToSpace", "mode", "DCR CRD"},
    {"TensorScatter", "mode", "linear circular"},
    {"Momentum", "mode", "standard nesterov"},
    {"TfIdfVectorizer", "mode", "TF IDF TFIDF"},
    {"Gelu", "approximate", "none tanh"},
    {"Cast", "round_mode", "up down nearest"},
    {"CastLike", "round_mode", "up down nearest"},
    {"StringNormalizer", "case_change_action", "NONE LOWER UPPER"},
    {"CausalConvWithState", "activation", "none silu swish"},
    {"Normalizer", "norm", "MAX L1 L2"},
    {"SVMClassifier", "kernel_type", "LINEAR POLY RBF SIGMOID"},
    {"SVMRegressor", "kernel_type", "LINEAR POLY RBF SIGMOID"},
};

static const struct {
  const char *op, *attribute;
  int64_t low, high;
} ranges[] = {
    {"LpNormalization", "p", 1, 2},
    {"LpPool", "p", 1, INT32_MAX},
    {"GlobalLpPool", "p", 1, INT32_MAX},
    {"*", "group", 1, INT32_MAX},
    {"*", "storage_order", 0, 1},
    {"*", "layout", 0, 1},
    {"*", "fmod", 0, 1},
    {"*", "select_last_index", 0, 1},
    {"*", "exclusive", 0, 1},
    {"*", "reverse", 0, 1},
    {"*", "center_point_box", 0, 1},
    {"TreeEnsemble", "aggregate_function", 0, 3},
    {"*", "training_mode", 0, 1},
    {"*", "num_groups", 1, INT32_MAX},
    {"*", "num_heads", 0, INT32_MAX},
    {"*", "q_num_heads", 0, INT32_MAX},
    {"*", "kv_num_heads", 0, INT32_MAX},
    {"*", "offset_group", 1, INT32_MAX},
    {"*", "num_outputs", 1, INT32_MAX},
    {"*", "n_targets", 1, INT32_MAX},
    {"LRN", "size", 1, INT32_MAX},
    {"*", "K", 1, INT32_MAX},
    {"*", "N", 1, INT32_MAX},
    {"*", "is_causal", 0, 1},
    {"*", "hidden_size", 1, INT32_MAX},
    {"*", "ceil_mode", 0, 1},
    {"*", "count_include_pad", 0, 1},
    {"*", "linear_before_reset", 0, 1},
};

static bool applies(const char *op, const char *name, const Schema *schema, const char *attribute) {
  return strcmp(name, attribute) == 0 && (op[0] == '*' || strcmp(op, schema->name) == 0);
}

static bool is_word(const char *words, const char *text, size_t text_length) {
  for (const char *at = words; *at;) {
    size_t length = strcspn(at, " ");
    if (length == text_length && memcmp(at, text, length) == 0) return true;
    at += length;
    while (*at == ' ') at++;
  }
  return false;
}

Status rules_check_value(const Schema *schema, const GivenAttribute *given) {
  for (size_t i = 0; i < COUNT_OF(choices) && given->text; i++) {
    if (!applies(choices[i].op, choices[i].attribute, schema, given->name)) continue;
    bool unset = given->length == 0 && strcmp(given->name, "auto_pad") == 0;
    if (!unset && !is_word(choices[i].values, given->text, given->length))
      FAIL(ERROR_INVALID_MODEL, "%s is '%.*s', expected one of: %s", given->name, (int)MIN(given->length, 100), given->text,
           choices[i].values);
  }
  for (size_t i = 0; i < COUNT_OF(ranges) && given->has_number; i++) {
    if (!applies(ranges[i].op, ranges[i].attribute, schema, given->name)) continue;
    if (given->number < ranges[i].low || given->number > ranges[i].high)
      FAIL(ERROR_INVALID_MODEL, "%s is %lld, expected %lld to %lld", given->name, (long long)given->number,
           (long long)ranges[i].low, (long long)ranges[i].high);
  }
  return OK;
}

// --- Ranks

enum { MANY = 99 };

static const struct {
  const char *op;
  int since, first, last;  // inputs, inclusive
  int low, high;           // ranks, inclusive
} ranks[] = {
    {"BatchNormalization", 9, 0, 0, 1, MANY},
    {"BatchNormalization", 9, 1, 4, 1, 1},
    {"InstanceNormalization", 1, 1, 2, 1, 1},
    {"GroupNormalization", 1, 1, 2, 1, 1},
    {"Conv", 1, 2, 2, 1, 1},
    {"ConvTranspose", 1, 2, 2, 1, 1},
    {"DeformConv", 1, 3, 3, 1, 1},
    {"QLinearConv", 1, 8, 8, 1, 1},
    {"Slice", 10, 1, 4, 1, 1},
    {"Reshape", 5, 1, 1, 1, 1},
    {"Expand", 8, 1, 1, 1, 1},
    {"Tile", 6, 1, 1, 1, 1},
    {"ConstantOfShape", 9, 0, 0, 1, 1},
    {"Pad", 11, 1, 1, 1, 2},
    {"Pad", 11, 2, 2, 0, 1},
    {"Pad", 18, 3, 3, 1, 1},
    {"CenterCropPad", 18, 1, 1, 1, 1},
    {"Split", 13, 1, 1, 1, 1},
    {"Squeeze", 13, 1, 1, 0, 1},
    {"Unsqueeze", 13, 1, 1, 0, 1},
    {"TopK", 10, 1, 1, 0, 1},
    {"Resize", 10, 1, 3, 1, 1},
    {"Upsample", 9, 1, 1, 1, 1},
    {"OneHot", 9, 1, 1, 0, 1},
    {"OneHot", 9, 2, 2, 1, 1},
    {"Range", 11, 0, 2, 0, 1},
    {"CumSum", 11, 1, 1, 0, 1},
    {"CumProd", 1, 1, 1, 0, 1},
    {"Clip", 11, 1, 2, 0, 1},
    {"NonMaxSuppression", 10, 0, 1, 3, 3},
    {"NonMaxSuppression", 10, 2, 4, 0, 1},
    {"Trilu", 14, 1, 1, 0, 1},
    {"Dropout", 12, 1, 2, 0, 1},
    {"LSTM", 1, 0, 2, 3, 3},
    {"LSTM", 1, 3, 3, 2, 2},
    {"LSTM", 1, 4, 4, 1, 1},
    {"LSTM", 1, 5, 6, 3, 3},
    {"LSTM", 1, 7, 7, 2, 2},
    {"GRU", 1, 0, 2, 3, 3},
    {"GRU", 1, 3, 3, 2, 2},
    {"GRU", 1, 4, 4, 1, 1},
    {"GRU", 1, 5, 5, 3, 3},
    {"RNN", 1, 0, 2, 3, 3},
    {"RNN", 1, 3, 3, 2, 2},
    {"RNN", 1, 4, 4, 1, 1},
    {"RNN", 1, 5, 5, 3, 3},
    {"Gemm", 1, 0, 1, 2, 2},
    {"Gemm", 1, 2, 2, 0, 2},
    {"MatMul", 1, 0, 1, 1, MANY},
    {"Compress", 1, 1, 1, 1, 1},
    {"GatherND", 11, 0, 1, 1, MANY},
    {"ScatterND", 11, 0, 1, 1, MANY},
    {"GatherElements", 11, 0, 1, 1, MANY},
    {"ReverseSequence", 10, 0, 0, 2, MANY},
    {"ReverseSequence", 10, 1, 1, 1, 1},
    {"RoiAlign", 10, 0, 0, 4, 4},
    {"RoiAlign", 10, 1, 1, 2, 2},
    {"RoiAlign", 10, 2, 2, 1, 1},
    {"MaxUnpool", 9, 2, 2, 1, 1},
    {"GridSample", 16, 0, 1, 3, MANY},
    {"AffineGrid", 20, 0, 0, 3, 3},
    {"AffineGrid", 20, 1, 1, 1, 1},
    {"Det", 11, 0, 0, 2, MANY},
    {"MaxPool", 1, 0, 0, 3, MANY},
    {"AveragePool", 1, 0, 0, 3, MANY},
    {"LpPool", 1, 0, 0, 3, MANY},
    {"DepthToSpace", 1, 0, 0, 4, 4},
    {"SpaceToDepth", 1, 0, 0, 4, 4},
    {"Multinomial", 1, 0, 0, 2, 2},
    {"NegativeLogLikelihoodLoss", 12, 2, 2, 1, 1},
    {"SoftmaxCrossEntropyLoss", 12, 2, 2, 1, 1},
    {"DFT", 17, 1, 1, 0, 1},
    {"DFT", 20, 2, 2, 0, 1},
    {"STFT", 17, 1, 1, 0, 1},
    {"STFT", 17, 2, 2, 1, 1},
    {"STFT", 17, 3, 3, 0, 1},
    {"Col2Im", 18, 0, 0, 3, 3},
    {"Col2Im", 18, 1, 2, 1, 1},
    {"CausalConvWithState", 1, 0, 1, 3, MANY},
    {"CausalConvWithState", 1, 2, 2, 1, 1},
    {"TfIdfVectorizer", 9, 0, 0, 1, 2},
    {"GroupQueryAttention", 1, 3, 4, 4, 4},
    {"EmbedLayerNormalization", 1, 0, 4, 2, 2},
    {"EmbedLayerNormalization", 1, 5, 6, 1, 1},
    {"QEmbedLayerNormalization", 1, 0, 4, 2, 2},
    {"QEmbedLayerNormalization", 1, 5, 6, 1, 1},
    {"SkipLayerNormalization", 1, 2, 4, 1, 1},
    {"SkipSimplifiedLayerNormalization", 1, 2, 3, 1, 1},
    {"MatMulNBits", 1, 5, 5, 1, 1},
    {"BiasGelu", 1, 1, 1, 1, 1},
    {"QAttention", 1, 2, 2, 1, 1},
};

Status rules_check_rank(const Schema *schema, int input, const Value *value) {
  if (value->kind != VALUE_TENSOR || value->rank < 0) return OK;
  for (size_t i = 0; i < COUNT_OF(ranks); i++) {
    if (strcmp(ranks[i].op, schema->name) != 0 || input < ranks[i].first || input > ranks[i].last) continue;
    if (schema->since < ranks[i].since || (value->rank >= ranks[i].low && value->rank <= ranks[i].high)) continue;
    if (ranks[i].high == MANY)
      FAIL(ERROR_INVALID_MODEL, "input %d has rank %d, expected at least %d", input, value->rank, ranks[i].low);
    if (ranks[i].low == ranks[i].high)
      FAIL(ERROR_INVALID_MODEL, "input %d has rank %d, expected %d", input, value->rank, ranks[i].low);
    FAIL(ERROR_INVALID_MODEL, "input %d has rank %d, expected %d to %d", input, value->rank, ranks[i].low, ranks[i].high);
  }
  return OK;
}
