// Mistakes that the emulated device must find, and say so in words that help. A GPU would hang, give wrong results, or seem to work.
#include <stdio.h>
#include <string.h>
#include "tests/instructions/lab.h"

typedef struct Mistake {
  const char *kernel, *finding, *instead;  // instead: what is found where the copy happens to be early or late
  unsigned block, cluster;
  const char *before;  // a kernel that this one overlaps
  unsigned grid;       // 0: one block, or the cluster
  bool cooperative;
} Mistake;

static const Mistake mistakes[] = {
    {"no_wait", "which an asynchronous operation is still writing", NULL, 64, 0, NULL},
    {"only_one_waits", "which an asynchronous operation is still writing", NULL, 64, 0, NULL},
    {"wrong_parity", "which an asynchronous operation is still writing", "waits for ever", 64, 0, NULL},
    {"parity_of_2", "which is neither 0 nor 1", NULL, 64, 0, NULL},
    {"nothing_expected", "completes more bytes than were expected", "which an asynchronous operation is still writing", 64, 0,
     NULL},
    {"too_much_expected", "0 of 1 arrivals and 16 bytes are missing", NULL, 64, 0, NULL},
    {"too_little_expected", "completes more bytes than were expected", NULL, 64, 0, NULL},
    {"too_many_arrive", "arrives once more than is expected", NULL, 64, 0, NULL},
    {"too_few_arrive", "1 of 64 arrivals and 0 bytes are missing", NULL, 64, 0, NULL},
    {"initialised_twice", "which is in use", NULL, 64, 0, NULL},
    {"not_initialised", "where none was initialised", NULL, 64, 0, NULL},
    {"initialised_unseen", "initialise", NULL, 64, 0, NULL},
    {"barrier_overwritten", "where an mbarrier is in use", NULL, 64, 0, NULL},
    {"barrier_askew", "no multiple of 8", NULL, 64, 0, NULL},
    {"barrier_unfenced", "was initialised without a fence after it", NULL, 64, 0, NULL},
    {"bytes_askew", "bulk copies take multiples of 16", NULL, 64, 0, NULL},
    {"invalidated_too_soon", "in the middle of a phase", NULL, 64, 0, NULL},
    {"ends_too_soon", "block", NULL, 64, 0, NULL},
    {"used_again_too_soon", "lets an asynchronous copy write shared memory", "waits for ever", 64, 0, NULL},
    {"store_unfenced", "without fence.proxy.async after it", NULL, 64, 0, NULL},
    {"store_overwritten", "which an asynchronous operation is still reading", NULL, 64, 0, NULL},
    {"store_uncommitted", "may still read shared memory", NULL, 64, 0, NULL},
    {"store_read_too_soon", "which an asynchronous operation is still writing", NULL, 64, 0, NULL},
    {"loaded_over_stores", "without fence.proxy.async after it", NULL, 64, 0, NULL},
    {"memory_overwritten", "which an asynchronous operation is still reading", NULL, 64, 0, NULL},
    {"memory_unfenced", "without fence.proxy.async after it", NULL, 64, 0, NULL},
    {"copies_not_there", "which an asynchronous operation is still writing", NULL, 64, 0, NULL},
    {"swizzle_ignored", "behind the end", NULL, 64, 0, NULL},
    {"map_invalid", "the tensor map is invalid", NULL, 64, 0, NULL},
    {"map_of_two", "a box of 3 dimensions by a tensor map of 2", NULL, 64, 0, NULL},
    {"box_askew", "no multiple of 128", NULL, 64, 0, NULL},
    {"box_begins_askew", "from its start: no multiple of 16", NULL, 64, 0, NULL},
    {"box_stored_before", "stores a box that begins before the tensor", NULL, 64, 0, NULL},
    {"registers_differ", "while another warp of its warpgroup has", NULL, 128, 0, NULL},
    {"registers_of_half", "setmaxnreg", NULL, 128, 0, NULL},
    {"product_unfenced", "without fence.proxy.async after it", NULL, 128, 0, NULL},
    {"product_too_soon", "which an asynchronous operation is still writing", NULL, 128, 0, NULL},
    {"product_overwritten", "which an asynchronous operation is still reading", NULL, 128, 0, NULL},
    {"other_not_begun", "before anything says that this block has begun", NULL, 64, 2, NULL},
    {"other_ended", "ended", NULL, 64, 2, NULL},
    {"remote_unordered", "with nothing to order the two", NULL, 64, 2, NULL},
    {"no_such_block", "of block 2 of a cluster of 2", NULL, 64, 2, NULL},
    {"cluster_wait_alone", "without having arrived", NULL, 64, 2, NULL},
    {"cluster_arrive_twice", "again without having waited", NULL, 64, 2, NULL},
    {"last_arrivals", "ends, and with it block 0 of its cluster", "has ended", 64, 2, NULL},
    {"sent_unfenced", "without fence.proxy.async after it", NULL, 64, 2, NULL},
    {"some_do_not_arrive", "waits for ever", NULL, 64, 2, NULL},
    {"multicast_too_far", "of a cluster of 2", NULL, 64, 2, NULL},
    {"multicast_unexpected", "1 of 1 arrivals and -1024 bytes are missing", NULL, 64, 2, NULL},
    {"second_does_not_wait", "kernel first_of_two, launched before", NULL, 64, 0, "first_of_two"},
    {"published_unfenced", "another block of the launch writes with nothing to order the two", NULL, 64, 0, NULL, 2},
    {"published_too_soon", "another block of the launch writes with nothing to order the two", NULL, 64, 0, NULL, 2},
    {"second_waits_in_part", "kernel first_of_two, launched before", NULL, 64, 0, "first_of_two"},
    {"arrival_relaxed", "with nothing to order the two", NULL, 64, 0, NULL, 2, true},
    {"arrival_of_one_thread", "with nothing to order the two", NULL, 64, 0, NULL, 2, true},
    {"arrival_too_soon", "with nothing to order the two", "which nothing wrote", 64, 0, NULL, 2, true},
    {"arrival_asked_plainly", "changes atomically with nothing to order the two", "with nothing to order the two", 64, 0, NULL,
     2, true},
    {"arrival_missing", "asks again and again for what nobody is left to write", NULL, 64, 0, NULL, 2, true},
    {"arrival_of_too_few", "with nothing to order the two", "which nothing wrote", 64, 0, NULL, 2, true},
    {"arrival_in_cluster", "meets a cluster in a cooperative launch", NULL, 64, 0, NULL, 2, true},
};

enum { WORDS = 4096 };

static Status commit(Lab *lab, const Mistake *m) {
  static uint32_t in[WORDS];
  for (uint32_t i = 0; i < WORDS; i++) in[i] = i == WORDS - 1 ? 0 : lab_word(i);
  void *from, *to;
  CudaTensorMap map;
  TRY(lab_memory(lab, in, sizeof in, &from));
  TRY(lab_memory(lab, NULL, sizeof in, &to));
  uint64_t dims[] = {64, 64}, strides[] = {256};
  uint32_t box[] = {32, 8}, steps[] = {1, 1};
  int zero = 0;
  CUDA_TRY(lab->context, cuTensorMapEncodeTiled(&map, CUDA_TENSOR_U32, 2, from, dims, strides, box, steps, 0, CUDA_SWIZZLE_128,
                                                CUDA_L2_NONE, 0));
  void **arguments = LAB_ARGUMENTS(&map, &from, &to, &zero);
  Shape shape = {.grid = m->grid      ? m->grid
                         : m->cluster ? m->cluster
                                      : 1,
                 .block = m->block,
                 .cluster = m->cluster,
                 .cooperative = m->cooperative,
                 .shared = 17 << 10};  // for those that multiply
  if (m->before) {
    TRY(lab_launch(lab, "findings.cuh", m->before, shape, arguments));
    shape.overlaps = true;
  }
  TRY(lab_launch(lab, "findings.cuh", m->kernel, shape, arguments));
  return lab_finish(lab);
}

Status findings_run(Lab *lab, const char *filter, int *passed, int *total) {
  if (strncmp(lab->context->info.name, "emulated", 8)) FAIL(ERROR_UNSUPPORTED, "only an emulated device finds mistakes");
  if (lab->sm != 90) FAIL(ERROR_UNSUPPORTED, "the mistakes are made with instructions of sm_90");
  for (size_t i = 0; i < COUNT_OF(mistakes); i++) {
    const Mistake *m = &mistakes[i];
    if (!strstr(m->kernel, filter)) continue;
    Status status = commit(lab, m);
    bool found =
        status && (strstr(status_message(status), m->finding) || (m->instead && strstr(status_message(status), m->instead)));
    printf("%-6s %s%s%s\n", found ? "ok" : "WRONG", m->kernel, found ? "" : ": ",
           found    ? ""
           : status ? status_message(status)
                    : "nothing was found");
    fflush(stdout);
    status_free(status);
    *passed += found;
    ++*total;
    lab_close(lab);  // a finding is the end of a context
    TRY(lab_open(lab, 0));
  }
  return OK;
}
