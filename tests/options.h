// The command lines of the programs that test: options in any place, the others kept in order; what is not known or makes no sense is an
// error, so that no test passes for having tried nothing. Include it from one file of a program.
#pragma once
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef enum TestOptionKind { TEST_FLAG, TEST_TEXT, TEST_INT, TEST_LONG, TEST_DEVICE } TestOptionKind;
typedef struct TestOption {
  const char *name;  // with its dashes; NULL ends the table
  TestOptionKind kind;
  void *target;  // bool; const char *; int or long, for numbers of `least` and more; bool: whether it is cuda
  long least;
} TestOption;

static bool test_option_set(const TestOption *option, const char *value) {
  char *end;
  switch (option->kind) {
    case TEST_FLAG: *(bool *)option->target = true; return true;
    case TEST_TEXT: *(const char **)option->target = value; return true;
    case TEST_DEVICE: *(bool *)option->target = !strcmp(value, "cuda"); return !strcmp(value, "cuda") || !strcmp(value, "cpu");
    default: break;
  }
  long number = strtol(value, &end, 10);
  if (end == value || *end || number < option->least || (option->kind == TEST_INT && number > INT_MAX)) return false;
  if (option->kind == TEST_INT) *(int *)option->target = (int)number;
  else *(long *)option->target = number;
  return true;
}

// How many arguments are no options; they are moved to arguments[1] and on. Ends the program where something is wrong.
static int test_options(int count, char **arguments, const TestOption *options, const char *usage) {
  int kept = 0;
  for (int i = 1; i < count; i++) {
    if (arguments[i][0] != '-') {
      arguments[1 + kept++] = arguments[i];
      continue;
    }
    const TestOption *option = options;
    while (option->name && strcmp(option->name, arguments[i])) option++;
    bool valued = option->name && option->kind != TEST_FLAG;
    const char *value = valued ? i + 1 < count ? arguments[++i] : NULL : "";
    if (!option->name) fprintf(stderr, "%s: there is no option '%s'\n", arguments[0], arguments[i]);
    else if (!value) fprintf(stderr, "%s: %s wants a value\n", arguments[0], option->name);
    else if (!test_option_set(option, value)) fprintf(stderr, "%s: %s cannot be '%s'\n", arguments[0], option->name, value);
    else continue;
    fprintf(stderr, "usage: %s\n", usage);
    exit(2);
  }
  return kept;
}
