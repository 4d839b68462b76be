from pathlib import Path

import pytest
from pydantic import Secret

from oahega_edge.errors import SettingsError
from oahega_edge.samples.keys import PRIVATE, PUBLIC, key_text
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


def text_of(settings: Settings, section: str, key: str) -> str:
    value = getattr(getattr(settings, section), key)
    return str(value.get_secret_value() if isinstance(value, Secret) else value)


TYPED = [
    ("camera.source", "0"),
    ("camera.source", "007"),
    ("mqtt.username", "1234"),
    ("mqtt.username", "1e3"),
    ("mqtt.username", "true"),
    ("mqtt.username", "[kiosk]"),
    ("mqtt.host", "10.0"),
    ("mqtt.root", "2026"),
    ("device.name", "42"),
    ("bundle.path", "2026-11-24"),
    ("bundle.path", "12:30:00"),
    ("store.path", "1_000"),
    ("runtime.python", "0x10"),
]


@pytest.mark.parametrize(("name", "text"), TYPED)
def test_text_that_looks_like_something_else_stays_text(tmp_path: Path, name: str, text: str) -> None:
    section, key = name.split(".")
    variable = {f"OAHEGA_{section}_{key}".upper(): text}

    by_set = layers(tmp_path, "", f"{name}={text}").resolve()
    quoted = layers(tmp_path, "", f'{name}="{text}"').resolve()
    by_variable = read_layers(Path("/dev/null"), variable, []).merged()

    assert text_of(by_set, section, key) == text_of(quoted, section, key) == text
    assert by_variable[section][key] == (text, "environment")


def test_a_bundle_called_by_a_date_is_the_one_that_is_taken(tmp_path: Path) -> None:
    assert layers(tmp_path, "", "bundle.path=2026-11-24").bundle_path() == Path("2026-11-24")


@pytest.mark.parametrize("value", ["0", "2026-11-24", "true", "1.5"])
def test_a_settings_file_that_lacks_the_quotes_is_told_so(tmp_path: Path, value: str) -> None:
    (problem,) = problems(tmp_path, f"[camera]\nsource = {value}")

    assert problem.startswith("camera.source = ")
    assert f'write it in quotes: source = "{value}"' in problem.replace("True", "true")


def test_numbers_and_lists_are_still_read_as_such(tmp_path: Path) -> None:
    settings = layers(
        tmp_path, "", "camera.fps=10", "camera.mirror=true", "detection.masks=[[0, 0, 0.5, 1]]"
    ).resolve()

    assert (settings.camera.fps, settings.camera.mirror) == (10, True)
    assert settings.detection.masks == ((0, 0, 0.5, 1),)


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("", ""),
        ("broker.lan", "broker.lan"),
        ("[::1]", "::1"),
        ("fe80::1%eth0", "fe80::1%eth0"),
        ("10", "10"),
    ],
)
def test_the_broker_is_a_host(tmp_path: Path, text: str, host: str) -> None:
    assert layers(tmp_path, "", f"mqtt.host={text}").resolve().mqtt.host == host


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("mqtt://127.0.0.1", 'mqtt.host = "127.0.0.1", mqtt.port = 1883'),
        ("mqtts://broker.lan/", 'mqtt.host = "broker.lan", mqtt.port = 8883, mqtt.tls = "on"'),
        ("127.0.0.1:1884", 'mqtt.host = "127.0.0.1", mqtt.port = 1884'),
        ("[::1]:1884", 'mqtt.host = "::1", mqtt.port = 1884'),
        ("ws://broker:9001", "only mqtt:// and mqtts:// are spoken"),
        ("broker lan", "write host, host:port or [IPv6]:port"),
        ("broker:mqtt", "write host, host:port or [IPv6]:port"),
    ],
)
def test_an_address_in_place_of_the_host_is_refused_with_the_settings_for_it(
    tmp_path: Path, text: str, remedy: str
) -> None:
    (problem,) = problems(tmp_path, "", f'mqtt.host="{text}"')

    assert problem.startswith("mqtt.host = ")
    assert remedy in problem


RECIPIENT = key_text(PUBLIC, bytes(range(32)))
PAGE = "page.port=8321"


def asking(consent: str, context: str, *more: str) -> list[str]:
    return [
        f"samples.consent={consent}",
        f"samples.recipient={RECIPIENT}",
        PAGE,
        f"deployment.context={context}",
        *more,
    ]


@pytest.mark.parametrize(
    ("consent", "context", "is_allowed"),
    [
        ("asked-at-the-device", "art", True),
        ("asked-at-the-device", "research", True),
        ("asked-at-the-device", "development", True),
        ("asked-at-the-device", "public-space", False),
        ("asked-at-the-device", "own-home", False),
        ("written", "research", True),
        ("written", "development", True),
        ("written", "art", False),
        ("written", "public-space", False),
        ("written", "own-home", False),
        ("off", "public-space", True),
    ],
)
def test_samples_are_taken_only_where_people_can_agree(
    consent: str, context: str, is_allowed: bool, tmp_path: Path
) -> None:
    if is_allowed:
        assert layers(tmp_path, "", *asking(consent, context)).resolve().samples.consent == consent
        return

    (problem,) = problems(tmp_path, "", *asking(consent, context))
    assert problem.startswith(f"samples.consent = {consent!r} (from --set)")
    assert f"is impossible where deployment.context is {context!r}" in problem


@pytest.mark.parametrize("context", ["workplace", "education"])
def test_no_consent_makes_a_forbidden_place_lawful(context: str, tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, "", *asking("written", context))

    assert "article 5(1)(f)" in problem


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["trigger.min_group=3"], "does not go with trigger.min_group"),
        (["page.port=0"], "needs the device's page"),
        (["samples.recipient="], "is needed; make a key"),
        ([f"samples.recipient={RECIPIENT[:-1]}"], "was cut off or mistyped"),
        ([f"samples.recipient={key_text(PRIVATE, bytes(32))}"], "is no key of samples"),
        (["samples.most=0"], "samples.most = 0"),
        (["samples.days=366"], "samples.days = 366"),
        (["samples.consent=yes"], "samples.consent = 'yes'"),
    ],
)
def test_a_contradiction_about_samples_is_one_sentence(more: list[str], said: str, tmp_path: Path) -> None:
    (problem,) = problems(tmp_path, "", *asking("asked-at-the-device", "art", *more))

    assert said in problem
    assert "secret-sample-key" not in problem


def test_by_default_no_samples_are_taken(tmp_path: Path) -> None:
    assert layers(tmp_path).resolve().samples.consent == "off"
