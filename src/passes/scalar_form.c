// Reads rules over scalar programs. See scalar_rule.h for their text.
#include "passes/scalar_form.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

typedef struct Reader {
  const char *text, *at;
  ScalarForm *out;
} Reader;

static bool accept(Reader *r, const char *token) {
  while (*r->at == ' ') r->at++;
  size_t length = strlen(token);
  if (strncmp(r->at, token, length) != 0) return false;
  r->at += length;
  return true;
}

static Status malformed(const Reader *r, const char *what) {
  FAIL(ERROR_INTERNAL, "scalar rule '%s': %s at '%s'", r->text, what, r->at);
}

static Status require(Reader *r, const char *token) { return accept(r, token) ? OK : malformed(r, "punctuation was expected"); }

static Status read_word(Reader *r, char word[32]) {
  int length = 0;
  while (*r->at == ' ') r->at++;
  while (length < 31 &&
         (islower((unsigned char)r->at[length]) || isdigit((unsigned char)r->at[length]) || r->at[length] == '_'))
    length++;
  if (!length) return malformed(r, "a word was expected");
  memcpy(word, r->at, (size_t)length);
  word[length] = 0;
  r->at += length;
  return OK;
}

static Status read_letter(Reader *r, int *letter) {
  char word[32];
  TRY(read_word(r, word));
  if (word[1] || !islower((unsigned char)word[0])) return malformed(r, "a letter was expected before this");
  *letter = word[0] - 'a';
  return OK;
}

static Status read_number(Reader *r, double *number) {
  char *end;
  while (*r->at == ' ') r->at++;
  *number = strtod(r->at, &end);
  if (end == r->at) return malformed(r, "a number was expected");
  r->at = end;
  return OK;
}

static Status read_near(Reader *r, double *number) {
  TRY(require(r, "~"));
  return read_number(r, number);
}

static Status read_term(Reader *r, int *index);

static Status read_operands(Reader *r, ScalarTerm *term) {
  bool more = !accept(r, ")");
  while (more) {
    if (term->operand_count == MAX_SCALAR_OPERANDS) return malformed(r, "too many operands");
    TRY(read_term(r, &term->operands[term->operand_count++]));
    more = !accept(r, ")");
    if (more) TRY(require(r, ","));
  }
  return OK;
}

static Status read_product(Reader *r, ScalarTerm *term) {
  term->kind = SCALAR_PRODUCT;
  TRY(require(r, "("));
  TRY(read_near(r, &term->number));
  TRY(require(r, ","));
  return read_operands(r, term);
}

static Status read_cubic(Reader *r, ScalarTerm *term) {
  term->kind = SCALAR_CUBIC;
  TRY(require(r, "("));
  TRY(read_letter(r, &term->letter));
  TRY(require(r, ","));
  TRY(read_near(r, &term->number));
  TRY(require(r, ","));
  TRY(read_near(r, &term->cube));
  return require(r, ")");
}

static Status read_opcode(Reader *r, ScalarTerm *term, const char *word) {
  if (strcmp(word, "product") == 0) return read_product(r, term);
  if (strcmp(word, "cubic") == 0) return read_cubic(r, term);
  term->kind = SCALAR_OPCODE;
  if (!opcode_parse(word, &term->op)) return malformed(r, "an opcode was expected before this");
  if (opcode_info(term->op)->arity == 0) return OK;
  TRY(require(r, "("));
  TRY(read_operands(r, term));
  return term->operand_count == opcode_info(term->op)->arity ? OK
                                                             : malformed(r, "more or fewer operands were expected before this");
}

static Status read_head(Reader *r, ScalarTerm *term) {
  char word[32];
  while (*r->at == ' ') r->at++;
  if (accept(r, "#")) {
    term->kind = SCALAR_CONSTANT;
    return read_letter(r, &term->letter);
  }
  if (*r->at == '~') {
    term->kind = SCALAR_NEAR;
    return read_near(r, &term->number);
  }
  if (*r->at == '-' || isdigit((unsigned char)*r->at)) {
    term->kind = SCALAR_NUMBER;
    return read_number(r, &term->number);
  }
  TRY(read_word(r, word));
  if (word[1]) return read_opcode(r, term, word);
  term->letter = word[0] - 'a';
  term->kind = SCALAR_ANY;
  if (!accept(r, ":")) return OK;
  TRY(read_word(r, word));
  return read_opcode(r, term, word);
}

static Status read_term(Reader *r, int *index) {
  ScalarTerm term = {.letter = -1};
  TRY(read_head(r, &term));
  if (r->out->count == MAX_SCALAR_TERMS) return malformed(r, "too many terms");
  *index = r->out->count;
  r->out->terms[r->out->count++] = term;
  return OK;
}

static Status read_condition(Reader *r) {
  char word[32];
  if (r->out->condition_count == MAX_SCALAR_FACTS) return malformed(r, "too many conditions");
  ScalarCondition *condition = &r->out->conditions[r->out->condition_count++];
  TRY(read_word(r, word));
  condition->fact = scalar_fact_find(word);
  if (!condition->fact) return malformed(r, "a fact was expected before this");
  for (int i = 0; i < condition->fact->count; i++) {
    TRY(require(r, i ? "," : "("));
    TRY(read_letter(r, &condition->letters[i]));
  }
  return require(r, ")");
}

Status scalar_form_read(Arena *arena, const ScalarRule *rule, ScalarForm **out) {
  ScalarForm *form = *out = arena_new_of(arena, ScalarForm);
  form->rule = rule;
  Reader pattern = {rule->pattern, rule->pattern, form}, replacement = {rule->replacement, rule->replacement, form};
  TRY(read_term(&pattern, &form->pattern));
  for (bool more = accept(&pattern, "if"); more; more = accept(&pattern, "and")) TRY(read_condition(&pattern));
  TRY(read_term(&replacement, &form->replacement));
  return *pattern.at || *replacement.at ? malformed(*pattern.at ? &pattern : &replacement, "the end was expected") : OK;
}
