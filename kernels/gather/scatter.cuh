// How a scatter combines what is there with an update. NaN spreads through maxima and minima.
#pragma once
#include "kernels/common/index.cuh"

struct ScatterAdd {
  template <class T> DEVICE T combine(T old, T update) { return old + update; }
};
struct ScatterMul {
  template <class T> DEVICE T combine(T old, T update) { return old * update; }
};
struct ScatterMax {
  template <class T> DEVICE T combine(T old, T update) { return old > update || old != old ? old : update; }
};
struct ScatterMin {
  template <class T> DEVICE T combine(T old, T update) { return old < update || old != old ? old : update; }
};
