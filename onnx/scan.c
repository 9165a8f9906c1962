// The bounded scan. protobuf-c recurses as deep as the bytes ask, allocates as much as they claim, keeps unknown fields and
// copies every weight; none of that is acceptable for a stranger's file. So a walk over the wire format comes first, guided by the
// same descriptors that protobuf-c unpacks by. It checks that each length lies inside its parent, that nesting is bounded and
// that wire types fit the schema, adds up what unpacking will allocate, and writes a slim copy of the message in which
// large tensor data is only referred to. The slim copy is what gets unpacked; the weights stay in the mapped file.
#include "onnx/scan.h"
#include <string.h>
#include "base/checked.h"
#include "onnx.pb-c.h"

enum {
  CUT_BYTES = 128,  // tensor data of this many bytes and more stays in the file
  FIRST_PRIVATE_FIELD = 536870909,
  RAW_DATA = 9,
  FLOAT_DATA = 4,
  DOUBLE_DATA = 10,
  WIRE_VARINT = 0,
  WIRE_64 = 1,
  WIRE_BYTES = 2,
  WIRE_32 = 5,
  ALLOCATION_OVERHEAD = 32,  // per allocation: alignment in the arena
  MEMBER_BYTES = 80,         // protobuf-c's note on each field it meets while unpacking, in tables that double
  PADDED_LENGTH = 5,         // a length written before it is known takes a varint of this many bytes
};

OnnxLimits onnx_limits_or_default(const OnnxLimits *limits) {
  OnnxLimits out = limits ? *limits : (OnnxLimits){0};
  if (!out.memory_bytes) out.memory_bytes = (size_t)8 << 30;
  if (out.depth <= 0) out.depth = 64;
  return out;
}

typedef struct Scan {
  Bytes in;
  OnnxLimits limits;
  Arena *arena;
  uint8_t *out;
  size_t out_size, out_capacity;
  size_t memory, memory_limit;
} Scan;

// One field as read: where its content lies, and what its number is in a descriptor.
typedef struct Field {
  const ProtobufCFieldDescriptor *descriptor;  // NULL: unknown
  uint32_t number, wire;
  size_t start;       // of the tag
  size_t begin, end;  // of the content, without the length
} Field;

static Status emit(Scan *scan, const void *bytes, size_t size) {
  size_t needed;
  if (!checked_add(scan->out_size, size, &needed)) return status_out_of_memory();
  if (needed > scan->out_capacity) {
    void *wider;
    size_t capacity = MAX(MAX(needed, 2 * scan->out_capacity), (size_t)4096);
    TRY(arena_try_alloc(scan->arena, capacity, 16, &wider));
    if (scan->out_size) memcpy(wider, scan->out, scan->out_size);
    scan->out = wider;
    scan->out_capacity = capacity;
  }
  memcpy(scan->out + scan->out_size, bytes, size);
  scan->out_size = needed;
  return OK;
}

static Status emit_varint(Scan *scan, uint64_t value) {
  uint8_t bytes[10];
  size_t size = 0;
  do {
    bytes[size++] = (uint8_t)(value & 0x7f) | (value > 0x7f ? 0x80 : 0);
    value >>= 7;
  } while (value);
  return emit(scan, bytes, size);
}

static Status emit_fixed64(Scan *scan, uint32_t number, uint64_t value) {
  TRY(emit_varint(scan, (uint64_t)number << 3 | WIRE_64));
  return emit(scan, &value, sizeof value);
}

static Status take(Scan *scan, size_t size, size_t count) {
  size_t bytes;
  if (!checked_mul(size, count, &bytes) || !checked_add(scan->memory, bytes, &scan->memory) ||
      scan->memory > scan->memory_limit)
    FAIL(ERROR_INVALID_MODEL, "unpacked it would take more than %zu bytes", scan->memory_limit);
  return OK;
}

static Status read_varint(const Scan *scan, size_t *at, size_t end, uint64_t *out) {
  size_t start = *at;
  *out = 0;
  for (int shift = 0; shift < 70; shift += 7) {
    if (*at >= end) FAIL(ERROR_INVALID_MODEL, "the bytes end inside a number at offset %zu", start);
    uint8_t byte = scan->in.data[(*at)++];
    if (shift == 63 && byte > 1) break;
    *out |= (uint64_t)(byte & 0x7f) << shift;
    if (!(byte & 0x80)) return OK;
  }
  FAIL(ERROR_INVALID_MODEL, "the number at offset %zu does not fit 64 bits", start);
}

static Status read_field(const Scan *scan, const ProtobufCMessageDescriptor *type, size_t *at, size_t end, Field *field) {
  uint64_t tag, length;
  field->start = *at;
  TRY(read_varint(scan, at, end, &tag));
  field->wire = tag & 7;
  if (tag >> 3 == 0 || tag >> 3 > 0x1fffffff) FAIL(ERROR_INVALID_MODEL, "there is no field number at offset %zu", field->start);
  field->number = (uint32_t)(tag >> 3);
  field->begin = *at;
  switch (field->wire) {
    case WIRE_VARINT: TRY(read_varint(scan, at, end, &length)); break;
    case WIRE_64:
    case WIRE_32: {
      size_t size = field->wire == WIRE_64 ? 8 : 4;
      if (end - *at < size) FAIL(ERROR_INVALID_MODEL, "the bytes end inside a field at offset %zu", field->start);
      *at += size;
      break;
    }
    case WIRE_BYTES:
      TRY(read_varint(scan, at, end, &length));
      if (length > end - *at)
        FAIL(ERROR_INVALID_MODEL, "the field at offset %zu claims %llu bytes where %zu are left", field->start,
             (unsigned long long)length, end - *at);
      field->begin = *at;
      *at += (size_t)length;
      break;
    default: FAIL(ERROR_INVALID_MODEL, "the field at offset %zu has unknown wire type %u", field->start, field->wire);
  }
  field->end = *at;
  bool ours = type && field->number < FIRST_PRIVATE_FIELD;
  field->descriptor = ours ? protobuf_c_message_descriptor_get_field(type, field->number) : NULL;
  return OK;
}

static uint32_t wire_of(ProtobufCType type) {
  switch (type) {
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_FLOAT: return WIRE_32;
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_DOUBLE: return WIRE_64;
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_BYTES:
    case PROTOBUF_C_TYPE_MESSAGE: return WIRE_BYTES;
    default: return WIRE_VARINT;
  }
}

// The size of one element in the unpacked array.
static size_t element_bytes(ProtobufCType type) {
  switch (type) {
    case PROTOBUF_C_TYPE_BYTES: return sizeof(ProtobufCBinaryData);
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_MESSAGE: return sizeof(void *);
    default: return 8;
  }
}

// Elements in a packed run.
static Status count_packed(const Scan *scan, const Field *field, uint32_t wire, size_t *out) {
  size_t size = field->end - field->begin, item = wire == WIRE_64 ? 8 : 4;
  *out = 0;
  if (wire != WIRE_VARINT) {
    if (size % item)
      FAIL(ERROR_INVALID_MODEL, "the %zu bytes at offset %zu are no whole number of elements", size, field->start);
    *out = size / item;
    return OK;
  }
  for (size_t at = field->begin; at < field->end; ++*out) {
    uint64_t ignored;
    TRY(read_varint(scan, &at, field->end, &ignored));
  }
  return OK;
}

static bool is_bulk(const ProtobufCMessageDescriptor *type, const Field *field) {
  if (type != &onnx__tensor__descriptor || field->wire != WIRE_BYTES || field->end - field->begin < CUT_BYTES) return false;
  return field->number == RAW_DATA || field->number == FLOAT_DATA || field->number == DOUBLE_DATA;
}

static Status cut(Scan *scan, const Field *field) {
  TRY(emit_varint(scan, (uint64_t)FIRST_PRIVATE_FIELD << 3 | WIRE_VARINT));
  TRY(emit_varint(scan, field->number));
  TRY(emit_fixed64(scan, FIRST_PRIVATE_FIELD + 1, field->begin));
  return emit_fixed64(scan, FIRST_PRIVATE_FIELD + 2, field->end - field->begin);
}

static Status scan_message(Scan *scan, const ProtobufCMessageDescriptor *type, size_t begin, size_t end, int depth);

static Status scan_submessage(Scan *scan, const Field *field, int depth) {
  TRY(emit_varint(scan, (uint64_t)field->number << 3 | WIRE_BYTES));
  size_t length_at = scan->out_size;
  TRY(emit(scan, (uint8_t[PADDED_LENGTH]){0}, PADDED_LENGTH));
  TRY(scan_message(scan, field->descriptor->descriptor, field->begin, field->end, depth + 1));
  size_t length = scan->out_size - length_at - PADDED_LENGTH;
  if (length >> 31)
    FAIL(ERROR_INVALID_MODEL, "the message at offset %zu is larger than 2 GiB without its tensors", field->start);
  for (int i = 0; i < PADDED_LENGTH; i++)
    scan->out[length_at + (size_t)i] = (uint8_t)((length >> (7 * i)) & 0x7f) | (i + 1 < PADDED_LENGTH ? 0x80 : 0);
  return OK;
}

static Status scan_known(Scan *scan, const Field *field, int depth) {
  const ProtobufCFieldDescriptor *d = field->descriptor;
  uint32_t wire = wire_of(d->type);
  bool repeated = d->label == PROTOBUF_C_LABEL_REPEATED;
  size_t count = 1;
  if (field->wire != wire) {
    if (!repeated || wire == WIRE_BYTES || field->wire != WIRE_BYTES)
      FAIL(ERROR_INVALID_MODEL, "field '%s' at offset %zu has wire type %u, expected %u", d->name, field->start, field->wire,
           wire);
    TRY(count_packed(scan, field, wire, &count));
  }
  if (repeated) TRY(take(scan, element_bytes(d->type), count));
  if (d->type == PROTOBUF_C_TYPE_MESSAGE) return scan_submessage(scan, field, depth);
  if (wire == WIRE_BYTES) TRY(take(scan, 1, field->end - field->begin + ALLOCATION_OVERHEAD));
  if ((field->end - field->begin) >> 31)
    FAIL(ERROR_INVALID_MODEL, "the field at offset %zu is larger than 2 GiB", field->start);
  // Written anew, because protobuf-c takes tags and lengths of at most five bytes.
  TRY(emit_varint(scan, (uint64_t)field->number << 3 | field->wire));
  if (field->wire == WIRE_BYTES) TRY(emit_varint(scan, field->end - field->begin));
  return emit(scan, scan->in.data + field->begin, field->end - field->begin);
}

// A message or a oneof may come once: protobuf would merge the second into the first, which nobody who writes models does.
static Status refuse_second(const ProtobufCMessageDescriptor *type, const Field *field, uint64_t *seen) {
  const ProtobufCFieldDescriptor *d = field->descriptor;
  bool oneof = (d->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0;
  if (d->label == PROTOBUF_C_LABEL_REPEATED || (d->type != PROTOBUF_C_TYPE_MESSAGE && !oneof)) return OK;
  uint64_t bit = oneof ? 1ull << 63 : 1ull << (d - type->fields);
  if (*seen & bit) FAIL(ERROR_INVALID_MODEL, "field '%s' at offset %zu comes a second time", d->name, field->start);
  *seen |= bit;
  return OK;
}

static Status scan_message(Scan *scan, const ProtobufCMessageDescriptor *type, size_t begin, size_t end, int depth) {
  uint64_t seen = 0;
  size_t members = 0;
  bool was_cut = false;
  if (depth > scan->limits.depth)
    FAIL(ERROR_INVALID_MODEL, "messages at offset %zu are nested more than %d deep", begin, scan->limits.depth);
  TRY(take(scan, type->sizeof_message + ALLOCATION_OVERHEAD, 1));
  for (size_t at = begin; at < end;) {
    Field field = {0};
    TRY(read_field(scan, type, &at, end, &field));
    if (!field.descriptor) continue;
    TRY(refuse_second(type, &field, &seen));
    if (is_bulk(type, &field)) {
      if (was_cut) FAIL(ERROR_INVALID_MODEL, "a tensor has more than one piece of data at offset %zu", field.start);
      was_cut = true;
      members += 3;
      TRY(cut(scan, &field));
    } else {
      members++;
      TRY(scan_known(scan, &field, depth));
    }
  }
  return members > 16 ? take(scan, MEMBER_BYTES, members) : OK;
}

Status onnx_scan(const ProtobufCMessageDescriptor *type, Bytes in, const OnnxLimits *limits, Arena *arena, Bytes *out) {
  Scan scan = {.in = in, .limits = onnx_limits_or_default(limits), .arena = arena};
  size_t proportional;
  if (!checked_mul(in.size, 32, &proportional) || !checked_add(proportional, (size_t)64 << 20, &proportional))
    proportional = SIZE_MAX;
  scan.memory_limit = MIN(scan.limits.memory_bytes, proportional);
  *out = (Bytes){.data = (const uint8_t *)"", .size = 0};
  TRY(scan_message(&scan, type, 0, in.size, 1));
  if (scan.out_size) *out = (Bytes){.data = scan.out, .size = scan.out_size};
  return OK;
}

static void *unpack_alloc(void *context, size_t size) {
  void *out;
  Status status = arena_try_alloc(context, size, 16, &out);
  if (!status) return out;
  status_free(status);
  return NULL;
}

static void unpack_free(void *context, void *memory) {}

Status onnx_unpack(const ProtobufCMessageDescriptor *type, const char *what, Bytes in, const OnnxLimits *limits, Arena *arena,
                   void **out) {
  Bytes slim;
  ProtobufCAllocator allocator = {.alloc = unpack_alloc, .free = unpack_free, .allocator_data = arena};
  Status status = onnx_scan(type, in, limits, arena, &slim);
  if (status) return status_context(status, "%s is not readable as ONNX", what);
  *out = protobuf_c_message_unpack(type, &allocator, slim.size, slim.data);
  // The scan accepts only what protobuf-c accepts, so what is left is memory.
  if (!*out) FAIL(ERROR_OUT_OF_MEMORY, "%s cannot be unpacked", what);
  return OK;
}
