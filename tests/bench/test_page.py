"""The table and the page of a run: their numbers are those of the JSON, nothing is fetched, and what has no number is named."""
import argparse
import html.parser
import json
import os
import re
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from bench import charts, compare, page, page_tables, report, serve, shapes, summary
from test_numbers import facts_of, round_of, run_record


def records(factor=1.0):
    rounds = [round_of(peer, r, ms * drift, flushed_ms=ms * 2, call_ms=ms * 3) for r, drift in enumerate((1, 1.1, 1.05))
              for peer, ms in (("ingot tuned", 1.2345 * factor), ("ingot tuned again", 1.24 * factor), ("torch graph", 2.3456))]
    work = {"type": "work", "network": "resnet50", "batch": 1, "flops": 8e9, "uncounted": [], "steps": [{"op": "Conv", "flops": 8e9, "elements": 1000, "times": 1, "key": "k"}]}
    failure = {"type": "failure", "network": "resnet50", "batch": 1, "peer": "ort cuda", "session": "s1", "error": "no <kernel> & no luck"}
    return [run_record(), facts_of("ingot tuned", build_s=1.5, load_ms=20.0, first_run_ms=5.0, device_bytes=1 << 28, kernels=58, steps=58, error=1e-3, version="ingot 0.2.0"),
            facts_of("torch graph", build_s=3.0, device_bytes=1 << 29, version="PyTorch 2"), work, failure, *rounds]


class Reader(html.parser.HTMLParser):
    """Collects the page's JSON, what it would fetch, and whether elements are closed."""

    VOID = ("meta", "line", "polyline", "br", "link", "img", "input")

    def __init__(self):
        super().__init__()
        self.open, self.data, self.fetched, self.reading, self.targets, self.ids = [], "", [], False, [], []

    def handle_starttag(self, tag, attributes):
        named = dict(attributes)
        self.fetched += [value for key, value in attributes if key in ("src", "href", "xlink:href", "action") and value and not value.startswith("#")]
        self.targets += [value[1:] for key, value in attributes if key == "href" and value.startswith("#")]
        self.ids += [value for key, value in attributes if key == "id"]
        self.reading = named.get("id") == "results"
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        self.reading = False
        if tag not in self.VOID:
            assert self.open.pop() == tag, tag

    def handle_data(self, data):
        if self.reading:
            self.data += data


class Page(unittest.TestCase):
    def setUp(self):
        self.result = summary.summarise(records())
        self.text = page.render(self.result)
        self.reader = Reader()
        self.reader.feed(self.text)

    def test_its_json_is_the_summary(self):
        self.assertEqual(json.loads(self.reader.data), json.loads(json.dumps(self.result)))

    def test_it_is_whole_and_fetches_nothing(self):
        self.assertEqual(self.reader.open, [])
        self.assertEqual(self.reader.fetched, [])
        self.assertTrue(set(self.reader.targets) <= set(self.reader.ids))
        self.assertEqual(len(set(self.reader.ids)), len(self.reader.ids))
        self.assertNotIn("url(", self.text)
        self.assertNotIn("@import", self.text)

    def test_its_tables_and_charts_show_the_numbers_of_the_json(self):
        row = json.loads(self.reader.data)["rows"][0]
        for name in ("ingot tuned", "torch graph"):
            entry = row["peers"][name]
            self.assertIn(f">{report.milliseconds(entry['median_ms'])}<br><small>±{report.percent(entry['spread'])}</small>", self.text)
            self.assertIn(f"resnet50: {name} {entry['median_ms']:.4g} ms", self.text)
            self.assertIn(f"<td>{report.milliseconds(entry['flushed_ms'])}</td>", self.text)
        self.assertIn(f">{row['ratio']['ratio']:.3f}×</td><td>{row['ratio']['low']:.3f} to {row['ratio']['high']:.3f}</td>", self.text)
        self.assertIn(f"<td>{(row['noise']['ingot tuned']['ratio'] - 1) * 100:+.2f}%</td>", self.text)
        self.assertIn(f"resnet50: floor {row['floor_ms']:.4g} ms", self.text)
        self.assertIn(f"{json.loads(self.reader.data)['overall']['geometric_mean']:.3f}×", self.text)

    def test_sites_stand_under_the_roof(self):
        site = {"op": "conv", "name": "resnet50 b1: <conv1>", "flops": 1e9, "bytes": 1e7, "ms": 0.01, "floor_ms": 0.004, "tactic": "mma_conv", "rows": {"resnet50 b1": 3}, "library_over_own": 1.25,
                "ways": {"own": {"ms": 0.01, "tactic": "mma_conv"}}}
        text = page.render(self.result, {"sites": [site], "ways": ["own"], "rates": {"operations": 790e12, "bytes": 4.3e12}})
        Reader().feed(text)
        self.assertIn("resnet50 b1: &lt;conv1&gt;: 0.0100 ms, floor 0.0040 ms, mma_conv", text)
        self.assertIn('class="roof"', text)
        self.assertIn("<td>2.5×</td><td>1.25</td>", text)

    def test_labels_are_not_cut_by_the_edge(self):
        self.assertEqual(charts.shortened("mobilenet_v3_large"), "mobilenet_v3_large")
        self.assertEqual(charts.shortened("/long/path/of/a/model.onnx"), "…th/of/a/model.onnx")

    def test_where_nobody_can_be_compared_it_says_so(self):
        for alone in ("ingot", "torch"):
            kept = [r for r in records() if r["type"] not in ("facts", "round") or r["peer"].startswith(alone)]
            text = page.render(summary.summarise(kept))
            Reader().feed(text)
            self.assertIn("Nothing to compare: no row has both ingot tuned and a peer", text)

    def test_failures_are_named_and_escaped(self):
        self.assertIn("no &lt;kernel&gt; &amp; no luck", self.text)

    def test_dots_stand_where_their_numbers_say(self):
        places = {name: float(x) for x, name in re.findall(r'cx="([\d.]+)"[^>]*><title>resnet50: ([\w ]+) [\d.]+ ms</title>', self.text)}
        self.assertLess(places["ingot tuned"], places["torch graph"])


class Standing(unittest.TestCase):
    ratio = staticmethod(lambda middle, low, high: {"ratio": middle, "low": low, "high": high, "rounds": 5})

    def test_nobody_won_where_the_interval_or_the_noise_holds_1(self):
        for value, wanted in ((self.ratio(1.01, 0.99, 1.02), "level"), (self.ratio(1.003, 1.002, 1.004), "level"), (self.ratio(1.02, 1.01, 1.03), "ahead"), (self.ratio(0.98, 0.97, 0.99), "behind"),
                              (self.ratio(1.2, None, None), "ahead")):
            self.assertEqual(summary.standing(value, 0.004), wanted)

    def test_the_page_counts_and_names_them(self):
        row = lambda name, value: {"network": name, "batch": 1, "ratio": value}
        found = summary.overall_of([row("a", self.ratio(1.5, 1.4, 1.6)), row("b", self.ratio(1.0, 0.9, 1.1)), row("c", None), row("d", self.ratio(0.5, 0.4, 0.6))], {})
        self.assertEqual((found["ahead"], found["level"], found["behind"], found["with_ratio"], found["least_row"], found["largest_row"]), (1, 1, 1, 3, "d b1", "a b1"))

    def test_failures_that_differ_by_their_folder_alone_stand_once(self):
        rows = [{"network": "n", "batch": batch, "failures": {"ort": f"cannot load /tmp/n-b{batch}/model.onnx"}} for batch in (1, 32)]
        self.assertEqual(report.failed_alike(rows), [("ort", "all rows", "cannot load /tmp/n-b1/model.onnx")])
        self.assertEqual(len(report.failed_alike([*rows, {"network": "m", "batch": 1, "failures": {"ort": "out of memory"}}])), 2)

    def test_reasons_for_lower_clocks_are_named(self):
        self.assertEqual(summary.state_range("slowed_by", [4, 4, 32 + 4]), [4, 36])
        self.assertEqual(page_tables.states([{"state": {"slowed_by": [4, 36]}}, {"state": {"slowed_by": [4, 4]}}]), [("clocks held down by", "always power cap; at times power cap, software thermal")])


class Table(unittest.TestCase):
    def test_it_shows_medians_ratio_noise_and_failures(self):
        text = "\n".join(report.table(summary.summarise(records())))
        for part in ("1.2962", "torch graph", "1.900 [1.90, 1.90]", "+0.4%", "failed: resnet50 b1: ort cuda: no <kernel>", "less than 2% in 1 of 1 rows"):
            self.assertIn(part, text)


class Others(unittest.TestCase):
    def test_shapes_are_drawn_once_each_and_summed_up(self):
        drawn = shapes.drawn("bert-base-128", 20, 4, 64)
        self.assertEqual(len(set(drawn)), 20)
        self.assertEqual(drawn, shapes.drawn("bert-base-128", 20, 4, 64))
        self.assertEqual(len(shapes.drawn("resnet50", 40, 8, 1)), 8)
        self.assertEqual(shapes.dims("lstm-2x512-bi", 3, 20), (20, 3, 256))
        self.assertEqual(shapes.dims("resnet50", 3), (3, 3, 224, 224))
        sides = shapes.drawn("centernet_r18", 30, 4, 1)
        self.assertTrue(all(1 <= batch <= 4 and {height % 32, width % 32} == {0} and 256 <= min(height, width) and max(height, width) <= 512 for batch, height, width in sides))
        self.assertEqual(shapes.dims("centernet_r18", *sides[0]), (sides[0][0], 3, *sides[0][1:]))
        options = argparse.Namespace(largest_batch=4, longest=64)
        for network, ranges in (("centernet_r18", "input:1..4x3x256..512x256..512"), ("lstm-2x512-bi", "input:8..64x1..4x256"), ("resnet50", "input:1..4x3x224x224")):
            self.assertEqual(shapes.ranges(shapes.for_network(argparse.Namespace(network=[network], record=None, **vars(options)), network)), ranges)
        record = {"network": "n", "device": "cpu", "precision": "fp32", "shapes": [1, 2, 3], "failures": {"ort": "gone"},
                  "peers": {"ingot": [{"first_ms": f, "ms": 1.0, "compiled": c} for f, c in ((50.0, 9), (4.0, 1), (2.0, 0))]}}
        text = "\n".join(shapes.table(record))
        self.assertRegex(text, r"ingot +50\.00 +3\.0000 .* 1\.0000 +0\.06 +10 ")
        self.assertIn("failed: ort: gone", text)

    def test_open_shapes_are_compared_with_models_of_one(self):
        besides = [{"beside": {"call": {"open": m, "one": 1.0}, "device": {"open": m / 2, "one": 1.0}}} for m in (2.0, 1.0)] + [{}]
        of_ranges = [{"first_ms": f, "ms": m, "again_ms": m + 1, "compiled": 0, "specialise_ms": 1.5, "plan_ms": 0.5, **beside} for f, m, beside in zip((50.0, 6.0, 5.0), (2.0, 1.0, 3.0), besides)]
        record = {"network": "n", "device": "cuda", "precision": "fp16", "shapes": [1, 2, 3], "failures": {}, "peers": {"ingot of ranges": of_ranges}}
        text = "\n".join(shapes.table(record))
        self.assertIn("ingot of ranges: a first answer takes 3.50 ms more than later ones, 2.50 more than one to the same shape after a pause and of inputs as new; of these specialise 1.50, plan 0.50", text)
        self.assertIn("ingot of ranges: calls take 1.414 times as long as with a model of that shape alone, 2.000 at worst, over 2 shapes in turns; on the device 0.707, 1.000 at worst", text)

    def test_sessions_are_medians_of_rounds(self):
        rounds = [{"per_second": p, "p50_ms": 1.0, "p99_ms": 2.0} for p in (100.0, 300.0, 200.0)]
        text = "\n".join(serve.table({"network": "n", "batch": 1, "device": "cpu", "rounds": 3, "seconds": 1, "peers": {"ingot": {"8": rounds}}, "failures": {}}))
        self.assertRegex(text, r"ingot +8 +200\.0 +1\.0000 +2\.0000 +2\.00")


class Compare(unittest.TestCase):
    def test_two_runs_are_compared_by_what_stayed_the_same(self):
        text = "\n".join(compare.table(summary.summarise(records()), summary.summarise(records(0.5))))
        self.assertIn("resnet50 b1", text)
        self.assertIn("2.000", text)
        self.assertIn("1.000", text)  # the peer that was the same in both: how far the machines agree

    def test_their_page_says_the_same(self):
        a, b = summary.summarise(records()), summary.summarise(records(0.5))
        rows = compare.compared(a, b)
        reader, text = Reader(), page.render_comparison(a, b, rows)
        reader.feed(text)
        self.assertEqual(json.loads(reader.data), json.loads(json.dumps({"a": a, "b": b, "compared": rows})))
        self.assertEqual((reader.open, reader.fetched), ([], []))
        self.assertIn("Of 1 rows that both have, B is faster in 1, slower in 0", text)
        self.assertIn(f'<td class="strong ahead">{rows[0]["net"]:.3f}×</td>', text)


if __name__ == "__main__":
    unittest.main()
