// See models.h. A message of protobuf is written behind its key; where its length is not known beforehand it is written elsewhere first.
#include "tests/memory/models.h"
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { VARINT = 0, BYTES = 2, FLOAT = 1, INTS = 7 };

static void put(ModelBytes *out, const void *bytes, size_t size) {
  if (out->size + size > out->capacity) {
    size_t capacity = (out->size + size) * 2;
    char *data = realloc(out->data, capacity);
    if (!data) abort();
    out->data = data;
    out->capacity = capacity;
  }
  memcpy(out->data + out->size, bytes, size);
  out->size += size;
}

static void put_varint(ModelBytes *out, uint64_t value) {
  do {
    uint8_t byte = (uint8_t)((value & 127) | (value > 127 ? 128 : 0));
    put(out, &byte, 1);
    value >>= 7;
  } while (value);
}

static void put_int(ModelBytes *out, int field, int64_t value) {
  put_varint(out, (uint64_t)field << 3 | VARINT);
  put_varint(out, (uint64_t)value);
}

static void put_bytes(ModelBytes *out, int field, const void *bytes, size_t size) {
  put_varint(out, (uint64_t)field << 3 | BYTES);
  put_varint(out, size);
  put(out, bytes, size);
}

static void put_text(ModelBytes *out, int field, const char *text) { put_bytes(out, field, text, strlen(text)); }

static void put_message(ModelBytes *out, int field, ModelBytes *message) {
  put_bytes(out, field, message->data, message->size);
  free(message->data);
  *message = (ModelBytes){0};
}

static void put_node(ModelBytes *graph, const char *op, const char *a, const char *b, const char *y, ModelBytes *attribute) {
  ModelBytes node = {0};
  put_text(&node, 1, a);
  if (b) put_text(&node, 1, b);
  put_text(&node, 2, y);
  put_text(&node, 4, op);
  if (attribute) put_message(&node, 5, attribute);
  put_message(graph, 1, &node);
}

static void put_weights(ModelBytes *graph, ModelBytes *model, const char *name, int rank, const int *dims, float scale) {
  ModelBytes tensor = {0};
  size_t count = 1;
  for (int i = 0; i < rank; i++) put_int(&tensor, 1, dims[i]), count *= (size_t)dims[i];
  put_int(&tensor, 2, FLOAT);
  put_text(&tensor, 8, name);
  float *values = malloc(count * sizeof *values);
  if (!values) abort();
  uint64_t state = count + model->weight_bytes + 1;
  for (size_t i = 0; i < count; i++) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    values[i] = ((float)(state >> 40) / (1 << 23) - 1) * scale;
  }
  put_bytes(&tensor, 9, values, count * sizeof *values);
  free(values);
  put_message(graph, 5, &tensor);
  model->weight_bytes += count * sizeof *values;
}

// A dim below 0 is a symbol.
static void put_value(ModelBytes *graph, int field, const char *name, int rank, const int *dims) {
  ModelBytes value = {0}, type = {0}, tensor = {0}, shape = {0};
  for (int i = 0; i < rank; i++) {
    ModelBytes dim = {0};
    char symbol[16];
    snprintf(symbol, sizeof symbol, "d%d", i);
    if (dims[i] < 0) put_text(&dim, 2, symbol);
    else put_int(&dim, 1, dims[i]);
    put_message(&shape, 1, &dim);
  }
  put_int(&tensor, 1, FLOAT);
  put_message(&tensor, 2, &shape);
  put_message(&type, 1, &tensor);
  put_text(&value, 1, name);
  put_message(&value, 2, &type);
  put_message(graph, field, &value);
}

static void finish(ModelBytes *model, ModelBytes *graph) {
  ModelBytes opset = {0};
  put_int(&opset, 2, 17);
  put_text(graph, 2, "model");
  put_int(model, 1, 8);
  put_message(model, 7, graph);
  put_message(model, 8, &opset);
}

static void name_of(char out[16], const char *kind, int layer) { snprintf(out, 16, "%s%d", kind, layer); }

ModelBytes model_perceptron(int width, int layers) {
  ModelBytes model = {0}, graph = {0};
  char weights[16], product[16], last[16] = "x";
  for (int i = 0; i < layers; i++) {
    name_of(weights, "w", i), name_of(product, "m", i);
    put_weights(&graph, &model, weights, 2, (int[]){width, width}, 0.05f);
    put_node(&graph, "MatMul", last, weights, product, NULL);
    name_of(last, "r", i);
    put_node(&graph, "Relu", product, NULL, i + 1 < layers ? last : "y", NULL);
  }
  put_value(&graph, 11, "x", 2, (int[]){-1, width});
  put_value(&graph, 12, "y", 2, (int[]){-1, width});
  finish(&model, &graph);
  return model;
}

static ModelBytes ones_as_pads(void) {
  ModelBytes attribute = {0};
  put_text(&attribute, 1, "pads");
  for (int i = 0; i < 4; i++) put_int(&attribute, 8, 1);
  put_int(&attribute, 20, INTS);
  return attribute;
}

ModelBytes model_convolutions(int channels, int layers) {
  ModelBytes model = {0}, graph = {0};
  char weights[16], result[16], last[16] = "x";
  for (int i = 0; i < layers; i++) {
    ModelBytes pads = ones_as_pads();
    name_of(weights, "w", i), name_of(result, "c", i);
    put_weights(&graph, &model, weights, 4, (int[]){channels, channels, 3, 3}, 0.03f);
    put_node(&graph, "Conv", last, weights, result, &pads);
    name_of(last, "r", i);
    put_node(&graph, "Relu", result, NULL, i + 1 < layers ? last : "y", NULL);
  }
  put_value(&graph, 11, "x", 4, (int[]){-1, channels, -1, -1});
  put_value(&graph, 12, "y", 4, (int[]){-1, channels, -1, -1});
  finish(&model, &graph);
  return model;
}
