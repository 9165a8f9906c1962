// See draw.h.
#include "tests/random/draw.h"

#include <float.h>
#include <math.h>

#include "base/checked.h"

double draw_number(Draw *draw, int flavour) {
  static const double edges[] = {NAN,      INFINITY, -INFINITY, 0,    -0.0,  -0.0, FLT_TRUE_MIN,
                                 -FLT_MIN, 65504,    -65504,    1e10, -1e-6, 1};
  switch (flavour) {
    case 0: return draw_below(draw, 7) - 3;
    case 1: return (draw_below(draw, 17) - 8) * 0.25;
    case 2: return draw_unit(draw) * 4 - 2;
    default: return draw_one_in(draw, 4) ? edges[draw_below(draw, COUNT_OF(edges))] : draw_unit(draw) * 4 - 2;
  }
}
