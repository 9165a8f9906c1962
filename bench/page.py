"""One self-contained page of a run: no script but the switch of light and dark, no network, charts as inline SVG.

Every number is taken from the summary, which the page holds whole as JSON (`<script type="application/json" id="results">`), so that a reader can check it.
"""
import json
import os

from bench import charts, page_tables
from bench.charts import escape

HERE = os.path.dirname(os.path.abspath(__file__))


def name_of(row):
    return f"{row['network']} b{row['batch']}"


def figure(value, text):
    return f'<div class="figure"><b>{value}</b><span>{text}</span></div>'


def key_figures(result):
    overall, cards = result["overall"], []
    if overall["with_ratio"]:
        cards.append(figure(f"{overall['geometric_mean']:.3f}×", "geometric mean, best peer over " + escape(result["subject"])))
        cards.append(figure(f"{overall['ahead']} of {overall['with_ratio']}", "rows in which " + escape(result["subject"]) + " is ahead of every peer"))
        cards.append(figure(f"{overall['least']:.3f}×", "the worst row"))
    for name, noise in result["noise"].items():
        cards.append(figure(f"{noise['median'] * 100:.2f}%", f"A/A: {escape(name)} measured twice, median difference; below 2% in {noise['within_2_percent']} of {noise['rows']} rows"))
    failures = sum(len(row["failures"]) for row in result["rows"])
    cards.append(figure(str(failures), "failures of peers, each named below"))
    return f'<div class="figures">{"".join(cards)}</div>'


def ratio_items(rows):
    items = []
    for row in rows:
        if row["ratio"]:
            value = row["ratio"]
            interval = f", 95% interval {value['low']:.3f} to {value['high']:.3f}" if value["low"] is not None else ""
            best = row["peers"][row["best_peer"]]["median_ms"]
            items.append({"name": row["network"], **{k: value[k] for k in ("ratio", "low", "high")},
                          "detail": f"{name_of(row)}: best peer {row['best_peer']} {best:.4f} ms, ratio {value['ratio']:.3f}{interval}, {value['rounds']} rounds"})
    return items


def by_batch(result):
    batches = sorted({row["batch"] for row in result["rows"]})
    return [(batch, [row for row in result["rows"] if row["batch"] == batch]) for batch in batches]


def card(title, body):
    return f'<div class="card"><h3>{title}</h3>{body}</div>' if body else ""


def pair(result, make):
    return f'<div class="pair">{"".join(make(batch, rows) for batch, rows in by_batch(result))}</div>'


def section_ratios(result):
    if not result["overall"]["with_ratio"]:
        return ""
    body = pair(result, lambda batch, rows: card(f"Batch {batch}", charts.ratios(ratio_items(rows), f"ratios at batch {batch}", 540)) if ratio_items(rows) else "")
    return ("<h2>Best peer over Ingot, network by network</h2><p class='lead'>Time of the fastest peer whose results agree, divided by the time of "
            f"{escape(result['subject'])}. Right of the line Ingot is faster. The bar is the 95% interval from resampling rounds; where it spans the line, nobody won.</p>" + body)


def looks(result, names):
    """{name: look}: Ingot's in the first five colours, peers in the others, whichever charts they are in."""
    found, counts = {}, {"ingot": 0, "peer": 0}
    for peer in result["peers"]:
        family, base = peer["family"], 0 if peer["family"] == "ingot" else 5
        turn, place = divmod(counts[family], 5)
        found[peer["name"]] = base + place + 10 * (turn % 2)
        counts[family] += 1
    return {name: found[name] for name in names}


def section_times(result):
    series = looks(result, [p["name"] for p in result["peers"] if any(p["name"] in row["peers"] for row in result["rows"])])

    def make(batch, rows):
        items = [{"name": row["network"], "points": {n: row["peers"][n]["median_ms"] for n in series if n in row["peers"]}, "floor": row.get("floor_ms")} for row in rows]
        return card(f"Batch {batch}", charts.strips(items, series, f"times at batch {batch}", "ms", 540))

    floor = any(row.get("floor_ms") for row in result["rows"])
    return ("<h2>Everybody's time" + (", and the floor" if floor else "") + "</h2><p class='lead'>Milliseconds of one inference, enqueued back to back with hot caches, median over rounds. "
            + ("The floor is what the chip's measured arithmetic and bandwidth allow for the convolutions, products and recurrent layers of the graph. " if floor else "")
            + "Point at a mark for its number.</p>" + pair(result, make) + charts.legend(series, floor))


def section_facts(result):
    ours = [p["name"] for p in result["peers"] if p["family"] == "ingot" and not p["name"].endswith(" again")]
    everybody = [p["name"] for p in result["peers"] if not p["name"].endswith(" again")]
    out = []
    beside = " In this quick run untuned engines were built beside other work, tuned ones with the kernels of those; all were opened at once, with the other peers." if result["options"].get("quick") else ""
    for title, lead, series, key, factor, unit in (
        ("Build time", "From the model's file to a saved engine with an empty kernel cache, tuning included; of PyTorch what its forms took to make ready (compiled code came from caches on disk)." + beside, everybody, "build_s", 1, "s"),
        ("Load and first run", "Opening a saved engine with an empty kernel cache, and the first answer after it." + beside, ours, "load", 1, "ms"),
        ("Memory", "Device memory taken from before the model is opened to after its first runs, the driver's context apart; of PyTorch what its allocator holds; on a CPU the process's peak.", everybody, "memory", 1 / 2**20, "MiB"),
    ):
        def value(entry):
            if key == "load":
                return (entry["load_ms"] or 0) + (entry["first_run_ms"] or 0) or None
            if key == "memory":
                return entry["device_bytes" if result["device"] == "cuda" else "host_bytes"]
            return entry["build_s"] or entry["build_warm_s"]

        series = looks(result, series)

        def make(batch, rows):
            items = [{"name": row["network"], "points": {n: v * factor for n in series if n in row["peers"] and (v := value(row["peers"][n]))}} for row in rows]
            return card(f"Batch {batch}", charts.strips(items, series, f"{title}, batch {batch}", unit, 540))

        out.append(f"<h2>{title}</h2><p class='lead'>{lead}</p>{pair(result, make)}{charts.legend(series)}")
    return "".join(out)


def section_sites(sites):
    if not sites:
        return ""
    points = [{"name": s["name"], "intensity": s["flops"] / s["bytes"], "rate": s["flops"] / (s["ms"] / 1e3), "group": s["op"], "detail": f"{s['ms']:.4f} ms, floor {s['floor_ms']:.4f} ms, {s['tactic']}"}
                  for s in sites["sites"] if s["flops"] and s["bytes"] and s["ms"]]
    chart = charts.roofline(points, sites["rates"], "roofline") if sites["rates"] else ""
    return ("<h2>Steps against the roofline</h2><p class='lead'>Each distinct step of the zoo at its fastest way: work and bytes counted from the graph, time measured alone. "
            "The roof is the measured copy bandwidth and the measured rate of the matrix units.</p>" + card("Roofline", chart) + "<p class='lead'>The steps that lose most above their floors, times how often the zoo has them; steps that multiply nothing have their bytes as the floor.</p>"
            + page_tables.sites(sites))


def render(result, sites=None):
    machine = result["machine"]
    gpu = machine.get("gpus") or []
    where = f"{len(gpu)} × {gpu[0]['name']}" if len(gpu) > 1 else gpu[0]["name"] if gpu else machine["cpu"]
    with open(os.path.join(HERE, "page.css")) as file:
        style = file.read()
    data = json.dumps(result, allow_nan=False).replace("</", "<\\/")
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>Ingot measured: {escape(where)}, {escape(result['date'])}</title>
<style>{style}</style></head><body><main>
<header><div><h1>Ingot beside its peers</h1><div class="soft">{escape(where)} · {escape(result['precision'])} · {escape(result['date'])} · {len(result['rows'])} rows · {result['options']['rounds']} rounds, interleaved</div></div>
<button type="button" onclick="var r=document.documentElement,d=r.dataset.theme?r.dataset.theme==='dark':matchMedia('(prefers-color-scheme: dark)').matches;r.dataset.theme=d?'light':'dark'">light / dark</button></header>
{key_figures(result)}
{section_ratios(result)}
{section_times(result)}
{section_sites(sites)}
{section_facts(result)}
{page_tables.times(result)}
{page_tables.variants(result)}
{page_tables.failures(result)}
{page_tables.method(result)}
<script type="application/json" id="results">{data}</script>
</main></body></html>
"""
