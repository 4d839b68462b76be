"""How soon a fault is noticed, and how often one is seen where there is none: `make drift-table`.

Two hundred devices watch for months. Their faces are pictures that the emotion model never learned from,
read by the embedded bundle in twelve lights, sharp, blurred and small. Each device has its own light, people,
distance, rhythm of the day and of the week, weather that lasts for days, and visitors who are seen as several
faces. Heights, detection scores and waits are drawn. The record of a device is the one that devices keep. The
same days are judged by the rule in use and by that of decision 0050.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import hashlib
import io
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache, partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from oahega_build.emotion.evaluate import file_logits
from oahega_build.pictures.dataset import held_out, read_dataset, read_picture
from oahega_build.pictures.framing import device_crop
from oahega_build.pictures.tables import read_table
from oahega_build.runs.artifacts import write_bytes
from oahega_build.runs.output import say
from oahega_build.runs.reading import open_arrays
from oahega_build.scenes.elsewhere import CHOOSE, CLEAR_VOTES, UNCLEAR, FaceFinder, read_source
from oahega_edge.bundles.load import DEFAULT_BUNDLE, Bundle, load_bundle
from oahega_edge.chain.classification import calibrated
from oahega_edge.chain.preprocess import crop_face
from oahega_edge.drift.drift import LEARNED_BLOCKS, LEAST_FACES, RULE, Drift, Rule
from oahega_edge.drift.look import binned, light_of
from oahega_edge.drift.tally import SLOTS

GAINS = (1.5, 1.25, 1.0, 0.8, 0.65, 0.5, 0.4, 0.3, 0.23, 0.17, 0.13, 0.1)
BLUR, SMALL = 1.5, 24
"""Standard deviation in pixels of the classifier's picture; height in pixels of a far face."""
FACES_A_DAY = 200
BEGINS, PATIENCE = (8, 30), 14
"""Days of a device's life on which faults begin; days until which they count as noticed."""
RULES = {"now": RULE, "0050": Rule(spread=0.07, light_spread=0.07, follow=0.0, is_stretched=False)}
FIRST_DAY = date(2026, 1, 5)
"""A Monday."""
Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Pool:
    """Faces, read in every light."""

    scores: Floats
    """(lights, faces, labels)"""
    measured: Floats
    """(lights, faces, 2): brightness, sharpness."""
    labels: Numbers
    """What each face shows; 0 for what has no label."""


FIELDS = tuple(field.name for field in dataclasses.fields(Pool))


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong with a device on its day."""

    name: str
    pool: str = "home"
    share: float = 1.0
    """Of the faces that come from `pool`."""
    dark: float = 1.0
    """Share of the light that is left in the end."""
    days: int = 1
    """Until then."""
    nearer: float = 1.0
    """Factor on the heights of the faces."""
    unsure: float = 0.0
    """Taken from the log-odds of the detection scores."""


FAULTS = (
    Fault("half of the light, from one day to the next", dark=0.5),
    Fault("half of the light, over a week", dark=0.5, days=7),
    Fault("a blurred lens", pool="blurred", unsure=1.0),
    Fault("a moved camera: faces half as high", pool="small", nearer=0.5, unsure=0.5),
    Fault("an unknown expression on every face", pool="unknown"),
    Fault("an unknown expression on every second face", pool="unknown", share=0.5),
    Fault("another population", pool="elsewhere"),
)
NOTHING = Fault("nothing")


def read_pools(data: Path, bundle: Bundle) -> dict[str, Pool]:
    """Every face in every light through the bundle's classifier."""
    entry = bundle.manifest.emotion
    home = held_out(read_dataset(data / "ferplus"))
    faces = [device_crop(sample.pixels, entry.input, entry.crop) for sample in home]
    labels = [sample.label for sample in home]
    source = read_source(data / "other_cameras", entry.labels, CHOOSE, FaceFinder(DEFAULT_BUNDLE))
    others = [crop_face(f.pixels, f.box, entry.input, entry.crop) for f in source.faces]
    pictures: dict[str, tuple[Sequence[NDArray[np.uint8]], Sequence[int]]] = {
        "home": (faces, labels),
        "blurred": ([_blurred(face) for face in faces], labels),
        "small": ([_small(face) for face in faces], labels),
        "unknown": ([device_crop(p, entry.input, entry.crop) for p in _unknown(data)], ()),
        "elsewhere": (others, [face.label for face in source.faces]),
    }
    return {name: _pool(faces, labels, bundle) for name, (faces, labels) in pictures.items()}


def _unknown(data: Path) -> Iterator[NDArray[np.uint8]]:
    root = data / "ferplus_rest"
    for row in read_table(root / "votes.csv", {"file"}).rows:
        votes = {name: float(value) for name, value in row.items() if name != "file"}
        picture = read_picture(root / row["file"], "grey")
        if picture is not None and sum(votes[name] for name in UNCLEAR) > CLEAR_VOTES * sum(votes.values()):
            yield picture


def _blurred(face: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(cv2.GaussianBlur(face, (0, 0), BLUR), np.uint8)


def _small(face: NDArray[np.uint8]) -> NDArray[np.uint8]:
    far = cv2.resize(face, (SMALL, SMALL), interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(far, face.shape[::-1], interpolation=cv2.INTER_LINEAR), np.uint8)


def _pool(faces: Sequence[NDArray[np.uint8]], labels: Sequence[int], bundle: Bundle) -> Pool:
    entry = bundle.manifest.emotion
    data = bundle.content(entry.cpu)
    scores, measured = [], []
    for gain in GAINS:
        lit = [np.clip(face * gain, 0, 255).astype(np.uint8) for face in faces]
        scores.append(calibrated(file_logits(data, entry, lit), entry))
        measured.append([light_of(face) for face in lit])
    return Pool(np.stack(scores), np.array(measured), np.array(labels or [0] * len(faces)))


class Site:
    """One device's place: days of faces, drawn from a seed."""

    def __init__(self, pools: Mapping[str, Pool], seed: int) -> None:
        rng = self._rng = np.random.default_rng(seed)
        self._pools = pools
        labels = pools["home"].scores.shape[2]
        self._people = {
            name: [_some(rng, np.flatnonzero(pool.labels == label)) for label in range(labels)]
            for name, pool in pools.items()
        }
        self._mix = rng.dirichlet(np.full(labels, 3.0))
        self._gain, self._sun = rng.uniform(0.6, 1.1), rng.uniform(0.0, 0.6)
        self._height = rng.normal(np.log2(90), 0.4)
        self._sureness = rng.normal(2.0, 0.5)
        self._weekend = rng.normal(0.0, (0.3, 0.15, 0.4))
        self._evening = rng.normal(0.0, (0.3, 0.15))
        self._weather = self._mood = 0.0
        self._pace = FACES_A_DAY * rng.uniform(0.9, 1.4)

    def copy(self) -> Site:
        """A twin that goes on by itself."""
        twin = copy.copy(self)
        twin._rng = copy.deepcopy(self._rng)
        return twin

    def day(self, day: date, fault: Fault, since: int) -> tuple[Numbers, Numbers, Numbers]:
        """Bins (faces, quantities), labels (faces,) and slots (faces,) of a day.

        `since`: whole days that the fault lasts already; below 0, there is none yet.
        """
        rng = self._rng
        weekend = day.weekday() >= 5
        self._weather = 0.7 * self._weather + rng.normal(0, 0.25)
        self._mood = 0.3 * self._mood + rng.normal(0, 0.15)
        pace = self._pace * np.exp(self._weekend[2] * weekend)
        visitors = max(1, rng.poisson(pace / 1.55))
        times = rng.choice(3, visitors, p=(0.6, 0.25, 0.15)) + 1
        hour = np.clip(rng.normal(15, 3.5, visitors), 7, 22)
        evening = (hour > 17).astype(float)
        pool, who = self._drawn(fault if since >= 0 else NOTHING, weekend, evening)
        height = self._height + rng.normal(0, 0.08) + self._weekend[1] * weekend + self._evening[1] * evening
        repeat = np.repeat(np.arange(visitors), times)
        return self._seen(pool[repeat], who[repeat], hour[repeat], height[repeat], fault, since)

    def _drawn(self, fault: Fault, weekend: bool, evening: Floats) -> tuple[NDArray[np.str_], Numbers]:
        """Which pool and which face of it, for each visitor."""
        rng, count = self._rng, len(evening)
        pool = np.where(rng.random(count) < fault.share, fault.pool, "home")
        told = self._mood + self._weekend[0] * weekend + self._evening[0] * evening
        mixes = self._mix * np.exp(told[:, None] * np.linspace(-1, 1, len(self._mix)))
        edges = np.cumsum(mixes / mixes.sum(axis=1, keepdims=True), axis=1)
        wanted = np.minimum((rng.random(count)[:, None] > edges).sum(axis=1), len(self._mix) - 1)
        wanted[pool == "unknown"] = 0
        who = np.zeros(count, np.int64)
        for name in np.unique(pool):
            for label, people in enumerate(self._people[name]):
                mine = (pool == name) & (wanted == label)
                who[mine] = rng.choice(people, mine.sum()) if mine.any() else 0
        return pool, who

    def _seen(
        self, pool: NDArray[np.str_], who: Numbers, hour: Floats, height: Floats, fault: Fault, since: int
    ) -> tuple[Numbers, Numbers, Numbers]:
        rng, count = self._rng, len(who)
        sun = np.maximum(0, np.sin(np.pi * (hour - 6) / 14)) * np.exp(self._weather)
        gain = self._gain * (1 - self._sun + self._sun * sun) * np.exp(rng.normal(0, 0.1, count))
        if since >= 0:
            gain = gain * (1 - (1 - fault.dark) * min(1, (since + 1) / fault.days))
            height = height + np.log2(fault.nearer)
        light = np.abs(np.log(gain)[:, None] - np.log(GAINS)).argmin(axis=1)
        scores = np.zeros((count, len(self._mix)))
        measured = np.zeros((count, 2))
        for name in np.unique(pool):
            of = pool == name
            scores[of] = self._pools[name].scores[light[of], who[of]]
            measured[of] = self._pools[name].measured[light[of], who[of]]
        tall = 2 ** (height + rng.normal(0, 0.5, count))
        unsure = fault.unsure if since >= 0 else 0.0
        sure = self._sureness + 0.5 * np.log2(tall / 90) - unsure + rng.normal(0, 1, count)
        score = 1 / (1 + np.exp(-sure))
        wait = (1 + rng.geometric(np.clip(score, 0.1, 0.99))) / 15
        bins = binned(scores, np.column_stack([tall, measured, score, wait]))
        return bins, scores.argmax(axis=1), (hour * SLOTS / 24).astype(np.int64)


def _some(rng: np.random.Generator, faces: Numbers) -> Numbers:
    """The people of one place: three in five of all."""
    return np.asarray(faces[rng.random(len(faces)) < 0.6])


def count_day(drift: Drift, bins: Numbers, labels: Numbers, slots: Numbers, day: date) -> None:
    """What `Drift.saw` and `Drift.due` do, for a day of faces at once."""
    drift.block.count(slots, bins, labels)
    drift.began, drift.day = drift.began or day, day
    if drift.block.faces >= LEAST_FACES:
        drift.close()


@dataclass(frozen=True, slots=True)
class Noticed:
    """What one device said of one fault."""

    day: int | None
    """Of the fault; None: not within PATIENCE days."""
    faces: int
    """Of the fault, until then."""
    named: tuple[str, ...]
    """Quantities that were named then."""


@dataclass(frozen=True, slots=True)
class Watched:
    """What one device said by one rule."""

    alarms: int
    """On quiet days."""
    noticed: Mapping[tuple[Fault, int], Noticed]
    """Of each fault that begins on a day."""


def watched(pools: Mapping[str, Pool], seed: int, days: int) -> dict[str, Watched]:
    """One device for so many days, by each rule."""
    site, labels = Site(pools, seed), pools["home"].scores.shape[2]
    drifts = {name: Drift(labels, rule) for name, rule in RULES.items()}
    alarms = dict.fromkeys(RULES, 0)
    noticed: dict[str, dict[tuple[Fault, int], Noticed]] = {name: {} for name in RULES}
    for number in range(days):
        if number in BEGINS:
            for fault in FAULTS:
                found = _after(site.copy(), copy.deepcopy(drifts), fault, number)
                for name, one in found.items():
                    noticed[name][fault, number] = one
        day = FIRST_DAY + timedelta(days=number)
        faces = site.day(day, NOTHING, -1)
        for name, drift in drifts.items():
            known = set(drift.alarms)
            count_day(drift, *faces, day)
            alarms[name] += bool(set(drift.alarms) - known)
    return {name: Watched(alarms[name], noticed[name]) for name in RULES}


def _after(site: Site, drifts: Mapping[str, Drift], fault: Fault, begin: int) -> dict[str, Noticed]:
    """Until each rule has noticed the fault."""
    known = {name: set(drift.alarms) for name, drift in drifts.items()}
    found: dict[str, Noticed] = {}
    faces = 0
    for since in range(PATIENCE):
        day = FIRST_DAY + timedelta(days=begin + since)
        seen = site.day(day, fault, since)
        faces += len(seen[1])
        for name in drifts.keys() - found.keys():
            drift = drifts[name]
            count_day(drift, *seen, day)
            if set(drift.alarms) - known[name]:
                named = tuple(name for name, said in drift.quantities().items() if said.since)
                found[name] = Noticed(since + 1, faces, named)
        if len(found) == len(drifts):
            break
    return {name: found.get(name, Noticed(None, faces, ())) for name in drifts}


def table(seen: Iterable[dict[str, Watched]], months: int) -> Iterator[str]:
    """Rows of Markdown on devices that were watched for so many months."""
    seen, days = list(seen), 30 * months
    spent = len(seen) * (days - LEARNED_BLOCKS) / 30
    for name in RULES:
        alarms = np.array([each[name].alarms for each in seen])
        yield (
            f"{len(seen)} devices, {months} months, no fault, rule {name}: {alarms.sum()} false alarms on "
            f"{(alarms > 0).sum()} devices; {alarms.sum() / spent:.4f} per device and month, "
            f"{alarms.sum() / spent * 12:.2f} per year"
        )
    yield ""
    yield "| fault | begins on day | rule | noticed after 1 day | 3 days | 14 days | faces (median) | named |"
    yield "|---|---|---|---|---|---|---|---|"
    for fault in FAULTS:
        for begin in (begin for begin in BEGINS if begin < days):
            for name in RULES:
                yield _row(fault, begin, name, [each[name].noticed[fault, begin] for each in seen])


def _row(fault: Fault, begin: int, rule: str, seen: Sequence[Noticed]) -> str:
    days = np.array([each.day or PATIENCE + 1 for each in seen])
    faces = [each.faces for each in seen if each.day]
    names = Counter(name for each in seen for name in each.named)
    shares = " | ".join(f"{(days <= limit).mean():.0%}" for limit in (1, 3, PATIENCE))
    median = f"{np.median(faces):.0f}" if faces else "-"
    said = ", ".join(f"{name} {count / len(seen):.0%}" for name, count in names.most_common(3))
    return f"| {fault.name} | {begin} | {rule} | {shares} | {median} | {said} |"


def main() -> None:
    """Print the table. The readings are kept in a file, because they take longest."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="holds ferplus, ferplus_rest and other_cameras")
    parser.add_argument("--cache", type=Path, default=Path(".cache"), help="folder for the readings")
    parser.add_argument("--devices", type=int, default=200)
    parser.add_argument("--first", type=int, default=0, help="seed of the first device")
    parser.add_argument("--months", type=int, default=6)
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    asked = parser.parse_args()
    bundle = load_bundle(DEFAULT_BUNDLE)
    file = cache_file(asked.cache, bundle.sha256, asked.data)
    if not file.exists():
        keep(read_pools(asked.data, bundle), file)
    seeds = range(asked.first, asked.first + asked.devices)
    with ProcessPoolExecutor(asked.jobs) as jobs:
        seen = jobs.map(partial(_watched, file, 30 * asked.months), seeds)
        for line in table(seen, asked.months):
            say(line)


def _watched(file: Path, days: int, seed: int) -> dict[str, Watched]:
    return watched(_kept(file), seed, days)


@cache
def _kept(file: Path) -> dict[str, Pool]:
    return kept(file)


def cache_file(folder: Path, bundle: str, data: Path) -> Path:
    """Where readings of this data by this bundle in these lights are kept; other faults need a new folder."""
    key = hashlib.sha256(f"{bundle} {data.resolve()} {GAINS}".encode()).hexdigest()
    return folder / f"drift-pools-{key[:12]}.npz"


def keep(pools: Mapping[str, Pool], file: Path) -> None:
    """Write the readings; the file is complete or absent."""
    arrays = {f"{name}/{field}": getattr(pool, field) for name, pool in pools.items() for field in FIELDS}
    packed = io.BytesIO()
    np.savez_compressed(packed, **arrays)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(file, packed.getvalue())


def kept(file: Path) -> dict[str, Pool]:
    """The same again."""
    with open_arrays(file) as arrays:
        names = {key.partition("/")[0] for key in arrays}
        return {name: Pool(*(arrays[f"{name}/{field}"] for field in FIELDS)) for name in names}


if __name__ == "__main__":
    main()
