"""Models whose inputs and results are sequences and optionals: python tests/regress/sequences.py FOLDER"""
import os
import sys
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from make import KINDS

folder = sys.argv[1]
rng = np.random.default_rng(9)
FLOAT, INT, STRING = TensorProto.FLOAT, TensorProto.INT64, TensorProto.STRING


def x(*shape):
    return rng.standard_normal(shape).astype(np.float32)


def tensor(kind=FLOAT, shape=None):
    return helper.make_tensor_type_proto(kind, shape)


def sequence(kind=FLOAT, shape=None):
    return helper.make_sequence_type_proto(tensor(kind, shape))


def optional(inner):
    return helper.make_optional_type_proto(inner)


def node(op, inputs, outputs, **attributes):
    return helper.make_node(op, inputs.split(), outputs.split(), **attributes)


def values(types):
    return [helper.make_value_info(name, kind) for name, kind in types.items()]


def message(name, value, kind):
    """The protobuf that a test keeps such a value in."""
    if kind.HasField('optional_type'):
        out = onnx.OptionalProto(name=name)
        inner = kind.optional_type.elem_type
        if value is None:
            return out
        if inner.HasField('sequence_type'):
            out.elem_type = onnx.OptionalProto.SEQUENCE
            out.sequence_value.CopyFrom(message(name, value, inner))
        else:
            out.elem_type = onnx.OptionalProto.TENSOR
            out.tensor_value.CopyFrom(message(name, value, inner))
        return out
    if kind.HasField('sequence_type'):
        out = onnx.SequenceProto(name=name, elem_type=onnx.SequenceProto.TENSOR)
        out.tensor_values.extend(numpy_helper.from_array(np.asarray(v)) for v in value)
        return out
    return numpy_helper.from_array(np.asarray(value), name)


def case(name, nodes, inputs, feeds, outputs, expected=None, constants=()):
    """inputs, outputs: name -> type. expected: where ONNX Runtime's Python cannot take or give such a value."""
    initial = [numpy_helper.from_array(v, n) for n, v in dict(constants).items()]
    graph = helper.make_graph(nodes, 'g', values(inputs), values(outputs), initial)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 18)], ir_version=9)
    if expected is None:
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=['CPUExecutionProvider'])
        expected = session.run(None, feeds)
    data = os.path.join(folder, name, 'test_data_set_0')
    os.makedirs(data, exist_ok=True)
    onnx.save(model, os.path.join(folder, name, 'model.onnx'))
    for group, types, given in (('input', inputs, feeds.values()), ('output', outputs, expected)):
        for i, ((n, kind), value) in enumerate(zip(types.items(), given)):
            with open(os.path.join(data, f'{group}_{i}.pb'), 'wb') as file:
                file.write(message(n, value, kind).SerializeToString())


def graph(name, nodes, inputs, outputs):
    return helper.make_graph(nodes, name, values(inputs), values(outputs))


pair = [x(2, 3), x(4, 3)]
two = np.array(2, np.int64)
case('given_sequence_concat', [node('ConcatFromSequence', 's', 'a', axis=0), node('Relu', 'a', 'y')], dict(s=sequence()), dict(s=pair), dict(y=tensor()))
case('given_sequence_passed_on', [node('Identity', 's', 'y'), node('Identity', 's', 'z'), node('SequenceLength', 's', 'n')],
     dict(s=sequence()), dict(s=pair), dict(y=sequence(), z=sequence(), n=tensor(INT)))
case('given_sequence_empty', [node('SequenceInsert', 's x', 'y'), node('SequenceLength', 's', 'n')], dict(s=sequence(), x=tensor(FLOAT, [2])),
     dict(s=[], x=x(2)), dict(y=sequence(), n=tensor(INT)))
case('given_sequence_chosen', [node('SequenceAt', 's i', 'a'), node('SequenceErase', 's i', 'r'), node('ConcatFromSequence', 'r', 'b', axis=0),
                            node('Add', 'a b', 'y')], dict(s=sequence(), i=tensor(INT, [])),
     dict(s=[x(1, 3), x(1, 3), x(1, 3)][:2], i=np.array(-1)), dict(y=tensor()))
case('given_sequence_strings', [node('SequenceAt', 's one', 'a'), node('SequenceInsert', 's a zero', 'y')], dict(s=sequence(STRING)),
     dict(s=[np.array(['ja', 'nein'], object), np.array(['vielleicht'], object)]), dict(y=sequence(STRING), a=tensor(STRING)),
     constants=dict(one=np.array(1), zero=np.array(0)))
case('given_sequence_shapes', [node('SequenceAt', 's zero', 'shape'), node('Expand', 'x shape', 'y')], dict(s=sequence(INT), x=tensor(FLOAT, [1, 'n'])),
     dict(s=[np.array([3, 4]), np.array([9])], x=x(1, 4)), dict(y=tensor()), constants=dict(zero=np.array(0)))
case('given_sequence_halves', [node('ConcatFromSequence', 's', 'y', axis=0, new_axis=1)], dict(s=sequence(TensorProto.FLOAT16)),
     dict(s=[x(2, 2).astype(np.float16), x(2, 2).astype(np.float16)]), dict(y=tensor(TensorProto.FLOAT16)))
case('given_sequence_unused', [node('Relu', 'x', 'y')], dict(s=sequence(INT), x=tensor(FLOAT, [3])), dict(s=[np.array([1])], x=x(3)), dict(y=tensor()))
more = graph('body', [node('SequenceAt', 's i', 'e'), node('Add', 'e a', 'ao'), node('Identity', 'c', 'co')],
             dict(i=tensor(INT, []), c=tensor(TensorProto.BOOL, []), a=tensor()), dict(co=tensor(TensorProto.BOOL, []), ao=tensor()))
case('given_sequence_loop', [node('SequenceLength', 's', 'n'), helper.make_node('Loop', ['n', '', 'x'], ['y'], body=more)],
     dict(s=sequence(), x=tensor(FLOAT, [2])), dict(s=[x(2), x(2), x(2)], x=x(2)), dict(y=tensor()))
grow = graph('body', [node('SequenceInsert', 't x', 'to'), node('Identity', 'c', 'co')],
             dict(i=tensor(INT, []), c=tensor(TensorProto.BOOL, []), t=sequence()), dict(co=tensor(TensorProto.BOOL, []), to=sequence()))
case('given_sequence_state', [helper.make_node('Loop', ['n', '', 's'], ['y'], body=grow)], dict(s=sequence(), x=tensor(FLOAT, [2]), n=tensor(INT, [])),
     dict(s=[x(1)], x=x(2), n=two), dict(y=sequence()))
branches = [graph(op, [node('SequenceInsert', 's x' + place, 'b')], {}, dict(b=sequence())) for op, place in (('front', ' zero'), ('back', ''))]
case('given_sequence_if', [helper.make_node('If', ['f'], ['y'], then_branch=branches[0], else_branch=branches[1])],
     dict(s=sequence(), x=tensor(FLOAT, [2]), f=tensor(TensorProto.BOOL, [])), dict(s=[x(1), x(3)], x=x(2), f=np.array(True)), dict(y=sequence()),
     constants=dict(zero=np.array(0)))
body = graph('body', [node('Relu', 'e', 'r'), node('Shape', 'e', 'd')], dict(e=tensor()), dict(r=tensor(), d=tensor(INT)))
case('given_sequence_map', [helper.make_node('SequenceMap', ['s'], ['y', 'd'], body=body)], dict(s=sequence()), dict(s=pair), dict(y=sequence(), d=sequence(INT)))

choice = [graph('has', [node('OptionalGetElement', 'o', 'g'), node('Add', 'g x', 'b')], {}, dict(b=tensor())),
          graph('has_not', [node('Identity', 'x', 'b')], {}, dict(b=tensor()))]
masked = [node('OptionalHasElement', 'o', 'f'), helper.make_node('If', ['f'], ['y'], then_branch=choice[0], else_branch=choice[1])]
types = dict(o=optional(tensor()), x=tensor(FLOAT, [3]))
given, base = x(3), x(3)
case('given_optional_given', masked, types, dict(o=given, x=base), dict(y=tensor()), [given + base])
case('given_optional_nothing', masked, types, dict(o=None, x=base), dict(y=tensor()), [base])
case('given_optional_passed_on', [node('Identity', 'o', 'y'), node('OptionalHasElement', 'o', 'f')], dict(o=optional(tensor())), dict(o=given),
     dict(y=optional(tensor()), f=tensor(TensorProto.BOOL)), [given, np.array(True)])
case('given_optional_nothing_passed_on', [node('Identity', 'o', 'y')], dict(o=optional(sequence())), dict(o=None), dict(y=optional(sequence())), [None])
case('given_optional_sequence', [node('OptionalGetElement', 'o', 's'), node('ConcatFromSequence', 's', 'y', axis=0)], dict(o=optional(sequence())),
     dict(o=pair), dict(y=tensor()), [np.concatenate(pair)])
