#!/usr/bin/env python3
"""Breaks kernels in the ways that people do and counts what the emulated device notices.

  tests/emulator/mutations/mutate.py [--build FOLDER] [--jobs N] [--only TEXT] [--json FILE] [--plain] [--list]

Each row of table.py is one defect: a text in a kernel's header, or in the C file that generates or launches kernels, is replaced, and the
operator cases that a person would run are run. A header is handed over through INGOT_EMULATOR_SOURCE; a C file is compiled as the
build would and linked before its library. A defect counts as caught when the emulator has a finding or a result differs from
the reference; a kernel that does not compile, a crash or a run without end does not count. Before all, the same runs must pass
on the tree as it is. Prints a table and exits with 1 where less than 95% are caught.

--only takes the rows whose name contains TEXT. --plain runs what a finding caught once more with the checks of accesses off
(INGOT_EMULATOR_CHECKS=off): what a comparison of results, and what faults on any GPU, would have shown. --build: build/release.
Objects of kernels are kept in FOLDER/mutations, so that a second run compiles nothing.
"""
import argparse, collections, concurrent.futures, json, os, re, select, shutil, subprocess, sys, tempfile, threading, time

ROOT = os.path.realpath(os.path.join(os.path.dirname(__file__), "..", "..", ".."))
LIMIT_S = 100  # of one run
ENOUGH = 0.95

Outcome = collections.namedtuple("Outcome", "caught how where near seconds")


def read(path):
    with open(os.path.join(ROOT, path)) as file:
        return file.read()


def mutated_text(m):
    """The file with the row's text replaced; which occurrence is the row's to say where there are several."""
    parts = read(m.file).split(m.old)
    if m.old == m.new or not 1 <= m.nth < len(parts) or (m.nth == 1 and not m.several and len(parts) != 2):
        sys.exit(f"mutate: {m.name}: its text occurs {len(parts) - 1} times in {m.file}")
    return m.old.join(parts[: m.nth]) + m.new + m.old.join(parts[m.nth :])


# --- Building: the commands are the build's own.

class Build:
    def __init__(self, folder):
        self.folder = os.path.realpath(folder)
        self.library = os.path.join(self.folder, "tests/emulator/libingot-emulator.so")
        commands = subprocess.run(["ninja", "-C", self.folder, "-t", "commands", "tests/ingot-cases"], capture_output=True, text=True)
        self.commands = [line for line in commands.stdout.splitlines() if line]
        if commands.returncode or not os.path.exists(self.library):
            sys.exit(f"mutate: {folder} is no finished build of this tree with ninja")

    def shell(self, command):
        done = subprocess.run(command, shell=True, cwd=self.folder, capture_output=True, text=True)
        return done.returncode == 0, (done.stdout + done.stderr)[-400:]

    def program(self, m, work):
        """ingot-cases with the row's C file in place of its library's."""
        source = os.path.join(ROOT, m.file)
        compiling = [c for c in self.commands if c.endswith(f" -c {source}")]
        if len(compiling) != 1:
            return None, f"{m.file} is compiled {len(compiling)} times"
        changed, thing, program = (os.path.join(work, name) for name in ("changed.c", "changed.o", "ingot-cases"))
        with open(changed, "w") as file:
            file.write(mutated_text(m))
        command = re.sub(r" -M\w+( \S+\.o(\.d)?)?(?= )", "", compiling[0])
        command = re.sub(r" -o \S+ -c \S+$", f" -w -o {thing} -c {changed}", command)
        good, text = self.shell(command)
        if good:
            good, text = self.shell(self.commands[-1].replace(" -o tests/ingot-cases ", f" {thing} -o {program} ", 1))
        return (program, "") if good else (None, text)


# --- Running.

def environment(build, m, work, source=None, checks=True):
    env = dict(os.environ, INGOT_LIBCUDA=build.library, INGOT_NVRTC=build.library, INGOT_CUBLASLT="/none", INGOT_CUDNN="/none")
    env.update(XDG_CACHE_HOME=work, INGOT_EMULATOR_SM=str(m.sm), INGOT_EMULATOR_CACHE=os.path.join(build.folder, "mutations"))
    for name in ("INGOT_EMULATOR_SOURCE", "INGOT_EMULATOR_CHECKS", "INGOT_EMULATOR_SEED", "INGOT_EMULATOR_FAIL"):
        env.pop(name, None)
    if source:
        env["INGOT_EMULATOR_SOURCE"] = source
    if not checks:
        env["INGOT_EMULATOR_CHECKS"] = "off"
    return env


def lines_of(process, deadline):
    """Lines of output as they come; ends early at the deadline."""
    rest = b""
    while True:
        ready = select.select([process.stdout], [], [], max(0, deadline - time.time()))[0]
        if not ready:
            yield "TIMEOUT"
            return
        got = os.read(process.stdout.fileno(), 65536)
        if not got:
            return
        *whole, rest = (rest + got).split(b"\n")
        yield from (line.decode(errors="replace") for line in whole)


def run(build, m, program, env):
    """(caught, how, where): None, ... where the run says nothing about the defect; the first sign is enough."""
    command = [program, "--device", "cuda", "--tactics", "--filter", m.filter] + (["--tactic", m.tactic.rstrip("*")] if m.tactic else [])
    command += ["--candidates", "24"] if m.tactic.endswith("*") else []
    command += ["--open", m.open] if m.open else []
    process = subprocess.Popen(command, env=env, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    verdict, last = None, ""
    for line in lines_of(process, time.time() + LIMIT_S):
        last = line or last
        if line.startswith("emulated device: "):
            text = line[len("emulated device: ") :]
            where, _, what = text.partition(": kernel ")
            verdict = (True, "found: " + (re.sub(r"^.*?thread \(\d+,\d+,\d+\) ", "", what) or text), where if what else "")
        elif line.startswith("FAIL "):
            compiles = "does not compile" not in line
            verdict = (compiles, ("differs: " if "differ" in line else "fails: ") + line[5:], "")
        elif line == "TIMEOUT":
            verdict = (False, f"no end after {LIMIT_S} s", "")
        if verdict:
            break
    process.kill()
    code = process.wait()
    if verdict:
        return verdict
    return (False, "passes", "") if code == 0 else (False, f"ends with {code}: {last}", "")


def includes(path, seen):
    if path not in seen and os.path.exists(os.path.join(ROOT, path)):
        seen.add(path)
        for name in re.findall(r'#include "([^"]+)"', read(path)):
            includes(name, seen)
    return seen


def is_near(m, where):
    """A finding's line is of the file that was changed, of one that it includes or is included by, or of generated text."""
    files = [part.split(":")[0] for part in where.split(" < ")]
    return not where or not m.file.endswith(".cuh") or any(
        file == "kernel.cu" or file in includes(m.file, set()) or m.file in includes(file, set()) for file in files)


def tried(build, m, checks=True):
    begin = time.time()
    work = tempfile.mkdtemp(prefix="mutate-")
    try:
        program, source, text = os.path.join(build.folder, "tests/ingot-cases"), None, ""
        if m.file.endswith(".cuh"):
            source = os.path.join(work, "source")
            os.makedirs(os.path.dirname(os.path.join(source, m.file)))
            with open(os.path.join(source, m.file), "w") as file:
                file.write(mutated_text(m))
        else:
            program, text = build.program(m, work)
        caught, how, where = run(build, m, program, environment(build, m, work, source, checks)) if program else (False, "does not build: " + text, "")
        return Outcome(caught, how, where, is_near(m, where), round(time.time() - begin, 1))
    finally:
        shutil.rmtree(work)


def check_unchanged(build, rows, pool):
    """The runs of all rows, on the tree as it is."""
    runs = list({(m.filter, m.tactic, m.sm): m for m in rows}.values())
    work = tempfile.mkdtemp(prefix="mutate-")
    program = os.path.join(build.folder, "tests/ingot-cases")
    try:
        results = list(pool.map(lambda m: run(build, m, program, environment(build, m, work)), runs))
    finally:
        shutil.rmtree(work)
    bad = [(m, how) for m, (_, how, _) in zip(runs, results) if how != "passes"]
    for m, how in bad:
        print(f"unchanged, {m.filter} {m.tactic} as sm_{m.sm}: {how}")
    return not bad


def main():
    parser = argparse.ArgumentParser(usage=__doc__.replace("%", "%%"))
    parser.add_argument("--build", default=os.path.join(ROOT, "build/release"))
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--only", default="")
    parser.add_argument("--json")
    parser.add_argument("--plain", action="store_true")
    parser.add_argument("--list", action="store_true")
    options = parser.parse_args()
    sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))
    from table import MUTATIONS
    rows = [m for m in MUTATIONS if options.only in m.name]
    if len({m.name for m in MUTATIONS}) != len(MUTATIONS) or not rows:
        sys.exit("mutate: two rows of one name, or no row")
    for m in rows:
        mutated_text(m)
    if options.list:
        for m in rows:
            print(f"{m.name:<28} {m.kind:<34} {m.file:<38} {m.filter} sm_{m.sm}")
        return 0
    build, lock, outcomes, plain = Build(options.build), threading.Lock(), {}, {}
    os.makedirs(os.path.join(build.folder, "mutations"), exist_ok=True)

    def one(m):
        outcome = tried(build, m)
        if options.plain and outcome.how.startswith("found"):
            plain[m.name] = tried(build, m, checks=False)
        with lock:
            outcomes[m.name] = outcome
            sign = "" if outcome.caught else "MISSED " + (f"({m.known}) " if m.known else "")
            print(f"{m.name:<28} {m.kind:<34} {outcome.seconds:5.1f} s  {sign}{outcome.how[:150]}")
            if outcome.where:
                print(f"{'':<28} at {outcome.where}{'' if outcome.near else '   FAR from ' + m.file}")
            sys.stdout.flush()

    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        if not check_unchanged(build, rows, pool):
            return 2
        list(pool.map(one, rows))
    caught = [m for m in rows if outcomes[m.name].caught]
    if options.json:
        with open(options.json, "w") as file:
            json.dump([dict(m._asdict(), **outcomes[m.name]._asdict()) for m in rows], file, indent=1)
    for m in rows:
        if m.name not in {c.name for c in caught}:
            print(f"not caught: {m.name}: {m.known or 'nobody has said why'}")
    if options.plain:
        silent = sorted(name for name, outcome in plain.items() if not outcome.caught)
        print(f"of {len(plain)} that a finding caught, {len(silent)} show nothing without the checks: {', '.join(silent)}")
    found = sum(outcomes[m.name].how.startswith("found") for m in caught)
    print(f"{len(caught)} of {len(rows)} defects caught, {found} by a finding and {len(caught) - found} by the result")
    return 0 if len(caught) >= ENOUGH * len(rows) else 1


if __name__ == "__main__":
    sys.exit(main())
