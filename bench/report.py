"""`bench report RUN.jsonl`: the table on the terminal; --json and --page write the same numbers as JSON and as one HTML page that needs no network."""
import argparse
import json
import sys

from bench import store, summary

NONE = "-"


def milliseconds(value):
    if value is None:
        return NONE
    return f"{value:.4f}" if value < 10 else f"{value:.2f}" if value < 1000 else f"{value:.0f}"


def ratio_text(value):
    """1.25 [1.21, 1.30]"""
    if not value:
        return NONE
    interval = f" [{value['low']:.2f}, {value['high']:.2f}]" if value["low"] is not None else ""
    return f"{value['ratio']:.3f}{interval}"


def columns(lines):
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return ["  ".join(cell.ljust(width) if i == 0 else cell.rjust(width) for i, (cell, width) in enumerate(zip(line, widths))).rstrip() for line in lines]


def table(result):
    """The lines of the terminal's table."""
    subject = result["subject"]
    ours = [p["name"] for p in result["peers"] if p["family"] == "ingot"]
    lines = [["row", *ours, "best peer", "its ms", "ratio", "A/A", "floor", "spread"]]
    for row in result["rows"]:
        times = [milliseconds(row["peers"][name]["median_ms"]) if name in row["peers"] else "failed" if name in row["failures"] else NONE for name in ours]
        best = row["best_peer"]
        noise = next((f"{(value['ratio'] - 1) * 100:+.1f}%" for value in row["noise"].values() if value), NONE)
        mine = row["peers"].get(subject)
        lines.append([f"{row['network']} b{row['batch']}", *times, best or NONE, milliseconds(row["peers"][best]["median_ms"]) if best else NONE, ratio_text(row["ratio"]), noise,
                      milliseconds(row.get("floor_ms")), f"{mine['spread'] * 100:.1f}%" if mine else NONE])
    out = columns(lines)
    out.append(f"milliseconds of one inference, enqueued back to back, caches hot; ratio: best peer / {subject}, with its 95% interval over rounds")
    for name, noise in result["noise"].items():
        out.append(f"A/A: {name} measured twice differs by less than 2% in {noise['within_2_percent']} of {noise['rows']} rows; median {noise['median'] * 100:.2f}%, largest {noise['largest'] * 100:.2f}%")
    overall = result["overall"]
    if overall["with_ratio"]:
        out.append(f"{overall['with_ratio']} of {overall['rows']} rows have a ratio: geometric mean {overall['geometric_mean']:.3f}, least {overall['least']:.3f}, {subject} ahead in {overall['ahead']}")
    for item in result["absent"]:
        out.append(f"absent: {item['peer']}: {item['why']}")
    for row in result["rows"]:
        out += [f"failed: {row['network']} b{row['batch']}: {name}: {error}" for name, error in row["failures"].items()]
    out += [f"does not agree with PyTorch in fp32, and counts for nothing: {name}" for name in result["disagree"]]
    return out


def print_table(records, subject=None):
    print("\n".join(table(summary.summarise(records, subject))))


def main(arguments):
    parser = argparse.ArgumentParser(prog="bench report", description=__doc__)
    parser.add_argument("run")
    parser.add_argument("--subject", help="the Ingot whose ratios are shown; default: the last one tuned")
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--page", metavar="FILE")
    parser.add_argument("--sites", metavar="FILE", help="a record of `bench sites` that the page shows too")
    options = parser.parse_args(arguments)
    result = summary.summarise(store.read(options.run), options.subject)
    print("\n".join(table(result)))
    if options.json:
        with open(options.json, "w") as file:
            json.dump(result, file, indent=1)
    if options.page:
        from bench import page

        sites = json.load(open(options.sites)) if options.sites else None
        with open(options.page, "w") as file:
            file.write(page.render(result, sites))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
