// string_match: whether a whole string matches a pattern. ONNX writes patterns in RE2's syntax; here they are rewritten to POSIX
// extended ones, which know classes like \w outside brackets only. What POSIX cannot say is refused, and so are repeats so large that
// the compiled pattern would take memory without bound.
#include <regex.h>
#include <stdlib.h>
#include <string.h>
#include "base/text.h"
#include "kernels/meaning.h"
#include "kernels/text/strings.h"

enum { MAX_PATTERN = 4096, MAX_REPEATS = 10000 };

static const char *class_of(char letter) {
  switch (letter) {
    case 'w': return "[:alnum:]_";
    case 'd': return "[:digit:]";
    case 's': return "[:space:]";
    default: return NULL;
  }
}

// A bracket expression; *at stands behind the '['. POSIX has no escapes there: ']' goes first, '-' last, '^' behind something.
static Status rewrite_bracket(Text *out, const char **at) {
  Text body = text_new(out->arena);
  bool negated = **at == '^', closing = false, dash = false, caret = false;
  const char *s = *at + negated;
  for (bool first = true; *s && (*s != ']' || first); first = false, s++) {
    if (*s == '[' && s[1] == ':') {
      const char *end = strstr(s, ":]");
      if (!end) FAIL(ERROR_INVALID_MODEL, "the pattern has an open class");
      text_add_n(&body, s, (size_t)(end + 2 - s));
      s = end + 1;
    } else if (*s == '\\' && s[1]) {
      const char *class = class_of(*++s);
      if (class) text_add(&body, "%s", class);
      else if (*s == ']') closing = true;
      else if (*s == '-') dash = true;
      else if (*s == '^') caret = true;
      else if (strchr("WDSbB", *s)) FAIL(ERROR_UNSUPPORTED, "the pattern has \\%c inside brackets", *s);
      else text_add_n(&body, s, 1);
    } else if (*s == ']') {
      closing = true;
    } else if (*s == '^') {
      caret = true;
    } else if (*s == '-' && (s[1] == ']' || first)) {
      dash = true;
    } else {
      text_add_n(&body, s, 1);
    }
  }
  if (!*s) FAIL(ERROR_INVALID_MODEL, "the pattern has an open bracket");
  if (caret && !negated && !closing && !body.length && !dash) text_add(out, "\\^");
  else
    text_add(out, "[%s%s%s%s%s]", negated ? "^" : "", closing ? "]" : "", text_get(&body), caret ? "^" : "", dash ? "-" : "");
  *at = s;
  return OK;
}

// Refuses repeat counts whose product is large: nested repeats multiply.
static Status count_repeats(const char **at, int64_t *product) {
  int64_t most = 0;
  for (const char *s = *at + 1; *s && *s != '}'; s++) {
    if (*s < '0' || *s > '9') continue;
    int64_t number = strtoll(s, NULL, 10);
    most = MAX(most, number);
    while (s[1] >= '0' && s[1] <= '9') s++;
  }
  if (most > 1 && (most > MAX_REPEATS || (*product *= most) > MAX_REPEATS))
    FAIL(ERROR_UNSUPPORTED, "the pattern repeats more than %d times", MAX_REPEATS);
  return OK;
}

static Status rewrite_pattern(const char *pattern, Text *out) {
  int64_t repeats = 1;
  if (strlen(pattern) > MAX_PATTERN) FAIL(ERROR_UNSUPPORTED, "the pattern is longer than %d bytes", MAX_PATTERN);
  text_add(out, "^(");
  for (const char *s = pattern; *s; s++) {
    if (*s == '[') {
      s++;
      TRY(rewrite_bracket(out, &s));
    } else if (*s == '\\' && s[1]) {
      s++;
      if (*s == 'd') text_add(out, "[0-9]");
      else if (*s == 'D') text_add(out, "[^0-9]");
      else if (*s >= '0' && *s <= '9') FAIL(ERROR_UNSUPPORTED, "the pattern refers back to a group");
      else text_add(out, "\\%c", *s);
    } else if (*s == '(' && s[1] == '?') {
      if (s[2] != ':') FAIL(ERROR_UNSUPPORTED, "the pattern has a group of the form (?%c", s[2]);
      text_add(out, "(");
      s += 2;
    } else {
      if (*s == '{') TRY(count_repeats(&s, &repeats));
      text_add_n(out, s, 1);
    }
  }
  text_add(out, ")$");
  return OK;
}

static Status infer_match(Node *node) {
  Value *x;
  TRY(meaning_require(node, 0, &x));
  if (x->dtype != DTYPE_STRING) FAIL(ERROR_INVALID_MODEL, "its input is %s, expected strings", dtype_name(x->dtype));
  value_set_type(node->outputs[0], DTYPE_BOOL, x->rank, x->dims);
  return OK;
}

static Status run_match(Reference *r) {
  const Tensor *x = r->inputs[0];
  const char *pattern = node_string(r->node, "pattern", "");
  Text posix = text_new(r->arena);
  Tensor *out;
  TRY(rewrite_pattern(pattern, &posix));
  TRY(reference_output(r, 0, DTYPE_BOOL, x->rank, x->dims, &out));
  regex_t compiled;
  if (regcomp(&compiled, text_get(&posix), REG_EXTENDED | REG_NOSUB) != 0)
    FAIL(ERROR_INVALID_MODEL, "the pattern '%s' is malformed", pattern);
  for (int64_t i = 0; i < tensor_count(x); i++) {
    const char *text = ((const char *const *)x->data)[i];
    ((uint8_t *)out->data)[i] = regexec(&compiled, text ? text : "", 0, NULL, 0) == 0;
  }
  regfree(&compiled);
  return OK;
}

static const AttributeSpec match_attributes[] = {{"pattern", ATTR_STRING, true}, {0}};
const OpDef op_string_match = {
    "string_match", "whether whole strings match a pattern", 1, 1, 1, 1, match_attributes, infer_match, run_match};
