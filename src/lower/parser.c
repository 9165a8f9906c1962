// See parser.h.
#include "lower/parser.h"

#include <limits.h>

bool plan_accept(PlanParser *p, const char *text) { return token_accept(&p->cursor, text); }
bool plan_accept_word(PlanParser *p, const char *word) { return token_accept_word(&p->cursor, word); }
Status plan_expect(PlanParser *p, const char *text) { return token_expect(&p->cursor, text); }

Status plan_expect_word(PlanParser *p, const char *word) {
  if (!plan_accept_word(p, word)) FAIL(ERROR_INVALID_MODEL, "expected '%s' before '%.*s'", word, TOKEN_GLIMPSE(p->cursor));
  return OK;
}

Status plan_number(PlanParser *p, int64_t least, int64_t most, int64_t *out) {
  token_skip_space(&p->cursor);
  const char *at = p->cursor;
  if (!token_parse_i64(&p->cursor, out)) FAIL(ERROR_INVALID_MODEL, "expected a number before '%.*s'", TOKEN_GLIMPSE(at));
  if (*out < least || *out > most)
    FAIL(ERROR_INVALID_MODEL, "%lld is not between %lld and %lld", (long long)*out, (long long)least, (long long)most);
  return OK;
}

Status plan_int(PlanParser *p, int64_t least, int *out) {
  int64_t number;
  TRY(plan_number(p, least, INT_MAX, &number));
  *out = (int)number;
  return OK;
}

Status plan_size(PlanParser *p, size_t *out) {
  int64_t number;
  TRY(plan_number(p, 0, INT64_MAX / 2, &number));
  *out = (size_t)number;
  return OK;
}

Status plan_hash(PlanParser *p, Hash128 *out) {
  token_skip_space(&p->cursor);
  if (!token_parse_hash(&p->cursor, out)) FAIL(ERROR_INVALID_MODEL, "expected a hash before '%.*s'", TOKEN_GLIMPSE(p->cursor));
  return OK;
}

Status plan_identifier(PlanParser *p, char **out) {
  return token_parse_name(p->arena, &p->cursor, token_is_identifier_byte, out);
}

Status plan_value_name(PlanParser *p, char **out) {
  TRY(plan_expect(p, "%"));
  return token_parse_name(p->arena, &p->cursor, token_is_name_byte, out);
}

Status plan_buffer_name(PlanParser *p, int *out) {
  char *name;
  TRY(plan_value_name(p, &name));
  *out = (int)(uintptr_t)string_map_get(p->buffers, name) - 1;
  if (*out < 0) FAIL(ERROR_INVALID_MODEL, "there is no buffer %%%s", name);
  return OK;
}
