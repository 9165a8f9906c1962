// The rowwise operator: elementwise with reductions over the axes in `axes`. The same domain and engine serve both; an
// elementwise node is a rowwise one whose rows have one element.
#include "kernels/rowwise/rowwise.h"
#include "kernels/program/domain.h"

const OpDef op_rowwise = {
    .name = "rowwise",
    .help = "a scalar program with reductions along some axes: softmax, normalisations, sums, argmax",
    .max_inputs = -1,
    .min_outputs = 1,
    .max_outputs = -1,
    .attributes =
        (const AttributeSpec[]){{"program", ATTR_PROGRAM, true}, {"axes", ATTR_INTS, true}, {"dims", ATTR_DIMS, false}, {0}},
    .infer = domain_infer,
    .reference = domain_reference,
    .has_program = true,
    .permute = domain_permute,
    .image = IMAGE_FOLLOWS,
};

const Implementation cpu_rowwise = {
    .name = "strips",
    .backend = BACKEND_CPU,
    .op = &op_rowwise,
    .supports = domain_cpu_supports,
    .ways = one_way,
    .host = &domain_cpu_routine,
};
