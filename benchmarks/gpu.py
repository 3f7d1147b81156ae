"""What a GPU is worth here, beside the CPU: vector search, training of the towers and the ranker, scoring.

    python gpu.py [--dry-run] [--large] [--only index clients training scoring] [--json OUT]

Needs NumPy, PyTorch and any build of Faiss, nothing else: this one file may be copied to a GPU machine. With Podium's
folders beside it (`python -m benchmarks.gpu`) the micro-batcher is measured too. Everything is drawn from seed 0;
devices are warmed up and synchronised; a figure is the median of repeats. What cannot run here is named, not left out.
"""

import argparse
import importlib
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch
from torch import Tensor, nn

try:
    faiss: Any = importlib.import_module("faiss")
except ImportError:
    faiss = None

DIM, DEPTH, HISTORY, BAG, REPEATS = 64, 100, 50, 32, 5
CUDA = torch.cuda.is_available()
FAISS_GPU = faiss is not None and faiss.get_num_gpus() > 0
SECTIONS = "index", "clients", "training", "scoring"
KINDS = ("exact", "CPU"), ("IVF", "CPU"), ("exact", "GPU"), ("IVF", "GPU"), ("CAGRA", "GPU"), ("torch.topk", "GPU")
KEPT: list[Any] = []  # resources of GPU indexes, which must outlive them


class Row(NamedTuple):
    section: str
    what: str
    where: str
    figure: float | None  # None where it cannot run here
    unit: str
    note: str = ""


class Sizes(NamedTuple):
    items: tuple[int, ...]
    batches: tuple[int, ...]
    training: int
    vocabulary: int
    seconds: float


FULL = Sizes((100_000, 1_000_000), (1, 16, 256, 4096), 4096, 200_000, 1.0)
DRY = Sizes((20_000,), (1, 16, 256), 256, 20_000, 0.15)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, says in (("--dry-run", "small sizes: does everything run?"), ("--large", "10,000,000 items as well")):
        arguments.add_argument(name, action="store_true", help=says)
    arguments.add_argument("--only", nargs="+", choices=SECTIONS, default=SECTIONS)
    arguments.add_argument("--json", type=Path, help="write the facts and the rows here as well")
    given = arguments.parse_args()
    sizes = DRY if given.dry_run else FULL
    items, about = (*sizes.items, *((10_000_000,) if given.large else ())), facts()
    print("\n".join(f"- {name}: {value}" for name, value in about.items()), end="\n\n")
    print("| section | what | where | figure | unit | note |\n| --- | --- | --- | --- | --- | --- |")
    work: dict[str, Callable[[], Iterator[Row]]] = {
        "index": lambda: (row for size in items for row in index_rows(size, sizes)),
        "clients": lambda: client_rows(sizes.items[-1], sizes),
        "training": lambda: training_rows(sizes),
        "scoring": lambda: scoring_rows(sizes),
    }
    rows = []
    for row in (row for name in given.only for row in work[name]()):
        rows.append(row._asdict())
        figure = "not run" if row.figure is None else f"{row.figure:,.{0 if row.figure >= 100 else 3}f}"
        print(f"| {row.section} | {row.what} | {row.where} | {figure} | {row.unit} | {row.note} |", flush=True)
    if given.json:
        given.json.write_text(json.dumps({"facts": about, "rows": rows}))


def facts() -> dict[str, str]:
    card = torch.cuda.get_device_properties(0) if CUDA else None
    gpu = f"{card.name}, {card.total_memory / 2**30:.0f} GiB, compute {card.major}.{card.minor}" if card else "none"
    build = f"{faiss.__version__} ({faiss.get_compile_options().strip()})" if faiss else "missing"
    machine = f"{platform.machine()}, {os.cpu_count()} cores, PyTorch uses {torch.get_num_threads()} threads"
    versions = f"Python {platform.python_version()}, NumPy {np.__version__}, PyTorch {torch.__version__}"
    seen = f"{build}, sees {faiss.get_num_gpus() if faiss else 0} GPUs"
    return {"machine": machine, "GPU": gpu, "versions": versions, "Faiss": seen}


def index_rows(size: int, sizes: Sizes) -> Iterator[Row]:
    vectors, queries = vectors_of(size, 0), vectors_of(max(sizes.batches), 1)
    truth = np.stack([np.argpartition(-(vectors @ query), DEPTH)[:DEPTH] for query in queries[:200]])
    lists = None
    for kind, where in KINDS:
        what = f"{kind}, N = {size:,}"
        if reason := missing(kind, where):
            yield Row("index", what, where, None, "queries/s", reason)
            continue
        started = time.perf_counter()
        index = index_of(kind, where, vectors, lists)
        lists = index if kind == "IVF" else lists
        note = f"built in {time.perf_counter() - started:.1f} s"
        options = {"params": faiss.SearchParametersCagra(itopk_size=256)} if kind == "CAGRA" else {}
        if kind == "IVF":
            note += f", {fewest_probes(index, queries[:200], truth)} of {index.nlist} lists"
        note += f", recall@{DEPTH} {overlap(index.search(queries[:200], DEPTH, **options)[1], truth):.3f}"
        each = 0.0
        for batch in sizes.batches:
            if each * batch > 20:
                yield Row("index", f"{what}, batch {batch}", where, None, "queries/s", "a call would take > 20 s")
                continue
            each = per_call(partial(index.search, queries[:batch], DEPTH, **options), sizes) / batch
            yield Row("index", f"{what}, batch {batch}", where, 1 / each, "queries/s", note)


def missing(kind: str, where: str) -> str:
    """Why it cannot run here, "" when it can."""
    if kind == "torch.topk":
        return "" if CUDA else "PyTorch sees no GPU"
    if faiss is None or (where == "GPU" and not FAISS_GPU):
        return "Faiss sees no GPU" if faiss else "no Faiss"
    return "Faiss is built without cuVS" if kind == "CAGRA" and "CUVS" not in faiss.get_compile_options() else ""


def index_of(kind: str, where: str, vectors: np.ndarray, lists: Any = None) -> Any:
    """lists: the inverted lists of the CPU, which the GPU takes over."""
    if kind == "torch.topk":
        return TorchIndex(vectors)
    if where == "GPU":
        KEPT.append(resources := faiss.StandardGpuResources())
    if kind == "IVF" and where == "GPU":
        return faiss.index_cpu_to_gpu(resources, 0, lists)
    if kind == "CAGRA":
        index = faiss.GpuIndexCagra(resources, DIM, faiss.METRIC_INNER_PRODUCT)
    elif kind == "IVF":
        count = 4 * int(len(vectors) ** 0.5)
        index = faiss.IndexIVFFlat(faiss.IndexFlatIP(DIM), DIM, count, faiss.METRIC_INNER_PRODUCT)
        index.cp.niter, index.cp.max_points_per_centroid, index.cp.min_points_per_centroid = 10, 64, 1
    else:
        index = faiss.GpuIndexFlatIP(resources, DIM) if where == "GPU" else faiss.IndexFlatIP(DIM)
    index.train(vectors)  # nothing to learn for an exact index; all that CAGRA needs
    if kind != "CAGRA":
        index.add(vectors)
    return index


class TorchIndex:
    """Exact search without Faiss: what any machine with CUDA can do."""

    def __init__(self, vectors: np.ndarray) -> None:
        self.table = torch.from_numpy(vectors).cuda()
        self.step = max(1, 2**31 // len(vectors))  # 8 GiB of products at once

    def search(self, queries: np.ndarray, k: int) -> tuple[None, np.ndarray]:
        parts = torch.split(torch.from_numpy(queries), self.step)
        return None, torch.cat([torch.topk(part.cuda() @ self.table.T, k).indices for part in parts]).cpu().numpy()


def fewest_probes(lists: Any, queries: np.ndarray, truth: np.ndarray) -> int:
    """Set the fewest lists to look through that reach a recall of 0.95."""
    for probes in (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 256, 512):
        lists.nprobe = probes
        if overlap(lists.search(queries, DEPTH)[1], truth) >= 0.95:
            break
    return int(lists.nprobe)


def client_rows(size: int, sizes: Sizes) -> Iterator[Row]:
    """Threads that ask one query at a time: through the owner thread and its micro-batches, and each by itself."""
    what, where = f"micro-batched exact, N = {size:,}", "GPU" if FAISS_GPU else "CPU in its place"
    if faiss is None or not (Path(__file__).parent.parent / "retrieval").is_dir():
        yield Row("clients", what, where, None, "queries/s", "no Faiss, or Podium's folders are not beside this file")
        return
    from retrieval.gpu import Owner

    faiss.omp_set_num_threads(1)
    vectors, queries = vectors_of(size, 0), vectors_of(1_000, 1)
    own, calls = index_of("exact", "CPU", vectors), []

    def make() -> Callable[[np.ndarray, int], Any]:
        index = index_of("exact", "GPU" if FAISS_GPU else "CPU", vectors)
        return lambda asked, k: calls.append(len(asked)) or index.search(asked, k)  # type: ignore[func-returns-value]

    owner = Owner(make)
    single = f"each thread by itself, N = {size:,}"
    for name, place in ((what, where), (single, "CPU")):
        ask = partial(own.search, k=DEPTH) if name == single else lambda query: owner.submit(query, DEPTH).result()
        for clients in (1, 8, 64):
            calls.clear()
            started = time.perf_counter()
            spent = from_threads(clients, ask, queries, 4 * sizes.seconds)
            rate, (quick, slow) = len(spent) / (time.perf_counter() - started), np.percentile(spent, [50, 99])
            note = f"p50 {quick:.2f} ms, p99 {slow:.2f} ms"
            note += f", {statistics.mean(calls):.1f} queries a call" if calls else ""
            yield Row("clients", f"{name}, {clients} clients", place, rate, "queries/s", note)
    owner.close()


def from_threads(clients: int, ask: Callable[[np.ndarray], object], queries: np.ndarray, seconds: float) -> list[float]:
    """Milliseconds of each request that `clients` threads made."""
    until = time.perf_counter() + seconds

    def run(place: int) -> list[float]:
        spent = []
        while (started := time.perf_counter()) < until:
            ask(queries[place : place + 1])
            spent.append((time.perf_counter() - started) * 1e3)
            place = (place + 1) % len(queries)
        return spent

    with ThreadPoolExecutor(clients) as pool:
        return [each for spent in pool.map(run, range(clients)) for each in spent]


class Towers(nn.Module):
    """A bag of tokens and an item id against each other: the dot product of two 64-dimensional towers."""

    def __init__(self, vocabulary: int, items: int) -> None:
        super().__init__()
        self.words = nn.EmbeddingBag(vocabulary, DIM, mode="mean", sparse=True)
        self.items = nn.Embedding(items, DIM, sparse=True)
        self.user = nn.Sequential(nn.Linear(DIM, 128), nn.ReLU(), nn.Linear(128, DIM))

    def forward(self, bag: Tensor, item: Tensor) -> Tensor:
        """In-batch softmax loss."""
        user = nn.functional.normalize(self.user(self.words(bag)), dim=1)
        logits = user @ nn.functional.normalize(self.items(item), dim=1).T / 0.05
        return nn.functional.cross_entropy(logits, torch.arange(len(item), device=item.device))


class Ranker(nn.Module):
    """Target attention over the history (DIN, Zhou et al., KDD 2018) and an MLP 256-128."""

    def __init__(self, items: int, features: int = 64) -> None:
        super().__init__()
        self.items = nn.Embedding(items, DIM, sparse=True)
        self.attention = nn.Sequential(nn.Linear(4 * DIM, 64), nn.ReLU(), nn.Linear(64, 1))
        width = 2 * DIM + features
        self.mlp = nn.Sequential(nn.Linear(width, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 1))

    def forward(self, history: Tensor, item: Tensor, features: Tensor) -> Tensor:
        past, target = self.items(history), self.items(item)
        wide = target[:, None].expand_as(past)
        weight = torch.softmax(self.attention(torch.cat([past, wide, past - wide, past * wide], dim=2)), dim=1)
        out: Tensor = self.mlp(torch.cat([(weight * past).sum(dim=1), target, features], dim=1))
        return out[:, 0]


def ranker_inputs(items: int, rows: int) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    history, item = (torch.randint(items, shape, generator=generator) for shape in ((rows, HISTORY), (rows,)))
    return history, item, torch.randn(rows, 64, generator=generator)


def training_rows(sizes: Sizes) -> Iterator[Row]:
    """Samples a second of whole steps: copy to the device, forward, backward, update."""
    items, batch, words = sizes.items[-1], sizes.training, sizes.vocabulary
    bag = torch.randint(words, (batch, BAG), generator=torch.Generator().manual_seed(0))
    towers = partial(Towers, words, items), (bag, torch.arange(batch) % items), f"two towers, {words:,} words"
    ranker = partial(Ranker, items), ranker_inputs(items, batch), f"ranker MLP 256-128, attention over {HISTORY}"
    for make, inputs, name in (towers, ranker):
        for where, mode in (("cpu", "fp32"), ("cpu", "bf16"), ("cuda", "fp32"), ("cuda", "tf32"), ("cuda", "bf16")):
            what, place = f"{name}, {items:,} items, batch {batch}, {mode}", "GPU" if where == "cuda" else "CPU"
            if where == "cuda" and not CUDA:
                yield Row("training", what, place, None, "samples/s", "PyTorch sees no GPU")
                continue
            torch.manual_seed(0)
            torch.set_float32_matmul_precision("high" if mode == "tf32" else "highest")
            model = make().to(where)
            tables = [each.weight for each in model.modules() if isinstance(each, nn.Embedding | nn.EmbeddingBag)]
            others = [each for each in model.parameters() if all(each is not table for table in tables)]
            updates = torch.optim.SparseAdam(tables), torch.optim.Adam(others)
            step = partial(one_step, model, inputs, updates, where, mode == "bf16")
            yield Row("training", what, place, batch / per_call(step, sizes), "samples/s")


def one_step(
    model: nn.Module, inputs: tuple[Tensor, ...], updates: tuple[torch.optim.Optimizer, ...], where: str, half: bool
) -> None:
    with torch.autocast(where, torch.bfloat16) if half else nullcontext():
        out = model(*(each.to(where) for each in inputs))
        loss = out if out.ndim == 0 else nn.functional.softplus(-out).mean()  # towers give a loss, the ranker logits
    for update in updates:
        update.zero_grad()
    loss.backward()
    for update in updates:
        update.step()


def scoring_rows(sizes: Sizes) -> Iterator[Row]:
    """One request: 500 candidates from host memory to scores in host memory."""
    items, what = sizes.items[0], "score 500 candidates of one request"
    inputs = ranker_inputs(items, 500)
    for where, name in (("cpu", "CPU"), ("cuda", "GPU")):
        if where == "cuda" and not CUDA:
            yield Row("scoring", what, name, None, "ms", "PyTorch sees no GPU")
            continue
        model, spent = Ranker(items).to(where).eval(), []
        with torch.inference_mode():
            for _ in range(30 if sizes is DRY else 500):
                started = time.perf_counter()
                model(*(each.to(where) for each in inputs)).cpu()
                spent.append((time.perf_counter() - started) * 1e3)
        quick, slow = np.percentile(spent[len(spent) // 10 :], [50, 99])
        yield Row("scoring", what, name, float(quick), "ms p50", f"p99 {slow:.3f} ms, fp32")


def per_call(work: Callable[[], object], sizes: Sizes) -> float:
    """Median seconds a call, over repeats of about `sizes.seconds` each, after warming up."""
    wait: Callable[[], object] = torch.cuda.synchronize if CUDA else (lambda: None)

    def timed(calls: int) -> float:
        wait()
        started = time.perf_counter()
        for _ in range(calls):
            work()
        wait()
        return (time.perf_counter() - started) / calls

    timed(2)
    calls = max(1, int(sizes.seconds / timed(1)))
    return statistics.median(timed(calls) for _ in range(REPEATS))


def vectors_of(size: int, seed: int) -> np.ndarray:
    """Unit vectors near a 16-dimensional surface, in 1,000 clusters that all seeds share."""
    rng, shared = np.random.default_rng(seed), np.random.default_rng(7)
    centres, turn = (shared.standard_normal(shape, dtype=np.float32) for shape in ((1_000, 16), (16, DIM)))
    points = (centres[rng.integers(0, 1_000, size)] + 0.5 * rng.standard_normal((size, 16), dtype=np.float32)) @ turn
    points += 0.2 * rng.standard_normal((size, DIM), dtype=np.float32)
    return np.asarray(points / np.linalg.norm(points, axis=1, keepdims=True), dtype=np.float32)


def overlap(found: np.ndarray, truth: np.ndarray) -> float:
    return float(np.mean([np.isin(own, got).mean() for own, got in zip(truth, found, strict=True)]))


if __name__ == "__main__":
    main()
