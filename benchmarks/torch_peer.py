"""PyTorch on a CPU, training like gradejax; `benchmarks.run` starts it in a process of its own.

    python -m benchmarks.torch_peer epochs|compiled FOLDER MODEL N

Channels last, fused AdamW; with `compiled`, network and loss are compiled, which needs a C++ compiler. gradejax
distorts the batches in another thread, which is faster than PyTorch's own ways to distort picture by picture. Prints
one line of JSON.
"""
# pyright: reportMissingImports=false

import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import torch
from torch import nn

from benchmarks.workers import answer, read_drawings, recipe
from gradejax.augment import DistortionRanges
from gradejax.batches import Batch, epoch_batches, steps_per_epoch
from gradejax.scales import LETTERS
from gradejax.threads import prefetch

GRADES = LETTERS.labels


def network(model: str) -> nn.Module:
    """The architectures of `gradejax.models`, for 28 x 28 pixels."""
    if model == "mlp":
        return nn.Sequential(
            nn.Flatten(),
            nn.Linear(28 * 28, 256),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Linear(256, 128),
            nn.ReLU(),
            nn.Dropout(0.3),
            nn.Linear(128, len(GRADES)),
        )
    body = []
    for narrow, wide in ((1, 32), (32, 64)):
        # PyTorch's momentum is the weight of the new batch.
        body += [nn.Conv2d(narrow, wide, 3), nn.ReLU(), nn.BatchNorm2d(wide, eps=1e-3, momentum=0.01), nn.MaxPool2d(2)]
    head = [nn.Flatten(), nn.Linear(1600, 128), nn.ReLU(), nn.Dropout(0.3), nn.Linear(128, len(GRADES))]
    return nn.Sequential(*body, *head).to(memory_format=torch.channels_last)


def epochs(folder: Path, model: str, n: str) -> dict:
    """Seconds of each epoch, including the wait for distorted batches."""
    return fit(folder, model, int(n), compiled=False)


def compiled(folder: Path, model: str, n: str) -> dict:
    """The same with `torch.compile`, which compiles in the first epoch."""
    return fit(folder, model, int(n), compiled=True)


def fit(folder: Path, model: str, n: int, *, compiled: bool) -> dict:
    """Trains for `n` epochs."""
    config = recipe(model)
    settings = config.train
    ink, labels, rows = read_drawings(folder)
    net = network(model).train()
    optimizer = torch.optim.AdamW(
        net.parameters(), settings.learning_rate, weight_decay=settings.weight_decay, fused=True
    )
    cross_entropy = nn.CrossEntropyLoss(label_smoothing=settings.label_smoothing)

    def loss_of(pictures: torch.Tensor, grades: torch.Tensor) -> torch.Tensor:
        # With one channel, channels first and channels last have the same layout.
        return cross_entropy(net(pictures[:, None].to(torch.float32).div_(255)), grades)

    if compiled:
        loss_of = torch.compile(loss_of)

    def supply() -> Iterator[Batch]:
        for epoch in range(n):
            yield from epoch_batches(
                ink,
                labels,
                rows,
                batch_size=settings.batch_size,
                augment=DistortionRanges(**config.augment),
                seed=0,
                epoch=epoch,
            )

    seconds = []
    with closing(prefetch(supply)) as supplied:
        for _ in range(n):
            began, steps = time.perf_counter(), 0
            while steps < steps_per_epoch(len(rows), settings.batch_size):
                batches = next(supplied)
                for pictures, grades in zip(
                    torch.from_numpy(batches.ink), torch.from_numpy(batches.labels).long(), strict=True
                ):
                    loss = loss_of(pictures, grades)
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
                steps += len(batches.labels)
            seconds.append(time.perf_counter() - began)
    # Keras counts batch norm's running statistics, too.
    numbers = [number for name, number in net.state_dict().items() if not name.endswith("num_batches_tracked")]
    return {"seconds": seconds, "parameters": sum(number.numel() for number in numbers)}


if __name__ == "__main__":
    answer({"epochs": epochs, "compiled": compiled}, sys.argv)
