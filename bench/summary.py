"""What a run says: from the records to one dictionary that the table, the JSON and the page are made of. No number is computed anywhere else.

The subject is the Ingot whose ratios are shown. A ratio is another's time over the subject's: above 1 the subject is faster. The best peer of a row is the
fastest of those that are not Ingot and whose results agree.
"""
from bench import stats, store, timing, work, zoo

FACTS = ("build_s", "build_warm_s", "compile_s", "load_ms", "first_run_ms", "weights_bytes", "arena_bytes", "device_bytes", "host_bytes", "engine_bytes", "kernels", "steps",
         "error", "agrees", "version")


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


def complete_rounds(rounds):
    """{peer: [record, ...]} of those rounds in which, and of the session in which, most peers were measured; sorted by round."""
    by_round = {}
    for record in rounds:
        by_round.setdefault(record["round"], {})[record["peer"]] = record
    kept = {}
    for number in sorted(by_round):
        of_peers = by_round[number]
        sessions = [r["session"] for r in of_peers.values()]
        session = max(sorted(set(sessions)), key=sessions.count)
        for peer, record in of_peers.items():
            if record["session"] == session:
                kept.setdefault(peer, []).append(record)
    return kept


def paired(a, b, kind="device_ms"):
    """The values of two peers in the rounds that both have."""
    theirs = {(r["round"], r["session"]): r[kind] for r in b if r.get(kind) is not None}
    pairs = [(r[kind], theirs[r["round"], r["session"]]) for r in a if r.get(kind) is not None and (r["round"], r["session"]) in theirs]
    return [p[0] for p in pairs], [p[1] for p in pairs]


def ratio(above, below):
    a, b = paired(above, below)
    return stats.ratio(a, b) if a else None


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


def row_entry(key, records, peers, subject, rates, width):
    network, batch = key
    mine = [r for r in records if r.get("network") == network and r.get("batch") == batch]
    rounds = complete_rounds(list(store.last_by(mine, "round", "peer", "round").values()))
    facts = store.last_by(mine, "facts", "peer")
    order = [p["name"] for p in peers]
    family = {p["name"]: p["family"] for p in peers}
    entry = {"network": network, "batch": batch, "peers": {}, "failures": {}, "ratios": {}}
    for name in order:
        failed = store.latest_failure(mine, name)
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
        entry["floor_ms"] = work.floor_ms(steps, rates, width)
        entry["uncounted"] = counted["uncounted"]
    states = [r["state"] for r in mine if r["type"] == "round" and r.get("state")]
    entry["state"] = {name: [min(v), max(v)] for name in (states[-1] if states else {}) if (v := [s[name] for s in states if s.get(name) is not None])}
    return entry


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
    gpus = last["machine"].get("gpus") or []
    rates = work.RATES.get(gpus[0]["name"]) if gpus and last["options"]["precision"] == "fp16" else None
    width = 2 if last["options"]["precision"] == "fp16" else 4
    order = list(zoo.ZOO)
    keys = sorted({(r["network"], r["batch"]) for r in records if r["type"] in ("round", "failure")}, key=lambda k: (order.index(k[0]) if k[0] in order else len(order), k))
    rows = [row_entry(key, records, peers, subject, rates, width) for key in keys]
    ratios = [row["ratio"]["ratio"] for row in rows if row["ratio"]]
    untrue = [f"{row['network']} b{row['batch']}: {name}" for row in rows for name, entry in row["peers"].items() if entry["agrees"] is False]
    return {"date": last["date"], "device": last["options"]["device"], "precision": last["options"]["precision"], "machine": last["machine"], "options": last["options"],
            "rates": rates, "sessions": len(runs), "subject": subject, "peers": peers, "absent": last["absent"], "rows": rows, "noise": noise_of(rows), "disagree": untrue,
            "versions": sorted({e["version"] for row in rows for e in row["peers"].values() if e["version"]}),
            "overall": {"rows": len(rows), "with_ratio": len(ratios), "geometric_mean": stats.geometric_mean(ratios), "least": min(ratios, default=None),
                        "ahead": sum(r > 1 for r in ratios)}}
