// What the predictors of ai.onnx.ml share: their input as a matrix, lists of attributes as tensors, what becomes of scores.
#pragma once
#include "onnx/ops/common.h"

// Input 0 as [N, C] of f32 (or f64 where it is and keep_f64): one row where it is a vector.
Value *ml_matrix(Translation *t, Builder *b, bool keep_f64);
// A list of floats as a constant of these dims. NULL (no error) where the attribute is absent. Fails where its count differs.
MUST_CHECK Status ml_floats(const Translation *t, Builder *b, const char *attribute, int rank, const int64_t *dims,
                            Value **out);
// scores[N, E] by the attribute post_transform, or by what is named.
MUST_CHECK Status ml_transform(const Translation *t, Builder *b, const char *kind, Value **scores);
MUST_CHECK Status ml_post_transform(const Translation *t, Builder *b, Value **scores);
// The class labels as a constant vector, of integers or strings; NULL where none are given.
MUST_CHECK Status ml_labels(const Translation *t, Builder *b, const char *ints, const char *strings, Value **out);
// The label of each row's largest score, the first among equals.
Value *ml_best_label(Builder *b, Value *scores, Value *labels);
// labels[on], by a condition [N].
Value *ml_choose_label(Builder *b, Value *on, Value *labels);
// Scores of two classes out of the second one's s[N, 1]: the first is 1 - s or -s; LOGISTIC makes both of s and -s.
typedef enum SecondScore { SECOND_COMPLEMENT, SECOND_NEGATIVE } SecondScore;
Value *ml_two_scores(const Translation *t, Builder *b, Value *score, SecondScore kind);
