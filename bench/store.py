"""A run as a file of JSON lines that is only appended to.

    {"type": "run", "session": ..., "machine": ..., "options": ...}              one a start of the command
    {"type": "facts", "network", "batch", "peer", "session", ...}                what preparing a peer took and gave
    {"type": "failure", "network", "batch", "peer", "session", "error"}          a peer that did not run, and why; with "prepare_limit", in seconds, where that ended it
    {"type": "round", "network", "batch", "peer", "round", "session", ...}       one measurement
    {"type": "work", "network", "batch", ...}                                    operations and bytes counted from the graph
    {"type": "prepared", "network", "session", "stages"}                         seconds of what was made before anything was measured
    {"type": "spent", "network", "batch", "session", "parts"}                    seconds that a row took

Of two records of the same key the later counts. A row counts when every peer has every round of it, or has failed, within one session: what was cut in the middle is measured again whole, so that
numbers that are compared were measured in turns, and what they measure was made on the same machine.
"""
import json
import os
import threading


class Store:
    def __init__(self, path):
        self.path = path
        self.lock = threading.Lock()
        self.records = read(path) if os.path.exists(path) else []
        folder = os.path.dirname(os.path.abspath(path))
        os.makedirs(folder, exist_ok=True)
        torn = os.path.exists(path) and not ends_whole(path)
        self.file = open(path, "a")
        if torn:  # a line that was cut: what follows begins a line of its own
            self.file.write("\n")

    def append(self, record):
        with self.lock:
            self.records.append(record)
            self.file.write(json.dumps(record) + "\n")
            self.file.flush()

    def close(self):
        self.file.close()

    def of(self, row):
        with self.lock:
            return [r for r in self.records if r.get("network") == row.network and r.get("batch") == row.batch]

    def complete(self, row, peers, rounds, tries_again=lambda failure: False):
        """Whether nothing of a row is left to be measured with these peers. tries_again says of which failures."""
        mine = self.of(row)
        failed = {peer for peer in peers if gave_up(mine, peer, tries_again)}
        needed = {(peer, number) for peer in peers if peer not in failed for number in range(rounds)}
        measured = {}
        for record in mine:
            if record["type"] == "round":
                measured.setdefault(record["session"], set()).add((record["peer"], record["round"]))
        return bool(peers) and (not needed or any(needed <= found for found in measured.values()))


def ends_whole(path):
    with open(path, "rb") as file:
        return file.read()[-1:] in (b"", b"\n")


def latest_failure(records, peer):
    """A failure that no later success of the same peer took back, among the records of one row."""
    last = None
    for record in records:
        if record.get("peer") == peer and record["type"] in ("failure", "round"):
            last = record
    return last if last and last["type"] == "failure" else None


def gave_up(records, peer, tries_again):
    """Whether a peer failed, among the records of one row, and shall not try again."""
    failure = latest_failure(records, peer)
    return failure is not None and not tries_again(failure)


def read(path):
    """All records; a line that was cut when the run was is left out, any other damage is an error."""
    records = []
    if not os.path.exists(path):
        raise SystemExit(f"there is no {path}")
    with open(path) as file:
        lines = file.read().split("\n")
    for number, line in enumerate(lines):
        if not line.strip():
            continue
        try:
            records.append(json.loads(line))
        except ValueError:
            following = [later for later in lines[number + 1:] if later.strip()]
            if following and not following[0].startswith('{"type": "run"'):
                raise ValueError(f"{path}:{number + 1} is no JSON, and no run was cut there") from None
    return records


def last_by(records, kind, *keys):
    """The latest record of a type for each combination of keys."""
    found = {}
    for record in records:
        if record["type"] == kind:
            found[tuple(record[key] for key in keys)] = record
    return found
