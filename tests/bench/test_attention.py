"""The rows and models of `bench attention`, and what is said of them."""
import os
import tempfile
import unittest

import onnx

from bench import attention


def entry(row, *rounds):
    return {**row, "flops": attention.flops(row), "rounds": list(rounds), "absent": {}, "error": 1e-4, "kernels": 8, "tactics": {"region:mma_attention": [8, 0.1]}}


class Attention(unittest.TestCase):
    def test_rows_are_all_different(self):
        rows = attention.rows()
        self.assertEqual(len({attention.described(row) for row in rows}), len(rows))
        self.assertEqual({row["size"] for row in rows}, {32, 64, 128})

    def test_work_of_a_causal_one_is_half(self):
        row = attention.row_of(2, 3, 64, 128, False)
        self.assertEqual(attention.flops(row), 4 * 2 * 3 * 128 * 128 * 64)
        self.assertEqual(attention.flops({**row, "causal": True}), attention.flops(row) / 2)

    def test_models_are_valid_and_have_their_masks(self):
        masks = {(False, False): None, (True, False): "Where", (False, True): "Add"}
        with tempfile.TemporaryDirectory() as folder:
            for (causal, bias), mask in masks.items():
                path = os.path.join(folder, "model.onnx")
                attention.write_model(path, attention.row_of(2, 3, 32, 49, causal, bias))
                model = onnx.load(path)
                onnx.checker.check_model(model, full_check=True)
                kinds = [node.op_type for node in model.graph.node]
                self.assertEqual(kinds.count("Softmax"), attention.IN_A_ROW)
                self.assertEqual({kind for kind in ("Where", "Add") if kind in kinds}, {mask} - {None})

    def test_the_fastest_library_is_the_one_compared_with(self):
        first, second = attention.row_of(1, 12, 64, 128, True), attention.row_of(64, 3, 32, 49, False, bias=True)
        record = {"way": "untuned", "failures": ["x: no memory"], "rows": [
            entry(first, {"flash": 0.02, "cudnn": 0.03, "ingot": 0.01}, {"flash": 0.02, "cudnn": 0.01, "ingot": 0.01}, {"flash": 0.02, "cudnn": 0.03, "ingot": 0.01}),
            entry(second, {"efficient": 0.004, "ingot": 0.008})]}
        self.assertAlmostEqual(attention.ratio(record["rows"][0]), 2)
        text = "\n".join(attention.table(record))
        self.assertIn("the fastest library over Ingot, untuned: 1.000 (geometric mean of 2), 0.50 to 2.00", text)
        self.assertIn("failed: x: no memory", text)


if __name__ == "__main__":
    unittest.main()
