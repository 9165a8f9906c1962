"""Cases of what stands behind products, convolutions, pools and resizes: operands that the anchor reads too, several chains, sums of two anchors, bytes: python tests/regress/epilogues.py FOLDER"""
import sys
import numpy as np
from onnx import helper
from make import graph_case

folder = sys.argv[1]
rng = np.random.default_rng(11)


def x(*shape):
    return rng.standard_normal(shape).astype(np.float32)


def node(op, inputs, output, **attributes):
    return helper.make_node(op, inputs.split(), [output], **attributes)


graph_case(folder, 'epilogue_reads_operand', [node('MatMul', 'x w', 'a'), node('Sigmoid', 'a', 'b'), node('Mul', 'x b', 'y')], dict(x=x(9, 24)), dict(w=x(24, 24)))
graph_case(folder, 'epilogue_of_square', [node('MatMul', 'x x', 'a'), node('Add', 'x a', 'b'), node('Relu', 'b', 'y')], dict(x=x(2, 12, 12)), {})
graph_case(folder, 'epilogue_reads_result_twice', [node('Conv', 'x w', 'a', pads=[1, 1, 1, 1]), node('Add', 'a r', 'b'), node('Mul', 'b a', 'c'), node('Max', 'r c', 'y')], dict(x=x(2, 8, 5, 6), r=x(2, 16, 5, 6)), dict(w=x(16, 8, 3, 3)))
graph_case(folder, 'epilogue_sum_of_convs', [node('Conv', 'x v', 'a'), node('Conv', 'x w', 'b'), node('Add', 'b a', 'c'), node('Relu', 'c', 'd'), node('GlobalAveragePool', 'd', 'e'), node('Mul', 'd e', 'y')], dict(x=x(2, 8, 5, 6)), dict(v=x(8, 8, 1, 1), w=x(8, 8, 1, 1)))
graph_case(folder, 'epilogue_of_pools', [node('MaxPool', 'x', 'a', kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]), node('Add', 'a b', 'c'), node('Relu', 'c', 'd'), node('AveragePool', 'd', 'e', kernel_shape=[2, 2]), node('Mul', 'e s', 'y')], dict(x=x(2, 8, 9, 11), b=x(8, 1, 1)), dict(s=x(8, 1, 1)))
graph_case(folder, 'epilogue_of_resize', [helper.make_node('Resize', ['x', '', 's'], ['a'], mode='linear'), node('Add', 'r a', 'b'), node('Tanh', 'b', 'y')], dict(x=x(1, 4, 5, 6), r=x(1, 4, 10, 12)), dict(s=np.array([1, 1, 2, 2], np.float32)))
graph_case(folder, 'epilogue_of_bytes', [node('ConvInteger', 'x w p', 'a'), node('Cast', 'a', 'b', to=1), node('Mul', 'b s', 'c'), node('Add', 'c r', 'y')], dict(x=rng.integers(0, 255, (2, 8, 5, 6), np.uint8), r=x(2, 16, 5, 6)),
           dict(w=rng.integers(-99, 99, (16, 8, 1, 1), np.int8), p=np.array(7, np.uint8), s=x(16, 1, 1) / 100))
graph_case(folder, 'epilogue_of_two_columns', [node('MatMul', 'x v', 'a'), node('Add', 'a b', 'c'), node('Reshape', 'c s', 'd'), node('MatMul', 'x w', 'e'), node('Add', 'e f', 'g'), node('Reshape', 'g s', 'h'), node('Concat', 'd h', 'y', axis=0)],
           dict(x=x(6, 16)), dict(v=x(16, 8), w=x(16, 8), b=x(8), f=x(8), s=np.array([3, 16], np.int64)))
# Filters that the caller gives lie as the model has them: other code of the library, and few of its sizes are 1 by chance.
graph_case(folder, 'epilogue_one_channel', [node('Conv', 'x w', 'a'), node('Mul', 'a s', 'b'), node('Add', 'b r', 'y')], dict(x=x(2, 3, 5, 4), w=x(1, 3, 1, 1), r=x(2, 1, 5, 4)), dict(s=np.array(4, np.float32)))
graph_case(folder, 'epilogue_one_point', [node('Conv', 'x w', 'a', pads=[1, 1, 1, 1]), node('Add', 'a s', 'b'), node('Relu', 'b', 'y')], dict(x=x(1, 3, 1, 1), w=x(1, 3, 3, 3)), dict(s=np.array(1.5, np.float32)))
graph_case(folder, 'epilogue_one_input', [node('Conv', 'x w', 'a'), node('Add', 'a r', 'y')], dict(x=x(1, 1, 3, 2, 5), w=x(7, 1, 1, 1, 1), r=x(1, 7, 1, 1, 1)), {})
graph_case(folder, 'epilogue_one_position', [node('Conv', 'x w', 'a', pads=[1, 1]), node('Sub', 'r a', 'b'), node('Relu', 'b', 'y')], dict(x=x(3, 1, 1), r=x(3, 5, 1)), dict(w=x(5, 1, 3)))
