"""Statistics, the file of a run, and what a run says: on numbers whose answers are known."""
import json
import os
import tempfile
import unittest

import numpy

from bench import graph_text, machine, report, sites, stats, store, summary, work, zoo


class Statistics(unittest.TestCase):
    def test_median_and_quartiles(self):
        self.assertEqual(stats.median([3, 1, 2]), 2)
        self.assertEqual(stats.interquartile([1, 2, 3, 4, 5]), (2, 4))
        self.assertEqual(stats.spread([1, 2, 3, 4, 5]), 1 / 3)
        self.assertAlmostEqual(stats.geometric_mean([0.5, 2.0]), 1)

    def test_a_shift_of_both_leaves_the_ratio_alone(self):
        busy = numpy.array([1.0, 1.5, 1.0, 3.0, 1.1])
        found = stats.ratio(2 * busy, busy)
        self.assertAlmostEqual(found["ratio"], 2)
        self.assertAlmostEqual(found["low"], 2)
        self.assertAlmostEqual(found["high"], 2)

    def test_interval_covers_the_truth_about_as_often_as_it_says(self):
        random, covered = numpy.random.default_rng(1), 0
        for trial in range(100):
            a, b = 1.2 * random.lognormal(0, 0.05, 15), random.lognormal(0, 0.05, 15)
            found = stats.ratio(a, b, seed=trial)
            covered += found["low"] <= 1.2 <= found["high"]
        self.assertGreater(covered, 85)

    def test_one_round_has_no_interval_and_unequal_rounds_no_ratio(self):
        self.assertEqual(stats.ratio([2.0], [1.0]), {"ratio": 2.0, "low": None, "high": None, "rounds": 1})
        self.assertRaises(ValueError, stats.ratio, [1.0, 2.0], [1.0])

    def test_error_is_infinite_for_what_is_not_finite_or_of_another_shape(self):
        self.assertEqual(stats.relative_error([1.0, float("nan")], [1.0, 2.0]), float("inf"))
        self.assertEqual(stats.relative_error([1.0], [1.0, 2.0]), float("inf"))
        self.assertEqual(stats.relative_error([1.0, float("inf")], [1.0, 2.0]), float("inf"))
        self.assertAlmostEqual(stats.relative_error([3.0, 4.4], [3.0, 4.0]), 0.08)
        self.assertEqual(stats.relative_error([], []), 0.0)
        a, b = numpy.random.default_rng(0).standard_normal((2, 3, 200001)).astype(numpy.float16)
        wanted = numpy.linalg.norm(a.astype(float) - b) / numpy.linalg.norm(b.astype(float))
        self.assertAlmostEqual(stats.relative_error(a, b), wanted, 10)


ROW = zoo.Row("resnet50", 1)


def round_of(peer, number, ms, session="s1", row=ROW, **more):
    return {"type": "round", "network": row.network, "batch": row.batch, "peer": peer, "round": number, "session": session, "device_ms": ms, "samples": 10, **more}


class Resume(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.path = os.path.join(self.folder.name, "run.jsonl")

    def tearDown(self):
        self.folder.cleanup()

    def store(self):
        made = store.Store(self.path)
        self.addCleanup(made.close)
        return made

    def test_a_row_that_was_cut_is_measured_again_whole(self):
        first = self.store()
        for record in (round_of("a", 0, 1), round_of("b", 0, 2), round_of("a", 1, 1)):
            first.append(record)
        again = self.store()
        self.assertTrue(again.complete(ROW, ["a", "b"], 1))
        self.assertFalse(again.complete(ROW, ["a", "b"], 2))
        again.append(round_of("b", 1, 2, "s2"))  # of another session than the rest
        self.assertFalse(again.complete(ROW, ["a", "b"], 2))
        for record in (round_of("a", 0, 1, "s2"), round_of("b", 0, 2, "s2"), round_of("a", 1, 1, "s2")):
            again.append(record)
        self.assertTrue(again.complete(ROW, ["a", "b"], 2))
        self.assertFalse(again.complete(ROW, ["a", "b"], 3))
        self.assertFalse(again.complete(ROW, ["a", "b", "new"], 2))

    def test_a_failed_peer_holds_nothing_up_unless_it_is_to_try_again(self):
        run = self.store()
        run.append(round_of("a", 0, 1))
        run.append({"type": "failure", "network": "resnet50", "batch": 1, "peer": "b", "session": "s1", "error": "no"})
        self.assertTrue(run.complete(ROW, ["a", "b"], 1))
        self.assertFalse(run.complete(ROW, ["a", "b"], 1, tries_again=lambda failure: failure["error"] == "no"))

    def test_a_torn_last_line_is_left_out_and_other_damage_is_an_error(self):
        run = self.store()
        run.append(round_of("a", 0, 1))
        with open(self.path, "a") as file:
            file.write('{"type": "round", "netw')
        self.assertEqual(len(store.read(self.path)), 1)
        self.store().append({"type": "run"})
        self.assertEqual(len(store.read(self.path)), 2)
        with open(self.path, "a") as file:
            file.write("damage\n" + json.dumps(round_of("a", 1, 1)) + "\n")
        self.assertRaises(ValueError, store.read, self.path)


def run_record(**options):
    return {"type": "run", "session": "s1", "date": "2026-11-28", "options": {"device": "cuda", "precision": "fp16", "rounds": 3, "seconds": 0.3, "tune": 5, **options}, "absent": [],
            "machine": {"cpu": "c", "cores": 2, "system": "s", "gpus": [{"index": 0, "name": "NVIDIA H200", "driver": "1", "watts_limit": 700, "sm_mhz_limit": 1980}]},
            "peers": [{"name": "ingot tuned", "family": "ingot"}, {"name": "ingot tuned again", "family": "ingot"}, {"name": "torch graph", "family": "peer"}, {"name": "ort cuda", "family": "peer"}]}


def facts_of(peer, **more):
    return {"type": "facts", "network": "resnet50", "batch": 1, "peer": peer, "session": "s1", "agrees": True, **more}


class Summary(unittest.TestCase):
    def records(self):
        rounds = [round_of(peer, r, ms * drift) for r, drift in enumerate((1, 1.1, 1)) for peer, ms in (("ingot tuned", 1.0), ("ingot tuned again", 1.01), ("torch graph", 2.0), ("ort cuda", 1.5))]
        return [run_record(), facts_of("ingot tuned"), facts_of("torch graph"), *rounds]

    def test_best_peer_ratio_and_noise(self):
        row = summary.summarise(self.records())["rows"][0]
        self.assertEqual(row["best_peer"], "ort cuda")
        self.assertAlmostEqual(row["ratio"]["ratio"], 1.5)
        self.assertAlmostEqual(row["ratio"]["high"], 1.5)
        self.assertAlmostEqual(row["noise"]["ingot tuned"]["ratio"], 1.01)

    def test_a_peer_whose_results_disagree_is_not_the_best(self):
        result = summary.summarise([*self.records(), facts_of("ort cuda", agrees=False)])
        self.assertEqual(result["rows"][0]["best_peer"], "torch graph")
        self.assertEqual(result["disagree"], ["resnet50 b1: ort cuda"])

    def test_rounds_of_different_sessions_are_not_mixed(self):
        result = summary.summarise([*self.records(), round_of("ort cuda", 2, 0.1, "s2"), facts_of("ort cuda", session="s2", kernels=9)])
        entry = result["rows"][0]["peers"]["ort cuda"]
        self.assertEqual((entry["rounds"], entry["median_ms"], entry["kernels"]), (3, 1.5, 9))

    def test_what_a_later_session_measured_whole_counts_with_what_it_was_made_of(self):
        later = [{**record, "session": "s2", **({"device_ms": 3.0} if record["type"] == "round" else {"kernels": 7})} for record in self.records() if record["type"] in ("round", "facts")]
        row = summary.summarise([*self.records(), facts_of("ingot tuned", kernels=5), *later])["rows"][0]
        self.assertEqual((row["peers"]["ingot tuned"]["median_ms"], row["peers"]["ingot tuned"]["kernels"]), (3.0, 7))

    def test_a_run_that_went_on_with_another_card_says_so(self):
        other = run_record()
        other = {**other, "session": "s2", "machine": {**other["machine"], "gpus": [{**other["machine"]["gpus"][0], "name": "NVIDIA H100 80GB HBM3"}]}}
        row = zoo.Row("vgg16", 1)
        elsewhere = [round_of(peer, r, 1.0, "s2", row) for r in range(3) for peer in ("ingot tuned", "torch graph")]
        result = summary.summarise([*self.records(), other, *elsewhere])
        self.assertEqual(result["cards"], {"NVIDIA H200, driver 1": ["resnet50 b1"], "NVIDIA H100 80GB HBM3, driver 1": ["vgg16 b1"]})
        text = "\n".join(report.table(result))
        self.assertIn("different cards", text)
        self.assertIn("  NVIDIA H100 80GB HBM3, driver 1: vgg16 b1", text)
        self.assertNotIn("different cards", "\n".join(report.table(summary.summarise(self.records()))))

    def test_where_the_time_went(self):
        records = [{"type": "prepared_all", "session": "s1", "seconds": 30.0}, {"type": "prepared", "network": "n", "session": "s1", "job": "export-n", "seconds": 9.0, "stages": {"module": 2.0, "reference b1": 1.0, "reference b32": 3.0}},
                   *[{"type": "spent", "network": "n", "batch": b, "session": "s1", "parts": {"measured": 5.0, "engines built": 2.0}} for b in (1, 32)]]
        result = summary.summarise([*self.records(), *records])
        self.assertEqual(result["spent"], {"preparing": 30.0, "stages": {"module": 2.0, "reference": 4.0}, "parts": {"measured": 10.0, "engines built": 4.0}, "rows": 2})
        self.assertEqual(report.spent(result), ["time: preparing 30 s; 2 rows: measured 10 s, engines built 4 s", "preparing, seconds of all processes: reference 4, module 2"])

    def test_a_failure_of_many_rows_is_told_once(self):
        rows = [{"network": n, "batch": 1, "failures": {"ort tensorrt": "no libnvinfer"}} for n in ("a", "b")] + [{"network": "c", "batch": 1, "failures": {"torch graph": "x"}}]
        self.assertEqual(report.failures(rows), ["failed: a b1, b b1: ort tensorrt: no libnvinfer", "failed: c b1: torch graph: x"])
        self.assertEqual(report.failures(rows[:2]), ["failed: all rows: ort tensorrt: no libnvinfer"])

    def test_a_failed_peer_is_named(self):
        result = summary.summarise([*self.records(), {"type": "failure", "network": "resnet50", "batch": 1, "peer": "ort cuda", "session": "s1", "error": "out of memory"}])
        self.assertEqual(result["rows"][0]["failures"], {"ort cuda": "out of memory"})
        self.assertEqual(result["rows"][0]["best_peer"], "torch graph")


GRAPH = """graph g(%image: f16[2, 3, 8, 8]) -> (%y) {
  const %onnx::Conv_1: f16[4, 3, 3, 3] = [... 108]
  const %b: f16[1, 4, 1, 1] = [... 4]
  %v1: f16[2, 4, 8, 8] order(0,2,3,1) = region(%image, %onnx::Conv_1, %b) {body: graph fused(%x: f16[2, 3, 8, 8], %onnx::Conv_1: f16[4, 3, 3, 3], %b: f16[1, 4, 1, 1]) -> (%v2) {
      %v1: f16[2, 4, 8, 8] = conv(%x, %onnx::Conv_1) {strides: [1, 1], group: 1} origins ["a": "Conv"]
      %v2: f16[2, 4, 8, 8] = elementwise(%v1, %b) {program: program {%0: f32 = input 0; %1: f32 = input 1; %2 = add %0 %1; %3: f16 = cast %2; yield %3}} origins ["a": "Conv"]
    }} origins ["a": "Conv"]
  %v2: f16[2, 4, 8, 8] order(0,2,3,1) = conv(%v1, %open, %b) {strides: [1, 1]} origins ["b": "Conv"]
  %v3: f16[2, 256] = reshape(%v1) {dims: dims[2, 256]}
  const %w: f16[256, 10] = [... 2560]
  %y: f32[2, 10] = matmul(%v3, %w) origins ["c": "Gemm"]
}
"""


class Sites(unittest.TestCase):
    def test_work_and_bytes_count_what_a_step_reads_and_writes(self):
        nodes = graph_text.parse(GRAPH)
        self.assertEqual(nodes["v1"]["flops"], 2 * 2 * 4 * 64 * 27)
        self.assertEqual(nodes["v1"]["bytes"], 2 * (2 * 3 * 64 + 108 + 4 + 2 * 4 * 64))
        self.assertEqual(nodes["y"]["flops"], 2 * 2 * 10 * 256)
        self.assertEqual(nodes["y"]["bytes"], 2 * (512 + 2560) + 4 * 20)
        self.assertNotIn("v2", nodes)
        self.assertEqual(nodes["v1"]["op"], "conv")
        self.assertIn("group: 1", nodes["v1"]["key"])
        self.assertIn("add %0 %1", nodes["v1"]["key"])
        self.assertNotIn("origins", nodes["v1"]["key"])

    def test_a_site_keeps_each_way_and_compares_libraries_with_own_kernels(self):
        rates, found = {"operations": 1e12, "bytes": 1e12}, {}
        step = {"key": "k", "op": "conv", "name": "n", "flops": 2e9, "bytes": 1e6}
        sites.add(found, zoo.Row("a", 1), "tuned", [{**step, "tactic": "cudnn_graph 3", "ms": 4.0}, {**step, "tactic": "cudnn_graph 3", "ms": 4.2}], rates)
        sites.add(found, zoo.Row("a", 1), "own", [{**step, "tactic": "mma_conv", "ms": 5.0}], rates)
        site = sites.finished(found["k"], {("a b1", "k"): 2})
        self.assertEqual((site["ms"], site["tactic"], site["floor_ms"], site["library_over_own"]), (4.0, "cudnn_graph 3", 2.0, 0.8))
        self.assertEqual(sites.lost_ms(site), 4.0)
        text = "\n".join(sites.table({"rates": rates, "ways": ["tuned", "own"], "failures": ["x"], "sites": [site]}, 5))
        self.assertIn("conv: 1 sites, 2.00 times the floor (geometric mean); libraries over own kernels 0.800 in 1 of them", text)


class Parsing(unittest.TestCase):
    def test_readings_of_the_gpu(self):
        found = machine.parse_reading("1980, 3201, 455.10, 61, 0x0000000000000004")
        self.assertEqual(found, {"sm_mhz": 1980, "memory_mhz": 3201, "watts": 455.1, "celsius": 61, "slowed_by": 4})
        self.assertEqual(machine.parse_reading("345, 3201, [N/A], 33, 0x0000000000000001")["watts"], None)
        self.assertEqual(machine.parse_reading("345, 3201, 70, 33, 0x0000000000000001")["slowed_by"], 0)
        self.assertIsNone(machine.parse_reading("No devices were found"))

    def test_only_gpus_that_are_let_through_are_taken(self):
        found = [{"index": index, "uuid": f"GPU-{index}{index}a"} for index in range(3)]
        taken = lambda names: [gpu["index"] for gpu in machine.visible(found, names)]
        self.assertEqual(taken(None), [0, 1, 2])
        self.assertEqual(taken("2,0"), [2, 0])
        self.assertEqual(taken("GPU-1"), [1])
        self.assertEqual(taken("1,-1,0"), [1])  # what follows one that is none is not seen either
        self.assertEqual(taken(""), [])

    def test_floor_takes_the_slower_of_arithmetic_and_memory(self):
        rates = {"operations": 1e12, "bytes": 1e9}
        self.assertAlmostEqual(work.floor_ms([{"flops": 1e9, "elements": 10}], rates, 2), 1.0)
        self.assertAlmostEqual(work.floor_ms([{"flops": 10, "elements": 1e6}], rates, 2), 2.0)
        self.assertIsNone(work.floor_ms([], None, 2))

    def test_work_is_counted_where_an_exporter_computed_a_shape_from_constants(self):
        import onnx
        from onnx import helper, numpy_helper

        ints = lambda name, *values: numpy_helper.from_array(numpy.array(values, dtype=numpy.int64), name)
        nodes = [helper.make_node("ConstantOfShape", ["rank"], ["ones"], value=ints("", 1)), helper.make_node("Mul", ["ones", "minus"], ["keep"]), helper.make_node("Equal", ["dims", "keep"], ["kept"]),
                 helper.make_node("Where", ["kept", "ones", "dims"], ["shape"]), helper.make_node("Expand", ["row", "shape"], ["x"]), helper.make_node("MatMul", ["x", "w"], ["y"], name="product")]
        given = [helper.make_tensor_value_info("row", onnx.TensorProto.FLOAT, [1, 40])]
        weights = numpy_helper.from_array(numpy.ones((40, 30), dtype=numpy.float32), "w")
        graph = helper.make_graph(nodes, "g", given, [helper.make_empty_tensor_value_info("y")], [ints("rank", 2), ints("minus", -1), ints("dims", 7, -1), weights])
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "m.onnx")
            onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
            found = work.count(path)
        self.assertEqual((found["uncounted"], found["flops"]), ([], 2 * 7 * 40 * 30))

    def test_the_zoo_names_what_it_does_not_have(self):
        self.assertEqual(len(zoo.measured()), 22)
        self.assertEqual(len(zoo.rows(zoo.QUICK, zoo.BATCHES)), 12)
        self.assertRaises(SystemExit, zoo.rows, ["resnet51"], [1])


if __name__ == "__main__":
    unittest.main()
