"""What a run says: from the records to one dictionary that the table, the JSON and the page are made of. No number is computed anywhere else.

The subject is the Ingot whose ratios are shown. A ratio is another's time over the subject's: above 1 the subject is faster. The best peer of a row is the
fastest of those that are not Ingot and whose results agree. Nobody won a row whose interval holds 1, or whose ratio is as near to 1 as what the same engine
measured twice differs by.
"""
import functools
import operator
import re

from bench import stats, store, timing, work, zoo

FACTS = ("build_s", "build_warm_s", "busy", "compile_s", "load_ms", "first_run_ms", "weights_bytes", "arena_bytes", "device_bytes", "host_bytes", "engine_bytes", "kernels", "steps",
         "enqueue_ms", "enqueue_fresh_ms", "opening", "error", "agrees", "version")


def choose_subject(peers, wanted=None):
    ours = [p["name"] for p in peers if p["family"] == "ingot" and not p["name"].endswith(" again")]
    if wanted:
        if wanted not in ours:
            raise SystemExit(f"--subject {wanted}: there is {', '.join(ours)}")
        return wanted
    tuned = [name for name in ours if name.endswith(" tuned")]
    return (tuned or ours or [None])[-1]  # the newest binary is named last


def peers_of(records):
    """In the order in which runs named them; one name once."""
    found = {}
    for record in records:
        if record["type"] == "run":
            for item in record["peers"]:
                found.setdefault(item["name"], item)
    return list(found.values())


def measured_whole(rounds):
    """(session, {peer: [record, ...]}) of the session in which most of a row was measured, the later of two; sorted by round."""
    sessions = [r["session"] for r in rounds]
    session = max(reversed(sorted(set(sessions), key=sessions.index)), key=sessions.count, default=None)
    kept = {}
    for record in sorted(rounds, key=lambda r: r["round"]):
        if record["session"] == session:
            kept.setdefault(record["peer"], {})[record["round"]] = record
    return session, {peer: list(by_round.values()) for peer, by_round in kept.items()}


def paired(a, b, kind="device_ms"):
    """The values of two peers in the rounds that both have."""
    theirs = {(r["round"], r["session"]): r[kind] for r in b if r.get(kind) is not None}
    pairs = [(r[kind], theirs[r["round"], r["session"]]) for r in a if r.get(kind) is not None and (r["round"], r["session"]) in theirs]
    return [p[0] for p in pairs], [p[1] for p in pairs]


def ratio(above, below):
    a, b = paired(above, below)
    return stats.ratio(a, b) if a else None


def card_of(machine, rounds):
    """"NVIDIA H200, driver 580.1", of the GPU that measured a row; on a CPU the processor."""
    if not machine:
        return None
    index = next((r.get("gpu") for records in rounds.values() for r in records), 0)
    gpus = machine.get("gpus") or []
    gpu = next((g for g in gpus if g["index"] == index), gpus[0] if gpus else None)
    return f"{gpu['name']}, driver {gpu['driver']}" if gpu else machine["cpu"]


def rates_of(card, width):
    return work.RATES.get(card.split(",")[0]) if card and width == 2 else None


def cards(rows):
    """{card: rows measured on it}"""
    found = {}
    for row in rows:
        if row["card"] and row["peers"]:
            found.setdefault(row["card"], []).append(name_of(row))
    return found


def time_spent(records):
    """Seconds by what they went into, over all sessions: preparing by stage (several at once, so more than went by), rows by part."""
    stages, parts = {}, {}
    for record in records:
        for name, seconds in {"prepared": record.get("stages"), "spent": record.get("parts")}.get(record["type"], {}).items():
            into, name = (stages, re.sub(r" b\d+$", "", name)) if record["type"] == "prepared" else (parts, name)
            into[name] = into.get(name, 0) + seconds
    return {"preparing": sum(r["seconds"] for r in records if r["type"] == "prepared_all"), "stages": stages, "parts": parts, "rows": sum(r["type"] == "spent" for r in records)}


def peer_entry(records, facts):
    times = [r["device_ms"] for r in records]
    low, high = stats.interquartile(times)
    entry = {"median_ms": stats.median(times), "low_ms": low, "high_ms": high, "spread": stats.spread(times), "rounds": len(times),
             "samples": sum(r["samples"] for r in records)}
    for kind in timing.KINDS[1:]:
        values = [r[kind + "_ms"] for r in records if r.get(kind + "_ms") is not None]
        entry[kind + "_ms"] = stats.median(values) if values else None
    entry.update({name: facts.get(name) for name in FACTS})
    entry["steps_by"] = facts.get("steps_by")
    return entry


def row_entry(key, records, peers, subject, machines, width):
    network, batch = key
    mine = [r for r in records if r.get("network") == network and r.get("batch") == batch]
    session, rounds = measured_whole([r for r in mine if r["type"] == "round"])
    facts = {**store.last_by(mine, "facts", "peer"), **store.last_by([r for r in mine if r.get("session") == session], "facts", "peer")}
    order = [p["name"] for p in peers]
    family = {p["name"]: p["family"] for p in peers}
    entry = {"network": network, "batch": batch, "card": card_of(machines.get(session), rounds), "peers": {}, "failures": {}, "ratios": {}}
    for name in order:
        failed = store.latest_failure([r for r in mine if r.get("session") == session] if name in rounds else mine, name)
        if failed:
            entry["failures"][name] = failed["error"]
        elif name in rounds:
            entry["peers"][name] = peer_entry(rounds[name], facts.get((name,), {}))
    measured = entry["peers"]
    candidates = [name for name in measured if family[name] == "peer" and measured[name]["agrees"] is not False]
    entry["best_peer"] = min(candidates, key=lambda name: measured[name]["median_ms"], default=None)
    if subject in measured:
        for name in measured:
            if name != subject:
                entry["ratios"][name] = ratio(rounds[name], rounds[subject])
    entry["ratio"] = entry["ratios"].get(entry["best_peer"])
    entry["noise"] = {name: ratio(rounds[name + " again"], rounds[name]) for name in measured if name + " again" in measured}
    counted = next((r for r in reversed(mine) if r["type"] == "work"), None)
    if counted:
        steps = [s for s in counted["steps"] for _ in range(s["times"])]
        entry["gflop"] = counted["flops"] / 1e9
        entry["floor_ms"] = work.floor_ms(steps, rates_of(entry["card"], width), width)
        entry["uncounted"] = counted["uncounted"]
    states = [r["state"] for r in mine if r["type"] == "round" and r["session"] == session and r.get("state")]
    entry["state"] = {name: state_range(name, v) for name in (states[-1] if states else {}) if (v := [s[name] for s in states if s.get(name) is not None])}
    return entry


def state_range(name, values):
    """[least, largest]; of reasons for lower clocks, which are bits: [always, ever]."""
    if name != "slowed_by":
        return [min(values), max(values)]
    return [functools.reduce(operator.and_, values), functools.reduce(operator.or_, values)]


def standing(ratio, margin):
    low, high = (ratio["low"], ratio["high"]) if ratio["low"] is not None else (ratio["ratio"], ratio["ratio"])
    if low <= 1 <= high or abs(ratio["ratio"] - 1) <= margin:
        return "level"
    return "ahead" if ratio["ratio"] > 1 else "behind"


def overall_of(rows, noise):
    """Of the rows that have a ratio; each gets its standing."""
    margin = max((each["largest"] for each in noise.values()), default=0)
    compared = [row for row in rows if row["ratio"]]
    for row in compared:
        row["standing"] = standing(row["ratio"], margin)
    order = sorted(compared, key=lambda row: row["ratio"]["ratio"])
    found = {"rows": len(rows), "with_ratio": len(compared), "geometric_mean": stats.geometric_mean([row["ratio"]["ratio"] for row in compared]), "margin": margin}
    for key, row in (("least", order[0] if order else None), ("largest", order[-1] if order else None)):
        found[key], found[key + "_row"] = (row["ratio"]["ratio"], name_of(row)) if row else (None, None)
    return {**found, **{word: sum(row["standing"] == word for row in compared) for word in ("ahead", "level", "behind")}}


def noise_in(row, subject):
    """The A/A ratio of the subject in this row, or of another that was measured twice."""
    found = {name: value for name, value in row["noise"].items() if value}
    return found.get(subject) or next(iter(found.values()), None)


def rounded(value):
    """Six digits: far below any noise, and half the bytes."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {key: rounded(each) for key, each in value.items()}
    return [rounded(each) for each in value] if isinstance(value, list) else value


def name_of(row):
    return f"{row['network']} b{row['batch']}"


def noise_of(rows):
    """{peer: {"rows", "within_2_percent", "largest", "median"}} of the same binary measured twice."""
    found = {}
    for row in rows:
        for name, value in row["noise"].items():
            if value:
                found.setdefault(name, []).append(abs(value["ratio"] - 1))
    return {name: {"rows": len(v), "within_2_percent": sum(x < 0.02 for x in v), "largest": max(v), "median": stats.median(v)} for name, v in found.items()}


def summarise(records, subject=None):
    runs = [r for r in records if r["type"] == "run"]
    if not runs:
        raise SystemExit("no run is recorded here")
    peers, last = peers_of(records), runs[-1]
    subject = choose_subject(peers, subject)
    machines = {r["session"]: r["machine"] for r in runs}
    width = 2 if last["options"]["precision"] == "fp16" else 4
    order = list(zoo.ZOO)
    keys = sorted({(r["network"], r["batch"]) for r in records if r["type"] in ("round", "failure")}, key=lambda k: (order.index(k[0]) if k[0] in order else len(order), k))
    rows = [row_entry(key, records, peers, subject, machines, width) for key in keys]
    noise = noise_of(rows)
    untrue = [f"{name_of(row)}: {name}" for row in rows for name, entry in row["peers"].items() if entry["agrees"] is False]
    return rounded({"date": last["date"], "device": last["options"]["device"], "precision": last["options"]["precision"], "machine": last["machine"], "options": last["options"],
            "rates": rates_of(rows[-1]["card"], width) if rows else None, "cards": cards(rows), "spent": time_spent(records), "sessions": len(runs), "subject": subject, "peers": peers, "absent": last["absent"], "rows": rows, "noise": noise, "disagree": untrue,
            "versions": sorted({e["version"] for row in rows for e in row["peers"].values() if e["version"]}),
            "overall": overall_of(rows, noise)})
