// The functions that ir/opcodes.inc calls x_*, for the four computation types of the host (float, double, int64_t,
// uint64_t) and bool (int32_t holding 0 or 1). kernels/program/scalar.cuh is the same for a GPU.
//
// The double versions are the C library's and serve the reference. The float versions are polynomials without branches, so
// that a loop over a strip becomes vector code: errors are within 2 units in the last place (measured in tests/unit/scalar.c).
// The coefficients are minimax fits on the reduced ranges named at each function, made by iterated least squares.
#pragma once
#include <math.h>
#include <stdint.h>
#include "base/half.h"

#define SCALAR static inline __attribute__((always_inline))

// --- float: exponentials and logarithms.
#define LN2_HIGH 0x1.62e4p-1f  // 15 bits, so that n * LN2_HIGH is exact
#define LN2_LOW 0x1.7f7d1cp-20f
#define LOG2_E 0x1.715476p+0f

// Adding this leaves the nearest integer in the low bits of the mantissa.
#define ROUNDING_SHIFT 0x1.8p23f
SCALAR float power_of_two(int32_t exponent) { return float_of_bits((uint32_t)(exponent + 127) << 23); }

// e^r - 1 for |r| <= ln(2)/2.
SCALAR float expm1_reduced(float r) {
  float p = 0x1.6dbc68p-10f;
  p = p * r + 0x1.124148p-7f;
  p = p * r + 0x1.555454p-5f;
  p = p * r + 0x1.555486p-3f;
  p = p * r + 0x1p-1f;
  return p * (r * r) + r;
}

// Splits x into n * ln(2) + r. *n is an integer held in a float.
SCALAR float reduce_exp(float x, float *n, int32_t *exponent) {
  float shifted = x * LOG2_E + ROUNDING_SHIFT;
  *n = shifted - ROUNDING_SHIFT;
  *exponent = (int32_t)(float_bits(shifted) - float_bits(ROUNDING_SHIFT));
  return (x - *n * LN2_HIGH) - *n * LN2_LOW;
}

SCALAR float exp_f32(float x) {
  // Beyond these ends the result is infinity or zero all the same. NaN passes both comparisons.
  float bounded = x < -104.0f ? -104.0f : x;
  bounded = bounded > 89.0f ? 89.0f : bounded;
  float n;
  int32_t exponent;
  float r = reduce_exp(bounded, &n, &exponent);
  float e = expm1_reduced(r) + 1.0f;
  // In two steps, since 2^exponent may itself be too large or too small.
  int32_t half = exponent >> 1;
  return e * power_of_two(half) * power_of_two(exponent - half);
}

SCALAR float expm1_f32(float x) {
  float bounded = x < -18.0f ? -18.0f : x;
  bounded = bounded > 88.0f ? 88.0f : bounded;
  float n;
  int32_t exponent;
  float r = reduce_exp(bounded, &n, &exponent);
  float scale = power_of_two(exponent);
  float near = scale * expm1_reduced(r) + (scale - 1.0f);
  return x > 88.0f ? exp_f32(x) : near;
}

SCALAR float log_f32(float x) {
  // Subnormals are scaled up first.
  int tiny = x < 0x1p-126f;
  float scaled = tiny ? x * 0x1p23f : x;
  // Mantissa to [sqrt(1/2), sqrt(2)).
  uint32_t bits = float_bits(scaled) - 0x3f3504f3u;
  int32_t exponent = ((int32_t)bits >> 23) - (tiny ? 23 : 0);
  float f = float_of_bits((bits & 0x7fffffu) + 0x3f3504f3u) - 1.0f;
  // (log(1 + f) - f + f^2 / 2) / f^3.
  float p = 0x1.1b417cp-4f;
  p = p * f + -0x1.e2e962p-4f;
  p = p * f + 0x1.e65112p-4f;
  p = p * f + -0x1.fb4340p-4f;
  p = p * f + 0x1.2332b8p-3f;
  p = p * f + -0x1.5562e2p-3f;
  p = p * f + 0x1.99a546p-3f;
  p = p * f + -0x1.ffffeep-3f;
  p = p * f + 0x1.555546p-2f;
  float square = f * f, n = (float)exponent;
  float small = p * f * square + n * LN2_LOW - 0.5f * square;
  float result = small + f + n * LN2_HIGH;
  result = x == 0.0f ? -INFINITY : result;
  result = x < 0.0f ? NAN : result;
  return x < INFINITY ? result : x;
}

// log(1 + x), corrected for what 1 + x rounds away.
SCALAR float log1p_f32(float x) {
  float u = 1.0f + x;
  float correction = (x - (u - 1.0f)) / u;
  float result = log_f32(u) + correction;
  result = u == 0.0f ? -INFINITY : result;
  return u < INFINITY ? result : u;
}

// --- float: the activation functions.
SCALAR float sigmoid_f32(float x) { return 1.0f / (1.0f + exp_f32(-x)); }

SCALAR float tanh_f32(float x) {
  float magnitude = __builtin_fabsf(x);
  // |x| < 0.625: x + x^3 P(x^2).
  float t = x * x;
  float p = -0x1.76ac18p-8f;
  p = p * t + 0x1.5256d6p-6f;
  p = p * t + -0x1.b84448p-5f;
  p = p * t + 0x1.110768p-3f;
  p = p * t + -0x1.555534p-2f;
  float near = p * t * x + x;
  float far = 1.0f - 2.0f / (exp_f32(2.0f * magnitude) + 1.0f);
  return magnitude < 0.625f ? near : __builtin_copysignf(far, x);
}

SCALAR float erf_f32(float x) {
  float magnitude = __builtin_fabsf(x);
  // |x| < 1: x * (2/sqrt(pi) + x^2 P(x^2)).
  float t = x * x;
  float p = 0x1.4cbd30p-14f;
  p = p * t + -0x1.a54466p-11f;
  p = p * t + 0x1.54376ep-8f;
  p = p * t + -0x1.b80010p-6f;
  p = p * t + 0x1.ce2d70p-4f;
  p = p * t + -0x1.812742p-2f;
  float near = p * t * x + (0x1.06eba8p-3f * x + x);
  // 1 <= |x| < 4: 1 - e^Q(|x| - 1); beyond 4 the result is 1.
  float u = magnitude > 4.0f ? 3.0f : magnitude - 1.0f;
  float q = 0x1.852d52p-13f;
  q = q * u + -0x1.deb7c2p-10f;
  q = q * u + 0x1.441ad2p-7f;
  q = q * u + -0x1.53f940p-5f;
  q = q * u + -0x1.afad34p-1f;
  q = q * u + -0x1.51c9aap+1f;
  q = q * u + -0x1.d97fc0p+0f;
  float far = 1.0f - exp_f32(q);
  return magnitude < 1.0f ? near : __builtin_copysignf(far, x);
}

// --- double: what the C library lacks.
SCALAR double sigmoid_f64(double x) {
  double e = exp(-fabs(x));
  return (x < 0 ? e : 1) / (1 + e);
}

// --- Division and its kin. Integers: x/0 is 0, and the smallest value divided by -1 wraps.
SCALAR float div_f32(float a, float b) { return a / b; }
SCALAR double div_f64(double a, double b) { return a / b; }
SCALAR int64_t div_i64(int64_t a, int64_t b) { return b == 0 ? 0 : b == -1 ? (int64_t)(0 - (uint64_t)a) : a / b; }
SCALAR uint64_t div_u64(uint64_t a, uint64_t b) { return b == 0 ? 0 : a / b; }

SCALAR float fmod_f32(float a, float b) { return fmodf(a, b); }
SCALAR double fmod_f64(double a, double b) { return fmod(a, b); }
SCALAR int64_t fmod_i64(int64_t a, int64_t b) { return b == 0 || b == -1 ? 0 : a % b; }
SCALAR uint64_t fmod_u64(uint64_t a, uint64_t b) { return b == 0 ? 0 : a % b; }

SCALAR float mod_f32(float a, float b) {
  float r = fmodf(a, b);
  return r != 0 && (r < 0) != (b < 0) ? r + b : r;
}
SCALAR double mod_f64(double a, double b) {
  double r = fmod(a, b);
  return r != 0 && (r < 0) != (b < 0) ? r + b : r;
}
SCALAR int64_t mod_i64(int64_t a, int64_t b) {
  int64_t r = fmod_i64(a, b);
  return r != 0 && (r < 0) != (b < 0) ? r + b : r;
}

// A negative exponent gives the truncated reciprocal: 0, or 1 and -1 to themselves.
SCALAR uint64_t pow_u64(uint64_t a, uint64_t b) {
  uint64_t result = 1;
  for (; b; b >>= 1, a *= a)
    if (b & 1) result *= a;
  return result;
}
SCALAR int64_t pow_i64(int64_t a, int64_t b) {
  if (b < 0) return a == 1 ? 1 : a == -1 ? (b & 1 ? -1 : 1) : 0;
  return (int64_t)pow_u64((uint64_t)a, (uint64_t)b);
}

// --- Bits. Shifting by the width or more leaves only the sign; a negative count counts as large.
SCALAR uint64_t shift_left_u64(uint64_t a, uint64_t b) { return b >= 64 ? 0 : a << (b & 63); }
SCALAR uint64_t shift_right_u64(uint64_t a, uint64_t b) { return b >= 64 ? 0 : a >> (b & 63); }
SCALAR int64_t shift_left_i64(int64_t a, int64_t b) { return (int64_t)shift_left_u64((uint64_t)a, (uint64_t)b); }
SCALAR int64_t shift_right_i64(int64_t a, int64_t b) { return a >> ((uint64_t)b < 64 ? b : 63); }
SCALAR int32_t not_bool(int32_t a) { return !a; }
SCALAR int64_t not_i64(int64_t a) { return ~a; }
SCALAR uint64_t not_u64(uint64_t a) { return ~a; }

SCALAR float abs_f32(float a) { return __builtin_fabsf(a); }
SCALAR double abs_f64(double a) { return fabs(a); }
SCALAR int64_t abs_i64(int64_t a) { return a < 0 ? (int64_t)(0 - (uint64_t)a) : a; }
SCALAR uint64_t abs_u64(uint64_t a) { return a; }

// --- The names of opcodes.inc. `default` serves opcodes that do not take the type at all: compiled, never called.
#define x_float(function32, function64, a) _Generic((a), float : function32, default : function64)(a)
#define x_number(name, a, b) \
  _Generic((a), float : name##_f32, double : name##_f64, uint64_t : name##_u64, default : name##_i64)(a, b)
#define mod_u64 fmod_u64
#define pow_f32 powf
#define pow_f64 pow

#define x_mul(a, b) ((a) * (b))
#define x_div(a, b) x_number(div, a, b)
#define x_mod(a, b) x_number(mod, a, b)
#define x_fmod(a, b) x_number(fmod, a, b)
#define x_pow(a, b) x_number(pow, a, b)
#define x_min(a, b) (((a < b) | (a != a)) ? a : b)
#define x_max(a, b) (((a > b) | (a != a)) ? a : b)
#define x_abs(a) _Generic((a), float : abs_f32, double : abs_f64, uint64_t : abs_u64, default : abs_i64)(a)
#define x_sign(a) (a > 0 ? 1 : a < 0 ? -1 : a)
#define x_fma(a, b, c) _Generic((a), float : fmaf, default : fma)(a, b, c)
#define x_not(a) _Generic((a), int32_t : not_bool, uint64_t : not_u64, default : not_i64)(a)
#define x_shift_left(a, b) _Generic((a), uint64_t : shift_left_u64, default : shift_left_i64)(a, b)
#define x_shift_right(a, b) _Generic((a), uint64_t : shift_right_u64, default : shift_right_i64)(a, b)
#define x_isinf(a) (x_float(fabsf, fabs, a) == INFINITY)
#define x_floor(a) x_float(floorf, floor, a)
#define x_ceil(a) x_float(ceilf, ceil, a)
#define x_round(a) x_float(rintf, rint, a)
#define x_trunc(a) x_float(truncf, trunc, a)
#define x_sqrt(a) x_float(sqrtf, sqrt, a)
#define x_rsqrt(a) (1 / x_sqrt(a))
#define x_exp(a) x_float(exp_f32, exp, a)
#define x_log(a) x_float(log_f32, log, a)
#define x_log1p(a) x_float(log1p_f32, log1p, a)
#define x_expm1(a) x_float(expm1_f32, expm1, a)
#define x_sin(a) x_float(sinf, sin, a)
#define x_cos(a) x_float(cosf, cos, a)
#define x_tan(a) x_float(tanf, tan, a)
#define x_asin(a) x_float(asinf, asin, a)
#define x_acos(a) x_float(acosf, acos, a)
#define x_atan(a) x_float(atanf, atan, a)
#define x_sinh(a) x_float(sinhf, sinh, a)
#define x_cosh(a) x_float(coshf, cosh, a)
#define x_tanh(a) x_float(tanh_f32, tanh, a)
#define x_asinh(a) x_float(asinhf, asinh, a)
#define x_acosh(a) x_float(acoshf, acosh, a)
#define x_atanh(a) x_float(atanhf, atanh, a)
#define x_atan2(a, b) _Generic((a), float : atan2f, default : atan2)(a, b)
#define x_erf(a) x_float(erf_f32, erf, a)
#define x_sigmoid(a) x_float(sigmoid_f32, sigmoid_f64, a)
