"""Where and how a step runs: device, precision, memory format, compilation and distribution, all torch's own.

The same command works on a CPU, on one GPU, and under ``torchrun`` on several processes.
"""

import os
import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, Literal

import torch
import torch.distributed as dist
from pydantic import PositiveInt
from torch import Tensor, nn
from torch.optim import Optimizer

from medtransfer.config import Config
from medtransfer.errors import ConfigError
from medtransfer.models.memory import keep_freed_memory
from medtransfer.training.dense import DenseUpdates
from medtransfer.training.depthwise import DepthwiseInFp32

Precision = Literal["auto", "fp32", "bf16", "fp16"]
DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


class HardwareConfig(Config):
    """What the run may use. ``auto`` takes a GPU when there is one, and bf16 where the hardware computes it faster."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Precision = "auto"
    channels_last: bool = True
    compile: bool = False
    threads: PositiveInt | None = None


class Engine:
    """Moves modules and batches, casts, compiles and distributes; knows nothing about tasks."""

    def __init__(self, config: HardwareConfig) -> None:
        self.rank = int(os.environ.get("RANK", 0))
        self.world = int(os.environ.get("WORLD_SIZE", 1))
        self.config = config
        self.device = _device(config.device)
        self.precision = _precision(config.precision, self.device)
        if config.threads:
            torch.set_num_threads(config.threads)
        if self.device.type == "cpu":
            keep_freed_memory()
        if self.world > 1 and not dist.is_initialized():
            dist.init_process_group("nccl" if self.device.type == "cuda" else "gloo")

    @property
    def is_main(self) -> bool:
        """True on the one process that logs and saves."""
        return self.rank == 0

    def place(self, module: nn.Module) -> nn.Module:
        """Move a module to the device in the memory format of the run."""
        layout = torch.channels_last if self.config.channels_last else torch.contiguous_format
        return module.to(device=self.device).to(memory_format=layout)

    def wrap(self, module: nn.Module) -> nn.Module:
        """Compile and distribute the module that computes the losses."""
        if self.config.compile:
            module = torch.compile(module)  # type: ignore[assignment]
        if self.world > 1:
            ids = [self.device] if self.device.type == "cuda" else None
            # A branch whose weight is zero leaves its parameters without a gradient.
            return nn.parallel.DistributedDataParallel(module, device_ids=ids, find_unused_parameters=True)
        return module

    def batch(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Move a batch to the device; images take the memory format of the run."""
        return {key: self._move(value) for key, value in batch.items()}

    @contextmanager
    def autocast(self) -> Iterator[None]:
        """Return the context in which forward passes run."""
        if self.precision not in DTYPES:
            yield
            return
        kept = DepthwiseInFp32() if self.device.type == "cpu" else nullcontext()
        with torch.autocast(self.device.type, dtype=DTYPES[self.precision]), kept:
            yield

    def scaler(self) -> torch.amp.GradScaler:
        """Return a gradient scaler; it only acts in fp16."""
        return torch.amp.GradScaler(self.device.type, enabled=self.precision == "fp16")

    def update(self, optimizer: Optimizer, scaler: torch.amp.GradScaler) -> None:
        """Change the weights by their gradients."""
        with DenseUpdates() if self.device.type == "cpu" else nullcontext():
            scaler.step(optimizer)
        scaler.update()

    def seed(self, seed: int) -> None:
        """Seed what layers draw during a step. ``torch.manual_seed`` would also ask every backend: 90 µs per step."""
        torch.default_generator.manual_seed(seed)
        if self.device.type == "cuda":
            torch.cuda.manual_seed(seed)

    def mean(self, values: Mapping[str, float]) -> dict[str, float]:
        """Return the mean over the processes of values that every process has under the same names."""
        if self.world == 1:
            return dict(values)
        total = torch.tensor(list(values.values()), dtype=torch.float64, device=self.device)
        dist.all_reduce(total)
        return dict(zip(values, (total / self.world).tolist(), strict=True))

    def agree(self, module: nn.Module) -> None:
        """Give every process the main process's buffers; gradients already keep the parameters equal."""
        if self.world > 1:
            for buffer in module.buffers():
                dist.broadcast(buffer, src=0)

    def share(self, value: Any) -> Any:
        """Return the main process's value on every process, so that all take the same decisions."""
        if self.world == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0)
        return box[0]

    def _move(self, value: Any) -> Any:
        if not isinstance(value, Tensor):
            return {k: self._move(v) for k, v in value.items()} if isinstance(value, Mapping) else value
        if value.ndim == 4 and self.config.channels_last:
            return value.to(self.device, memory_format=torch.channels_last, non_blocking=True)
        return value.to(self.device, non_blocking=True)


def _device(name: str) -> torch.device:
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError("hardware.device is cuda but torch sees no GPU; use auto or cpu")
    if name == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    index = int(os.environ.get("LOCAL_RANK", 0))
    torch.cuda.set_device(index)
    return torch.device("cuda", index)


def _precision(name: Precision, device: torch.device) -> Precision:
    if name != "auto":
        return name
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    return "bf16" if fast_bf16() else "fp32"


def fast_bf16() -> bool:
    """Return whether this CPU trains faster in bf16 than in fp32: by its make, so that one CPU always decides alike.

    Without instructions for it, bf16 is emulated. AMX and, on AMD, AVX-512's instruction are faster than fp32. On Intel
    the latter is not: where AMX is hidden, as virtual machines often do, products of matrices take twice as long as in
    fp32 (``benchmarks/bench_hardware.py``).
    """
    if torch.cpu._is_amx_tile_supported():
        return True
    return torch.cpu._is_avx512_bf16_supported() and not _intel()


def _intel() -> bool:
    info = Path("/proc/cpuinfo")
    return "GenuineIntel" in (info.read_text(encoding="utf-8") if info.exists() else platform.processor())
