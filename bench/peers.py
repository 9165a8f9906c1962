"""Who takes part. One function finds all that is there; what is not there is named with the reason, as are peers that fail later."""
import collections
import hashlib
import importlib.util
import json
import os
import shutil
import sys

# name; command line of its process; which of its requests must be alone on the machine, since they measure; family: ingot or peer; only networks with a mask; needs a zoo module
Spec = collections.namedtuple("Spec", "name command quiet family masked module")

TORCH_FORMS = {
    "cuda": {"eager": "torch eager", "graph": "torch graph", "compile": "torch compile", "compile-reduce": "torch compile reduce-overhead", "compile-max": "torch compile max-autotune"},
    "cpu": {"eager": "torch eager", "compile": "torch compile"},
}
# Forms that one process compiles, and whose caches are one folder; the seconds that it takes for a row beside other jobs (prepare.py).
TORCH_GROUPS = {("eager", "graph", "compile", "compile-reduce"): 60, ("compile-max",): 250}
WAYS = ("untuned", "tuned", "own")
TRTEXEC = ("/usr/src/tensorrt/bin/trtexec", "/opt/tensorrt/bin/trtexec")


def worker(adapter, form, options):
    return (sys.executable, "-m", "bench.worker", adapter, form, "--device", options.device, "--precision", options.precision, "--threads", str(options.threads))


def ingot(options):
    """Every binary in every way; `again` is the first one's last way once more, the same engine: its ratio to itself is the noise."""
    specs, labels = [], []
    for index, text in enumerate(options.ingot or []):
        label, equals, binary = text.partition("=")
        if not equals:
            label, binary = ("ingot" if len(options.ingot) == 1 else f"ingot{index}"), text
        binary = os.path.abspath(binary)
        if not os.access(binary, os.X_OK):
            raise SystemExit(f"{binary} is no program: build first, or name one with --ingot NAME=PATH")
        labels.append(label)
        for way in ways_of(options, label):
            name = f"{label} {way}"
            quiet = ("build",) if options.quick else ("build", "prepare")
            specs.append(Spec(name, worker("ingot", json.dumps(settings(binary, name, way, options)), options), quiet, "ingot", False, False))
    for word in options.ways:
        if ":" in word and word.rpartition(":")[0] not in labels:
            raise SystemExit(f"--ways {word}: there is no such binary among {', '.join(labels)}")
    again = options.again if options.again is not None else [spec.name for spec in specs[:1]]
    for name in again:
        base = next((spec for spec in specs if spec.name == name), None)
        if base is None:
            raise SystemExit(f"--again {name}: there is no such peer among {', '.join(spec.name for spec in specs)}")
        specs.append(base._replace(name=name + " again"))
    return specs


def ways_of(options, label):
    """Of --ways those that are every binary's or this one's."""
    return [way for owner, _, way in (word.rpartition(":") for word in options.ways) if owner in ("", label)]


def settings(binary, name, way, options):
    """What the adapter is told; two specs of the same share an engine."""
    return {"binary": binary, "way": way, "tune": options.tune, "engine": f"{name.replace(' ', '-')}-{identity(binary)}"}


def unmeasured_engines(options):
    """{label: settings} of engines for which nothing is measured: quick runs build them while all else is prepared."""
    forms = [spec.command[4] for spec in ingot(options)] if options.quick else []
    return {mine["engine"]: form for form in forms for mine in [json.loads(form)] if mine["way"] == "untuned"}


def identity(path):
    """Of a program's bytes, and of those of the files that a script names: an engine of another build is not taken for this one's."""
    with open(path, "rb") as file:
        content = file.read()
    found = hashlib.sha256(content)
    if content.startswith(b"#!"):
        for word in content.decode(errors="replace").split():
            named = word.strip("\"'")
            if os.path.isabs(named) and os.path.isfile(named):
                with open(named, "rb") as file:
                    found.update(file.read())
    return found.hexdigest()[:12]


def peers_quiet(options):
    """They may search cuDNN's algorithms while they are made ready: alone, but in quick runs."""
    return () if options.quick else ("prepare",)


def torch(options):
    specs, quiet = [], peers_quiet(options)
    for form, name in TORCH_FORMS[options.device].items():
        specs.append(Spec(name, worker("torch", form, options), quiet, "peer", False, True))
        if options.device == "cuda":
            specs.append(Spec(name + " no-mask", worker("torch", form + "/nomask", options), quiet, "peer", True, True))
    return specs


def torch_form(name, device):
    """The adapter's form of a peer's name."""
    base = name.removesuffix(" no-mask")
    return next(form for form, other in TORCH_FORMS[device].items() if other == base) + ("/nomask" if base != name else "")


def compiler_caches(folder, form):
    """Where compilers keep what they made of a form for the row of a folder, as variables of the environment. Each process that prepares has folders of its own, which the one that measures looks into: Inductor
    keeps what it measured of candidates in one file, which it reads, adds to and replaces, so that of two processes one loses what it found."""
    base, _, mask = form.partition("/")
    group = next(forms for forms in TORCH_GROUPS if base in forms)
    kept = os.path.join(folder, "caches", group[-1] + ("-" + mask if mask else ""))
    return {"TORCHINDUCTOR_CACHE_DIR": os.path.join(kept, "inductor"), "TRITON_CACHE_DIR": os.path.join(kept, "triton")}


def find(options):
    """(specs, absent): absent is [{"peer", "why"}]."""
    specs, absent = ingot(options), []
    if importlib.util.find_spec("torch"):
        specs += torch(options)
    else:
        absent.append({"peer": "torch", "why": "this python3 has no package torch"})
    forms = {"cpu": ["cpu"], "cuda": ["cuda", "tensorrt"]}[options.device]
    for form in forms:
        if importlib.util.find_spec("onnxruntime"):
            specs.append(Spec(f"ort {form}", worker("onnxruntime", form, options), peers_quiet(options), "peer", False, False))
        else:
            absent.append({"peer": f"ort {form}", "why": "this python3 has no package onnxruntime"})
    trtexec = options.trtexec or shutil.which("trtexec") or next((path for path in TRTEXEC if os.access(path, os.X_OK)), None)
    if options.device == "cuda" or options.trtexec:
        if trtexec:
            specs.append(Spec("trtexec", worker("trtexec", trtexec, options), ("prepare",), "peer", False, False))
        else:
            absent.append({"peer": "trtexec", "why": "not on the PATH, nor in " + " or ".join(os.path.dirname(p) for p in TRTEXEC)})
    if options.device == "cuda":
        if importlib.util.find_spec("tensorrt"):
            specs.append(Spec("tensorrt", worker("tensorrt", "python", options), ("prepare",), "peer", False, False))
        else:
            absent.append({"peer": "tensorrt", "why": "this python3 has no package tensorrt"})
    left_out = too_slow(options)
    absent += [{"peer": name, "why": "compiles for minutes a network: not in quick runs, unless --peers names it"} for name in left_out if importlib.util.find_spec("torch")]
    return [spec for spec in chosen(specs, options) if spec.name.removesuffix(" no-mask") not in left_out], absent


def too_slow(options):
    """Peers whose preparation alone would take a quick run longer than all else."""
    forms = TORCH_FORMS[options.device]
    return [forms["compile-max"]] if options.quick and not options.peers and "compile-max" in forms else []


def chosen(specs, options):
    """--peers keeps those that have one of its words as their name or, where none has, begin with it; --ingot's are always kept."""
    if not options.peers:
        return specs
    words, names = options.peers.split(","), {spec.name for spec in specs}
    means = lambda word, name: name == word if word in names else name.startswith(word)
    unknown = [word for word in words if not any(means(word, name) for name in names)]
    if unknown and options.peers != "none":
        raise SystemExit(f"no peer begins with {', '.join(unknown)}. There are: {', '.join(spec.name for spec in specs if spec.family == 'peer')}")
    return [spec for spec in specs if spec.family == "ingot" or any(means(word, spec.name) for word in words)]


def of_row(specs, row, masked):
    """Those that take part in this row: forms without a mask where there is one, modules where the row is no file."""
    return [spec for spec in specs if not (spec.masked and not masked) and not (spec.module and row.is_file)]
