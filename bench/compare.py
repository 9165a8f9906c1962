"""`bench compare A.jsonl B.jsonl`: two runs row by row. Runs of different hours or machines differ by more than their own noise says, so peers that both measured stand beside the
subject: a change is shown also after dividing by theirs, which takes out what the machine did.
"""
import argparse
import sys

from bench import report, stats, store, summary


SAME = 0.02  # by what two runs differ that nobody should speak of


def compared(a, b):
    """[{"row", "a_ms", "b_ms", "change": a / b, "peers": median of the peers' a / b, "net": change / peers, "noise", "word": faster, same or slower}]"""
    rows_a = {(row["network"], row["batch"]): row for row in a["rows"]}
    found = []
    for row in b["rows"]:
        before = rows_a.get((row["network"], row["batch"]))
        if not before or a["subject"] not in before["peers"] or b["subject"] not in row["peers"]:
            continue
        old, new = before["peers"][a["subject"]], row["peers"][b["subject"]]
        families = {p["name"]: p["family"] for p in b["peers"]}
        shared = [before["peers"][name]["median_ms"] / row["peers"][name]["median_ms"] for name in row["peers"] if families[name] == "peer" and name in before["peers"]]
        machine = stats.median(shared) if shared else None
        change = old["median_ms"] / new["median_ms"]
        noise, net = old["spread"] + new["spread"], change / machine if machine else None
        word = "same" if abs((net or change) - 1) <= max(noise, SAME) else "faster" if (net or change) > 1 else "slower"
        found.append({"row": summary.name_of(row), "a_ms": old["median_ms"], "b_ms": new["median_ms"], "change": change, "peers": machine,
                      "net": net, "noise": noise, "word": word})
    return found


def table(a, b):
    rows = compared(a, b)
    show = lambda value: f"{value:.3f}" if value else report.NONE
    lines = [["row", "A ms", "B ms", "A/B", "peers' A/B", "net", "noise", ""]]
    for row in rows:
        word = {"faster": "faster", "same": "", "slower": "SLOWER"}[row["word"]]
        lines.append([row["row"], report.milliseconds(row["a_ms"]), report.milliseconds(row["b_ms"]), show(row["change"]), show(row["peers"]), show(row["net"]), f"{row['noise'] * 100:.1f}%", word])
    out = [f"A: {a['subject']}, {a['date']}    B: {b['subject']}, {b['date']}", *report.columns(lines)]
    if rows:
        out.append(f"geometric mean of A/B {stats.geometric_mean([r['change'] for r in rows]):.3f}; net of the peers' {stats.geometric_mean([r['net'] or r['change'] for r in rows]):.3f}; "
                   "marked where it exceeds both spreads together and 2%")
    return out


def main(arguments):
    parser = argparse.ArgumentParser(prog="bench compare", description=__doc__)
    parser.add_argument("a")
    parser.add_argument("b")
    parser.add_argument("--subject-a")
    parser.add_argument("--subject-b")
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--page", metavar="FILE")
    options = parser.parse_args(arguments)
    a, b = summary.summarise(store.read(options.a), options.subject_a), summary.summarise(store.read(options.b), options.subject_b)
    print("\n".join(table(a, b)))
    report.write_record(options.json, compared(a, b))
    if options.page:
        from bench import page

        with open(options.page, "w") as file:
            file.write(page.render_comparison(a, b, compared(a, b)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
