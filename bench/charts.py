"""Charts as inline SVG text. Each takes plain lists and gives a string; colours are CSS variables of the page, so that they follow light and dark."""
import html
import math

LINE = 22  # pixels of a row
LABEL = 128  # of its name on the left


def escape(text):
    return html.escape(str(text), quote=True)


class LogScale:
    """Positions on a logarithmic axis, and ticks at round numbers: as many as there is room for."""

    STEPS = ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 5, 7), (1, 1.2, 1.4, 1.6, 1.8, 2, 2.5, 3, 3.5, 4, 5, 6, 7, 8, 9), (1, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.8, 2, 2.5, 3, 3.5, 4, 5, 6, 7, 8, 9))

    def __init__(self, low, high, left, right):
        self.low, self.high = math.log10(low), math.log10(high if high > low else low * 10)
        self.left, self.right = left, right

    def __call__(self, value):
        share = (math.log10(max(value, 1e-12)) - self.low) / (self.high - self.low)
        return self.left + min(max(share, 0), 1) * (self.right - self.left)

    def ticks(self, apart=38):
        """The finest whose neighbours are so many pixels apart."""
        finest = []
        for steps in self.STEPS:
            found = self.at(steps)
            places = [self(tick) for tick in found]
            if all(abs(b - a) >= apart for a, b in zip(places, places[1:])):
                finest = found
        return finest

    def at(self, steps):
        powers = range(math.floor(self.low) - 1, math.ceil(self.high) + 1)
        return [t for t in (step * 10.0**power for power in powers for step in steps) if 10**self.low * 0.999 <= t <= 10**self.high * 1.001]


def shortened(name, letters=19):
    """The end of what is too long for a label: of a path, the file."""
    return name if len(name) <= letters else "…" + name[1 - letters:]


def svg(width, height, body, title):
    return f'<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" aria-label="{escape(title)}">{"".join(body)}</svg>'


def line(kind, x1, y1, x2, y2):
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def text(kind, x, y, anchor, what):
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(what)}</text>'


class Ratios:
    """A column of a table: each row a dot and its interval around 1, on one logarithmic axis whose ticks stand in the head."""

    def __init__(self, values, width=250):
        found = [v for value in values for v in (value["ratio"], value["low"], value["high"]) if v]
        self.width, self.scale = width, LogScale(min([0.9, *found]) * 0.94, max([1.1, *found]) * 1.06, 8, width - 8)
        self.ticks = self.scale.ticks(34)

    def head(self):
        body = [text("tick", self.scale(tick), 12, "middle", f"{tick:g}×") for tick in self.ticks]
        return svg(self.width, 16, body, "slower than 1, faster than 1")

    def row(self, value, kind, title):
        height, middle = 26, 13
        body = [line("grid", self.scale(tick), 0, self.scale(tick), height) for tick in self.ticks]
        body.append(line("unit", self.scale(1), 0, self.scale(1), height))
        if value:
            at = self.scale(value["ratio"])
            body.append(line(f"stem {kind}", self.scale(1), middle, at, middle))
            if value["low"]:
                body.append(line(f"interval {kind}", self.scale(value["low"]), middle, self.scale(value["high"]), middle))
            body.append(f'<circle class="{kind}" cx="{at:.1f}" cy="{middle}" r="4.5"/>')
        return svg(self.width, height, [f"<title>{escape(title)}</title>", *body], title)


def strips(items, series, title, unit, width=540):
    """items: [{"name", "points": {series: value}, "floor": value or None}]: every series' mark of a row on one logarithmic axis, the first ones of `series` on top. series: {name: look}."""
    values = [v for item in items for v in (*item["points"].values(), item.get("floor")) if v]
    if not values:
        return ""
    scale = LogScale(min(values) * 0.85, max(values) * 1.18, LABEL + 10, width - 14)
    top, bottom = 8, 8 + LINE * len(items)
    body = []
    for tick in scale.ticks():
        body += [line("grid", scale(tick), top, scale(tick), bottom), text("tick", scale(tick), bottom + 14, "middle", f"{tick:g}")]
    for index, item in enumerate(items):
        y = top + LINE * index + LINE / 2
        points = {name: item["points"][name] for name in reversed(list(series)) if item["points"].get(name)}
        if points:
            body.append(line("range", scale(min(points.values())), y, scale(max(points.values())), y))
        body.append(text("label", LABEL - 10, y + 4, "end", shortened(item["name"])))
        if item.get("floor"):
            body.append(f'<g><title>{escape(item["name"])}: floor {item["floor"]:.4g} {unit}</title>{line("floor", scale(item["floor"]), y - 8, scale(item["floor"]), y + 8)}</g>')
        for name, value in points.items():
            body.append(mark(scale(value), y, series[name], f"{item['name']}: {name} {value:.4g} {unit}"))
    body.append(text("tick", LABEL - 16, bottom + 14, "end", unit))
    return svg(width, bottom + 22, body, title)


class Look:
    """One of ten colours, a circle or a square, filled or hollow, large for what the page is about."""

    def __init__(self, colour, square=False, hollow=False, large=False):
        self.colour, self.square, self.hollow, self.large = colour % 10, square, hollow, large


def mark(x, y, look, title=""):
    kind, size = f"s{look.colour} {'hollow' if look.hollow else 'full'}", 5.6 if look.large else 4.2
    side, title = size * 1.75, f"<title>{escape(title)}</title>" if title else ""
    if look.square:
        return f'<rect class="{kind}" x="{x - side / 2:.1f}" y="{y - side / 2:.1f}" width="{side:.1f}" height="{side:.1f}">{title}</rect>'
    return f'<circle class="{kind}" cx="{x:.1f}" cy="{y:g}" r="{size}">{title}</circle>'


def legend(series, floor=False):
    items = [f'<span class="key"><svg width="14" height="14">{mark(7, 7, look)}</svg>{escape(name)}</span>' for name, look in series.items()]
    if floor:
        items.append('<span class="key"><svg width="8" height="16"><line class="floor" x1="4" x2="4" y1="0" y2="16"/></svg>floor</span>')
    return f'<div class="legend">{"".join(items)}</div>'


def roofline(points, rates, title, width=1090, height=420):
    """points: [{"name", "intensity": operations a byte, "rate": operations a second, "detail", "group"}] under the chip's two ceilings."""
    points = [p for p in points if p["intensity"] > 0 and p["rate"] > 0]
    if not points:
        return ""
    left, right, top, bottom = 56, width - 16, 20, height - 40
    across = LogScale(min(p["intensity"] for p in points) * 0.7, max(max(p["intensity"] for p in points), rates["operations"] / rates["bytes"]) * 1.6, left, right)
    up = LogScale(min(p["rate"] for p in points) * 0.6, max(rates["operations"], max(p["rate"] for p in points)) * 1.5, bottom, top)
    body = []
    for tick in across.ticks(52):
        body += [line("grid", across(tick), top, across(tick), bottom), text("tick", across(tick), bottom + 14, "middle", f"{tick:g}")]
    for tick in up.at((1,)):
        body += [line("grid", left, up(tick), right, up(tick)), text("tick", left - 6, up(tick) + 4, "end", f"{tick / 1e12:g}")]
    knee = rates["operations"] / rates["bytes"]
    start = 10**across.low
    body.append(f'<polyline class="roof" points="{across(start):.1f},{up(start * rates["bytes"]):.1f} {across(knee):.1f},{up(rates["operations"]):.1f} {right},{up(rates["operations"]):.1f}"/>')
    looks = {group: Look(index, square=index >= 10) for index, group in enumerate(sorted({p["group"] for p in points}))}
    for p in points:
        body.append(mark(across(p["intensity"]), up(p["rate"]), looks[p["group"]], f"{p['name']}: {p['detail']}"))
    body += [text("tick", right, height - 6, "end", "operations a byte"), text("tick", 0, 12, "start", "TFLOP/s")]
    return svg(width, height, body, title) + legend(looks)
