"""Cases of ai.onnx.ml: python tests/regress/ml.py FOLDER"""
import sys
import numpy as np
from make import case as make

folder = sys.argv[1]
rng = np.random.default_rng(11)


def f(*shape):
    return rng.standard_normal(shape).astype(np.float32)


def case(name, op, *inputs, version=3, outputs=1, **attributes):
    feeds = {f'x{i}': v for i, v in enumerate(inputs)}
    make(folder, f'ml_{name}', op, feeds, outputs=outputs, domain='ai.onnx.ml', version=version, **attributes)


def words(*shape):
    return rng.choice(['cat', 'dog', 'cow', 'emu'], shape).astype(object)


def linear():
    x = f(5, 3)
    three = dict(coefficients=f(9).tolist(), intercepts=f(3).tolist(), outputs=2)
    for transform in ('NONE', 'SOFTMAX', 'LOGISTIC', 'SOFTMAX_ZERO', 'PROBIT'):
        more = three | dict(coefficients=[0.1, 0, 0, 0, 0.1, 0, 0, 0, 0.1], intercepts=[0.5, 0.4, 0.6]) if transform == 'PROBIT' else three
        case(f'classifier_{transform.lower()}', 'LinearClassifier', np.clip(x, -3, 3), classlabels_ints=[7, 3, 5],
             post_transform=transform, **more)
    case('classifier_words', 'LinearClassifier', x, classlabels_strings=['a', 'b', 'c'], multi_class=1, **three)
    one = dict(coefficients=f(3).tolist(), intercepts=f(1).tolist(), outputs=2)
    case('classifier_two', 'LinearClassifier', x, classlabels_ints=[4, 9], **one)
    case('classifier_two_logistic', 'LinearClassifier', x, classlabels_strings=['no', 'yes'], post_transform='LOGISTIC', **one)
    case('classifier_two_softmax', 'LinearClassifier', x, classlabels_ints=[4, 9], post_transform='SOFTMAX', **one)
    case('classifier_int64', 'LinearClassifier', rng.integers(-3, 3, (4, 3)), classlabels_ints=[0, 1, 2], **three)
    case('regressor', 'LinearRegressor', x, coefficients=f(6).tolist(), intercepts=f(2).tolist(), targets=2)
    case('regressor_bare', 'LinearRegressor', x, coefficients=f(3).tolist(), post_transform='NONE')
    case('scaler_one', 'Scaler', x, offset=[0.5], scale=[2.0])
    case('scaler_ints', 'Scaler', rng.integers(0, 9, (4, 3)), offset=[1.0, 2.0, 3.0], scale=[0.5, 0.25, 2.0])
    holes = x.copy()
    holes[0, 1] = holes[2, 2] = np.nan
    case('imputer', 'Imputer', holes, imputed_value_floats=[1.0, 2.0, 3.0], replaced_value_float=float('nan'))
    case('imputer_one', 'Imputer', np.round(x), imputed_value_floats=[9.0], replaced_value_float=1.0)
    case('imputer_ints', 'Imputer', rng.integers(0, 3, (4, 3)), imputed_value_int64s=[5, 6, 7], replaced_value_int64=1)
    x[3] = 0
    for norm in ('MAX', 'L1', 'L2'):
        case(f'normalizer_{norm.lower()}', 'Normalizer', x, norm=norm)
    case('binarizer', 'Binarizer', x, threshold=0.3)


def encode():
    case('label_old', 'LabelEncoder', words(2, 3), version=1, classes_strings=['dog', 'cat'], default_int64=-3)
    case('label_old_back', 'LabelEncoder', rng.integers(0, 3, (4,)), version=1, classes_strings=['dog', 'cat'], default_string='none')
    case('label_floats', 'LabelEncoder', words(5), version=2, keys_strings=['dog', 'cat'], values_floats=[1.5, 2.5], default_float=-1.0)
    case('category', 'CategoryMapper', words(2, 3), cats_strings=['dog', 'cat', 'cow'], cats_int64s=[5, 9, 2])
    case('category_back', 'CategoryMapper', rng.integers(0, 3, (4, 1)), cats_strings=['dog', 'cat'], cats_int64s=[1, 2], default_string='?')
    case('one_hot', 'OneHotEncoder', rng.integers(0, 4, (3, 2)), cats_int64s=[2, 0, 1], zeros=1)
    case('one_hot_words', 'OneHotEncoder', words(4), cats_strings=['emu', 'cow', 'cat', 'dog'], zeros=0)
    case('one_hot_floats', 'OneHotEncoder', np.round(f(3, 2)), cats_int64s=[-1, 0, 1], zeros=1)
    case('vectorizer', 'FeatureVectorizer', f(3, 2), f(3, 1), inputdimensions=[2, 1])
    case('vectorizer_cut', 'FeatureVectorizer', f(3, 2), f(3, 3), inputdimensions=[4, 2])
    case('features', 'ArrayFeatureExtractor', f(3, 4), np.array([[2, 0]]))
    case('features_flat', 'ArrayFeatureExtractor', f(4), np.array([1, 3, 0]))


def forest(trees, depth, features, targets, prefix, each=None, sign=True):
    """Full random trees; every leaf weighs `each` targets (None: one by chance)."""
    modes = ['BRANCH_LEQ', 'BRANCH_LT', 'BRANCH_GTE', 'BRANCH_GT', 'BRANCH_EQ', 'BRANCH_NEQ']
    out = {f'nodes_{k}': [] for k in ('treeids', 'nodeids', 'featureids', 'modes', 'values', 'truenodeids', 'falsenodeids')}
    weights = {f'{prefix}_{k}': [] for k in ('treeids', 'nodeids', 'ids', 'weights')}
    for tree in range(trees):
        deep = depth if tree else max(depth - 1, 0)
        inner = 2 ** deep - 1
        for node in range(2 * inner + 1):
            leaf = node >= inner
            row = (tree, node, 0 if leaf else int(rng.integers(features)), 'LEAF' if leaf else modes[int(rng.integers(4))],
                   0.0 if leaf else float(np.float32(rng.normal())), 0 if leaf else 2 * node + 1, 0 if leaf else 2 * node + 2)
            for key, value in zip(out, row):
                out[key].append(value)
            if not leaf:
                continue
            for target in (range(targets) if each == 'all' else [int(rng.integers(targets)) if each is None else each]):
                weight = float(np.float32(rng.normal() if sign else abs(rng.normal()) / trees / 2))
                for key, value in zip(weights, (tree, node, target, weight)):
                    weights[key].append(value)
    return out | weights


def trees():
    x = f(20, 4)
    for rule in ('SUM', 'AVERAGE', 'MIN', 'MAX'):
        case(f'trees_{rule.lower()}', 'TreeEnsembleRegressor', x, aggregate_function=rule, n_targets=2, **forest(5, 3, 4, 2, 'target', 'all'))
    case('trees_base', 'TreeEnsembleRegressor', x, base_values=[0.5, -1.0], n_targets=2, **forest(5, 3, 4, 2, 'target'))
    case('trees_one', 'TreeEnsembleRegressor', x, n_targets=1, **forest(3, 2, 4, 1, 'target'))
    case('trees_leaf_root', 'TreeEnsembleRegressor', x, n_targets=1, **forest(3, 1, 4, 1, 'target'))
    three = dict(classlabels_int64s=[3, 1, 2], outputs=2)
    for transform in ('NONE', 'SOFTMAX', 'LOGISTIC'):
        case(f'forest_{transform.lower()}', 'TreeEnsembleClassifier', x, post_transform=transform, **three, **forest(4, 3, 4, 3, 'class', 'all'))
    case('forest_words', 'TreeEnsembleClassifier', x, classlabels_strings=['a', 'b', 'c'], outputs=2, **forest(4, 3, 4, 3, 'class', 'all', sign=False))
    case('forest_base', 'TreeEnsembleClassifier', x, base_values=[0.1, 0.2, 0.3], **three, **forest(4, 3, 4, 3, 'class', 'all'))
    two = dict(classlabels_int64s=[0, 1], outputs=2)
    for transform in ('NONE', 'LOGISTIC', 'SOFTMAX'):
        case(f'forest_two_{transform.lower()}', 'TreeEnsembleClassifier', x, post_transform=transform, **two, **forest(4, 3, 4, 2, 'class', 1))
        case(f'forest_two_positive_{transform.lower()}', 'TreeEnsembleClassifier', x, post_transform=transform, **two,
             **forest(4, 3, 4, 2, 'class', 1, sign=False))
        case(f'forest_two_first_{transform.lower()}', 'TreeEnsembleClassifier', x, post_transform=transform, **two,
             **forest(4, 3, 4, 2, 'class', 0))
    case('forest_two_base', 'TreeEnsembleClassifier', x, base_values=[0.3], post_transform='LOGISTIC', **two, **forest(4, 3, 4, 2, 'class', 0))
    holes = x.copy()
    holes[:7, 1] = np.nan
    nodes = forest(5, 3, 4, 2, 'target')
    case('trees_missing', 'TreeEnsembleRegressor', holes, n_targets=2, **nodes,
         nodes_missing_value_tracks_true=[int(v) for v in rng.integers(0, 2, len(nodes['nodes_modes']))])
    case('trees_double', 'TreeEnsembleRegressor', x.astype(np.float64), n_targets=2, **forest(5, 3, 4, 2, 'target'))


def machines():
    x = f(9, 3)
    for kind in ('LINEAR', 'POLY', 'RBF', 'SIGMOID'):
        case(f'svm_{kind.lower()}', 'SVMRegressor', x, kernel_type=kind, kernel_params=[0.4, 0.3, 2.0], n_supports=4,
             support_vectors=f(12).tolist(), coefficients=f(4).tolist(), rho=[0.2])
    common = dict(kernel_type='RBF', kernel_params=[0.4, 0.3, 2.0], support_vectors=f(18).tolist())
    case('svm_one_class', 'SVMRegressor', x, n_supports=6, coefficients=f(6).tolist(), rho=[0.1], one_class=1, **common)
    case('svm_line', 'SVMRegressor', x, kernel_type='LINEAR', kernel_params=[0.0] * 3, coefficients=f(3).tolist(), rho=[0.1])
    two = dict(vectors_per_class=[2, 4], coefficients=f(6).tolist(), rho=[0.1], outputs=2, **common)
    case('svm_two', 'SVMClassifier', x, classlabels_ints=[3, 8], **two)
    case('svm_two_logistic', 'SVMClassifier', x, classlabels_strings=['no', 'yes'], post_transform='LOGISTIC', **two)
    case('svm_two_probable', 'SVMClassifier', x, classlabels_ints=[3, 8], prob_a=[-1.2], prob_b=[0.2], **two)
    case('svm_three', 'SVMClassifier', x, classlabels_ints=[3, 8, 5], vectors_per_class=[1, 2, 3], coefficients=f(12).tolist(),
         rho=f(3).tolist(), outputs=2, **common)
    case('svm_three_probable', 'SVMClassifier', x, classlabels_ints=[3, 8, 5], vectors_per_class=[1, 2, 3], coefficients=f(12).tolist(),
         rho=f(3).tolist(), prob_a=[-1.2, -2.0, -0.7], prob_b=[0.2, 0.1, -0.3], outputs=2, **common)
    case('svm_four', 'SVMClassifier', x, classlabels_strings=list('abcd'), vectors_per_class=[1, 2, 1, 2], coefficients=f(18).tolist(),
         rho=f(6).tolist(), post_transform='SOFTMAX', outputs=2, **common)


linear()
encode()
machines()
trees()
