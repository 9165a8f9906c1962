// Conversions between float and the narrow formats, bit by bit: half, bfloat16, the four 8-bit floats, the 4-bit float
// and the power-of-two scale. Compilers differ in what they offer for these (_Float16 needs clang 15), and a narrow format
// is three numbers and a rule for its special codes, so two functions serve all but bfloat16. The format arguments are
// constants and fold away. To nearest, ties to even. Out of range follows ONNX Cast: saturating gives the largest finite
// value for infinities too; otherwise infinity, or NaN where a format has none. Formats: OCP MX and OFP8, arXiv 2206.02915
// for fnuz.
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

static inline uint32_t float_bits(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}

static inline float float_of_bits(uint32_t bits) {
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

// How the codes above the finite ones are spent.
typedef enum NarrowSpecials {
  NARROW_IEEE,     // exponent all ones: infinity, NaN
  NARROW_FN,       // exponent and mantissa all ones: NaN; no infinity
  NARROW_FNUZ,     // the code of -0: NaN; no infinity, no -0
  NARROW_NUMBERS,  // no specials at all
} NarrowSpecials;

typedef struct NarrowFormat {
  int exponent_bits, mantissa_bits, bias;
  NarrowSpecials specials;
} NarrowFormat;

#define NARROW_HALF ((NarrowFormat){5, 10, 15, NARROW_IEEE})
#define NARROW_E4M3FN ((NarrowFormat){4, 3, 7, NARROW_FN})
#define NARROW_E4M3FNUZ ((NarrowFormat){4, 3, 8, NARROW_FNUZ})
#define NARROW_E5M2 ((NarrowFormat){5, 2, 15, NARROW_IEEE})
#define NARROW_E5M2FNUZ ((NarrowFormat){5, 2, 16, NARROW_FNUZ})
#define NARROW_E2M1 ((NarrowFormat){2, 1, 1, NARROW_NUMBERS})

// magnitude >> shift, to nearest, ties to even. 1 <= shift <= 31.
static inline uint32_t shift_round_even(uint32_t magnitude, int shift) {
  uint32_t kept = magnitude >> shift;
  return (magnitude + (1u << (shift - 1)) - 1 + (kept & 1)) >> shift;
}

static inline uint32_t narrow_from_float(NarrowFormat format, float value, bool saturate) {
  const uint32_t sign_code = 1u << (format.exponent_bits + format.mantissa_bits);
  const uint32_t infinity = ((1u << format.exponent_bits) - 1) << format.mantissa_bits;  // where the format is IEEE
  const uint32_t largest = format.specials == NARROW_IEEE ? infinity - 1
                           : format.specials == NARROW_FN ? sign_code - 2
                                                          : sign_code - 1;
  const uint32_t nan = format.specials == NARROW_IEEE ? infinity | 1u << (format.mantissa_bits - 1) : sign_code - 1;
  uint32_t magnitude = float_bits(value) & 0x7fffffff;
  uint32_t sign = float_bits(value) >> 31 ? sign_code : 0;
  if (magnitude > 0x7f800000) {
    if (format.specials == NARROW_FNUZ) return sign_code;
    if (format.specials == NARROW_NUMBERS) return sign_code;  // whatever its sign: so do ONNX's own expected results
    return sign | nan;
  }
  uint32_t code = UINT32_MAX;  // of infinity: out of range
  if (magnitude < 0x7f800000) {
    int float_exponent = (int)(magnitude >> 23);
    int exponent = float_exponent - 127 + format.bias;
    uint32_t significand = (magnitude & 0x7fffff) | 0x800000;
    int shift = 23 - format.mantissa_bits + (exponent < 1 ? 1 - exponent : 0);
    // Floats below the normal range are far below half of every format's smallest.
    code = float_exponent == 0 || shift > 25 ? 0 : shift_round_even(significand, shift);
    // A carry out of the mantissa lands in the exponent, as it should.
    if (exponent > 1) code += (uint32_t)(exponent - 1) << format.mantissa_bits;
  }
  if (code > largest) {
    if (saturate || format.specials == NARROW_NUMBERS) return sign | largest;
    if (format.specials == NARROW_FNUZ) return sign_code;
    return sign | (format.specials == NARROW_IEEE ? infinity : nan);
  }
  if (code == 0 && format.specials == NARROW_FNUZ) return 0;
  return sign | code;
}

static inline float narrow_to_float(NarrowFormat format, uint32_t code) {
  const uint32_t sign_code = 1u << (format.exponent_bits + format.mantissa_bits);
  const uint32_t infinity = ((1u << format.exponent_bits) - 1) << format.mantissa_bits;
  uint32_t sign = code & sign_code ? 0x80000000 : 0;
  uint32_t magnitude = code & (sign_code - 1);
  if (format.specials == NARROW_FNUZ && code == sign_code) return float_of_bits(0x7fc00000);
  if (format.specials == NARROW_FN && magnitude == sign_code - 1) return float_of_bits(sign | 0x7fc00000);
  if (format.specials == NARROW_IEEE && magnitude >= infinity) {
    uint32_t payload = (magnitude - infinity) << (23 - format.mantissa_bits);
    return float_of_bits(sign | 0x7f800000 | payload | (payload ? 0x400000 : 0));
  }
  uint32_t exponent = magnitude >> format.mantissa_bits;
  uint32_t mantissa = magnitude & ((1u << format.mantissa_bits) - 1);
  if (exponent == 0) {
    float unit = float_of_bits((uint32_t)(127 + 1 - format.bias - format.mantissa_bits) << 23);
    return float_of_bits(sign | float_bits((float)mantissa * unit));
  }
  uint32_t float_exponent = exponent + 127 - (uint32_t)format.bias;
  return float_of_bits(sign | float_exponent << 23 | mantissa << (23 - format.mantissa_bits));
}

static inline uint16_t half_from_float(float value) { return (uint16_t)narrow_from_float(NARROW_HALF, value, false); }
static inline float half_to_float(uint16_t code) { return narrow_to_float(NARROW_HALF, code); }

static inline uint16_t bf16_from_float(float value) {
  uint32_t bits = float_bits(value);
  if ((bits & 0x7fffffff) > 0x7f800000) return (uint16_t)(bits >> 16 | 0x40);
  return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}
static inline float bf16_to_float(uint16_t code) { return float_of_bits((uint32_t)code << 16); }

static inline uint8_t e4m3fn_from_float(float value, bool saturate) {
  return (uint8_t)narrow_from_float(NARROW_E4M3FN, value, saturate);
}
static inline uint8_t e4m3fnuz_from_float(float value, bool saturate) {
  return (uint8_t)narrow_from_float(NARROW_E4M3FNUZ, value, saturate);
}
static inline uint8_t e5m2_from_float(float value, bool saturate) {
  return (uint8_t)narrow_from_float(NARROW_E5M2, value, saturate);
}
static inline uint8_t e5m2fnuz_from_float(float value, bool saturate) {
  return (uint8_t)narrow_from_float(NARROW_E5M2FNUZ, value, saturate);
}
static inline float e4m3fn_to_float(uint8_t code) { return narrow_to_float(NARROW_E4M3FN, code); }
static inline float e4m3fnuz_to_float(uint8_t code) { return narrow_to_float(NARROW_E4M3FNUZ, code); }
static inline float e5m2_to_float(uint8_t code) { return narrow_to_float(NARROW_E5M2, code); }
static inline float e5m2fnuz_to_float(uint8_t code) { return narrow_to_float(NARROW_E5M2FNUZ, code); }

// The code is in the low 4 bits. Always saturates; NaN, which the format lacks, becomes -0.
static inline uint8_t e2m1_from_float(float value) { return (uint8_t)narrow_from_float(NARROW_E2M1, value, true); }
static inline float e2m1_to_float(uint8_t code) { return narrow_to_float(NARROW_E2M1, code & 15u); }

typedef enum E8m0Rounding { E8M0_UP, E8M0_DOWN, E8M0_NEAREST } E8m0Rounding;

// 2^(code - 127), 255 is NaN. E8M0_NEAREST takes ties up. Zero and what is below 2^-127, and what rounds to more than
// 2^127, become the nearest end when saturating, otherwise NaN. Negative values, which ONNX leaves open, become NaN.
static inline uint8_t e8m0_from_float(float value, E8m0Rounding rounding, bool saturate) {
  enum { SMALLEST = 0x400000, NOT_A_NUMBER = 255, LARGEST = 254 };
  uint32_t bits = float_bits(value);
  if (bits == 0x80000000) bits = 0;
  if (bits > 0x7f800000) return NOT_A_NUMBER;
  if (bits == 0x7f800000) return saturate ? LARGEST : NOT_A_NUMBER;
  if (bits < SMALLEST) return saturate ? 0 : NOT_A_NUMBER;
  // In [2^-127, 2^-126) the leading one is the top bit of the mantissa: double to look like the others.
  uint32_t code = bits >> 23;
  uint32_t fraction = code ? bits & 0x7fffff : (bits & 0x3fffff) << 1;
  if (rounding == E8M0_UP) code += fraction != 0;
  else if (rounding == E8M0_NEAREST) code += fraction >= 0x400000;
  return code <= LARGEST ? (uint8_t)code : saturate ? LARGEST : NOT_A_NUMBER;
}

static inline float e8m0_to_float(uint8_t code) {
  if (code == 255) return float_of_bits(0x7fc00000);
  return float_of_bits(code ? (uint32_t)code << 23 : 0x400000);
}
