// See rig.h.
#include "tune/rig.h"

#include <string.h>

#include "base/checked.h"
#include "base/memory.h"
#include "base/recover.h"

// A prime: no row of a tensor is as long, so rows differ.
enum { BLOCK_ELEMENTS = 262147, BLOCK_STRIDE = 100003 };
enum { KEPT_FORM_BYTES = 64 << 20 };  // that no candidate uses just now

// --- Random contents.

void random_blocks_free(RandomBlocks *random) {
  for (int i = 0; i < DTYPE_COUNT; i++) cuda_free(random->cuda, random->blocks[i], BLOCK_ELEMENTS * dtype_size((DType)i));
}

static void fill_random(DType dtype, void *bytes) {
  uint64_t state = 88172645463325252ull;
  for (int64_t i = 0; i < BLOCK_ELEMENTS; i++) {
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    void *element = (char *)bytes + (size_t)i * dtype_size(dtype);
    if (dtype_is_float(dtype)) element_set_f(dtype, element, (double)(int64_t)(state >> 40) / (1 << 24) * 2 - 1);
    else element_set_i(dtype, element, (int64_t)((state >> 33) & 1));  // small enough to be an index anywhere
  }
}

static Status random_block(RandomBlocks *random, DType dtype, void **out) {
  void **block = &random->blocks[dtype], *host;
  size_t bytes = BLOCK_ELEMENTS * dtype_size(dtype);
  if (!*block) {
    TRY(memory_take(bytes, &host));
    fill_random(dtype, host);
    Status status = cuda_alloc(random->cuda, bytes, block);
    if (!status) status = cuda_upload(random->cuda, *block, host, bytes);
    memory_free(host);
    if (status) {
      cuda_free(random->cuda, *block, bytes);
      *block = NULL;
      return status;
    }
  }
  *out = *block;
  return OK;
}

// The block, begun at a place of this number's, then again what is there by then.
static Status fill_on_device(Rig *r, DType dtype, void *to, int64_t count, int number) {
  CudaContext *cuda = r->cuda;
  size_t size = dtype_size(dtype);
  char *block, *at = to;
  TRY(random_block(r->random, dtype, (void **)&block));
  int64_t start = (int64_t)number * BLOCK_STRIDE % BLOCK_ELEMENTS, done = MIN(count, BLOCK_ELEMENTS - start);
  TRY(cuda_copy(cuda, at, block + (size_t)start * size, (size_t)done * size, cuda->stream));
  int64_t part = MIN(count - done, start);
  TRY(cuda_copy(cuda, at + (size_t)done * size, block, (size_t)part * size, cuda->stream));
  for (done += part; done < count; done += part) {
    part = MIN(count - done, done);
    TRY(cuda_copy(cuda, at + (size_t)done * size, at, (size_t)part * size, cuda->stream));
  }
  return OK;
}

// --- Tensors.

// The lowest and highest element a strided tensor touches, relative to element 0.
static void extent(const TensorDesc *desc, int64_t *low, int64_t *high) {
  *low = *high = 0;
  for (int i = 0; i < desc->rank; i++) {
    if (!desc->dims[i]) return;
    int64_t span = (desc->dims[i] - 1) * desc->strides[i];
    if (span < 0) *low += span;
    else *high += span;
  }
}

static Status allocate(Rig *r, const TensorDesc *desc, int64_t *count, void **out, size_t *bytes, void **at) {
  int64_t low, high;
  extent(desc, &low, &high);
  *count = high - low + 1;
  *bytes = (size_t)*count * dtype_size(desc->dtype);
  TRY(cuda_alloc(r->cuda, *bytes, out));
  *at = (char *)*out - low * (int64_t)dtype_size(desc->dtype);
  return OK;
}

// In whatever order its elements lie: what reads them here must find what others packed of them.
static Status upload_constant(Rig *r, int i) {
  const TensorDesc *desc = &r->site->inputs[i];
  if (desc_is_row_major(desc)) return cuda_upload(r->cuda, r->inputs[i], desc->constant->data, r->input_bytes[i]);
  void *host;
  TRY(memory_take(r->input_bytes[i], &host));
  memset(host, 0, r->input_bytes[i]);  // where no element lies
  tensor_scatter_strided(desc->constant, (char *)host + ((char *)r->input_at[i] - (char *)r->inputs[i]), desc->strides);
  Status status = cuda_upload(r->cuda, r->inputs[i], host, r->input_bytes[i]);
  memory_free(host);
  return status;
}

static Status open_input(Rig *r, int i) {
  const TensorDesc *desc = &r->site->inputs[i];
  int64_t count;
  if (desc->absent) return OK;
  TRY(allocate(r, desc, &count, &r->inputs[i], &r->input_bytes[i], &r->input_at[i]));
  if (!r->sketch && desc->constant && desc_count(desc)) return upload_constant(r, i);
  return fill_on_device(r, desc->dtype, r->inputs[i], count, i);
}

Status rig_open(Rig *r) {
  const Node *node = r->site->node;
  int64_t count;
  int inputs = site_input_count(r->site);
  r->inputs = arena_array(r->arena, void *, inputs);
  r->input_at = arena_array(r->arena, void *, inputs);
  r->input_bytes = arena_array(r->arena, size_t, inputs);
  r->outputs = arena_array(r->arena, void *, node->output_count);
  r->output_at = arena_array(r->arena, void *, node->output_count);
  r->output_bytes = arena_array(r->arena, size_t, node->output_count);
  for (int i = 0; i < inputs; i++) TRY(open_input(r, i));
  for (int i = 0; i < node->output_count; i++)
    TRY(allocate(r, &r->site->outputs[i], &count, &r->outputs[i], &r->output_bytes[i], &r->output_at[i]));
  return OK;
}

// --- Constants.

struct PackedForm {
  PackedForm *older;
  Hash128 key;
  void *at;
  size_t bytes;
  bool used;
};

// Gives up what no candidate uses, but the newest of it up to so many bytes.
static void give_up_forms(Rig *r, size_t keep) {
  size_t kept = 0;
  for (PackedForm **at = &r->forms; *at;) {
    PackedForm *form = *at;
    if (!form->used) kept += form->bytes;
    if (form->used || kept <= keep) {
      at = &form->older;
      continue;
    }
    cuda_free(r->cuda, form->at, form->bytes);
    kept -= form->bytes;
    *at = form->older;
  }
  r->form_bytes = kept;
}

static void give_up_reserve(Rig *r) {
  cuda_free(r->cuda, r->reserve, r->reserve_bytes);
  r->reserve = NULL;
  r->reserve_bytes = 0;
}

void rig_close(Rig *r) {
  rig_unuse(r);
  give_up_forms(r, 0);
  give_up_reserve(r);
  if (!r->output_bytes) return;  // made last
  for (int i = 0; i < site_input_count(r->site); i++) cuda_free(r->cuda, r->inputs[i], r->input_bytes[i]);
  for (int i = 0; i < r->site->node->output_count; i++) cuda_free(r->cuda, r->outputs[i], r->output_bytes[i]);
}

Status rig_alloc(Rig *r, size_t size, void **out) {
  Status status = cuda_alloc(r->cuda, size, out);
  if (!status || status_code(status) != ERROR_OUT_OF_MEMORY || !r->form_bytes) return status;
  log_add(r->log, LOG_VERBOSE, "tuning gives up packed constants that it kept: %s", status_message(status));
  status_free(status);
  give_up_forms(r, 0);
  return cuda_alloc(r->cuda, size, out);
}

Status rig_reserve(Rig *r, size_t size, void **out) {
  if (size > r->reserve_bytes) {
    give_up_reserve(r);
    TRY(rig_alloc(r, size, &r->reserve));
    r->reserve_bytes = size;
  }
  *out = r->reserve;
  return OK;
}

static Status pack_on_device(Rig *r, const Recipe *recipe, void *to) {
  if (r->sketch) return cuda_fill(r->cuda, to, 0, recipe->bytes, r->cuda->stream);
  void *host;
  TRY(memory_take(recipe->bytes, &host));
  Status status = RECOVER_GUARD(recipe_run(recipe, host));
  if (!status) status = cuda_upload(r->cuda, to, host, recipe->bytes);
  memory_free(host);
  return status;
}

static bool is_of(const PackedForm *form, const Recipe *recipe) {
  return form->key.low == recipe->key.low && form->key.high == recipe->key.high && form->bytes == recipe->bytes;
}

Status rig_pack(Rig *r, const Recipe *recipe, void **out) {
  PackedForm *form = r->forms;
  while (form && !is_of(form, recipe)) form = form->older;
  if (!form) {
    PackedForm *made = arena_new_of(r->arena, PackedForm);
    TRY(rig_alloc(r, recipe->bytes, &made->at));
    made->bytes = recipe->bytes;
    made->used = true;
    made->older = r->forms;
    r->forms = made;  // from here on it is given back with the rest
    TRY(pack_on_device(r, recipe, made->at));
    made->key = recipe->key;
    form = made;
  }
  if (!form->used) r->form_bytes -= form->bytes;
  form->used = true;
  *out = form->at;
  return OK;
}

void rig_unuse(Rig *r) {
  for (PackedForm *form = r->forms; form; form = form->older) form->used = false;
  give_up_forms(r, KEPT_FORM_BYTES);
}
