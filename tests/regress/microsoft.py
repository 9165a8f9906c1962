"""Cases of com.microsoft: python tests/regress/microsoft.py FOLDER"""
import sys
import numpy as np
from onnx import helper
from make import case as make, graph_case

folder = sys.argv[1]
rng = np.random.default_rng(7)


def f(*shape):
    return rng.standard_normal(shape).astype(np.float32)


def i32(*values):
    return np.array(values, np.int32)


def u8(*shape):
    return rng.integers(0, 256, shape).astype(np.uint8)


def i8(*shape):
    return rng.integers(-128, 128, shape).astype(np.int8)


def case(name, op, feeds, **more):
    make(folder, f'ms_{name}', op, feeds, **more)


def one(value, kind=np.float32):
    return np.array(value, kind)


def attention():
    q, k, v = f(2, 3, 8), f(2, 5, 8), f(2, 5, 8)
    mha = 'MultiHeadAttention'
    case('mha_cross', mha, dict(q=q, k=k, v=v, bias=f(24)), num_heads=2, scale=0.3)
    case('mha_lengths', mha, dict(q=q, k=k, v=v, bias=None, mask=i32(3, 5)), num_heads=2)
    case('mha_keys', mha, dict(q=q, k=k, v=v, bias=None, mask=rng.integers(0, 2, (2, 5)).astype(np.int32)), num_heads=4)
    case('mha_filter', mha, dict(q=q, k=k, v=v, bias=None, mask=rng.integers(0, 2, (2, 5)).astype(np.int32)), num_heads=4,
         mask_filter_value=-2.0)
    case('mha_queries', mha, dict(q=q, k=k, v=v, bias=None, mask=rng.integers(0, 2, (2, 3, 5)).astype(np.int32)), num_heads=2)
    case('mha_added', mha, dict(q=q, k=k, v=v, bias=None, mask=None, add=f(1, 2, 3, 5)), num_heads=2)
    case('mha_causal', mha, dict(q=f(2, 4, 8), k=f(2, 4, 8), v=f(2, 4, 8)), num_heads=2, unidirectional=1)
    case('mha_past', mha, dict(q=q, k=f(2, 3, 8), v=f(2, 3, 8), bias=None, mask=None, add=None, pk=f(2, 2, 4, 4), pv=f(2, 2, 4, 4)),
         num_heads=2, outputs=3, unidirectional=1)
    case('mha_bnsh', mha, dict(q=q, k=f(2, 2, 5, 4), v=f(2, 2, 5, 4)), num_heads=2)
    case('mha_wide_v', mha, dict(q=q, k=k, v=f(2, 5, 12)), num_heads=2)
    x, w, bias = f(2, 4, 6), f(6, 24), f(24)
    att = 'Attention'
    case('attention', att, dict(x=x, w=w, b=bias), num_heads=2, constants=('w', 'b'))
    case('attention_causal', att, dict(x=x, w=w, b=bias), num_heads=2, unidirectional=1)
    case('attention_ends', att, dict(x=x, w=w, b=bias, mask=i32(2, 4)), num_heads=2)
    case('attention_starts', att, dict(x=x, w=w, b=bias, mask=i32(4, 3, 1, 0)), num_heads=2)
    case('attention_keys', att, dict(x=x, w=w, b=bias, mask=np.array([[1, 1, 0, 0], [1, 0, 1, 1]], np.int32)), num_heads=2)
    case('attention_queries', att, dict(x=x, w=w, b=bias, mask=rng.integers(0, 2, (2, 4, 4)).astype(np.int32)), num_heads=2)
    case('attention_past', att, dict(x=x, w=w, b=bias, mask=None, past=f(2, 2, 2, 3, 4)), num_heads=2, outputs=2, unidirectional=1)
    case('attention_added', att, dict(x=x, w=w, b=bias, mask=None, past=None, add=f(2, 2, 4, 4)), num_heads=2)
    case('attention_sizes', att, dict(x=x, w=f(6, 22), b=f(22)), num_heads=2, qkv_hidden_sizes=[8, 8, 6], scale=0.2)
    gqa = 'GroupQueryAttention'
    new = dict(q=f(2, 4, 64), k=f(2, 4, 32), v=f(2, 4, 32), pk=None, pv=None)
    ends = dict(lengths=i32(3, 3), total=i32(4).reshape(()))
    heads = dict(num_heads=4, kv_num_heads=2, outputs=3)
    case('gqa_prompt', gqa, new | ends, **heads)
    case('gqa_window', gqa, new | ends, local_window_size=2, softcap=5.0, **heads)
    case('gqa_smooth', gqa, new | ends, smooth_softmax=1, **heads)
    angles = np.outer(np.arange(16), 1 / 100 ** (np.arange(8) / 8)).astype(np.float32)
    tables = dict(cos=np.cos(angles), sin=np.sin(angles))
    case('gqa_rotary', gqa, new | ends | tables, do_rotary=1, **heads)
    case('gqa_rotary_pairs', gqa, new | ends | tables, do_rotary=1, rotary_interleaved=1, **heads)
    case('gqa_packed', gqa, dict(q=f(2, 4, 128), k=None, v=None, pk=None, pv=None) | ends | tables, do_rotary=1, **heads)
    grown = dict(q=f(2, 1, 64), k=f(2, 1, 32), v=f(2, 1, 32), pk=f(2, 2, 5, 16), pv=f(2, 2, 5, 16), lengths=i32(5, 5), total=i32(6).reshape(()))
    case('gqa_grown', gqa, grown | tables, do_rotary=1, **heads)
    case('gqa_grown_known', gqa, grown | tables, do_rotary=1, constants=('total',), **heads)
    # Its total is known at run time only; what stands behind it is translated all the same.
    nodes = [helper.make_node('GroupQueryAttention', ['q', 'k', 'v', 'pk', 'pv', 'lengths', 'total'], ['a', 'y1', 'y2'],
                              domain='com.microsoft', num_heads=4, kv_num_heads=2),
             helper.make_node('MatMul', ['a', 'w'], ['m']), helper.make_node('Relu', ['m'], ['y0'])]
    graph_case(folder, 'ms_gqa_behind', nodes, grown, dict(w=f(64, 8)), ('y0', 'y1', 'y2'), (('', 17), ('com.microsoft', 1)))
    case('gqa_added', gqa, grown | dict(cos=None, sin=None, pos=None, add=f(2, 4, 1, 6)), **heads)
    case('gqa_sink', gqa, grown | dict(cos=None, sin=None, pos=None, add=None, sink=f(4)), **heads)
    case('gqa_uneven', gqa, grown | dict(lengths=i32(3, 5)) | tables, do_rotary=1, **heads)
    chunk = dict(q=f(1, 2, 64), k=f(1, 2, 32), v=f(1, 2, 32), pk=f(1, 2, 3, 16), pv=f(1, 2, 3, 16), lengths=i32(4), total=i32(5).reshape(()))
    case('gqa_chunk', gqa, chunk | tables, do_rotary=1, **heads)
    case('gqa_positions', gqa, chunk | tables | dict(pos=np.array([[7, 2]], np.int64)), do_rotary=1, **heads)
    angles = np.outer(np.arange(16), 1 / 100 ** (np.arange(2) / 2)).astype(np.float32)
    tables = dict(cos=np.cos(angles), sin=np.sin(angles))
    rotary = 'RotaryEmbedding'
    case('rotary_offset', rotary, dict(x=f(2, 3, 8), p=np.array([2], np.int64)) | tables)
    case('rotary_each', rotary, dict(x=f(2, 3, 8), p=rng.integers(0, 9, (2, 3))) | tables)
    case('rotary_pairs', rotary, dict(x=f(2, 2, 3, 4), p=rng.integers(0, 9, (2, 3))) | tables, interleaved=1)
    case('rotary_part', rotary, dict(x=f(2, 3, 12), p=np.array([1], np.int64)) | tables, num_heads=2, rotary_embedding_dim=4)


def layers():
    x = f(2, 3, 8)
    case('gelu', 'Gelu', dict(x=x))
    case('bias_gelu', 'BiasGelu', dict(x=x, b=f(8)))
    case('fast_gelu', 'FastGelu', dict(x=x))
    case('fast_gelu_bias', 'FastGelu', dict(x=x, b=f(8)))
    case('quick_gelu', 'QuickGelu', dict(x=x), alpha=1.3)
    norm = dict(x=x, s=f(2, 3, 8), g=f(8), b=f(8), c=f(8))
    case('skip_norm_bias', 'SkipLayerNormalization', norm, epsilon=1e-3)
    case('skip_norm_sum', 'SkipLayerNormalization', norm | dict(s=f(1, 3, 8)), inputs=list(norm), outputs=4)
    case('skip_norm_flat', 'SkipLayerNormalization', dict(x=f(3, 8), s=f(3, 8), g=f(8)))
    case('skip_rms', 'SkipSimplifiedLayerNormalization', dict(x=x, s=f(2, 3, 8), g=f(8), c=f(8)), outputs=4)
    make(folder, 'ms_rms_norm', 'SimplifiedLayerNormalization', dict(x=x, g=f(8)), domain='', epsilon=1e-4, axis=-1)
    ids, kinds = rng.integers(0, 9, (2, 3)).astype(np.int32), rng.integers(0, 2, (2, 3)).astype(np.int32)
    embed = dict(ids=ids, kinds=kinds, w=f(9, 8), p=f(5, 8), s=f(2, 8), g=f(8), b=f(8))
    case('embed_norm', 'EmbedLayerNormalization', embed, outputs=2)
    case('embed_norm_all', 'EmbedLayerNormalization',
         embed | dict(mask=np.array([[1, 1, 0], [1, 0, 0]], np.int32), pos=rng.integers(0, 5, (2, 3)).astype(np.int32)), outputs=3)
    case('embed_norm_words', 'EmbedLayerNormalization', embed | dict(kinds=None, s=None), outputs=2)
    case('cdist', 'CDist', dict(x=f(4, 3), y=f(5, 3)), metric='euclidean')
    case('cdist_squares', 'CDist', dict(x=f(4, 3), y=f(5, 3)))
    case('expand_dims', 'ExpandDims', dict(x=f(4, 3), axis=i32(-1).reshape(())), constants=('axis',))
    case('trilu', 'Trilu', dict(x=f(4, 3), k=one(1, np.int64)), upper=0)
    case('gather_nd', 'GatherND', dict(x=f(4, 3), i=np.array([[0, 1], [3, 2]], np.int64)))
    case('pad', 'Pad', dict(x=f(2, 3), p=np.array([[1, 0, 0, 2]], np.int64)), constants=('p',))
    case('grid_sample', 'GridSample', dict(x=f(1, 2, 4, 4), g=f(1, 3, 3, 2) / 2), align_corners=1)


def fused():
    conv = dict(x=f(1, 3, 6, 6), w=f(4, 3, 3, 3), b=f(4))
    case('conv_relu', 'FusedConv', conv, activation='Relu', pads=[1, 1, 1, 1], kernel_shape=[3, 3])
    case('conv_sum', 'FusedConv', conv | dict(z=f(1, 4, 4, 4)), activation='Relu')
    case('conv_clip', 'FusedConv', conv, activation='Clip', activation_params=[-0.5, 1.5], strides=[2, 2])
    case('conv_leaky', 'FusedConv', dict(x=conv['x'], w=conv['w']), activation='LeakyRelu', activation_params=[0.2])
    case('conv_hard', 'FusedConv', conv, activation='HardSigmoid', activation_params=[0.2, 0.4])
    case('gemm_leaky', 'FusedGemm', dict(a=f(3, 4), b=f(5, 4), c=f(5)), transB=1, activation='LeakyRelu', activation_alpha=0.3, alpha=0.5)
    case('gemm_tanh', 'FusedGemm', dict(a=f(4, 3), b=f(4, 5)), transA=1, activation='Tanh')
    case('matmul', 'FusedMatMul', dict(a=f(2, 4, 3), b=f(2, 5, 4)), transA=1, transB=1, alpha=0.5)
    case('matmul_batch', 'FusedMatMul', dict(a=f(4, 2, 3, 6), b=f(2, 3, 6, 5)), transBatchA=1)
    case('matmul_batch_both', 'FusedMatMul', dict(a=f(6, 2, 4), b=f(6, 2, 5)), transBatchA=1, transBatchB=1, transA=1)
    case('matmul_vector', 'FusedMatMul', dict(a=f(4), b=f(4, 5)), alpha=2.0)
    case('matmul_turned', 'TransposeMatMul', dict(a=f(4, 3), b=f(4, 5)), transA=1, alpha=3.0)
    few = dict(a=f(2, 3, 40), q=u8(5, 3, 8), s=f(15) / 16)
    case('nbits_4', 'MatMulNBits', few, K=40, N=5, bits=4, block_size=16, constants=('q', 's'))
    case('nbits_4_zero', 'MatMulNBits', few | dict(z=u8(10)), K=40, N=5, bits=4, block_size=16, constants=('q', 's', 'z'))
    case('nbits_4_floats', 'MatMulNBits', few | dict(z=f(15)), K=40, N=5, bits=4, block_size=16, constants=('q', 's', 'z'))
    case('nbits_4_bias', 'MatMulNBits', few | dict(z=None, g=None, c=f(5)), K=40, N=5, bits=4, block_size=16, constants=('q', 's'))
    case('nbits_8', 'MatMulNBits', dict(a=f(3, 40), q=u8(5, 2, 32), s=f(10) / 256, z=u8(10)), K=40, N=5, bits=8, block_size=32,
         constants=('q', 's', 'z'))
    case('nbits_2', 'MatMulNBits', dict(a=f(3, 64), q=u8(5, 2, 8), s=f(5, 2)), K=64, N=5, bits=2, block_size=32, constants=('q', 's'))
    rows = dict(d=u8(6, 32), i=rng.integers(0, 6, (2, 3)), s=f(6, 4), z=u8(6, 2))
    case('gather_4', 'GatherBlockQuantized', rows, bits=4, block_size=16, gather_axis=0, quantize_axis=1)
    case('gather_4_plain', 'GatherBlockQuantized', rows | dict(z=None), bits=4, block_size=16, gather_axis=0, quantize_axis=1)
    case('gather_8', 'GatherBlockQuantized', dict(d=u8(6, 64), i=rng.integers(0, 6, (4,)), s=f(6, 4), z=u8(6, 4)), bits=8, block_size=16)


def quantised():
    def q(name, x, scale, zero):
        return {name: x, f'{name}_s': one(scale), f'{name}_z': None if zero is None else one(zero, x.dtype)}

    def to(scale, zero, kind=np.uint8):
        return dict(to_s=one(scale), to_z=one(zero, kind))

    a, b = u8(2, 3, 4), u8(2, 3, 4)
    case('qadd', 'QLinearAdd', q('a', a, 0.0203, 120) | q('b', b, 0.0313, 7) | to(0.0517, 100))
    case('qadd_signed', 'QLinearAdd', q('a', i8(2, 3, 4), 0.02, 12) | q('b', i8(3, 1), 0.0313, -7) | to(0.0517, 10, np.int8))
    case('qmul', 'QLinearMul', q('a', a, 0.02, 120) | q('b', b, 0.031, 7) | to(0.13, 100))
    case('qsigmoid', 'QLinearSigmoid', q('a', a, 0.03, 120) | to(1 / 256, 0))
    case('qleaky', 'QLinearLeakyRelu', q('a', i8(2, 3, 4), 0.03, 3) | to(0.025, -5, np.int8), alpha=0.1)
    case('qwhere', 'QLinearWhere', dict(c=rng.integers(0, 2, (2, 3, 4)).astype(bool)) | q('a', a, 0.03, 120) | q('b', b, 0.02, 10) | to(0.04, 50))
    case('qconcat', 'QLinearConcat', to(0.04, 50) | q('a', a, 0.03, 120) | q('b', u8(2, 2, 4), 0.02, 10), axis=1)
    case('qsoftmax', 'QLinearSoftmax', q('a', a, 0.03, 120) | to(1 / 256, 0), axis=-1, opset_=13)
    image = u8(1, 3, 5, 5)
    case('qglobal', 'QLinearGlobalAveragePool', q('a', image, 0.0317, 120) | to(0.0231, 100))
    case('qglobal_last', 'QLinearGlobalAveragePool', q('a', image, 0.0317, 120) | to(0.0231, 100), channels_last=1)
    case('qaverage', 'QLinearAveragePool', q('a', image, 0.0317, 120) | to(0.0231, 100), kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    case('qaverage_last', 'QLinearAveragePool', q('a', image, 0.0317, 120) | to(0.0231, 100), kernel_shape=[1, 2], strides=[1, 2], channels_last=1)
    case('nhwc_max', 'NhwcMaxPool', dict(x=u8(1, 5, 5, 3)), kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    conv = dict(x=u8(1, 3, 5, 5), xs=one(0.02), xz=one(120, np.uint8), w=i8(4, 3, 3, 3), ws=one(0.01), wz=one(0, np.int8)) | to(0.31, 100)
    case('qconv', 'QLinearConv', conv | dict(b=rng.integers(-99, 99, (4,)).astype(np.int32)), pads=[1, 1, 1, 1], constants=('w',))
    case('qconv_last', 'QLinearConv', conv | dict(x=u8(1, 5, 5, 3)), channels_last=1, strides=[2, 2], constants=('w',))
    table = [('word', u8(9, 8)), ('place', u8(5, 8)), ('kind', u8(2, 8)), ('gamma', u8(8)), ('beta', u8(8))]
    ids = dict(ids=rng.integers(0, 9, (2, 3)).astype(np.int32), kinds=rng.integers(0, 2, (2, 3)).astype(np.int32))
    scales = {f'{n}_s': one(s) for (n, _), s in zip(table, (0.02, 0.03, 0.01, 0.005, 0.02))}
    zeros = {f'{n}_z': one(z, np.uint8) for (n, _), z in zip(table, (120, 110, 130, 7, 99))}
    case('qembed', 'QEmbedLayerNormalization', ids | dict(table) | dict(mask=np.array([[1, 1, 0], [1, 0, 0]], np.int32)) | scales | zeros, outputs=2)
    x, w = u8(2, 3, 8), i8(8, 5)
    case('to_float', 'MatMulIntegerToFloat', dict(x=x, w=w, xs=one(0.03), ws=np.abs(f(5)), xz=one(120, np.uint8), wz=i8(5), b=f(5)))
    case('to_float_plain', 'MatMulIntegerToFloat', dict(x=x, w=w, xs=one(0.03), ws=one(0.2)))
    case('dynamic_matmul', 'DynamicQuantizeMatMul', dict(x=f(2, 3, 8), w=w, ws=np.abs(f(5)), wz=i8(5), b=f(5)), constants=('w', 'ws', 'wz'))
    case('dynamic_matmul_plain', 'DynamicQuantizeMatMul', dict(x=f(2, 3, 8), w=w, ws=one([0.2])), constants=('w', 'ws'))
    gemm = dict(x=u8(3, 8), xs=one(0.03), xz=one(120, np.uint8), w=i8(5, 8), ws=np.abs(f(5)) + 0.01, wz=np.zeros(5, np.int8))
    case('qgemm', 'QGemm', gemm | dict(c=rng.integers(-99, 99, (5,)).astype(np.int32)) | to(9.3, 110), transB=1, alpha=0.5)
    case('qgemm_float', 'QGemm', gemm, transB=1)
    att = dict(x=u8(2, 4, 6), w=i8(6, 24), b=f(24), xs=one(0.02), ws=one(0.01), mask=None, xz=one(120, np.uint8), wz=one(3, np.int8))
    case('qattention', 'QAttention', att, num_heads=2, constants=('w', 'ws', 'wz'))
    case('qattention_mask', 'QAttention', att | dict(mask=i32(2, 4)), num_heads=2, unidirectional=1, constants=('w', 'ws', 'wz'))
    case('quantize', 'QuantizeLinear', dict(x=f(2, 3), s=one([0.1, 0.2]), z=np.array([3, 9], np.uint8)), axis=0)
    case('dequantize', 'DequantizeLinear', dict(x=u8(2, 3), s=one(0.1), z=one(9, np.uint8)), axis=0)


attention()
layers()
fused()
quantised()
