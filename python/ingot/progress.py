"""What a long call tells while it works, and how it is stopped: progress callbacks, a bar for terminals and notebooks, Ctrl-C.

Python runs signal handlers only when the main thread is back in the interpreter, which a call of C keeps it from. Ingot's progress callback brings it
back at least ten times a second. So while a call lasts, Ctrl-C is noted by a handler that raises nothing, the callback says to stop, and the
caller's own handler (which raises KeyboardInterrupt) has its turn when the call has returned.

Exchanging the handler takes two calls of the system, as much as a small run. So a call that is expected to be short goes without where Python's own
handler stands (Watch.is_needed): what that one raises, when the callback brings Python back, ends the call.
"""
from __future__ import annotations

import sys
import threading
from signal import SIGINT, default_int_handler
from types import FrameType, TracebackType
from typing import Any, Callable, Generator, Optional, TextIO, Type, Union

try:  # what is under the module signal, whose functions turn numbers into enums and back, for longer than a small run takes
    from _signal import getsignal, signal  # type: ignore[import-not-found,unused-ignore]
except ImportError:
    from signal import getsignal, signal

Progress = Callable[[str, float, float], Optional[bool]]
"""`progress(stage, fraction, seconds_left)`; False stops the call with `ingot.Cancelled`. stage is "opening", "passes", "compiling", "tuning" or
"running"; fraction how much of it is done, 0 where that is unknown; seconds_left is negative where unknown."""


class ProgressBar:
    """A line that shows how far a call is: redrawn in a terminal, replaced in a notebook, silent where neither is.

    `ingot.build(model, progress=True)` makes one; `ingot.ProgressBar(file)` draws to another text stream."""

    WIDTH = 30

    def __init__(self, file: Optional[TextIO] = None) -> None:
        self.file = file if file is not None else sys.stderr
        self._notebook = self._display() if file is None else None
        self._drawn = ""

    def __call__(self, stage: str, fraction: float, seconds_left: float) -> None:
        """Draws; what ingot calls."""
        filled = int(round(self.WIDTH * min(max(fraction, 0.0), 1.0)))
        left = "%5.0f s left" % seconds_left if seconds_left >= 0 else ""
        self._show("%-9s [%s%s] %3.0f%% %s" % (stage, "#" * filled, "." * (self.WIDTH - filled), fraction * 100, left))

    def close(self) -> None:
        """Clears the line."""
        if self._drawn and self._notebook is None:
            self.file.write("\r%s\r" % (" " * len(self._drawn)))
            self.file.flush()
        elif self._drawn and self._notebook is not None:
            self._notebook.update({"text/plain": ""}, raw=True)
        self._drawn = ""

    def _show(self, line: str) -> None:
        if line == self._drawn:
            return
        if self._notebook is not None:
            self._notebook.update({"text/plain": line}, raw=True)
        elif self.file.isatty():
            self.file.write("\r" + line.ljust(len(self._drawn)))
            self.file.flush()
        else:
            return
        self._drawn = line

    @staticmethod
    def _display() -> Any:
        """The handle of a cell's output in a notebook, else None. Nothing of IPython is imported where it is not running."""
        ipython = sys.modules.get("IPython")
        shell = ipython.get_ipython() if ipython is not None else None
        if type(shell).__name__ != "ZMQInteractiveShell":
            return None
        from IPython.display import display  # type: ignore[import-not-found,unused-ignore]

        return display({"text/plain": ""}, raw=True, display_id=True)


class Watch:
    """Around one call: `with watch: ...`. Tells of progress, notes Ctrl-C, and keeps what the callback raised until the call is back."""

    def __init__(self, progress: Union[None, bool, Progress]) -> None:
        self._progress: Optional[Progress] = ProgressBar() if progress is True else (progress or None)
        self.tells = self._progress is not None
        self._raised: Optional[BaseException] = None
        self._interrupted = False
        self._previous: Any = None

    def is_needed(self) -> bool:
        """Whether a short call has to be watched: somebody is to be told of it, or has a handler of their own. Else finish() comes behind it."""
        return self.tells or getsignal(SIGINT) is not default_int_handler

    def finish(self) -> None:
        """Behind a call: raises what ended it."""
        if self._raised is not None:
            raised, self._raised = self._raised, None
            raise raised

    def listen(self) -> Generator[bool, Any, None]:
        """Answers whether to go on, of a call that nobody is told of. Handlers of signals run when a function of Python begins, before its first `try`;
        a generator goes on inside of one, so that what they raise does not get lost."""
        goes_on = True
        while True:
            try:
                while True:
                    yield goes_on
                    goes_on = not self._interrupted and self._raised is None
            except GeneratorExit:
                return
            except BaseException as error:  # nothing may leave through C: it is raised when the call is back
                self._raised = error
                goes_on = False

    def tell(self, context: Optional[int], stage: Optional[bytes], fraction: float, seconds_left: float) -> bool:
        """ingot_config.progress."""
        if self._interrupted or self._raised is not None:
            return False
        try:
            return self._progress is None or self._progress((stage or b"").decode(), fraction, seconds_left) is not False
        except BaseException as error:  # nothing may leave through C: it is raised when the call is back
            self._raised = error
            return False

    def _note(self, number: int, frame: Optional[FrameType]) -> None:
        self._interrupted = True

    def __enter__(self) -> "Watch":
        self._raised = None
        self._interrupted = False
        self._previous = None
        if threading.get_ident() == threading.main_thread().ident:
            previous = getsignal(SIGINT)
            if callable(previous):
                signal(SIGINT, self._note)
                self._previous = previous
        return self

    def __exit__(self, kind: Optional[Type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]) -> None:
        if self._previous is not None:
            signal(SIGINT, self._previous)
        if isinstance(self._progress, ProgressBar):
            self._progress.close()
        self.finish()
        if self._interrupted:
            self._interrupted = False
            self._previous(int(SIGINT), None)
