"""The jobs that prepare a run: which there are, in which order, what becomes of one that fails or takes too long, and where compiled code is found again."""
import argparse
import json
import os
import sys
import tempfile
import time
import types
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from bench import measure, page, peer_torch, peers, prepare, report, store, summary, warm, zoo
from test_peers import Folder
from test_run import Bench, pid_in, runs

ROW = zoo.Row("resnet50", 1)


class PreparedLate(Bench):
    """Networks of the zoo whose jobs are stand-ins: one exports in no time, the one that builds untuned engines sleeps, and so does a child of it."""

    EXPORT = """
import os, shutil, sys
for batch in (1, 32):
    folder = os.path.join({work!r}, f"resnet50-b{{batch}}")
    os.makedirs(folder, exist_ok=True)
    shutil.copy({model!r}, os.path.join(folder, "model.onnx"))
    for name in ("input_0.npy", "reference_0.npy"): shutil.copy(os.path.join({held!r}, name), folder)
"""
    SLEEP = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(100)"])
for pid, name in ((child.pid, "child"), (os.getpid(), "job")):
    with open(os.path.join({held!r}, name), "w") as file: file.write(str(pid))
time.sleep(100)
"""
    WHY = "took more than 2 s to prepare"

    def setUp(self):
        super().setUp()
        self.engine, real = self.SLEEP, prepare.command
        self.started = []

        def command(options, what, rows, *more):
            self.started.append((what, [row.batch for row in rows]))
            text = {"export": self.EXPORT, "engine": self.engine}[what].format(work=options.work, model=self.models[0], held=self.folder)
            return [sys.executable, "-c", text]

        prepare.command = command
        self.addCleanup(setattr, prepare, "command", real)

    def zoo(self, *more):
        self.started.clear()
        return self.bench(["resnet50"], "work", "--quick", "--ways", "untuned,tuned", "--again", "ingot tuned", *more)

    def failures(self):
        return {(row["batch"], name): error for row in summary.summarise(store.read(self.run_file))["rows"] for name, error in row["failures"].items()}

    def test_what_takes_too_long_is_ended_with_all_its_children_and_named_and_its_rows_are_measured_without_it(self):
        code, said = self.zoo("--prepare-limit", "2")
        self.assertEqual(code, 0, said)
        for name in ("job", "child"):
            self.assertFalse(runs(pid_in(os.path.join(self.folder, name))), name)
        self.assertEqual(self.failures(), {(batch, "ingot untuned"): self.WHY for batch in (1, 32)})
        result = summary.summarise(store.read(self.run_file))
        self.assertEqual([sorted(row["peers"]) for row in result["rows"]], [["ingot tuned", "ingot tuned again"]] * 2)
        self.assertIn(f"failed: all rows: ingot untuned: {self.WHY}", report.table(result))
        self.assertIn(self.WHY, page.render(result))
        self.assertIn(f"failed: all rows: ingot untuned: {self.WHY}", said)

    def test_a_run_that_is_gone_on_with_tries_again_only_with_a_larger_limit_or_when_it_is_told_to(self):
        self.assertEqual(self.zoo("--prepare-limit", "2", "--batches", "1")[0], 0)
        for same in ((), ("--prepare-limit", "2"), ("--prepare-limit", "0.5"), ("--limit", "500")):
            code, said = self.zoo("--batches", "1", *same)
            self.assertEqual(code, 0, said)
            self.assertIn("0 of 1 rows to measure", said)
            self.assertEqual(self.started, [])
        code, said = self.zoo("--prepare-limit", "2")  # the other batch, which has not failed
        self.assertIn("1 of 2 rows to measure", said)
        self.assertEqual(self.started, [("export", [32]), ("engine", [32])])
        self.assertEqual(self.failures(), {(batch, "ingot untuned"): self.WHY for batch in (1, 32)})
        code, said = self.zoo("--batches", "1", "--prepare-limit", "2", "--retry")
        self.assertEqual((code, self.started), (0, [("export", [1]), ("engine", [1])]), said)  # and failed again, which is no reason to go on
        self.engine = ""
        code, said = self.zoo("--prepare-limit", "100")
        self.assertEqual(code, 0, said)
        self.assertIn("2 of 2 rows to measure", said)
        self.assertEqual(self.failures(), {})
        self.assertEqual([len(row["peers"]) for row in summary.summarise(store.read(self.run_file))["rows"]], [3, 3])

    def test_no_limit_tries_everything_again(self):
        self.assertEqual(self.zoo("--prepare-limit", "2", "--batches", "1")[0], 0)
        self.engine = ""
        self.assertIn("1 of 1 rows to measure", self.zoo("--prepare-limit", "0", "--batches", "1")[1])
        self.assertEqual(self.failures(), {})

    def test_a_network_whose_export_takes_too_long_is_named_with_all_its_peers(self):
        self.EXPORT = self.SLEEP
        code, said = self.zoo("--prepare-limit", "2", "--batches", "1")
        self.assertEqual(code, 0, said)
        self.assertEqual(self.failures(), {(1, name): f"export: {self.WHY}" for name in ("ingot untuned", "ingot tuned", "ingot tuned again")})

    def test_a_time_limit_leaves_time_to_measure_in(self):
        def limit(*more):
            run = measure.Run(measure.parse(["--device", "cpu", "--peers", "none", "--ingot", self.binary, "--run", self.run_file, "--work", self.folder, *more]))
            run.store.close()
            return run.prepare_limit

        self.assertEqual([limit(), limit("--limit", "540"), limit("--limit", "5400"), limit("--limit", "540", "--prepare-limit", "400"), limit("--prepare-limit", "0")], [900, 270, 900, 400, 0])


class JobsOf(Folder):
    def options(self, quick, ways=("untuned", "own")):
        return argparse.Namespace(ingot=[self.program("ingot", "")], ways=list(ways), again=None, tune=1, quick=quick, device="cuda", precision="fp16", threads=0, work=self.folder, peers=None, trtexec=None)

    def jobs(self, quick, but=()):
        """but: (network, batch, peer) that failed before."""
        options = self.options(quick)
        specs = peers.ingot(options) + peers.torch(options)
        trying = lambda row: [spec for spec in peers.of_row(specs, row, zoo.ZOO[row.network].masked) if (*row, spec.name) not in but]
        return prepare.jobs_of(types.SimpleNamespace(options=options, trying=trying), zoo.rows(["bert-base-128", "resnet50"], [1, 32]))

    @staticmethod
    def after(job, option):
        return job.command[job.command.index(option) + 1]

    def compiled(self, row, peer, made_for):
        path = warm.compiled_path(os.path.join(self.folder, row.folder), peer)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as file:
            json.dump({"build_s": 1.0, **({"made_for": made_for} if made_for else {})}, file)

    def test_each_network_is_exported_once_and_each_row_compiled_in_groups(self):
        jobs = self.jobs(False)
        self.assertEqual([(job.name, self.after(job, "--batches")) for job in jobs if job.network == "resnet50"],
                         [("export-resnet50", "1,32"), *[(f"resnet50-b{batch}-torch-compile-{form}", batch) for batch in ("1", "32") for form in ("reduce-overhead", "max-autotune")]])
        self.assertEqual([(job.name, self.after(job, "--peers"), self.after(job, "--batches")) for job in jobs if "no-mask" in job.name and "max" in job.name],
                         [(f"bert-base-128-b{batch}-torch-compile-max-autotune-no-mask", "torch compile max-autotune no-mask", batch) for batch in ("1", "32")])
        self.assertEqual(len([job for job in jobs if "no-mask" in job.name]), 4)
        for job in jobs:
            wanted = {peer for peers_of_row in job.needed_by.values() for peer in peers_of_row}
            self.assertTrue(job.what == "export" or wanted == set(self.after(job, "--peers").split(",")))

    def test_the_slowest_to_compile_start_first_and_all_before_what_is_short(self):
        order = sorted(self.jobs(True) + self.jobs(False), key=lambda job: -job.cost)
        kinds = ["max-autotune" if "max-autotune" in job.name else job.what for job in order]
        self.assertEqual(list(dict.fromkeys(kinds)), ["max-autotune", "compile", "export", "engine"])
        self.assertEqual(kinds, sorted(kinds, key=["max-autotune", "compile", "export", "engine"].index))
        self.assertTrue(set(prepare.COMPILE_FACTORS) <= set(zoo.measured()))

    def test_forms_of_one_process_share_caches_and_no_others_do(self):
        used = {}
        for job in self.jobs(False):
            if job.what == "compile":
                (row, names), = job.needed_by.items()
                forms = [peers.torch_form(name, "cuda") for name in names]
                found = {tuple(peers.compiler_caches(os.path.join(self.folder, row.folder), form).values()) for form in forms}
                self.assertEqual(len(found), 1, job.name)
                used.setdefault(found.pop(), []).append(job.name)
        self.assertEqual([names for names in used.values() if len(names) > 1], [])
        self.assertEqual(len({path for paths in used for path in paths}), 2 * len(used))

    def test_compiled_code_is_found_again_on_such_a_machine_and_made_anew_on_another(self):
        here = warm.made_for(self.options(False))
        for row in zoo.rows(["resnet50"], [1, 32]):
            for name in peers.TORCH_FORMS["cuda"].values():
                self.compiled(row, name, here)
        self.assertEqual({job.name for job in self.jobs(False) if job.network == "resnet50"}, {"export-resnet50"})
        self.compiled(zoo.Row("resnet50", 32), "torch compile max-autotune", here.replace("torch", "torch 1"))
        self.compiled(zoo.Row("resnet50", 1), "torch graph", None)  # of a folder that does not say
        self.assertEqual({(job.name, self.after(job, "--peers"), self.after(job, "--made-for")) for job in self.jobs(False) if job.what == "compile" and job.network == "resnet50"},
                         {("resnet50-b32-torch-compile-max-autotune", "torch compile max-autotune", here), ("resnet50-b1-torch-graph", "torch graph", here)})

    def test_what_failed_before_is_not_prepared_again(self):
        names = [job.name for job in self.jobs(True, but={("resnet50", 32, "torch compile max-autotune"), *[("resnet50", 1, f"ingot untuned{again}") for again in ("", " again")]}) if job.network == "resnet50"]
        self.assertEqual([name for name in names if "max" in name], ["resnet50-b1-torch-compile-max-autotune"])
        self.assertEqual([name[:len("engine-resnet50-b32")] for name in names if name.startswith("engine")], ["engine-resnet50-b32"])

    def test_the_process_that_measures_looks_where_the_row_was_compiled(self):
        cleared = []
        utils = types.SimpleNamespace(clear_inductor_caches=lambda: cleared.append(os.environ["TRITON_CACHE_DIR"]))
        adapter = peer_torch.Peer.__new__(peer_torch.Peer)
        adapter.torch, adapter.caches = types.SimpleNamespace(_inductor=types.SimpleNamespace(utils=utils)), lambda folder: peers.compiler_caches(folder, "compile-max/nomask")
        before = dict(os.environ)
        self.addCleanup(lambda: (os.environ.clear(), os.environ.update(before)))
        for adapter.form in ("compile-max", "eager"):
            adapter.use_caches(os.path.join("rows", adapter.form))
        self.assertEqual(cleared, [os.path.join("rows", "compile-max", "caches", "compile-max-nomask", "triton")])
        self.assertEqual(os.environ["TORCHINDUCTOR_CACHE_DIR"], os.path.join("rows", "compile-max", "caches", "compile-max-nomask", "inductor"))

    def test_quick_runs_build_untuned_engines_of_what_was_exported(self):
        engines = [job for job in self.jobs(True) if job.name.startswith("engine-")]
        self.assertEqual([(job.network, self.after(job, "--batches"), job.needs.name) for job in engines],
                         [(network, batch, f"export-{network}") for network in ("bert-base-128", "resnet50") for batch in ("1", "32")])
        self.assertEqual({json.loads(self.after(job, "--settings"))["way"] for job in engines}, {"untuned"})
        self.assertEqual({name for job in engines for names in job.needed_by.values() for name in names}, {"ingot untuned", "ingot untuned again"})

    def test_a_way_may_be_one_binarys_alone(self):
        options = self.options(False, ["untuned", "new:tuned"])
        options.ingot = ["old=" + options.ingot[0], "new=" + options.ingot[0]]
        self.assertEqual([spec.name for spec in peers.ingot(options)], ["old untuned", "new untuned", "new tuned", "old untuned again"])
        options.ways.append("nwe:own")
        with self.assertRaisesRegex(SystemExit, "nwe:own: there is no such binary among old, new"):
            peers.ingot(options)


class Jobs(unittest.TestCase):
    def setUp(self):
        self.held = tempfile.TemporaryDirectory()
        self.addCleanup(self.held.cleanup)
        os.makedirs(os.path.join(self.held.name, "logs"))
        self.said, self.records = [], []
        options = types.SimpleNamespace(work=self.held.name, device="cpu", precision="fp32", prepare_jobs=1, gpus=[0])
        self.stop = False
        self.run_ = types.SimpleNamespace(options=options, prepare_limit=0, environment=dict(os.environ), session="s", say=self.said.append, out_of_time=lambda: self.stop,
                                          store=types.SimpleNamespace(append=self.records.append))

    def job(self, name, text="", needs=None, cost=1.0):
        return prepare.Job("compile", name, {ROW: [name]}, [sys.executable, "-c", text or "print('stage all: 0.25 s')"], cost, needs)

    def test_the_longest_first_and_nothing_without_what_it_needs(self):
        export, broken = self.job("export", cost=2.0), self.job("broken", "import sys; sys.exit('no such operator')", cost=2.0)
        jobs = [self.job("short"), self.job("long", needs=export, cost=3.0), self.job("waits", needs=broken), export, broken]
        made = prepare.Preparation(self.run_, jobs)
        self.assertTrue(made.finish())
        self.assertEqual([r["job"] for r in self.records], ["export", "long", "broken", "short"])  # and no failure: the peer tells it
        self.assertEqual(self.records[0]["stages"], {"all": 0.25})
        self.assertEqual(made.failed, {broken: "no such operator"})

    def test_a_time_limit_ends_what_runs_and_what_that_started(self):
        made = prepare.Preparation(self.run_, [self.job("slow", "import subprocess; subprocess.run(['sleep', '100'])")])
        begun = time.time()
        self.run_.out_of_time = lambda: time.time() - begun > 0.5
        self.assertFalse(made.finish())
        self.assertLess(time.time() - begun, 20)
        self.assertEqual(self.records, [])

    def test_of_a_job_that_took_too_long_those_are_named_for_whom_it_was_not_done(self):
        path = warm.compiled_path(os.path.join(self.held.name, ROW.folder), "torch graph")
        os.makedirs(os.path.dirname(path))
        self.run_.prepare_limit = 2
        job = self.job("late", f"import json, time\nwith open({path!r}, 'w') as file: json.dump({{'made_for': {warm.made_for(self.run_.options)!r}}}, file)\ntime.sleep(100)")
        job.needed_by = {ROW: ["torch graph", "torch compile"]}
        self.assertTrue(prepare.Preparation(self.run_, [job]).finish())
        self.assertEqual([(r["type"], r.get("peer"), r.get("error"), r.get("prepare_limit")) for r in self.records],
                         [("prepared", None, None, None), ("failure", "torch compile", "took more than 2 s to prepare", 2)])

    def test_compilers_share_the_cores_with_jobs_that_take_as_long(self):
        self.run_.options.prepare_jobs = 4
        long, short = [self.job(f"long{i}", cost=9.0) for i in range(2)], [self.job(f"short{i}") for i in range(6)]
        made = prepare.Preparation(self.run_, long + short)
        made.cores = 32
        self.assertEqual([made.environment(job)["TORCHINDUCTOR_COMPILE_THREADS"] for job in (long[0], short[0])], ["32", "16"])
        self.assertEqual(made.environment(long[0])["OMP_NUM_THREADS"], "8")


if __name__ == "__main__":
    unittest.main()
