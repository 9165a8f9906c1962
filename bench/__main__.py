"""`python3 -m bench COMMAND ...`, which is what `./dev bench COMMAND ...` runs: one module a command, each with a `main(arguments)`."""
import importlib
import sys

COMMANDS = {
    "zoo": ("bench.measure", "networks beside every peer: rounds that interleave, resumed where they were cut"),
    "report": ("bench.report", "table, JSON and page of a run"),
    "compare": ("bench.compare", "two runs beside each other"),
    "shapes": ("bench.shapes", "one network over many shapes: first and repeated answers, compiler calls"),
    "serve": ("bench.serve", "1 to 32 sessions of one engine: throughput, p50 and p99"),
    "loop": ("bench.loop", "greedy decoders in a Loop: what a step costs over its kernels"),
    "sites": ("bench.sites", "every distinct step of the zoo alone, against the libraries' kernels and its floor"),
    "transposed": ("bench.transposed", "transposed convolutions of drawn shapes beside cuDNN's"),
    "attention": ("bench.attention", "attention alone, beside PyTorch's flash attention and cuDNN's"),
    "export": ("bench.export", "the zoo as ONNX files with PyTorch's results"),
}


def main():
    if len(sys.argv) < 2 or sys.argv[1] not in COMMANDS:
        print("usage: ./dev bench COMMAND ...   (COMMAND --help says more)\n")
        for name, (_, summary) in COMMANDS.items():
            print(f"  {name:10s} {summary}")
        return 0 if sys.argv[1:] in ([], ["help"], ["-h"], ["--help"]) else 2
    return importlib.import_module(COMMANDS[sys.argv[1]][0]).main(sys.argv[2:])


if __name__ == "__main__":
    sys.exit(main())
