"""`bench report RUN.jsonl`: the table on the terminal; --json and --page write the same numbers as JSON and as one HTML page that needs no network."""
import argparse
import json
import os
import sys

from bench import store, summary

NONE = "-"


def milliseconds(value):
    if value is None:
        return NONE
    return f"{value:.4f}" if value < 10 else f"{value:.2f}" if value < 1000 else f"{value:.0f}"


def percent(share):
    """1.2%, 0.03%"""
    return f"{share * 100:.1f}%" if share >= 0.01 else f"{share * 100:.2f}%"


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
        noise = f"{(again['ratio'] - 1) * 100:+.1f}%" if (again := summary.noise_in(row, subject)) else NONE
        mine = row["peers"].get(subject)
        lines.append([summary.name_of(row), *times, best or NONE, milliseconds(row["peers"][best]["median_ms"]) if best else NONE, ratio_text(row["ratio"]), noise,
                      milliseconds(row.get("floor_ms")), f"{mine['spread'] * 100:.1f}%" if mine else NONE])
    out = columns(lines)
    out.append(f"milliseconds of one inference, enqueued back to back, caches hot; ratio: best peer / {subject}, with its 95% interval over rounds")
    for name, noise in result["noise"].items():
        out.append(f"A/A: {name} measured twice differs by less than 2% in {noise['within_2_percent']} of {noise['rows']} rows; median {noise['median'] * 100:.2f}%, largest {noise['largest'] * 100:.2f}%")
    overall = result["overall"]
    if overall["with_ratio"]:
        out.append(f"{overall['with_ratio']} of {overall['rows']} rows have a ratio: geometric mean {overall['geometric_mean']:.3f}, least {overall['least']:.3f}; {subject} ahead in {overall['ahead']}, behind in {overall['behind']}, nobody in {overall['level']}")
    for item in result["absent"]:
        out.append(f"absent: {item['peer']}: {item['why']}")
    out += failures(result["rows"])
    out += measured_on(result)
    out += [f"does not agree with PyTorch in fp32, and counts for nothing: {name}" for name in result["disagree"]]
    return out


def failures(rows):
    return [f"failed: {where}: {name}: {error}" for name, where, error in failed_alike(rows)]


def failed_alike(rows):
    """[(peer, rows, error)]: once each, with the rows in which a peer failed alike, whatever the row's folder is called."""
    alike = {}
    for row in rows:
        for name, error in row["failures"].items():
            alike.setdefault((name, error.replace(f"{row['network']}-b{row['batch']}", "")), []).append((summary.name_of(row), error))
    return [(name, "all rows" if len(found) == len(rows) > 1 else ", ".join(row for row, _ in found), found[0][1]) for (name, _), found in alike.items()]


def spent(result):
    """Where the time went: rows by part, and what was prepared side by side, by stage."""
    found = result["spent"]
    parts = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in found["parts"].items())
    out = [f"time: preparing {found['preparing']:.0f} s; {found['rows']} rows: {parts or 'none'}"]
    if found["stages"]:
        out.append("preparing, seconds of all processes: " + ", ".join(f"{name} {seconds:.0f}" for name, seconds in sorted(found["stages"].items(), key=lambda item: -item[1])))
    return out


def measured_on(result):
    """A run may have gone on elsewhere."""
    if len(result["cards"]) < 2:
        return []
    return ["measured on different cards, each row whole on one: ratios hold, times of rows are not to be compared across them", *[f"  {card}: {', '.join(rows)}" for card, rows in result["cards"].items()]]


def print_table(records, subject=None):
    result = summary.summarise(records, subject)
    print("\n".join([*table(result), *spent(result)]))


def write_record(path, record):
    """A record that `--record` names, whole or not at all; None: nobody asked for it."""
    if path:
        os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
        with open(path + ".new", "w") as file:
            json.dump(record, file, indent=1)
        os.replace(path + ".new", path)


def main(arguments):
    parser = argparse.ArgumentParser(prog="bench report", description=__doc__)
    parser.add_argument("run")
    parser.add_argument("--subject", help="the Ingot whose ratios are shown; default: the last one tuned")
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--page", metavar="FILE")
    parser.add_argument("--sites", metavar="FILE", help="a record of `bench sites` that the page shows too")
    options = parser.parse_args(arguments)
    result = summary.summarise(store.read(options.run), options.subject)
    print("\n".join([*table(result), *spent(result)]))
    write_record(options.json, result)
    if options.page:
        from bench import page

        sites = json.load(open(options.sites)) if options.sites else None
        with open(options.page, "w") as file:
            file.write(page.render(result, sites))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
