"""Ingot beside PyTorch on one GPU in one run, fp16: PyTorch eager replayed as a CUDA graph (channels_last for images), and Ingot untuned and
tuned. Medians in milliseconds of one inference with inputs on the GPU. floor_ms comes from the operations' FLOPs and bytes.

    python3 bench/peers.py --ingot build/release/ingot --zoo zoo --record bench.json
"""
import argparse
import json
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import torch
import zoo

FLOOR = {("resnet50", 1): 0.0237, ("resnet50", 32): 0.474, ("bert", 1): 0.0516, ("bert", 32): 0.951}


def median_ms(run, budget=1.0):
    for _ in range(5):
        run()
    torch.cuda.synchronize()
    start = time.time()
    run()
    torch.cuda.synchronize()
    count = int(min(max(budget / max(time.time() - start, 1e-5), 20), 500))
    pairs = [(torch.cuda.Event(True), torch.cuda.Event(True)) for _ in range(count)]
    for begin, end in pairs:
        begin.record()
        run()
        end.record()
    torch.cuda.synchronize()
    return sorted(begin.elapsed_time(end) for begin, end in pairs)[count // 2]


def graphed(module, inputs):
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            module(*inputs)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        module(*inputs)
    return graph.replay


def torch_ms(name, batch):
    torch.backends.cudnn.benchmark = True
    module = zoo.build(name).cuda().half()
    inputs = [x.cuda() for x in zoo.ZOO[name][1](batch)]
    inputs = [x.half() if x.is_floating_point() else x for x in inputs]
    if inputs[0].dim() == 4:
        module = module.to(memory_format=torch.channels_last)
        inputs = [x.to(memory_format=torch.channels_last) for x in inputs]
    with torch.inference_mode():
        return median_ms(graphed(module, inputs))


def ingot_bench(ingot, model, *options):
    result = subprocess.run([ingot, "bench", model, "--device", "cuda", "--fp16", "--json", *options], capture_output=True, text=True)
    if result.returncode:
        raise RuntimeError(result.stderr.strip().splitlines()[-1] if result.stderr else f"exit code {result.returncode}")
    return json.loads(result.stdout)


def export(name, batch, folder):
    path = os.path.join(folder, f"{name}-script" + (f"-b{batch}" if batch != 1 else ""), "model.onnx")
    if not os.path.exists(path):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        torch.manual_seed(1)
        with torch.no_grad():
            zoo.export(zoo.build(name), zoo.ZOO[name][1](batch), "script", path)
    return path


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ingot", required=True)
    parser.add_argument("--zoo", required=True)
    parser.add_argument("--record", required=True)
    parser.add_argument("--models", default="resnet50,bert")
    parser.add_argument("--batches", default="1,32")
    parser.add_argument("--tune", default="60")
    options = parser.parse_args()
    rows = []
    for name in options.models.split(","):
        for batch in map(int, options.batches.split(",")):
            path = export(name, batch, options.zoo)
            row = {"model": name, "batch": batch, "floor_ms": FLOOR.get((name, batch)), "torch_eager_graph_ms": round(torch_ms(name, batch), 4)}
            torch.cuda.empty_cache()
            for key, extra in (("ingot_untuned_ms", ()), ("ingot_tuned_ms", ("--tune", options.tune, "--profile"))):
                try:
                    result = ingot_bench(options.ingot, path, *extra)
                    row[key] = round(result["device_ms"], 4)
                    row[key.replace("_ms", "_call_ms")] = round(result["host_ms"], 4)
                    if "steps" in result:
                        row["steps"] = [f"{s['ms']:.4f} {s['op']} {s['tactic']} {s['origins'][:80]}" for s in sorted(result["steps"], key=lambda s: -s["ms"])[:12]]
                except Exception as error:
                    row[key] = None
                    row[key + "_error"] = str(error)
            best = row.get("ingot_tuned_ms") or row.get("ingot_untuned_ms")
            row["ratio_to_torch"] = round(row["torch_eager_graph_ms"] / best, 3) if best else None
            rows.append(row)
            print(json.dumps({k: v for k, v in row.items() if k != "steps"}), flush=True)
    json.dump(rows, open(options.record, "w"), indent=1)
    slower = [f"{r['model']} b{r['batch']}" for r in rows if not r["ratio_to_torch"] or r["ratio_to_torch"] < 1]
    print(" ".join(f"{r['model']}-b{r['batch']}:{r['ratio_to_torch']}x" for r in rows) + (f"; slower than PyTorch: {', '.join(slower)}" if slower else ""))
    sys.exit(bool(slower))


if __name__ == "__main__":
    main()
