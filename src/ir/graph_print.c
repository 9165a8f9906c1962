// Graphs as text. The grammar stands in graph_parse.c. Constants print just before the first node that reads them, in the
// nested graph they belong to; a constant nothing reads is not printed.
#include <math.h>
#include <string.h>
#include "ir/graph_text.h"
#include "ir/token.h"
#include "ir/op.h"

typedef struct Printer {
  Text *text;
  const GraphTextOptions *options;
  int indent;
} Printer;

static void new_line(Printer *p) { text_add(p->text, "\n%*s", p->indent * 2, ""); }

static void print_value_name(Text *text, const Value *value) {
  text_add_n(text, "%", 1);
  token_print_name(text, token_is_name_byte, value->name);
}

static void print_dims(Text *text, const DimTable *table, const Dim *dims, int count) {
  for (int i = 0; i < count; i++) {
    if (i) text_add_n(text, ", ", 2);
    dim_print(text, table, dims[i]);
  }
}

// %x: f32[batch, 64] order(1,0) contents(1, batch)
static void print_declaration(Text *text, const Value *value) {
  static const char *const kinds[] = {[VALUE_TENSOR] = "", [VALUE_SEQUENCE] = "seq ", [VALUE_OPTIONAL] = "opt "};
  const DimTable *table = value->graph->dims;
  print_value_name(text, value);
  text_add(text, ": %s%s[", kinds[value->kind], dtype_name(value->dtype));
  if (value->rank < 0) text_add_n(text, "?", 1);
  else print_dims(text, table, value->dims, value->rank);
  text_add_n(text, "]", 1);
  if (!value_is_row_major(value)) {
    for (int i = 0; i < value->rank; i++) text_add(text, i ? ",%d" : " order(%d", value->order[i]);
    text_add_n(text, ")", 1);
  }
  if (value->contents) {
    text_add(text, " contents(");
    print_dims(text, table, value->contents, value->contents_count);
    text_add_n(text, ")", 1);
  }
}

// Bytes that no printed number gives back (NaN payloads, odd encodings) print as they are in memory: #7fc00001.
static void print_bits(Text *text, const void *element, size_t size) {
  uint64_t bits = 0;
  memcpy(&bits, element, size);
  text_add(text, "#%0*llx", (int)size * 2, (unsigned long long)bits);
}

static void print_element(Text *text, DType dtype, const char *element) {
  if (dtype == DTYPE_STRING) {
    const char *string;
    memcpy(&string, element, sizeof string);
    token_quote(text, string ? string : "");
    return;
  }
  if (dtype_kind(dtype) == KIND_COMPLEX) {
    DType part = dtype == DTYPE_C64 ? DTYPE_F32 : DTYPE_F64;
    print_element(text, part, element);
    text_add_n(text, " ", 1);
    print_element(text, part, element + dtype_size(part));
    return;
  }
  char again[8];
  if (dtype_is_float(dtype)) {
    double value = element_get_f(dtype, element);
    element_set_f(dtype, again, isnan(value) ? NAN : value);  // what the word nan reads back to
    // A power of two that reads back a hair larger would be rounded up to the next.
    bool shortest = dtype != DTYPE_F64 && dtype != DTYPE_F8E8M0;
    if (memcmp(again, element, dtype_size(dtype)) != 0) print_bits(text, element, dtype_size(dtype));
    else token_print_double(text, value, shortest);
    return;
  }
  int64_t value = element_get_i(dtype, element);
  element_set_i(dtype, again, value);
  if (memcmp(again, element, dtype_size(dtype)) != 0) print_bits(text, element, dtype_size(dtype));
  else if (dtype == DTYPE_U64) text_add(text, "%llu", (unsigned long long)value);
  else text_add(text, "%lld", (long long)value);
}

static void print_hash(Text *text, Hash128 hash) {
  char hex[33];
  hash128_hex(hash, hex);
  text_add(text, "&%s", hex);
}

static void print_tensor(Printer *p, const Tensor *tensor) {
  int64_t count = tensor_count(tensor);
  const GraphTextOptions *options = p->options;
  // Strings are pointers, which no blob can hold.
  if (options && (options->place || options->name || options->leave_out) && count > options->inline_limit &&
      tensor->dtype != DTYPE_STRING) {
    if (options->leave_out) text_add(p->text, "[... %lld]", (long long)count);
    else if (options->name) print_hash(p->text, options->name(options->context, tensor));
    else text_add(p->text, "@%llu", (unsigned long long)options->place(options->context, tensor));
    return;
  }
  text_add_n(p->text, "[", 1);
  for (int64_t i = 0; i < count; i++) {
    if (i) text_add_n(p->text, ", ", 2);
    print_element(p->text, tensor->dtype, (const char *)tensor->data + (size_t)i * dtype_size(tensor->dtype));
  }
  text_add_n(p->text, "]", 1);
}

static void print_ints(Text *text, const Attribute *attribute) {
  if (attribute->count == 1) {
    text_add(text, "%lld", (long long)attribute->ints[0]);
    return;
  }
  text_add_n(text, "[", 1);
  for (int i = 0; i < attribute->count; i++) text_add(text, i ? ", %lld" : "%lld", (long long)attribute->ints[i]);
  text_add_n(text, "]", 1);
}

static void print_floats(Text *text, const Attribute *attribute) {
  if (attribute->count == 0) text_add(text, "floats");
  if (attribute->count != 1) text_add_n(text, "[", 1);
  for (int i = 0; i < attribute->count; i++) {
    if (i) text_add_n(text, ", ", 2);
    print_element(text, DTYPE_F64, (const char *)&attribute->floats[i]);
  }
  if (attribute->count != 1) text_add_n(text, "]", 1);
}

static void print_strings(Text *text, const Attribute *attribute) {
  text_add(text, attribute->count ? "[" : "strings[");
  for (int i = 0; i < attribute->count; i++) {
    if (i) text_add_n(text, ", ", 2);
    token_quote(text, attribute->strings[i]);
  }
  text_add_n(text, "]", 1);
}

static void print_graph(Printer *p, const Graph *graph);

static void print_attribute(Printer *p, const Node *node, const Attribute *attribute) {
  Text *text = p->text;
  token_print_name(text, token_is_identifier_byte, attribute->name);
  text_add_n(text, ": ", 2);
  switch (attribute->kind) {
    case ATTR_INTS: print_ints(text, attribute); break;
    case ATTR_FLOATS: print_floats(text, attribute); break;
    case ATTR_STRING: token_quote(text, attribute->string); break;
    case ATTR_STRINGS: print_strings(text, attribute); break;
    case ATTR_DIMS:
      text_add(text, "dims[");
      print_dims(text, node->graph->dims, attribute->dims, attribute->count);
      text_add_n(text, "]", 1);
      break;
    case ATTR_PROGRAM:
      text_add(text, "program ");
      program_print(text, attribute->program);
      break;
    case ATTR_GRAPH:
      p->indent++;
      print_graph(p, attribute->graph);
      p->indent--;
      break;
    case ATTR_TENSOR: {
      const Tensor *tensor = attribute->tensor;
      text_add(text, "tensor %s[", dtype_name(tensor->dtype));
      print_dims(text, node->graph->dims, tensor->dims, tensor->rank);
      text_add(text, "] = ");
      print_tensor(p, tensor);
      break;
    }
  }
}

static void print_attributes(Printer *p, const Node *node) {
  if (node->attribute_count == 0) return;
  text_add(p->text, " {");
  for (int i = 0; i < node->attribute_count; i++) {
    if (i) text_add_n(p->text, ", ", 2);
    print_attribute(p, node, &node->attributes[i]);
  }
  text_add_n(p->text, "}", 1);
}

static void print_origins(Text *text, const Node *node) {
  for (int i = 0; i < node->origin_count; i++) {
    text_add(text, i ? ", " : " origins [");
    token_quote(text, node->origins[i].name);
    text_add_n(text, ": ", 2);
    token_quote(text, node->origins[i].op_type);
  }
  if (node->origin_count) text_add_n(text, "]", 1);
}

static void print_node(Printer *p, const Node *node) {
  Text *text = p->text;
  for (int i = 0; i < node->output_count; i++) {
    if (i) text_add_n(text, ", ", 2);
    print_declaration(text, node->outputs[i]);
  }
  text_add(text, node->output_count ? " = " : "= ");
  token_print_name(text, token_is_identifier_byte, node->op->name);
  text_add_n(text, "(", 1);
  for (int i = 0; i < node->input_count; i++) {
    if (i) text_add_n(text, ", ", 2);
    if (node->inputs[i]) print_value_name(text, node->inputs[i]);
    else text_add_n(text, "_", 1);
  }
  text_add_n(text, ")", 1);
  print_attributes(p, node);
  if (p->options && p->options->origins) print_origins(text, node);
}

static void print_constant(Printer *p, const Value *value, uint8_t *printed) {
  if (!value || !value->constant || printed[value->id]) return;
  printed[value->id] = true;
  new_line(p);
  text_add(p->text, "const ");
  print_declaration(p->text, value);
  text_add(p->text, " = ");
  print_tensor(p, value->constant);
}

static void print_graph(Printer *p, const Graph *graph) {
  Text *text = p->text;
  uint8_t *printed = arena_array(text->arena, uint8_t, graph->next_value_id);
  text_add(text, "graph ");
  token_print_name(text, token_is_name_byte, graph->name);
  text_add_n(text, "(", 1);
  for (int i = 0; i < graph->input_count; i++) {
    if (i) text_add_n(text, ", ", 2);
    print_declaration(text, graph->inputs[i]);
    const Tensor *initial = graph->inputs[i]->initial;
    if (!initial) continue;
    text_add(text, " = %s[", dtype_name(initial->dtype));  // the input's own sizes may be open
    print_dims(text, graph->dims, initial->dims, initial->rank);
    text_add_n(text, "] ", 2);
    print_tensor(p, initial);
  }
  text_add(text, ") -> (");
  for (int i = 0; i < graph->output_count; i++) {
    if (i) text_add_n(text, ", ", 2);
    print_value_name(text, graph->outputs[i]);
    if (!graph->outputs[i]->given_as) continue;
    text_add(text, " as ");
    token_quote(text, graph->outputs[i]->given_as);
  }
  text_add(text, ") {");
  p->indent++;
  FOR_NODES(node, graph) {
    for (int i = 0; i < node->input_count; i++) print_constant(p, node->inputs[i], printed);
    new_line(p);
    print_node(p, node);
  }
  for (int i = 0; i < graph->output_count; i++) print_constant(p, graph->outputs[i], printed);
  p->indent--;
  new_line(p);
  text_add_n(text, "}", 1);
}

void graph_print(Text *text, const Graph *graph, const GraphTextOptions *options) {
  print_graph(&(Printer){.text = text, .options = options}, graph);
  text_add_n(text, "\n", 1);
}

void node_print(Text *text, const Node *node, const GraphTextOptions *options) {
  print_node(&(Printer){.text = text, .options = options}, node);
}
