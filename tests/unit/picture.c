// Pictures as inputs: those of tests/fuzz/seeds are read; what promises more than it holds, or is of no known format, is refused with a
// reason before anything is decoded.
#include <criterion/criterion.h>
#include <malloc.h>
#include <string.h>
#include "base/checked.h"
#include "cli/picture.h"

static Status decode(const void *bytes, size_t size, Arena *arena, Tensor *out) {
  Wanted wanted = {.name = "x", .dtype_name = "u8", .rank = 4, .dims = {1, 3, -1, -1}};
  PictureOptions options = {.scale = {1, 1, 1}};
  void *exact = arena_copy(arena, bytes, size);
  return picture_decode((Bytes){exact, size}, &wanted, &options, arena, out);
}

static void refuses(const void *bytes, size_t size, const char *words) {
  Arena *arena = arena_new();
  Tensor tensor;
  Status status = decode(bytes, size, arena, &tensor);
  cr_assert_not_null(status, "taken, where '%s' is expected", words);
  cr_expect(strstr(status_message(status), words), "'%s' does not say '%s'", status_message(status), words);
  status_free(status);
  arena_free(arena);
}
#define REFUSES(text, words) refuses(text, sizeof(text) - 1, words)

Test(picture, formats_are_read) {
  static const char *const names[] = {"colour.jpg", "grey.jpg",    "progressive.jpg", "grey_alpha.png",
                                      "rgb.png",    "palette.png", "p.bmp",           "p.ppm"};
  for (size_t i = 0; i < COUNT_OF(names); i++) {
    Arena *arena = arena_new();
    Bytes bytes;
    Tensor tensor;
    Status status = file_read(arena_printf(arena, "tests/fuzz/seeds/picture/%s", names[i]), 0, arena, &bytes);
    if (!status) status = decode(bytes.data, bytes.size, arena, &tensor);
    cr_assert_null(status, "%s: %s", names[i], status_message(status));
    cr_expect(tensor.dims[1] == 3 && tensor.dims[2] > 1 && tensor.dims[3] > 1, "%s", names[i]);
    arena_free(arena);
  }
}

Test(picture, comments_and_spaces_of_portable_maps) {
  Arena *arena = arena_new();
  Tensor tensor;
  static const char map[] = "P5 # grey\n#2 3\n 2\t1 # width and height\r\n255\n\x07\xff";
  Status status = decode(map, sizeof map - 1, arena, &tensor);
  cr_assert_null(status, "%s", status_message(status));
  cr_expect_arr_eq(tensor.data, "\x07\xff\x07\xff\x07\xff", 6);
  arena_free(arena);
}

Test(picture, what_promises_too_much_is_refused) {
  REFUSES("P6\n9999999999999999999 9999999999\n255\n", "header");
  REFUSES("P6\n99999 2\n255\n", "header");
  REFUSES("P6\n30000 30000\n255\nabc", "do not hold");
  REFUSES("P5\n2 2\n65535\n12345678", "values up to 65535");
  REFUSES("P5\n2 2\n0\n1234", "values up to 0");
  REFUSES("P5\n2", "header");
  REFUSES("P5", "header");
  REFUSES("BM", "inside of its header");
  REFUSES("BM\0\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0\xff\xff\xff\x7f\xff\xff\xff\x7f\x01\0\x18\0\0\0\0\0", "do not hold");
  REFUSES("BM\0\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0\x01\0\0\0\0\0\0\x80\x01\0\x18\0\0\0\0\0", "do not hold");
  REFUSES("\x89PNG\r\n\x1a\n", "end marker");
  REFUSES("\x89PNG\r\n\x1a\n\0\0\0\0IDAT\0\0\0\0\0\0\0\0IEND\0\0\0\0", "empty piece");
  REFUSES("\x89PNG\r\n\x1a\n\xff\xff\xff\xffIHDR\0\0\0\0", "beyond the end");
  REFUSES("", "not a picture");
  REFUSES("GIF89a\x01\0\x01\0\x80\0\0", "not a picture");
}

// The header of a JPEG that says 8000 by 8000.
Test(picture, a_jpeg_of_a_few_bytes_is_not_large) {
  REFUSES("\xff\xd8\xff\xc0\0\x0b\x08\x1f\x40\x1f\x40\x01\x01\x11\0\xff\xda\0\x08\x01\x01\0\0\x3f\0\0\xff\xd9",
          "does not fit into");
  static uint8_t scans[8192] = "\xff\xd8";
  for (size_t i = 2; i + 1 < sizeof scans; i += 2) memcpy(scans + i, "\xff\xda", 2);
  refuses(scans, sizeof scans, "more than 1000 scans");
}

// Its tables would be what memory held before: whatever that is, the picture is the same.
Test(picture, a_jpeg_without_its_tables_is_the_same_each_time) {
  uint8_t first[64] = {0};
  for (int round = 0; round < 3; round++) {
    Arena *arena = arena_new();
    Tensor tensor;
    mallopt(M_PERTURB, 0x31 * round + 1);  // what malloc gives is full of this
    static const char bytes[] =
        "\xff\xd8\xff\xdb\0\x43\0"
        "\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1"
        "\1\1\1\1\1\1\1\xff\xc0\0\x0b\x08\0\x08\0\x08\x01\x01\x11\0\xff\xda\0\x08\x01\x01\0\0\x3f\0\x5a\xff\xd9";
    Status status = decode(bytes, sizeof bytes - 1, arena, &tensor);
    cr_assert_null(status, "%s", status_message(status));
    if (round) cr_expect_arr_eq(tensor.data, first, sizeof first);
    else memcpy(first, tensor.data, sizeof first);
    arena_free(arena);
  }
}
