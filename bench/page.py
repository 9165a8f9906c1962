"""One self-contained page of a run, or of two runs compared: no script but the switch of light and dark, no network, charts as inline SVG.

First what a sceptic asks: who is ahead, by how much, with what noise, and who is missing; then times, steps, building, memory. Every number is taken from the summary, which the page
holds whole as JSON (`<script type="application/json" id="results">`), so that a reader can check it.
"""
import json
import os

from bench import charts, compare, page_tables, stats
from bench.charts import Look, escape
from bench.summary import name_of

HERE = os.path.dirname(os.path.abspath(__file__))


def document(title, heading, about, body, data):
    with open(os.path.join(HERE, "page.css")) as file:
        style = file.read()
    held = json.dumps(data, allow_nan=False, separators=(",", ":")).replace("</", "<\\/")
    links = "".join(f'<a href="#{name}">{escape(text)}</a>' for name, text, content in body if name and content)
    sections = "".join(f'<section id="{name}">{content}</section>' if name else content for name, _, content in body if content)
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>{escape(title)}</title>
<style>{style}</style></head><body><main>
<header><div><h1>{escape(heading)}</h1><div class="soft">{escape(about)}</div><nav>{links}</nav></div>
<button type="button" onclick="var r=document.documentElement,d=r.dataset.theme?r.dataset.theme==='dark':matchMedia('(prefers-color-scheme: dark)').matches;r.dataset.theme=d?'light':'dark'">light / dark</button></header>
{sections}
<script type="application/json" id="results">{held}</script>
</main></body></html>
"""


def figure(value, text, kind=""):
    return f'<div class="figure"><b class="{kind}">{value}</b><span>{text}</span></div>'


def figures(cards):
    return f'<div class="figures">{"".join(cards)}</div>'


def side(ratio):
    return "ahead" if ratio > 1 else "behind"


def verdict(result):
    overall, subject = result["overall"], escape(result["subject"] or "Ingot")
    if not overall["with_ratio"]:
        return f'<p class="verdict">Nothing to compare: no row has both {subject} and a peer whose results agree.</p>' + figures([missing_figure(result)])
    mean, count = overall["geometric_mean"], overall["with_ratio"]
    sentence = f"In {overall['ahead']} of {count} rows {subject} is faster than every peer, in {overall['behind'] or 'none'} the best peer is faster, in {overall['level'] or 'none'} nobody won."
    cards = [figure(f"{mean:.3f}×", f"best peer's time over that of {subject}, geometric mean of {count} rows", side(mean))]
    standings = {name_of(row): row["standing"] for row in result["rows"] if row["ratio"]}
    for word, key in (("worst", "least"), ("best", "largest")):
        row = overall[key + "_row"]
        cards.append(figure(f"{overall[key]:.3f}×", f"the {word} row, {escape(row)}", standings[row]))
    for name, noise in result["noise"].items():
        cards.append(figure(f"±{noise['median'] * 100:.2f}%", f"noise: {escape(name)} measured twice differs so much (median), at most {noise['largest'] * 100:.2f}%; below 2% in {noise['within_2_percent']} of {noise['rows']} rows"))
    cards.append(missing_figure(result))
    return f'<p class="verdict">{sentence}</p>{figures(cards)}'


def missing_figure(result):
    failures = sum(len(row["failures"]) for row in result["rows"])
    return figure(f"{len(result['absent'])} + {failures}", f'peers absent or left out + failures in rows; <a href="#missing">each is named</a> with its reason')


def by_batch(result):
    batches = sorted({row["batch"] for row in result["rows"]})
    return [(batch, [row for row in result["rows"] if row["batch"] == batch]) for batch in batches]


def pair(result, chart):
    """The chart of each batch size beside those of the others."""
    made = [(batch, chart(batch, rows)) for batch, rows in by_batch(result)]
    return f'<div class="pair">{"".join(f"<div class=card><h3>Batch {batch}</h3>{body}</div>" for batch, body in made if body)}</div>'


PEER_COLOURS = ("torch eager", "torch graph", "torch compile", "torch compile reduce-overhead", "torch compile max-autotune", "ort", "tensorrt", "trtexec")


def look_of(name, family, result):
    """Of an Ingot the binary gives the colour, the way its shape; of a peer its form gives the colour, and it is hollow without a mask."""
    if family == "ingot":
        label, way = name.rsplit(" ", 1)
        labels = list(dict.fromkeys(p["name"].removesuffix(" again").rsplit(" ", 1)[0] for p in result["peers"] if p["family"] == "ingot"))
        newest_first = labels[::-1]
        return Look(min(newest_first.index(label), 2), square=way == "own", hollow=way == "untuned", large=name == result["subject"])
    base = name.removesuffix(" no-mask")
    place = next((i for i, known in enumerate(PEER_COLOURS) if base == known or known == "ort" and base.startswith("ort ")), len(PEER_COLOURS))
    return Look(3 + place % 7, square=not base.startswith("torch"), hollow=name.endswith(" no-mask") or base == "ort tensorrt")


def series_of(result, wanted=lambda peer: True):
    """{name: look} of those that were measured, the subject first; what was measured twice stands once."""
    found = [p for p in result["peers"] if wanted(p) and not p["name"].endswith(" again") and any(p["name"] in row["peers"] for row in result["rows"])]
    found.sort(key=lambda p: (p["name"] != result["subject"], p["family"] != "ingot"))
    return {p["name"]: look_of(p["name"], p["family"], result) for p in found}


def strips(result, title, unit, value, series, floor=False):
    """value(entry): what of a peer is shown."""
    def items(rows):
        return [{"name": row["network"], "points": {n: value(row["peers"][n]) for n in series if n in row["peers"]}, "floor": row.get("floor_ms") if floor else None} for row in rows]

    shown = {n: look for n, look in series.items() if any(item["points"].get(n) for item in items(result["rows"]))}
    if not shown:
        return ""
    return pair(result, lambda batch, rows: charts.strips(items(rows), shown, f"{title}, batch {batch}", unit)) + charts.legend(shown, floor and any(row.get("floor_ms") for row in result["rows"]))


def section_times(result):
    floor = any(row.get("floor_ms") for row in result["rows"])
    chart = strips(result, "times", "ms", lambda entry: entry["median_ms"], series_of(result), floor)
    return ("<h2>Everybody's time" + (", and the floor" if floor else "") + "</h2><p class='lead'>Milliseconds of one inference, enqueued back to back with hot caches, median over rounds. "
            + ("The floor is what the chip's measured arithmetic and bandwidth allow for the convolutions, products and recurrent layers of the graph. " if floor else "")
            + "Point at a mark for its number.</p>" + chart) if chart else ""


def opening_s(entry):
    """From what is saved to the first answer. Who saves no engine makes everything ready anew."""
    opened = entry["load_ms"] / 1e3 if entry["load_ms"] is not None else entry["build_s"]
    return opened + entry["first_run_ms"] / 1e3 if opened is not None and entry["first_run_ms"] is not None else None


def section_built(result):
    beside = " In this quick run untuned engines were built beside other work, tuned ones with the kernels of those; all were opened at once, with the other peers." if result["options"].get("quick") else ""
    memory = "device_bytes" if result["device"] == "cuda" else "host_bytes"
    out = ""
    for title, lead, unit, value in (
        ("Building", "From the model's file to a saved engine with an empty kernel cache, tuning included; of others what making ready took, PyTorch's compiled code coming from caches on disk." + beside, "s",
         lambda entry: entry["build_s"] or entry["build_warm_s"]),
        ("To the first answer", "Opening a saved engine with an empty kernel cache, and its first answer; who saves none (PyTorch, ONNX Runtime) is made ready as above. The start of a process and its imports are in nobody's." + beside, "s", opening_s),
        ("Memory", "Device memory taken from before the model is opened to after its first runs, the driver's context apart; of PyTorch what its allocator holds; on a CPU the process's peak." + (" Quick runs record it of PyTorch alone." if result["options"].get("quick") else ""), "MiB",
         lambda entry: (entry[memory] or 0) / 2**20),
    ):
        chart = strips(result, title, unit, value, series_of(result))
        out += f"<h2>{title}</h2><p class='lead'>{lead}</p>{chart}" if chart else ""
    return out


def section_sites(sites):
    if not sites:
        return ""
    points = [{"name": s["name"], "intensity": s["flops"] / s["bytes"], "rate": s["flops"] / (s["ms"] / 1e3), "group": s["op"], "detail": f"{s['ms']:.4f} ms, floor {s['floor_ms']:.4f} ms, {s['tactic']}"}
                  for s in sites["sites"] if s["flops"] and s["bytes"] and s["ms"]]
    chart = charts.roofline(points, sites["rates"], "roofline") if sites["rates"] else ""
    return ("<h2>Steps against the roofline</h2><p class='lead'>Each distinct step of the zoo at its fastest way: work and bytes counted from the graph, time measured alone. "
            "The roof is the measured copy bandwidth and the measured rate of the matrix units.</p>" + (f'<div class="card">{chart}</div>' if chart else "")
            + "<p class='lead'>The steps that lose most above their floors, times how often the zoo has them; steps that multiply nothing have their bytes as the floor.</p>" + page_tables.sites(sites))


def render(result, sites=None):
    machine = result["machine"]
    gpu = machine.get("gpus") or []
    where = f"{len(gpu)} × {gpu[0]['name']}" if len(gpu) > 1 else gpu[0]["name"] if gpu else machine["cpu"]
    about = f"{where} · {result['precision']} · {result['date']} · {len(result['rows'])} rows · {result['options']['rounds']} rounds, interleaved" + (" · quick run" if result["options"].get("quick") else "")
    body = (("", "", verdict(result)), ("ratios", "ratios", page_tables.ratios(result)), ("missing", "who is missing", page_tables.missing(result)), ("times", "times and floors", section_times(result)),
            ("all", "all times", page_tables.times(result)), ("calls", "caches and calls", page_tables.variants(result)), ("steps", "steps", section_sites(sites)),
            ("built", "building, opening, memory", section_built(result)), ("method", "how it was measured", page_tables.method(result)))
    return document(f"Ingot measured: {where}, {result['date']}", "Ingot beside its peers", about, body, result)


def only(a, b):
    others = {name_of(row) for row in b["rows"]}
    return [name_of(row) for row in a["rows"] if name_of(row) not in others]


def render_comparison(a, b, rows):
    """rows: those of compare.compared."""
    counts = {word: sum(row["word"] == word for row in rows) for word in ("faster", "same", "slower")}
    sentence = f"Of {len(rows)} rows that both have, B is faster in {counts['faster']}, slower in {counts['slower']}, and as fast in {counts['same']}."
    means = {key: stats.geometric_mean([row[key] for row in rows if row[key]]) for key in ("net", "change", "peers")}
    texts = {"net": "A over B, net of the peers'", "change": "A over B as measured", "peers": "the peers' A over B: what the machines differ by"}
    cards = [figure(f"{means[key]:.3f}×", f"{text}; geometric mean", "" if key == "peers" or abs(means[key] - 1) <= compare.SAME else side(means[key])) for key, text in texts.items() if means[key]]
    alone = [f"{name}: {', '.join(left)}" for name, left in (("A", only(a, b)), ("B", only(b, a))) if left]
    note = f"<p class='lead'>In one run only, and not compared. {escape('; '.join(alone))}.</p>" if alone else ""
    body = (("", "", f'<p class="verdict">{sentence}</p>{figures(cards)}'), ("", "", page_tables.comparison(rows) + note))
    about = f"A: {a['subject']}, {page_tables.measured_where(a)} · B: {b['subject']}, {page_tables.measured_where(b)}"
    return document("Ingot: two runs compared", "Two runs compared", about, body, {"a": a, "b": b, "compared": rows})
