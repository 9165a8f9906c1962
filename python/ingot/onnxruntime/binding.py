"""IOBinding: inputs and outputs bound by name, for runs that find them where they are."""
from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, List, Optional, Sequence

from ingot.onnxruntime.values import OrtDevice, OrtValue, of_memory

if TYPE_CHECKING:
    from ingot.onnxruntime.session import InferenceSession


class IOBinding:
    """Made by `InferenceSession.io_binding`; run by `run_with_iobinding`."""

    def __init__(self, session: "InferenceSession") -> None:
        self._session = session
        self._inputs: Dict[str, Any] = {}
        self._outputs: Dict[str, Any] = {}  # where each goes: a tensor, or a device's name
        self._results: Dict[str, Any] = {}

    def bind_cpu_input(self, name: str, arr_on_cpu: Any) -> None:
        """An array on the host."""
        self._inputs[name] = arr_on_cpu

    def bind_input(self, name: str, device_type: str, device_id: int, element_type: Any, shape: Sequence[int], buffer_ptr: int) -> None:
        """Memory by its address, on the host or a GPU; it has to stay until the run, and be written to."""
        self._inputs[name] = of_memory(element_type, shape, buffer_ptr, (OrtDevice._NAMES[device_type.lower()], device_id))

    def bind_ortvalue_input(self, name: str, ortvalue: OrtValue) -> None:
        """An OrtValue."""
        self._inputs[name] = ortvalue._value

    def bind_output(self, name: str, device_type: str = "cpu", device_id: int = 0, element_type: Any = None, shape: Optional[Sequence[int]] = None,
                    buffer_ptr: Optional[int] = None) -> None:
        """Where a result goes: to memory by its address, or to memory that the run gives, on the host or the session's GPU."""
        if buffer_ptr:
            self._outputs[name] = of_memory(element_type, shape or (), buffer_ptr, (OrtDevice._NAMES[device_type.lower()], device_id))
        else:
            self._outputs[name] = "host" if OrtDevice(device_type)._kind != "cuda" else "device"

    def bind_ortvalue_output(self, name: str, ortvalue: OrtValue) -> None:
        """To an OrtValue's memory."""
        self._outputs[name] = ortvalue._value

    def clear_binding_inputs(self) -> None:
        """Forgets the inputs."""
        self._inputs.clear()

    def clear_binding_outputs(self) -> None:
        """Forgets the outputs."""
        self._outputs.clear()

    def synchronize_inputs(self) -> None:
        """Nothing to wait for: a run is ordered behind what made its inputs, see `ingot.Session.run`."""

    def synchronize_outputs(self) -> None:
        """Returns when the results are there."""
        last = self._session._engine._last
        if last is not None:
            last.synchronize()

    def get_outputs(self) -> List[OrtValue]:
        """The results, in the order in which outputs were bound."""
        return [OrtValue(self._results[name]) for name in self._outputs]

    def get_outputs_as_ortvaluevector(self) -> List[OrtValue]:
        """As get_outputs."""
        return self.get_outputs()

    def copy_outputs_to_cpu(self) -> List[Any]:
        """The results as arrays; of what lies on a GPU ask bind_output for the cpu."""
        return [OrtValue(self._results[name]).numpy() for name in self._outputs]

    def _run(self) -> None:
        memory = {name: where for name, where in self._outputs.items() if not isinstance(where, str)}
        on_device = any(isinstance(where, str) and where == "device" for where in self._outputs.values())
        results = self._session._engine.run(self._session._fed(self._inputs), outputs=memory or None, on="device" if on_device else "host")
        self._results = dict(results.items())
