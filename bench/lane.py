"""One GPU, or the CPU, and the rows it takes: prepares a row's peers, lets them take turns, records every answer."""
import json
import math
import os
import time

from bench import files, machine, store, timing, wire

PREPARE_SECONDS = 900
# Of the norm of the difference over the reference's: what rounding gives in these networks, with room; a wrong kernel gives more.
LARGEST_ERROR = {"fp16": 2e-2, "fp32": 1e-3}


class Cut(Exception):
    """The time limit is reached."""


class Lane:
    def __init__(self, run, gpu):
        self.run, self.gpu, self.processes = run, gpu, {}
        self.readings = machine.Readings(run.options.device, gpu)
        self.scratch = os.path.join(run.options.work, "engines")
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

    def fail(self, row, spec, error):
        """The peer leaves this row; its process goes too, since what it holds is unknown now."""
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
        return self.fail(row, spec, answer["error"]) if answer.get("error") and request["do"] != "prepare" else answer

    def prepare(self, row, specs, folder):
        """Those that are ready. Peers that measure while they prepare do it alone, after the others."""
        scratch = os.path.join(self.scratch, row.folder)
        os.makedirs(scratch, exist_ok=True)
        request = {"do": "prepare", "network": row.network, "batch": row.batch, "folder": folder, "scratch": scratch, "input_names": files.input_names(folder)}
        if row.is_file:
            request["model"] = os.path.join(folder, "model.onnx")
        compiled = read_json(os.path.join(folder, "compiled.json"))
        ready, together = [], [spec for spec in specs if not spec.alone]
        for group in [together, *[[spec] for spec in specs if spec.alone]]:
            if self.run.out_of_time():
                raise Cut
            sent = []
            for spec in group:
                try:
                    self.process(spec).send(request)
                    sent.append(spec)
                except wire.Gone as error:
                    self.fail(row, spec, error)
            for spec in sent:
                try:
                    facts = self.process(spec).receive(PREPARE_SECONDS + self.run.options.tune)
                except wire.Gone as error:
                    self.fail(row, spec, error)
                    continue
                if isinstance(facts.get("error"), str):
                    self.fail(row, spec, facts["error"])
                    continue
                warmed = compiled.get(spec.name, {})
                facts.update({name: warmed[key] for key, name in (("build_s", "compile_s"), ("kernels", "kernels")) if key in warmed})
                self.record("facts", row, spec, **judged(facts, self.run.options.precision))
                ready.append(spec)
        return [spec for spec in specs if spec in ready]

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
        run = self.run
        specs = [spec for spec in run.of_row(row) if run.options.retry or not failed_before(run, row, spec)]
        todo = run.left(row)
        ready = self.prepare(row, specs, folder)
        for number in todo:
            if run.out_of_time():
                raise Cut
            ready = self.measure(row, ready, number)
        for spec in ready:
            self.asked(row, spec, {"do": "drop"}, 60)
        self.show(row, ready)

    def show(self, row, specs):
        records = [r for r in self.run.store.records if r["type"] == "round" and r["network"] == row.network and r["batch"] == row.batch]
        from bench import stats

        times = {spec.name: stats.median([r["device_ms"] for r in records if r["peer"] == spec.name]) for spec in specs}
        self.run.say(f"{row}: " + "  ".join(f"{name} {ms:.4f}" for name, ms in sorted(times.items(), key=lambda item: item[1])))

    def close(self):
        for process in self.processes.values():
            process.close()
        self.readings.close()


def judged(facts, precision):
    """With whether results agree with PyTorch's in fp32. None: nothing to compare with. What is not finite is no number of JSON, and never agrees."""
    error = facts.get("error")
    return {**facts, "error": error if error is not None and math.isfinite(error) else None, "agrees": None if error is None else error <= LARGEST_ERROR[precision]}


def failed_before(run, row, spec):
    return store.latest_failure([r for r in run.store.records if r.get("network") == row.network and r.get("batch") == row.batch], spec.name)


def read_json(path):
    if not os.path.exists(path):
        return {}
    with open(path) as file:
        return json.load(file)


def measure_rows(run, queue, folders, gpu):
    """A thread: takes rows until there are none, or the time is up."""
    lane = Lane(run, gpu)
    try:
        while not run.out_of_time():
            try:
                row = queue.popleft()
            except IndexError:
                break
            lane.row(row, folders[row])
    except Cut:
        pass
    finally:
        lane.close()
