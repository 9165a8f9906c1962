// How an engine file is laid out: this header, then the sections, each from the beginning of a page.
#pragma once
#include <stdint.h>

enum { ENGINE_VERSION = 8, ENGINE_PAGE = 4096 };
#define ENGINE_MAGIC "INGOT\r\n\x1a"

typedef enum Section {
  SECTION_GRAPH,
  SECTION_WEIGHTS,
  SECTION_KERNELS,
  SECTION_TUNING,
  SECTION_PASSES,
  SECTION_DISABLED,
  SECTION_REWRITES,
  SECTION_PLANS,
  SECTION_COUNT
} Section;

// The checksum is of the hashes of the section's parts of ENGINE_PART bytes, so that several threads can check it.
enum { ENGINE_PART = 1 << 20 };
typedef struct SectionEntry {
  uint64_t offset, size, checksum;
} SectionEntry;

typedef struct Header {
  char magic[8];
  uint32_t version, flags;
  uint64_t file_size;
  SectionEntry sections[SECTION_COUNT];
  uint64_t checksum;  // of all the bytes before
} Header;

// Writes the checksums of a file whose sections lie inside it.
void engine_seal(void *bytes);
