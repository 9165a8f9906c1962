// The reference of `recurrent`: one step of one batch row of one direction at a time, in double. Steps at and beyond a
// row's length give zeros and leave its state alone; the backward direction starts at the row's last step.
#include "kernels/recurrent/recurrent_reference.h"
#include <math.h>
#include <string.h>
#include "kernels/recurrent/recurrent.h"

typedef struct RecurrentCall {
  RecurrentSpec spec;
  int64_t steps, batch, input, hidden;
  const double *x, *w, *r, *b, *h0, *c0, *p;  // whole inputs; b, h0, c0, p may be NULL, and w, where x is projected
  double *gates;                              // of the input, with bias: gates * hidden
  double *recurrence;                         // r * h, apart, for gru
  double *h, *c, *reset;                      // states of one row
} RecurrentCall;

static double clipped(const RecurrentCall *call, double x) {
  double clip = call->spec.clip;
  return clip > 0 ? fmin(clip, fmax(-clip, x)) : x;
}

static double apply(const RecurrentCall *call, int direction, int function, double x) {
  return recurrent_activate(&call->spec.activations[direction][function], clipped(call, x));
}

// out[rows] = matrix[rows][columns] * vector + bias
static void multiply(int64_t rows, int64_t columns, const double *matrix, const double *vector, const double *bias,
                     double *out) {
  for (int64_t i = 0; i < rows; i++) {
    double sum = bias ? bias[i] : 0;
    for (int64_t k = 0; k < columns; k++) sum += matrix[i * columns + k] * vector[k];
    out[i] = sum;
  }
}

// f is 1 - i where the gates are coupled; peepholes p = [i, o, f] look at the cell.
static void step_lstm(const RecurrentCall *call, int d) {
  int64_t n = call->hidden;
  const double *p = call->p ? call->p + d * 3 * n : NULL;
  for (int64_t k = 0; k < n; k++) {
    double gate[4], cell = call->c[k];
    for (int g = 0; g < 4; g++) gate[g] = call->gates[g * n + k] + call->recurrence[g * n + k];
    double i = apply(call, d, 0, gate[0] + (p ? p[k] * cell : 0));
    double f = call->spec.input_forget ? 1 - i : apply(call, d, 0, gate[2] + (p ? p[2 * n + k] * cell : 0));
    double next = f * cell + i * apply(call, d, 1, gate[3]);
    double o = apply(call, d, 0, gate[1] + (p ? p[n + k] * next : 0));
    call->c[k] = next;
    call->h[k] = o * recurrent_activate(&call->spec.activations[d][2], next);
  }
}

static void step_gru(const RecurrentCall *call, int d, const double *r, const double *r_bias) {
  int64_t n = call->hidden;
  const double *candidate_bias = r_bias ? r_bias + 2 * n : NULL;
  for (int64_t k = 0; k < n; k++) {
    double gate = apply(call, d, 0, call->gates[n + k] + call->recurrence[n + k]);
    call->reset[k] = call->spec.linear_before_reset ? gate : gate * call->h[k];
  }
  if (!call->spec.linear_before_reset) {
    // The candidate sees the state after the reset gate.
    multiply(n, n, r + 2 * n * n, call->reset, candidate_bias, call->recurrence + 2 * n);
    for (int64_t k = 0; k < n; k++) call->reset[k] = 1;
  }
  for (int64_t k = 0; k < n; k++) {
    double z = apply(call, d, 0, call->gates[k] + call->recurrence[k]);
    double candidate = apply(call, d, 1, call->gates[2 * n + k] + call->reset[k] * call->recurrence[2 * n + k]);
    call->h[k] = (1 - z) * candidate + z * call->h[k];
  }
}

static void step(const RecurrentCall *call, int d, const double *x) {
  int64_t n = call->hidden, rows = call->spec.gates * n;
  const double *w_bias = call->b ? call->b + d * 2 * rows : NULL, *r_bias = w_bias ? w_bias + rows : NULL;
  const double *r = call->r + d * rows * n;
  if (call->w) multiply(rows, call->input, call->w + d * rows * call->input, x, w_bias, call->gates);
  else memcpy(call->gates, x + d * rows, (size_t)rows * sizeof *x);
  multiply(rows, n, r, call->h, r_bias, call->recurrence);
  switch (call->spec.kind) {
    case RECURRENT_LSTM: step_lstm(call, d); break;
    case RECURRENT_GRU: step_gru(call, d, r, r_bias); break;
    default:
      for (int64_t k = 0; k < n; k++) call->h[k] = apply(call, d, 0, call->gates[k] + call->recurrence[k]);
  }
}

static void run_row(const RecurrentCall *call, int d, int64_t row, int64_t length, Tensor *y) {
  int64_t n = call->hidden, state = (d * call->batch + row) * n;
  bool backwards = d == 1 || call->spec.reversed;
  for (int64_t k = 0; k < n; k++) {
    call->h[k] = call->h0 ? call->h0[state + k] : 0;
    call->c[k] = call->c0 ? call->c0[state + k] : 0;
  }
  for (int64_t s = 0; s < length; s++) {
    int64_t t = backwards ? length - 1 - s : s;
    step(call, d, call->x + (t * call->batch + row) * call->input);
    reference_store_doubles(y, ((t * call->spec.directions + d) * call->batch + row) * n, n, call->h);
  }
}

static Status optional_doubles(const Reference *r, int index, const double **out) {
  const Tensor *tensor = reference_input(r, index);
  if (tensor) return reference_doubles(r, tensor, out);
  return OK;
}

static Status check_count(const Reference *r, int index, int64_t expected) {
  const Tensor *tensor = reference_input(r, index);
  if (tensor && tensor_count(tensor) != expected)
    FAIL(ERROR_INVALID_MODEL, "input %d has %lld elements where %lld are expected", index, (long long)tensor_count(tensor),
         (long long)expected);
  return OK;
}

static Status read_call(const Reference *r, RecurrentCall *call) {
  const Tensor *x = r->inputs[0];
  TRY(recurrent_read(r->node, &call->spec));
  call->steps = x->dims[0];
  call->batch = x->dims[1];
  call->input = x->dims[2];
  call->hidden = r->inputs[2]->dims[2];
  int64_t d = call->spec.directions, n = call->hidden, rows = call->spec.gates * n;
  TRY(check_count(r, 1, d * rows * call->input));
  if (!reference_input(r, 1) && call->input != d * rows)
    FAIL(ERROR_INVALID_MODEL, "x has rows of %lld where %lld projections are expected", (long long)call->input,
         (long long)(d * rows));
  TRY(check_count(r, 2, d * rows * n));
  TRY(check_count(r, 3, d * 2 * rows));
  TRY(check_count(r, 4, call->batch));
  TRY(check_count(r, 5, d * call->batch * n));
  TRY(check_count(r, 6, d * call->batch * n));
  TRY(check_count(r, 7, d * 3 * n));
  TRY(reference_doubles(r, x, &call->x));
  TRY(optional_doubles(r, 1, &call->w));
  TRY(reference_doubles(r, r->inputs[2], &call->r));
  TRY(optional_doubles(r, 3, &call->b));
  TRY(optional_doubles(r, 5, &call->h0));
  TRY(optional_doubles(r, 6, &call->c0));
  TRY(optional_doubles(r, 7, &call->p));
  void *memory;
  TRY(reference_scratch(r, sizeof(double), 2 * rows + 3 * n, &memory));
  call->gates = memory;
  call->recurrence = call->gates + rows;
  call->h = call->recurrence + rows;
  call->c = call->h + n;
  call->reset = call->c + n;
  return OK;
}

Status reference_recurrent(Reference *r) {
  RecurrentCall call = {0};
  TRY(read_call(r, &call));
  const Tensor *x = r->inputs[0], *lengths = reference_input(r, 4);
  int64_t d_count = call.spec.directions, n = call.hidden;
  Tensor *y, *finals[2] = {0};
  TRY(reference_output(r, 0, x->dtype, 4, (int64_t[]){call.steps, d_count, call.batch, n}, &y));
  for (int i = 1; i < r->node->output_count; i++)
    TRY(reference_output(r, i, x->dtype, 3, (int64_t[]){d_count, call.batch, n}, &finals[i - 1]));
  memset(y->data, 0, tensor_bytes(y));
  for (int d = 0; d < d_count; d++)
    for (int64_t row = 0; row < call.batch; row++) {
      int64_t length = lengths ? tensor_get_i(lengths, row) : call.steps;
      run_row(&call, d, row, MIN(MAX(length, 0), call.steps), y);
      int64_t at = (d * call.batch + row) * n;
      if (finals[0]) reference_store_doubles(finals[0], at, n, call.h);
      if (finals[1]) reference_store_doubles(finals[1], at, n, call.c);
    }
  return OK;
}
