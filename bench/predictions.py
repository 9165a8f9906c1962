"""What the cost model predicts of each step beside what the step took, by operator and implementation: how far off its chip's row is, and where.

    python3 bench/predictions.py --ingot build/release/ingot resnet50.onnx bert.onnx@ids:8x128 -- --fp16 --device cuda

A model's steps are timed alone (`ingot inspect --sites`). Of each group: steps, milliseconds measured and predicted, the geometric mean of measured over predicted, how far single steps are
spread around it, and the step that the model sees least of. The last line is the correlation of ranks over all steps: what the tuner orders sites by.
"""
import argparse
import json
import math
import subprocess
import sys


def steps_of(ingot, model, options):
    path, _, shapes = model.partition("@")
    command = [ingot, "inspect", path, "--sites", "--json", *(["--shapes", shapes] if shapes else []), *options]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)["steps"]


def ranks(values):
    order = sorted(range(len(values)), key=values.__getitem__)
    found = [0] * len(values)
    for rank, at in enumerate(order):
        found[at] = rank
    return found


def correlation(a, b):
    mean_a, mean_b = sum(a) / len(a), sum(b) / len(b)
    both = sum((x - mean_a) * (y - mean_b) for x, y in zip(a, b))
    return both / math.sqrt(sum((x - mean_a) ** 2 for x in a) * sum((y - mean_b) ** 2 for y in b))


def main():
    own, options = sys.argv[1:], []
    if "--" in own:
        own, options = own[: own.index("--")], own[own.index("--") + 1 :]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ingot", default="build/release/ingot")
    parser.add_argument("models", nargs="+", help="FILE, or FILE@NAME:SHAPE,...")
    arguments = parser.parse_args(own)
    groups, everything = {}, []
    for model in arguments.models:
        for step in steps_of(arguments.ingot, model, options):
            if step["ms"] > 0 and step["predicted_ms"] > 0:
                groups.setdefault((step["op"], step["tactic"].split(" ")[0]), []).append(step)
                everything.append(step)
    print(f"{'operator':14} {'implementation':18} {'steps':>5} {'ms':>9} {'predicted':>9} {'ratio':>6} {'spread':>6}  least seen")
    for (op, name), steps in sorted(groups.items(), key=lambda item: -sum(step["ms"] for step in item[1])):
        logs = [math.log(step["ms"] / step["predicted_ms"]) for step in steps]
        mean = sum(logs) / len(logs)
        spread = math.exp(math.sqrt(sum((x - mean) ** 2 for x in logs) / len(logs)))
        worst = steps[logs.index(max(logs))]
        measured, predicted = (sum(step[key] for step in steps) for key in ("ms", "predicted_ms"))
        print(f"{op:14} {name:18} {len(steps):5} {measured:9.3f} {predicted:9.3f} {math.exp(mean):6.2f} {spread:6.2f}  {worst['name']} {worst['ms']:.4f} for {worst['predicted_ms']:.4f}")
    if len(everything) > 2:
        print(f"ranks of {len(everything)} steps agree by {correlation(ranks([s['ms'] for s in everything]), ranks([s['predicted_ms'] for s in everything])):.3f}")


if __name__ == "__main__":
    main()
