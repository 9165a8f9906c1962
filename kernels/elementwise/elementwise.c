// The elementwise operator. All of its substance is in the domain and in the program.
#include "kernels/implementation.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/program/domain.h"

const OpDef op_elementwise = {
    .name = "elementwise",
    .help = "a scalar program at every point of the inputs' broadcast shape",
    .max_inputs = -1,
    .min_outputs = 1,
    .max_outputs = -1,
    .attributes = (const AttributeSpec[]){{"program", ATTR_PROGRAM, true}, {"dims", ATTR_DIMS, false}, {0}},
    .infer = domain_infer,
    .reference = domain_reference,
    .has_program = true,
    .permute = domain_permute,
    .image = IMAGE_FOLLOWS,
};

const Implementation cpu_elementwise = {
    .name = "strips",
    .backend = BACKEND_CPU,
    .op = &op_elementwise,
    .supports = domain_cpu_supports,
    .ways = one_way,
    .host = &domain_cpu_routine,
};
