// random: numbers made from a seed and an element's position alone, so that they do not depend on who computes which element.
// uniform: low + u * (high - low). normal: pairs of words (0, 1) and (2, 3) of a block give two normal numbers each, by the
// Box-Muller transform: sqrt(-2 ln(1 - u0)) times the cosine and sine of 2 pi u1.
#include "kernels/random/random.h"
#include <math.h>
#include <string.h>
#include "kernels/meaning.h"

void random_block(uint64_t seed, uint64_t block, uint32_t out[4]) {
  uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
  uint32_t c[4] = {(uint32_t)block, (uint32_t)(block >> 32), 0, 0};
  for (int round = 0; round < 10; round++) {
    uint64_t a = (uint64_t)0xD2511F53u * c[0], b = (uint64_t)0xCD9E8D57u * c[2];
    uint32_t next[4] = {(uint32_t)(b >> 32) ^ c[1] ^ key[0], (uint32_t)b, (uint32_t)(a >> 32) ^ c[3] ^ key[1], (uint32_t)a};
    memcpy(c, next, sizeof c);
    key[0] += 0x9E3779B9u;
    key[1] += 0xBB67AE85u;
  }
  memcpy(out, c, sizeof c);
}

static Status read_spec(const Node *node, bool *normal, DType *dtype) {
  const char *kind = node_string(node, "kind", "uniform");
  int64_t number = node_int(node, "dtype", DTYPE_F32);
  *normal = strcmp(kind, "normal") == 0;
  if (!*normal && strcmp(kind, "uniform") != 0) FAIL(ERROR_INVALID_MODEL, "unknown kind '%s'", kind);
  if (number < 0 || number >= DTYPE_COUNT || !dtype_is_float((DType)number))
    FAIL(ERROR_INVALID_MODEL, "dtype %lld is no float", (long long)number);
  *dtype = (DType)number;
  return OK;
}

static Status infer_random(Node *node) {
  bool normal;
  DType dtype;
  const Dim *dims;
  int rank;
  TRY(read_spec(node, &normal, &dtype));
  TRY(meaning_dims(node, "dims", MAX_RANK, &dims, &rank));
  value_set_type(node->outputs[0], dtype, rank, dims);
  return OK;
}

static double normal_number(const uint32_t words[4], int lane) {
  double u0 = random_uniform(words[lane & 2]), u1 = random_uniform(words[lane | 1]);
  double radius = sqrt(-2 * log(1 - u0)), angle = 2 * M_PI * u1;
  return radius * (lane & 1 ? sin(angle) : cos(angle));
}

static Status reference_random(Reference *r) {
  bool normal;
  DType dtype;
  const int64_t *dims;
  int rank;
  Tensor *out;
  TRY(read_spec(r->node, &normal, &dtype));
  TRY(reference_dims(r, "dims", &dims, &rank));
  TRY(reference_output(r, 0, dtype, rank, dims, &out));
  uint64_t seed = (uint64_t)node_int(r->node, "seed", 0);
  double low = node_float(r->node, "low", 0), high = node_float(r->node, "high", 1);
  double mean = node_float(r->node, "mean", 0), scale = node_float(r->node, "scale", 1);
  uint32_t words[4];
  for (int64_t i = 0, count = tensor_count(out); i < count; i++) {
    int lane = (int)(i & 3);
    if (lane == 0) random_block(seed, (uint64_t)i / 4, words);
    tensor_set_f(out, i, normal ? mean + scale * normal_number(words, lane) : low + random_uniform(words[lane]) * (high - low));
  }
  return OK;
}

const OpDef op_random = {
    .name = "random",
    .help = "random numbers from a seed",
    .min_inputs = 0,
    .max_inputs = 0,
    .min_outputs = 1,
    .max_outputs = 1,
    .attributes = (const AttributeSpec[]){{"kind", ATTR_STRING, true},
                                          {"dims", ATTR_DIMS, true},
                                          {"dtype", ATTR_INTS, false},
                                          {"seed", ATTR_INTS, false},
                                          {"low", ATTR_FLOATS, false},
                                          {"high", ATTR_FLOATS, false},
                                          {"mean", ATTR_FLOATS, false},
                                          {"scale", ATTR_FLOATS, false},
                                          {0}},
    .infer = infer_random,
    .reference = reference_random,
    .random = true,
};
