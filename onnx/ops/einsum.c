// Einsum: operands are joined from left to right. What only one of the two has and nobody needs later is summed first; what both
// have and nobody needs later is the inner axis of a batched matrix product; without such an axis the join is a product.
#include "onnx/ops/common.h"

// Labels: 0..51 are letters, ELLIPSIS + k the axis k places from the right end of an ellipsis.
enum { ELLIPSIS = 52, LABELS = ELLIPSIS + MAX_RANK };

typedef struct Term {
  Value *value;
  int labels[2 * MAX_RANK];
  int count;
} Term;

static int letter(char c) { return c >= 'a' && c <= 'z' ? c - 'a' : c >= 'A' && c <= 'Z' ? 26 + c - 'A' : -1; }

// Reads one term up to ',' or '-' or the end. `width`: how many axes the ellipsis stands for.
static bool read_term(const char **text, int width, Term *term) {
  const char *s = *text;
  term->count = 0;
  for (; *s && *s != ',' && *s != '-'; s++) {
    if (*s == ' ') continue;
    if (term->count + width >= 2 * MAX_RANK) return false;
    if (strncmp(s, "...", 3) == 0) {
      for (int k = width; k > 0; k--) term->labels[term->count++] = ELLIPSIS + k - 1;
      s += 2;
    } else if (letter(*s) >= 0) {
      term->labels[term->count++] = letter(*s);
    } else {
      return false;
    }
  }
  *text = s;
  return true;
}

static int letters_in(const char *s) {
  int count = 0;
  for (; *s && *s != ',' && *s != '-'; s++) count += letter(*s) >= 0;
  return count;
}

static int place(const Term *term, int label) {
  for (int i = 0; i < term->count; i++)
    if (term->labels[i] == label) return i;
  return -1;
}

// A label that a term has twice keeps the diagonal: everything else is zeroed and one of the two axes summed away.
static void take_diagonals(Builder *b, Term *term) {
  for (int i = 0; i < term->count; i++) {
    for (int k = i + 1; k < term->count && !b->status; k++) {
      if (term->labels[k] != term->labels[i]) continue;
      Dim rows = term->value->dims[i], columns = term->value->dims[k];
      if (dim_is_static(rows) && dim_is_static(columns) && rows != columns) {
        b->status = status_make(ERROR_INVALID_MODEL, "a label stands for axes of sizes %lld and %lld of one input",
                                (long long)rows, (long long)columns);
        return;
      }
      Program *p = program_new(b->graph->arena, 1);
      int x = program_input(p, 0, term->value->dtype);
      int on = op2(p, OP_eq, program_index(p, DTYPE_I64, i), program_index(p, DTYPE_I64, k));
      int kept = op3(p, OP_select, on, x, constant_like(p, x, 0));
      program_output(p, program_reduce(p, OP_reduce_sum, kept, term->value->dtype));
      int64_t axis = k;
      term->value = build_squeeze(b, build_rowwise(b, p, 1, &term->value, &axis, 1), &axis, 1);
      memmove(term->labels + k, term->labels + k + 1, sizeof(int) * (size_t)(term->count - k - 1));
      term->count--;
      k--;
    }
  }
}

static void sum_unneeded(Builder *b, Term *term, const bool *needed, const Term *other) {
  int64_t axes[MAX_RANK];
  int count = 0, kept = 0;
  for (int i = 0; i < term->count; i++) {
    if (!needed[term->labels[i]] && (!other || place(other, term->labels[i]) < 0)) axes[count++] = i;
    else term->labels[kept++] = term->labels[i];
  }
  term->count = kept;
  if (count) term->value = build_reduce(b, OP_reduce_sum, term->value, axes, count, false);
}

// Axes in the order of `labels`; a label the term lacks becomes an axis of 1.
static Value *arranged(Builder *b, const Term *term, const int *labels, int count) {
  if (b->status || !term->value) return NULL;
  int perm[MAX_RANK] = {0}, present = 0;
  int64_t missing[2 * MAX_RANK];
  int missing_count = 0;
  for (int i = 0; i < count; i++) {
    int at = place(term, labels[i]);
    if (at >= 0) perm[present++] = at;
    else missing[missing_count++] = i;
  }
  Value *x = build_transpose(b, term->value, perm);
  return missing_count ? build_unsqueeze(b, x, missing, missing_count) : x;
}

// The dim of a label over both terms; they may differ only where one is 1.
static Dim label_dim(const Term *x, const Term *y, int label) {
  int i = place(x, label), k = place(y, label);
  Dim a = i >= 0 ? x->value->dims[i] : 1, c = k >= 0 ? y->value->dims[k] : 1;
  return a == 1 ? c : a;
}

static Value *widened(Builder *b, Value *x, const int *labels, int count, const Term *left, const Term *right) {
  if (b->status || !x) return NULL;
  Dim dims[MAX_RANK];
  for (int i = 0; i < count; i++) dims[i] = label_dim(left, right, labels[i]);
  return build_expand(b, x, count, dims);
}

static Dim product_of(Builder *b, const Term *x, const Term *y, const int *labels, int count) {
  Dim product = 1;
  for (int i = 0; i < count; i++) product = dim_mul(b->graph->dims, product, label_dim(x, y, labels[i]));
  return product;
}

static void append(int *list, int *count, const int *labels, int label_count) {
  for (int i = 0; i < label_count; i++) list[(*count)++] = labels[i];
}

static Term join(Builder *b, Term x, Term y, const bool *needed) {
  Term result = {0};
  sum_unneeded(b, &x, needed, &y);
  sum_unneeded(b, &y, needed, &x);
  if (b->status) return result;
  int batch[2 * MAX_RANK], rows[2 * MAX_RANK], columns[2 * MAX_RANK], inner[2 * MAX_RANK];
  int batches = 0, row_count = 0, column_count = 0, inners = 0;
  for (int i = 0; i < x.count; i++) {
    int label = x.labels[i];
    if (place(&y, label) < 0) rows[row_count++] = label;
    else if (needed[label]) batch[batches++] = label;
    else inner[inners++] = label;
  }
  for (int i = 0; i < y.count; i++)
    if (place(&x, y.labels[i]) < 0) columns[column_count++] = y.labels[i];
  append(result.labels, &result.count, batch, batches);
  append(result.labels, &result.count, rows, row_count);
  append(result.labels, &result.count, columns, column_count);
  if (result.count > MAX_RANK) {
    b->status = status_make(ERROR_UNSUPPORTED, "an intermediate result has rank %d", result.count);
    return result;
  }
  if (inners == 0) {
    result.value = build_mul(b, arranged(b, &x, result.labels, result.count), arranged(b, &y, result.labels, result.count));
    return result;
  }
  int left[2 * MAX_RANK], right[2 * MAX_RANK], left_count = 0, right_count = 0;
  append(left, &left_count, batch, batches);
  append(left, &left_count, rows, row_count);
  append(left, &left_count, inner, inners);
  append(right, &right_count, batch, batches);
  append(right, &right_count, inner, inners);
  append(right, &right_count, columns, column_count);
  Dim outer = product_of(b, &x, &y, batch, batches), m = product_of(b, &x, &y, rows, row_count);
  Dim n = product_of(b, &x, &y, columns, column_count), k = product_of(b, &x, &y, inner, inners), dims[MAX_RANK];
  for (int i = 0; i < result.count; i++) dims[i] = label_dim(&x, &y, result.labels[i]);
  Value *l = widened(b, arranged(b, &x, left, left_count), left, left_count, &x, &y);
  Value *r = widened(b, arranged(b, &y, right, right_count), right, right_count, &x, &y);
  l = build_reshape(b, l, 3, (Dim[]){outer, m, k});
  r = build_reshape(b, r, 3, (Dim[]){outer, k, n});
  result.value = build_reshape(b, build_matmul(b, l, r), result.count, dims);
  return result;
}

// Without "->": the ellipsis, then the letters that occur once in the whole equation, in alphabetical order.
static bool implicit_output(const int *seen, int width, Term *output) {
  output->count = 0;
  for (int k = width; k > 0; k--) output->labels[output->count++] = ELLIPSIS + k - 1;
  static const char order[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
  for (const char *c = order; *c; c++) {
    if (seen[letter(*c)] != 1) continue;
    if (output->count == MAX_RANK) return false;
    output->labels[output->count++] = letter(*c);
  }
  return true;
}

static Status einsum(Translation *t) {
  Builder b = translate_begin(t);
  const char *equation = node_string(t->attributes, "equation", ""), *s = equation;
  Term *terms = arena_array(t->graph->arena, Term, (size_t)t->input_count);
  Term output = {0};
  int widest = 0, seen[LABELS] = {0};  // seen: how often each label stands in the equation
  TRY(check_present(t));
  for (int i = 0; i < t->input_count; i++) {
    int rank = t->inputs[i]->rank, width = rank - letters_in(s);
    if (width < 0 || !read_term(&s, width, &terms[i]) || terms[i].count != rank || (i + 1 < t->input_count && *s++ != ','))
      TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "the equation '%s' does not fit input %d of rank %d", equation, i, rank);
    terms[i].value = t->inputs[i];
    widest = MAX(widest, width);
    for (int k = 0; k < terms[i].count; k++) seen[terms[i].labels[k]]++;
    take_diagonals(&b, &terms[i]);
  }
  bool open = *s == 0;
  if (open && !implicit_output(seen, widest, &output))
    TRANSLATE_FAIL(t, ERROR_UNSUPPORTED, "the result of '%s' has more than %d axes", equation, MAX_RANK);
  if (!open && (strncmp(s, "->", 2) != 0 || (s += 2, !read_term(&s, widest, &output)) || *s))
    TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "the equation '%s' is malformed", equation);
  for (int k = 0; k < output.count; k++)
    if (place(&output, output.labels[k]) != k)
      TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "the equation '%s' names an axis of its result twice", equation);
  Term result = terms[0];
  for (int i = 0; i < t->input_count && !b.status; i++) {
    bool needed[LABELS] = {false};
    for (int k = 0; k < output.count; k++) needed[output.labels[k]] = true;
    for (int j = i + 1; j < t->input_count; j++)
      for (int k = 0; k < terms[j].count; k++) needed[terms[j].labels[k]] = true;
    if (i > 0) result = join(&b, result, terms[i], needed);
    else if (t->input_count == 1) sum_unneeded(&b, &result, needed, NULL);
  }
  for (int k = 0; k < output.count && !b.status; k++)
    if (place(&result, output.labels[k]) < 0)
      TRANSLATE_FAIL(t, ERROR_INVALID_MODEL, "the equation '%s' makes up an axis", equation);
  t->outputs[0] = arranged(&b, &result, output.labels, output.count);
  return translate_end(t, &b);
}

const OnnxOp onnx_einsum_ops[] = {
    {"", "Einsum", 12, 0, 1, -1, 1, 1, einsum},
    {0},
};
