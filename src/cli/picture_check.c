// See picture_check.h. Each function walks a file as stb does, without its faults: numbers are bounded, what lies outside of the file is
// not there, and what a picture says it is must be backed by as many bytes as it takes at least.
#include "cli/picture_check.h"

#include <string.h>

#include "base/checked.h"

static uint32_t big_endian(const uint8_t *at) {
  return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}
static int little_short(const uint8_t *at) { return at[0] | at[1] << 8; }
static int32_t little_int(const uint8_t *at) {
  return (int32_t)((uint32_t)little_short(at) | (uint32_t)little_short(at + 2) << 16);
}

// stb writes beyond its table where a Huffman table claims more codes than there are bytes.
static Status check_huffman_table(Bytes bytes, size_t marker) {
  enum { COUNTS = 16, MOST_CODES = 256 };
  // As stb reads: a table that begins inside the segment may go on beyond it, and beyond the file all is zero.
  size_t end = marker + 2 + ((size_t)bytes.data[marker + 2] << 8 | bytes.data[marker + 3]);
  for (size_t at = marker + 4; at < end && at < bytes.size;) {
    size_t codes = 0;
    for (size_t k = 1; k <= COUNTS && at + k < bytes.size; k++) codes += bytes.data[at + k];
    if (codes > MOST_CODES) FAIL(ERROR_CORRUPT, "a Huffman table of the picture has %zu codes", codes);
    at += 1 + COUNTS + codes;
  }
  return OK;
}

// Each scan of a progressive picture may visit all of it, and takes a few bytes: real ones have about ten.
static Status check_jpeg(Bytes bytes) {
  enum { START_OF_SCAN = 0xda, HUFFMAN_TABLES = 0xc4, MOST_SCANS = 1000 };
  int scans = 0;
  for (size_t i = 0; i + 4 < bytes.size; i++) {
    if (bytes.data[i] != 0xff) continue;
    if (bytes.data[i + 1] == HUFFMAN_TABLES) TRY(check_huffman_table(bytes, i));
    if (bytes.data[i + 1] == START_OF_SCAN && ++scans > MOST_SCANS)
      FAIL(ERROR_UNSUPPORTED, "the picture has more than %d scans", MOST_SCANS);
  }
  return OK;
}

// stb adds to a null pointer where the first piece of data is empty.
static Status check_png(Bytes bytes) {
  enum { SIGNATURE = 8, HEADER = 8, CHECKSUM = 4 };
  for (size_t at = SIGNATURE;;) {
    if (bytes.size - at < HEADER + CHECKSUM) FAIL(ERROR_CORRUPT, "the picture ends before its end marker");
    uint32_t length = big_endian(bytes.data + at);
    const uint8_t *name = bytes.data + at + 4;
    if (length > bytes.size - at - HEADER - CHECKSUM)
      FAIL(ERROR_CORRUPT, "chunk '%.4s' of the picture is %u bytes long, beyond the end", (const char *)name, length);
    if (!memcmp(name, "IEND", 4)) return OK;
    if (!length && !memcmp(name, "IDAT", 4)) FAIL(ERROR_UNSUPPORTED, "the picture has an empty piece of data");
    at += HEADER + length + CHECKSUM;
  }
}

static Status check_bmp(Bytes bytes) {
  enum { OLD_HEADER = 12, SMALLEST = 30 };
  if (bytes.size < SMALLEST) FAIL(ERROR_CORRUPT, "the picture ends inside of its header");
  const uint8_t *d = bytes.data;
  bool old = d[14] == OLD_HEADER;
  int32_t width = old ? little_short(d + 18) : little_int(d + 18), height = old ? little_short(d + 20) : little_int(d + 22);
  int bits = little_short(d + (old ? 24 : 28));
  int64_t rows = height < 0 ? -(int64_t)height : height, row = ((int64_t)width * bits + 31) / 32 * 4, all;
  if (width < 1 || rows < 1 || bits < 1 || bits > 32 || !checked_mul_i64(row, rows, &all) || (uint64_t)all > bytes.size)
    FAIL(ERROR_CORRUPT, "the picture says to be of %d x %d pixels of %d bits, which its %zu bytes do not hold", width, height,
         bits, bytes.size);
  return OK;
}

// One number of a portable map's header, after spaces and comments.
static bool read_number(Bytes bytes, size_t *at, int *out) {
  enum { MOST = 65535 };
  while (*at < bytes.size && strchr(" \t\n\v\f\r#", bytes.data[*at]) && bytes.data[*at]) {
    if (bytes.data[*at] == '#')
      while (*at < bytes.size && bytes.data[*at] != '\n' && bytes.data[*at] != '\r') ++*at;
    else ++*at;
  }
  size_t first = *at;
  for (*out = 0; *at < bytes.size && bytes.data[*at] >= '0' && bytes.data[*at] <= '9' && *out <= MOST; ++*at)
    *out = *out * 10 + (bytes.data[*at] - '0');
  return *at > first && *out <= MOST;
}

// stb counts digits until numbers overflow, and reads beyond the end of a map of 16 bits whose channels are not those asked for.
static Status check_map(Bytes bytes) {
  int width, height, most;
  size_t at = 2;
  if (!read_number(bytes, &at, &width) || !read_number(bytes, &at, &height) || !read_number(bytes, &at, &most))
    FAIL(ERROR_CORRUPT, "the portable map's header is not width, height and maximum");
  if (most < 1 || most > 255) FAIL(ERROR_UNSUPPORTED, "a portable map with values up to %d: 1 to 255 are read", most);
  size_t channels = bytes.data[1] == '6' ? 3 : 1, wanted = (size_t)width * (size_t)height * channels;
  if (at == bytes.size || wanted > bytes.size - at - 1)
    FAIL(ERROR_CORRUPT, "the portable map is of %d x %d pixels, which its %zu bytes do not hold", width, height, bytes.size);
  return OK;
}

static const struct {
  const char *first;
  size_t length;
  PictureFormat format;
  Status (*check)(Bytes bytes);
} formats[] = {
    {"\xff\xd8", 2, PICTURE_JPEG, check_jpeg}, {"\x89PNG\r\n\x1a\n", 8, PICTURE_PNG, check_png},
    {"BM", 2, PICTURE_BMP, check_bmp},         {"P5", 2, PICTURE_MAP, check_map},
    {"P6", 2, PICTURE_MAP, check_map},
};

Status picture_check(Bytes bytes, PictureFormat *format) {
  for (size_t i = 0; i < COUNT_OF(formats); i++) {
    if (bytes.size < formats[i].length || memcmp(bytes.data, formats[i].first, formats[i].length) != 0) continue;
    *format = formats[i].format;
    return formats[i].check(bytes);
  }
  FAIL(ERROR_UNSUPPORTED, "not a picture that can be read: JPEG, PNG, BMP, PGM and PPM are");
}

// Every 64 pixels of a JPEG take a bit at least. The others are judged above, or, PNG, unpack their data before they make pixels of it.
Status picture_check_size(Bytes bytes, PictureFormat format, int width, int height) {
  enum { PIXELS_PER_BYTE = 64 * 8 };
  if (format == PICTURE_JPEG && (size_t)width * (size_t)height / PIXELS_PER_BYTE > bytes.size)
    FAIL(ERROR_CORRUPT, "a picture of %d x %d does not fit into %zu bytes", width, height, bytes.size);
  return OK;
}
