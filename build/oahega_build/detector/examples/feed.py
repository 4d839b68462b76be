"""Batches prepared ahead by threads or processes, in the order of their numbers."""

from __future__ import annotations

import multiprocessing
import os
import queue
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from typing import Any, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from oahega_build.detector.examples.composing import composer_of, paster_of
from oahega_build.detector.examples.inputs import Composer, scene_of
from oahega_build.detector.recipe import DetectorRecipe, network_input
from oahega_build.detector.targets import Matcher
from oahega_build.pictures.packed import records_in
from oahega_edge.chain.detection import anchor_labels
from oahega_edge.manifest import SsdDecoder

AHEAD = 3
"""Number of batches that each worker may prepare ahead."""
PATIENCE = 5.0
"""Seconds after which a silent process is checked."""


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """A batch of stacked examples."""

    pixels: NDArray[np.uint8]
    kind: NDArray[np.int8]
    offsets: NDArray[np.float16]


@dataclass(frozen=True, slots=True)
class Source:
    """The source of batches, in a form that can be sent to another process."""

    recipe: DetectorRecipe
    decoder: SsdDecoder
    data: Path
    records: Path
    """The folder of the labelling run."""

    def composer(self) -> Composer:
        """Read all scenes."""
        recipe = self.recipe
        records = records_in(self.records, "train")
        scenes = [scene_of(record, recipe.labels, recipe.longest) for record in records]
        return composer_of(recipe, scenes, paster_of(recipe, self.data, scenes))


class Maker:
    """Makes batches by number from a composer."""

    def __init__(self, source: Source, composer: Composer) -> None:
        recipe = source.recipe
        self._composer, self._size = composer, recipe.batch
        self._match = Matcher(network_input(recipe.net), source.decoder, recipe.labels, recipe.matching)

    def __call__(self, number: int) -> Batch:
        """Batch `number`: the examples from `number * batch` on."""
        pixels, kinds, offsets = [], [], []
        for place in range(number * self._size, (number + 1) * self._size):
            example = self._composer.example(place)
            targets = self._match(example.boxes)
            pixels.append(example.pixels)
            kinds.append(targets.kind)
            offsets.append(targets.offsets.astype(np.float16))
        return Batch(np.stack(pixels), np.stack(kinds), np.stack(offsets))


class Feed:
    """Delivers the same batches with any number of workers."""

    def __init__(self, source: Source, composer: Composer, workers: int, processes: bool = False) -> None:
        """`composer`: the composer of the source. Threads use it; processes make their own."""
        self._source, self._composer = source, composer
        self._workers, self._processes = workers, processes
        self._started: list[_Process] = []

    def __enter__(self) -> Self:
        if self._processes:
            self._started = [_Process(self._source) for _ in range(self._workers)]
        return self

    def __exit__(self, *error: object) -> None:
        for process in self._started:
            process.stop()

    def batches(self, first: int, end: int) -> Iterator[Batch]:
        """The batches from `first` to `end`, excluding `end`."""
        return self._from_processes(first, end) if self._started else self._from_threads(first, end)

    def _from_threads(self, first: int, end: int) -> Iterator[Batch]:
        make = Maker(self._source, self._composer)
        # OpenCV and numpy release the interpreter lock.
        with ThreadPoolExecutor(self._workers) as pool:
            pending = [pool.submit(make, n) for n in range(first, min(end, first + self._workers + 1))]
            for number in range(first, end):
                batch = pending.pop(0).result()
                following = number + self._workers + 1
                if following < end:
                    pending.append(pool.submit(make, following))
                yield batch

    def _from_processes(self, first: int, end: int) -> Iterator[Batch]:
        count = len(self._started)
        asked = min(end, first + AHEAD * count)
        for number in range(first, asked):
            self._started[number % count].ask(number)
        for number in range(first, end):
            batch = self._started[number % count].answer()
            if asked < end:
                self._started[asked % count].ask(asked)
                asked += 1
            yield batch


class _Process:
    """A process that writes batches to shared memory, because pickling would take longer than making them.

    It is a new process, not a forked one, because libraries with threads hang after a fork.
    """

    def __init__(self, source: Source) -> None:
        context = multiprocessing.get_context("spawn")
        self._slots = [_Slot.new(source) for _ in range(AHEAD)]
        self._wanted: Any = context.Queue()
        self._made: Any = context.Queue()
        self._asked = self._answered = 0
        names = [slot.names for slot in self._slots]
        work = (source, names, self._wanted, self._made)
        self._process = context.Process(target=_work, args=work, daemon=True)
        self._process.start()

    def ask(self, number: int) -> None:
        """Request a batch. At most AHEAD may be open."""
        self._wanted.put((number, self._asked % AHEAD))
        self._asked += 1

    def answer(self) -> Batch:
        """Return a copy of the oldest open batch. Raises RuntimeError if the process has died."""
        while True:
            try:
                failed = self._made.get(timeout=PATIENCE)
                break
            except queue.Empty:
                if not self._process.is_alive():
                    raise RuntimeError("a process that composes examples has died; see its message") from None
        if failed:
            raise RuntimeError(f"a process that composes examples failed: {failed}")
        batch = self._slots[self._answered % AHEAD].batch
        self._answered += 1
        return Batch(batch.pixels.copy(), batch.kind.copy(), batch.offsets.copy())

    def stop(self) -> None:
        """End the process and release its memory."""
        self._process.terminate()
        self._process.join()
        for slot in self._slots:
            slot.remove()


class _Slot:
    """The memory of one batch, shared by two processes."""

    def __init__(self, source: Source, memories: list[SharedMemory]) -> None:
        self._memories = memories
        arrays: Iterator[NDArray[Any]] = (
            np.ndarray(shape, dtype, memory.buf)
            for (shape, dtype), memory in zip(_shapes(source), memories, strict=True)
        )
        self.batch = Batch(*arrays)

    @classmethod
    def new(cls, source: Source) -> Self:
        """Allocate the memory."""
        sizes = [int(np.prod(shape)) * np.dtype(dtype).itemsize for shape, dtype in _shapes(source)]
        return cls(source, [SharedMemory(create=True, size=size) for size in sizes])

    @property
    def names(self) -> list[str]:
        """The description with which another process opens the memory."""
        return [memory.name for memory in self._memories]

    def remove(self) -> None:
        """Release the memory."""
        del self.batch
        for memory in self._memories:
            memory.close()
            memory.unlink()


def _shapes(source: Source) -> list[tuple[tuple[int, ...], type]]:
    """Shapes and types of a batch's pixels, kinds and offsets."""
    recipe = source.recipe
    anchors = len(anchor_labels(network_input(recipe.net), source.decoder))
    size = recipe.batch
    return [
        ((size, recipe.net.height, recipe.net.width, 3), np.uint8),
        ((size, anchors), np.int8),
        ((size, anchors, 4), np.float16),
    ]


def _end_with_parent() -> None:
    """A training that was killed cannot stop its processes; without it each would keep its gigabytes."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _work(source: Source, names: list[list[str]], wanted: Any, made: Any) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    cv2.setNumThreads(1)
    slots = [_Slot(source, [SharedMemory(name) for name in of]) for of in names]
    make: Maker | None = None
    while True:
        number, place = wanted.get()
        try:
            make = make or Maker(source, source.composer())
            batch, into = make(number), slots[place].batch
            into.pixels[:], into.kind[:], into.offsets[:] = batch.pixels, batch.kind, batch.offsets
        except Exception as error:
            made.put(repr(error))
        else:
            made.put("")
