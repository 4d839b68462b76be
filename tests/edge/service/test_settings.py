from pathlib import Path

import pytest

from oahega_edge.errors import SettingsError
from oahega_edge.service.settings import Layers, Settings, host_name, read_layers

ANSWERED = ["deployment.context=development", "device.name=kiosk"]
SUGGESTED = {
    "OAHEGA_DETECTION_FACE_SCORE": "0.5",
    "OAHEGA_DETECTION_PERSON_SCORE": "0.5",
    "OAHEGA_DETECTION_NMS_IOU": "0.5",
    "OAHEGA_SMOOTHING_FRAMES": "8",
    "OAHEGA_TRIGGER_THRESHOLD": "0.6",
}


def layers(tmp_path: Path, toml: str = "", *assignments: str, **environment: str) -> Layers:
    file = tmp_path / "edge.toml"
    file.write_text(toml)
    return read_layers(file, SUGGESTED | environment, [*ANSWERED, *assignments])


def problems(tmp_path: Path, toml: str, *assignments: str) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        layers(tmp_path, toml, *assignments).resolve()
    return str(caught.value).splitlines()


def test_the_packaged_defaults_are_complete_but_for_what_must_be_answered(tmp_path: Path) -> None:
    assert isinstance(layers(tmp_path).resolve(), Settings)


def test_the_later_layer_wins(tmp_path: Path) -> None:
    toml = "[camera]\nfps = 1\nwidth = 100\nheight = 100"

    camera = (
        layers(tmp_path, toml, "camera.fps=3", OAHEGA_CAMERA_FPS="2", OAHEGA_CAMERA_WIDTH="200")
        .resolve()
        .camera
    )

    assert (camera.fps, camera.width, camera.height) == (3, 200, 100)


def test_an_unknown_key_is_named_with_its_path_its_file_and_a_suggestion(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, "[camera]\nrotat = 90")

    assert problem.startswith("camera.rotat: unknown setting (from ")
    assert problem.endswith("edge.toml); did you mean camera.rotate?")


def test_an_unknown_section_gets_a_suggestion(tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, "[camra]\nfps = 3")

    assert problem == "camra: unknown setting; did you mean camera?"


def test_five_errors_are_named_at_once(tmp_path: Path) -> None:
    toml = """
        [camera]
        rotate = 45
        fps = "fast"
        [trigger]
        threshold = 1.5
        [smoothing]
        frames = 0
        [mqtt]
        prot = 1883
    """
    lines = problems(tmp_path, toml.replace("        ", ""))

    # SUGGESTED sets frames and threshold through the environment, which is stronger
    assert [line.split()[0].rstrip(":") for line in lines] == ["camera.fps", "camera.rotate", "mqtt.prot"]

    lines = problems(tmp_path, toml.replace("        ", ""), "trigger.threshold=1.5", "smoothing.frames=0")

    assert [line.split()[0].rstrip(":") for line in lines] == [
        "camera.fps",
        "camera.rotate",
        "mqtt.prot",
        "smoothing.frames",
        "trigger.threshold",
    ]


@pytest.mark.parametrize("context", ["workplace", "education"])
def test_where_the_law_forbids_it_the_settings_are_refused_with_the_reason(
    tmp_path: Path, context: str
) -> None:
    (problem,) = problems(tmp_path, "", f"deployment.context={context}")

    assert "article 5(1)(f)" in problem


def test_the_deployment_must_be_answered() -> None:
    with pytest.raises(SettingsError, match="say where the device watches"):
        read_layers(Path("/dev/null"), SUGGESTED, []).resolve()


@pytest.mark.parametrize(
    ("text", "reason"), [("[camera", "is not TOML"), ("fps = 3", "outside of a"), (None, "cannot be read")]
)
def test_a_file_that_is_no_settings_file_is_named(tmp_path: Path, text: str | None, reason: str) -> None:
    file = tmp_path / "edge.toml"
    if text is not None:
        file.write_text(text)

    with pytest.raises(SettingsError, match=reason):
        read_layers(file, {}, [])


def test_an_assignment_without_a_section_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"section\.key=value"):
        read_layers(Path("/dev/null"), {}, ["fps=3"])


def test_variables_of_other_programs_are_not_ours(tmp_path: Path) -> None:
    assert layers(tmp_path, OAHEGA_SHARED="/somewhere").resolve()


@pytest.mark.parametrize(
    ("host", "name"),
    [("Kiosk_7.example.org", "kiosk-7"), ("raspberrypi", "raspberrypi"), ("___", "oahega-edge")],
)
def test_a_device_is_named_after_its_host(host: str, name: str) -> None:
    assert host_name(host) == name


@pytest.mark.parametrize("roi", ["[0.5, 0, 0.5, 1]", "[0, 0, 1]", "[0, 0, 1, 2]"])
def test_a_region_must_not_be_empty_or_outside(tmp_path: Path, roi: str) -> None:
    assert problems(tmp_path, f"[camera]\nroi = {roi}")[0].startswith("camera.roi")


def test_an_instance_has_its_own_file_over_the_common_one_and_its_own_name(tmp_path: Path) -> None:
    (tmp_path / "edge.toml").write_text('[device]\nname = "hall"\n[camera]\nsource = "0"\nfps = 7.0\n')
    (tmp_path / "left.toml").write_text('[camera]\nsource = "/dev/video2"\n')
    (tmp_path / "right.toml").write_text('[device]\nname = "door"\n')

    def of(instance: str | None) -> tuple[str, str, float]:
        layers = read_layers(None, SUGGESTED, ANSWERED[:1], instance=instance, folder=tmp_path)
        settings = layers.resolve()
        return settings.device.name, settings.camera.source.get_secret_value(), settings.camera.fps

    assert of(None) == ("hall", "0", 7.0)
    assert of("left") == ("hall-left", "/dev/video2", 7.0)
    assert of("right") == ("door", "0", 7.0)
    assert of("middle") == ("hall-middle", "0", 7.0)


@pytest.mark.parametrize("name", ["", "../edge", "Left", "a b", "-left", "x" * 64])
def test_the_name_of_an_instance_is_a_plain_word(name: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="an instance is called by"):
        read_layers(None, {}, [], instance=name, folder=tmp_path)
