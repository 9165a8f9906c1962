// Engine files, loaded and run. Checksums are put right first, as whoever makes a hostile file would; mutations aim at the sections, which
// are small islands in pages of zeros.
#include "engine/layout.h"
#include "tests/fuzz/fuzz.h"

size_t LLVMFuzzerMutate(uint8_t *bytes, size_t size, size_t room);
size_t LLVMFuzzerCustomMutator(uint8_t *bytes, size_t size, size_t room, unsigned seed);

static int sections_lie_inside(const Header *header, size_t size) {
  for (int i = 0; i < SECTION_COUNT; i++)
    if (header->sections[i].offset > size || header->sections[i].size > size - header->sections[i].offset) return 0;
  return 1;
}

size_t LLVMFuzzerCustomMutator(uint8_t *bytes, size_t size, size_t room, unsigned seed) {
  Header header;
  if (size < sizeof header || seed % 8 == 0) return LLVMFuzzerMutate(bytes, size, room);
  memcpy(&header, bytes, sizeof header);
  if (!sections_lie_inside(&header, size)) return LLVMFuzzerMutate(bytes, size, room);
  // The graph's text most of the time.
  SectionEntry *section = &header.sections[seed / 8 % 2 ? SECTION_GRAPH : seed / 16 % SECTION_COUNT];
  size_t end = size;
  for (int i = 0; i < SECTION_COUNT; i++)
    if (header.sections[i].offset > section->offset && header.sections[i].offset < end) end = header.sections[i].offset;
  section->size = LLVMFuzzerMutate(bytes + section->offset, section->size, end - section->offset);
  memcpy(bytes, &header, sizeof header);
  return size;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
  Header header;
  ingot_config config;
  ingot_engine *engine = NULL;
  void *sealed = malloc(size + 1);
  memcpy(sealed, bytes, size);
  if (size >= sizeof header) {
    memcpy(&header, bytes, sizeof header);
    header.file_size = size;
    memcpy(sealed, &header, sizeof header);
    if (sections_lie_inside(&header, size)) engine_seal(sealed);
  }
  fuzz_config(&config);
  if (fuzz_passed(ingot_engine_load_memory(sealed, size, &config, &engine))) fuzz_run_engine(engine);
  ingot_engine_free(engine);
  free(sealed);
  return 0;
}
