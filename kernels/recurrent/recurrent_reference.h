// The reference of `recurrent`, in a file of its own.
#pragma once
#include "kernels/meaning.h"

MUST_CHECK Status reference_recurrent(Reference *r);
