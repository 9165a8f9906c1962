// See pattern.h.
#include "passes/pattern.h"

#include <ctype.h>
#include <string.h>

#include "kernels/control/region.h"
#include "passes/programs.h"

// --- Reading.

typedef struct Reader {
  const char *text, *at;
  const OpDef *const *ops;
  Pattern *out;
  int depth, choices;
} Reader;

static bool is_view(const OpDef *op) { return op->view; }
static bool may_be_anchor(const OpDef *op) { return op->takes_epilogue || op == &op_region; }
static bool has_channels(const OpDef *op) { return op->channels != NULL; }
static bool takes_zero_points(const OpDef *op) { return op->takes_zero_points; }
static bool is_permutable(const OpDef *op) { return op->permute != NULL; }
static bool is_program(const OpDef *op) { return op->has_program; }

static const struct {
  const char *name;
  bool (*holds)(const OpDef *op);
} traits[] = {{"view", is_view},          {"anchor", may_be_anchor},     {"program", is_program},
              {"channels", has_channels}, {"zeroed", takes_zero_points}, {"permutable", is_permutable}};

static bool accept(Reader *r, const char *token) {
  while (*r->at == ' ') r->at++;
  size_t length = strlen(token);
  if (strncmp(r->at, token, length)) return false;
  r->at += length;
  return true;
}

static Status malformed(const Reader *r, const char *what) {
  FAIL(ERROR_INVALID_ARGUMENT, "pattern '%s': %s at '%s'", r->text, what, r->at);
}

static Status read_name(Reader *r, char *out) {
  while (*r->at == ' ') r->at++;
  int length = 0;
  while (isalnum((unsigned char)r->at[length]) || r->at[length] == '_') length++;
  if (!length || length >= MAX_PATTERN_NAME) return malformed(r, "a name was expected");
  memcpy(out, r->at, (size_t)length);
  out[length] = 0;
  r->at += length;
  return OK;
}

static Status read_operator(Reader *r, Term *term, const char *name) {
  if (term->op_count == MAX_ALTERNATIVES) return malformed(r, "too many alternatives");
  const OpDef *op = op_find(r->ops, name);
  if (!op) return malformed(r, "an operator was expected before this");
  term->ops[term->op_count++] = op;
  return OK;
}

static Status read_trait(Reader *r, Term *term) {
  char name[MAX_PATTERN_NAME];
  TRY(read_name(r, name));
  for (size_t i = 0; i < sizeof traits / sizeof *traits; i++)
    if (!strcmp(traits[i].name, name)) term->trait = traits[i].holds;
  return term->trait ? OK : malformed(r, "a trait was expected before this");
}

static Status read_term(Reader *r, int *index);

static Status read_operands(Reader *r, Term *term) {
  if (accept(r, "...")) {
    term->operands = accept(r, ")") ? OPERANDS_ANY : OPERANDS_SOME;
    if (term->operands == OPERANDS_ANY) return OK;
    if (!accept(r, ",")) return malformed(r, "a comma was expected");
    if (r->choices++ == MAX_CHOICES) return malformed(r, "too many operands that may stand anywhere");
    TRY(read_term(r, &term->first[term->operand_count++]));
    return accept(r, ",") && accept(r, "...") && accept(r, ")") ? OK : malformed(r, "', ...)' was expected");
  }
  while (!accept(r, ")")) {
    if (term->operand_count && !accept(r, ",")) return malformed(r, "a comma was expected");
    if (accept(r, "...")) {
      term->operands = OPERANDS_FIRST;
      return accept(r, ")") ? OK : malformed(r, "')' was expected");
    }
    if (term->operand_count == MAX_TERMS) return malformed(r, "too many operands");
    TRY(read_term(r, &term->first[term->operand_count++]));
  }
  return OK;
}

// What a name stands for shows behind it: a colon, an alternative or operands make the term a node.
static Status read_head(Reader *r, Term *term) {
  char word[MAX_PATTERN_NAME];
  if (accept(r, "#")) {
    term->kind = TERM_CONSTANT;
    return read_name(r, term->name);
  }
  term->kind = TERM_NODE;
  if (accept(r, "*")) return OK;
  if (accept(r, "@")) return read_trait(r, term);
  TRY(read_name(r, word));
  if (accept(r, ":")) {
    memcpy(term->name, word, sizeof word);
    if (accept(r, "*")) return OK;
    if (accept(r, "@")) return read_trait(r, term);
    TRY(read_name(r, word));
  } else if (*r->at != '(' && *r->at != '|') {
    term->kind = TERM_VALUE;
    memcpy(term->name, word, sizeof word);
    return OK;
  }
  TRY(read_operator(r, term, word));
  while (accept(r, "|")) {
    TRY(read_name(r, word));
    TRY(read_operator(r, term, word));
  }
  return OK;
}

static Status read_term(Reader *r, int *index) {
  Term term = {.operands = OPERANDS_EXACT};
  TRY(read_head(r, &term));
  if (term.kind == TERM_NODE) {
    if (!accept(r, "(")) return malformed(r, "'(' was expected");
    if (r->depth++ == MAX_TERMS) return malformed(r, "too many terms");
    TRY(read_operands(r, &term));
    r->depth--;
    term.alone = accept(r, "!");
  } else {
    term.optional = accept(r, "?");
  }
  if (r->out->count == MAX_TERMS) return malformed(r, "too many terms");
  *index = r->out->count;
  r->out->terms[r->out->count++] = term;
  return OK;
}

Status pattern_compile(const char *text, const OpDef *const *ops, Pattern *out) {
  Reader reader = {.text = text, .at = text, .ops = ops, .out = out};
  int root;
  out->count = 0;
  TRY(read_term(&reader, &root));
  while (*reader.at == ' ') reader.at++;
  if (*reader.at || out->terms[root].kind != TERM_NODE)
    return malformed(&reader, "one node and nothing behind it was expected");
  return OK;
}

int pattern_term(const Pattern *pattern, const char *name) {
  if (!strcmp(name, "root")) return pattern->count - 1;
  for (int i = 0; i < pattern->count; i++)
    if (!strcmp(pattern->terms[i].name, name)) return i;
  return -1;
}

// --- Matching. Where an operand may stand at any place, a choice is made; the last choice that has another place left is made anew.

static bool op_fits(const Term *term, const OpDef *op) {
  if (term->trait && !term->trait(op)) return false;
  for (int i = 0; i < term->op_count; i++)
    if (term->ops[i] == op) return true;
  return !term->op_count;
}

bool pattern_may_match(const Pattern *pattern, const Node *root) {
  return op_fits(&pattern->terms[pattern->count - 1], root->op);
}

static int choose(Match *match, int limit) {
  int at = match->choices++;
  if (at >= match->decided) {
    match->choice[at] = 0;
    match->decided = at + 1;
  }
  match->limit[at] = limit;
  return match->choice[at];
}

static bool match_node(Match *match, int index, Node *node);

static bool same_name_same_value(const Match *match, int index, const Value *value) {
  const Term *terms = match->pattern->terms;
  for (int i = 0; i < match->pattern->count; i++)
    if (i != index && match->values[i] && !strcmp(terms[i].name, terms[index].name) && match->values[i] != value) return false;
  return true;
}

static bool match_value(Match *match, int index, Value *value, const Node *user) {
  const Term *term = &match->pattern->terms[index];
  match->values[index] = value;
  if (!value) return term->optional;
  if (term->kind == TERM_CONSTANT && !value->constant) return false;
  if (term->name[0] && term->kind != TERM_NODE && !same_name_same_value(match, index, value)) return false;
  if (term->kind != TERM_NODE) return true;
  if (!value->producer || (term->alone && only_user(value) != user)) return false;
  return match_node(match, index, value->producer);
}

static bool match_operands(Match *match, const Term *term, Node *node) {
  int count = node->input_count;
  if (term->operands == OPERANDS_ANY) return true;
  if (term->operands == OPERANDS_SOME) {
    if (!count) return false;
    return match_value(match, term->first[0], node->inputs[choose(match, count)], node);
  }
  if (term->operands == OPERANDS_EXACT && count > term->operand_count) return false;
  for (int i = 0; i < term->operand_count; i++)
    if (!match_value(match, term->first[i], i < count ? node->inputs[i] : NULL, node)) return false;
  return true;
}

static bool match_node(Match *match, int index, Node *node) {
  const Term *term = &match->pattern->terms[index];
  match->nodes[index] = node;
  return op_fits(term, node->op) && match_operands(match, term, node);
}

void match_begin(Match *match, const Pattern *pattern, Node *root) {
  *match = (Match){.pattern = pattern, .root = root, .decided = -1};
}

// Makes the last choice that has another place anew; false where none has.
static bool choose_next(Match *match) {
  for (int at = match->choices; at-- > 0;)
    if (match->choice[at] + 1 < match->limit[at]) {
      match->choice[at]++;
      match->decided = at + 1;
      return true;
    }
  return false;
}

bool match_next(Match *match) {
  bool first = match->decided < 0;
  if (first) match->decided = 0;
  for (bool more = first || choose_next(match); more; more = choose_next(match)) {
    match->choices = 0;
    memset(match->nodes, 0, sizeof match->nodes);
    memset(match->values, 0, sizeof match->values);
    if (match_node(match, match->pattern->count - 1, match->root)) return true;
  }
  return false;
}
