"""The speed and the memory of training: three networks of the papers, beside the speed of products of matrices alone.

Shapes: B images of a batch.
"""

from __future__ import annotations

import gc
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import msgspec
import torch
from measure import seconds
from torch import Tensor

from benchmarks.gpu.results import Rate, Result, checked, guarded, largest_batch, measured, skipped
from benchmarks.gpu.steps import synthetic
from experiments import costs, gpus, spec
from experiments.costs import NetworkCount
from jobs.engine.data.augmentation.augment import to_unit_range
from jobs.engine.errors import Failure
from jobs.engine.flops import count
from jobs.engine.precision import training_precision
from jobs.engine.training import encoder_noise
from jobs.engine.training.epoch_sampler import EpochSampler
from jobs.engine.training.step import scheduled_values, train_step
from jobs.engine.training.train_state import initial_state

GIB = 2**30
MEMORY = (0.9, 1.5)
"""The plan's estimate over the measured memory. Below, a batch that it lets through would not fit; above, it would
refuse a batch with room for half as much again."""
PRECISIONS = ("bf16", "tf32", "fp32")


@dataclass(frozen=True)
class Workload:
    """A network of the papers, and the batch that its speed is measured at."""

    network: spec.ResNet | spec.WideResNet
    data: str
    batch: int

    def run(self, small: bool, precision: str, batch: int | None = None) -> spec.Run:
        """Return the run; a small one is of another network, on images of 32 pixels."""
        data = spec.Data(name="cifar10" if small else self.data)
        return spec.Run(
            data=data, network=spec.WideResNet(blocks=1, width=1) if small else self.network,
            objective=spec.Ceb(rho=3.0), optimiser=spec.Sgd(lr=1e-3, weight_decay=1e-4), epochs=1000,
            batch=batch or (4 if small else self.batch), precision=precision,  # type: ignore[arg-type]
        )  # fmt: skip


def device(device: str, small: bool) -> Iterator[Result]:
    """Name the device and the software."""
    yield measured("torch", f"{torch.__version__}, CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}")
    if not _is_gpu(device):
        yield skipped("GPU", f"the device is {device}")
        return
    facts = torch.cuda.get_device_properties(device)
    yield measured("GPU", facts.name)
    yield measured("memory", f"{facts.total_memory / GIB:.1f} GiB, {facts.multi_processor_count} multiprocessors")
    gpu = gpus.find_gpu(facts.name)
    if gpu is None:
        yield skipped("figures", f"experiments/gpus.py has none of {facts.name}")
        return
    share = gpu.memory_gib / (facts.total_memory / GIB)
    limit = "0.97 to 1.03 of the memory there is"
    yield checked("figures", abs(share - 1) <= 0.03, f"{gpu.name}, {gpu.memory_gib} GiB: {share:.3f}", limit)


def resnet_50(device: str, small: bool) -> Iterator[Result]:
    """Measure ResNet-50 at 224 pixels."""
    return _measure(Workload(spec.ResNet(depth=50), "imagenet", 256), device, small)


def resnet_152x2(device: str, small: bool) -> Iterator[Result]:
    """Measure ResNet-152 of twice the width at 224 pixels."""
    return _measure(Workload(spec.ResNet(depth=152, width=2), "imagenet", 64), device, small)


def wrn_28_10(device: str, small: bool) -> Iterator[Result]:
    """Measure WRN-28-10 at 32 pixels."""
    return _measure(Workload(spec.WideResNet(blocks=4, width=10), "cifar10", 256), device, small)


def _measure(workload: Workload, device: str, small: bool) -> Iterator[Result]:
    """Measure the speed in each precision, the memory in bf16, and the largest batch that fits."""
    counted = count(workload.run(small, "bf16"))
    gpu_gib = torch.cuda.get_device_properties(device).total_memory / GIB if _is_gpu(device) else None
    for precision in PRECISIONS:
        if precision == "tf32" and not (_is_gpu(device) and torch.cuda.is_tf32_supported()):
            yield skipped("speed in tf32", "the device has no TF32")
            continue
        run = workload.run(small, precision)
        if gpu_gib:  # a smaller GPU takes fewer images at a time
            fitting = int(0.8 * costs.fitting_batch(run, counted, gpu_gib))
            run = msgspec.structs.replace(run, batch=max(1, min(run.batch, fitting)))
        step = _stepper(run, device)
        if precision == "bf16":
            yield _memory(run, counted, device, step, small)
        step()
        step()
        steps = 2 if small else 8
        # By the step, so that what else runs on the machine shows in the range and not in the median.
        times = [seconds(step, device) for _ in range(steps)]
        speed = run.batch / statistics.median(times)
        flops = speed * 6 * counted.macs
        products = matrix_rate(precision, device, small)
        words = f"{speed:,.0f} images/s at {run.batch} a step, {flops / 1e12:.3g} TFLOP/s"
        share = f"{flops / products:.0%} of the {products / 1e12:.3g} of products of matrices"
        yield measured(f"speed in {precision}", f"{words}: {share}", Rate(precision, flops))
        del step
        _free(device)
    if gpu_gib is None or small:
        yield skipped("largest batch", "memory is filled on a GPU alone, and not by a small check")
        return
    yield from guarded("largest batch", lambda: [_largest(workload, counted, device, gpu_gib)])


def _memory(run: spec.Run, counted: NetworkCount, device: str, step: Callable[[], object], small: bool) -> Result:
    """Compare the memory of a step with the plan's estimate: all that is taken of a GPU on which nothing else runs,
    what torch has reserved and CUDA itself."""
    estimate = costs.memory_gib(run, counted, run.batch)
    step()
    if not _is_gpu(device):
        return skipped("memory in bf16", f"the estimate is {estimate:.2f} GiB, and the device is {device}")
    torch.cuda.synchronize(device)
    free_bytes, all_bytes = torch.cuda.mem_get_info(device)
    used = (all_bytes - free_bytes) / GIB
    allocated = torch.cuda.max_memory_allocated(device) / GIB
    words = f"{used:.2f} GiB ({allocated:.2f} allocated), estimated {estimate:.2f}: {estimate / used:.2f} of it"
    if small:  # of so little memory CUDA itself takes most
        return measured("memory in bf16", words)
    limit = f"{MEMORY[0]} to {MEMORY[1]} of it"
    return checked(f"memory in bf16, batch {run.batch}", MEMORY[0] <= estimate / used <= MEMORY[1], words, limit)


def _largest(workload: Workload, counted: NetworkCount, device: str, gpu_gib: float) -> Result:
    """Find the largest batch that fits, from the plan's on."""
    estimate = costs.fitting_batch(workload.run(False, "bf16"), counted, gpu_gib)

    def fits(batch: int) -> bool:
        _free(device)  # what the try before left
        try:
            _stepper(workload.run(False, "bf16", batch), device)()
            torch.cuda.synchronize(device)
        except RuntimeError as error:  # cuDNN has other words for it than torch
            if Failure.of(error).kind != "memory":
                raise
            return False
        return True

    # cuDNN takes no tensor of more elements, whatever the memory.
    most = (2**31 - 1) // counted.largest
    fitting, failing = largest_batch(fits, estimate, most)
    words = f"{fitting:,} images fit" + (f", {failing:,} do not" if failing else "") + f"; estimated {estimate:,}"
    words += f", no more than {most:,} tried" * (failing is None)
    holds = fitting >= MEMORY[0] * min(estimate, most)
    return checked("largest batch in bf16", holds, words, f"{MEMORY[0]} of the estimate")


def _stepper(run: spec.Run, device: str) -> Callable[[], object]:
    """Return the function that takes one training step, always on the same images."""
    images = synthetic(run.data.name, run.batch)
    state = initial_state(run, images.labels_N, device)
    sampler = EpochSampler(run, run.batch)
    scheduled = scheduled_values(state, sampler)
    samples_B = torch.arange(run.batch)
    images_BCHW, y_B = (tensor.to(device) for tensor in (images.images_NCHW, images.labels_N))

    def step() -> dict[str, Tensor]:
        with training_precision(run, device):
            noise_BZ = encoder_noise.draw(run, 0, samples_B, device)
            return train_step(state, scheduled, 0, samples_B, to_unit_range(images_BCHW), y_B, noise_BZ)

    return step


def matrix_rate(precision: str, device: str, small: bool) -> float:
    """Return the floating-point operations per second of products of large square matrices."""
    size = 128 if small else 8192
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    left, right = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    out = torch.empty_like(left)
    tf32 = msgspec.structs.replace(_ANY, precision="tf32" if precision == "tf32" else "fp32")
    with training_precision(tf32, device):
        times = [seconds(lambda: _products(left, right, out), device) for _ in range(2 if small else 5)]
    return 4 * 2 * size**3 / max(min(times), 1e-9)


def _products(left: Tensor, right: Tensor, out: Tensor) -> None:
    for _ in range(4):
        torch.mm(left, right, out=out)


_ANY = Workload(spec.WideResNet(blocks=1, width=1), "cifar10", 1).run(True, "fp32")


def _free(device: str) -> None:
    gc.collect()
    if _is_gpu(device):
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def _is_gpu(device: str) -> bool:
    return torch.device(device).type == "cuda"
