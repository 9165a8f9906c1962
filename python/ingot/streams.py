"""On which CUDA stream a caller works, so that a session's work goes behind what made its inputs and in front of what comes after the call.

A session has a stream of its own, on which a CUDA graph can be recorded; events order it with the caller's stream. That is PyTorch's and CuPy's
current one, which they are asked for. JAX is waited for, others are asked to have their data ready for the legacy default stream, and since nobody
knows on which stream they go on to use the memory, the call then returns when its work is done.

A stream's number is good for as long as the call that it came with: CuPy destroys a stream with its last object, and the driver crashes on one that is
gone. So none is kept."""
from __future__ import annotations

from typing import TYPE_CHECKING, Any, List, Optional

from ingot import libraries

if TYPE_CHECKING:
    from ingot.tensors import Tensor


def current(kind: str, device: int) -> Optional[int]:
    """The current stream of a library, as DLPack and the driver number streams; None where it has no such thing."""
    library = libraries.named(kind)
    return library.stream(device) if library is not None else None


class Order:
    """The streams that one call's inputs come from."""

    def __init__(self) -> None:
        self.streams: List[int] = []
        self.tensors: List["Tensor"] = []
        self.unknown = False
        self.others = False  # whether there is more to order with than streams

    def clear(self) -> None:
        """Before a call."""
        if self.streams:
            self.streams = []
        if self.others:
            self.tensors, self.unknown, self.others = [], False, False

    def add(self, stream: Optional[int]) -> Optional[int]:
        """A stream that an input is ready on; None: nobody says on which stream its owner goes on."""
        if stream is None:
            self.unknown = self.others = True
        elif stream not in self.streams:
            self.streams.append(stream)
        return stream

    def add_tensor(self, tensor: "Tensor") -> None:
        """A result of a session of ours."""
        self.tensors.append(tensor)
        self.others = True

    def alone(self) -> Optional[int]:
        """The stream, where it is the only one and all that there is to order with."""
        return self.streams[0] if len(self.streams) == 1 and not self.others else None

    def before(self, session: Any) -> None:
        """The session's work goes behind theirs; results of other sessions are there since before it was taken (session.py)."""
        for stream in self.streams:
            session._follow(stream)

    def after(self, session: Any) -> None:
        """Their work goes behind the session's, which may still read the inputs."""
        if self.unknown or any(tensor._session is not session for tensor in self.tensors):
            session._synchronize()
            return
        for stream in self.streams:
            session._precede(stream)
