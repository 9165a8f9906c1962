"""When does somebody speak?

    python speech.py MODEL SOUND.wav

MODEL: silero_vad. SOUND: 16 bits, mono, 16 kHz. It goes through the detector in frames of 32 ms; what the model keeps in mind goes from call to call as it came."""
from __future__ import annotations

import sys
import wave

import numpy

import ingot

RATE, FRAME, CONTEXT = 16000, 512, 64


def main(model: str, path: str) -> None:
    session = ingot.build(model, threads=1).session()
    with wave.open(path) as file:
        if (file.getframerate(), file.getnchannels(), file.getsampwidth()) != (RATE, 1, 2):
            raise SystemExit("%s is no sound of 16 bits, mono, 16 kHz" % path)
        sound = numpy.frombuffer(file.readframes(file.getnframes()), "<i2").astype(numpy.float32) / 32768
    sound = numpy.concatenate([numpy.zeros(CONTEXT, numpy.float32), sound])
    state, rate = numpy.zeros((2, 1, 128), numpy.float32), numpy.int64(RATE)
    for start in range(0, len(sound) - CONTEXT - FRAME + 1, FRAME):
        speech, state = session.run({"input": sound[None, start : start + CONTEXT + FRAME], "state": state, "sr": rate})
        print("%6.2f s  %5.1f%%  %s" % (start / RATE, speech[0, 0] * 100, "#" * int(speech[0, 0] * 40)))


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    main(*sys.argv[1:])
