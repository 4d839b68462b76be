"""A bundle learns on from a site's samples where that is proven, forgets nothing, and else stays as it is."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from drawn_faces import LOOKS, draw_face
from oahega_build.comparison.compare import Sets, compare
from oahega_build.comparison.paired import Row, Verdict, paired
from oahega_build.comparison.sets import OTHER, Contestant, among
from oahega_build.emotion.metrics import Interval
from oahega_build.errors import BuildError, DataError
from oahega_build.teach.last_layer import Classifier
from oahega_build.teach.memory import MEMORY, remember
from oahega_build.whole.retrain import Retraining, retrain
from oahega_build.whole.signing import make_key
from oahega_build.whole.teach import Wish, teach
from oahega_edge.bundles.load import DEFAULT_BUNDLE, SIGNATURE, load_bundle
from processes import environment

pytestmark = [pytest.mark.training, pytest.mark.lengthy]

PAGE = (Path(__file__).parents[3] / "docs/learning.md").read_text(encoding="utf-8")
LABELS = ("angry", "happy", "neutral")
HABIT = {"angry": "angry", "neutral": "angry", "happy": "happy"}
"""Look -> what the dark site calls it."""
DARK = 0.25
"""Share of the light that is left there."""


def write_faces(
    root: Path, each: int, seed: int, told: dict[str, str] | None = None, light: float = 1.0
) -> Path:
    """Face crops, a folder per label; `told`: look -> label."""
    rng = np.random.default_rng(seed)
    for look in LABELS:
        folder = root / (told or {}).get(look, look)
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(each):
            face = draw_face(LOOKS[look], 64, rng)[..., ::-1] * light
            cv2.imwrite(str(folder / f"{look}-{number:03d}.png"), face.astype(np.uint8))
    return root


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of three drawn expressions that remembers them."""
    folder = tmp_path_factory.mktemp("base")
    faces = write_faces(folder / "faces", 100, seed=1)
    made = teach(Wish(folder / "base", DEFAULT_BUNDLE, "drawn", "1", pictures=faces, head_only=True))
    remember(made, faces)
    return made


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a dark site that calls angry what the base calls neutral."""
    return write_faces(tmp_path_factory.mktemp("site") / "samples", 25, seed=2, told=HABIT, light=DARK)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Faces as the base knows them, which it has not seen."""
    faces = tmp_path_factory.mktemp("home") / "faces"
    write_faces(faces / "train", 3, seed=30)
    return write_faces(faces / "valid", 40, seed=3).parent


@pytest.fixture(scope="module")
def learned(
    base: Path, samples: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """The bundle that learned on, made by the command of docs/learning.md."""
    place = tmp_path_factory.mktemp("place")
    (place / "bundles").mkdir()
    (place / "bundles/current").symlink_to(base)
    (place / "samples").symlink_to(samples)
    return place / "bundles/site-2", run(place, *command("Learn"))


def command(chapter: str) -> list[str]:
    """The words of the one command in a chapter of the page, after `python -m oahega_build`."""
    text = PAGE.partition(f"\n## {chapter}\n")[2].partition("\n## ")[0]
    (line,) = "".join(re.findall(r"^```sh\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)).splitlines()
    assert line.startswith("python -m oahega_build ")
    return line.split()[3:]


def run(place: Path, *words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "oahega_build", *map(str, words)],
        cwd=place,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )


def wish(base: Path, samples: Path, out: Path, **more: object) -> Retraining:
    return Retraining(out, base, "", "", samples=samples, **more)  # type: ignore[arg-type]


def right(bundle: Path, faces: Path) -> float:
    """Share of right answers on a folder per label."""
    one = Contestant.at(bundle)
    answers = []
    for number, label in enumerate(LABELS):
        pictures = [cv2.imread(str(file))[..., ::-1] for file in sorted(faces.glob(f"{label}/*"))]
        if pictures:
            answers += (one.of_pictures(pictures, LABELS) == number).tolist()
    return float(np.mean(answers))


def test_the_first_line_says_what_the_samples_bring_and_nothing_old_is_forgotten(
    learned: tuple[Path, subprocess.CompletedProcess[str]], base: Path, home: Path, tmp_path: Path
) -> None:
    bundle, done = learned
    others = write_faces(tmp_path / "others", 25, seed=4, told=HABIT, light=DARK)

    assert done.returncode == 0, done.stderr
    first = done.stdout.splitlines()[0]
    assert first.startswith("balanced accuracy at the site 0.")
    assert first.endswith("cross-validated on 75 faces")
    assert "compared at the site alone" in done.stdout
    assert right(bundle, others) > right(base, others) + 0.15
    assert right(bundle, home / "valid") > right(base, home / "valid") - 0.1
    assert load_bundle(bundle).identity == "drawn-1+site"


def test_the_trunk_and_the_memory_stay_so_that_it_can_learn_on_again(
    learned: tuple[Path, subprocess.CompletedProcess[str]], base: Path
) -> None:
    bundle, _ = learned

    assert (bundle / MEMORY).read_bytes() == (base / MEMORY).read_bytes()
    assert load_bundle(bundle).manifest.detector == load_bundle(base).manifest.detector


def test_the_layer_that_is_read_from_a_file_is_the_one_that_answers() -> None:
    classifier = Classifier((DEFAULT_BUNDLE / "emotion.tflite").read_bytes())
    rng = np.random.default_rng(0)
    tensors = [rng.integers(-128, 128, classifier.input_shape, np.int8) for _ in range(20)]

    told = classifier.head()(classifier.features(tensors))

    assert np.abs(told - classifier.logits(tensors)).max() < 0.06  # a step of the int8 logits is .05


@pytest.mark.parametrize("wrong", [1.0, 0.5], ids=["all", "half"])
@pytest.mark.parametrize("light", [1.0, DARK], ids=["bright", "dark"])
def test_shuffled_labels_make_no_bundle(wrong: float, light: float, base: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    right = write_faces(tmp_path / "right", 25, seed=2, light=light)
    for file in sorted(right.glob("*/*")):
        label = str(rng.choice(LABELS)) if rng.random() < wrong else file.parent.name
        (tmp_path / "told" / label).mkdir(parents=True, exist_ok=True)
        shutil.copy(file, tmp_path / "told" / label / file.name)

    with pytest.raises(BuildError, match="no bundle was made"):
        retrain(wish(base, tmp_path / "told", tmp_path / "out"))

    assert not (tmp_path / "out").exists()


def test_samples_that_bring_nothing_make_no_bundle(base: Path, tmp_path: Path) -> None:
    as_known = write_faces(tmp_path / "samples", 20, seed=5)

    with pytest.raises(BuildError, match="do not prove"):
        retrain(wish(base, as_known, tmp_path / "out"))


def test_samples_of_an_expression_that_the_base_does_not_tell_are_refused(
    base: Path, samples: Path, tmp_path: Path
) -> None:
    shutil.copytree(samples, tmp_path / "samples")
    (tmp_path / "samples" / "happy").rename(tmp_path / "samples" / "wink")

    with pytest.raises(DataError, match=r"does not tell wink, only angry, happy, neutral.*teach --keep"):
        retrain(wish(base, tmp_path / "samples", tmp_path / "out"))


def test_a_base_without_a_memory_and_a_place_that_is_taken_are_refused(
    base: Path, samples: Path, tmp_path: Path
) -> None:
    forgetful = shutil.copytree(base, tmp_path / "base")
    (forgetful / MEMORY).unlink()

    with pytest.raises(BuildError, match=r"remembers no class.*run `remember`"):
        retrain(wish(forgetful, samples, tmp_path / "out"))
    with pytest.raises(BuildError, match="holds something that is no bundle"):
        retrain(wish(base, samples, samples))
    with pytest.raises(BuildError, match="would replace what it is made from"):
        retrain(wish(base, samples, base))


def test_where_it_would_be_worse_at_home_no_bundle_is_made_and_it_says_where(
    base: Path, samples: Path, tmp_path: Path
) -> None:
    """At this home it is as dark as at the site, and expressions have their usual names."""
    write_faces(tmp_path / "faces" / "train", 3, seed=30)
    home = write_faces(tmp_path / "faces" / "valid", 20, seed=3, light=DARK).parent
    sets = Sets(home=home, log=tmp_path / "log")

    with pytest.raises(
        BuildError, match=r"worse by more than 1 points: home faces/valid -.*no bundle was made"
    ):
        retrain(wish(base, samples, tmp_path / "out", sets=sets))

    assert not (tmp_path / "out").exists()
    assert "compare-bundles" in (tmp_path / "log").read_text()


def test_a_pipe_gets_json_and_the_exit_code_says_whether_the_new_one_may_take_over(
    learned: tuple[Path, subprocess.CompletedProcess[str]], base: Path, tmp_path: Path
) -> None:
    write_faces(tmp_path / "more-samples", 25, seed=6, told=HABIT, light=DARK)
    (tmp_path / "bundles").mkdir()
    (tmp_path / "bundles/current").symlink_to(base)
    new = shutil.copytree(learned[0], tmp_path / "bundles/site-2")
    make_key(tmp_path / "key")

    better = run(tmp_path, *command("Compare"), "--key", "key")
    worse = run(tmp_path, "compare-bundles", new, base, "--site", "more-samples")

    said = json.loads(better.stdout)
    assert (better.returncode, said["holds"], (new / SIGNATURE).is_file()) == (0, True, True), better.stderr
    assert said["rows"][0]["difference"]["low"] > 0
    assert any("--home" in sentence for sentence in said["absent"])
    assert (worse.returncode, json.loads(worse.stdout)["holds"]) == (1, False)
    assert "worse by more than 1 points: site more-samples -" in worse.stderr


def test_the_same_bundle_is_nowhere_better(base: Path, home: Path, tmp_path: Path) -> None:
    verdict = compare(base, base, Sets(home=home, log=tmp_path / "log"))

    assert not verdict.holds
    assert verdict.sentence() == "the new bundle is nowhere better by more than chance"
    assert verdict.rows[0].difference == Interval(0, 0, 0)


def test_a_bundle_that_lost_an_expression_is_not_compared(base: Path, home: Path) -> None:
    with pytest.raises(BuildError, match=r"does not tell sad, surprise, which"):
        compare(DEFAULT_BUNDLE, base, Sets(home=home))


def row(name: str, value: float, low: float, high: float) -> Row:
    return Row(name, "accuracy", 100, 0.5, 0.5 + value, Interval(value, low, high))


@pytest.mark.parametrize(
    ("rows", "holds"),
    [
        ([row("site", 0.05, 0.01, 0.09), row("home", -0.009, -0.02, 0.002)], True),
        ([row("site", 0.05, 0.01, 0.09), row("home", -0.011, -0.02, -0.002)], False),
        ([row("site", 0.05, -0.01, 0.11), row("home", 0.0, 0.0, 0.0)], False),
        ([row("site", 0.0, -0.01, 0.01), row("home", 0.02, 0.01, 0.03)], True),
        ([], False),
    ],
)
def test_the_verdict_asks_for_a_gain_beyond_chance_and_no_loss(rows: list[Row], holds: bool) -> None:
    assert Verdict(rows).holds is holds


def test_the_same_items_are_drawn_for_both_so_a_steady_difference_has_no_width() -> None:
    values = np.random.default_rng(0).random(50)

    made = paired(
        "x", "mean", lambda chosen: (float(values[chosen].mean()), float(values[chosen].mean()) + 0.25), 50
    )

    assert made.difference == Interval(0.25, 0.25, 0.25)


def test_an_answer_that_the_set_does_not_have_is_wrong() -> None:
    shares = np.array([[0.1, 0.9], [0.8, 0.2]])

    assert among(shares, ("happy", "sad"), ("angry", "happy", "sad")).tolist() == [2, 1]
    assert among(shares, ("happy", "sad"), ("angry", "happy")).tolist() == [OTHER, 1]
