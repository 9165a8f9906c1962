"""How the benchmark talks to a peer: one process each, a JSON object a line in both directions, so that peers take turns and none sees another's state.

    {"do": "start"}                                                 ->  {}     loads its libraries
    {"do": "build", ...}                                            ->  {"build_took_s"}  what outlives the process, where it makes such
    {"do": "prepare", "folder": ..., "network": ..., "batch": ...}  ->  facts
    {"do": "measure", "kind": "device", "seconds": 0.3}             ->  {"ms": median, "samples": n}, or {"absent": why}
    {"do": "drop"}                                                  ->  {}

An answer with "error" is a failure of that request, and with "always" of every one like it: the peer cannot run on this machine at all. A process that ends in the middle of one is a failure too, and is started again for the next row.
What a peer's libraries print goes to its log, not between the answers: the real standard output is kept aside before they are loaded.
"""
import json
import os
import queue
import subprocess
import sys
import threading
import time


class Gone(Exception):
    """The process ended, or did not answer in time; str() says what it last wrote."""


class Unusable(Exception):
    """A peer that no row could be measured with."""


class Process:
    def __init__(self, command, environment, log):
        self.log = log
        with open(log, "ab") as errors:
            self.started_at = errors.tell()
            self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment, start_new_session=True)
        self.answers = queue.Queue()
        threading.Thread(target=self.read, args=(self.process, self.answers), daemon=True).start()

    @staticmethod
    def read(process, answers):
        with process.stdout:
            for line in process.stdout:
                answers.put(line)
        answers.put(None)

    def send(self, request):
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
        except (OSError, ValueError):
            raise Gone(self.last_words()) from None

    def receive(self, seconds):
        try:
            line = self.answers.get(timeout=seconds)
        except queue.Empty:
            self.close()
            raise Gone(f"no answer within {seconds:.0f} s") from None
        if line is None:
            raise Gone(self.last_words())
        return json.loads(line)

    def ask(self, request, seconds=600):
        self.send(request)
        return self.receive(seconds)

    def last_words(self):
        code = self.process.wait()
        with open(self.log, "rb") as file:
            file.seek(self.started_at)
            lines = [line for line in file.read().decode(errors="replace").splitlines() if line.strip()]
        return f"exit code {code}" + (f": {lines[-1][:300]}" if lines else "")

    def close(self):
        """Ends the process and whatever it started: they are a process group of their own."""
        if self.process.poll() is None:
            try:
                os.killpg(self.process.pid, 9)
            except ProcessLookupError:
                pass
        self.process.wait()
        self.process.stdin.close()


def first_line(error):
    text = str(error).strip()
    return (text.splitlines()[0] if text else type(error).__name__)[:400]


def serve(peer):
    """The peer's side: answers until standard input ends. peer is an adapter (peer.py)."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if request["do"] == "start":
                peer.start()
                answer = {}
            elif request["do"] in ("build", "prepare"):
                start = time.perf_counter()
                answer = {**(getattr(peer, request["do"])(request) or {}), request["do"] + "_took_s": round(time.perf_counter() - start, 3)}
            elif request["do"] == "measure":
                answer = peer.measure(request["kind"], request["seconds"])
            else:
                answer = peer.drop() or {}
        except Exception as error:  # whatever a library throws is the peer's failure, told by name
            import traceback

            traceback.print_exc()
            answer = {"error": first_line(error), "always": True} if isinstance(error, Unusable) else {"error": f"{type(error).__name__}: {first_line(error)}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
