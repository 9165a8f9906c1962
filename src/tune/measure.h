// How long one candidate takes on a rig, among others of its kind (rounds.h).
#pragma once
#include "tune/rig.h"
#include "lower/launches.h"

// cubins: of its kernels, in the order of its launches. best: seconds of the fastest so far; one that takes thrice as long is timed once. On a sketch
// every candidate is. seconds NULL: it runs once, and nobody wants the time. The outputs hold what it computed; elements that it did not write are of bytes 0xff.
MUST_CHECK Status measure_emission(Rig *rig, const Emission *emission, const Cubin *cubins, double best, double *seconds);
