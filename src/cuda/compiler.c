// The kernel cache behind compiler.h. Entries are malloc'ed, not in an arena, because threads add them under a mutex and an
// arena may unwind. The disk's key adds NVRTC's version to the kernel's: a better compiler makes its own files, while a plan's
// keys stay valid for the cubins that came with it.
#include "cuda/compiler.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include "base/budget.h"
#include "base/checked.h"
#include "base/map.h"
#include "base/recover.h"
#include "base/text.h"
#include "base/thread.h"
#include "cuda/nvrtc.h"

enum { BUCKETS = 1024, CUBIN_LIMIT = 1 << 28, KNOWN_KEYS = 1024 };

typedef struct Entry {
  struct Entry *next;           // in its bucket
  struct Entry *older, *newer;  // among those that nobody holds
  Hash128 key;
  int holders;
  size_t size;
  const void *data;  // bytes, or those of an engine file
  _Alignas(16) char bytes[];
} Entry;

// Keys of texts asked for lately: plans for other sizes are of the same texts, mostly. By hash, each in the one place it may have.
typedef struct KnownKey {
  Hash128 text;
  int sm;  // 0: none
  Hash128 key;
} KnownKey;
typedef struct KnownKeys {
  pthread_mutex_t mutex;
  KnownKey list[KNOWN_KEYS];
} KnownKeys;

struct Compiler {
  Arena *arena;
  KnownKeys *known;
  const DeviceSource *headers;
  Hash128 *header_hashes;
  bool **reached;  // by header: which headers it includes, directly or not, itself among them
  int header_count;
  const char *folder;  // NULL: no cache on disk
  Log log;
  pthread_mutex_t mutex;  // guards all below
  const Nvrtc *nvrtc;
  Entry *buckets[BUCKETS];
  Entry *oldest, *newest;  // let go first and last
  size_t idle_limit;
  CompilerStats stats;
};

static bool hash_equal(Hash128 a, Hash128 b) { return a.low == b.low && a.high == b.high; }

// --- Which device texts a source includes, directly or not.

static int find_header(const Compiler *compiler, const char *path, size_t length) {
  for (int i = 0; i < compiler->header_count; i++)
    if (strncmp(compiler->headers[i].path, path, length) == 0 && !compiler->headers[i].path[length]) return i;
  return -1;
}

// The next header that is included behind *at, which moves on; -1: none. An include inside a comment or an #if counts too: it only widens the key.
static int next_include(const Compiler *compiler, const char **at) {
  static const char directive[] = "#include \"";
  int header = -1;
  while (header < 0 && (*at = strstr(*at, directive))) {
    *at += sizeof directive - 1;
    header = find_header(compiler, *at, strcspn(*at, "\"\n"));
  }
  return header;
}

static void mark(const Compiler *compiler, int header, bool *included) {
  for (int i = 0; i < compiler->header_count; i++) included[i] = included[i] || compiler->reached[header][i];
}

static void mark_includes(const Compiler *compiler, const char *text, bool *included) {
  for (int header = next_include(compiler, &text); header >= 0; header = next_include(compiler, &text))
    mark(compiler, header, included);
}

// Once for each header, when the compiler is made.
static void reach(Compiler *compiler, int header) {
  if (compiler->reached[header]) return;
  bool *reached = compiler->reached[header] = arena_array(compiler->arena, bool, (size_t)compiler->header_count);
  reached[header] = true;
  const char *at = compiler->headers[header].text;
  for (int next = next_include(compiler, &at); next >= 0; next = next_include(compiler, &at)) {
    reach(compiler, next);
    mark(compiler, next, reached);
  }
}

Compiler *compiler_new(const CompilerOptions *options) {
  Arena *arena = arena_scratch();
  Compiler *compiler = arena_new_of(arena, Compiler);
  compiler->arena = arena;
  compiler->headers = options->headers;
  compiler->log = options->log;
  compiler->idle_limit = options->idle_bytes ? options->idle_bytes : COMPILER_IDLE_BYTES;
  pthread_mutex_init(&compiler->mutex, NULL);
  compiler->known = arena_new_of(arena, KnownKeys);
  pthread_mutex_init(&compiler->known->mutex, NULL);
  while (options->headers && options->headers[compiler->header_count].path) compiler->header_count++;
  compiler->header_hashes = arena_array(arena, Hash128, (size_t)compiler->header_count);
  compiler->reached = arena_array(arena, bool *, (size_t)compiler->header_count);
  for (int i = 0; i < compiler->header_count; i++) {
    const DeviceSource *header = &options->headers[i];
    compiler->header_hashes[i] =
        hash128_combine(hash128_bytes(header->path, strlen(header->path)), hash128_bytes(header->text, strlen(header->text)));
  }
  for (int i = 0; i < compiler->header_count; i++) reach(compiler, i);
  if (!options->folder) compiler->folder = path_join(arena, cache_folder(arena), "kernels");
  else if (*options->folder) compiler->folder = arena_string(arena, options->folder);
  arena_keep(arena);
  return compiler;
}

void compiler_free(Compiler *compiler) {
  if (!compiler) return;
  for (int i = 0; i < BUCKETS; i++)
    for (Entry *entry = compiler->buckets[i], *next; entry; entry = next) {
      next = entry->next;
      free(entry);
    }
  pthread_mutex_destroy(&compiler->mutex);
  pthread_mutex_destroy(&compiler->known->mutex);
  arena_free(compiler->arena);
}

static Hash128 key_of(const Compiler *compiler, Hash128 text, int sm, const bool *included) {
  char arch[16];
  cuda_arch_name(sm, arch);
  Hash128 key = hash128_combine(text, hash128_bytes(arch, strlen(arch)));
  key = hash128_combine(key, hash128_bytes(nvrtc_options(), strlen(nvrtc_options())));
  for (int i = 0; i < compiler->header_count; i++)
    if (included[i]) key = hash128_combine(key, compiler->header_hashes[i]);
  return key;
}

static bool find_known(KnownKeys *known, Hash128 text, int sm, Hash128 *key) {
  pthread_mutex_lock(&known->mutex);
  KnownKey found = known->list[text.low % KNOWN_KEYS];
  pthread_mutex_unlock(&known->mutex);
  *key = found.key;
  return found.sm == sm && hash_equal(found.text, text);
}

static void keep_known(KnownKeys *known, KnownKey key) {
  pthread_mutex_lock(&known->mutex);
  known->list[key.text.low % KNOWN_KEYS] = key;
  pthread_mutex_unlock(&known->mutex);
}

Hash128 compiler_key(const Compiler *compiler, const char *source, int sm) {
  Hash128 text = hash128_bytes(source, strlen(source)), key;
  if (find_known(compiler->known, text, sm, &key)) return key;
  Arena *scratch = arena_scratch();
  bool *included = arena_array(scratch, bool, (size_t)compiler->header_count);
  mark_includes(compiler, source, included);
  key = key_of(compiler, text, sm, included);
  arena_free(scratch);
  keep_known(compiler->known, (KnownKey){text, sm, key});
  return key;
}

// --- In memory.

static Entry *entry_find(Compiler *compiler, Hash128 key) {
  for (Entry *entry = compiler->buckets[key.low % BUCKETS]; entry; entry = entry->next)
    if (hash_equal(entry->key, key)) return entry;
  return NULL;
}

static void unlink_idle(Compiler *compiler, Entry *entry) {
  *(entry->older ? &entry->older->newer : &compiler->oldest) = entry->newer;
  *(entry->newer ? &entry->newer->older : &compiler->newest) = entry->older;
  compiler->stats.idle_bytes -= entry->size;
}

static Cubin entry_hold(Compiler *compiler, Entry *entry) {
  if (!entry->holders++) {
    unlink_idle(compiler, entry);
    compiler->stats.held_bytes += entry->size;
  }
  return (Cubin){entry->key, entry->data, entry->size};
}

static void entry_remove(Compiler *compiler, Entry *entry) {
  unlink_idle(compiler, entry);
  Entry **at = &compiler->buckets[entry->key.low % BUCKETS];
  while (*at != entry) at = &(*at)->next;
  *at = entry->next;
  free(entry);
}

static void entry_release(Compiler *compiler, Entry *entry) {
  if (--entry->holders) return;
  compiler->stats.held_bytes -= entry->size;
  compiler->stats.idle_bytes += entry->size;
  entry->older = compiler->newest;
  entry->newer = NULL;
  *(compiler->newest ? &compiler->newest->newer : &compiler->oldest) = entry;
  compiler->newest = entry;
  while (compiler->stats.idle_bytes > compiler->idle_limit) entry_remove(compiler, compiler->oldest);
}

void compiler_release(Compiler *compiler, const Cubin *cubins, int count) {
  pthread_mutex_lock(&compiler->mutex);
  for (int i = 0; i < count; i++)
    if (cubins[i].data) entry_release(compiler, entry_find(compiler, cubins[i].key));
  pthread_mutex_unlock(&compiler->mutex);
}

static bool find_and_hold(Compiler *compiler, Hash128 key, Cubin *out) {
  pthread_mutex_lock(&compiler->mutex);
  Entry *entry = entry_find(compiler, key);
  if (entry) *out = entry_hold(compiler, entry);
  if (entry) compiler->stats.memory_hits++;
  pthread_mutex_unlock(&compiler->mutex);
  return entry != NULL;
}

// Takes over an entry that its maker holds; if another thread was first, its copy stays, and is held.
static Cubin entry_insert(Compiler *compiler, Entry *entry) {
  pthread_mutex_lock(&compiler->mutex);
  Entry *present = entry_find(compiler, entry->key);
  Entry **bucket = &compiler->buckets[entry->key.low % BUCKETS];
  Cubin cubin = present ? entry_hold(compiler, present) : (Cubin){entry->key, entry->data, entry->size};
  if (!present) {
    entry->next = *bucket;
    *bucket = entry;
    if (entry->data == entry->bytes) compiler->stats.held_bytes += entry->size;
  }
  pthread_mutex_unlock(&compiler->mutex);
  if (present) free(entry);
  return cubin;
}

static Status entry_add(Compiler *compiler, Hash128 key, const void *data, size_t size, Cubin *out) {
  Entry *entry = malloc(sizeof *entry + size);
  if (!entry) return status_out_of_memory();
  *entry = (Entry){.key = key, .holders = 1, .size = size, .data = entry->bytes};
  memcpy(entry->bytes, data, size);
  *out = entry_insert(compiler, entry);
  return OK;
}

// Held by the engine for ever.
Status compiler_preload(Compiler *compiler, Hash128 key, const void *cubin, size_t size) {
  Entry *entry = malloc(sizeof *entry);
  if (!entry) return status_out_of_memory();
  *entry = (Entry){.key = key, .holders = 1, .size = size, .data = cubin};
  entry_insert(compiler, entry);
  return OK;
}

CompilerStats compiler_stats(Compiler *compiler) {
  pthread_mutex_lock(&compiler->mutex);
  CompilerStats stats = compiler->stats;
  pthread_mutex_unlock(&compiler->mutex);
  return stats;
}

// --- On disk: a header, then the cubin.

typedef struct DiskHeader {
  char magic[8];
  uint64_t size;
  Hash128 key, checksum;
} DiskHeader;
static const char disk_magic[8] = "INGOTCB1";

static const char *disk_path(const Compiler *compiler, Hash128 key, Arena *scratch) {
  char hex[33];
  hash128_hex(key, hex);
  return arena_printf(scratch, "%s/%s.cubin", compiler->folder, hex);
}

static bool disk_file_is_sound(Bytes file, Hash128 key) {
  DiskHeader header;
  if (file.size < sizeof header) return false;
  memcpy(&header, file.data, sizeof header);
  if (memcmp(header.magic, disk_magic, sizeof disk_magic) != 0 || !hash_equal(header.key, key)) return false;
  if (header.size != file.size - sizeof header) return false;
  return hash_equal(header.checksum, hash128_bytes(file.data + sizeof header, header.size));
}

// false where there is no file that can be trusted.
static bool disk_read(Compiler *compiler, Hash128 key, Arena *scratch, Bytes *out) {
  const char *path = disk_path(compiler, key, scratch);
  if (!file_exists(path)) return false;
  Bytes file = {0};
  Status status = file_read(path, CUBIN_LIMIT, scratch, &file);
  bool sound = !status && disk_file_is_sound(file, key);
  if (!sound) log_add(&compiler->log, LOG_WARNING, "%s is damaged and will be made again", path);
  status_free(status);
  pthread_mutex_lock(&compiler->mutex);
  if (sound) compiler->stats.disk_hits++;
  else compiler->stats.distrusted++;
  pthread_mutex_unlock(&compiler->mutex);
  if (sound) *out = (Bytes){file.data + sizeof(DiskHeader), file.size - sizeof(DiskHeader)};
  return sound;
}

// A cache that cannot be written is no error: the kernel is there.
static void disk_write(Compiler *compiler, Hash128 key, Bytes cubin, Arena *scratch) {
  DiskHeader header = {.size = cubin.size, .key = key, .checksum = hash128_bytes(cubin.data, cubin.size)};
  memcpy(header.magic, disk_magic, sizeof disk_magic);
  char *bytes = arena_alloc(scratch, sizeof header + cubin.size);
  memcpy(bytes, &header, sizeof header);
  memcpy(bytes + sizeof header, cubin.data, cubin.size);
  Status status = directory_make(compiler->folder);
  if (!status) status = file_write_cache(disk_path(compiler, key, scratch), bytes, sizeof header + cubin.size);
  if (status) log_add(&compiler->log, LOG_WARNING, "a kernel could not be cached: %s", status_message(status));
  status_free(status);
}

// --- Compiling.

static Status open_nvrtc(Compiler *compiler, const Nvrtc **out) {
  Status status = OK;
  pthread_mutex_lock(&compiler->mutex);
  if (!compiler->nvrtc) status = RECOVER_GUARD(nvrtc_open(compiler->arena, &compiler->nvrtc));
  *out = compiler->nvrtc;
  pthread_mutex_unlock(&compiler->mutex);
  return status;
}

static Status compile_missing(Compiler *compiler, const KernelSource *source, Hash128 key, const bool *included, Arena *scratch,
                              Cubin *out) {
  const Nvrtc *nvrtc;
  TRY(open_nvrtc(compiler, &nvrtc));
  int version = nvrtc_version(nvrtc);
  Hash128 disk_key = hash128_combine(key, hash128_bytes(&version, sizeof version));
  Bytes cubin = {0};
  if (compiler->folder && disk_read(compiler, disk_key, scratch, &cubin))
    return entry_add(compiler, key, cubin.data, cubin.size, out);

  DeviceSource *headers = arena_array(scratch, DeviceSource, (size_t)compiler->header_count + 1);
  for (int i = 0, count = 0; i < compiler->header_count; i++)
    if (included[i]) headers[count++] = compiler->headers[i];
  const char *name = source->label && *source->label ? source->label : "kernel";
  double start = time_now();
  const char *remarks;
  TRY(nvrtc_compile(nvrtc, name, source->source, source->sm, headers, scratch, &cubin, &remarks));
  if (*remarks) log_add(&compiler->log, LOG_VERBOSE, "the compiler on kernel %s: %s", name, remarks);
  double seconds = time_now() - start;
  pthread_mutex_lock(&compiler->mutex);
  compiler->stats.compiled++;
  compiler->stats.compile_seconds += seconds;
  pthread_mutex_unlock(&compiler->mutex);
  if (compiler->folder) disk_write(compiler, disk_key, cubin, scratch);
  return entry_add(compiler, key, cubin.data, cubin.size, out);
}

static Status find_by_key(Compiler *compiler, const KernelSource *source, Cubin *out) {
  char hex[33];
  if (find_and_hold(compiler, source->key, out)) return OK;
  hash128_hex(source->key, hex);
  FAIL(ERROR_UNSUPPORTED, "kernel %s of '%s' is not there, nor its text", hex, source->label);
}

static Status compile_in(Compiler *compiler, const KernelSource *source, Arena *scratch, Cubin *out) {
  if (!source->source) return find_by_key(compiler, source, out);
  Hash128 key = compiler_key(compiler, source->source, source->sm);
  if (find_and_hold(compiler, key, out)) return OK;
  bool *included = arena_array(scratch, bool, (size_t)compiler->header_count);
  mark_includes(compiler, source->source, included);
  return compile_missing(compiler, source, key, included, scratch, out);
}

Status compiler_compile(Compiler *compiler, const KernelSource *source, Cubin *out) {
  Arena *scratch = arena_scratch();
  Status status = compile_in(compiler, source, scratch, out);
  arena_free(scratch);
  return status;
}

typedef struct Batch {
  Compiler *compiler;
  const KernelSource *sources;
  const int *jobs;  // numbers of sources, each text once
  Cubin *made;      // by job, held meanwhile
  int job_count, threads;
  pthread_mutex_t mutex;  // guards all below
  int done;
  bool stop;
  Status failure;  // of the first failing job in order
  int failed_job;
} Batch;

static void batch_fail(Batch *batch, int job, Status status) {
  if (batch->failure && batch->failed_job < job) {
    status_free(status);
    return;
  }
  status_free(batch->failure);
  batch->failure = status;
  batch->failed_job = job;
  batch->stop = true;
}

// A function of its own: nothing that lives across the guard's setjmp changes here.
static Status compile_guarded(Compiler *compiler, const KernelSource *source, Cubin *out) {
  return RECOVER_GUARD(compiler_compile(compiler, source, out));
}

static void batch_run(void *context, int64_t begin, int64_t end) {
  Batch *batch = context;
  for (int64_t job = begin; job < end; job++) {
    pthread_mutex_lock(&batch->mutex);
    bool stop = batch->stop;
    pthread_mutex_unlock(&batch->mutex);
    if (stop) return;
    Status status = compile_guarded(batch->compiler, &batch->sources[batch->jobs[job]], &batch->made[job]);
    pthread_mutex_lock(&batch->mutex);
    budget_tell("compiling", (double)++batch->done / batch->job_count);
    if (status) batch_fail(batch, (int)job, status);
    pthread_mutex_unlock(&batch->mutex);
  }
}

// Chooses the jobs among the sources of these numbers: each key once.
static int batch_jobs(const Hash128 *keys, const int *numbers, int count, Arena *scratch, int *jobs) {
  int job_count = 0;
  uint32_t slots = 16;
  while (slots < 2 * (uint32_t)count) slots *= 2;
  int *table = arena_array(scratch, int, slots);  // number of a source + 1
  for (int i = 0; i < count; i++) {
    Hash128 key = keys[numbers[i]];
    uint32_t slot = (uint32_t)key.low & (slots - 1);
    while (table[slot] && !hash_equal(keys[table[slot] - 1], key)) slot = (slot + 1) & (slots - 1);
    if (table[slot]) continue;
    table[slot] = numbers[i] + 1;
    jobs[job_count++] = numbers[i];
  }
  return job_count;
}

static Status batch_run_all(void *context) {
  Batch *batch = context;
  ThreadPool *pool = batch->job_count > 1 && batch->threads != 1 ? thread_pool_new(batch->threads) : NULL;
  parallel_for(pool, batch->job_count, 1, batch_run, batch);
  thread_pool_free(pool);
  return batch->failure;
}

static Status batch_run_guarded(Batch *batch) { return RECOVER_GUARD(thread_watched(batch_run_all, batch)); }

static Hash128 source_key(const Compiler *compiler, const KernelSource *source) {
  return source->source ? compiler_key(compiler, source->source, source->sm) : source->key;
}

// Those that are not in memory, each once.
static Status compile_missing_all(Compiler *compiler, const KernelSource *sources, const Hash128 *keys, const int *missing,
                                  int count, int threads, Arena *scratch, Cubin *out) {
  Batch batch = {.compiler = compiler, .sources = sources, .threads = threads};
  int *jobs = arena_array(scratch, int, (size_t)count);
  batch.jobs = jobs;
  batch.job_count = batch_jobs(keys, missing, count, scratch, jobs);
  batch.made = arena_array(scratch, Cubin, (size_t)batch.job_count);
  pthread_mutex_init(&batch.mutex, NULL);
  Status status = batch_run_guarded(&batch);
  pthread_mutex_destroy(&batch.mutex);
  for (int i = 0; !status && i < count; i++)
    if (!find_and_hold(compiler, keys[missing[i]], &out[missing[i]]))
      status = status_make(ERROR_INTERNAL, "a compiled kernel is not in the cache");
  compiler_release(compiler, batch.made, batch.job_count);
  return status;
}

// By source. One text is mostly that of many: it is hashed once.
static Hash128 *find_keys(const Compiler *compiler, const KernelSource *sources, int count, Arena *scratch) {
  Hash128 *keys = arena_array(scratch, Hash128, (size_t)count);
  IntMap *first = int_map_new(scratch);  // of a text's address: its key
  for (int i = 0; i < count; i++) {
    uint64_t text = sources[i].sm == sources[0].sm ? (uint64_t)(uintptr_t)sources[i].source : 0;
    const Hash128 *known = text ? int_map_get(first, text) : NULL;
    keys[i] = known ? *known : source_key(compiler, &sources[i]);
    if (text && !known) int_map_set(first, text, &keys[i]);
  }
  return keys;
}

static Status hold_all(Compiler *compiler, const KernelSource *sources, int count, int threads, Arena *scratch, Cubin *held) {
  Hash128 *keys = find_keys(compiler, sources, count, scratch);
  int *missing = arena_array(scratch, int, (size_t)count), missing_count = 0;
  for (int i = 0; i < count; i++) {
    if (!find_and_hold(compiler, keys[i], &held[i])) missing[missing_count++] = i;
  }
  if (!missing_count) return OK;
  return compile_missing_all(compiler, sources, keys, missing, missing_count, threads, scratch, held);
}

static Status compile_all_in(Compiler *compiler, const KernelSource *sources, int count, int threads, Arena *scratch,
                             Cubin *out) {
  Cubin *held = arena_array(scratch, Cubin, (size_t)count);
  Status status = hold_all(compiler, sources, count, threads, scratch, held);
  if (status || !out) compiler_release(compiler, held, count);
  else if (count) memcpy(out, held, (size_t)count * sizeof *held);
  return status;
}

Status compiler_compile_all(Compiler *compiler, const KernelSource *sources, int count, int threads, Cubin *out) {
  Arena *scratch = arena_scratch();
  Status status = compile_all_in(compiler, sources, count, threads, scratch, out);
  arena_free(scratch);
  return status;
}
