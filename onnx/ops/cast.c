// Conversions between element types. Out-of-range rules for narrow floats live in the cast opcode; `saturate` and
// `round_mode` are passed on to it.
#include "onnx/ops/common.h"
#include "onnx/ops/quantize.h"

// Opset 1 spells types as TensorProto names.
static const struct {
  const char *name;
  DType dtype;
} type_names[] = {
    {"FLOAT", DTYPE_F32},     {"FLOAT16", DTYPE_F16},   {"DOUBLE", DTYPE_F64},      {"INT8", DTYPE_I8},
    {"INT16", DTYPE_I16},     {"INT32", DTYPE_I32},     {"INT64", DTYPE_I64},       {"UINT8", DTYPE_U8},
    {"UINT16", DTYPE_U16},    {"UINT32", DTYPE_U32},    {"UINT64", DTYPE_U64},      {"BOOL", DTYPE_BOOL},
    {"STRING", DTYPE_STRING}, {"COMPLEX64", DTYPE_C64}, {"COMPLEX128", DTYPE_C128},
};

static bool is_narrow(DType dtype) { return dtype_is_float(dtype) && dtype_bits(dtype) <= 8; }

int program_cast_narrow(Program *p, DType dtype, int a, bool saturate, E8m0Rounding rounding) {
  int result = program_cast(p, dtype, a);
  if (is_narrow(dtype) && result != a) p->code[result].integer = (saturate ? 1 : 0) | (int)rounding << 1;
  return result;
}

static Status cast_to(Translation *t, DType dtype) {
  Builder b = translate_begin(t);
  Value *x = t->inputs[0];
  bool saturate = node_int(t->attributes, "saturate", 1) != 0;
  const char *mode = node_string(t->attributes, "round_mode", "up");
  E8m0Rounding rounding = strcmp(mode, "down") == 0 ? E8M0_DOWN : strcmp(mode, "nearest") == 0 ? E8M0_NEAREST : E8M0_UP;
  if (x->dtype == dtype) {
    t->outputs[0] = x;
  } else if (x->dtype == DTYPE_STRING || dtype == DTYPE_STRING) {
    Node *node = node_start(&b, "string_cast", 1, &x, 1);
    node_set_int(node, "dtype", dtype);
    t->outputs[0] = node_done(&b, node);
  } else if (is_narrow(dtype)) {
    Program *p = program_new(t->graph->arena, 1);
    program_output(p, program_cast_narrow(p, dtype, program_input(p, 0, x->dtype), saturate, rounding));
    t->outputs[0] = build_elementwise(&b, p, 1, &x);
  } else {
    t->outputs[0] = build_cast(&b, x, dtype);
  }
  return translate_end(t, &b);
}

static Status cast(Translation *t) {
  DType dtype;
  if (t->opset >= 6) {
    TRY(dtype_attribute(t, "to", DTYPE_COUNT, &dtype));
    if (dtype == DTYPE_COUNT) TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "the attribute 'to' is missing");
    return cast_to(t, dtype);
  }
  const char *name = node_string(t->attributes, "to", "");
  for (size_t i = 0; i < COUNT_OF(type_names); i++)
    if (strcasecmp(type_names[i].name, name) == 0) return cast_to(t, type_names[i].dtype);
  TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "to is '%s', which is no element type", name);
}

static Status cast_like(Translation *t) { return cast_to(t, t->inputs[1]->dtype); }

static Status bit_cast(Translation *t) {
  Builder b = translate_begin(t);
  DType dtype;
  TRY(dtype_attribute(t, "to", DTYPE_COUNT, &dtype));
  if (dtype == DTYPE_COUNT) TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "the attribute 'to' is missing");
  Node *node = node_start(&b, "bitcast", 1, t->inputs, 1);
  node_set_int(node, "dtype", dtype);
  t->outputs[0] = node_done(&b, node);
  return translate_end(t, &b);
}

const OnnxOp onnx_cast_ops[] = {
    {"", "Cast", 1, 0, 1, 1, 1, 1, cast},
    {"", "BitCast", 26, 0, 1, 1, 1, 1, bit_cast},
    {"", "CastLike", 15, 0, 2, 2, 1, 1, cast_like},
    {0},
};
