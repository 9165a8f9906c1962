// The functions that CUDA has and the C library has not.
#include <math.h>
#include "tests/emulator/emulator.h"

EMULATED_API float rsqrtf(float x) { return (float)(1 / sqrt((double)x)); }
EMULATED_API double rsqrt(double x) { return 1 / sqrt(x); }

// sin and cos of pi x: reduced exactly, to [-1/4, 1/4], before they meet a rounding.
EMULATED_API void sincospi(double x, double *sine, double *cosine) {
  double turns = x - 2 * rint(x / 2), quarter = rint(2 * turns), rest = (turns - quarter / 2) * 3.14159265358979323846;
  double s = sin(rest), c = cos(rest);
  switch ((int)quarter & 3) {
    case 0: *sine = s, *cosine = c; break;
    case 1: *sine = c, *cosine = -s; break;
    case 2: *sine = -s, *cosine = -c; break;
    default: *sine = -c, *cosine = s;
  }
}
EMULATED_API void sincospif(float x, float *sine, float *cosine) {
  double s, c;
  sincospi((double)x, &s, &c);
  *sine = (float)s;
  *cosine = (float)c;
}
