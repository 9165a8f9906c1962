// See prologue_source.h.
#include "kernels/tile/prologue_source.h"

#include "kernels/program/generate.h"

enum {
  CHUNK = 8,               // elements that are worked on at once
  TABLE_BYTES = 16 << 10,  // of static shared memory: what kernels may have besides dynamic one (src/cuda/module.c)
};

static int operand_count(const Site *site) { return site->prologue ? site->prologue->input_count - 1 : 0; }
static const TensorDesc *operand_desc(const Site *site, int operand) {
  return &site->inputs[site_prologue_input(site, operand)];
}

bool prologue_takes_sizes(int64_t k, double rows, int64_t columns) {
  const int64_t most_columns = 512;   // two to four tiles
  const int64_t few = 128;            // of k: two pieces
  const double least_elements = 4e6;  // that are read and written in some 5 us
  return k % CHUNK == 0 && columns <= most_columns && (k <= few || rows * (double)k >= least_elements);
}

bool prologue_supported(const Site *site, int k_axis, int64_t rows, int64_t columns) {
  const TensorDesc *x = &site->inputs[0];
  if (!site->prologue) return true;
  if (dtype_size(x->dtype) != 2 || !dtype_is_float(x->dtype)) return false;
  for (int operand = 1; operand <= operand_count(site); operand++) {
    const TensorDesc *desc = operand_desc(site, operand);
    for (int i = 0; i < desc->rank; i++)
      if (desc->dims[i] != 1 && i + x->rank - desc->rank != k_axis) return false;
  }
  return prologue_takes_sizes(x->dims[k_axis], (double)rows, columns);
}

static int64_t k_stride(const Site *site, int operand, int k_axis) {
  Extent strides[MAX_RANK];
  broadcast_strides(NULL, operand_desc(site, operand), &site->inputs[0], strides);
  return strides[k_axis].now;
}

// Each operand is a column of the table; what is one number for all is there once for each k, so that all columns are read alike.
static void emit_table(Text *text, const Site *site, int k_axis, int64_t depth) {
  text_add(text, "  struct alignas(16) Table {\n");
  for (int k = 1; k <= operand_count(site); k++)
    text_add(text, "    alignas(16) %s x%d[%lld];\n", device_type(operand_desc(site, k)->dtype), k, (long long)depth);
  text_add(text,
           "  };\n  template <int THREADS> __device__ __forceinline__ void fill(Table &table, int k_begin, int k_end) const {\n"
           "#pragma unroll\n    for (int at = 0; at < %lld; at += THREADS) {\n"
           "      const int i = at + (int)threadIdx.x, k = k_begin + i;\n      if (i >= %lld || k >= k_end) break;\n",
           (long long)depth, (long long)depth);
  for (int k = 1; k <= operand_count(site); k++)
    text_add(text, "      table.x%d[i] = p%d[k * %lldll];\n", k, k, (long long)k_stride(site, k, k_axis));
  text_add(text, "    }\n  }\n");
}

static void emit_operands(Text *text, const Site *site) {
  text_add(text, "  struct Operands {\n");
  for (int k = 1; k <= operand_count(site); k++)
    text_add(text, "    %s x%d[%d];\n", device_type(operand_desc(site, k)->dtype), k, CHUNK);
  text_add(text, "    __device__ __forceinline__ Operands(const Table &table, int at) {\n");
  for (int k = 1; k <= operand_count(site); k++)
    text_add(text, "      load_elements<%d, 16>(table.x%d + at, x%d);\n", CHUNK, k, k);
  text_add(text, "    }\n  };\n");
}

static void emit_apply(Text *text, const Site *site) {
  const char *type = device_type(site->inputs[0].dtype);
  text_add(text,
           "  __device__ __forceinline__ uint4 apply(uint4 word, const Operands &with) const {\n    union {\n      uint4 raw;\n"
           "      %s at[%d];\n    } elements;\n    elements.raw = word;\n#pragma unroll\n    for (int i = 0; i < %d; i++)\n"
           "      elements.at[i] = prologue(elements.at[i]",
           type, CHUNK, CHUNK);
  for (int k = 1; k <= operand_count(site); k++) text_add(text, ", with.x%d[i]", k);
  text_add(text, ");\n    return elements.raw;\n  }\n};\n");
}

static size_t table_bytes(const Site *site, int64_t depth) {
  size_t bytes = 0;
  for (int k = 1; k <= operand_count(site); k++)
    bytes += align_up((size_t)depth * dtype_size(operand_desc(site, k)->dtype), 16);
  return bytes;
}

Status prologue_emit(Text *text, const Site *site, int k_axis, int64_t depth, size_t tile_bytes) {
  size_t table = table_bytes(site, depth);
  if (table > TABLE_BYTES || (table && table + tile_bytes > (size_t)site->device->shared_per_block))
    FAIL(ERROR_UNSUPPORTED, "the tile leaves no shared memory for what its prologue reads");
  if (!site->prologue) {
    text_add(text, "#include \"kernels/tile/prologue.cuh\"\ntypedef NoPrologue Prologue;\n");
    return OK;
  }
  text_add(text, "#include \"kernels/common/vector.cuh\"\n" GENERATED_INCLUDES);
  TRY(prologue_program_emit(text, site));
  text_add(text, "struct Prologue {\n");
  for (int k = 1; k <= operand_count(site); k++)
    text_add(text, "  const %s *__restrict__ p%d;\n", device_type(operand_desc(site, k)->dtype), k);
  emit_table(text, site, k_axis, depth);
  emit_operands(text, site);
  emit_apply(text, site);
  return OK;
}

void prologue_parameters(Text *text, const Site *site) {
  for (int k = 1; k <= operand_count(site); k++)
    text_add(text, ", const %s *p%d", device_type(operand_desc(site, k)->dtype), k);
}

void prologue_construct(Text *text, const Site *site) {
  text_add(text, "Prologue{");
  for (int k = 1; k <= operand_count(site); k++) text_add(text, "%sp%d", k > 1 ? ", " : "", k);
  text_add(text, "}");
}

void prologue_arguments(Emission *emission, Launch *launch, const Site *site) {
  for (int k = 1; k <= operand_count(site); k++) emit_buffer(emission, launch, BUFFER_INPUT, site_prologue_input(site, k));
}
