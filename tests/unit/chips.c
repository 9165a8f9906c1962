// Chips by name: however it is written, and what is said of one that nobody knows.
#include <criterion/criterion.h>
#include <string.h>

#include "base/chips.h"

static void expect(const char *name, const char *chip, int sm) {
  DeviceInfo info;
  Status status = chip_find(name, &info);
  cr_assert(!status, "%s: %s", name, status_message(status));
  cr_expect_str_eq(info.name, chip);
  cr_expect_eq(info.sm, sm);
  cr_expect_eq(info.kind, DEVICE_CUDA);
}

Test(chips, are_found_by_name_and_by_architecture) {
  expect("H100", "H100", 90);
  expect("h200", "H200", 90);
  expect("RTX 4090", "RTX 4090", 89);
  expect("rtx4090", "RTX 4090", 89);
  expect("sm_80", "A100", 80);
  expect("sm_89", "L4", 89);
  expect("sm_90", "H100", 90);
  expect("sm_90a", "H100", 90);
  expect("sm_100a", "B200", 100);
}

Test(chips, that_nobody_knows_are_refused_with_those_there_are) {
  static const char *const names[] = {"",      "sm_", "sm_91", "sm_80a",    "sm_900", "H100 ",
                                      "H1000", "H10", "RTX",   "RTX  4090", " H100"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    DeviceInfo info;
    Status status = chip_find(names[i], &info);
    cr_assert(status, "'%s' is found", names[i]);
    for (const Chip *chip = chips; chip->name; chip++)
      cr_expect(strstr(status_message(status), chip->name), "%s is not in: %s", chip->name, status_message(status));
    cr_expect(strstr(status_message(status), "sm_90a"), "%s", status_message(status));
    status_free(status);
  }
}

// What a kernel asks of shared memory must fit wherever it says so.
Test(chips, have_what_the_architecture_has) {
  for (const Chip *chip = chips; chip->name; chip++) {
    DeviceInfo info;
    cr_assert(!chip_find(chip->name, &info));
    cr_expect_eq(info.multiprocessors, chip->multiprocessors);
    cr_expect_leq(info.shared_per_block, info.shared_per_multiprocessor);
    for (const Chip *other = chips; other->name; other++)
      if (other->sm == chip->sm) cr_expect_eq(other->shared_kilobytes, chip->shared_kilobytes);
    if (chip > chips) cr_expect_leq(chip[-1].sm, chip->sm, "%s stands before a lesser one", chip[-1].name);
  }
}
