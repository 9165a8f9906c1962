"""The tables of the page: every number of its charts, the measurements that have no chart, failures, and how all was measured."""
from bench.charts import escape
from bench.report import milliseconds, ratio_text

KINDS = (("median_ms", "device, hot"), ("flushed_ms", "device, flushed"), ("call_ms", "call, host"), ("call_device_ms", "call, device"), ("fresh_ms", "call, fresh addresses"))


TEXTS = ("who", "where", "why", "first met in")


def cell(text, kind=""):
    return f'<td class="{kind}">{text}</td>' if kind else f"<td>{text}</td>"


def table(head, rows):
    titles = "".join(f"<th{' class=text' if title in TEXTS else ''}>{escape(title)}</th>" for title in head)
    return f'<div class="card"><table><thead><tr>{titles}</tr></thead><tbody>{"".join(f"<tr>{row}</tr>" for row in rows)}</tbody></table></div>'


def times(result):
    names = [p["name"] for p in result["peers"]]
    rows = []
    for row in result["rows"]:
        cells = cell(f"{escape(row['network'])} b{row['batch']}")
        best = min((e["median_ms"] for e in row["peers"].values() if e["agrees"] is not False), default=None)
        for name in names:
            entry = row["peers"].get(name)
            if entry:
                cells += cell(f"{milliseconds(entry['median_ms'])} <small>±{entry['spread'] * 100:.1f}%</small>", "best" if entry["median_ms"] == best else "failed" if entry["agrees"] is False else "")
            else:
                cells += cell("failed", "failed") if name in row["failures"] else cell("")
        noise = next((f"{(v['ratio'] - 1) * 100:+.2f}%" for v in row["noise"].values() if v), "")
        rows.append(cells + cell(milliseconds(row.get("floor_ms"))) + cell(ratio_text(row["ratio"])) + cell(noise))
    return ("<h2>All times</h2><p class='lead'>Median over rounds in milliseconds, ± half the interquartile range. Bold: the fastest of the row whose results agree with PyTorch in fp32; "
            "<span class='failed'>coloured</span>: results do not agree.</p>" + table(["row", *names, "floor", "ratio [95%]", "A/A"], rows))


def variants(result):
    """The other ways to measure, for the subject and the best peer."""
    rows = []
    for row in result["rows"]:
        for name in dict.fromkeys([result["subject"], row["best_peer"]]):
            entry = row["peers"].get(name)
            if entry:
                extra = [f"{entry['kernels'] if entry['kernels'] is not None else '-'}", f"{entry['steps'] or '-'}", f"{entry['error']:.1e}" if entry["error"] is not None else "-"]
                rows.append(cell(f"{escape(row['network'])} b{row['batch']}") + cell(escape(name), "text") + "".join(cell(milliseconds(entry[key])) for key, _ in KINDS) + "".join(cell(e) for e in extra))
    return ("<h2>Caches, calls and addresses</h2><p class='lead'>The subject and the best peer of each row: inference with hot and with flushed caches, the whole call with tensors on the host and on the device, "
            "and with inputs at fresh addresses. Kernels are nodes of the recorded CUDA graph, or launches seen by a profiler; the error is that against PyTorch in fp32.</p>"
            + table(["row", "who", *[title for _, title in KINDS], "kernels", "steps", "error"], rows))


def failures(result):
    rows = [cell(escape(item["peer"])) + cell("absent", "text") + cell(escape(item["why"]), "text long") for item in result["absent"]]
    for row in result["rows"]:
        rows += [cell(escape(name)) + cell(f"{escape(row['network'])} b{row['batch']}", "text") + cell(escape(error), "text long failed") for name, error in row["failures"].items()]
    rows += [cell(escape(text)) + cell("disagrees", "text") + cell("results differ from PyTorch's in fp32 by more than rounding explains", "text long failed") for text in result["disagree"]]
    return "<h2>Absent, failed, wrong</h2>" + (table(["who", "where", "why"], rows) if rows else "<p class='lead'>Nobody.</p>")


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
    return table(["step", "first met in", "times", *record["ways"], "floor", "fastest / floor", "library / own"], rows)


def method(result):
    machine, options = result["machine"], result["options"]
    gpus = machine.get("gpus") or []
    states = {}
    for row in result["rows"]:
        for name, (low, high) in row["state"].items():
            before = states.get(name, (low, high))
            states[name] = (min(before[0], low), max(before[1], high))
    shown = {"sm_mhz": "SM clock, MHz", "memory_mhz": "memory clock, MHz", "watts": "power, W", "celsius": "temperature, °C", "slowed_by": "reasons for lower clocks (bits)", "load": "load of the machine"}
    items = [("machine", f"{machine['cpu']}, {machine['cores']} cores; {machine['system']}")]
    items += [(f"GPU {g['index']}", f"{g['name']}, driver {g['driver']}, limit {g['watts_limit']} W, {g['sm_mhz_limit']} MHz") for g in gpus]
    if len(result["cards"]) > 1:
        items.append(("different cards", "each row was measured whole on one, so that ratios hold; times of rows are not to be compared across them: " + "; ".join(f"{card}: {', '.join(rows)}" for card, rows in result["cards"].items())))
    items += [("versions", ", ".join(result["versions"])), ("measured", f"{options['rounds']} rounds of {options['seconds']} s a peer, warm-up apart; {result['sessions']} start(s) of the command; tuning {options['tune']} s")]
    items += [(shown.get(name, name), f"{low:g} to {high:g}, read while measuring, never set") for name, (low, high) in states.items()]
    if result["rates"]:
        items.append(("floor", f"{result['rates']['operations'] / 1e12:g} TFLOP/s and {result['rates']['bytes'] / 1e12:g} TB/s, both measured"))
    return "<h2>How this was measured</h2><p class='lead'>docs/benchmarking.md says it in full, with what could still be unfair.</p><dl>" + "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in items) + "</dl>"
