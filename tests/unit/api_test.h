// What tests of the public interface expect of a call.
#pragma once
#include <criterion/criterion.h>
#include <string.h>

#include "ingot/ingot.h"

static inline void expect_ok(ingot_error *error) { cr_assert(!error, "%s", ingot_error_message(error)); }

// The error must have this code and say this. It is freed.
static inline void expect_error(ingot_error *error, ingot_code code, const char *says) {
  cr_assert(error, "nothing was refused; expected '%s'", says);
  cr_expect_eq(ingot_error_code(error), code, "code %d for '%s'", ingot_error_code(error), ingot_error_message(error));
  cr_expect(strstr(ingot_error_message(error), says), "'%s' does not say '%s'", ingot_error_message(error), says);
  ingot_error_free(error);
}

static inline void expect_invalid(ingot_error *error, const char *says) { expect_error(error, INGOT_INVALID_ARGUMENT, says); }
