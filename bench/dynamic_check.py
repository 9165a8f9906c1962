"""Whether Ingot agrees with PyTorch on the networks of bench/dynamic.py.

    python3 -m bench.dynamic_check --ingot build/release/ingot --device cpu [--record FILE] dynamic/*

Tensors before suppression, and the results of the other networks, are judged by ||a - b|| / ||b|| <= 1e-4. Detections are compared as a set, since
nearly equal scores may change their order and who is kept last: of PyTorch's, 98% must have one of Ingot's with the same label, an overlap of 0.99 and
a score within 1e-3, and the other way round; rows of proposals likewise, within 1e-3 of their norm.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile
import time

import numpy as np

NORM, MATCHED, OVERLAP, SCORE, LEAST_BOXES = 1e-4, 0.98, 0.99, 1e-3, 20


def read_pb(path):
    import onnx

    tensor = onnx.TensorProto()
    with open(path, "rb") as file:
        tensor.ParseFromString(file.read())
    return onnx.numpy_helper.to_array(tensor)


def norm_error(actual, expected):
    if actual.shape != expected.shape or actual.dtype != expected.dtype:
        return float("inf")
    a, b = actual.astype(np.float64), expected.astype(np.float64)
    if not np.isfinite(a).all():
        return float("inf")
    return float(np.linalg.norm(a - b) / max(np.linalg.norm(b), 1e-30))


def overlaps(a, b):
    """Intersection over union of every box of a with every box of b."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    inner = np.prod(np.clip(high - low, 0, None), -1)
    area = lambda boxes: np.prod(boxes[:, 2:] - boxes[:, :2], -1)
    return inner / np.maximum(area(a)[:, None] + area(b)[None] - inner, 1e-12)


def rows_matched(actual, expected):
    """The share of the expected rows that stand among the actual ones, whatever their order."""
    a, b = actual.astype(np.float64), expected.astype(np.float64)
    distance = np.sqrt(np.maximum((b * b).sum(1)[:, None] + (a * a).sum(1)[None] - 2 * b @ a.T, 0))
    scale = np.sqrt((b * b).sum(1)) + 1e-3
    return float((distance.min(1) <= 1e-3 * scale + 1e-4).mean())


def compare_detections(actual, expected):
    """Says what agrees of boxes, labels and scores, and of masks and keypoints where boxes match; failures in `wrong`."""
    wrong = []
    same = (overlaps(expected["boxes"], actual["boxes"]) >= OVERLAP) & (expected["labels"][:, None] == actual["labels"][None])
    same &= np.abs(expected["scores"][:, None] - actual["scores"][None]) <= SCORE
    there, back = float(same.any(1).mean()), float(same.any(0).mean())
    if len(expected["boxes"]) < LEAST_BOXES:
        wrong.append(f"only {len(expected['boxes'])} boxes")
    if min(there, back) < MATCHED:
        wrong.append(f"boxes matched {there:.3f} / {back:.3f}")
    facts = {"boxes": len(expected["boxes"]), "matched": there, "matched_back": back}
    for extra in set(expected) & {"masks", "keypoints", "keypoints_scores"}:
        pairs = [(i, int(same[i].argmax())) for i in range(len(same)) if same[i].any()]
        mine = np.stack([actual[extra][j] for _, j in pairs])
        theirs = np.stack([expected[extra][i] for i, _ in pairs])
        facts[extra] = norm_error(mine, theirs)
        # A box that moves by a part of a pixel moves its mask's edge.
        if facts[extra] > 1e-2:
            wrong.append(f"{extra} differ by {facts[extra]:.1e}")
    return facts, wrong


def compare(actual, expected):
    facts, wrong = {}, []
    if "boxes" in expected:
        facts, wrong = compare_detections(actual, expected)
    worst = 0.0
    for name, value in expected.items():
        if name in ("boxes", "labels", "scores", "masks", "keypoints", "keypoints_scores"):
            continue
        if name.startswith("rows_"):
            share = rows_matched(actual[name], value) if actual[name].shape[1:] == value.shape[1:] else 0.0
            facts[name] = share
            if share < MATCHED:
                wrong.append(f"{name}: {share:.3f} of the rows matched")
            continue
        error = norm_error(actual[name], value)
        worst = max(worst, error)
        if not error <= NORM:
            wrong.append(f"{name} differs by {error:.1e}")
    facts["worst_norm_error"] = worst
    return facts, wrong


def run(ingot, device, folder, work):
    """Ingot's outputs by name, through an archive; names in the model's order."""
    path = os.path.join(work, "out.npz")
    command = [ingot, "run", os.path.join(folder, "model.onnx"), "--device", device, "--data", os.path.join(folder, "test_data_set_0"), "-o", path, "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError((done.stderr.strip() or f"exit code {done.returncode}").splitlines()[-1])
    return dict(np.load(path))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ingot", required=True)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--record")
    parser.add_argument("folders", nargs="+")
    options = parser.parse_args()
    import onnx

    results, failed = {}, 0
    for folder in options.folders:
        name = os.path.basename(folder.rstrip("/"))
        start = time.time()
        names = [output.name for output in onnx.load(os.path.join(folder, "model.onnx"), load_external_data=False).graph.output]
        expected = {key: read_pb(os.path.join(folder, "test_data_set_0", f"output_{index}.pb")) for index, key in enumerate(names)}
        try:
            with tempfile.TemporaryDirectory() as work:
                facts, wrong = compare(run(options.ingot, options.device, folder, work), expected)
        except Exception as error:
            facts, wrong = {}, [str(error)]
        failed += bool(wrong)
        results[name] = {"agrees": not wrong, "seconds": round(time.time() - start, 2), **facts, "wrong": wrong}
        shown = " ".join(f"{key} {value:.3g}" for key, value in facts.items())
        print(f"{'FAIL' if wrong else 'ok  '} {name} on {options.device}: {shown} {'; '.join(wrong)}", flush=True)
    if options.record:
        with open(options.record, "w") as file:
            json.dump({"device": options.device, "networks": results}, file, indent=1)
    print(f"{len(results) - failed} of {len(results)} networks agree with PyTorch on {options.device}")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
