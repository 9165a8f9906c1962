// dft: the discrete Fourier transform along an axis. The last axis holds real numbers (size 1) or real and imaginary parts (2).
// The signal is cut or filled with zeros to `length`. onesided keeps the first half and one of a forward transform; of an
// inverse one it takes such a half and gives real numbers. The reference sums by definition, with exact angles.
#include <math.h>
#include <string.h>
#include "base/budget.h"
#include "base/checked.h"
#include "kernels/fft/fft.h"
#include "kernels/meaning.h"

typedef struct DftSpec {
  int axis;
  bool inverse, onesided;
} DftSpec;

static Status read_spec(const Node *node, int rank, DftSpec *out) {
  TRY(meaning_axis(node, "axis", rank, &out->axis));
  if (out->axis == rank - 1) FAIL(ERROR_INVALID_MODEL, "the last axis holds parts of numbers and cannot be transformed");
  out->inverse = node_int(node, "inverse", 0) != 0;
  out->onesided = node_int(node, "onesided", 0) != 0;
  return OK;
}

static Status infer_dft(Node *node) {
  Value *x;
  DftSpec spec;
  const Dim *length;
  int count;
  TRY(meaning_require(node, 0, &x));
  if (x->rank < 2 || !dtype_is_float(x->dtype)) FAIL(ERROR_INVALID_MODEL, "%s of rank %d", dtype_name(x->dtype), x->rank);
  TRY(read_spec(node, x->rank, &spec));
  Dim parts = x->dims[x->rank - 1], dims[MAX_RANK];
  if (dim_is_static(parts) && parts != 1 && parts != 2)
    FAIL(ERROR_INVALID_MODEL, "the last axis has size %lld; it must be 1 or 2", (long long)parts);
  DimTable *table = node->graph->dims;
  Dim one = dim_constant(table, 1), two = dim_constant(table, 2), n = x->dims[spec.axis];
  if (spec.inverse && spec.onesided) n = dim_mul(table, two, dim_sub(table, n, one));
  if (node_attribute(node, "length")) {
    TRY(meaning_dims(node, "length", 1, &length, &count));
    if (count == 1) n = *length;
  }
  for (int i = 0; i < x->rank; i++) dims[i] = x->dims[i];
  dims[spec.axis] = spec.onesided && !spec.inverse ? dim_add(table, dim_div(table, n, two), one) : n;
  dims[x->rank - 1] = spec.onesided && spec.inverse ? 1 : 2;
  value_set_type(node->outputs[0], x->dtype, x->rank, dims);
  return OK;
}

typedef struct Complex {
  double real, imaginary;
} Complex;

// out[k] = sum over t of in[t] * exp(-+ 2 pi i k t / n); roots[j] = exp(-+ 2 pi i j / n)
static void transform(int64_t n, int64_t out_count, const Complex *in, const Complex *roots, double factor, Complex *out) {
  for (int64_t k = 0; k < out_count; k++) {
    budget_step((uint64_t)n);
    double real = 0, imaginary = 0;
    for (int64_t t = 0, j = 0; t < n; t++) {
      real += in[t].real * roots[j].real - in[t].imaginary * roots[j].imaginary;
      imaginary += in[t].real * roots[j].imaginary + in[t].imaginary * roots[j].real;
      j += k;
      if (j >= n) j -= n;
    }
    out[k] = (Complex){real * factor, imaginary * factor};
  }
}

typedef struct DftCall {
  DftSpec spec;
  int64_t n, in, out, inner;  // inner: positions after the axis, without the parts
  int64_t in_parts, out_parts;
  Complex *signal, *spectrum, *roots;
} DftCall;

static void load_signal(const DftCall *call, const double *x, int64_t o, int64_t j) {
  for (int64_t t = 0; t < call->n; t++) {
    const double *from = x + ((o * call->in + t) * call->inner + j) * call->in_parts;
    call->signal[t] = t < call->in ? (Complex){from[0], call->in_parts == 2 ? from[1] : 0} : (Complex){0};
  }
  if (!call->spec.inverse || !call->spec.onesided) return;
  // The other half mirrors the first.
  for (int64_t t = call->n / 2 + 1; t < call->n; t++)
    call->signal[t] = (Complex){call->signal[call->n - t].real, -call->signal[call->n - t].imaginary};
  call->signal[0].imaginary = 0;
  if (call->n % 2 == 0) call->signal[call->n / 2].imaginary = 0;
}

static Status start_call(const Reference *r, DftCall *call) {
  const Tensor *x = r->inputs[0];
  const int64_t *length;
  int count;
  TRY(read_spec(r->node, x->rank, &call->spec));
  TRY(reference_dims(r, "length", &length, &count));
  call->in = x->dims[call->spec.axis];
  bool real_result = call->spec.inverse && call->spec.onesided;
  call->n = count == 1 ? length[0] : real_result ? 2 * (call->in - 1) : call->in;
  call->out = call->spec.onesided && !call->spec.inverse ? call->n / 2 + 1 : call->n;
  call->in_parts = x->dims[x->rank - 1];
  call->out_parts = real_result ? 1 : 2;
  call->inner = dims_count(x->rank - call->spec.axis - 2, x->dims + call->spec.axis + 1);
  if (call->n < 1) FAIL(ERROR_INVALID_MODEL, "a transform of length %lld", (long long)call->n);
  void *memory;
  TRY(reference_scratch(r, sizeof(Complex), 3 * call->n + 1, &memory));
  call->signal = memory;
  call->spectrum = call->signal + call->n;
  call->roots = call->spectrum + call->n + 1;
  for (int64_t j = 0; j < call->n; j++) {
    double angle = 2 * M_PI * (double)j / (double)call->n;
    call->roots[j] = (Complex){cos(angle), call->spec.inverse ? sin(angle) : -sin(angle)};
  }
  return OK;
}

static Status reference_dft(Reference *r) {
  const Tensor *x = r->inputs[0];
  DftCall call = {0};
  Tensor *out;
  const double *data;
  int64_t dims[MAX_RANK];
  TRY(start_call(r, &call));
  TRY(reference_doubles(r, x, &data));
  memcpy(dims, x->dims, sizeof dims);
  dims[call.spec.axis] = call.out;
  dims[x->rank - 1] = call.out_parts;
  TRY(reference_output(r, 0, x->dtype, x->rank, dims, &out));
  int64_t outer = dims_count(call.spec.axis, x->dims);
  for (int64_t o = 0; o < outer; o++)
    for (int64_t j = 0; j < call.inner; j++) {
      load_signal(&call, data, o, j);
      transform(call.n, call.out, call.signal, call.roots, call.spec.inverse ? 1 / (double)call.n : 1, call.spectrum);
      for (int64_t k = 0; k < call.out; k++)
        reference_store_doubles(out, ((o * call.out + k) * call.inner + j) * call.out_parts, call.out_parts,
                                &call.spectrum[k].real);
    }
  return OK;
}

// By definition: a complex product for each element of the line.
static int64_t terms_of_dft(const Node *node) {
  Dim n = node->inputs[0]->dims[node_int(node, "axis", 0)];
  return dim_is_static(n) ? 2 * MIN(n, INT32_MAX) : 0;
}

const OpDef op_dft = {
    .name = "dft",
    .help = "discrete Fourier transform along an axis",
    .min_inputs = 1,
    .max_inputs = 1,
    .min_outputs = 1,
    .max_outputs = 1,
    .attributes = (const AttributeSpec[]){{"axis", ATTR_INTS, true},
                                          {"inverse", ATTR_INTS, false},
                                          {"onesided", ATTR_INTS, false},
                                          {"length", ATTR_DIMS, false},
                                          {0}},
    .infer = infer_dft,
    .reference = reference_dft,
    .terms = terms_of_dft,
};
