"""A few pictures become a bundle that a device loads, or one clear sentence."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from drawn_faces import LOOKS, draw_face
from oahega_build.errors import BuildError, DataError, ExportError
from oahega_build.models.operators import read_operators
from oahega_build.pictures.framing import Framing
from oahega_build.teach.faces import read_faces
from oahega_build.teach.last_layer import Classifier, Head
from oahega_build.teach.memory import remember, summarized
from oahega_build.whole.teach import Wish, teach
from oahega_edge.bundles.load import DEFAULT_BUNDLE, load_bundle, self_test
from oahega_edge.chain.classifier import EmotionClassifier
from oahega_edge.chain.detection import Detection
from oahega_edge.chain.geometry import Box
from oahega_edge.errors import BundleError
from oahega_edge.runtimes import open_model
from processes import environment
from waiting import PATIENCE, wait_until

pytestmark = pytest.mark.training

SHOWN = {"Überrascht!": "surprise", "tongue out": "ahegao", "just looking": "neutral"}
LABELS = ("just-looking", "tongue-out", "überrascht")
EACH = 12


def write_faces(root: Path, each: int = EACH, shown: dict[str, str] = SHOWN, seed: int = 1) -> Path:
    """Face crops of 48 pixels, a folder per class."""
    rng = np.random.default_rng(seed)
    for folder, look in shown.items():
        (root / folder).mkdir(parents=True)
        for i in range(each):
            face = cv2.cvtColor(draw_face(LOOKS[look], 48, rng), cv2.COLOR_RGB2BGR)
            cv2.imwrite(str(root / folder / f"{i:02d} ä.png"), face)
    return root


def shuffled(root: Path) -> Path:
    """The same pictures in wrong folders."""
    files = sorted(root.glob("*/*"))
    for file, place in zip(files, np.random.default_rng(0).permutation(len(files)), strict=True):
        file.rename(files[place].parent / f"of {file.parent.name} {file.name}")
    return root


def wish(pictures: Path, out: Path, **changes: object) -> Wish:
    """Of the last layer alone, which takes seconds."""
    usual = {"base": DEFAULT_BUNDLE, "name": "mine", "version": "1", "head_only": True}
    return Wish(out, pictures=pictures, **{**usual, **changes})  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_faces(tmp_path_factory.mktemp("meine Bilder ü") / "faces")


@pytest.fixture(scope="module")
def bundle(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return teach(wish(pictures, tmp_path_factory.mktemp("out") / "taught"))


def test_a_device_loads_the_bundle_and_reads_the_new_classes(bundle: Path) -> None:
    loaded = load_bundle(bundle)
    entry = loaded.manifest.emotion
    assert entry.second_crop is None  # it is mirrored, and a wink has a side
    model = open_model(loaded.file(entry.cpu), entry.outputs, entry.input)
    rng = np.random.default_rng(99)
    looks = dict(zip(LABELS, ("neutral", "ahegao", "surprise"), strict=True))

    answers = EmotionClassifier(entry, model)
    right = [
        answers.labels[int(answers(draw_face(LOOKS[look], 48, rng), Framing().box).argmax())] == label
        for label, look in looks.items()
        for _ in range(10)
    ]
    worst = self_test(entry, model)
    model.close()

    assert entry.labels == LABELS
    assert worst <= 1
    assert np.mean(right) > 0.6


def test_the_trunk_keeps_every_byte_and_the_file_is_int8_throughout(bundle: Path) -> None:
    before = read_operators(DEFAULT_BUNDLE / "emotion.tflite")
    after = read_operators(bundle / "emotion.tflite")

    layer = next(i for i in reversed(range(len(after))) if after[i].name == "CONV_2D")
    assert [o.name for o in after] == [o.name for o in before]
    for old, new in zip(before[:layer], after[:layer], strict=True):
        assert [(t.shape, t.data, t.scales) for t in old.inputs] == [
            (t.shape, t.data, t.scales) for t in new.inputs
        ]
    assert after[layer].inputs[1].shape[0] == len(LABELS)
    assert {t.dtype for o in after for t in (*o.inputs, *o.outputs)} == {"int8", "int32"}


def test_the_card_says_how_good_it_is_and_on_what_it_stands(bundle: Path) -> None:
    card = (bundle / "MODEL_CARD.md").read_text()

    assert "| cross validated balanced accuracy | " in card
    assert f"| faces überrascht | {EACH} |" in card
    assert "own pictures: 36 faces in 3 classes; terms not stated" in card


@pytest.mark.lengthy
def test_the_balanced_accuracy_is_the_first_line(pictures: Path, tmp_path: Path) -> None:
    done = run(pictures, tmp_path / "out")

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0].startswith("balanced accuracy ")
    assert done.stdout.splitlines()[-1] == str(tmp_path / "out")


def test_wrong_labels_make_no_bundle_unless_anyway(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = shuffled(write_faces(tmp_path / "faces"))

    with pytest.raises(BuildError, match=r"recognized better than by guessing.*add different pictures"):
        teach(wish(wrong, tmp_path / "out"))

    assert not (tmp_path / "out").exists()
    assert " is taken for " in capsys.readouterr().out
    assert load_bundle(teach(wish(wrong, tmp_path / "out", anyway=True))).manifest.emotion.labels == LABELS


def test_an_older_bundle_is_replaced_and_anything_else_is_not(pictures: Path, tmp_path: Path) -> None:
    out = tmp_path / "current"
    shutil.copytree(DEFAULT_BUNDLE, tmp_path / "bundle")
    out.symlink_to("bundle")
    teach(wish(pictures, out, version="2"))
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "letter.txt").write_text("dear")

    with pytest.raises(BuildError, match="holds something that is no bundle"):
        teach(wish(pictures, tmp_path / "home"))

    assert out.is_symlink()
    assert load_bundle(tmp_path / "bundle").identity == "mine-2"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bundle", "current", "home"]
    assert [p.name for p in (tmp_path / "home").iterdir()] == ["letter.txt"]
    with pytest.raises(BuildError, match="would replace what it is made from"):
        teach(wish(pictures, out, base=out))


def no_classes(root: Path) -> None:
    root.mkdir()


def one_class(root: Path) -> None:
    write_faces(root, shown={"wink": "happy"})


def one_picture(root: Path) -> None:
    write_faces(root, each=1)


def an_empty_class(root: Path) -> None:
    write_faces(root)
    (root / "yawn").mkdir()


def no_face(root: Path) -> None:
    write_faces(root)
    (root / "yawn").mkdir()
    for i in range(4):
        cv2.imwrite(str(root / "yawn" / f"{i}.png"), np.full((240, 320, 3), 60 + i, np.uint8))


def broken_pictures(root: Path) -> None:
    write_faces(root)
    (root / "yawn").mkdir()
    for i in range(4):
        (root / "yawn" / f"{i}.jpg").write_bytes(b"\xff\xd8no picture")


def only_a_text(root: Path) -> None:
    write_faces(root)
    (root / "yawn").mkdir()
    (root / "yawn" / "notes.txt").write_text("look at these")


@pytest.mark.parametrize(
    ("made", "sentence"),
    [
        (no_classes, r"holds 0 class folders \(none\); give a folder per expression"),
        (one_class, r"holds 1 class folders \(wink\)"),
        (one_picture, r"gives 1 face, a class needs at least 3"),
        (an_empty_class, r"yawn gives no faces"),
        (no_face, r"yawn gives no faces.*4 x picture with no face, left out: yawn/0\.png"),
        (broken_pictures, r"yawn gives no faces.*4 x picture that cannot be read"),
        (only_a_text, r"yawn gives no faces.*file ending in \.txt, passed over: notes\.txt"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_pictures_from_which_nothing_can_be_learnt(made, sentence: str, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    made(tmp_path / "faces")

    with pytest.raises(DataError, match=sentence):
        teach(wish(tmp_path / "faces", tmp_path / "out"))

    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("broken", ["manifest.json", "emotion.tflite"])
def test_a_broken_base_is_named(broken: str, pictures: Path, tmp_path: Path) -> None:
    shutil.copytree(DEFAULT_BUNDLE, tmp_path / "base")
    with (tmp_path / "base" / broken).open("r+b") as file:
        file.truncate(1000)

    with pytest.raises(BundleError, match=broken):
        teach(wish(pictures, tmp_path / "out", base=tmp_path / "base"))


@pytest.mark.lengthy
def test_a_full_disk_is_one_sentence_and_leaves_nothing(pictures: Path, tmp_path: Path) -> None:
    """The largest file that the process may write is smaller than the detector's."""
    done = run(
        pictures,
        tmp_path / "out",
        before="import resource as r; r.setrlimit(r.RLIMIT_FSIZE, (500_000,) * 2);",
    )

    assert done.returncode == 1
    assert (
        done.stderr.strip()
        .splitlines()[-1]
        .startswith(f"oahega_build: {tmp_path / 'out'} cannot be written: ")
    )
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.lengthy
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_run_leaves_no_half_bundle_and_the_next_one_cleans_up(
    how: signal.Signals, pictures: Path, tmp_path: Path
) -> None:
    out, making = tmp_path / "out", tmp_path / ".out.making"
    process = subprocess.Popen(command(pictures, out), env=environment(), stdout=subprocess.DEVNULL)
    wait_until(lambda: making.exists() or process.poll() is not None)
    process.send_signal(how)
    process.wait(PATIENCE)

    assert not out.exists() or load_bundle(out)
    assert load_bundle(teach(wish(pictures, out)))
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_faces_of_one_clip_one_folder_and_near_copies_stay_together(tmp_path: Path) -> None:
    root = write_faces(tmp_path / "faces", each=3, shown={"a": "happy", "b": "sad"})
    shutil.copytree(
        write_faces(tmp_path / "anna", each=3, shown={"x": "happy"}, seed=2) / "x", root / "a" / "anna"
    )
    first = sorted((root / "b").iterdir())[0]
    shutil.copy(first, root / "b" / "copy.png")
    write_clip(root / "b" / "clip.avi")

    faces = read_faces(root, load_bundle(DEFAULT_BUNDLE).manifest.emotion, lambda pixels: [])

    groups: dict[int, set[str]] = {}
    for name, group in zip(faces.names, faces.groups.tolist(), strict=True):
        groups.setdefault(group, set()).add(name.split("#")[0])
    assert {"b/clip.avi"} in groups.values()
    assert {f"b/{first.name}", "b/copy.png"} in groups.values()
    assert {name for name in faces.names if name.startswith("a/anna/")} in groups.values()
    assert sum(name.startswith("b/clip.avi#") for name in faces.names) == 4


def test_a_video_that_is_read_in_part_is_named(tmp_path: Path) -> None:
    root = write_faces(tmp_path, each=3, shown={"a": "happy", "b": "sad"})
    write_clip(root / "a" / "long.avi", frames=61 * 5)
    write_clip(root / "b" / "whole.avi", frames=60 * 5)

    faces = read_faces(root, load_bundle(DEFAULT_BUNDLE).manifest.emotion, lambda pixels: [])

    assert [name.count("#") for name in faces.names].count(1) == 120
    assert faces.problems == ["1 x video of which only the first 60 faces are read: a/long.avi"]


def write_clip(path: Path, frames: int = 20) -> None:
    rng = np.random.default_rng(5)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (96, 96))
    for _ in range(frames):
        writer.write(draw_face(LOOKS["sad"], 96, rng))
    writer.release()


def test_a_class_that_rests_on_one_clip_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_faces(tmp_path / "faces", shown={"surprise": "surprise", "neutral": "neutral"})
    (root / "wink").mkdir()
    shutil.copytree(write_faces(tmp_path / "w", shown={"w": "ahegao"}, seed=4) / "w", root / "wink" / "anna")

    teach(wish(root, tmp_path / "out", anyway=True))

    assert "wink rests on one clip or person alone" in capsys.readouterr().out


def test_large_pictures_need_exactly_one_face(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for label in ("a", "b"):
        (tmp_path / label).mkdir()
        for i, level in enumerate((60, 70, 80, 150, 250)):
            picture = np.random.default_rng(i).integers(0, 255, (200, 300, 3), np.uint8)
            picture[0, 0] = level
            cv2.imwrite(str(tmp_path / label / f"{i}.png"), picture)
    one = Detection("face", Box(0.3, 0.2, 0.5, 0.6), 0.9)
    found = {150: [one, one], 250: []}

    faces = read_faces(
        tmp_path, load_bundle(DEFAULT_BUNDLE).manifest.emotion, lambda p: found.get(int(p[0, 0, 0]), [one])
    )

    assert len(faces.truth) == 6
    assert faces.problems == [
        "2 x picture with several faces, left out: a/3.png, b/3.png",
        "2 x picture with no face, left out: a/4.png, b/4.png",
    ]


@pytest.fixture(scope="module")
def remembering(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of angry, happy and neutral drawn faces that remembers them."""
    folder = tmp_path_factory.mktemp("remembering")
    shown = {look: look for look in ("angry", "happy", "neutral")}
    base = teach(wish(write_faces(folder / "faces", 100, shown), folder / "base"))
    remember(base, folder / "faces")
    return base


@pytest.mark.lengthy
def test_kept_classes_need_no_pictures_and_a_new_one_joins_them(remembering: Path, tmp_path: Path) -> None:
    tongue = write_faces(tmp_path / "faces", shown={"tongue": "ahegao"})

    bundle = load_bundle(teach(wish(tongue, tmp_path / "out", base=remembering, keep="happy, angry=furious")))

    entry = bundle.manifest.emotion
    model = open_model(bundle.file(entry.cpu), entry.outputs, entry.input)
    classifier = EmotionClassifier(entry, model)
    rng = np.random.default_rng(7)
    looks = {"furious": "angry", "happy": "happy", "tongue": "ahegao"}
    right = [
        classifier.labels[int(classifier(draw_face(LOOKS[look], 48, rng), Framing().box).argmax())] == label
        for label, look in looks.items()
        for _ in range(10)
    ]
    model.close()
    assert entry.labels == ("furious", "happy", "tongue")
    assert entry.card.metrics["kept"] == "happy, furious"
    assert np.mean(right) > 0.6


@pytest.mark.parametrize(
    ("keep", "sentence"),
    [
        ("yawn", "the base knows no 'yawn' to keep; it knows angry, happy, neutral"),
        ("happy,angry=tongue", "tongue would be there twice"),
        ("happy,angry=happy", "happy would be there twice"),
        ("happy=7", "a label begins with a letter"),
    ],
)
@pytest.mark.lengthy
def test_what_cannot_be_kept_is_named(keep: str, sentence: str, remembering: Path, tmp_path: Path) -> None:
    tongue = write_faces(tmp_path / "faces", each=3, shown={"tongue": "ahegao"})

    with pytest.raises(DataError, match=sentence):
        teach(wish(tongue, tmp_path / "out", base=remembering, keep=keep))


@pytest.mark.lengthy
def test_a_base_that_remembers_nothing_or_nonsense_is_named(
    bundle: Path, remembering: Path, pictures: Path, tmp_path: Path
) -> None:
    with pytest.raises(BuildError, match="remembers no class"):
        teach(wish(pictures, tmp_path / "out", base=bundle, keep="tongue-out"))

    base = shutil.copytree(remembering, tmp_path / "base")
    for content in (b"", (base / "features.npz").read_bytes()[:-4000], b"no archive" * 100):
        (base / "features.npz").write_bytes(content)
        with pytest.raises(BuildError, match=r"features\.npz cannot be read"):
            teach(wish(pictures, tmp_path / "out", base=base, keep="happy"))


def test_a_memory_draws_what_it_was_made_of() -> None:
    rng = np.random.default_rng(0)
    mixing = rng.normal(0, 0.2, (3, 40))
    features = {"a": 5 + rng.normal(size=(500, 3)) @ mixing, "b": 8 + rng.normal(0, 0.1, (500, 40))}

    memory = summarized(features)

    drawn = memory.draw("a", 4000)
    assert np.allclose(drawn.mean(axis=0), features["a"].mean(axis=0), atol=0.05)
    assert np.allclose(np.cov(drawn.T), np.cov(features["a"].T), atol=0.05)
    assert np.array_equal(drawn, memory.draw("a", 4000))


def test_too_few_faces_to_remember_are_refused(bundle: Path, pictures: Path, tmp_path: Path) -> None:
    base = shutil.copytree(bundle, tmp_path / "base")

    with pytest.raises(DataError, match="has 12 faces, at least 100 are needed"):
        remember(base, pictures)
    with pytest.raises(DataError, match="give faces of the same classes"):
        remember(base, write_faces(tmp_path / "others", each=1, shown={"a": "happy", "b": "sad"}))

    assert not (base / "features.npz").exists()


@pytest.mark.parametrize("labels", [2, 3, 9])
def test_the_file_answers_as_the_layer_that_was_asked_for(labels: int) -> None:
    classifier = Classifier((DEFAULT_BUNDLE / "emotion.tflite").read_bytes())
    rng = np.random.default_rng(labels)
    tensors = [rng.integers(-128, 128, classifier.input_shape, np.int8) for _ in range(20)]
    features = classifier.features(tensors)
    head = Head(rng.normal(0, 0.5, (labels, features.shape[1])), rng.normal(0, 1, labels))

    content = classifier.with_head(head, features)

    assert np.allclose(
        Classifier(content).logits(tensors), head(features), atol=0.03 * np.abs(head(features)).max()
    )


def test_a_network_that_ends_in_something_else_is_refused() -> None:
    content = (DEFAULT_BUNDLE / "detector.tflite").read_bytes()

    with pytest.raises(ExportError, match="does not end in one linear layer"):
        Classifier(content)
    with pytest.raises(ExportError, match="not a usable TFLite file"):
        Classifier(content[:5000])


@pytest.mark.lengthy
def test_no_tensorflow_is_needed(pictures: Path, tmp_path: Path) -> None:
    """As on a device that has the extra `teach` alone."""
    absent = "import sys; sys.modules.update(dict.fromkeys(('tensorflow', 'keras', 'matplotlib', 'optuna')));"

    done = run(pictures, tmp_path / "out", before=absent, more=())

    assert done.returncode == 0, done.stderr
    assert "not tried: TensorFlow is not installed" in done.stdout
    assert "pip install 'oahega-edge[build]'" in done.stdout


def command(pictures: Path, out: Path, before: str = "", more: Sequence[str] = ("--head-only",)) -> list[str]:
    code = f"{before}from oahega_build.cli import main; main()"
    return [sys.executable, "-c", code, "teach", "--pictures", str(pictures), "--out", str(out), *more]


def run(
    pictures: Path, out: Path, before: str = "", more: Sequence[str] = ("--head-only",)
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(pictures, out, before, more), env=environment(), capture_output=True, text=True, check=False
    )
