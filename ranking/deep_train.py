"""How the deep ranker is trained. Only jobs import this: scoring needs no torch.

Letters: n rows, R requests, K items of the longest, H history, N items, L levels of category.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pipeline import onnx, training
from pipeline.catalogue import UNKNOWN
from pipeline.nn import device_of, seeded
from ranking.calibration import logit, sigmoid
from ranking.deep import GRAPH, INPUTS, OUTPUTS, About, DeepNet, cut_history
from ranking.deep_config import DeepConfig
from ranking.encoding import fit_bins, item_codes
from ranking.inputs import Inputs
from ranking.losses import entire_space_loss
from ranking.network import Encode, Network

Floats = NDArray[np.float64]
_AT_ONCE = 512  # requests of a step that teaches nothing


@dataclass(frozen=True, slots=True)
class Labelled:
    """click: `[n]`, 0 or 1; convert: `[n]`, 1 where the click led to a conversion, 0 where none did or nothing was
    clicked, nan where the page is too young to say, clicked or not: left in, what was not clicked would make
    conversions look rarer; offset: `[n]` log-odds that the network adds to and need not explain (those of the place an
    item stood at), or none; weight: `[n]`, or all alike."""

    inputs: Inputs
    click: Floats
    convert: Floats
    offset: Floats | None = None
    weight: Floats | None = None


def train_deep(
    known: Labelled,
    held_out: Labelled,
    codes: NDArray[np.int64],
    *,
    config: DeepConfig,
    seed: int,
    device: str = "auto",
) -> DeepNet:
    """Fit on the known rows, keeping the epoch whose loss on the held-out rows is least.

    codes: `[N, L + 1]` levels of the category and the brand of each item, any numbers, 0 = none. The same input and
    seed give the same network on a CPU, bit for bit. device: `cpu`, `cuda`, or `auto`, which takes CUDA where it is.
    """
    network, history = fitted(known, held_out, codes, config=config, seed=seed, device=device)
    return served(network, known.inputs.features.shape[1], config, history)


def fitted(
    known: Labelled,
    held_out: Labelled,
    codes: NDArray[np.int64],
    *,
    config: DeepConfig,
    seed: int,
    device: str = "auto",
) -> tuple[Network, training.History]:
    """What `train_deep` trains, before it is made into what serves."""
    place = device_of(device)
    seeded(seed)
    item = known.inputs.item
    seen = np.bincount(item[(item >= 0) & (item < len(codes))], minlength=len(codes))
    seen[UNKNOWN] = 0
    encode = Encode(fit_bins(known.inputs.features, config.bins))
    network = Network(*item_codes(codes, seen, config.least_seen), encode, config)
    _start_at_usual(network, known)
    network.to(place)
    learn, judge = (_Pages.of(rows, len(codes), config.history, place) for rows in (known, held_out))
    history = training.fit(
        network,
        lambda requests: learn.loss(network, requests),
        learn.requests,
        held_out=lambda: judge.levelled_loss(network),
        config=config.training,
        seed=seed,
    )
    return network.cpu().eval(), history


@dataclass(frozen=True, slots=True)
class _Pages:
    """Labelled rows, request by request. features: `[n, F]`; item: `[n]`; labels: `[n, 4]` click, convert, offset,
    weight; history: `[R, H]`; start, size: `[R]` of the rows of each request."""

    features: Tensor
    item: Tensor
    labels: Tensor
    history: Tensor
    start: Tensor
    size: Tensor

    @classmethod
    def of(cls, rows: Labelled, items: int, history: int, device: torch.device) -> "_Pages":
        """items: N; an item beyond them is one nobody knows."""
        inputs, n = rows.inputs, len(rows.inputs)
        order = np.argsort(inputs.request, kind="stable")
        request, start, size = np.unique(inputs.request[order], return_index=True, return_counts=True)
        offset = np.zeros(n) if rows.offset is None else rows.offset
        weight = np.ones(n) if rows.weight is None else rows.weight
        labels = np.stack([rows.click, rows.convert, offset, weight], axis=1).astype(np.float32)
        item, past = (
            np.where(ids < items, ids, -1).astype(np.int64)
            for ids in (inputs.item[order], cut_history(inputs.history, history)[request])
        )
        return cls(
            torch.from_numpy(inputs.features[order]).to(device),
            torch.from_numpy(item).to(device),
            torch.from_numpy(labels[order]).to(device),
            torch.from_numpy(past).to(device),
            torch.from_numpy(start),
            torch.from_numpy(size),
        )

    @property
    def requests(self) -> int:
        return len(self.start)

    def scores(self, network: Network, requests: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Log-odds of both tasks, offsets not added, and labels, `[b]`, `[b]` and `[b, 4]`, of all rows of these."""
        size = self.size[requests]
        within = torch.arange(int(size.max()))
        real = within < size[:, None]
        places = (self.start[requests][:, None] + torch.where(real, within, 0)).to(self.item.device)
        real = real.to(self.item.device)
        history = self.history[requests.to(self.item.device)]
        click, convert = network(self.features[places], self.item[places], history)
        return click[real], convert[real], self.labels[places[real]]

    def loss(self, network: Network, requests: Tensor) -> Tensor:
        click, convert, labels = self.scores(network, requests)
        return _loss(click + labels[:, 2], convert, labels)

    def levelled_loss(self, network: Network) -> float:
        """Log loss of both tasks on all rows, each weighing the same, at the level of clicks that suits them best.

        Weighted negatives move the level, which calibration puts right afterwards; it is no reason to stop.
        """
        parts = [self.scores(network, places) for places in torch.split(torch.arange(self.requests), _AT_ONCE)]
        click, convert, labels = (torch.cat(part).cpu().double() for part in zip(*parts, strict=True))
        labels[:, 3] = 1.0
        click = click + labels[:, 2]
        click = click + level(click.numpy(), labels[:, 0].numpy())
        return float(_loss(click, convert, labels))


def _loss(click: Tensor, convert: Tensor, labels: Tensor) -> Tensor:
    return entire_space_loss(click, convert, labels[:, 0], labels[:, 1], labels[:, 3])


def level(logits: Floats, labels: Floats, weight: Floats | None = None) -> float:
    """What to add to log-odds `[n]` so that they add up to the labels (0 or 1), by Newton's method; at most 20."""
    share = np.ones(len(labels)) if weight is None else weight
    shift = 0.0
    for _ in range(50):
        p = sigmoid(logits + shift)
        step = float(np.sum(share * (labels - p)) / max(float(np.sum(share * p * (1.0 - p))), 1e-9))
        shift = float(np.clip(shift + np.clip(step, -1.0, 1.0), -20.0, 20.0))
        if abs(step) < 1e-9:
            break
    return shift


def _start_at_usual(network: Network, rows: Labelled) -> None:
    """Begin where nothing is known of an item, so that no step is spent on finding the level."""
    offset = np.zeros(len(rows.click)) if rows.offset is None else rows.offset
    told = np.nan_to_num(rows.convert[rows.click > 0])
    rate = (told.sum() + 1.0) / (len(told) + 10.0)
    with torch.no_grad():
        network.head.usual.copy_(torch.tensor([level(offset, rows.click, rows.weight), float(logit(rate))]))


def served(network: Network, features: int, config: DeepConfig, done: training.History) -> DeepNet:
    """The head as a graph over item vectors, which need no network any more once it is trained."""
    with torch.no_grad():
        vectors = network.vectors(torch.arange(len(network.codes))).numpy()
    width = vectors.shape[1]
    shapes = ((2, 3, features), (2, 3, width), (2, config.history, width), (2, config.history))
    example = {name: torch.zeros(shape) for name, shape in zip(INPUTS, shapes, strict=True)}
    axes = (("R", "K"), ("R", "K"), ("R",), ("R",))
    about = About(features, len(vectors), width, config.history, done.best, done.held_out)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / GRAPH
        onnx.export(network.head, example, OUTPUTS, path, dynamic=dict(zip(INPUTS, axes, strict=True)))
        return DeepNet(about, vectors, path.read_bytes(), onnx.OnnxModel.open(path, INPUTS, OUTPUTS))
