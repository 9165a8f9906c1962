"""Execution providers by the names that programs give, as options of Ingot's."""
from __future__ import annotations

import warnings
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple, Union

from ingot.config import logger
from ingot.devices import is_there
from ingot.errors import InvalidArgument, Unsupported

CPU, CUDA, TENSORRT = "CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"
Provider = Union[str, Tuple[str, Mapping[str, Any]]]


class Chosen(NamedTuple):
    """What a list of providers comes to: the one used and those behind it, with their options, and Ingot's."""

    names: List[str]
    provider_options: Dict[str, Dict[str, str]]
    options: Dict[str, Any]


def get_all_providers() -> List[str]:
    """The names that are known here. TensorRT's stands for Ingot on a GPU too."""
    return [TENSORRT, CUDA, CPU]


def get_available_providers() -> List[str]:
    """Those of them that this machine has."""
    return [TENSORRT, CUDA, CPU] if is_there("cuda:0") else [CPU]


def get_device() -> str:
    """"GPU" where one can be used, else "CPU"."""
    return "GPU" if is_there("cuda:0") else "CPU"


def choose(providers: Optional[Sequence[Provider]], provider_options: Optional[Sequence[Mapping[str, Any]]]) -> Chosen:
    """The first provider that is there. What is not is warned of, as is falling back to the CPU."""
    if isinstance(providers, str):
        raise InvalidArgument("providers is a list of names, not %r" % providers)
    given = list(providers) if providers else get_available_providers()
    if provider_options is not None and len(provider_options) != len(given):
        raise InvalidArgument("%d providers have %d provider_options" % (len(given), len(provider_options)))
    pairs: List[Tuple[str, Mapping[str, Any]]] = []
    for index, one in enumerate(given):
        name, its = (one, {}) if isinstance(one, str) else one
        pairs.append((name, {**its, **(provider_options[index] if provider_options else {})}))
    there: List[Tuple[str, Mapping[str, Any]]] = []
    for name, its in pairs:
        if name == CPU or (name in (CUDA, TENSORRT) and is_there("cuda:%d" % int(its.get("device_id", 0)))):
            there.append((name, its))
        else:
            warnings.warn("the provider %s is not there; there are %s" % (name, ", ".join(get_available_providers())), stacklevel=4)
    if not any(name == CPU for name, _ in there):
        there.append((CPU, {}))
    name, its = there[0]
    options = _cpu(its) if name == CPU else _gpu(name, its)
    return Chosen([one for one, _ in there], {one: {key: str(value) for key, value in options_.items()} for one, options_ in there}, options)


def _cpu(its: Mapping[str, Any]) -> Dict[str, Any]:
    for key, value in its.items():
        logger.info("%s: %s = %r changes nothing here", CPU, key, value)
    return {"device": "cpu"}


def _true(value: Any) -> bool:
    return str(value).lower() in ("1", "true")


def _gpu(provider: str, its: Mapping[str, Any]) -> Dict[str, Any]:
    """Options of the two providers for NVIDIA's GPUs."""
    out: Dict[str, Any] = {"device": "cuda:%d" % int(its.get("device_id", 0))}
    precisions = []
    for key, value in its.items():
        if key == "device_id":
            continue
        if key in _PRECISIONS:
            precisions += [_PRECISIONS[key]] if _true(value) else []
        elif key == "user_compute_stream":
            out["cuda_stream"] = int(value)
        elif key == "trt_max_workspace_size":
            out["workspace_limit"] = int(value)
        elif key in ("trt_engine_cache_path", "trt_timing_cache_path"):
            out["cache_directory"] = value
        elif key in _REFUSED and _true(value):
            raise Unsupported("%s: %s cannot be had: %s" % (provider, key, _REFUSED[key]))
        else:
            logger.info("%s: %s = %r changes nothing here", provider, key, value)
    if precisions:
        out["precision"] = precisions
    return out


_PRECISIONS = {"use_tf32": "tf32", "trt_fp16_enable": "fp16", "trt_bf16_enable": "bf16"}
_REFUSED = {"trt_int8_enable": "calibration is not there yet", "trt_dla_enable": "Ingot has no kernels for it"}
