// Dimensions as text. Grammar, with / and % flooring:
//   sum    = ["-"] product { ("+" | "-") product }
//   product = factor { ("*" | "/" | "%") factor }
//   factor = integer | symbol | "(" sum ")" | ("max" | "min" | "broadcast") "(" sum { "," sum } ")"
// Symbols are identifiers; anything else, and the words max, min and broadcast, is quoted.
#include <string.h>
#include "ir/dim_table.h"
#include "ir/token.h"

static bool is_identifier(const char *name) {
  if (!strcmp(name, "max") || !strcmp(name, "min") || !strcmp(name, "broadcast")) return false;
  if ((*name >= '0' && *name <= '9') || *name == '.') return false;
  while (token_is_identifier_byte((unsigned char)*name)) name++;
  return *name == 0;
}

static void print_symbol(Text *text, const char *name) {
  if (*name && is_identifier(name)) text_add(text, "%s", name);
  else token_quote(text, name);
}

static bool is_open(const DimTable *table, Dim dim, DimOp op) {
  return dim_op(table, dim) == op && !dim_entry(table, dim)->opaque;
}

// An operand of / or %, or the second one of an opaque product.
static void print_tight(Text *text, const DimTable *table, Dim dim, bool is_left) {
  int64_t constant;
  bool product = is_open(table, dim, DIM_MUL);
  bool negative = dim_get_constant(table, product ? dim_entry(table, dim)->a : dim, &constant) && constant < 0;
  bool wrap = negative || (product && !is_left);
  if (wrap) text_add(text, "(");
  dim_print(text, table, dim);
  if (wrap) text_add(text, ")");
}

static void print_binary(Text *text, const DimTable *table, const DimEntry *entry, const char *sign) {
  text_add(text, "(");
  print_tight(text, table, entry->a, true);
  text_add(text, "%s", sign);
  print_tight(text, table, entry->b, false);
  text_add(text, ")");
}

static void print_product(Text *text, const DimTable *table, const DimEntry *entry) {
  int64_t coefficient;
  if (dim_get_constant(table, entry->a, &coefficient) && coefficient == -1) {
    text_add(text, "-");
  } else {
    dim_print(text, table, entry->a);
    text_add(text, "*");
  }
  dim_print(text, table, entry->b);
}

// Left to right along the chain; a negative coefficient becomes a minus sign.
static void print_terms(Text *text, const DimTable *table, Dim dim) {
  if (!is_open(table, dim, DIM_ADD)) {
    dim_print(text, table, dim);
    return;
  }
  const DimEntry *entry = dim_entry(table, dim);
  print_terms(text, table, entry->a);
  size_t start = text->length;
  text_add(text, " + ");
  dim_print(text, table, entry->b);
  char *sign = text->bytes + start + 1;
  if (sign[2] != '-') return;
  *sign = '-';
  memmove(sign + 2, sign + 3, strlen(sign + 2));
  text->length--;
}

static void print_choices(Text *text, const DimTable *table, DimOp op, Dim dim) {
  if (!is_open(table, dim, op)) {
    dim_print(text, table, dim);
    return;
  }
  print_choices(text, table, op, dim_entry(table, dim)->a);
  text_add(text, ", ");
  dim_print(text, table, dim_entry(table, dim)->b);
}

static const char *choice_name(DimOp op) { return op == DIM_MAX ? "max" : op == DIM_MIN ? "min" : "broadcast"; }

void dim_print(Text *text, const DimTable *table, Dim dim) {
  int64_t constant;
  if (dim_get_constant(table, dim, &constant)) {
    text_add(text, "%lld", (long long)constant);
    return;
  }
  const DimEntry *entry = dim_entry(table, dim);
  switch (entry->op) {
    case DIM_SYMBOL: print_symbol(text, entry->name); break;
    case DIM_ADD:
      if (entry->opaque) {
        print_binary(text, table, entry, " + ");
        break;
      }
      text_add(text, "(");
      print_terms(text, table, dim);
      text_add(text, ")");
      break;
    case DIM_MUL:
      if (entry->opaque) print_binary(text, table, entry, "*");
      else print_product(text, table, entry);
      break;
    case DIM_DIV: print_binary(text, table, entry, "/"); break;
    case DIM_MOD: print_binary(text, table, entry, "%"); break;
    case DIM_MAX:
    case DIM_MIN:
    case DIM_BROADCAST:
      text_add(text, "%s(", choice_name(entry->op));
      if (entry->opaque) {
        dim_print(text, table, entry->a);
        text_add(text, ", ");
        dim_print(text, table, entry->b);
      } else {
        print_choices(text, table, entry->op, dim);
      }
      text_add(text, ")");
      break;
    case DIM_CONSTANT: break;
  }
}

static Status parse_sum(DimTable *table, const char **cursor, int depth, Dim *out);

static Status parse_choices(DimTable *table, const char **cursor, int depth, DimOp op, Dim *out) {
  TRY(token_expect(cursor, "("));
  TRY(parse_sum(table, cursor, depth, out));
  while (token_accept(cursor, ",")) {
    Dim other;
    TRY(parse_sum(table, cursor, depth, &other));
    *out = dim_make(table, op, *out, other);
  }
  return token_expect(cursor, ")");
}

static Status parse_factor(DimTable *table, const char **cursor, int depth, Dim *out) {
  if (depth > TOKEN_MAX_NESTING) FAIL(ERROR_INVALID_MODEL, "a dimension nests deeper than %d", TOKEN_MAX_NESTING);
  int64_t constant;
  char *name;
  if (token_parse_i64(cursor, &constant)) {
    *out = dim_constant(table, constant);
    return OK;
  }
  if (token_accept(cursor, "(")) {
    TRY(parse_sum(table, cursor, depth + 1, out));
    return token_expect(cursor, ")");
  }
  if (token_accept_word(cursor, "max")) return parse_choices(table, cursor, depth + 1, DIM_MAX, out);
  if (token_accept_word(cursor, "broadcast")) return parse_choices(table, cursor, depth + 1, DIM_BROADCAST, out);
  if (token_accept_word(cursor, "min")) return parse_choices(table, cursor, depth + 1, DIM_MIN, out);
  bool starts_name = **cursor == '"' || (token_is_identifier_byte((unsigned char)**cursor) && !strchr("0123456789.", **cursor));
  if (!starts_name) FAIL(ERROR_INVALID_MODEL, "expected a dimension before '%.*s'", TOKEN_GLIMPSE(*cursor));
  TRY(token_parse_name(dim_table_arena(table), cursor, token_is_identifier_byte, &name));
  *out = dim_symbol(table, name);
  return OK;
}

static Status parse_product(DimTable *table, const char **cursor, int depth, Dim *out) {
  TRY(parse_factor(table, cursor, depth, out));
  for (;;) {
    DimOp op;
    Dim other;
    if (token_accept(cursor, "*")) op = DIM_MUL;
    else if (token_accept(cursor, "/")) op = DIM_DIV;
    else if (token_accept(cursor, "%")) op = DIM_MOD;
    else return OK;
    TRY(parse_factor(table, cursor, depth, &other));
    *out = dim_make(table, op, *out, other);
  }
}

static Status parse_sum(DimTable *table, const char **cursor, int depth, Dim *out) {
  token_skip_space(cursor);
  bool number = **cursor == '-' && (*cursor)[1] >= '0' && (*cursor)[1] <= '9';
  bool negative = !number && token_accept(cursor, "-");
  TRY(parse_product(table, cursor, depth, out));
  if (negative) *out = dim_mul(table, dim_constant(table, -1), *out);
  for (;;) {
    Dim other;
    bool minus = token_accept(cursor, "-");
    if (!minus && !token_accept(cursor, "+")) return OK;
    TRY(parse_product(table, cursor, depth, &other));
    *out = minus ? dim_sub(table, *out, other) : dim_add(table, *out, other);
  }
}

Status dim_parse(DimTable *table, const char **cursor, Dim *out) { return parse_sum(table, cursor, 0, out); }
