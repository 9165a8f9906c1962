"""Everything that is made before anything is measured, in processes side by side: a graph of jobs, each waiting for what it needs, the longest of those that can start first.

For each network its export, and its compiled forms of PyTorch, which stay in caches on disk: max-autotune, which takes longest, apart from the others; with and without mask apart. Quick
runs build Ingot's untuned engines of what was exported here too. What a job could not do is told again, by name, by the peer that would have needed it; only a network that cannot be
exported is given up here.
"""
import os
import signal
import subprocess
import sys
import time

from bench import peers, warm

# Forms of PyTorch that share a process, and how long that takes beside other jobs.
GROUPS = ((("eager", "graph", "compile", "compile-reduce"), 1.0), (("compile-max",), 3.0))
EXPORT_COST, ENGINE_COST = 2.0, 0.3
GPU_BYTES = 10e9  # of one job, with room


class Job:
    def __init__(self, name, network, command, cost, needs=None):
        self.name, self.network, self.command, self.cost, self.needs = name, network, command, cost, needs
        self.process = self.log = self.gpu = self.begun = None


def jobs_of(run, rows):
    options, jobs = run.options, []
    for network in dict.fromkeys(row.network for row in rows if not row.is_file):
        mine = [row for row in rows if row.network == network]
        batches = ",".join(str(row.batch) for row in mine)
        command = lambda what, *more, batches=batches: [sys.executable, "-m", "bench.warm", what, network, "--batches", batches, "--folder", options.work, "--device", options.device,
                                                        "--precision", options.precision, "--threads", str(options.threads), *more]
        export = Job(f"export-{network}", network, command("export"), EXPORT_COST)
        jobs.append(export)
        wanted = {spec.name for spec in run.of_row(mine[0]) if spec.module}
        for suffix in ("", " no-mask"):
            for forms, cost in GROUPS:
                names = [peers.TORCH_FORMS[options.device].get(form, "?") + suffix for form in forms]
                names = [name for name in names if name in wanted]
                if names:
                    jobs.append(Job(f"{network}-{names[-1].replace(' ', '-')}", network, command("compile", "--peers", ",".join(names)), cost))
        for label, settings in peers.unmeasured_engines(options).items():
            for row in mine:
                jobs.append(Job(f"engine-{row.folder}-{label}", network, command("engine", "--settings", settings, batches=str(row.batch)), ENGINE_COST, export))
    return jobs


class Preparation:
    def __init__(self, run, jobs):
        self.run, self.options = run, run.options
        self.waiting, self.active, self.ended, self.failed = list(jobs), [], set(), {}
        cores = len(os.sched_getaffinity(0))
        self.environment = {**run.environment, "TORCHINDUCTOR_COMPILE_THREADS": str(max(2, 2 * cores // self.options.prepare_jobs)), "OMP_NUM_THREADS": str(max(1, cores // self.options.prepare_jobs))}

    def start(self):
        """The next job that can start, if there is one and a place for it."""
        ready = [job for job in self.waiting if job.needs is None or job.needs in self.ended]
        if not ready or len(self.active) >= self.options.prepare_jobs:
            return False
        job = max(ready, key=lambda job: job.cost)
        self.waiting.remove(job)
        environment = dict(self.environment)
        if self.options.device == "cuda":
            busy = [other.gpu for other in self.active]
            job.gpu = min(self.options.gpus, key=busy.count)
            environment["CUDA_VISIBLE_DEVICES"] = str(job.gpu)
        job.log, job.begun = os.path.join(self.options.work, "logs", f"{job.name}.log"), time.time()
        with open(job.log, "w") as log:
            job.process = subprocess.Popen(job.command, stdout=log, stderr=subprocess.STDOUT, env=environment, start_new_session=True)
        self.active.append(job)
        return True

    def end(self, job):
        self.active.remove(job)
        with open(job.log, errors="replace") as file:
            text = file.read()
        stages = {name: float(seconds) for name, seconds in warm.STAGE.findall(text)}
        self.run.store.append({"type": "prepared", "network": job.network, "job": job.name, "session": self.run.session, "seconds": time.time() - job.begun, "stages": stages})
        self.run.say(f"{job.name}: {time.time() - job.begun:.1f} s ({', '.join(f'{name} {seconds:.1f}' for name, seconds in stages.items())})")
        if job.process.returncode == 0:
            self.ended.add(job)
            return
        last = ([line for line in text.splitlines() if line.strip()] or [f"exit code {job.process.returncode}"])[-1][:300]
        self.run.say(f"{job.name}: {last}")
        self.failed[job] = last
        self.waiting = [other for other in self.waiting if other.needs is not job]

    def kill(self):
        for job in self.active:
            try:
                os.killpg(job.process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            job.process.wait()

    def finish(self):
        """False: the time limit cut it."""
        try:
            while self.waiting or self.active:
                if self.run.out_of_time():
                    return False
                while self.start():
                    pass
                time.sleep(0.1)
                for job in [job for job in self.active if job.process.poll() is not None]:
                    self.end(job)
            return True
        finally:
            self.kill()


def prepare(run, rows):
    """The rows that can be measured; those whose export failed are recorded. None: out of time."""
    start, preparation = time.time(), Preparation(run, jobs_of(run, rows))
    whole = preparation.finish()
    run.store.append({"type": "prepared_all", "session": run.session, "seconds": time.time() - start})
    if not whole:
        return None
    unexported = {job.network: why for job, why in preparation.failed.items() if job.name == f"export-{job.network}"}
    for row in rows:
        for spec in run.of_row(row) if row.network in unexported else []:
            run.store.append({"type": "failure", "network": row.network, "batch": row.batch, "peer": spec.name, "session": run.session, "error": f"export: {unexported[row.network]}"})
    return [row for row in rows if row.network not in unexported]
