// The functions that ir/opcodes.inc calls x_*, for the types device code computes in: float, double, int, u32, i64, u64 and
// bool. scalar_math.h is the same for the host and says what each means. Only NVRTC's built-in functions, in their full
// precision, but for programs whose results are stored in half (narrow_*): there an epilogue's functions cost more than the memory it writes to.
#pragma once
#include "kernels/common/types.cuh"

#define SCALAR_FLOAT(name, function32, function64)     \
  DEVICE float name(float a) { return function32(a); } \
  DEVICE double name(double a) { return function64(a); }
SCALAR_FLOAT(x_floor, floorf, floor)
SCALAR_FLOAT(x_ceil, ceilf, ceil)
SCALAR_FLOAT(x_round, rintf, rint)
SCALAR_FLOAT(x_trunc, truncf, trunc)
SCALAR_FLOAT(x_sqrt, sqrtf, sqrt)
SCALAR_FLOAT(x_rsqrt, rsqrtf, rsqrt)
SCALAR_FLOAT(x_exp, expf, exp)
SCALAR_FLOAT(x_log, logf, log)
SCALAR_FLOAT(x_log1p, log1pf, log1p)
SCALAR_FLOAT(x_expm1, expm1f, expm1)
SCALAR_FLOAT(x_sin, sinf, sin)
SCALAR_FLOAT(x_cos, cosf, cos)
SCALAR_FLOAT(x_tan, tanf, tan)
SCALAR_FLOAT(x_asin, asinf, asin)
SCALAR_FLOAT(x_acos, acosf, acos)
SCALAR_FLOAT(x_atan, atanf, atan)
SCALAR_FLOAT(x_sinh, sinhf, sinh)
SCALAR_FLOAT(x_cosh, coshf, cosh)
SCALAR_FLOAT(x_tanh, tanhf, tanh)
SCALAR_FLOAT(x_asinh, asinhf, asinh)
SCALAR_FLOAT(x_acosh, acoshf, acosh)
SCALAR_FLOAT(x_atanh, atanhf, atanh)
SCALAR_FLOAT(x_erf, erff, erf)
SCALAR_FLOAT(x_abs, fabsf, fabs)
#undef SCALAR_FLOAT
// The quotient is within 2 units in the last place; where e^-a is beyond its range the result is 0 either way.
DEVICE float x_sigmoid(float a) { return __fdividef(1.0f, 1.0f + expf(-a)); }
DEVICE double x_sigmoid(double a) {
  double e = exp(-fabs(a));
  return (a < 0 ? e : 1) / (1 + e);
}

// --- For results that are stored in half precision, see program_is_narrow. Sigmoid, tanh and erf are within 2^-20; an exponential is within 2^-20 of itself, and that many times
// less precise as its argument is greater than 10. Quotients stay exact: what divides quickly gives 0 where the divisor is beyond 2^126, which bf16 reaches.
DEVICE float narrow_exp(float a) { return exp2_approximate(a * 1.4426950408889634f); }
DEVICE float narrow_sigmoid(float a) { return reciprocal_approximate(1.0f + narrow_exp(-a)); }
DEVICE float narrow_tanh(float a) { return fmaf(-2.0f, reciprocal_approximate(1.0f + narrow_exp(2.0f * a)), 1.0f); }
// Abramowitz and Stegun, 7.1.26: within 1.5e-7.
DEVICE float narrow_erf(float a) {
  const float t = reciprocal_approximate(fmaf(0.3275911f, fabsf(a), 1.0f));
  float sum = fmaf(t, 1.061405429f, -1.453152027f);
  sum = fmaf(t, sum, 1.421413741f);
  sum = fmaf(t, sum, -0.284496736f);
  sum = fmaf(t, sum, 0.254829592f);
  const float size = fmaf(-t * sum, narrow_exp(-a * a), 1.0f);
  return a < 0 ? -size : size;
}

DEVICE bool x_isinf(float a) { return fabsf(a) == float_of_bits(0x7f800000u); }
DEVICE bool x_isinf(double a) { return fabs(a) == __longlong_as_double(0x7ff0000000000000ll); }
DEVICE float x_atan2(float a, float b) { return atan2f(a, b); }
DEVICE double x_atan2(double a, double b) { return atan2(a, b); }
DEVICE float x_fma(float a, float b, float c) { return fmaf(a, b, c); }
DEVICE double x_fma(double a, double b, double c) { return fma(a, b, c); }

// --- NaN propagates.
DEVICE float x_min(float a, float b) {
#if __CUDA_ARCH__ >= 800 && !defined(EMULATED)
  float result;
  asm("min.NaN.f32 %0, %1, %2;" : "=f"(result) : "f"(a), "f"(b));
  return result;
#else
  return a < b || a != a ? a : b;
#endif
}
DEVICE float x_max(float a, float b) {
#if __CUDA_ARCH__ >= 800 && !defined(EMULATED)
  float result;
  asm("max.NaN.f32 %0, %1, %2;" : "=f"(result) : "f"(a), "f"(b));
  return result;
#else
  return a > b || a != a ? a : b;
#endif
}
DEVICE double x_min(double a, double b) { return a < b || a != a ? a : b; }
DEVICE double x_max(double a, double b) { return a > b || a != a ? a : b; }
DEVICE float x_sign(float a) { return a > 0 ? 1.0f : a < 0 ? -1.0f : a; }
DEVICE double x_sign(double a) { return a > 0 ? 1.0 : a < 0 ? -1.0 : a; }

// --- Products. Those of floats are rounded on their own: contracted with a sum, a program would give other results here than anywhere else.
DEVICE float x_mul(float a, float b) { return __fmul_rn(a, b); }
DEVICE double x_mul(double a, double b) { return __dmul_rn(a, b); }

// --- Division and its kin.
DEVICE float x_div(float a, float b) { return a / b; }
DEVICE double x_div(double a, double b) { return a / b; }
DEVICE float x_fmod(float a, float b) { return fmodf(a, b); }
DEVICE double x_fmod(double a, double b) { return fmod(a, b); }
DEVICE float x_pow(float a, float b) { return powf(a, b); }
DEVICE double x_pow(double a, double b) { return pow(a, b); }
template <class T> DEVICE T mod_from_fmod(T r, T b) { return r != 0 && (r < 0) != (b < 0) ? r + b : r; }
DEVICE float x_mod(float a, float b) { return mod_from_fmod(fmodf(a, b), b); }
DEVICE double x_mod(double a, double b) { return mod_from_fmod(fmod(a, b), b); }

template <class U> DEVICE U unsigned_pow(U a, U b) {
  U result = 1;
  for (; b; b >>= 1, a *= a)
    if (b & 1) result *= a;
  return result;
}

// Integers: x/0 is 0, the smallest value divided by -1 wraps, a negative exponent gives the truncated reciprocal, shifting by the
// width or more leaves only the sign.
#define SCALAR_SIGNED(T, U)                                                             \
  DEVICE T x_div(T a, T b) { return b == 0 ? 0 : b == -1 ? (T)(0 - (U)a) : a / b; }     \
  DEVICE T x_fmod(T a, T b) { return b == 0 || b == -1 ? 0 : a % b; }                   \
  DEVICE T x_mod(T a, T b) { return mod_from_fmod(x_fmod(a, b), b); }                   \
  DEVICE T x_pow(T a, T b) {                                                            \
    if (b < 0) return a == 1 ? 1 : a == -1 ? (b & 1 ? -1 : 1) : 0;                      \
    return (T)unsigned_pow((U)a, (U)b);                                                 \
  }                                                                                     \
  DEVICE T x_abs(T a) { return a < 0 ? (T)(0 - (U)a) : a; }                             \
  DEVICE T x_sign(T a) { return (a > 0) - (a < 0); }                                    \
  DEVICE T x_shift_left(T a, T b) { return (U)b < 8 * sizeof(T) ? (T)((U)a << b) : 0; } \
  DEVICE T x_shift_right(T a, T b) { return a >> ((U)b < 8 * sizeof(T) ? b : (T)(8 * sizeof(T) - 1)); }
#define SCALAR_UNSIGNED(U)                                                   \
  DEVICE U x_div(U a, U b) { return b == 0 ? 0 : a / b; }                    \
  DEVICE U x_fmod(U a, U b) { return b == 0 ? 0 : a % b; }                   \
  DEVICE U x_mod(U a, U b) { return x_fmod(a, b); }                          \
  DEVICE U x_pow(U a, U b) { return unsigned_pow(a, b); }                    \
  DEVICE U x_abs(U a) { return a; }                                          \
  DEVICE U x_sign(U a) { return a != 0; }                                    \
  DEVICE U x_shift_left(U a, U b) { return b < 8 * sizeof(U) ? a << b : 0; } \
  DEVICE U x_shift_right(U a, U b) { return b < 8 * sizeof(U) ? a >> b : 0; }
#define SCALAR_INTEGER(T)                            \
  DEVICE T x_min(T a, T b) { return a < b ? a : b; } \
  DEVICE T x_max(T a, T b) { return a > b ? a : b; } \
  DEVICE T x_not(T a) { return ~a; }                 \
  DEVICE T x_mul(T a, T b) { return a * b; }
SCALAR_SIGNED(int, u32)
SCALAR_SIGNED(i64, u64)
SCALAR_UNSIGNED(u32)
SCALAR_UNSIGNED(u64)
SCALAR_INTEGER(int)
SCALAR_INTEGER(u32)
SCALAR_INTEGER(i64)
SCALAR_INTEGER(u64)
#undef SCALAR_SIGNED
#undef SCALAR_UNSIGNED
#undef SCALAR_INTEGER
DEVICE bool x_not(bool a) { return !a; }
