// Single elements of every type, converted to and from double and int64. A double goes to a narrow float through a float
// rounded to odd: its last bit then remembers that something was cut off, so the second rounding decides as if it had
// seen the double (Boldo and Melquiond, "Emulation of FMA and correctly rounded sums: proved algorithms using rounding to
// odd"). Infinities stay infinities where the format has them; finite values saturate in the 8-bit formats, as in ONNX Cast.
#include <math.h>
#include <string.h>
#include "base/half.h"
#include "ir/tensor.h"

static float float_rounded_to_odd(double value) {
  float rounded = (float)value;
  if ((double)rounded == value || value != value) return rounded;
  uint32_t bits = float_bits(rounded);
  if (fabs((double)rounded) > fabs(value)) bits--;  // towards zero
  return float_of_bits(bits | 1);
}

// To nearest even, saturated; NaN is 0.
static int64_t signed_from_double(double value, int bits) {
  double rounded = rint(value), limit = ldexp(1, bits - 1);
  if (rounded != rounded) return 0;
  if (rounded >= limit) return (int64_t)((UINT64_C(1) << (bits - 1)) - 1);
  if (rounded < -limit) return -(int64_t)((UINT64_C(1) << (bits - 1)) - 1) - 1;
  return (int64_t)rounded;
}

static uint64_t unsigned_from_double(double value, int bits) {
  double rounded = rint(value);
  if (!(rounded > 0)) return 0;
  return rounded >= ldexp(1, bits) ? UINT64_MAX >> (64 - bits) : (uint64_t)rounded;
}

static int64_t sign_extend(uint64_t value, int bits) { return (int64_t)(value << (64 - bits)) >> (64 - bits); }

#define LOAD(Type, element)                      \
  ({                                             \
    Type loaded_;                                \
    memcpy(&loaded_, (element), sizeof loaded_); \
    loaded_;                                     \
  })
#define STORE(Type, element, value)              \
  ({                                             \
    Type stored_ = (Type)(value);                \
    memcpy((element), &stored_, sizeof stored_); \
  })

double element_get_f(DType dtype, const void *element) {
  switch (dtype) {
    case DTYPE_F32:
    case DTYPE_C64: return LOAD(float, element);
    case DTYPE_F64:
    case DTYPE_C128: return LOAD(double, element);
    case DTYPE_F16: return half_to_float(LOAD(uint16_t, element));
    case DTYPE_BF16: return bf16_to_float(LOAD(uint16_t, element));
    case DTYPE_F8E4M3FN: return e4m3fn_to_float(LOAD(uint8_t, element));
    case DTYPE_F8E4M3FNUZ: return e4m3fnuz_to_float(LOAD(uint8_t, element));
    case DTYPE_F8E5M2: return e5m2_to_float(LOAD(uint8_t, element));
    case DTYPE_F8E5M2FNUZ: return e5m2fnuz_to_float(LOAD(uint8_t, element));
    case DTYPE_F8E8M0: return e8m0_to_float(LOAD(uint8_t, element));
    case DTYPE_F4E2M1: return e2m1_to_float(LOAD(uint8_t, element));
    case DTYPE_U64: return (double)LOAD(uint64_t, element);
    default: return (double)element_get_i(dtype, element);
  }
}

int64_t element_get_i(DType dtype, const void *element) {
  switch (dtype) {
    case DTYPE_I8: return LOAD(int8_t, element);
    case DTYPE_I16: return LOAD(int16_t, element);
    case DTYPE_I32: return LOAD(int32_t, element);
    case DTYPE_I64: return LOAD(int64_t, element);
    case DTYPE_U8: return LOAD(uint8_t, element);
    case DTYPE_U16: return LOAD(uint16_t, element);
    case DTYPE_U32: return LOAD(uint32_t, element);
    case DTYPE_U64: return (int64_t)LOAD(uint64_t, element);
    case DTYPE_I4: return sign_extend(LOAD(uint8_t, element), 4);
    case DTYPE_U4: return LOAD(uint8_t, element) & 15;
    case DTYPE_I2: return sign_extend(LOAD(uint8_t, element), 2);
    case DTYPE_U2: return LOAD(uint8_t, element) & 3;
    case DTYPE_BOOL: return LOAD(uint8_t, element) != 0;
    case DTYPE_STRING:
    case DTYPE_COUNT: return 0;
    default: return signed_from_double(trunc(element_get_f(dtype, element)), 64);
  }
}

void element_set_f(DType dtype, void *element, double value) {
  bool saturate = !isinf(value);
  float narrow = float_rounded_to_odd(value);
  switch (dtype) {
    case DTYPE_F32: STORE(float, element, value); break;
    case DTYPE_F64: STORE(double, element, value); break;
    case DTYPE_F16: STORE(uint16_t, element, half_from_float(narrow)); break;
    case DTYPE_BF16: STORE(uint16_t, element, bf16_from_float(narrow)); break;
    case DTYPE_F8E4M3FN: STORE(uint8_t, element, e4m3fn_from_float(narrow, saturate)); break;
    case DTYPE_F8E4M3FNUZ: STORE(uint8_t, element, e4m3fnuz_from_float(narrow, saturate)); break;
    case DTYPE_F8E5M2: STORE(uint8_t, element, e5m2_from_float(narrow, saturate)); break;
    case DTYPE_F8E5M2FNUZ: STORE(uint8_t, element, e5m2fnuz_from_float(narrow, saturate)); break;
    case DTYPE_F8E8M0: STORE(uint8_t, element, e8m0_from_float(narrow, E8M0_UP, saturate)); break;
    case DTYPE_F4E2M1: STORE(uint8_t, element, e2m1_from_float(narrow)); break;
    case DTYPE_BOOL: STORE(uint8_t, element, value != 0); break;
    case DTYPE_C64: {
      float parts[2] = {(float)value, 0};
      memcpy(element, parts, sizeof parts);
      break;
    }
    case DTYPE_C128: {
      double parts[2] = {value, 0};
      memcpy(element, parts, sizeof parts);
      break;
    }
    case DTYPE_STRING:
    case DTYPE_COUNT: break;
    default:
      if (dtype_kind(dtype) == KIND_SIGNED) element_set_i(dtype, element, signed_from_double(value, dtype_bits(dtype)));
      else element_set_i(dtype, element, (int64_t)unsigned_from_double(value, dtype_bits(dtype)));
  }
}

void element_set_i(DType dtype, void *element, int64_t value) {
  switch (dtype) {
    case DTYPE_I8:
    case DTYPE_U8: STORE(uint8_t, element, value); break;
    case DTYPE_I16:
    case DTYPE_U16: STORE(uint16_t, element, value); break;
    case DTYPE_I32:
    case DTYPE_U32: STORE(uint32_t, element, value); break;
    case DTYPE_I64:
    case DTYPE_U64: STORE(int64_t, element, value); break;
    case DTYPE_I4: STORE(int8_t, element, sign_extend((uint64_t)value, 4)); break;
    case DTYPE_U4: STORE(uint8_t, element, value & 15); break;
    case DTYPE_I2: STORE(int8_t, element, sign_extend((uint64_t)value, 2)); break;
    case DTYPE_U2: STORE(uint8_t, element, value & 3); break;
    case DTYPE_BOOL: STORE(uint8_t, element, value != 0); break;
    case DTYPE_F32: STORE(float, element, value); break;  // at once: through double it would round twice
    default: element_set_f(dtype, element, (double)value);
  }
}
