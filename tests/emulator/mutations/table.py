"""The defects that mutate.py makes. A row: name, kind, file, the text replaced and what takes its place, then the operator cases that a
person who broke it would run, the tactic (empty: the preferred one and all others), and the architecture to pose as. nth: which
occurrence, where there are several. known: why it is not caught, for those that are not."""
import collections

Mutation = collections.namedtuple("Mutation", "name kind file old new filter tactic sm nth several known")
MUTATIONS = []


def rows(file, filter, tactic, sm):
    """Gives a function that adds rows of one file, with these as what they have in common."""
    def add(name, kind, old, new, filter=filter, tactic=tactic, sm=sm, nth=0, known=""):
        MUTATIONS.append(Mutation(name, kind, file, old, new, filter, tactic, sm, nth or 1, nth > 0, known))
    return add


# --- Products on tensor cores. long_k and warpgroups have more pieces of k than stages.
mma = rows("kernels/common/mma_tile.cuh", "matmul/warpgroups_f16", "mma_matmul", 80)
mma("mma-first-barrier", "missing barrier", "    copy_wait<STAGES - 2>();\n    __syncthreads();\n    u32 reading", "    copy_wait<STAGES - 2>();\n    u32 reading")
mma("mma-piece-barrier", "missing barrier", "          __syncthreads();\n", "")
mma("mma-reads-ahead", "reading past the last piece", "        if (step < STEPS - 1 || piece + 1 < pieces) load_fragments", "        load_fragments", filter="matmul/batch_f16")
mma("mma-corner-syncwarp", "missing warp barrier", "    __syncwarp();\n#pragma unroll 2", "#pragma unroll 2")
mma("mma-corner-reuse", "missing warp barrier", "    }\n    __syncwarp();\n  }\n};", "    }\n  }\n};")
mma("mma-wait-few", "wait for too few copies", "          copy_wait<STAGES - 2>();", "          copy_wait<STAGES - 1>();")
mma("mma-first-wait", "missing wait", "    copy_wait<STAGES - 2>();\n    __syncthreads();\n    u32", "    __syncthreads();\n    u32")
mma("mma-no-commit", "missing commit", "          copy_commit();\n          writing", "          writing")
mma("mma-late-fetch", "wait for too few copies", "if (step == 0) {", "if (step == STEPS - 1) {")
mma("mma-stage", "wrong stage", "writing = base + (STAGES - 1) * STAGE_BYTES;", "writing = base + (STAGES - 2) * STAGE_BYTES;")
mma("mma-ring-end", "wrong stage", "const u32 last = base + (STAGES - 1) * STAGE_BYTES;", "const u32 last = base + STAGES * STAGE_BYTES;")
mma("mma-ring-start", "wrong stage", "reading == last ? base : reading", "reading == last ? base + STAGE_BYTES : reading")
mma("mma-fragments", "wrong phase", "load_fragments((step + 1) % 2, reading", "load_fragments(step % 2, reading")
mma("mma-next-step", "wrong phase", "reading, (step + 1) % STEPS);", "reading, step);")
mma("mma-swizzle", "swizzle on one side", "to + Shared::offset(line + pass * STEP, chunk)", "to + (u32)((line + pass * STEP) * Shared::CHUNKS + chunk) * 16")
mma("mma-swizzle-shift", "wrong swizzle", "chunk ^ ((line >> 1) & 3)", "chunk ^ ((line >> 1) & 7)", filter="matmul/transposed_a_f16")
mma("mma-lanes-a", "wrong lane mapping", "offset(row + lane % 16, step * 2 + lane / 16)", "offset(row + lane % 8 + lane / 16 * 8, step * 2 + lane / 8 % 2)")
mma("mma-lanes-b", "wrong lane mapping", "offset(step * 16 + lane % 16, row / 8 + lane / 16)", "offset(step * 16 + lane % 8 + lane / 16 * 8, row / 8 + lane / 8 % 2)")
mma("mma-lanes-store", "wrong lane mapping", "corner + lane / 4 * PITCH + j * 8 + lane % 4 * 2", "corner + lane % 8 * PITCH + j * 8 + lane / 8 * 2")
mma("mma-columns", "missing predicate (columns)", "if (m < ROWS && n < COLUMNS)", "if (m < ROWS)")
mma("mma-rows", "missing predicate (rows)", "if (m < ROWS && n < COLUMNS)", "if (n < COLUMNS)")
mma("mma-load-rows", "missing predicate (rows)", "if (ROW_COUNT % ROWS && row + pass * STEP >= ROW_COUNT) valid = 0;", "")
mma("mma-load-tail", "off by one at an edge", "if (!WHOLE_K && k + pass * STEP >= k_end)", "if (!WHOLE_K && k + pass * STEP > k_end)", filter="matmul/tails_f16")
mma("mma-k-tail", "missing predicate (k)", "valid = min(max((k_end - k) * SIZE, 0), 16);", "valid = 16;", filter="matmul/tails_f16")
mma("mma-sums", "uninitialised accumulator", "sums[i][j][c] = 0;", ";")
mma("mma-pitch", "misaligned vector", "PITCH = WN + 8,", "PITCH = WN + 7,")
mma("mma-step-bytes", "wrong stride", "from += (K_FAST ? (i64)BK : BK * OUTER) * SIZE;", "from += (K_FAST ? (i64)BK : BK * OUTER);")
mma("mma-first-fragments", "uninitialised buffer", "    if (pieces > 0) load_fragments(0, reading, 0);\n", "")
mma("mma-tile-order", "wrong offset", "tile_n = (int)(within / height);", "tile_n = (int)(within % height);")
ptx = rows("kernels/common/ptx.cuh", "matmul/warpgroups_f16", "mma_matmul", 75)
ptx("turing-halves", "wrong lane mapping", "emulated_mma('h', 8, sums, a + 2 * half, b + half)", "emulated_mma('h', 8, sums, a + half, b + half)")
ptx("turing-zeros", "uninitialised buffer", "  for (int i = 0; i < BYTES / 2; i++) word.halves[i] = 0;\n", "  ;\n", filter="matmul/warpgroups_f16")

# --- Hopper's warpgroups.
wgmma = rows("kernels/common/wgmma_tile.cuh", "matmul/warpgroups_f16", "mma_matmul", 90)
wgmma("wgmma-proxy-fence", "missing proxy fence", "      fence_shared_for_async();\n", "")
wgmma("wgmma-barrier", "missing barrier", "      __syncthreads();\n      const u64", "      const u64")
wgmma("wgmma-store-barrier", "early buffer reuse", "    copy_wait<0>();\n    __syncthreads();", "    copy_wait<0>();")
wgmma("wgmma-fence", "missing wgmma_fence", "      wgmma_fence();\n", "")
wgmma("wgmma-commit", "missing wgmma_commit", "      wgmma_commit();\n", "")
wgmma("wgmma-wait-few", "wait for too few products", "      wgmma_wait<1>();", "      wgmma_wait<2>();")
wgmma("wgmma-last-wait", "wait for too few products", "    wgmma_wait<0>();", "    wgmma_wait<1>();")
wgmma("wgmma-copy-few", "wait for too few copies", "copy_wait<STAGES - 3>();", "copy_wait<STAGES - 2>();")
wgmma("wgmma-copy-commit", "missing commit", "      copy_commit();\n      wgmma_wait", "      wgmma_wait")
wgmma("wgmma-stage", "wrong stage", "writing = base + (STAGES - 2) * STAGE_BYTES;", "writing = base + (STAGES - 1) * STAGE_BYTES;")
wgmma("wgmma-ring", "early buffer reuse", "stage < STAGES - 2; stage++", "stage < STAGES - 1; stage++")
wgmma("wgmma-group-stride", "wrong descriptor", "wgmma_descriptor(from, 1024, BLOCK)", "wgmma_descriptor(from, 512, BLOCK)")
wgmma("wgmma-block-stride", "wrong descriptor", "wgmma_descriptor(from, 1024, BLOCK)", "wgmma_descriptor(from, 1024, BLOCK / 2)")
wgmma("wgmma-k-step", "wrong descriptor", "STEP = K_FAST ? 32 : 16 * 128;", "STEP = K_FAST ? 64 : 16 * 128;")
wgmma("wgmma-part", "wrong descriptor", "reading + group * (PARTS * SharedA::BLOCK)", "reading + group * (PARTS * SharedA::BLOCK / 2)")
wgmma("wgmma-swizzle", "swizzle on one side", "((chunk % 8) ^ (line % 8)) * 16", "((chunk % 8) ^ (line % 4)) * 16")
wgmma("wgmma-alignment", "wrong descriptor", "base = (unaligned + 1023) & ~1023u;", "base = (unaligned + 127) & ~127u;")
wgmma("wgmma-sums", "uninitialised accumulator", "sums[part][i] = 0;", ";")
wgmma("wgmma-corner", "wrong offset", "+ warp * FragmentStore<BN>::FLOATS", "+ warp % 4 * FragmentStore<BN>::FLOATS")
wgmma("wgmma-rows", "wrong lane mapping", "part * 64 + warp % 4 * 16", "part * 64 + warp % 4 * 8")
wgmma("wgmma-branch", "barrier in a branch", "      __syncthreads();\n      const u64", "      if (group == 0) __syncthreads();\n      const u64")
MUTATIONS.append(Mutation("wgmma-descriptor", "wrong descriptor", "kernels/common/wgmma.cuh", "(u64)(group >> 4) << 32", "(u64)(group >> 4) << 30",
                          "matmul/warpgroups_f16", "mma_matmul", 90, 1, False, ""))

# --- Convolutions.
image = rows("kernels/conv/mma_conv.cuh", "conv/channels_last_3x3_f16", "mma_conv", 80)
image("conv-k", "wrong offset", "    k += P::BK;\n", "")
image("conv-padding", "missing predicate (rows)", "inside ? COPY : 0", "COPY")
image("conv-narrow", "wrong offset", "k + part * (COPY / SIZE);", "k + part;", filter="conv/channels_last_narrow_f16")
image("conv-pass", "wrong offset", "Window<P, int>(m0 + line + pass * STEP)", "Window<P, int>(m0 + line)")
image("conv-elements", "swizzle on one side", "store_shared<16>(to + Shared::offset(line + pass * STEP, chunk)", "store_shared<16>(to + Shared::offset(line + pass * STEP, chunk ^ 1)",
      filter="conv/filters_last_f16")
window = rows("kernels/conv/window.cuh", "conv/odd_channels_f32", "simt_conv", 80)
window("window-edge", "off by one at an edge", "(u32)(first + tap * dilation) < (u32)size)", "(u32)(first + tap * dilation) <= (u32)size)")
window("window-rows", "missing predicate (rows)", "        if (row >= P::M) inside = 0;\n", "")
window("window-holes", "missing predicate (columns)", " && iw % P::STRIDE_W == 0;", ";", filter="conv_transpose/2x_f32", tactic="simt_conv")
window("window-tap", "wrong stride", "h = (int)(tap / (u32)P::KERNEL_W % (u32)P::KERNEL_H)", "h = (int)(tap / (u32)P::KERNEL_H % (u32)P::KERNEL_H)", filter="conv/whole_input")
simt = rows("kernels/matmul/simt_matmul.cuh", "matmul/tails_f32", "simt_matmul", 80)
simt("simt-first-barrier", "missing barrier", "    __syncthreads();\n  }\n  for (int k0", "  }\n  for (int k0")
simt("simt-piece-barrier", "missing barrier", "      __syncthreads();\n      current ^= 1;", "      current ^= 1;")
simt("simt-phase", "wrong phase", "      current ^= 1;\n", "")
simt("simt-one-buffer", "early buffer reuse", "operand_b.store(shared_b[current ^ 1]);", "operand_b.store(shared_b[current]);")
simt("simt-sums", "uninitialised accumulator", "sums[i][j] = Acc();", ";")
simt("simt-k-tail", "missing predicate (k)", "row < ROW_COUNT && k < k_end", "row < ROW_COUNT")
simt("simt-rows", "missing predicate (rows)", "    if (m < P::M) {\n", "    {\n")
simt("simt-pitch", "misaligned vector", "PITCH = ROWS + 16 / (int)sizeof(Acc);\n  static constexpr int VECTORS", "PITCH = ROWS + 1;\n  static constexpr int VECTORS")
filters = rows("kernels/conv/simt_conv.cuh", "conv/odd_channels_f32", "simt_conv", 80)
filters("simt-filters", "missing predicate (rows)", "row < P::N && k < k_end && index < ROWS * BK", "k < k_end && index < ROWS * BK", filter="conv_transpose/output_padding_f32",
        tactic="simt_conv")
filters("simt-window", "wrong offset", "windows[K_FAST ? pass : 0]", "windows[0]", filter="conv/channels_last_3x3_f16")
depthwise = rows("kernels/conv/depthwise_conv.cuh", "conv/depthwise_f32", "depthwise_conv", 80)
depthwise("depthwise-threads", "missing predicate (threads)", "  if (thread >= P::THREADS) return;\n", "")
depthwise("depthwise-strip", "missing predicate (columns)", "if (ow0 + t < P::OUT_W) ", "", filter="conv/channels_last_depthwise_f16")
depthwise("depthwise-left", "missing predicate (columns)", "if ((u32)column < (u32)P::IN_W)", "if (column < P::IN_W)")
depthwise("depthwise-stride", "wrong stride", "first = ow0 * P::STRIDE_W - P::PAD_W;", "first = ow0 - P::PAD_W;", filter="conv/depthwise_strided_f16")
output = rows("kernels/common/output.cuh", "matmul/tails_f32", "simt_matmul", 80)
output("output-columns", "missing predicate (columns)", "if (column + i < columns) ", "")
output("partial-split", "wrong stride", "((long long)split * BATCH + batch)", "((long long)batch)", filter="matmul/dot_f32")
split = rows("kernels/common/split_reduce.cuh", "matmul/long_k_f32", "simt_matmul", 80)
split("split-first", "off by one at an edge", "int split = 1; split < SPLITS", "int split = 0; split < SPLITS")
split("split-last", "off by one at an edge", "int split = 1; split < SPLITS", "int split = 1; split <= SPLITS")
split("split-end", "missing predicate (threads)", "  if (index >= SIZE) return;\n", "", filter="matmul/dot_f32")
vector = rows("kernels/common/vector.cuh", "matmul/residual_sliced", "", 80)
vector("vector-alignment", "misaligned vector", "while (bytes % width || alignment % width)", "while (bytes % width)")

from table_rest import add_rest  # noqa: E402

add_rest(rows)
