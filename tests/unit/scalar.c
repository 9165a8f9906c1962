// The float polynomials of kernels/program/scalar_math.h against the C library in double, over all of their range, in every build of the loops.
#include <criterion/criterion.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include "kernels/program/interpret.h"
#include "base/half.h"

enum { COUNT = 1 << 14 };

// In units in the last place of the expected float; 0 if both are NaN or equal.
static double units_apart(float actual, double expected) {
  if (isnan(expected) && isnan(actual)) return 0;
  if ((double)actual == expected || (float)expected == actual) return 0;
  if (isnan(actual) || isnan(expected) || isinf(actual) || isinf((float)expected)) return INFINITY;
  float magnitude = fmaxf(fabsf((float)expected), FLT_MIN);
  return fabs(actual - expected) / ((double)nextafterf(magnitude, INFINITY) - magnitude);
}

static double sigmoid(double x) { return 1 / (1 + exp(-x)); }

typedef struct Function {
  Opcode op;
  double (*exact)(double);
  float lowest, highest;
  double most;  // units in the last place
} Function;

static const Function functions[] = {
    {OP_exp, exp, -104, 89, 2},        {OP_exp, exp, -1, 1, 2},          {OP_log, log, 1e-38f, 1e38f, 2},
    {OP_log, log, 0.5f, 2, 2},         {OP_log1p, log1p, -0.99f, 10, 3}, {OP_expm1, expm1, -20, 90, 3},
    {OP_expm1, expm1, -0.5f, 0.5f, 3}, {OP_tanh, tanh, -10, 10, 2.5},    {OP_tanh, tanh, -0.7f, 0.7f, 2.5},
    {OP_sigmoid, sigmoid, -80, 30, 3}, {OP_sigmoid, sigmoid, -2, 2, 3},  {OP_erf, erf, -4.5f, 4.5f, 2},
    {OP_erf, erf, -0.01f, 0.01f, 2},
};

static void check_table(const StripTable *table) {
  float *in = malloc(COUNT * sizeof *in), *out = malloc(COUNT * sizeof *out);
  for (size_t f = 0; f < sizeof functions / sizeof *functions; f++) {
    const Function *function = &functions[f];
    // Evenly spaced in value, then over all floats of the range: every exponent as often.
    for (int pass = 0; pass < 2; pass++) {
      for (int i = 0; i < COUNT; i++) {
        in[i] = function->lowest + (function->highest - function->lowest) * ((float)i / COUNT);
        if (pass == 1) {
          float tiny = float_of_bits((uint32_t)(0x7f800000ull * (unsigned)i / COUNT) + (unsigned)i % 1000);
          float end = i % 2 ? function->highest : function->lowest;
          in[i] = fabsf(end) > tiny ? copysignf(tiny, end) : end;
          if (function->op == OP_log) in[i] = tiny;
        }
      }
      table->compute[function->op][REGISTER_F32](out, in, NULL, NULL, COUNT);
      for (int i = 0; i < COUNT; i++) {
        double units = units_apart(out[i], function->exact(in[i]));
        cr_assert(units <= function->most, "%s: %s(%.9g) is %.9g, %g units from %.9g", table->name,
                  opcode_info(function->op)->name, in[i], out[i], units, function->exact(in[i]));
      }
    }
    // The ends.
    const float special[] = {0, -0.0f, INFINITY, -INFINITY, NAN, 1e-40f, -1e-40f, 200, -200, FLT_MAX, -FLT_MAX, -1};
    int count = sizeof special / sizeof *special;
    table->compute[function->op][REGISTER_F32](out, special, NULL, NULL, count);
    for (int i = 0; i < count; i++) {
      double units = units_apart(out[i], function->exact(special[i]));
      // Below e^-88 sigmoid gives 0 where a subnormal would be right.
      cr_assert(units <= function->most || fabs(out[i] - function->exact(special[i])) < 1e-37, "%s: %s(%g) is %g, not %g",
                table->name, opcode_info(function->op)->name, special[i], out[i], function->exact(special[i]));
    }
  }
  free(in);
  free(out);
}

Test(scalar, generic_loops) { check_table(&strip_table_generic); }
Test(scalar, avx2_loops) {
  if (strip_table_avx2 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) check_table(strip_table_avx2);
}
Test(scalar, avx512_loops) {
  if (strip_table_avx512 && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq"))
    check_table(strip_table_avx512);
}
