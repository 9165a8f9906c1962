// Reading graphs back. Values are declared before they are used, so one pass over the text suffices; only the names of
// a graph's outputs wait for its end. Grammar (spaces, line ends and // comments between any two tokens):
//
//   graph      = "graph" name "(" [input {"," input}] ")" "->" "(" [output {"," output}] ")" "{" {statement} "}"
//   output     = value ["as" string]                               "as": what callers call it, where another one has that name
//   input      = declaration ["=" tensor]                          with "=": the default of an optional input
//   statement  = "const" declaration "=" tensor | node
//   node       = [declaration {"," declaration}] "=" name "(" [operand {"," operand}] ")"
//                ["{" attribute {"," attribute} "}"]
//                ["origins" "[" string ":" string {"," string ":" string} "]"]
//   operand    = value | "_"                                       "_": an optional input that is absent
//   declaration = value ":" type ["order" "(" axis {"," axis} ")"] ["contents" "(" [dim {"," dim}] ")"]
//   value      = "%" name
//   type       = ["seq" | "opt"] dtype "[" ("?" | [dim {"," dim}]) "]"       dtype "?": unknown
//   tensor     = "@" offset | "&" hash | "[" [element {"," element}] "]"      row-major; complex: two numbers; "#" hex: raw bits
//   attribute  = name ":" (integer | float | string | "[" integers, floats or strings "]" | "floats" "[" "]" |
//                "strings" "[" "]" | "dims" "[" dims "]" | "program" program | graph | "tensor" type "=" tensor)
//
// Integers and floats differ in that a float has one of ". e n i #" in it. Names with bytes beside [A-Za-z0-9_./-] are
// quoted. dim is that of dim_text.c, program that of program_text.c.
#include <limits.h>
#include <string.h>
#include "base/checked.h"
#include "ir/graph_text.h"
#include "ir/graph_value.h"
#include "ir/token.h"
#include "ir/op.h"

typedef struct Declaration {
  const char *name;
  ValueKind kind;
  DType dtype;
  int rank;
  Dim dims[MAX_RANK];
  uint8_t order[MAX_RANK];
  const Dim *contents;
  int contents_count;
} Declaration;

typedef struct Items {  // a growing list, reused from one statement to the next
  void *items;
  uint32_t count, capacity;
} Items;

typedef struct Parser {
  Arena *arena;
  StringMap *ops;
  const char *cursor, *end;
  GraphContents contents;
  int depth;
  Items declarations, operands, numbers;
} Parser;

#define PUSH(p, list, Type)                                                          \
  ({                                                                                 \
    Type *items_ = (list)->items;                                                    \
    Type *pushed_ = ARENA_PUSH((p)->arena, items_, (list)->count, (list)->capacity); \
    (list)->items = items_;                                                          \
    pushed_;                                                                         \
  })

static bool accept(Parser *p, const char *text) { return token_accept(&p->cursor, text); }
static bool accept_word(Parser *p, const char *word) { return token_accept_word(&p->cursor, word); }
static Status expect(Parser *p, const char *text) { return token_expect(&p->cursor, text); }

// After an item of a list: whether another follows. Fails where neither a comma nor the end does.
static Status next_item(Parser *p, const char *end, bool *more) {
  *more = accept(p, ",");
  return *more ? OK : expect(p, end);
}

static Status parse_value_name(Parser *p, char **out) {
  TRY(expect(p, "%"));
  return token_parse_name(p->arena, &p->cursor, token_is_name_byte, out);
}

static Status parse_dtype(Parser *p, ValueKind *kind, DType *out) {
  *kind = accept_word(p, "seq") ? VALUE_SEQUENCE : accept_word(p, "opt") ? VALUE_OPTIONAL : VALUE_TENSOR;
  if (accept(p, "?")) {
    *out = DTYPE_COUNT;
    return OK;
  }
  token_skip_space(&p->cursor);
  char name[16];
  size_t length = 0;
  while (length < sizeof name - 1 && token_is_identifier_byte((unsigned char)p->cursor[length])) length++;
  memcpy(name, p->cursor, length);
  name[length] = 0;
  if (!dtype_parse(name, out)) FAIL(ERROR_INVALID_MODEL, "expected an element type before '%.*s'", TOKEN_GLIMPSE(p->cursor));
  p->cursor += length;
  return OK;
}

static Status parse_type(Parser *p, DimTable *table, Declaration *out) {
  TRY(parse_dtype(p, &out->kind, &out->dtype));
  TRY(expect(p, "["));
  if (accept(p, "?")) {
    out->rank = -1;
    return expect(p, "]");
  }
  bool more = !accept(p, "]");
  while (more) {
    if (out->rank == MAX_RANK) FAIL(ERROR_UNSUPPORTED, "a rank above %d", MAX_RANK);
    TRY(dim_parse(table, &p->cursor, &out->dims[out->rank++]));
    TRY(next_item(p, "]", &more));
  }
  return OK;
}

static Status parse_order(Parser *p, Declaration *out) {
  unsigned seen = 0;
  TRY(expect(p, "("));
  for (int i = 0; i < out->rank; i++) {
    int64_t axis;
    if (!token_parse_i64(&p->cursor, &axis) || axis < 0 || axis >= out->rank || (seen & 1u << axis))
      FAIL(ERROR_INVALID_MODEL, "the order of '%s' is not a permutation of its %d axes", out->name, out->rank);
    seen |= 1u << axis;
    out->order[i] = (uint8_t)axis;
    if (i + 1 < out->rank) TRY(expect(p, ","));
  }
  return expect(p, ")");
}

static Status parse_dims(Parser *p, DimTable *table, const char *end, const Dim **out, int *count) {
  p->numbers.count = 0;
  bool more = !accept(p, end);
  while (more) {
    Dim dim;
    TRY(dim_parse(table, &p->cursor, &dim));
    *PUSH(p, &p->numbers, Dim) = dim;
    TRY(next_item(p, end, &more));
  }
  *count = (int)p->numbers.count;
  *out = arena_copy(p->arena, p->numbers.items, p->numbers.count * sizeof(Dim));
  return OK;
}

static Status parse_declaration(Parser *p, DimTable *table, Declaration *out) {
  char *name;
  *out = (Declaration){0};
  TRY(parse_value_name(p, &name));
  out->name = name;
  TRY(expect(p, ":"));
  TRY(parse_type(p, table, out));
  for (int i = 0; i < MAX_RANK; i++) out->order[i] = (uint8_t)i;
  if (accept_word(p, "order")) TRY(parse_order(p, out));
  if (!accept_word(p, "contents")) return OK;
  TRY(expect(p, "("));
  return parse_dims(p, table, ")", &out->contents, &out->contents_count);
}

static void declare(Value *value, const Declaration *declaration) {
  value_set_type(value, declaration->dtype, declaration->rank, declaration->dims);
  value->kind = declaration->kind;
  memcpy(value->order, declaration->order, sizeof value->order);
  value->contents = declaration->contents;
  value->contents_count = declaration->contents_count;
}

// Tensors.

static Status parse_element(Parser *p, DType dtype, char *element) {
  int64_t integer;
  uint64_t bits;
  double number;
  if (dtype == DTYPE_STRING) {
    char *string;
    TRY(token_parse_quoted(p->arena, &p->cursor, &string));
    memcpy(element, &string, sizeof string);
    return OK;
  }
  if (dtype_kind(dtype) == KIND_COMPLEX) {
    DType part = dtype == DTYPE_C64 ? DTYPE_F32 : DTYPE_F64;
    TRY(parse_element(p, part, element));
    return parse_element(p, part, element + dtype_size(part));
  }
  if (accept(p, "#")) {
    if (!token_parse_hex(&p->cursor, &bits))
      FAIL(ERROR_INVALID_MODEL, "expected hex digits before '%.*s'", TOKEN_GLIMPSE(p->cursor));
    memcpy(element, &bits, dtype_size(dtype));
  } else if (dtype_is_float(dtype)) {
    if (!token_parse_double(&p->cursor, &number))
      FAIL(ERROR_INVALID_MODEL, "expected a number before '%.*s'", TOKEN_GLIMPSE(p->cursor));
    element_set_f(dtype, element, number);
  } else if (token_parse_i64(&p->cursor, &integer)) {
    element_set_i(dtype, element, integer);
    if (element_get_i(dtype, element) != integer)
      FAIL(ERROR_INVALID_MODEL, "%lld does not fit %s", (long long)integer, dtype_name(dtype));
  } else if (dtype == DTYPE_U64 && token_parse_u64(&p->cursor, &bits)) {
    element_set_i(dtype, element, (int64_t)bits);
  } else {
    FAIL(ERROR_INVALID_MODEL, "expected an integer before '%.*s'", TOKEN_GLIMPSE(p->cursor));
  }
  return OK;
}

static Status parse_inline(Parser *p, Tensor *tensor) {
  size_t size = dtype_size(tensor->dtype), count = 1;
  int64_t dims[MAX_RANK];
  memcpy(dims, tensor->dims, sizeof dims);
  // An element takes a character and a comma at least: what the text cannot hold is not allocated.
  size_t room = (size_t)(p->end - p->cursor);
  for (int i = 0; i < tensor->rank; i++)
    if (!checked_mul(count, (size_t)dims[i], &count)) count = SIZE_MAX;
  if (count > room) FAIL(ERROR_INVALID_MODEL, "a tensor has more elements than the text");
  TRY(tensor_new(p->arena, tensor->dtype, tensor->rank, dims, tensor));
  for (size_t i = 0; i < count; i++) {
    if (i) TRY(expect(p, ","));
    TRY(parse_element(p, tensor->dtype, (char *)tensor->data + i * size));
  }
  return expect(p, "]");
}

static Status count_bytes(const Tensor *tensor, size_t *bytes) {
  *bytes = dtype_size(tensor->dtype);
  bool fits = true;
  for (int i = 0; i < tensor->rank; i++) fits = fits && checked_mul(*bytes, (size_t)tensor->dims[i], bytes);
  if (tensor->dtype == DTYPE_STRING) FAIL(ERROR_INVALID_MODEL, "strings cannot be outside of the text");
  if (!fits) FAIL(ERROR_INVALID_MODEL, "a tensor of more bytes than there are addresses");
  return OK;
}

// Row-major content is only ever read, as tensor.h says of mapped data.
static Status point_at(Tensor *tensor, const void *bytes) {
  size_t size = dtype_size(tensor->dtype), alignment = dtype_kind(tensor->dtype) == KIND_COMPLEX ? size / 2 : size;
  if ((uintptr_t)bytes % alignment)
    FAIL(ERROR_INVALID_MODEL, "a tensor's bytes lie at no multiple of its element's size, %zu", alignment);
  tensor->data = (void *)(uintptr_t)bytes;
  return OK;
}

static Status parse_placed(Parser *p, Tensor *tensor) {
  uint64_t offset;
  size_t bytes;
  const GraphContents *contents = &p->contents;
  if (!token_parse_u64(&p->cursor, &offset)) FAIL(ERROR_INVALID_MODEL, "expected an offset after '@'");
  TRY(count_bytes(tensor, &bytes));
  if (!contents->blob) FAIL(ERROR_INVALID_MODEL, "a tensor at an offset, where no data came with the text");
  if (offset > contents->blob_size || bytes > contents->blob_size - offset)
    FAIL(ERROR_INVALID_MODEL, "a tensor at offset %llu reaches beyond the %zu bytes of data", (unsigned long long)offset,
         contents->blob_size);
  return point_at(tensor, (const char *)contents->blob + offset);
}

static Status parse_named(Parser *p, Tensor *tensor) {
  Hash128 name;
  size_t bytes;
  if (!token_parse_hash(&p->cursor, &name)) FAIL(ERROR_INVALID_MODEL, "expected a hash after '&'");
  TRY(count_bytes(tensor, &bytes));
  const void *found = p->contents.find ? p->contents.find(p->contents.context, name, bytes) : NULL;
  if (!found) FAIL(ERROR_INVALID_MODEL, "a tensor of %zu bytes that did not come with the text", bytes);
  return point_at(tensor, found);
}

static Status parse_tensor(Parser *p, const DimTable *table, const Declaration *type, Tensor **out) {
  Tensor *tensor = arena_new_of(p->arena, Tensor);
  *out = tensor;
  tensor->dtype = type->dtype;
  tensor->rank = type->rank;
  if (type->kind != VALUE_TENSOR || type->dtype == DTYPE_COUNT || type->rank < 0)
    FAIL(ERROR_INVALID_MODEL, "a constant of unknown type");
  for (int i = 0; i < type->rank; i++)
    if (!dim_get_constant(table, type->dims[i], &tensor->dims[i]) || tensor->dims[i] < 0)
      FAIL(ERROR_INVALID_MODEL, "a constant whose dimension %d is not a number", i);
  if (accept(p, "@")) return parse_placed(p, tensor);
  if (accept(p, "&")) return parse_named(p, tensor);
  if (accept(p, "[...")) FAIL(ERROR_INVALID_MODEL, "a constant whose elements the text leaves out");
  if (accept(p, "[")) return parse_inline(p, tensor);
  FAIL(ERROR_INVALID_MODEL, "expected '@', '&' or '[' before '%.*s'", TOKEN_GLIMPSE(p->cursor));
}

// Attributes.

static Status parse_graph(Parser *p, Graph *outer, Graph **out);

// Of an attribute, where an integer too large for one must not pass as a float.
static Status parse_float(Parser *p, double *out) {
  token_skip_space(&p->cursor);
  const char *start = p->cursor;
  TRY(parse_element(p, DTYPE_F64, (char *)out));
  if (strcspn(start, ".eEni#") >= (size_t)(p->cursor - start)) FAIL(ERROR_INVALID_MODEL, "an integer out of range");
  return OK;
}

static Status parse_strings(Parser *p, Node *node, const char *name) {
  p->operands.count = 0;
  bool more = !accept(p, "]");
  while (more) {
    char *string;
    TRY(token_parse_quoted(p->arena, &p->cursor, &string));
    *PUSH(p, &p->operands, const void *) = string;
    TRY(next_item(p, "]", &more));
  }
  node_set_strings(node, name, p->operands.items, (int)p->operands.count);
  return OK;
}

// After "[". An empty list is one of integers.
static Status parse_list(Parser *p, Node *node, const char *name) {
  int64_t integer = 0;
  p->numbers.count = 0;
  token_skip_space(&p->cursor);
  if (*p->cursor == '"') return parse_strings(p, node, name);
  const char *first = p->cursor;
  bool empty = accept(p, "]"), integers = empty || token_parse_i64(&p->cursor, &integer), more = !empty;
  p->cursor = empty ? p->cursor : first;
  while (more) {
    if (integers) {
      if (!token_parse_i64(&p->cursor, &integer))
        FAIL(ERROR_INVALID_MODEL, "expected an integer before '%.*s'", TOKEN_GLIMPSE(p->cursor));
      *PUSH(p, &p->numbers, int64_t) = integer;
    } else {
      double number = 0;
      TRY(parse_float(p, &number));
      memcpy(PUSH(p, &p->numbers, int64_t), &number, sizeof number);
    }
    TRY(next_item(p, "]", &more));
  }
  if (integers) node_set_ints(node, name, p->numbers.items, (int)p->numbers.count);
  else node_set_floats(node, name, p->numbers.items, (int)p->numbers.count);
  return OK;
}

static Status parse_tensor_attribute(Parser *p, Node *node, const char *name) {
  Declaration type = {0};
  Tensor *tensor;
  TRY(parse_type(p, node->graph->dims, &type));
  TRY(expect(p, "="));
  TRY(parse_tensor(p, node->graph->dims, &type, &tensor));
  node_set_tensor(node, name, tensor);
  return OK;
}

static Status parse_attribute(Parser *p, Node *node) {
  char *name, *string;
  TRY(token_parse_name(p->arena, &p->cursor, token_is_identifier_byte, &name));
  if (node_attribute(node, name)) FAIL(ERROR_INVALID_MODEL, "attribute '%s' occurs twice", name);
  TRY(expect(p, ":"));
  if (accept(p, "[")) return parse_list(p, node, name);
  if (*p->cursor == '"') {
    TRY(token_parse_quoted(p->arena, &p->cursor, &string));
    node_set_string(node, name, string);
    return OK;
  }
  if (accept_word(p, "dims")) {
    const Dim *dims;
    int count;
    TRY(expect(p, "["));
    TRY(parse_dims(p, node->graph->dims, "]", &dims, &count));
    node_set_dims(node, name, dims, count);
    return OK;
  }
  if (accept_word(p, "program")) {
    Program *program;
    TRY(program_parse(p->arena, &p->cursor, &program));
    node_set_program(node, name, program);
    return OK;
  }
  if (accept_word(p, "tensor")) return parse_tensor_attribute(p, node, name);
  if (accept_word(p, "floats")) {
    TRY(expect(p, "["));
    node_set_floats(node, name, NULL, 0);
    return expect(p, "]");
  }
  if (accept_word(p, "strings")) {
    TRY(expect(p, "["));
    return parse_strings(p, node, name);
  }
  const char *start = p->cursor;
  if (accept_word(p, "graph")) {
    Graph *graph;
    p->cursor = start;
    TRY(parse_graph(p, node->graph, &graph));
    node_set_graph(node, name, graph);
    return OK;
  }
  int64_t integer;
  double number = 0;
  if (token_parse_i64(&p->cursor, &integer)) {
    node_set_int(node, name, integer);
    return OK;
  }
  TRY(parse_float(p, &number));
  node_set_float(node, name, number);
  return OK;
}

// Statements.

static Status parse_new_declaration(Parser *p, Graph *graph, Declaration *out) {
  TRY(parse_declaration(p, graph->dims, out));
  if (graph_find_value(graph, out->name)) FAIL(ERROR_INVALID_MODEL, "%%%s is declared twice", out->name);
  return OK;
}

static Status parse_constant(Parser *p, Graph *graph) {
  Declaration declaration;
  Tensor *tensor;
  TRY(parse_new_declaration(p, graph, &declaration));
  TRY(expect(p, "="));
  TRY(parse_tensor(p, graph->dims, &declaration, &tensor));
  Value *value = graph_new_value(graph, declaration.name);
  declare(value, &declaration);
  value->constant = tensor;
  return OK;
}

static Status parse_declarations(Parser *p, Graph *graph) {
  p->declarations.count = 0;
  if (accept(p, "=")) return OK;
  bool more = true;
  while (more) {
    Declaration declaration;
    TRY(parse_new_declaration(p, graph, &declaration));
    *PUSH(p, &p->declarations, Declaration) = declaration;
    TRY(next_item(p, "=", &more));
  }
  return OK;
}

static Status parse_operands(Parser *p, Graph *graph) {
  p->operands.count = 0;
  TRY(expect(p, "("));
  bool more = !accept(p, ")");
  while (more) {
    Value *value = NULL;
    char *name;
    if (!accept_word(p, "_")) {
      TRY(parse_value_name(p, &name));
      value = graph_find_value(graph, name);
      if (!value) FAIL(ERROR_INVALID_MODEL, "%%%s is not declared before it is used", name);
    }
    if (p->operands.count == MAX_INPUTS) FAIL(ERROR_INVALID_MODEL, "more than %d inputs", MAX_INPUTS);
    *PUSH(p, &p->operands, const void *) = value;
    TRY(next_item(p, ")", &more));
  }
  return OK;
}

// Types and names of the outputs. A new node's own preliminary names give way; equal ones among the declared do not.
static Status declare_outputs(Parser *p, Node *node) {
  const Declaration *declarations = p->declarations.items;
  for (int i = 0; i < node->output_count; i++) {
    const Value *holder = graph_find_value(node->graph, declarations[i].name);
    if (holder && holder->producer_index < i) FAIL(ERROR_INVALID_MODEL, "%%%s is declared twice", declarations[i].name);
    value_rename(node->graph, node->outputs[i], declarations[i].name);
    declare(node->outputs[i], &declarations[i]);
  }
  return OK;
}

static Status parse_origins(Parser *p, Node *node) {
  Items *list = &p->operands;
  list->count = 0;
  TRY(expect(p, "["));
  bool more = true;
  while (more) {
    char *string;
    TRY(token_parse_quoted(p->arena, &p->cursor, &string));
    *PUSH(p, list, const void *) = string;
    TRY(expect(p, ":"));
    TRY(token_parse_quoted(p->arena, &p->cursor, &string));
    *PUSH(p, list, const void *) = string;
    TRY(next_item(p, "]", &more));
  }
  const char *const *strings = list->items;
  node->origin_count = (int)(list->count / 2);
  node->origins = arena_array(p->arena, Origin, (size_t)node->origin_count);
  for (int i = 0; i < node->origin_count; i++) node->origins[i] = (Origin){strings[2 * i], strings[2 * i + 1]};
  return OK;
}

static Status parse_node(Parser *p, Graph *graph) {
  char *op_name;
  TRY(parse_declarations(p, graph));
  TRY(token_parse_name(p->arena, &p->cursor, token_is_identifier_byte, &op_name));
  const OpDef *op = string_map_get(p->ops, op_name);
  if (!op) FAIL(ERROR_INVALID_MODEL, "there is no operator '%s'", op_name);
  TRY(parse_operands(p, graph));
  Node *node = graph_add(graph, NULL, op, (int)p->operands.count, p->operands.items, (int)p->declarations.count);
  TRY(declare_outputs(p, node));
  if (accept(p, "{")) {
    bool more = true;
    while (more) {
      TRY(parse_attribute(p, node));
      TRY(next_item(p, "}", &more));
    }
  }
  return accept_word(p, "origins") ? parse_origins(p, node) : OK;
}

static Status parse_initial(Parser *p, Graph *graph, Value *input) {
  Declaration type = {.name = input->name};
  TRY(parse_type(p, graph->dims, &type));
  if (type.dtype != input->dtype || (input->rank >= 0 && type.rank != input->rank))
    FAIL(ERROR_INVALID_MODEL, "the default of '%s' is of another type or rank", input->name);
  return parse_tensor(p, graph->dims, &type, &input->initial);
}

static Status parse_inputs(Parser *p, Graph *graph) {
  TRY(expect(p, "("));
  bool more = !accept(p, ")");
  while (more) {
    Declaration declaration;
    TRY(parse_new_declaration(p, graph, &declaration));
    Value *value = graph_add_input(graph, declaration.name, declaration.dtype, 0, NULL);
    declare(value, &declaration);
    if (accept(p, "=")) TRY(parse_initial(p, graph, value));
    TRY(next_item(p, ")", &more));
  }
  return OK;
}

typedef struct OutputName {
  char *name, *given_as;
} OutputName;

static Status parse_output_names(Parser *p, Items *names) {
  TRY(expect(p, "("));
  bool more = !accept(p, ")");
  while (more) {
    char *name;
    TRY(parse_value_name(p, &name));
    OutputName *output = PUSH(p, names, OutputName);
    output->name = name;
    if (accept_word(p, "as")) TRY(token_parse_quoted(p->arena, &p->cursor, &output->given_as));
    TRY(next_item(p, ")", &more));
  }
  return OK;
}

static Status mark_outputs(Graph *graph, const Items *names) {
  const OutputName *items = names->items;
  for (uint32_t i = 0; i < names->count; i++) {
    Value *value = graph_find_value(graph, items[i].name);
    if (!value) FAIL(ERROR_INVALID_MODEL, "%%%s, an output of graph '%s', is not declared in it", items[i].name, graph->name);
    graph_mark_output(graph, value);
    value->given_as = items[i].given_as ? arena_string(graph->arena, items[i].given_as) : NULL;
  }
  return OK;
}

static Status parse_body(Parser *p, Graph *graph) {
  Items outputs = {0};
  TRY(parse_inputs(p, graph));
  TRY(expect(p, "->"));
  TRY(parse_output_names(p, &outputs));
  TRY(expect(p, "{"));
  while (!accept(p, "}")) TRY(accept_word(p, "const") ? parse_constant(p, graph) : parse_node(p, graph));
  return mark_outputs(graph, &outputs);
}

// The outer graph may be one that only carries the arena, the operators and the dimensions.
static Status parse_graph(Parser *p, Graph *outer, Graph **out) {
  char *name;
  if (!accept_word(p, "graph")) FAIL(ERROR_INVALID_MODEL, "expected 'graph' before '%.*s'", TOKEN_GLIMPSE(p->cursor));
  TRY(token_parse_name(p->arena, &p->cursor, token_is_name_byte, &name));
  if (p->depth == TOKEN_MAX_NESTING) FAIL(ERROR_INVALID_MODEL, "graphs nest deeper than %d", TOKEN_MAX_NESTING);
  p->depth++;
  Graph *graph = graph_new_inside(outer, name);
  TRY(parse_body(p, graph));
  p->depth--;
  *out = graph;
  return OK;
}

static int line_of(const char *text, const char *cursor) {
  int line = 1;
  for (; text < cursor; text++) line += *text == '\n';
  return line;
}

Status graph_parse_at(Arena *arena, const OpDef *const *ops, const char **cursor, const char *end,
                      const GraphContents *contents, Graph **out) {
  Parser parser = {.arena = arena, .ops = string_map_new(arena), .cursor = *cursor, .end = end, .contents = *contents};
  for (const OpDef *const *op = ops; *op; op++) string_map_set(parser.ops, (*op)->name, (void *)(uintptr_t)*op);
  Graph outer = {.arena = arena, .ops = ops, .dims = dim_table_new(arena)};
  Status status = parse_graph(&parser, &outer, out);
  *cursor = parser.cursor;
  return status;
}

static Status parse_all(Arena *arena, const OpDef *const *ops, const char **cursor, const char *end,
                        const GraphContents *contents, Graph **out) {
  TRY(graph_parse_at(arena, ops, cursor, end, contents, out));
  token_skip_space(cursor);
  if (*cursor != end)
    FAIL(ERROR_INVALID_MODEL, "expected nothing after the graph, but there is '%.*s'", TOKEN_GLIMPSE(*cursor));
  return OK;
}

Status graph_parse(Arena *arena, const OpDef *const *ops, const char *text, size_t length, const void *blob, size_t blob_size,
                   Graph **out) {
  // The copy ends with a NUL; one inside ends the text early, which is then an error.
  void *copy;
  if (length > INT_MAX) FAIL(ERROR_UNSUPPORTED, "a graph's text of %zu bytes: at most %d are supported", length, INT_MAX);
  TRY(arena_try_alloc(arena, length + 1, 16, &copy));
  if (length) memcpy(copy, text, length);
  const char *start = copy, *cursor = start;
  Status status = parse_all(arena, ops, &cursor, start + length, &(GraphContents){.blob = blob, .blob_size = blob_size}, out);
  return status_context(status, "line %d", line_of(start, cursor));
}
