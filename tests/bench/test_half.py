"""Models in half precision: no operator meets both precisions, nothing is multiplied in fp32, results stay near, what a schema wants in fp32 keeps its values."""
import unittest

import numpy
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from bench import half

FLOAT, HALF, INT64 = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.INT64


def value(name, kind, dims):
    return helper.make_tensor_value_info(name, kind, dims)


def constant(name, array):
    return numpy_helper.from_array(numpy.asarray(array), name)


def model(nodes, inputs, outputs, constants=(), opset=17):
    graph = helper.make_graph(nodes, "g", inputs, outputs, list(constants))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def types(converted):
    """{value: its type}, where every node's types agree: else it raises."""
    onnx.checker.check_model(converted)
    graph = onnx.shape_inference.infer_shapes(converted, strict_mode=True, check_type=True).graph
    return {v.name: v.type.tensor_type.elem_type for v in (*graph.value_info, *graph.output)}


class Half(unittest.TestCase):
    def check(self, original, feeds, tolerance=2e-3):
        wanted = ReferenceEvaluator(original).run(None, feeds)
        converted = half.convert(onnx.ModelProto.FromString(original.SerializeToString()))
        halves = {name: a.astype(numpy.float16) if a.dtype == numpy.float32 else a for name, a in feeds.items()}
        for got, expected in zip(ReferenceEvaluator(converted).run(None, halves), wanted):
            numpy.testing.assert_allclose(got.astype(numpy.float64), expected.astype(numpy.float64), rtol=tolerance, atol=tolerance)
        return converted, types(converted)

    def test_a_mask_of_constants_keeps_attention_in_half_precision(self):
        random = numpy.random.default_rng(0)
        weights = [constant(name, random.standard_normal((8, 8)).astype(numpy.float32)) for name in ("k", "w")]
        nodes = [helper.make_node("Constant", [], ["minus"], value_float=float("-inf")), helper.make_node("Constant", [], ["zero"], value=constant("", numpy.zeros(1, numpy.float32))),
                 helper.make_node("Where", ["mask", "zero", "minus"], ["bias"]), helper.make_node("MatMul", ["x", "k"], ["scores"]), helper.make_node("Add", ["scores", "bias"], ["masked"]),
                 helper.make_node("Softmax", ["masked"], ["shares"], axis=-1), helper.make_node("MatMul", ["shares", "w"], ["mixed"]), helper.make_node("Add", ["x", "mixed"], ["sum"]),
                 helper.make_node("LayerNormalization", ["sum", "scale"], ["y"], stash_type=1)]
        original = model(nodes, [value("x", FLOAT, [4, 8]), value("mask", TensorProto.BOOL, [4, 8])], [value("y", FLOAT, [4, 8])], [*weights, constant("scale", numpy.ones(8, numpy.float32))])
        feeds = {"x": random.standard_normal((4, 8)).astype(numpy.float32), "mask": numpy.tri(4, 8, 2).astype(bool)}
        _, kinds = self.check(original, feeds, 1e-2)
        self.assertEqual(set(kinds.values()), {HALF})

    def test_what_a_schema_wants_in_fp32_keeps_its_value(self):
        nodes = [helper.make_node("Resize", ["x", "", "scales"], ["big"], mode="nearest"), helper.make_node("Range", ["zero", "width", "step"], ["places"]), helper.make_node("Add", ["big", "places"], ["y"])]
        constants = [constant("scales", numpy.array([1, 1, 1, 2.0002], numpy.float32)), constant("zero", numpy.float32(0)), constant("step", numpy.float32(1))]
        original = model(nodes, [value("x", FLOAT, [1, 1, 2, 3]), value("width", FLOAT, [])], [value("y", FLOAT, [1, 1, 2, 6])], constants)
        converted, kinds = self.check(original, {"x": numpy.arange(6, dtype=numpy.float32).reshape(1, 1, 2, 3), "width": numpy.float32(6)})
        kept = [numpy_helper.to_array(node.attribute[0].t).tolist() for node in converted.graph.node if node.op_type == "Constant"]
        self.assertIn([1.0, 1.0, 1.0, float(numpy.float32(2.0002))], kept)
        self.assertEqual((kinds["big"], kinds["places"], kinds["y"]), (HALF, HALF, HALF))

    def test_integers_stay_integers(self):
        nodes = [helper.make_node("Range", ["zero", "n", "one"], ["indices"]), helper.make_node("Gather", ["table", "indices"], ["rows"]), helper.make_node("Cast", ["indices"], ["numbers"], to=FLOAT),
                 helper.make_node("Mul", ["rows", "numbers"], ["y"])]
        constants = [constant("zero", numpy.int64(0)), constant("one", numpy.int64(1)), constant("table", numpy.arange(8, dtype=numpy.float32))]
        _, kinds = self.check(model(nodes, [value("n", INT64, [])], [value("y", FLOAT, ["n"])], constants), {"n": numpy.int64(5)})
        self.assertEqual((kinds["indices"], kinds["numbers"], kinds["y"]), (INT64, HALF, HALF))

    def test_branches_and_what_they_read_from_outside(self):
        branch = lambda name, factor: helper.make_graph([helper.make_node("Constant", [], [name + "_c"], value=constant("", numpy.float32(factor))), helper.make_node("Mul", ["x", name + "_c"], [name + "_m"]),
                                                         helper.make_node("Add", [name + "_m", "w"], [name])], name, [], [value(name, FLOAT, [3])])
        nodes = [helper.make_node("If", ["flag"], ["y"], then_branch=branch("yes", 2), else_branch=branch("no", -3))]
        original = model(nodes, [value("x", FLOAT, [3]), value("flag", TensorProto.BOOL, [])], [value("y", FLOAT, [3])], [constant("w", numpy.array([1, 2, 3], numpy.float32))])
        for flag in (True, False):
            self.check(original, {"x": numpy.array([1, -2, 4], numpy.float32), "flag": numpy.array(flag)})

    def test_results_that_a_schema_gives_in_fp32_are_cast(self):
        nodes = [helper.make_node("DynamicQuantizeLinear", ["x"], ["bytes", "scale", "zero"]), helper.make_node("Mul", ["x", "scale"], ["y"])]
        _, kinds = self.check(model(nodes, [value("x", FLOAT, [2, 4])], [value("y", FLOAT, [2, 4]), value("bytes", TensorProto.UINT8, [2, 4])]), {"x": numpy.arange(-4, 4, dtype=numpy.float32).reshape(2, 4)})
        self.assertEqual((kinds["scale"], kinds["y"], kinds["bytes"]), (HALF, HALF, TensorProto.UINT8))

    def test_constants_beyond_half_precision_stay_finite_and_divisors_stay_other_than_zero(self):
        least = float(numpy.finfo(numpy.float16).smallest_subnormal)
        tensor = half.rounded(constant("c", numpy.array([-3.4e38, 1e-12, -1e-12, 0, numpy.inf, 65504, 1.5], numpy.float32)))
        self.assertEqual(tensor.data_type, HALF)
        self.assertEqual(numpy_helper.to_array(tensor).tolist(), [-65504.0, least, -least, 0.0, float("inf"), 65504.0, 1.5])
        self.assertTrue(numpy.isnan(numpy_helper.to_array(half.rounded(constant("c", numpy.float32("nan"))))))


if __name__ == "__main__":
    unittest.main()
