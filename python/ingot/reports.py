"""What engines and sessions tell of themselves, as plain values: passes, rewrites, plans, memory, profiles."""
from __future__ import annotations

from typing import Any, List, NamedTuple, Tuple

from ingot import _abi as abi
from ingot._library import lib, text


class Pass(NamedTuple):
    """What one pass did when the engine was built. seconds is 0 of an engine from a file."""

    name: str
    changes: int
    nodes_before: int
    nodes_after: int
    seconds: float


class Rewrite(NamedTuple):
    """One application of a rule: the pass and rule, the ONNX node where, and the operators that went and came ("pad, conv" and "conv")."""

    pass_name: str
    rule: str
    place: str
    before: str
    after: str


class Plan(NamedTuple):
    """A plan that an engine holds.

    needs: what it depends on, like "plan version 2, sm_90".
    multiprocessors: of the GPU it was made for, or the CPU's threads; 0 of none.
    steps, kernels, missing_kernels: steps of the plan, launches of kernels in them, and how many of those the engine does not bring along.
    text: buffers and steps."""

    needs: str
    multiprocessors: int
    steps: int
    kernels: int
    missing_kernels: int
    text: str


class Memory(NamedTuple):
    """Bytes, for the shapes set or run last.

    weights: shared by all sessions of the engine. arena: temporaries, packed. unpacked: what they would take without reuse."""

    weights: int
    arena: int
    unpacked: int


class Step(NamedTuple):
    """A step of a profiled run. Times in milliseconds; predicted is what the cost model says. Steps of different streams may run side by side.

    name: of the value it computes. op: its operator. tactic: how. origins: ONNX nodes it came from, "conv1 (Conv), relu1 (Relu)"."""

    name: str
    op: str
    tactic: str
    origins: str
    milliseconds: float
    predicted: float
    stream: int


class Profile(Tuple[Step, ...]):
    """The steps of one profiled run, in order. str(profile) is a table, slowest first."""

    @property
    def milliseconds(self) -> float:
        """The sum over the steps."""
        return sum(step.milliseconds for step in self)

    def __str__(self) -> str:
        lines = ["%9s %9s  %-22s %s" % ("ms", "predicted", "tactic", "step")]
        for step in sorted(self, key=lambda step: -step.milliseconds):
            lines.append("%9.4f %9.4f  %-22s %s" % (step.milliseconds, step.predicted, step.tactic, step.origins or step.name))
        return "\n".join(lines + ["%9.4f" % self.milliseconds])


def read_passes(engine: int) -> List[Pass]:
    """Of an ingot_engine."""
    handles = [lib.ingot_engine_pass(engine, i) for i in range(lib.ingot_engine_pass_count(engine))]
    return [Pass(text(lib.ingot_pass_name(one)), lib.ingot_pass_changes(one), lib.ingot_pass_nodes_before(one), lib.ingot_pass_nodes_after(one),
                 lib.ingot_pass_seconds(one)) for one in handles]


def read_rewrites(engine: int) -> List[Rewrite]:
    """Of an ingot_engine."""
    handles = [lib.ingot_engine_rewrite(engine, i) for i in range(lib.ingot_engine_rewrite_count(engine))]
    getters: Tuple[Any, ...] = (lib.ingot_rewrite_pass, lib.ingot_rewrite_rule, lib.ingot_rewrite_place, lib.ingot_rewrite_before, lib.ingot_rewrite_after)
    return [Rewrite(*(text(getter(one)) for getter in getters)) for one in handles]


def read_plans(engine: int) -> List[Plan]:
    """Of an ingot_engine."""
    handles = [lib.ingot_engine_plan(engine, i) for i in range(lib.ingot_engine_plan_count(engine))]
    return [Plan(text(lib.ingot_plan_needs(one)), lib.ingot_plan_multiprocessors(one), lib.ingot_plan_steps(engine, one), lib.ingot_plan_kernels(engine, one),
                 lib.ingot_plan_missing_kernels(engine, one), text(lib.ingot_plan_text(one))) for one in handles]


def read_memory(session: int) -> Memory:
    """Of an ingot_session."""
    return Memory(*(lib.ingot_session_memory(session, kind) for kind in abi.ingot_memory))


def read_profile(profile: int) -> Profile:
    """Of an ingot_profile, which is freed."""
    try:
        return Profile(
            Step(text(lib.ingot_profile_name(profile, i)), text(lib.ingot_profile_op(profile, i)), text(lib.ingot_profile_tactic(profile, i)),
                 text(lib.ingot_profile_origins(profile, i)), lib.ingot_profile_milliseconds(profile, i), lib.ingot_profile_predicted(profile, i),
                 lib.ingot_profile_stream(profile, i))
            for i in range(lib.ingot_profile_step_count(profile)))
    finally:
        lib.ingot_profile_free(profile)
