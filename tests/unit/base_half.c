// The narrow formats against a slow reference that shares nothing with base/half.h: a table of every value a format has,
// computed with ldexp from the format's definition, and a search for the nearest entry.
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include "base/checked.h"
#include "base/half.h"

typedef struct Reference {
  const char *name;
  int mantissa_bits, bias;
  unsigned finite_count;  // codes 0 .. finite_count - 1 are the finite magnitudes
  bool has_infinity, has_negative_zero;
  unsigned sign;
  bool saturates;
  unsigned (*encode)(float value);
  float (*decode)(unsigned code);
} Reference;

#define FORMAT8(format)                                                                   \
  static unsigned format##_sat(float value) { return format##_from_float(value, true); }  \
  static unsigned format##_raw(float value) { return format##_from_float(value, false); } \
  static float format##_value(unsigned code) { return format##_to_float((uint8_t)code); }
FORMAT8(e4m3fn)
FORMAT8(e4m3fnuz)
FORMAT8(e5m2)
FORMAT8(e5m2fnuz)
static unsigned half_code(float value) { return half_from_float(value); }
static float half_value(unsigned code) { return half_to_float((uint16_t)code); }
static unsigned bf16_code(float value) { return bf16_from_float(value); }
static float bf16_value(unsigned code) { return bf16_to_float((uint16_t)code); }
static unsigned e2m1_code(float value) { return e2m1_from_float(value); }
static float e2m1_value(unsigned code) { return e2m1_to_float((uint8_t)code); }

static const Reference references[] = {
    {"half", 10, 15, 0x7c00, true, true, 0x8000, false, half_code, half_value},
    {"bf16", 7, 127, 0x7f80, true, true, 0x8000, false, bf16_code, bf16_value},
    {"e4m3fn saturating", 3, 7, 0x7f, false, true, 0x80, true, e4m3fn_sat, e4m3fn_value},
    {"e4m3fn", 3, 7, 0x7f, false, true, 0x80, false, e4m3fn_raw, e4m3fn_value},
    {"e4m3fnuz saturating", 3, 8, 0x80, false, false, 0x80, true, e4m3fnuz_sat, e4m3fnuz_value},
    {"e4m3fnuz", 3, 8, 0x80, false, false, 0x80, false, e4m3fnuz_raw, e4m3fnuz_value},
    {"e5m2 saturating", 2, 15, 0x7c, true, true, 0x80, true, e5m2_sat, e5m2_value},
    {"e5m2", 2, 15, 0x7c, true, true, 0x80, false, e5m2_raw, e5m2_value},
    {"e5m2fnuz saturating", 2, 16, 0x80, false, false, 0x80, true, e5m2fnuz_sat, e5m2fnuz_value},
    {"e5m2fnuz", 2, 16, 0x80, false, false, 0x80, false, e5m2fnuz_raw, e5m2fnuz_value},
    {"e2m1", 1, 1, 8, false, true, 8, true, e2m1_code, e2m1_value},
};

// Magnitudes in order, one more than the format has: what would follow the largest.
static double magnitudes[0x7f80 + 1];

static void fill_magnitudes(const Reference *format) {
  unsigned per_octave = 1u << format->mantissa_bits;
  for (unsigned code = 0; code <= format->finite_count; code++) {
    unsigned exponent = code / per_octave, mantissa = code % per_octave;
    double fraction = (double)mantissa / per_octave;
    magnitudes[code] = exponent ? ldexp(1 + fraction, (int)exponent - format->bias) : ldexp(fraction, 1 - format->bias);
  }
}

// The rounded magnitude's code; finite_count when it is out of range.
static unsigned nearest(const Reference *format, double magnitude) {
  unsigned low = 0, high = format->finite_count;
  if (magnitude >= magnitudes[high]) return high;
  while (high - low > 1) {
    unsigned middle = (low + high) / 2;
    *(magnitudes[middle] <= magnitude ? &low : &high) = middle;
  }
  double below = magnitude - magnitudes[low], above = magnitudes[high] - magnitude;
  if (below != above) return below < above ? low : high;
  return low % 2 == 0 ? low : high;
}

static bool encodes_as_expected(const Reference *format, float value, unsigned code) {
  unsigned sign = signbit(value) ? format->sign : 0;
  if (isnan(value)) return format->finite_count == 8 ? code == 8 : isnan(format->decode(code));
  unsigned expected = isinf(value) ? format->finite_count : nearest(format, fabs((double)value));
  if (expected == format->finite_count) {
    if (format->saturates) return code == (sign | (expected - 1));
    if (!format->has_infinity) return isnan(format->decode(code));
  }
  if (expected == 0 && !format->has_negative_zero) sign = 0;
  return code == (sign | expected);
}

static void check_encode(const Reference *format, float value) {
  unsigned code = format->encode(value);
  if (!encodes_as_expected(format, value, code)) cr_assert_fail("%s of %a is %#x", format->name, (double)value, code);
}

Test(half, decode_every_code) {
  for (size_t f = 0; f < COUNT_OF(references); f++) {
    const Reference *format = &references[f];
    fill_magnitudes(format);
    for (unsigned code = 0; code < format->sign * 2; code++) {
      unsigned magnitude = code & (format->sign - 1);
      bool negative = code & format->sign;
      float value = format->decode(code);
      bool no_zero = negative && magnitude == 0 && !format->has_negative_zero;
      if (magnitude < format->finite_count && !no_zero) {
        cr_assert(fabs((double)value) == magnitudes[magnitude], "%s %#x is %a", format->name, code, (double)value);
        cr_assert_eq(!!signbit(value), negative);
        cr_assert_eq(format->encode(value), code, "%s %#x does not survive", format->name, code);
      } else if (magnitude == format->finite_count && format->has_infinity) {
        cr_assert(isinf(value) && !!signbit(value) == negative);
      } else {
        cr_assert(isnan(value), "%s %#x is %a, not NaN", format->name, code, (double)value);
      }
    }
  }
}

// Every boundary between two codes and its neighbours on both sides: with a monotone encoder this is every float.
Test(half, encode_every_boundary) {
  for (size_t f = 0; f < COUNT_OF(references); f++) {
    const Reference *format = &references[f];
    fill_magnitudes(format);
    for (unsigned code = 0; code < format->finite_count; code++) {
      float middle = (float)((magnitudes[code] + magnitudes[code + 1]) / 2);
      float points[] = {nextafterf(middle, 0), middle, nextafterf(middle, INFINITY)};
      for (size_t i = 0; i < COUNT_OF(points); i++) {
        check_encode(format, points[i]);
        check_encode(format, -points[i]);
      }
    }
  }
}

Test(half, encode_all_exponents_and_leading_mantissas) {
  static const uint32_t tails[] = {0, 1, 0x7fff, 0x8000, 0x8001, 0xffff};
  for (size_t f = 0; f < COUNT_OF(references); f++) {
    fill_magnitudes(&references[f]);
    for (uint32_t head = 0; head < 0x10000; head++)
      for (size_t i = 0; i < COUNT_OF(tails); i++) check_encode(&references[f], float_of_bits(head << 16 | tails[i]));
  }
}

Test(half, onnx_cast_examples) {
  cr_assert_eq(e4m3fn_from_float(464, false), 0x7e);  // the tie above 448 goes back to it
  cr_assert_eq(e4m3fn_from_float(465, false), 0x7f);
  cr_assert_eq(e4m3fn_from_float(-INFINITY, false), 0xff);
  cr_assert_eq(e4m3fn_from_float(-INFINITY, true), 0xfe);
  cr_assert_eq(e4m3fnuz_from_float(-0.0f, true), 0);
  cr_assert_eq(e4m3fnuz_from_float(1e9f, false), 0x80);
  cr_assert_eq(e5m2_from_float(INFINITY, false), 0x7c);
  cr_assert_eq(e5m2_from_float(INFINITY, true), 0x7b);
  cr_assert_eq(half_from_float(65519), 0x7bff);
  cr_assert_eq(half_from_float(65520), 0x7c00);
  cr_assert_eq(e2m1_from_float(-NAN), 8);
  cr_assert_eq(e2m1_from_float(-1e9f), 15);
}

Test(half, e8m0) {
  for (unsigned code = 0; code < 255; code++) {
    float value = (float)ldexp(1, (int)code - 127);
    cr_assert(e8m0_to_float((uint8_t)code) == value);
    float little = nextafterf(value, INFINITY), under = nextafterf(value * 1.5f, 0), much = value * 1.5f;
    for (int mode = 0; mode < 6; mode++) {
      E8m0Rounding rounding = (E8m0Rounding)(mode / 2);
      bool saturate = mode % 2;
      unsigned above = code < 254 ? code + 1 : saturate ? 254 : 255;
      cr_assert_eq(e8m0_from_float(value, rounding, saturate), code);
      cr_assert_eq(e8m0_from_float(little, rounding, saturate), rounding == E8M0_UP ? above : code);
      cr_assert_eq(e8m0_from_float(under, rounding, saturate), rounding == E8M0_UP ? above : code);
      cr_assert_eq(e8m0_from_float(much, rounding, saturate), rounding == E8M0_DOWN ? code : above);
    }
  }
  cr_assert(isnan(e8m0_to_float(255)));
  cr_assert_eq(e8m0_from_float(NAN, E8M0_UP, true), 255);
  cr_assert_eq(e8m0_from_float(-1, E8M0_UP, true), 255);
  cr_assert_eq(e8m0_from_float(0, E8M0_UP, true), 0);
  cr_assert_eq(e8m0_from_float(0, E8M0_NEAREST, false), 255);
  cr_assert_eq(e8m0_from_float(1e-40f, E8M0_UP, true), 0);
  cr_assert_eq(e8m0_from_float(1e-40f, E8M0_UP, false), 255);
  cr_assert_eq(e8m0_from_float(INFINITY, E8M0_UP, true), 254);
  cr_assert_eq(e8m0_from_float(INFINITY, E8M0_NEAREST, false), 255);
}
