// What stb_image stumbles over, or works long for, is refused before it sees the file. Only formats that tell themselves by their first
// bytes are read.
#pragma once
#include "base/file.h"

typedef enum PictureFormat { PICTURE_JPEG, PICTURE_PNG, PICTURE_BMP, PICTURE_MAP } PictureFormat;

// The checks that go before anything else: stb may be asked for the picture's size afterwards.
MUST_CHECK Status picture_check(Bytes bytes, PictureFormat *format);
// Those that take the size.
MUST_CHECK Status picture_check_size(Bytes bytes, PictureFormat format, int width, int height);
