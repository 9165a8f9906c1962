"""Tuning that is killed: what it said it measured is in the database, and who tunes on measures the rest.

    tune_killed.py INGOT MODEL

Again and again `ingot tune` is killed when it has said so many measurements, whatever it does just then; by its lines, not by a clock.
"""

import json
import os
import re
import subprocess
import sys
import tempfile

AFTER = (1, 2, 5, 1, 9)
MEASURED = re.compile(r"verbose: tuning [^:]*: (\S+) (.*): [0-9.]+ us$")


def command(ingot, model, database, *options):
    return [ingot, "tune", model, "--device", "cuda", "--fp16", "--seconds", "600", "--database", database, *options]


def ways(database):
    """Of the file's lines; the last one too must have an end, since who tunes on mends it."""
    if not os.path.exists(database):
        return set()
    with open(database) as file:
        header, *lines = file.read().split("\n")
    assert header == "ingot tuning 1", header
    lines.pop()  # what follows the last end: nothing, or what was being written
    fields = [line.split("\t") for line in lines]
    assert all(len(each) == 7 for each in fields), fields
    return {(each[2], each[3]) for each in fields}


def killed(ingot, model, database, after):
    """The measurements that were said by then."""
    said = set()
    with subprocess.Popen(command(ingot, model, database, "--verbose"), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        for line in process.stderr:
            found = MEASURED.search(line.rstrip("\n"))
            if not found:
                continue
            said.add(found.groups())
            if len(said) == after:
                process.kill()
                break
        process.wait()
    assert process.returncode == -9, f"it ended before it had said {after}: {process.returncode}"
    return said


def whole(ingot, model, database):
    done = subprocess.run(command(ingot, model, database, "--json"), capture_output=True, text=True)
    assert not done.returncode, done.stderr
    return json.loads(done.stdout)


def main():
    ingot, model = sys.argv[1:]
    with tempfile.TemporaryDirectory(prefix="ingot-killed-") as folder:
        database, undisturbed = os.path.join(folder, "killed.tuning"), os.path.join(folder, "undisturbed.tuning")
        for after in AFTER:
            before = ways(database)
            said = killed(ingot, model, database, after)
            now = ways(database)
            assert before <= now, f"lost: {before - now}"
            assert said <= now, f"said, and not in the database: {said - now}"
            assert not said & before, f"measured again: {said & before}"
        last, all_of_it = whole(ingot, model, database), whole(ingot, model, undisturbed)
        assert last["known"] == len(now) and last["measured"] == all_of_it["measured"] - len(now) > 0, (last, all_of_it, now)
        assert ways(database) == ways(undisturbed)
        print(f"{len(AFTER)} times killed, {len(now)} measurements kept, {last['measured']} made behind")


main()
