"""Charts as inline SVG text. Each takes plain lists and gives a string; colours are CSS variables of the page, so that they follow light and dark."""
import html
import math

LINE = 22  # pixels of a row
LABEL = 148  # of its name on the left


def escape(text):
    return html.escape(str(text), quote=True)


def number(value):
    return f"{value:.2f}".rstrip("0").rstrip(".")


class LogScale:
    """Positions on a logarithmic axis, and ticks at 1, 2 and 5."""

    def __init__(self, low, high, left, right):
        self.low, self.high = math.log10(low), math.log10(high if high > low else low * 10)
        self.left, self.right = left, right

    def __call__(self, value):
        share = (math.log10(max(value, 1e-12)) - self.low) / (self.high - self.low)
        return self.left + min(max(share, 0), 1) * (self.right - self.left)

    def ticks(self, steps=(1, 2, 5)):
        found = []
        for power in range(math.floor(self.low) - 1, math.ceil(self.high) + 1):
            found += [step * 10.0**power for step in steps]
        return [t for t in found if 10**self.low * 0.999 <= t <= 10**self.high * 1.001]


def svg(width, height, body, title):
    return f'<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" aria-label="{escape(title)}">{"".join(body)}</svg>'


def axis(scale, top, bottom, text, strong=None):
    body = []
    ticks = scale.ticks()
    if len(ticks) > 9:
        ticks = scale.ticks((1, 3))
    for tick in ticks:
        x = scale(tick)
        body.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{bottom}"/><text class="tick" x="{x:.1f}" y="{bottom + 14}" text-anchor="middle">{text(tick)}</text>')
    if strong is not None:
        x = scale(strong)
        body.append(f'<line class="unit" x1="{x:.1f}" x2="{x:.1f}" y1="{top - 4}" y2="{bottom}"/>')
    return body


def label(text, y, kind=""):
    return f'<text class="label {kind}" x="{LABEL - 10}" y="{y + 4}" text-anchor="end">{escape(text)}</text>'


def ratios(items, title, width=720):
    """items: [{"name", "ratio", "low", "high", "detail"}]: a dot and its interval on a logarithmic axis around 1."""
    values = [v for item in items for v in (item["ratio"], item["low"], item["high"]) if v]
    low, high = min([0.8, *values]) * 0.95, max([1.25, *values]) * 1.05
    scale = LogScale(low, high, LABEL, width - 62)
    bottom = 8 + LINE * len(items)
    body = axis(scale, 8, bottom, lambda t: f"{number(t)}×", strong=1)
    for index, item in enumerate(items):
        y = 8 + LINE * index + LINE / 2
        kind = "ahead" if item["ratio"] > 1 else "behind"
        body.append(f'<g class="row"><title>{escape(item["detail"])}</title><rect class="hit" x="0" y="{y - LINE / 2}" width="{width}" height="{LINE}"/>{label(item["name"], y)}')
        body.append(f'<line class="stem {kind}" x1="{scale(1):.1f}" x2="{scale(item["ratio"]):.1f}" y1="{y}" y2="{y}"/>')
        if item["low"]:
            body.append(f'<line class="interval {kind}" x1="{scale(item["low"]):.1f}" x2="{scale(item["high"]):.1f}" y1="{y}" y2="{y}"/>')
        body.append(f'<circle class="dot {kind}" cx="{scale(item["ratio"]):.1f}" cy="{y}" r="4.5"/><text class="value" x="{width - 6}" y="{y + 4}" text-anchor="end">{item["ratio"]:.2f}×</text></g>')
    return svg(width, bottom + 22, body, title)


def strips(items, series, title, unit, width=720):
    """items: [{"name", "points": {series: value}, "floor": value or None}]: every series' dot of a row on one logarithmic axis. series: {name: look}."""
    values = [v for item in items for v in (*item["points"].values(), item.get("floor")) if v]
    if not values:
        return ""
    scale = LogScale(min(values) * 0.8, max(values) * 1.25, LABEL, width - 14)
    bottom = 8 + LINE * len(items)
    body = axis(scale, 8, bottom, lambda t: f"{t:g}")
    for index, item in enumerate(items):
        y = 8 + LINE * index + LINE / 2
        points = {name: value for name, value in item["points"].items() if value}
        if points:
            body.append(f'<line class="range" x1="{scale(min(points.values())):.1f}" x2="{scale(max(points.values())):.1f}" y1="{y}" y2="{y}"/>')
        body.append(label(item["name"], y))
        if item.get("floor"):
            x = scale(item["floor"])
            body.append(f'<g><title>{escape(item["name"])}: floor {item["floor"]:.4g} {unit}</title><line class="floor" x1="{x:.1f}" x2="{x:.1f}" y1="{y - 8}" y2="{y + 8}"/></g>')
        for name, look in series.items():
            if name in points:
                shape = mark(scale(points[name]), y, look)
                body.append(f'<g class="s{look % 10}"><title>{escape(item["name"])}: {escape(name)} {points[name]:.4g} {unit}</title>{shape}</g>')
    body.append(f'<text class="tick" x="{width - 14}" y="{bottom + 28}" text-anchor="end">{unit}</text>')
    return svg(width, bottom + 32, body, title)


def mark(x, y, look):
    """Ten colours as circles, then as squares."""
    return f'<circle cx="{x:.1f}" cy="{y}" r="4.2"/>' if look < 10 else f'<rect x="{x - 3.7:.1f}" y="{y - 3.7}" width="7.4" height="7.4"/>'


def legend(series, floor=False):
    items = [f'<span class="key"><svg width="12" height="12"><g class="s{look % 10}">{mark(6, 6, look)}</g></svg>{escape(name)}</span>' for name, look in series.items()]
    if floor:
        items.append('<span class="key"><svg width="8" height="16"><line class="floor" x1="4" x2="4" y1="0" y2="16"/></svg>floor</span>')
    return f'<div class="legend">{"".join(items)}</div>'


def roofline(points, rates, title, width=1090, height=420):
    """points: [{"name", "intensity": operations a byte, "rate": operations a second, "detail", "group"}] under the chip's two ceilings."""
    points = [p for p in points if p["intensity"] > 0 and p["rate"] > 0]
    if not points:
        return ""
    left, right, top, bottom = 56, width - 16, 14, height - 40
    across = LogScale(min(p["intensity"] for p in points) * 0.7, max(max(p["intensity"] for p in points), rates["operations"] / rates["bytes"]) * 1.6, left, right)
    up = LogScale(min(p["rate"] for p in points) * 0.6, max(rates["operations"], max(p["rate"] for p in points)) * 1.5, bottom, top)
    body = axis(across, top, bottom, lambda t: f"{t:g}")
    for tick in up.ticks((1,)):
        y = up(tick)
        body.append(f'<line class="grid" x1="{left}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/><text class="tick" x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{tick / 1e12:g}</text>')
    knee = rates["operations"] / rates["bytes"]
    start = 10**across.low
    body.append(f'<polyline class="roof" points="{across(start):.1f},{up(start * rates["bytes"]):.1f} {across(knee):.1f},{up(rates["operations"]):.1f} {right},{up(rates["operations"]):.1f}"/>')
    groups = sorted({p["group"] for p in points})
    for p in points:
        order = groups.index(p["group"])
        body.append(f'<g class="s{order % 10}"><title>{escape(p["name"])}: {escape(p["detail"])}</title>{mark(across(p["intensity"]), up(p["rate"]), order)}</g>')
    body.append(f'<text class="tick" x="{right}" y="{height - 6}" text-anchor="end">operations a byte</text><text class="tick" x="{left - 48}" y="10">TFLOP/s</text>')
    return svg(width, height, body, title) + legend({group: index for index, group in enumerate(groups)})
