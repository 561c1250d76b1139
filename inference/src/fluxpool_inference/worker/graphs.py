"""Replays the transformer's forward as a CUDA graph, where that is faster than launching its kernels one by one.

A graph reads and writes the same memory each time. So there is one set of static input buffers, of as many rows as the
largest graph has; a smaller graph reads their first rows. A forward's inputs are copied in, its result is copied out,
since the next replay writes over it. Rows between two captured numbers are padded up: what the padding computes, of
whatever the buffers held before, is thrown away, and no row sees another.

All graphs share one pool of memory, in which each may use what the others use between two of its kernels: they run on
one stream, one after the other, and what they leave there is copied out before the next begins (torch: "Graph memory
management" in the notes on CUDA semantics). The largest is captured first, so that the others fit into its memory.

Compiled blocks are captured as they are: their kernels are launched by torch's default mode of compiling, which makes
no graphs of its own (`reduce-overhead` does). Everything that a graph was not captured for runs eagerly: other sizes,
more rows, other types of input, and any forward while adapters are loaded, which change the weights' part in it.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Literal

import torch

from fluxpool_inference.configuration import EngineConfig
from fluxpool_inference.outcomes import StartError, StartFailure

Replay = Callable[[], object]
Capture = Callable[[Callable[[], torch.Tensor]], tuple[Replay, torch.Tensor]]
"""From a computation on tensors that stay to what does it again, and the tensor that has its result each time."""

_PER_ROW: Final = ("hidden_states", "encoder_hidden_states", "modulations")
_SHARED: Final = ("rotary",)
_WARM_UP_RUNS = 3

Mode = Literal["choose", "eager", "capture"]


def check(config: EngineConfig, device: torch.device) -> None:
    """Raises StartError where there are no CUDA graphs."""
    if config.cuda_graphs != "off" and device.type != "cuda":
        raise StartError(
            StartFailure.INVALID_CONFIGURATION,
            f"cuda_graphs is {config.cuda_graphs}, which needs a GPU, and the device is a CPU",
        )


@dataclass(slots=True)
class _Graph:
    """One captured forward. Fewer than `least_rows` are not for it."""

    replay: Replay
    output: torch.Tensor
    least_rows: int = 1


class Graphs:
    """Stands for a `ModulatedTransformer`. Its `__call__` is what `forward` is there, with `return_dict=False`.

    Belongs to the thread of the device.
    """

    def __init__(self, transformer: Any, capture: Capture) -> None:
        self.config = transformer.config
        self._transformer = transformer
        self._capture = capture
        self._mode: Mode = "choose"
        self._buffers: dict[str, torch.Tensor] = {}
        self._graphs: dict[int, _Graph] = {}

    def __call__(self, **inputs: Any) -> tuple[torch.Tensor]:
        """The velocity of each row, in a tensor that is the caller's."""
        tensors = _tensors(inputs)
        if tensors is None or self._mode == "eager" or self._has_adapters:
            return self._run(inputs)
        if self._mode == "capture":
            self._record(inputs, tensors)
        graph = self._graph_for(tensors)
        if graph is None:
            return self._run(inputs)
        self._fill(tensors)
        graph.replay()
        return (graph.output[: len(tensors["hidden_states"])].clone(),)

    @contextmanager
    def capturing(self) -> Iterator[None]:
        """Forwards are captured meanwhile, then replayed. They raise what a capture raises.

        All must be of one size, and none of more rows than the first.
        """
        with self._in_mode("capture"):
            yield

    @contextmanager
    def eagerly(self) -> Iterator[None]:
        """No forward is replayed meanwhile."""
        with self._in_mode("eager"):
            yield

    def keep(self, captured_rows: int, least_rows: int) -> None:
        """Use a graph for so many rows and more, up to its own number."""
        self._graphs[captured_rows].least_rows = least_rows

    def drop(self, captured_rows: int) -> None:
        """Forget a graph, whether there is one or not."""
        self._graphs.pop(captured_rows, None)
        if not self._graphs:
            self._buffers.clear()

    @property
    def _has_adapters(self) -> bool:
        return bool(getattr(self._transformer, "_hf_peft_config_loaded", False))

    @contextmanager
    def _in_mode(self, mode: Mode) -> Iterator[None]:
        self._mode = mode
        try:
            yield
        finally:
            self._mode = "choose"

    def _run(self, inputs: Mapping[str, Any]) -> tuple[torch.Tensor]:
        output: tuple[torch.Tensor] = self._transformer(**inputs)
        return output

    def _record(self, inputs: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> None:
        rows = len(tensors["hidden_states"])
        if not self._buffers:
            self._buffers = {name: torch.zeros_like(tensor) for name, tensor in tensors.items()}
        self._fill(tensors)
        static = {name: buffer[:rows] if name in _PER_ROW else buffer for name, buffer in self._buffers.items()}
        replay, output = self._capture(lambda: self._run({**inputs, **static})[0])
        self._graphs[rows] = _Graph(replay, output)

    def _fill(self, tensors: Mapping[str, torch.Tensor]) -> None:
        for name, tensor in tensors.items():
            buffer = self._buffers[name]
            (buffer[: len(tensor)] if name in _PER_ROW else buffer).copy_(tensor)

    def _graph_for(self, tensors: Mapping[str, torch.Tensor]) -> _Graph | None:
        """The smallest graph with room for a forward, if it is of the size and the types that were captured."""
        if tensors.keys() != self._buffers.keys():
            return None
        if not all(_alike(name, tensor, self._buffers[name]) for name, tensor in tensors.items()):
            return None
        rows = len(tensors["hidden_states"])
        captured = min((number for number in self._graphs if number >= rows), default=None)
        if captured is None or self._graphs[captured].least_rows > rows:
            return None
        return self._graphs[captured]


class CudaCapture:
    """Captures CUDA graphs into one pool of memory. A `Capture`."""

    def __init__(self) -> None:
        self._pool = torch.cuda.graph_pool_handle()

    def __call__(self, work: Callable[[], torch.Tensor]) -> tuple[Replay, torch.Tensor]:
        """Raises what the computation raises, and RuntimeError for what no graph can hold."""
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]  # torch's own
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):  # compiles and chooses kernels, which a capture does not allow
            for _ in range(_WARM_UP_RUNS):
                work()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._pool):
            output = work()
        return graph.replay, output


def _tensors(inputs: Mapping[str, Any]) -> dict[str, torch.Tensor] | None:
    """The tensors of a forward; None if anything else has a say in it."""
    tensors = {name: value for name, value in inputs.items() if isinstance(value, torch.Tensor)}
    others = [value for name, value in ({"return_dict": True} | dict(inputs)).items() if name not in tensors]
    return None if any(others) or not tensors.keys() <= {*_PER_ROW, *_SHARED} else tensors


def _alike(name: str, tensor: torch.Tensor, buffer: torch.Tensor) -> bool:
    first = 1 if name in _PER_ROW else 0
    return (tensor.shape[first:], tensor.dtype, tensor.device) == (buffer.shape[first:], buffer.dtype, buffer.device)
