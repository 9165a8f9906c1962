"""Everything that is made before anything is measured, in processes side by side: a graph of jobs, each waiting for what it needs, the longest of those that can start first.

For each network its export, and for each of its rows the compiled forms of PyTorch, which stay in caches on disk: max-autotune, which takes longest, apart from the others; with and without mask apart. Quick
runs build Ingot's untuned engines of what was exported here too. What a job could not do is told again, by name, by the peer that would have needed it; a network that cannot be
exported is given up here, and so is what takes longer than --prepare-limit: its peers are named, and their rows are measured without them.
"""
import os
import signal
import subprocess
import sys
import time

from bench import peers, warm

# Seconds beside other jobs, as runs on an H200 with 16 and 32 cores recorded them; of forms of PyTorch in peers.TORCH_GROUPS. Only the order in which jobs start follows from them.
EXPORT_COST, ENGINE_COST = 25, 8
# How much longer than most a network compiles.
COMPILE_FACTORS = {"densenet121": 5.0, "mobilenet_v3_large": 2.0, "swin_t": 2.0, "bert-large-384": 2.0, "efficientnet_b0": 1.5, "inception_v3": 1.5, "lstm-2x512-bi": 0.05}
GPU_BYTES = 10e9  # of one job, with room


class Job:
    """needed_by: {row: names of the peers that need what it makes}."""

    def __init__(self, what, name, needed_by, command, cost, needs=None):
        self.what, self.name, self.needed_by, self.command, self.cost, self.needs = what, name, needed_by, command, cost, needs
        self.network = next(iter(needed_by)).network
        self.process = self.log = self.gpu = self.begun = None


def command(options, what, rows, *more):
    batches = ",".join(str(row.batch) for row in rows)
    return [sys.executable, "-m", "bench.warm", what, rows[0].network, "--batches", batches, "--folder", options.work, "--device", options.device,
            "--precision", options.precision, "--threads", str(options.threads), *more]


def jobs_of(run, rows):
    options, jobs, made_for = run.options, [], warm.made_for(run.options)
    for network in dict.fromkeys(row.network for row in rows if not row.is_file):
        mine = [row for row in rows if row.network == network]
        export = Job("export", f"export-{network}", {row: [spec.name for spec in run.trying(row)] for row in mine}, command(options, "export", mine), EXPORT_COST)
        jobs.append(export)
        for row in mine:
            jobs += compile_jobs(run, row, made_for)
            jobs += engine_jobs(run, row, export)
    return jobs


def compile_jobs(run, row, made_for):
    """Of the forms that this machine has not compiled yet."""
    options, jobs = run.options, []
    folder = os.path.join(options.work, row.folder)
    wanted = {spec.name for spec in run.trying(row) if spec.module and not warm.is_made(folder, spec.name, made_for)}
    for suffix in ("", " no-mask"):
        for forms, seconds in peers.TORCH_GROUPS.items():
            names = [peers.TORCH_FORMS[options.device].get(form, "?") + suffix for form in forms]
            names = [name for name in names if name in wanted]
            if names:
                cost = seconds * COMPILE_FACTORS.get(row.network, 1.0)
                jobs.append(Job("compile", f"{row.folder}-{names[-1].replace(' ', '-')}", {row: names}, command(options, "compile", [row], "--peers", ",".join(names), "--made-for", made_for), cost))
    return jobs


def engine_jobs(run, row, export):
    jobs, options = [], run.options
    for label, settings in peers.unmeasured_engines(options).items():
        names = [spec.name for spec in run.trying(row) if settings in spec.command]
        if names:
            jobs.append(Job("engine", f"engine-{row.folder}-{label}", {row: names}, command(options, "engine", [row], "--settings", settings), ENGINE_COST, export))
    return jobs


def kill(process):
    """With all that it started: they are a process group of their own."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


class Preparation:
    def __init__(self, run, jobs):
        self.run, self.options, self.jobs = run, run.options, list(jobs)
        self.waiting, self.active, self.ended, self.failed = list(jobs), [], set(), {}
        self.cores = len(os.sched_getaffinity(0))

    def environment(self, job):
        """Its compilers share the cores with jobs that take as long, since shorter ones have ended when most of it is left to do."""
        places = self.options.prepare_jobs
        longer = sum(other.cost >= job.cost for other in self.jobs)
        return {**self.run.environment, "TORCHINDUCTOR_COMPILE_THREADS": str(max(2, 2 * self.cores // min(places, longer))),
                "OMP_NUM_THREADS": str(max(1, self.cores // min(places, len(self.jobs))))}

    def start(self):
        """The next job that can start, if there is one and a place for it."""
        ready = [job for job in self.waiting if job.needs is None or job.needs in self.ended]
        if not ready or len(self.active) >= self.options.prepare_jobs:
            return False
        job = max(ready, key=lambda job: job.cost)
        self.waiting.remove(job)
        environment = self.environment(job)
        if self.options.device == "cuda":
            busy = [other.gpu for other in self.active]
            job.gpu = min(self.options.gpus, key=busy.count)
            environment["CUDA_VISIBLE_DEVICES"] = str(job.gpu)
        job.log, job.begun = os.path.join(self.options.work, "logs", f"{job.name}.log"), time.time()
        with open(job.log, "w") as log:
            job.process = subprocess.Popen(job.command, stdout=log, stderr=subprocess.STDOUT, env=environment, start_new_session=True)
        self.active.append(job)
        return True

    def is_late(self, job):
        return bool(self.run.prepare_limit) and time.time() - job.begun > self.run.prepare_limit

    def end(self, job, late=False):
        if late:
            kill(job.process)
        self.active.remove(job)
        with open(job.log, errors="replace") as file:
            text = file.read()
        seconds, stages = time.time() - job.begun, {name: float(seconds) for name, seconds in warm.STAGE.findall(text)}
        self.run.store.append({"type": "prepared", "network": job.network, "job": job.name, "session": self.run.session, "seconds": seconds, "stages": stages})
        self.run.say(f"{job.name}: {seconds:.1f} s ({', '.join(f'{name} {seconds:.1f}' for name, seconds in stages.items())})")
        if job.process.returncode == 0 and not late:
            self.ended.add(job)
            return
        last = ([line for line in text.splitlines() if line.strip()] or [f"exit code {job.process.returncode}"])[-1][:300]
        why = f"took more than {self.run.prepare_limit:g} s to prepare" if late else last
        self.run.say(f"{job.name}: {why}" + ("; a larger --prepare-limit tries again" if late else ""))
        self.failed[job] = why
        self.waiting = [other for other in self.waiting if other.needs is not job]
        if late or job.what == "export":
            self.name_failed(job, why, {"prepare_limit": self.run.prepare_limit} if late else {})

    def name_failed(self, job, why, more):
        """All that need it, but those for whom it was done in time."""
        made_for = warm.made_for(self.options) if job.what == "compile" else None
        for row, names in job.needed_by.items():
            for name in names:
                if not made_for or not warm.is_made(os.path.join(self.options.work, row.folder), name, made_for):
                    self.run.store.append({"type": "failure", "network": row.network, "batch": row.batch, "peer": name, "session": self.run.session,
                                           "error": f"export: {why}" if job.what == "export" else why, **more})

    def finish(self):
        """False: the time limit cut it."""
        try:
            while self.waiting or self.active:
                if self.run.out_of_time():
                    return False
                while self.start():
                    pass
                time.sleep(0.1)
                for job in list(self.active):
                    if job.process.poll() is not None:
                        self.end(job)
                    elif self.is_late(job):
                        self.end(job, late=True)
            return True
        finally:
            for job in self.active:
                kill(job.process)


def prepare(run, rows):
    """The rows that can be measured: all but those whose export failed, which is recorded. None: out of time."""
    start, preparation = time.time(), Preparation(run, jobs_of(run, rows))
    whole = preparation.finish()
    run.store.append({"type": "prepared_all", "session": run.session, "seconds": time.time() - start})
    if not whole:
        return None
    unexported = {job.network for job in preparation.failed if job.what == "export"}
    return [row for row in rows if row.network not in unexported]
