// Checking nodes against the table of schemas (schemas.inc). Its texts are read where they are needed: a node is checked once.
#include "onnx/ops/schema.h"
#include <string.h>
#include "base/checked.h"
#include "base/text.h"
#include "onnx/ops/rules.h"

static const Schema schemas[] = {
#define SCHEMA(domain, name, since, attributes, inputs, outputs, types) \
  {domain, name, since, attributes, inputs, outputs, types},
#include "onnx/ops/schemas.inc"
#undef SCHEMA
};

static int compare(const Schema *schema, const char *domain, const char *name, int version) {
  int order = strcmp(schema->domain, domain);
  if (order == 0) order = strcmp(schema->name, name);
  return order ? order : schema->since - version;
}

const Schema *schema_find(const char *domain, const char *name, int version) {
  size_t low = 0, high = COUNT_OF(schemas);  // the first row that is above
  while (low < high) {
    size_t middle = (low + high) / 2;
    if (compare(&schemas[middle], domain, name, version) > 0) high = middle;
    else low = middle + 1;
  }
  const Schema *found = low ? &schemas[low - 1] : NULL;
  return found && strcmp(found->domain, domain) == 0 && strcmp(found->name, name) == 0 ? found : NULL;
}

int schema_newest_opset(const char *domain) {
  static const struct {
    const char *domain;
    int version;
  } newest[] = {{"", 27}, {"ai.onnx.ml", 5}, {"ai.onnx.preview", 1}, {"ai.onnx.preview.training", 1}, {"com.microsoft", 1}};
  for (size_t i = 0; i < COUNT_OF(newest); i++)
    if (strcmp(newest[i].domain, domain) == 0) return newest[i].version;
  return 0;
}

// --- Items of a list "name:kind name:kind", separated by spaces

typedef struct Item {
  const char *name, *kind;
  int name_length, kind_length;
  char mark;  // '!', '?', '*', '~' or 0
} Item;

static bool next_item(const char **text, char between, Item *out) {
  while (**text == ' ') ++*text;
  if (!**text) return false;
  const char *end = strchrnul(*text, ' '), *colon = strchr(*text, between);
  *out = (Item){.name = *text, .name_length = (int)(colon - *text), .kind = colon + 1, .kind_length = (int)(end - colon - 1)};
  if (strchr("!?*~", end[-1])) {
    out->mark = end[-1];
    out->kind_length--;
  }
  *text = end;
  return true;
}

static bool is_text(const char *text, int length, const char *name) {
  return (int)strlen(name) == length && strncmp(text, name, (size_t)length) == 0;
}

// --- Attributes

// How many letters have to change to make one name of the other; short names only.
static int distance(const char *a, int a_length, const char *b, int b_length) {
  int row[64];
  if (b_length >= (int)COUNT_OF(row)) return a_length + b_length;
  for (int k = 0; k <= b_length; k++) row[k] = k;
  for (int i = 1; i <= a_length; i++) {
    int diagonal = row[0];
    row[0] = i;
    for (int k = 1; k <= b_length; k++) {
      int above = row[k], changed = diagonal + (a[i - 1] != b[k - 1]);
      row[k] = MIN(MIN(above, row[k - 1]) + 1, changed);
      diagonal = above;
    }
  }
  return row[b_length];
}

static Status unknown_attribute(const Schema *schema, const char *name) {
  Arena *arena = arena_scratch();
  Text known = text_new(arena);
  Item item, nearest = {0};
  int least = INT32_MAX;
  for (const char *at = schema->attributes; next_item(&at, ':', &item);) {
    int away = distance(name, (int)strlen(name), item.name, item.name_length);
    text_add(&known, "%s%.*s", known.length ? ", " : "", item.name_length, item.name);
    if (away >= least) continue;
    least = away;
    nearest = item;
  }
  Status status;
  if (!known.length)
    status =
        status_make(ERROR_INVALID_MODEL, "attribute '%s' is unknown: version %d of the operator has none", name, schema->since);
  else
    status =
        status_make(ERROR_INVALID_MODEL, "attribute '%s' is unknown; the nearest is '%.*s', version %d of the operator has %s",
                    name, nearest.name_length, nearest.name, schema->since, text_get(&known));
  arena_free(arena);
  return status;
}

static bool may_be(const char *kinds, const Item *item) {
  for (const char *at = kinds; *at;) {
    int length = (int)strcspn(at, " ");
    if (length == item->kind_length && strncmp(at, item->kind, (size_t)length) == 0) return true;
    at += length;
    while (*at == ' ') at++;
  }
  return false;
}

Status schema_check_attribute(const Schema *schema, const GivenAttribute *given) {
  Item item;
  if (!given->name[0] || strncmp(given->name, "__", 2) == 0) return OK;  // the latter are notes of tools
  for (const char *at = schema->attributes; next_item(&at, ':', &item);) {
    if (!is_text(item.name, item.name_length, given->name)) continue;
    if (!may_be(given->kinds, &item))
      FAIL(ERROR_INVALID_MODEL, "attribute '%s' is of type %.*s, expected %.*s", given->name, (int)strcspn(given->kinds, " "),
           given->kinds, item.kind_length, item.kind);
    return rules_check_value(schema, given);
  }
  return unknown_attribute(schema, given->name);
}

Status schema_check_required(const Schema *schema, size_t count, const GivenAttribute *given) {
  Item item;
  for (const char *at = schema->attributes; next_item(&at, ':', &item);) {
    bool found = item.mark != '!';
    for (size_t i = 0; i < count && !found; i++) found = is_text(item.name, item.name_length, given[i].name);
    if (!found) FAIL(ERROR_INVALID_MODEL, "the attribute '%.*s' is missing", item.name_length, item.name);
  }
  return OK;
}

// --- Inputs and outputs

static Status check_count(const Schema *schema, const char *formals, int count, const char *what) {
  int most = 0;
  Item item;
  for (const char *at = formals; next_item(&at, ':', &item); most++)
    if (item.mark == '*' || item.mark == '~') return OK;
  if (count > most)
    FAIL(ERROR_INVALID_MODEL, "it has %d %s, version %d of the operator has at most %d", count, what, schema->since, most);
  return OK;
}

Status schema_check_arity(const Schema *schema, int inputs, int outputs) {
  TRY(check_count(schema, schema->inputs, inputs, "inputs"));
  return check_count(schema, schema->outputs, outputs, "outputs");
}

bool schema_requires(const Schema *schema, int input) {
  Item item;
  for (const char *at = schema->inputs; next_item(&at, ':', &item); input--)
    if (input == 0 || item.mark == '*' || item.mark == '~') return !item.mark;
  return false;
}

static const struct {
  const char *name, *members;
} groups[] = {
    {"signed", "i8+i16+i32+i64"}, {"unsigned", "u8+u16+u32+u64"},
    {"floats", "f16+f32+f64"},    {"f8", "f8e4m3fn+f8e4m3fnuz+f8e5m2+f8e5m2fnuz"},
    {"complex", "c64+c128"},
};

// The text after "name=" in a list of type sets, or the name itself where it is no variable.
static const char *types_of(const Schema *schema, const Item *formal, int *length) {
  Item item;
  for (const char *at = schema->types; next_item(&at, '=', &item);) {
    if (item.name_length != formal->kind_length || strncmp(item.name, formal->kind, (size_t)item.name_length) != 0) continue;
    *length = item.kind_length;
    return item.kind;
  }
  *length = formal->kind_length;
  return formal->kind;
}

static bool set_has(const char *set, int length, const char *name) {
  while (length > 0) {
    const char *end = memchr(set, '+', (size_t)length);
    int item = end ? (int)(end - set) : length;
    if (is_text(set, item, name)) return true;
    for (size_t i = 0; i < COUNT_OF(groups); i++)
      if (is_text(set, item, groups[i].name) && set_has(groups[i].members, (int)strlen(groups[i].members), name)) return true;
    set += item + 1;
    length -= item + 1;
  }
  return false;
}

typedef struct Bound {
  const char *variable;
  int length, input;
  DType dtype;
} Bound;

// One variable stands for one type, whatever the input.
static Status check_variable(const Item *formal, int input, DType dtype, Bound *bound, int *count) {
  for (int i = 0; i < *count; i++) {
    if (bound[i].length != formal->kind_length || strncmp(bound[i].variable, formal->kind, (size_t)bound[i].length) != 0)
      continue;
    if (bound[i].dtype == dtype) return OK;
    FAIL(ERROR_INVALID_MODEL, "input %d (%.*s) is of type %s, expected %s as input %d is", input, formal->name_length,
         formal->name, dtype_name(dtype), dtype_name(bound[i].dtype), bound[i].input);
  }
  if (*count < 16) bound[(*count)++] = (Bound){formal->kind, formal->kind_length, input, dtype};
  return OK;
}

static void print_set(Text *out, const char *set, int length) {
  while (length > 0) {
    const char *end = memchr(set, '+', (size_t)length), *members = NULL;
    int item = end ? (int)(end - set) : length;
    for (size_t i = 0; i < COUNT_OF(groups) && !members; i++)
      if (is_text(set, item, groups[i].name)) members = groups[i].members;
    if (members) print_set(out, members, (int)strlen(members));
    else text_add(out, "%s%.*s", out->length ? ", " : "", item, set);
    set += item + 1;
    length -= item + 1;
  }
}

static Status check_type(const Schema *schema, const Item *formal, int input, const Value *value) {
  int length;
  const char *set = types_of(schema, formal, &length);
  const char *type = value->kind == VALUE_SEQUENCE ? "seq" : dtype_name(value->dtype);
  if (value->kind == VALUE_OPTIONAL || (value->kind == VALUE_TENSOR && value->dtype == DTYPE_COUNT)) return OK;
  if (set_has(set, length, type) || set_has(set, length, "optional")) return OK;
  Arena *arena = arena_scratch();
  Text expected = text_new(arena);
  print_set(&expected, set, length);
  Status status = status_make(ERROR_INVALID_MODEL, "input %d (%.*s) is of type %s, expected one of: %s", input,
                              formal->name_length, formal->name, type, text_get(&expected));
  arena_free(arena);
  return status;
}

Status schema_check_inputs(const Schema *schema, int count, Value *const *inputs) {
  const char *at = schema->inputs;
  Item formal;
  Bound bound[16];
  int bound_count = 0;
  bool more = next_item(&at, ':', &formal);
  for (int i = 0; i < count && more; i++) {
    const Value *value = inputs[i];
    if (value) TRY(check_type(schema, &formal, i, value));
    bool known = value && value->kind == VALUE_TENSOR && value->dtype != DTYPE_COUNT;
    if (known && formal.mark != '~') TRY(check_variable(&formal, i, value->dtype, bound, &bound_count));
    if (value) TRY(rules_check_rank(schema, i, value));
    if (formal.mark != '*' && formal.mark != '~') more = next_item(&at, ':', &formal);
  }
  return OK;
}
