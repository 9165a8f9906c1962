"""The tables of the page: ratios with their noise, who is missing, every number of its charts, the measurements that have no chart, and how all was measured."""
from bench.charts import Ratios, escape
from bench.report import failed_alike, milliseconds, percent
from bench.summary import name_of, noise_in

KINDS = (("median_ms", "device, hot"), ("flushed_ms", "device, flushed"), ("call_ms", "call, host"), ("call_device_ms", "call, device"), ("fresh_ms", "call, fresh addresses"))
TEXTS = ("who", "where", "why", "first met in", "best peer")
SLOWED_BY = {2: "clocks set by an application", 4: "power cap", 8: "hardware slowdown", 16: "sync boost", 32: "software thermal", 64: "hardware thermal", 128: "power brake", 256: "display clocks"}


def cell(text, kind=""):
    return f'<td class="{kind}">{text}</td>' if kind else f"<td>{text}</td>"


def head(title, kind=""):
    return f'<th class="{kind}">{title}</th>' if kind else f"<th>{title}</th>"


def table(titles, rows):
    """titles: texts, or whole heads."""
    heads = "".join(title if title.startswith("<th") else head(escape(title), "text" if title in TEXTS else "") for title in titles)
    return f'<div class="card"><table><thead><tr>{heads}</tr></thead><tbody>{"".join(f"<tr>{row}</tr>" for row in rows)}</tbody></table></div>'


def interval(value):
    return f"{value['low']:.3f} to {value['high']:.3f}" if value and value["low"] is not None else "-"


def same_way_of_others(result):
    """Ingots of other binaries in the subject's way."""
    label, way = result["subject"].rsplit(" ", 1)
    return [p["name"] for p in result["peers"] if p["family"] == "ingot" and p["name"].endswith(" " + way) and p["name"] != f"{label} {way}"]


def ratios(result):
    if not result["overall"]["with_ratio"]:
        return ""
    subject, others = result["subject"], same_way_of_others(result)
    chart, rows, floors = Ratios([row["ratio"] for row in result["rows"] if row["ratio"]]), [], any(row.get("floor_ms") for row in result["rows"])
    for row in result["rows"]:
        value, kind, mine = row["ratio"], row.get("standing", ""), row["peers"].get(subject)
        best = row["peers"].get(row["best_peer"])
        noise = f"{(again['ratio'] - 1) * 100:+.2f}%" if (again := noise_in(row, subject)) else "-"
        title = f"{name_of(row)}: best peer {row['best_peer']} {best['median_ms']:.4f} ms, ratio {value['ratio']:.3f}, interval {interval(value)}, {value['rounds']} rounds" if value else f"{name_of(row)}: no ratio"
        over = [f"{row['ratios'][name]['ratio']:.2f}×" if row["ratios"].get(name) else "-" for name in others]
        floor = f"{mine['median_ms'] / row['floor_ms']:.1f}×" if mine and row.get("floor_ms") else "-"
        rows.append(cell(escape(name_of(row))) + cell(chart.row(value, kind, title), "chart") + cell(f"{value['ratio']:.3f}×" if value else "-", f"strong {kind}") + cell(interval(value))
                    + cell(milliseconds(mine and mine["median_ms"])) + cell(milliseconds(best and best["median_ms"])) + cell(escape(row["best_peer"] or "none"), "text peer") + cell(noise)
                    + "".join(cell(each) for each in ([floor] if floors else []) + over))
    titles = ["row", head(chart.head(), "chart"), "ratio", "95% interval", f"{subject}, ms", "best peer, ms", "best peer", "noise (A/A)", *(["Ingot over floor"] if floors else []), *[f"{name} over {subject}" for name in others]]
    margin = f" or is as near to 1 as the largest A/A difference of this run, {percent(result['overall']['margin'])}," if result["noise"] else ""
    return (f"<h2>Best peer over Ingot, network by network</h2><p class='lead'>Time of the fastest peer whose results agree, divided by the time of {escape(subject)}: right of the line Ingot is faster. "
            f"The bar is the 95% interval from resampling rounds. Grey: the interval holds 1,{margin} and nobody won. A/A: the same engine measured twice.</p>" + table(titles, rows))


def missing(result):
    rows = [cell(escape(item["peer"])) + cell("all rows", "text") + cell(escape(item["why"]), "text long") for item in result["absent"]]
    rows += [cell(escape(name)) + cell(escape(where), "text wrap") + cell(escape(error), "text long failed") for name, where, error in failed_alike(result["rows"])]
    rows += [cell(escape(text.split(": ", 1)[1])) + cell(escape(text.split(": ", 1)[0]), "text") + cell("results differ from PyTorch's in fp32 by more than rounding explains: counts for nothing", "text long failed") for text in result["disagree"]]
    return "<h2>Absent, failed, wrong</h2>" + (table(["who", "where", "why"], rows) if rows else "<p class='lead'>Nobody.</p>")


def times(result):
    names = [p["name"] for p in result["peers"] if any(p["name"] in row["peers"] or p["name"] in row["failures"] for row in result["rows"])]
    rows = []
    for row in result["rows"]:
        cells = cell(escape(name_of(row)))
        best = min((e["median_ms"] for e in row["peers"].values() if e["agrees"] is not False), default=None)
        for name in names:
            entry = row["peers"].get(name)
            if entry:
                cells += cell(f"{milliseconds(entry['median_ms'])}<br><small>±{percent(entry['spread'])}</small>", "best" if entry["median_ms"] == best else "failed" if entry["agrees"] is False else "")
            else:
                cells += cell("failed", "failed") if name in row["failures"] else cell("")
        rows.append(cells + cell(milliseconds(row.get("floor_ms"))))
    return ("<h2>All times</h2><p class='lead'>Median over rounds in milliseconds, ± half the interquartile range. Bold: the fastest of the row whose results agree with PyTorch in fp32; "
            "<span class='failed'>coloured</span>: failed, or results do not agree.</p>" + table(["row", *names, "floor"], rows))


def variants(result):
    """The other ways to measure, for the subject and the best peer."""
    rows = []
    for row in result["rows"]:
        for name in dict.fromkeys([result["subject"], row["best_peer"]]):
            entry = row["peers"].get(name)
            if entry:
                extra = [f"{entry['kernels'] if entry['kernels'] is not None else '-'}", f"{entry['steps'] or '-'}", f"{entry['error']:.1e}" if entry["error"] is not None else "-"]
                rows.append(cell(escape(name_of(row))) + cell(escape(name), "text") + "".join(cell(milliseconds(entry[key])) for key, _ in KINDS) + "".join(cell(e) for e in extra))
    return ("<h2>Caches, calls and addresses</h2><p class='lead'>Milliseconds of the subject and of the best peer of each row: inference with hot and with flushed caches, the whole call with tensors on the host and on the device, "
            "and with inputs at fresh addresses. Kernels are nodes of the recorded CUDA graph, or launches seen by a profiler; the error is that against PyTorch in fp32.</p>"
            + table(["row", "who", *[title for _, title in KINDS], "kernels", "steps", "error"], rows))


def sites(record, top=30):
    """Those that lose most above their floors, over all rows."""
    from bench.sites import lost_ms

    chosen = sorted(record["sites"], key=lost_ms, reverse=True)[:top]
    rows = []
    for site in chosen:
        ways = "".join(cell(f"{milliseconds(site['ways'][way]['ms'])} <small>{escape(site['ways'][way]['tactic'][:24])}</small>" if way in site["ways"] else "") for way in record["ways"])
        share = f"{site['ms'] / site['floor_ms']:.1f}×" if site["floor_ms"] else "-"
        rows.append(cell(escape(site["op"])) + cell(escape(site["name"][:60]), "text") + cell(sum(site["rows"].values())) + ways + cell(milliseconds(site["floor_ms"])) + cell(share)
                    + cell(f"{site['library_over_own']:.2f}" if site["library_over_own"] else ""))
    return table(["step", "first met in", "times", *[f"{way}, ms" for way in record["ways"]], "floor, ms", "fastest / floor", "library / own"], rows)


def comparison(rows):
    """Of two runs: what changed in the subject, net of what changed in peers that are the same in both."""
    span = lambda row: {"ratio": row["net"] or row["change"], "low": (row["net"] or row["change"]) * (1 - row["noise"]), "high": (row["net"] or row["change"]) * (1 + row["noise"])}
    chart, kinds = Ratios([span(row) for row in rows]), {"faster": "ahead", "same": "level", "slower": "behind"}
    times = lambda value: f"{value:.3f}×" if value else "-"
    lines = [cell(escape(row["row"])) + cell(chart.row(span(row), kinds[row["word"]], f"{row['row']}: {row['word']}"), "chart") + cell(times(span(row)["ratio"]), f"strong {kinds[row['word']]}") + cell(times(row["change"]))
             + cell(times(row["peers"])) + cell(milliseconds(row["a_ms"])) + cell(milliseconds(row["b_ms"])) + cell(percent(row["noise"])) for row in rows]
    return ("<p class='lead'>A's time over B's: right of the line B is faster. The first number is net of what peers that both runs measured changed by, which takes out what the machine did; where both measured none, it is not. "
            "Grey: no more than both spreads together, or 2%.</p>" + table(["row", head(chart.head(), "chart"), "net A/B", "A/B", "peers' A/B", "A, ms", "B, ms", "noise"], lines))


def measured_where(result):
    gpus = result["machine"].get("gpus") or []
    return f"{gpus[0]['name'] if gpus else result['machine']['cpu']}, {result['precision']}, {result['date']}"


def bits(value):
    return ", ".join(name for bit, name in SLOWED_BY.items() if int(value) & bit) or "none"


def states(rows):
    """Over all rows, as texts: what was read of the machine while measuring."""
    found = {}
    for row in rows:
        for name, (low, high) in row["state"].items():
            before = found.get(name, (low, high))
            found[name] = (int(before[0]) & int(low), int(before[1]) | int(high)) if name == "slowed_by" else (min(before[0], low), max(before[1], high))
    shown = {"sm_mhz": "SM clock, MHz", "memory_mhz": "memory clock, MHz", "watts": "power, W", "celsius": "temperature, °C", "load": "load of the machine"}
    items = [(shown.get(name, name), f"{low:g} to {high:g}, read while measuring, never set") for name, (low, high) in found.items() if name != "slowed_by"]
    if "slowed_by" in found:
        items.append(("clocks held down by", f"always {bits(found['slowed_by'][0])}; at times {bits(found['slowed_by'][1])}"))
    return items


def method(result):
    machine, options = result["machine"], result["options"]
    items = [("machine", f"{machine['cpu']}, {machine['cores']} cores; {machine['system']}")]
    items += [(f"GPU {g['index']}", f"{g['name']}, driver {g['driver']}, limit {g['watts_limit']:g} W, {g['sm_mhz_limit']:g} MHz") for g in machine.get("gpus") or []]
    if len(result["cards"]) > 1:
        items.append(("different cards", "each row was measured whole on one, so that ratios hold; times of rows are not to be compared across them: " + "; ".join(f"{card}: {', '.join(rows)}" for card, rows in result["cards"].items())))
    items += [("versions", ", ".join(result["versions"])), ("measured", f"{options['rounds']} rounds of {options['seconds']} s a peer, warm-up apart; {result['sessions']} start(s) of the command; tuning {options['tune']} s")]
    items += states(result["rows"])
    if result["rates"]:
        items.append(("floor", f"{result['rates']['operations'] / 1e12:g} TFLOP/s and {result['rates']['bytes'] / 1e12:g} TB/s, both measured"))
    spent = result["spent"]
    if spent["parts"]:
        items.append(("time it took", f"preparing {spent['preparing']:.0f} s; " + ", ".join(f"{name} {seconds:.0f} s" for name, seconds in spent["parts"].items())))
    return "<h2>How this was measured</h2><p class='lead'>docs/benchmarking.md says it in full, with what could still be unfair.</p><dl>" + "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in items) + "</dl>"
