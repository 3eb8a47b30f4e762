"""The chapter's `batch_norm`, trained in PyTorch by the protocol of `netspec-chapter`: what remains between ours and the book's is then
not ours alone.

    python tests/chapter/batch_norm.py FOLDER [SEED]

FOLDER has `cifar2-batches-bin`. It needs `torch` and `numpy`, and some 13 minutes of one thread.
"""

import statistics
import sys
from pathlib import Path

import numpy
import torch
from torch import nn

MEAN, STD = (0.4915, 0.4823, 0.4468), (0.2470, 0.2435, 0.2616)
BATCH, EPOCHS, LAST = 64, 100, 10


def read(paths):
    """Images, normalized as the book does, and labels: 0 of an airplane, 1 of a bird."""
    records = numpy.concatenate([numpy.fromfile(path, numpy.uint8).reshape(-1, 3073) for path in paths])
    images = torch.from_numpy(records[:, 1:]).float().reshape(-1, 3, 32, 32) / 255
    mean, std = (torch.tensor(of).view(1, 3, 1, 1) for of in (MEAN, STD))
    return (images - mean) / std, torch.from_numpy(records[:, 0] > 0).long()


def accuracy(model, images, labels):
    """As in training, with the statistics of the evaluated batch."""
    with torch.no_grad():
        found = torch.cat([model(batch).argmax(1) for batch in images.split(BATCH)])
    return (found == labels).float().mean().item()


def main(folder, seed=0):
    folder = Path(folder) / "cifar2-batches-bin"
    images, labels = read(sorted(folder.glob("data_batch_*.bin")))
    test = read([folder / "test_batch.bin"])
    torch.set_num_threads(1)
    torch.manual_seed(int(seed))
    model = nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1), nn.BatchNorm2d(32), nn.Tanh(), nn.MaxPool2d(2),
        nn.Conv2d(32, 16, 3, padding=1), nn.BatchNorm2d(16), nn.Tanh(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(1024, 32), nn.Tanh(), nn.Linear(32, 2),
    )
    optimizer, mean_loss = torch.optim.SGD(model.parameters(), lr=1e-2), nn.CrossEntropyLoss()
    last = []
    for epoch in range(1, EPOCHS + 1):
        losses = []
        for batch, wanted in zip(images.split(BATCH), labels.split(BATCH)):
            loss = mean_loss(model(batch), wanted)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        if epoch in (1, 10, 50) or epoch > EPOCHS - LAST:
            found = accuracy(model, images, labels), accuracy(model, *test)
            last.append(found)
            print(epoch, f"loss {statistics.fmean(losses):.4f}, accuracy {found[0]:.4f} train, {found[1]:.4f} test", flush=True)
    train, of_test = (statistics.median(found[part] for found in last[-LAST:]) for part in (0, 1))
    print(f"median of the last {LAST} epochs: {train:.4f} train, {of_test:.4f} test")


if __name__ == "__main__":
    main(*sys.argv[1:])
