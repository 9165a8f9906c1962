#!/usr/bin/env bash
# check.sh BUILD: the commands as a user meets them: what they print and write, that files go round, and that whatever is wrong gives one
# line and the right exit code (1: it did not work, 2: it was asked for wrongly).
set -euo pipefail
ingot=$(realpath "$1/ingot")
digits=$(realpath "$(dirname "${BASH_SOURCE[0]}")/../../examples/digits")
dev=$(realpath "$(dirname "${BASH_SOURCE[0]}")/../../dev")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
here=$(realpath "$(dirname "${BASH_SOURCE[0]}")")
cd "$work"
export NO_COLOR=1
count=0

fail() { echo "cli check: $*" >&2; exit 1; }
# says CODE TEXT ARGUMENTS...: exit code, and a text that must be in what is printed.
says() {
  local code=$1 text=$2 got=0
  shift 2
  "$ingot" "$@" >out 2>&1 || got=$?
  [ "$got" -eq "$code" ] || fail "ingot $*: exit code $got, not $code: $(head -3 out)"
  [ -z "$text" ] || grep -qF -- "$text" out || fail "ingot $*: '$text' is not in: $(head -5 out)"
  if [ "$code" -eq 1 ] && [ "$(wc -l <out)" -gt 1 ]; then fail "ingot $*: more than one line: $(head -5 out)"; fi
  count=$((count + 1))
}
# plan PATTERNS... -- COMMAND...: the plan that it prints has lines like each pattern, names its buffers, and is the same the next time.
plan() {
  local patterns=()
  while [ "$1" != -- ]; do patterns+=("$1"); shift; done
  shift
  "$@" --plan >plan.a 2>&1 || fail "$*: $(head -3 plan.a)"
  "$@" --plan >plan.b
  cmp -s plan.a plan.b || fail "$* --plan prints another plan the second time"
  for pattern in "${patterns[@]}"; do grep -qE -- "$pattern" plan.a || fail "'$pattern' is not in the plan: $(head -40 plan.a)"; done
  for name in $(grep -E '^  (reads|writes|workspace) ' plan.a | grep -oE '%[^+, )]+' | sort -u); do
    grep -qE "^buffer $name: (input|output|constant|arena) .* bytes, steps [0-9]+ to [0-9]+$" plan.a || fail "no buffer $name in the plan"
  done
  ! grep -qE '0x[0-9a-f]{6}' plan.a || fail "an address in the plan"
  count=$((count + 1))
}
json() { "$ingot" "$@" --json | python3 -c "import json, sys; json.load(sys.stdin)" || fail "ingot $* --json is not JSON"; count=$((count + 1)); }
cpu="--device cpu"

# help
says 0 "usage: ingot COMMAND" --help
says 0 "ingot 0." --version
says 2 "usage: ingot COMMAND"
for command in build run bench inspect passes report tune verify; do
  says 0 "ingot $command" $command --help
  says 2 "usage: ingot $command" $command
  says 2 "no option '--frobnicate'" $command model.onnx --frobnicate
  says 1 "No such file" $command /nowhere/model.onnx
done
says 2 "no command 'frobnicate'" frobnicate

# limits, and Ctrl-C in the middle of long work
says 1 "limit of 1048576 bytes" run "$digits/digits.onnx" $cpu --shapes image:40000x1x8x8 --memory-limit 1
says 1 "limit of 1e-09 s" build "$digits/digits.onnx" $cpu --time-limit 1e-9 -o limited.ingot
says 2 "MiB" run "$digits/digits.onnx" $cpu --memory-limit -5
env --default-signal=INT "$ingot" bench "$digits/digits.onnx" $cpu --seconds 1000 >out 2>&1 &
sleep 1
kill -INT $!
got=0
wait $! || got=$?
[ $got -eq 130 ] || fail "bench: exit code $got after Ctrl-C, not 130: $(head -3 out)"
count=$((count + 1))

# build, and what an engine is good for
says 0 "engine   digits.ingot" build "$digits/digits.onnx" $cpu
[ -s digits.ingot ] || fail "no engine was written"
says 0 "" build "$digits/digits.onnx" $cpu --quiet -o again.ingot
[ -s out ] && fail "--quiet prints: $(cat out)"
cmp digits.ingot again.ingot || fail "the same build gives other bytes"
says 1 "is an engine already" build digits.ingot
says 1 "/nowhere" build "$digits/digits.onnx" $cpu -o /nowhere/x.ingot
json build "$digits/digits.onnx" $cpu -o again.ingot
says 0 "conv" inspect digits.ingot $cpu
says 0 "memory" inspect digits.ingot $cpu --memory
says 0 "predicted" inspect digits.ingot $cpu --sites
says 0 "graph digits" inspect "$digits/digits.onnx" $cpu --before
says 0 "--plan" inspect --help
# what each rule is worth
says 0 "against itself it differs by" passes "$digits/digits.onnx" $cpu --measure 2
grep -qE "^fuse_epilogue +5 +[+-][0-9.]+ +[+-][0-9.]+% +[0-9.]+ +14 " out || fail "without fuse_epilogue there are 14 steps: $(cat out)"
says 0 "no time was left for: fuse_elementwise" passes "$digits/digits.onnx" $cpu --measure 1e-3
says 2 "for how many seconds" passes "$digits/digits.onnx" $cpu --measure 0
says 2 "--measure" passes "$digits/digits.onnx" $cpu --measure 1 --log
says 2 "--tuning" passes "$digits/digits.onnx" $cpu --measure 1 --tune 1
says 2 "need a model" passes digits.ingot $cpu --measure 1
for seconds in 1 2; do "$ingot" passes "$digits/digits.onnx" $cpu --measure $seconds --json >measured.$seconds; done
"$dev" emulate 90 "$ingot" passes "$here/../regress/bn_f32/model.onnx" --device cuda --measure 4 --json >measured.gpu || fail "passes --measure on the emulated GPU"
python3 - <<'PYTHON' || fail "what --measure says: $(head -c 600 measured.1)"
import json
one, two, gpu = (json.load(open("measured." + name)) for name in ("1", "2", "gpu"))
order = lambda result: [each["without"] for each in result["without"]] + result["no_time_for"]
assert order(one) == order(two) and len(set(order(one))) == len(order(one)) > 5
assert [each["applied"] for each in two["without"]] == sorted((each["applied"] for each in two["without"]), reverse=True)
assert [each["turns"] >= 5 for each in one["noise"]] == [True] * 2 and one["noise_ms"] > 0 and one["ms"] > 0
for each in two["without"]:
    assert each["same_plan"] or (each["turns"] >= 5 and isinstance(each["within_noise"], bool) and each["steps"] > 0), each
assert gpu["without"][0]["without"] in ("fold_scale", "fuse_epilogue", "inline_scalars") and order(gpu)[-1] == "the CUDA graph" and "the CUDA graph" not in order(one)
PYTHON
# one page of all that, which needs nothing else; a model is a stranger's, and so are its names
python3 - <<'PYTHON' || fail "no model with hostile names"
import onnx
from onnx import helper, TensorProto
evil = "</script><img src=x onerror=alert(1)>\"'&<!--"
nodes = [helper.make_node("Conv", ["x" + evil, "w"], ["c" + evil], name=evil), helper.make_node("Relu", ["c" + evil], ["y" + evil], name="r" + evil)]
weight = helper.make_tensor("w", TensorProto.FLOAT, [4, 3, 3, 3], [0.1] * 108)
given = [helper.make_tensor_value_info("x" + evil, TensorProto.FLOAT, [1, 3, 8, 8])]
made = [helper.make_tensor_value_info("y" + evil, TensorProto.FLOAT, None)]
def save(name, *graph): onnx.save(helper.make_model(helper.make_graph(*graph), ir_version=8, opset_imports=[helper.make_opsetid("", 17)]), name)
save("evil.onnx", nodes, "g", given, made, [weight])
# branches that a GPU runs side by side
sizes = [1, 3, 5]
weights = [helper.make_tensor(f"w{size}", TensorProto.FLOAT, [16, 16, size, size], [size / 100] * (256 * size * size)) for size in sizes]
nodes = [helper.make_node("Conv", ["x", f"w{size}"], [f"c{size}"], pads=[size // 2] * 4, name=f"conv{size}") for size in sizes]
nodes.append(helper.make_node("Concat", [f"c{size}" for size in sizes], ["y"], axis=1, name="join"))
given = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 16, 4, 4])]
save("branches.onnx", nodes, "g", given, [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)], weights)
PYTHON
"$ingot" build "$digits/digits.onnx" $cpu --quiet -o for_report.ingot
says 0 "digits.html: " report "$digits/digits.onnx" $cpu -o digits.html --trace digits.json
says 0 "evil.html: " report evil.onnx $cpu --trace evil.json
says 0 "for_report.html: " report for_report.ingot $cpu
says 1 "/nowhere" report "$digits/digits.onnx" $cpu -o /nowhere/x.html
"$dev" emulate 90 "$ingot" report "$work/branches.onnx" --device cuda --fp16 --quiet -o "$work/branches.html" --trace "$work/branches.json" || fail "report of branches"
json report "$digits/digits.onnx" $cpu -o digits.html
python3 - <<'PYTHON' || fail "a report is not what it should be"
import html.parser, json
class Page(html.parser.HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.facts, self.text = [], [], "", ""
        self.feed(text)
        self.close()
    def handle_starttag(self, tag, attributes):
        assert not any(name.startswith("on") for name, value in attributes), (tag, attributes)
        assert not any(name in ("src", "href") and not value.startswith("#") for name, value in attributes), (tag, attributes)
        self.tags.append(tag)
        if tag not in ("meta", "rect", "path", "br", "img"): self.open.append((tag, dict(attributes)))
    def handle_startendtag(self, tag, attributes): self.tags.append(tag)
    def handle_endtag(self, tag):
        if tag in ("rect", "path"): return
        assert self.open and self.open.pop()[0] == tag, tag
    def handle_data(self, data):
        if self.open and self.open[-1][1].get("id") == "facts": self.facts += data
        else: self.text += data
for name in ("digits", "evil", "for_report", "branches"):
    page = Page(open(name + ".html", encoding="utf-8").read())
    assert not page.open and page.tags.count("script") == 2 and "img" not in page.tags, name
    facts = json.loads(page.facts)
    assert facts["steps"] and all(step["ms"] >= 0 and step["bytes"] > 0 for step in facts["steps"]), name
    assert page.tags.count("tr") > 2 * len(facts["steps"]) and "svg" in page.tags, name
evil = json.loads(Page(open("evil.html", encoding="utf-8").read()).facts)
assert any(source[0].startswith("</script><img") for step in evil["steps"] for source in step["from"])
assert "onerror=alert(1)>" in Page(open("evil.html", encoding="utf-8").read()).text
assert "right.conv" in Page(open("digits.html", encoding="utf-8").read()).text
for name in ("digits", "evil", "branches"):
    events = [event for event in json.load(open(name + ".json"))["traceEvents"] if event["ph"] == "X"]
    assert events and all(a["ts"] + a["dur"] <= b["ts"] + 1e-6 for a in events for b in events if a["tid"] == b["tid"] and a["args"]["step"] < b["args"]["step"]), name
assert len({event["tid"] for event in json.load(open("branches.json"))["traceEvents"] if event["ph"] == "X"}) > 1
PYTHON
# why a step is computed as it is
says 0 "chosen by order: the first that can be had" inspect "$digits/digits.onnx" $cpu --explain right.conv
grep -qE "^\* (onednn|gemm)_conv " out && grep -q "^  reference .*general" out || fail "inspect --explain: $(cat out)"
says 0 "does not take it: it computes" inspect digits.ingot $cpu --explain 0
says 1 "nosuch" inspect "$digits/digits.onnx" $cpu --explain nosuch
says 1 "there are " inspect "$digits/digits.onnx" $cpu --explain 99
says 2 "--explain" inspect "$digits/digits.onnx" $cpu --explain 0 --sites
json inspect "$digits/digits.onnx" $cpu --explain stem.conv
hash="[0-9a-f]{32}"
plan "^plan for the CPU: .* steps" "^buffer %image: input 0, 64 bytes" "^buffer %probabilities: output 0, 40 bytes" \
  "^buffer %stem.weight.*: constant %stem.weight.* order 0,1,2,3, 864 bytes" "const %stem.weight.* = &$hash" "^buffer %workspace: arena at [0-9]+, [0-9]+ bytes" \
  "^step [0-9]+: %stem.relu = conv by (onednn|gemm)_conv from .*stem.conv \(Conv\)" "^  reads %image" "^  writes %stem.relu" "^  workspace %workspace" "^  host (onednn|gemm)_conv$" \
  -- "$ingot" inspect "$digits/digits.onnx" $cpu
json inspect digits.ingot $cpu --plan
# on the emulated GPU: kernels of other texts have other hashes, packed constants their recipes'
emulated() { "$dev" emulate 90 "$ingot" "$@"; }
plan "^plan for sm_90" "^step [0-9]+: %stem.relu = conv by simt_conv \"8x128x16 .*\" config [0-9,]+ from .*stem.conv \(Conv\)" \
  "^  kernel simt_conv_kernel $hash grid [0-9 ]+ block 128 1 1 shared [0-9]+ \(in 0, .*out 0" -- emulated inspect "$digits/digits.onnx" --device cuda
[ "$(grep -oE "kernel simt_conv_kernel $hash" plan.a | sort -u | wc -l)" -gt 2 ] || fail "kernels have one hash"
says 0 "probabilities" run digits.ingot $cpu --check-plans
# of a model with few ways, and time enough for all of them on any machine
emulated inspect "$here/../regress/epilogue_one_point/model.onnx" --device cuda --fp16 --tune 600 --explain y --json >explained.json || fail "inspect --tune --explain"
python3 - <<'PYTHON' || fail "what tuning tried is not in the explanation: $(head -c 2000 explained.json)"
import json
site, = (site for site in json.load(open("explained.json"))["sites"] if site["op"] == "conv")
ways = [way for each in site["implementations"] for way in each["ways"]]
tried = [way for way in ways if "measured_ms" in way]
assert len(tried) == len(ways) > 1 and all("agrees" in way for way in tried)
assert sum(way["chosen"] for way in ways) == 1 and site["chosen_by"] in ("measurement", "the whole plan", "order")
assert any("cuDNN is not here" == each["refusal"] for each in site["implementations"])
PYTHON
# a database: filled, gone on with, gone by; what was measured with other kernels is stale, and so is an earlier version's file refused
product=$here/../emulator/faults/product.onnx
tuned() { emulated "$@" --device cuda --database "$work/product.tuning" --json >tuned.json || fail "$*"; }
tuned tune "$product" --seconds 600
cp product.tuning whole.tuning
tuned tune "$product" --seconds 600
cmp product.tuning whole.tuning || fail "tuning on where nothing is left changes the database"
python3 - <<'PYTHON' || fail "tuning again measured again: $(cat tuned.json)"
import json
tuned = json.load(open("tuned.json"))
assert tuned["known"] == tuned["entries"] > 2 and tuned["measured"] == tuned["left"] == tuned["unseen_sites"] == tuned["stale"] == 0, tuned
PYTHON
for name in far again; do
  emulated build "$product" --device cuda --tuning "$work/product.tuning" --quiet -o "$work/$name.ingot" >out 2>&1 || fail "build --tuning: $(cat out)"
  [ -s out ] && fail "build --tuning says: $(cat out)"
done
cmp far.ingot again.ingot || fail "two builds by one database differ"
cmp product.tuning whole.tuning || fail "a build without measuring changes the database"
sed -E -i 's/\tkernels [0-9a-f]{4}/\tkernels beef/' product.tuning
emulated build "$product" --device cuda --tuning "$work/product.tuning" --quiet -o "$work/stale.ingot"
emulated build "$product" --device cuda --tuning "$work/product.tuning" -o "$work/stale.ingot" >out 2>&1
grep -q "of 1 sites, were measured with other kernels or libraries than are here" out || fail "stale entries are not told of: $(cat out)"
emulated build "$product" --device cuda --quiet -o "$work/untuned.ingot"
python3 - <<'PYTHON' || fail "stale entries are taken"
read = lambda name: open(name, "rb").read()
assert b"\tkernels beef" not in read("stale.ingot") and b"\tkernels " in read("far.ingot")
PYTHON
tuned tune "$product" --seconds 600
grep -q '"known":0,"left":0' tuned.json || fail "stale entries count as measured: $(cat tuned.json)"
printf 'sm_90\tsite\tmma_matmul\tway\t1.0\n' >old.tuning
emulated tune "$product" --device cuda --database "$work/old.tuning" >out 2>&1 && fail "a database of an earlier version is taken"
grep -q "earlier version of Ingot" out || fail "a database of an earlier version: $(cat out)"
says 1 "is an engine already" tune digits.ingot
says 1 "built for the CPU" tune "$digits/digits.onnx" $cpu
emulated inspect "$digits/digits.onnx" --device cuda --plan --kernels "$work/sources" >plan.a || fail "inspect --plan --kernels"
for kernel in $(grep -oE "^  kernel [a-z_]+ $hash" plan.a | grep -oE "$hash" | sort -u); do
  grep -q "__global__" "sources/$kernel.cu" || fail "no source of kernel $kernel"
done
says 2 "--kernels" inspect "$digits/digits.onnx" $cpu --kernels sources
plan "^  packed 0: [0-9]+ bytes, recipe $hash of &$hash, graph recipe" "^  kernel .*packed 0" -- emulated inspect "$digits/digits.onnx" --device cuda --fp16
says 1 "is an engine" inspect digits.ingot $cpu --before
# the plan that an engine holds, where the model leaves nothing open
static=$here/../regress/bn_f32/model.onnx
says 0 "" build "$static" $cpu --threads 1 --quiet -o static.ingot
says 0 "" build "$static" $cpu --threads 1 --quiet -o again.ingot
cmp static.ingot again.ingot || fail "the same build with a plan gives other bytes"
says 0 "plan version 4, CPU" inspect static.ingot $cpu --passes
json inspect static.ingot $cpu --passes
says 0 "running by the engine's plan" run static.ingot $cpu --threads 1 --verbose
says 0 "made anew: it was made for" run static.ingot $cpu --threads 2 --verbose
# plans and kernels for GPUs that are not here, compiled here by the emulator's stand-in for NVRTC
for name in far again; do
  "$dev" emulate 90 "$ingot" build "$static" --for sm_80,rtx4090,sm_90a --quiet -o "$work/$name.ingot" || fail "build --for"
done
cmp far.ingot again.ingot || fail "the same build for several GPUs gives other bytes"
says 0 "plan version 4, sm_89 (128 multiprocessors)" inspect far.ingot $cpu --passes
! grep -q "not in the engine" out || fail "kernels are missing: $(cat out)"
"$dev" emulate 90 "$ingot" run "$work/far.ingot" --device cuda --verbose >out 2>&1 || fail "run far.ingot: $(cat out)"
grep -q "running by the engine's plan" out || fail "the plan that was built for sm_90 is not used: $(cat out)"
says 1 "sm_90a, H100, H200" build "$static" --for H300
says 1 "is open" build "$digits/digits.onnx" --for sm_80
json inspect "$digits/digits.onnx" $cpu --before --after --passes --sites --memory
says 0 "inference" bench digits.ingot $cpu --seconds 0.05
json bench digits.ingot $cpu --seconds 0.05 --profile
says 0 "sites agree" verify digits.ingot $cpu
says 0 "1 of 1 outputs agree with the unoptimised model" verify "$digits/digits.onnx" $cpu
says 0 "1 of 1 outputs agree with the unoptimised model" verify digits.ingot $cpu --against "$digits/digits.onnx"
says 1 "judges itself" verify "$digits/digits.onnx" $cpu --against digits.ingot
json verify digits.ingot $cpu
says 0 "sites and memory need sizes" inspect "$digits/digits.onnx" $cpu
says 0 "[... 5184]" inspect digits.ingot $cpu --after

# run, and files going round
says 0 "probabilities" run digits.ingot $cpu --input "$digits/test_images.npy" --top 2
says 0 "row 1" run digits.ingot $cpu --shapes image:2x1x8x8 --top 1 --softmax
json run digits.ingot $cpu --top 3
"$ingot" run digits.ingot $cpu --shapes image:3x1x8x8 --seed 5 --quiet -o golden >/dev/null
says 0 "ok" verify digits.ingot $cpu --data golden
json verify digits.ingot $cpu --data golden
for out in a.npy a.npz a.pb; do
  "$ingot" run digits.ingot $cpu --data golden --quiet -o $out >/dev/null
  [ -s $out ] || fail "$out was not written"
done
if python3 -c 'import numpy' 2>/dev/null; then
  python3 - <<'PYTHON' || fail "NumPy does not read what was written"
import numpy as np
a, z = np.load("a.npy"), np.load("a.npz")["probabilities"]
assert a.shape == (3, 10) and a.dtype == np.float32 and (a == z).all() and np.allclose(a.sum(1), 1)
x = np.random.default_rng(0).integers(0, 255, (4, 1, 8, 8)).astype(np.uint8)
np.save("plain.npy", x)
np.save("fortran.npy", np.asfortranarray(x))
np.savez("stored.npz", image=x, other=x[0])
np.savez_compressed("deflated.npz", image=x, other=x[0])
PYTHON
  "$ingot" run digits.ingot $cpu --input plain.npy --quiet -o plain.out.npy >/dev/null
  for input in fortran.npy stored.npz deflated.npz image=deflated.npz deflated.npz:image; do
    "$ingot" run digits.ingot $cpu --input $input --quiet -o again.npy >/dev/null
    cmp -s plain.out.npy again.npy || fail "--input $input gives another result than plain.npy"
  done
  says 1 "holds no array 'nothing'" run digits.ingot $cpu --input deflated.npz:nothing
  head -c 300 deflated.npz >cut.npz
  says 1 "zip archive" run digits.ingot $cpu --input cut.npz
  head -c 300 plain.npy >cut.npy
  says 1 "ends after" run digits.ingot $cpu --input cut.npy
fi

# through pipes: models, engines, inputs, each read once and no longer than it may take
says 0 "probabilities" run <(cat "$digits/digits.onnx") $cpu
says 0 "probabilities" run - $cpu <"$digits/digits.onnx"
says 0 "inference" bench <(cat digits.ingot) $cpu --seconds 0.05
says 0 "1 of 1 outputs agree" verify <(cat digits.ingot) $cpu --against <(cat "$digits/digits.onnx")
says 0 "graph digits" inspect <(cat "$digits/digits.onnx") $cpu --before --after
says 2 "say --output FILE" build <(cat "$digits/digits.onnx") $cpu
says 0 "engine" build <(cat "$digits/digits.onnx") $cpu -o again.ingot
cmp digits.ingot again.ingot || fail "a model from a pipe gives another engine"
"$ingot" build - $cpu -o - <"$digits/digits.onnx" >again.ingot
cmp digits.ingot again.ingot || fail "an engine through a pipe is another"
says 2 "together with --json" build "$digits/digits.onnx" $cpu --json -o -
for input in "$digits/test_images.npy" golden/input_0.pb; do
  says 0 "probabilities" run digits.ingot $cpu --input "image=$input" --quiet
  mv out expected
  says 0 "probabilities" run digits.ingot $cpu --input <(cat "$input") --quiet
  cmp out expected || fail "$input gives another result through a pipe"
done
says 1 "the limit of 0.2 s" run <(sleep 2) $cpu --time-limit 0.2
says 1 "the limit of 0.2 s" run digits.ingot $cpu --input <(sleep 2) --time-limit 0.2
says 1 "more than the limit of 1048576 bytes" run <(yes) $cpu --memory-limit 1
says 1 "not readable as ONNX" run <(head -c 5000 "$digits/digits.onnx") $cpu
says 1 "'/dev/zero' is not a regular file" run /dev/zero $cpu

# options that could have no effect
says 1 "there is no pass or rule 'frobnicate'; there are, with their rules: " build "$digits/digits.onnx" $cpu --disable frobnicate
says 1 "built with pass 'fold_scale'" run digits.ingot $cpu --disable fold_scale
says 1 "built without fp16" run digits.ingot $cpu --fp16
says 1 "built for the CPU" build "$digits/digits.onnx" $cpu --tune 1
says 1 "built without tuning" run digits.ingot $cpu --tune 1
says 1 "about a GPU" run digits.ingot $cpu --no-graph
says 1 "about a GPU" run digits.ingot $cpu --streams 1
says 1 "5 streams are not between" run digits.ingot --streams 5
says 1 "-3 threads" run digits.ingot $cpu --threads -3
says 2 "--device takes" run digits.ingot --device cuda:first
says 2 "how many MiB" run digits.ingot $cpu --workspace -1
says 2 "build makes an engine for all inputs" build "$digits/digits.onnx" $cpu --bgr
says 0 "probabilities" run digits.ingot $cpu --untrusted
# a pass left out stays left out where a session optimises what it learned at run time, of an engine from a file too
later=$digits/../../tests/regress/cos_deferred
says 0 "" build "$later/model.onnx" $cpu --quiet -o later.ingot
says 0 "pass fuse_elementwise" run later.ingot $cpu --data "$later/test_data_set_0" --verbose
says 0 "" build "$later/model.onnx" $cpu --quiet --disable fuse_elementwise -o later.ingot
says 0 "pass fold_constants" run later.ingot $cpu --data "$later/test_data_set_0" --verbose
! grep -q "pass fuse_elementwise" out || fail "a pass that was left out ran later"

# results that are not numbers agree with nothing; made-up ids stay within the table they index; guessed sizes are named when they do not fit
if python3 -c 'import onnx' 2>/dev/null; then
  python3 - <<'PYTHON'
import numpy as np, onnx
from onnx import TensorProto as T, helper as h, numpy_helper as n
def save(name, nodes, inputs, outputs, constants=()):
    graph = h.make_graph(nodes, name, [h.make_tensor_value_info(*i) for i in inputs], [h.make_tensor_value_info(*o) for o in outputs],
                         [n.from_array(value, key) for key, value in constants])
    onnx.save(h.make_model(graph, opset_imports=[h.make_opsetid("", 17)]), name + ".onnx")
save("nan", [h.make_node("Abs", ["x"], ["a"]), h.make_node("Neg", ["a"], ["b"]), h.make_node("Sqrt", ["b"], ["y"])],
     [("x", T.FLOAT, [4])], [("y", T.FLOAT, [4])])
save("log", [h.make_node("Floor", ["x"], ["f"]), h.make_node("Relu", ["f"], ["r"]), h.make_node("Log", ["r"], ["y"])],
     [("x", T.FLOAT, [4])], [("y", T.FLOAT, [4])])
save("ids", [h.make_node("Cast", ["i"], ["c"], to=T.INT32), h.make_node("Gather", ["t", "c"], ["y"])], [("i", T.INT64, [100])],
     [("y", T.FLOAT, [100, 2])], [("t", np.ones((5, 2), np.float32))])
save("regions", [h.make_node("RoiAlign", ["x", "r", "i"], ["y"], output_height=2, output_width=2)],
     [("x", T.FLOAT, [2, 1, 4, 4]), ("r", T.FLOAT, [50, 4]), ("i", T.INT64, [50])], [("y", T.FLOAT, [50, 1, 2, 2])])
save("places", [h.make_node("ReduceMax", ["i"], ["m"], axes=[0], keepdims=0), h.make_node("ScatterElements", ["t", "m", "u"], ["y"], axis=0)],
     [("i", T.INT64, [3, 50])], [("y", T.FLOAT, [60])], [("t", np.zeros(60, np.float32)), ("u", np.ones(50, np.float32))])
save("coordinates", [h.make_node("GatherND", ["t", "i"], ["y"], batch_dims=1)], [("i", T.INT64, [2, 50, 2])], [("y", T.FLOAT, [2, 50])],
     [("t", np.ones((2, 3, 90), np.float32))])
save("split", [h.make_node("Split", ["x", "s"], ["y", "z"], axis=1)], [("x", T.FLOAT, [2, "n"])], [("y", T.FLOAT, None), ("z", T.FLOAT, None)],
     [("s", np.array([1, 2]))])
save("product", [h.make_node("MatMul", ["x", "x"], ["y"])], [("x", T.FLOAT, [4000, 4000])], [("y", T.FLOAT, [4000, 4000])])
save("chain", [h.make_node(op, [a], [b]) for op, a, b in zip(["Exp", "Sqrt", "Log", "Floor"], "xabc", "abcy")],
     [("x", T.FLOAT, [1 << 23])], [("y", T.FLOAT, [1 << 23])])
save("two", [h.make_node("Add", ["x", "z"], ["y"])], [("x", T.FLOAT, ["n", 4]), ("z", T.FLOAT, ["n", 4])], [("y", T.FLOAT, ["n", 4])])
save("open", [h.make_node("MaxPool", ["x"], ["y"], kernel_shape=[3])], [("x", T.FLOAT, [1, 1, "n"])], [("y", T.FLOAT, [1, 1, "m"])])
PYTHON
  lines() { "$ingot" "$@" >out 2>&1 && fail "ingot $*: exit code 0"; count=$((count + 1)); }
  lines verify nan.onnx $cpu
  grep -q "4 of 4 NaN" out && grep -q "the first that is not finite arises at 'y'" out && grep -q "y (Sqrt)" out || fail "NaN: $(cat out)"
  lines verify log.onnx $cpu
  grep -q "4 of 4 infinite" out || fail "infinities agree: $(cat out)"
  says 0 "1 of 1 outputs agree" verify ids.onnx $cpu
  for model in regions coordinates; do says 0 "1 of 1 outputs agree" verify $model.onnx $cpu; done
  says 0 "f32[60]" run places.onnx $cpu
  says 1 "say which, like --shapes x:1x1x?" run open.onnx $cpu
  says 1 "sizes 10 and 6 differ" run split.onnx $cpu --shapes x:2x5
  says 0 "f32[2, 2]" run split.onnx $cpu --shapes x:2x3
  says 0 "f32[1, 1, 6]" run open.onnx $cpu --shapes x:1x1x8
  says 1 "the model run by the references: the limit of 1 s" verify product.onnx $cpu --time-limit 1
  says 1 "the model run by the references: more than the limit" verify chain.onnx $cpu --memory-limit 60
  says 0 "f32[2, 4]" run two.onnx $cpu --shapes z:2x4 -o two
  says 0 "f32[2, 4]" run two.onnx $cpu --input x=two/input_1.pb
  says 1 "input 'x' twice" run two.onnx $cpu --input x=two/input_1.pb --input x=two/input_0.pb
  says 0 "ok      y" verify two.onnx $cpu --input two/input_0.pb --input x=two/input_1.pb
  says 0 "sites and memory need sizes" inspect open.onnx $cpu
  says 1 "say which, like --shapes x:1x1x?" inspect open.onnx $cpu --sites
  says 1 "say which, like --shapes x:1x1x?" bench open.onnx $cpu
fi
says 0 "inference" bench digits.ingot $cpu --seconds 0.05 --data golden
says 0 "flushed     " bench digits.ingot $cpu --seconds 0.05 --kinds
json bench digits.ingot $cpu --seconds 0.05 --kinds
says 0 '"samples":' bench digits.ingot $cpu --on-request < <(echo fresh 0.05)
says 0 'there are device, flushed' bench digits.ingot $cpu --on-request < <(echo nonsense 0.05)
says 0 '"first_ms":' bench digits.ingot $cpu --on-request < <(echo shapes image:3x1x8x8 0.05)
says 0 "4 sessions" bench digits.ingot $cpu --threads 1 --sessions 4 --seconds 0.05
json bench digits.ingot $cpu --threads 1 --sessions 2 --seconds 0.05
says 2 "goes without --profile" bench digits.ingot $cpu --sessions 2 --profile
says 2 "from 1 to 1024" bench digits.ingot $cpu --sessions 2000
for kind in device flushed call fresh; do
  "$ingot" bench digits.ingot $cpu --on-request < <(echo $kind 0.001) | python3 -c "import json; assert json.loads(input())['samples'] >= 5" || fail "$kind: fewer than five samples"
done
says 0 '"steps":' bench digits.ingot $cpu --on-request < <(echo facts)
says 0 '"opening":{"file_ms":' bench digits.ingot $cpu --on-request < <(echo facts)
says 0 ", its graph " bench digits.ingot $cpu --seconds 0.05
says 0 "there is no device beside the host" bench digits.ingot $cpu --on-request < <(echo enqueue_fresh 0.05)
says 0 "{}" bench digits.ingot $cpu --on-request --data golden < <(echo outputs "$PWD/asked.npz")
says 1 "outputs are written as .npz" bench digits.ingot $cpu --on-request < <(echo outputs asked.npy)
says 1 "a request is KIND SECONDS, facts, outputs FILE or shapes SHAPES SECONDS, not 'device'" bench digits.ingot $cpu --on-request < <(echo device)
says 0 "what follows depends on data" bench "$digits/../../tests/regress/loop_in_loop/model.onnx" $cpu --seconds 0.01 --profile
says 0 "what follows depends on data" inspect "$digits/../../tests/regress/loop_in_loop/model.onnx" $cpu --sites
says 1 "nowhere/input_0.pb" bench digits.ingot $cpu --data /nowhere

# strings come from and go to .pb files
strings=$(realpath "$digits/../../tests/regress/strings_through")
says 0 '"one", "", "drei"' run "$strings/model.onnx" $cpu --input "$strings/test_data_set_0/input_0.pb" --input "$strings/test_data_set_0/input_1.pb"
says 0 "ok" verify "$strings/model.onnx" $cpu --data "$strings/test_data_set_0"
json run "$strings/model.onnx" $cpu --data "$strings/test_data_set_0"
says 1 "give a .pb file" run "$strings/model.onnx" $cpu

# sequences and optionals: given, shown, kept and compared; inputs that have defaults are left out
sequence=$(realpath "$digits/../../tests/regress/given_sequence_state")
says 0 "y                        a sequence of 3" run "$sequence/model.onnx" $cpu --data "$sequence/test_data_set_0"
says 0 "y[2]                     f32[2]" run "$sequence/model.onnx" $cpu --data "$sequence/test_data_set_0" -o golden_sequence
says 0 "ok      y[2]" verify "$sequence/model.onnx" $cpu --data golden_sequence
says 0 "3 of 3 outputs agree" verify "$sequence/model.onnx" $cpu --input "s=$sequence/test_data_set_0/input_0.pb" --input n=golden_sequence/input_2.pb
says 0 "sites agree" verify "$sequence/model.onnx" $cpu --data golden_sequence --sites
says 1 "is a sequence of f32 tensors: give a .pb file" run "$sequence/model.onnx" $cpu
says 1 "kernels of a GPU are compiled for" build "$digits/digits.onnx" $cpu --shapes image:1..4x1x8x8 -o ranges.ingot
says 1 "which has no shape" run "$sequence/model.onnx" $cpu --shapes s:2x2
says 1 "is read from a .pb file" run "$sequence/model.onnx" $cpu --input s=a.npy
says 1 "is a sequence: write it" run "$sequence/model.onnx" $cpu --data golden_sequence -o y.npy
says 0 "sequence of f32" inspect "$sequence/model.onnx" $cpu
json run "$sequence/model.onnx" $cpu --data golden_sequence
json inspect "$sequence/model.onnx" $cpu
nothing=$(realpath "$digits/../../tests/regress/given_optional_nothing_passed_on")
says 0 "nothing" run "$nothing/model.onnx" $cpu -o golden_nothing
says 0 "ok      y                            nothing" verify "$nothing/model.onnx" $cpu --data golden_nothing
defaults=$(realpath "$digits/../../tests/regress/init_defaults_kept")
says 0 "1 of 1 outputs agree" verify "$defaults/model.onnx" $cpu
says 0 "sites agree" verify "$defaults/model.onnx" $cpu --sites
says 0 "" run "$defaults/model.onnx" $cpu -o golden_defaults
says 0 "ok      y" verify "$defaults/model.onnx" $cpu --data golden_defaults

# what is judged by the norm, and within limits
says 0 "ok      y" verify "$defaults/model.onnx" $cpu --data golden_defaults --norm 0
says 0 "ok      y" verify "$sequence/../given_sequence_concat/model.onnx" $cpu --data "$sequence/../given_sequence_concat/test_data_set_0" --norm 0
says 2 "is no tolerance" verify digits.ingot $cpu --norm -1
says 2 "is no tolerance" verify digits.ingot $cpu --rtol nan

# what is asked for wrongly
says 2 "like: ingot run $digits/digits.onnx" "$digits/digits.onnx"
says 2 "come with an option, like --input or --output" run digits.ingot picture.png
says 2 "--json takes no value" run digits.ingot --json=yes
says 2 "--threads takes a number, not '99999999999'" run digits.ingot --threads 99999999999
says 2 "--disable is given twice, 'fold_scale' and 'layout'" run "$digits/digits.onnx" --disable fold_scale --disable layout
says 2 "--only is given twice" passes "$digits/digits.onnx" --only fold_scale --only=layout
says 2 "--shapes is given twice" run digits.ingot --shapes image:1x1x8x8 --shapes image:2x1x8x8
says 2 "how long to measure" bench digits.ingot --seconds nan
says 2 "how many runs" bench digits.ingot --warmup -3
says 2 "how many classes" run digits.ingot --top -3
says 1 "no input is one" run digits.ingot $cpu --mean 1
says 1 "other sizes for input 'image'" run digits.ingot $cpu --input "$digits/test_images.npy" --shapes image:3x1x8x8
says 1 "written as .npz, .npy or .pb" run digits.ingot $cpu -o out.xyz
cp "$digits/digits.onnx" model.onnx
says 2 "is the model itself" build model.onnx $cpu -o ./model.onnx
cmp "$digits/digits.onnx" model.onnx || fail "the model was replaced"
says 1 "is a folder" run . $cpu
says 0 "ingot run" --help run
says 0 "ingot 0." version
says 2 "takes a number" run digits.ingot --top many
says 2 "wants a value" run digits.ingot --top
says 2 "--device takes" run digits.ingot --device abacus
says 2 "--mean takes" run digits.ingot --mean grey
says 1 "its inputs: 'image'" run digits.ingot $cpu --shapes picture:1x1x8x8
says 1 "its inputs: 'image'" run digits.ingot $cpu --input "picture=$digits/test_images.npy"
says 1 "sizes are written like" run digits.ingot $cpu --shapes image:1xx8
says 1 "'image' twice" run digits.ingot $cpu --shapes image:1x1x8x8,image:1x1x8x8
says 0 "usage: ingot run" help run
says 2 "no command 'fly'" help fly
says 1 "axis 3 is 9" run digits.ingot $cpu --shapes image:1x1x8x9
says 1 "takes only 1" run digits.ingot $cpu --input golden/input_0.pb --input golden/input_0.pb
says 1 "tensors are read from" run digits.ingot $cpu --input "$digits/train.py"
says 1 "'image' is u8, but f32 was given" run digits.ingot $cpu --input a.npy
head -c 5000 "$digits/digits.onnx" >cut.onnx
head -c 5000 digits.ingot >cut.ingot
says 1 "not readable as ONNX" run cut.onnx
says 1 "its header says" run cut.ingot

# passes and rules
says 0 "fuse_epilogue" passes "$digits/digits.onnx" $cpu
says 0 "-> conv" passes "$digits/digits.onnx" $cpu --log
says 0 "" build "$digits/digits.onnx" $cpu --quiet -o logged.ingot
"$ingot" passes "$digits/digits.onnx" $cpu --log >of_model
"$ingot" passes logged.ingot $cpu --log | diff - of_model || fail "an engine keeps another log than its model's"
json passes "$digits/digits.onnx" $cpu
json passes logged.ingot $cpu
node=$(awk '$2 == "fuse_epilogue" {print $3; exit}' of_model)
says 0 "ends in" passes "$digits/digits.onnx" $cpu --explain "$node"
says 0 "steps are chosen when a run tells" passes "$digits/digits.onnx" $cpu --explain "$node"
says 1 "the model has no node 'nobody'" passes "$digits/digits.onnx" $cpu --explain nobody
says 0 "follows from sizes and constants" passes "$digits/../../tests/regress/shape_counted_from_the_end_4_9/model.onnx" $cpu --explain v19
says 1 "--explain needs the model" passes logged.ingot $cpu --explain "$node"
says 0 "" passes "$digits/digits.onnx" $cpu --disable "fuse_epilogue@$node" --log
! grep -q "fuse_epilogue  *$node " out || fail "a rule that was left out at a node applied there"
grep -q "fuse_epilogue" out || fail "a rule that was left out at one node applied nowhere"
says 0 "" build "$digits/digits.onnx" $cpu --disable "fuse_epilogue@$node" --quiet -o without.ingot
says 1 "has no node 'nobody'" build "$digits/digits.onnx" $cpu --disable fuse_epilogue@nobody --quiet
python3 - <<'PY'
import onnx
from onnx import TensorProto as T, helper as h
nodes = [h.make_node("Shape", ["x"], ["s"], name="shape"), h.make_node("Identity", ["x"], ["i"], name="same"),
         h.make_node("Constant", [], ["c"], name="two", value=h.make_tensor("c", T.FLOAT, [], [2.0])),
         h.make_node("Exp", ["x"], ["e"], name="unread"), h.make_node("Reshape", ["i", "s"], ["r"], name="shaped"),
         h.make_node("Transpose", ["r"], ["t"], name="turned"), h.make_node("Mul", ["t", "c"], ["y"], name="scaled")]
graph = h.make_graph(nodes, "absent", [h.make_tensor_value_info("x", T.FLOAT, [2, 3])], [h.make_tensor_value_info("y", T.FLOAT, [3, 2])])
onnx.save(h.make_model(graph, opset_imports=[h.make_opsetid("", 17)]), "absent.onnx")
PY
for row in "shape:what it gives follows from sizes and constants" "same:what it gives is what it reads" "two:it is a constant" "unread:nothing that the model gives needs it"; do
  says 1 "import left nothing of node '${row%%:*}', which 'merge_nodes@${row%%:*}' is about: ${row#*:}" build absent.onnx $cpu --disable "merge_nodes@${row%%:*}" --quiet
  says 1 "${row#*:}" passes absent.onnx $cpu --only "all@${row%%:*}"
  says 0 "${row#*:}" passes absent.onnx $cpu --explain "${row%%:*}"
done
says 0 "step 0: %y = elementwise by strips" passes absent.onnx $cpu --explain scaled
says 0 "no step of its own" passes absent.onnx $cpu --explain turned
# Every node knows what it comes from, casts and copies that no rule made too; a region says it behind its body.
{ "$ingot" inspect "$digits/digits.onnx" $cpu --after && "$ingot" inspect "$digits/digits.onnx" $cpu --fp16 --after; } >after
! grep -E '^ +(%.* = |\}\})' after | grep -v '{body: graph' | grep -v 'origins' || fail "a node comes from nowhere"
# An input that is given out as it is, and one value given out twice: callers know each by the model's name, in an engine too.
python3 - <<'PY'
import numpy as np, onnx
from onnx import TensorProto as T, helper as h
value = lambda name: h.make_tensor_value_info(name, T.FLOAT, [2])
graph = h.make_graph([h.make_node("Neg", ["x"], ["y"])], "through", [value("x")], [value("x"), value("y"), value("y")])
onnx.save(h.make_model(graph, opset_imports=[h.make_opsetid("", 17)]), "through.onnx")
np.save("two.npy", np.array([1.5, -2], np.float32))
PY
says 0 "" build through.onnx $cpu --quiet -o through.ingot
for model in through.onnx through.ingot; do
  says 0 "1.5, -2" run $model $cpu --input x=two.npy
  [ "$(awk '/f32\[2\]/ {print $1}' out | tr '\n' ' ')" = "x y y " ] || fail "$model gives results by other names: $(cat out)"
done
says 0 "all 0 applications" passes through.onnx $cpu --bisect
says 0 "" passes absent.onnx $cpu --disable inline_scalars@scaled
says 1 "there is no pass or rule 'nosuchpass'" run "$digits/digits.onnx" $cpu --disable nosuchpass
says 1 "there is no pass or rule 'nosuchpass'" passes "$digits/digits.onnx" $cpu --only nosuchpass
says 0 "1 passes" passes "$digits/digits.onnx" $cpu --only merge_nodes --stop-after common_subexpressions
# Each option that selects, given each kind of name: what it says, or an error. applied: which rules the log has, from which of two nodes.
own=$(dirname "$ingot")/tests/rules
applied() { "$ingot" passes "$digits/digits.onnx" $cpu --pass "$own/wrong.so" "$@" --log >rules_log || fail "passes $*: exit code $?"; awk '{print $2}' rules_log | sort -u | tr '\n' ' '; count=$((count + 1)); }
is() { [ "$2" = "$3" ] || fail "$1: '$2', not '$3'"; }
all=$(applied)
is all "$(applied --only all)" "$all"
is "all and one" "$(applied --only all,layout)" "$all"
is "a pass" "$(applied --only fold_scale)" "fold_scale "
is "a rule" "$(applied --only order_operands,fuse_elementwise)" "fuse_elementwise order_operands "
is "a plugin's pass" "$(applied --only wrong)" "wrong_pool wrong_relu wrong_sum wrong_weights "
is "a plugin's rule" "$(applied --only wrong_pool)" "wrong_pool "
is "a pass at a node" "$(applied --only "fuse_epilogue@$node")" "fuse_epilogue "
is "at that node" "$(awk '{print $3}' rules_log | sort -u)" "$node"
is "a rule at a node, a pass everywhere" "$(applied --only "fuse_epilogue@$node,fold_scale")" "fold_scale fuse_epilogue "
is "all at a node" "$(applied --only "all@$node" >/dev/null; awk '{print $3}' rules_log | sort -u)" "$node"
is "a pass but not at a node" "$(applied --only fuse_epilogue --disable "fuse_epilogue@$node" >/dev/null; grep -c "  $node " rules_log || true)" 0
! grep -q "fold_scale\|$node " <(applied --disable "fold_scale,all@$node"; cat rules_log) || fail "a pass, and all at a node, were left out and applied"
last() { "$ingot" passes "$digits/digits.onnx" $cpu --pass "$own/wrong.so" "$@" | grep -v '^  ' | tail -2 | awk 'NR == 1 {print $1}'; count=$((count + 1)); }
is "after a pass" "$(last --stop-after fold_scale)" fold_scale
is "after its first run" "$(last --stop-after common_subexpressions)" common_subexpressions
is "after a rule's pass" "$(last --stop-after compose_transposes)" simplify_views
is "after a plugin's pass" "$(last --stop-after wrong)" wrong
is "after a plugin's rule" "$(last --stop-after wrong_pool)" wrong
is "after a pass that is left out" "$(last --stop-after fold_scale --disable fold_scale)" project_ahead
for name in "" all fold_scale,layout fold_scale, "fuse_epilogue@$node" nobody; do
  says 1 "is not '$name'; there are, with their rules: fold_constants" passes "$digits/digits.onnx" $cpu --stop-after "$name"
done
for option in only disable; do
  for list in fold_scale,,layout fold_scale, ,layout ,; do
    says 1 "the list '$list' is empty where" passes "$digits/digits.onnx" $cpu --$option "$list"
  done
  for list in nobody fold_scale,nobody "nobody@$node" wrong; do
    says 1 "there is no pass or rule '" passes "$digits/digits.onnx" $cpu --$option "$list"
  done
  says 1 "has no node 'nobody'" passes "$digits/digits.onnx" $cpu --$option all@nobody
  says 1 "has no node ''" passes "$digits/digits.onnx" $cpu --$option fold_scale@
  says 1 "the pass layout has no rules" passes "$digits/digits.onnx" $cpu --$option "layout@$node"
done
says 1 "the list '' is empty where" passes "$digits/digits.onnx" $cpu --only ""
is "nothing is left out" "$(applied --disable "")" "$all"
says 1 "built with pass 'all'" run without.ingot $cpu --disable all
says 1 "built with pass 'fuse_epilogue'" run without.ingot $cpu --disable fuse_epilogue
says 0 "probabilities" run without.ingot $cpu --disable "fuse_epilogue@$node"
says 0 "" build "$digits/digits.onnx" $cpu --disable simplify_programs --quiet -o without.ingot
says 0 "probabilities" run without.ingot $cpu --disable "times_one,order_operands@$node"
says 2 "need a model" passes logged.ingot $cpu --dump graphs
says 2 "goes without --log" passes "$digits/digits.onnx" $cpu --bisect --log
says 2 "goes without --log" passes "$digits/digits.onnx" $cpu --bisect --explain "$node"
says 2 "goes without --log" passes "$digits/digits.onnx" $cpu --bisect --dump graphs
says 2 "goes without --log" passes "$digits/digits.onnx" $cpu --bisect --json
says 2 "--bisect judges" passes "$digits/digits.onnx" $cpu --data "$digits"
says 2 "--bisect judges" passes "$digits/digits.onnx" $cpu --rtol 0.1
says 2 "--bisect judges" passes "$digits/digits.onnx" $cpu --norm 0
says 2 "in words" passes "$digits/digits.onnx" $cpu --explain "$node" --json
says 0 "graphs in graphs" passes "$digits/digits.onnx" $cpu --dump graphs
python3 - graphs <<'PY' || fail "a dumped graph is not well-formed"
import glob, sys
import onnx
found = sorted(glob.glob(sys.argv[1] + "/*.onnx"))
assert len(found) > 2, found
for path in found:
    onnx.checker.check_model(onnx.load(path))
PY
# Regions of a rule of one's own: functions in the dump, closed to the end where they are an anchor with its epilogue, and opened where not, whatever is left out; and the engine computes what it did.
says 0 "conv_region" passes "$digits/digits.onnx" $cpu --pass "$own/conv_region.so" --dump regions
python3 - regions <<'PY' || fail "a dumped region is no well-formed function"
import glob, sys
import onnx
dumped = [onnx.load(path) for path in glob.glob(sys.argv[1] + "/*conv_regions.onnx")]
assert len(dumped) == 1
onnx.checker.check_model(dumped[0])
own = [f for f in dumped[0].functions if f.name.startswith("conv_region")]
assert len(own) == 4 and all([n.op_type for n in f.node] == ["conv", "elementwise"] for f in own), dumped[0].functions
assert len(dumped[0].functions) == sum(n.domain == "ingot.region" for n in dumped[0].graph.node)
PY
for selection in "" "--only conv_region" "--stop-after conv_region" "--disable fuse_epilogue,layout"; do
  says 0 "conv_region " passes "$digits/digits.onnx" $cpu --pass "$own/conv_region.so" $selection --log
  ! grep -q "inline_region " out || fail "an anchor's region was opened"
done
says 0 "inline_region " passes "$digits/digits.onnx" $cpu --pass "$own/late_region.so" --log
says 0 "outputs agree" verify "$digits/digits.onnx" $cpu --pass "$own/late_region.so" --pass "$own/conv_region.so"
says 0 "= region(" passes "$digits/digits.onnx" $cpu --pass "$own/conv_region.so" --explain "$node"
says 0 "" build "$digits/digits.onnx" $cpu --pass "$own/conv_region.so" --quiet -o regions.ingot
says 0 "conv" inspect regions.ingot $cpu
says 0 "= region(" inspect regions.ingot $cpu --after
says 0 "conv_region " passes regions.ingot $cpu --log
says 0 "probabilities" run regions.ingot $cpu
says 0 "outputs agree" verify "$digits/digits.onnx" $cpu --pass "$own/conv_region.so"
says 0 "right with all" passes "$digits/digits.onnx" $cpu --pass "$own/conv_region.so" --bisect
says 1 "'inline_regions' cannot be left out" build "$digits/digits.onnx" $cpu --disable inline_regions
says 1 "'inline_region@$node' cannot be left out" build "$digits/digits.onnx" $cpu --disable "inline_region@$node"
says 1 "NaN or infinities, which agree with nothing" passes nan.onnx $cpu --bisect
says 1 "no elements at these sizes" passes "$digits/../../tests/regress/views_backwards_before_open/model.onnx" $cpu --bisect --shapes x:0x1x1
says 0 "right with all" passes "$digits/digits.onnx" $cpu --bisect
says 0 "relu_pair" passes "$digits/digits.onnx" $cpu --pass "$own/relu_pair.so"
says 1 "there is a pass 'relu_pair' already" passes "$digits/digits.onnx" $cpu --pass "$own/relu_pair.so" --pass "$own/relu_pair.so"
says 1 "no pass could be loaded" passes "$digits/digits.onnx" $cpu --pass "$digits/digits.onnx"
rules="wrong_relu wrong_sum wrong_pool wrong_weights wrong_bias"
for rule in $rules; do
  others=$(printf '%s,' ${rules//$rule/})
  got=0
  "$ingot" passes "$digits/digits.onnx" $cpu --pass "$own/wrong.so" --bisect --disable "${others%,}" >found || got=$?
  [ $got -eq 1 ] || fail "$rule was not found wrong: $(cat found)"
  grep -q "wrong, $rule at" found || fail "$rule was not blamed: $(cat found)"
  place=$(sed -n 's/^leave it out with --disable //p' found)
  "$ingot" passes "$digits/digits.onnx" $cpu --pass "$own/wrong.so" --disable "${others%,},$place" --log >left
  ! grep -q "$rule  *${place#*@} " left || fail "$place was left out and applied"
  count=$((count + 2))
done
echo "cli check passed: $count commands"
