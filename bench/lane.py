"""One GPU, or the CPU, and the rows it takes: makes a row's peers ready, lets them take turns, records every answer and where the time went."""
import math
import os
import time

from bench import files, machine, stats, timing, warm, wire, zoo

PREPARE_SECONDS = 900
# Of the norm of the difference over the reference's: what rounding gives in these networks, with room; a wrong kernel gives more.
LARGEST_ERROR = {"fp16": 2e-2, "fp32": 1e-3}


class Cut(Exception):
    """The time limit is reached."""


class Lane:
    def __init__(self, run, gpu):
        self.run, self.gpu, self.processes, self.spent, self.starting = run, gpu, {}, {}, []
        self.readings = machine.Readings(run.options.device, gpu)
        self.environment = dict(run.environment)
        if run.options.device == "cuda":
            self.environment["CUDA_VISIBLE_DEVICES"] = str(gpu)

    def process(self, spec):
        if spec.name not in self.processes:
            log = os.path.join(self.run.options.work, "logs", f"{spec.name.replace(' ', '-').replace('/', '-')}-{self.gpu}.log")
            self.processes[spec.name] = wire.Process(spec.command, self.environment, log)
        return self.processes[spec.name]

    def record(self, kind, row, spec, **more):
        self.run.store.append({"type": kind, "network": row.network, "batch": row.batch, "peer": spec.name, "session": self.run.session, "gpu": self.gpu, **more})

    def start(self, rows):
        """Peers of these rows load their libraries, while other things are prepared."""
        for spec in self.run.specs:
            if any(spec in self.run.of_row(row) for row in rows):
                self.process(spec).send({"do": "start"})
                self.starting.append(spec)

    def wait(self):
        """Until they have. One that cannot will run no row."""
        for spec in self.starting:
            try:
                error = self.processes[spec.name].receive(PREPARE_SECONDS).get("error")
            except wire.Gone as gone:
                error = str(gone)
            if error and not self.run.stopped:
                self.run.unusable[spec.name] = error
                self.run.say(f"{spec.name}: {error}")
                self.processes.pop(spec.name).close()
        self.starting = []

    def fail(self, row, spec, error):
        """The peer leaves this row; its process goes too, since what it holds is unknown now."""
        if self.run.stopped:
            raise Cut
        self.record("failure", row, spec, error=str(error))
        self.run.say(f"{row}: {spec.name}: {error}")
        process = self.processes.pop(spec.name, None)
        if process:
            process.close()

    def asked(self, row, spec, request, seconds):
        """The answer, or None where the peer failed."""
        try:
            answer = self.process(spec).ask(request, seconds)
        except wire.Gone as error:
            return self.fail(row, spec, error)
        return self.fail(row, spec, answer["error"]) if answer.get("error") else answer

    def prepare(self, row, specs, folder):
        """Those that are ready: first engines are built, each alone since that measures; then all are made ready at once that need no quiet, and the others one after the other.

        Modules without convolutions need none: what they would search for lies in caches since they were compiled."""
        request = self.request(row, folder)
        warmed = warm.found(folder)
        building = [spec for spec in specs if "build" in spec.quiet]
        built = [spec for spec in building if self.together(row, [spec], {**request, "do": "build"}, "engines built")]
        left = [spec for spec in specs if spec in built or spec not in building]
        alone = [spec for spec in left if "prepare" in spec.quiet and not (spec.module and zoo.ZOO[row.network].takes[0] == "tokens")]
        ready = self.together(row, [spec for spec in left if spec not in alone], {**request, "do": "prepare", "beside": True}, "made ready at once")
        for spec in alone:
            ready.update(self.together(row, [spec], {**request, "do": "prepare"}, "made ready alone"))
        if ready:
            slowest = max(ready, key=lambda spec: ready[spec]["prepare_took_s"])
            self.run.say(f"{row}: ready, last {slowest.name} after {ready[slowest]['prepare_took_s']:.1f} s")
        for spec, facts in ready.items():
            more = warmed.get(spec.name, {})
            facts.update({name: more[key] for key, name in (("build_s", "compile_s"), ("kernels", "kernels")) if key in more})
            self.record("facts", row, spec, **judged(facts, self.run.options.precision))
        return [spec for spec in specs if spec in ready]

    def request(self, row, folder):
        scratch = scratch_of(self.run.options, row)
        os.makedirs(scratch, exist_ok=True)
        return {"network": row.network, "batch": row.batch, "folder": folder, "scratch": scratch, "input_names": files.input_names(folder)}

    def together(self, row, specs, request, part):
        """{spec: answer} of those that did it; all at once."""
        if self.run.out_of_time():
            raise Cut
        start, sent, done = time.perf_counter(), [], {}
        for spec in specs:
            try:
                self.process(spec).send(request)
                sent.append(spec)
            except wire.Gone as error:
                self.fail(row, spec, error)
        for spec in sent:
            try:
                answer = self.process(spec).receive(PREPARE_SECONDS + self.run.options.tune)
            except wire.Gone as error:
                self.fail(row, spec, error)
                continue
            if isinstance(answer.get("error"), str):
                self.fail(row, spec, answer["error"])
                if answer.get("always"):
                    self.run.unusable[spec.name] = answer["error"]
            else:
                done[spec] = answer
        self.spend(part, time.perf_counter() - start)
        return done

    def spend(self, part, seconds):
        self.spent[part] = self.spent.get(part, 0) + seconds

    def measure(self, row, specs, number):
        """One round of all peers. Returns those that are still there."""
        options, still = self.run.options, []
        kinds = timing.KINDS if number < options.variant_rounds else timing.KINDS[:1]
        for spec in specs:
            found = {}
            for kind in kinds:
                if kind in found:
                    continue
                seconds = options.seconds if kind == "device" else options.variant_seconds
                answer = self.asked(row, spec, {"do": "measure", "kind": kind, "seconds": seconds}, 120 + 100 * seconds)
                if answer is None:
                    break
                for name, value in (answer.get("also") or {kind: answer}).items():
                    if name in kinds:
                        found[name] = value
            else:
                values = {kind + "_ms": value["ms"] for kind, value in found.items() if "ms" in value}
                self.record("round", row, spec, round=number, time=time.time(), samples=found["device"]["samples"], state=self.readings.now(), **values)
                still.append(spec)
        return still

    def row(self, row, folder):
        """Measured whole, or not at all: what is compared was made and measured by one start of the command, on one GPU."""
        run, start, self.spent = self.run, time.perf_counter(), {}
        specs = run.trying(row)
        for spec in [spec for spec in specs if spec.name in run.unusable]:
            self.record("failure", row, spec, error=run.unusable[spec.name])
            specs.remove(spec)
        ready = self.prepare(row, specs, folder)
        for number in range(run.options.rounds):
            if run.out_of_time():
                raise Cut
            before = time.perf_counter()
            ready = self.measure(row, ready, number)
            self.spend("measured", time.perf_counter() - before)
        for spec in ready:
            self.asked(row, spec, {"do": "drop"}, 60)
        seconds = time.perf_counter() - start
        self.spend("the rest", seconds - sum(self.spent.values()))
        run.store.append({"type": "spent", "network": row.network, "batch": row.batch, "session": run.session, "gpu": self.gpu, "parts": self.spent})
        self.show(row, ready)

    def show(self, row, specs):
        records = [r for r in self.run.store.records if r["type"] == "round" and r["network"] == row.network and r["batch"] == row.batch and r["session"] == self.run.session]
        times = {spec.name: stats.median([r["device_ms"] for r in records if r["peer"] == spec.name]) for spec in specs}
        self.run.say(f"{row}: " + "  ".join(f"{name} {ms:.4f}" for name, ms in sorted(times.items(), key=lambda item: item[1])))
        self.run.say(f"{row}: " + ", ".join(f"{part} {seconds:.1f} s" for part, seconds in self.spent.items()))

    def close(self):
        for process in list(self.processes.values()):
            process.close()
        self.readings.close()


def judged(facts, precision):
    """With whether results agree with PyTorch's in fp32. None: nothing to compare with. What is not finite is no number of JSON, and never agrees."""
    error = facts.get("error")
    return {**facts, "error": error if error is not None and math.isfinite(error) else None, "agrees": None if error is None else error <= LARGEST_ERROR[precision]}


def scratch_of(options, row):
    """Where engines of a row are kept."""
    return os.path.join(options.work, "engines", row.folder)


def measure_rows(lane, queue, folders):
    """A thread: takes rows until there are none, or the time is up; those that no longer fit are passed over, since others behind them may."""
    try:
        lane.wait()
        while not lane.run.out_of_time():
            try:
                row = queue.popleft()
            except IndexError:
                break
            if not lane.run.out_of_time(lane.run.expected(row.network)):
                lane.row(row, folders[row])
    except Cut:
        pass
