"""The drawn shapes of `bench transposed`, and what is said of them."""
import argparse
import contextlib
import io
import json
import os
import tempfile
import unittest

from bench import report, transposed


def entry(shape, library, **ways):
    rounds = [{"library_ms": library * drift, **{way + "_ms": ms * drift for way, ms in ways.items()}} for drift in (1, 1.1, 1.2)]
    return {**shape, "flops": transposed.flops(shape), "rounds": rounds, "ways": {way: {"ratio": library / ms, "error": 1e-4, "kernels": 1, "tactics": {"conv_transpose:mma_conv": [1, ms]}} for way, ms in ways.items()}}


class Transposed(unittest.TestCase):
    def test_shapes_are_drawn_alike_all_different_and_within_bounds(self):
        shapes = transposed.drawn(40, 0)
        self.assertEqual(shapes, transposed.drawn(40, 0))
        self.assertNotEqual(shapes, transposed.drawn(40, 1))
        self.assertEqual(len({transposed.described(shape) for shape in shapes}), 40)
        for shape in shapes:
            kernel, stride, padding, extra, dilation = shape["window"]
            self.assertLess(extra, max(stride, dilation))
            self.assertEqual((shape["channels"] % shape["groups"], shape["filters"] % shape["groups"]), (0, 0))
            self.assertLessEqual(transposed.flops(shape), transposed.LARGEST_FLOPS)
            self.assertTrue(all(((size - 1) * stride - 2 * padding + dilation * (kernel - 1) + extra + 1) > 0 for size in (shape["height"], shape["width"])))

    def test_work_and_description(self):
        shape = {"batch": 2, "channels": 16, "filters": 8, "height": 4, "width": 5, "groups": 2, "window": (3, 1, 2, 0, 2)}
        self.assertEqual(transposed.flops(shape), 2 * 2 * 4 * 5 * 16 * 4 * 9)
        self.assertEqual(transposed.described(shape), "2x16x4x5 to 8, k3 s1 p2+0 g2 d2")
        self.assertEqual(transposed.described(json.loads(json.dumps(shape))), transposed.described(shape))

    def test_table_compares_ways_and_names_failures(self):
        first, second = transposed.drawn(2, 0)
        record = {"ways": ["untuned", "own"], "rows": [entry(first, 1.0, untuned=2.0, own=0.5), entry(second, 3.0, untuned=3.0, own=4.0)], "failures": ["x: no memory"]}
        text = transposed.table(record)
        self.assertRegex(text[1], rf"{transposed.described(second).replace('+', '.')} +3\.3000 +3\.3000 +4\.4000 +1\.00 +0\.75")
        self.assertIn("untuned: 2 shapes: library over Ingot 0.707 (geometric mean), 0.50 to 1.00; 1 of them at least 0.8", text)
        self.assertIn("own: 2 shapes: library over Ingot 1.225 (geometric mean), 0.75 to 2.00; 1 of them at least 0.8", text)
        self.assertEqual(text[-1], "failed: x: no memory")
        self.assertIn("library 1.1000 ms  untuned 2.2000 ms 0.50 conv_transpose:mma_conv  own 0.5500 ms 2.00", transposed.line(record["rows"][0]))
        self.assertEqual(transposed.table({**record, "rows": []}), ["nothing was measured", "failed: x: no memory"])

    def test_a_record_is_gone_on_with_only_by_what_began_it(self):
        with tempfile.TemporaryDirectory() as folder:
            options = argparse.Namespace(device="cpu", ways=["own"], seed=0, tune=1.0, ingot=__file__, record=os.path.join(folder, "r.json"))
            record = transposed.begun(options)
            record["rows"].append(entry(transposed.drawn(1, 0)[0], 1.0, own=1.0))
            report.write_record(options.record, record)
            self.assertEqual(len(transposed.begun(options)["rows"]), 1)
            options.ways = ["own", "untuned"]
            with contextlib.redirect_stdout(io.StringIO()) as said:
                self.assertEqual(transposed.begun(options)["rows"], [])
            self.assertIn("begun anew", said.getvalue())


if __name__ == "__main__":
    unittest.main()
