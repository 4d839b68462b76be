"""The verbs: on standard output tables on a terminal, JSON lines in a pipe; prose on standard error."""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import oahega_edge
from oahega_edge.child import forbid_dumps
from oahega_edge.errors import EdgeError
from oahega_edge.secret import holds_secret, masked
from oahega_edge.service.settings import Layers, Settings, read_layers, read_password
from oahega_edge.stopping import stopped_by_signals

if TYPE_CHECKING:
    from oahega_edge.chain.pipeline import Pipeline
    from oahega_edge.publishers.broker import BrokerOptions

_log = logging.getLogger("oahega_edge")

app = typer.Typer(
    name="oahega-edge",
    help="Facial expressions from a camera to MQTT.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

ConfigOption = Annotated[
    Path | None, typer.Option("--config", "-c", help="Settings file instead of /etc/oahega-edge/edge.toml.")
]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", "-s", metavar="KEY=VALUE", help="Override one setting.")
]
OwnInstanceOption = Annotated[
    str | None,
    typer.Option(
        "--instance",
        "-i",
        metavar="NAME",
        help="One of several daemons on this device; it also reads /etc/oahega-edge/NAME.toml.",
    ),
]
InstanceOption = Annotated[
    str | None,
    typer.Option("--instance", "-i", metavar="NAME", help="One of several daemons; without it, all."),
]


JsonOption = Annotated[bool, typer.Option("--json", help="JSON as in a pipe, also on a terminal.")]


def _no_secret(source: str | None) -> str | None:
    if source and holds_secret(source):
        raise typer.BadParameter(
            "a login in a command line can be read by every user; write the address into a settings file"
        )
    return source


SourceArgument = Annotated[
    str, typer.Argument(help="A video, GIF, picture, folder, stream or camera.", callback=_no_secret)
]

NOT_ANSWERED = ("deployment: is not set", "deployment.context: is not set")
"""Beginning of the only error for which `config` still prints the settings."""
OFFLINE_VERB = "deployment.context=development"
"""`replay` and `bench` read files that the user chose; only `run` must say where the device is deployed."""


def main() -> None:
    """Run the verb; a foreseen failure is one line (several for settings) and its exit code."""
    try:
        app()
    except EdgeError as error:
        _complain(error)
        raise SystemExit(error.exit_code) from None
    except BrokenPipeError:
        # The reader of our output has gone; Python would complain once more when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None


@app.callback(invoke_without_command=True)
def version(
    show: Annotated[bool, typer.Option("--version", help="Print the release and exit.")] = False,
) -> None:
    """Facial expressions from a camera to MQTT."""
    if show:
        print(oahega_edge.__version__)
        raise typer.Exit


@app.command()
def run(config: ConfigOption = None, settings: SetOption = None, instance: OwnInstanceOption = None) -> None:
    """Watch the camera and publish events until stopped."""
    with stopped_by_signals(at_once=True) as stop:
        from oahega_edge.service.assembly import make_daemon, read_lasting_setup

        forbid_dumps()
        setup = read_lasting_setup(_layers(config, settings, instance=instance), os.environ)
        _log_to_stderr(setup.settings)
        with make_daemon(setup, os.environ, stop, instance, stop.break_nothing_off) as daemon:
            daemon.run()


@app.command()
def demo(
    source: Annotated[
        str | None,
        typer.Option(help="A camera (0) or file instead of the drawn clip.", callback=_no_secret),
    ] = None,
    settings: SetOption = None,
) -> None:
    """Broker, daemon and subscriber in one: what a subscriber receives, live."""
    from oahega_edge.tools.demo import run_demo

    logging.basicConfig(level="ERROR", format="%(message)s")  # the daemon beside us says the rest
    summary = run_demo(source, settings or [], sys.stdout)
    for sentence in summary.sentences():
        print(sentence, file=sys.stderr)


@app.command()
def replay(
    source: SourceArgument,
    annotate: Annotated[Path | None, typer.Option(metavar="OUT.mp4", help="Draw what is seen.")] = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    machine: JsonOption = False,
    as_clip: Annotated[
        bool | None,
        typer.Option(
            "--clip/--stills",
            help="Whether pictures follow on each other, or each face is judged by its one picture.",
            show_default="what the pictures look like",
        ),
    ] = None,
) -> None:
    """Send a file through the chain; events on standard output, the same on every run."""
    from oahega_edge.service.setup import read_setup
    from oahega_edge.tools.replay import replay_source

    setup = read_setup(_layers(config, settings, OFFLINE_VERB))
    _log_to_stderr(setup.settings)
    summary = replay_source(setup, source, annotate, sys.stdout, machine, as_clip)
    print(summary, file=sys.stderr)


@app.command()
def read(
    pictures: Annotated[
        list[str],
        typer.Argument(metavar="PICTURE...", help="Pictures, folders of pictures, - for standard input."),
    ],
    annotate: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Draw what is seen into copies in this folder.")
    ] = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    machine: JsonOption = False,
) -> None:
    """Read the faces of unrelated pictures: a table for people, JSON lines in a pipe."""
    from oahega_edge.service.setup import read_setup
    from oahega_edge.tools.read import read_pictures

    setup = read_setup(_layers(config, settings, OFFLINE_VERB))
    _log_to_stderr(setup.settings)
    summary = read_pictures(setup, pictures, sys.stdout, _complain, annotate, machine)
    print(summary, file=sys.stderr)
    if summary.failed:
        raise typer.Exit(1)


@app.command()
def bench(
    source: Annotated[
        str | None,
        typer.Argument(help="A video, GIF, picture or folder; without it the demo's clip is drawn."),
    ] = None,
    steps: Annotated[int, typer.Option(min=10, help="Frames to measure.")] = 300,
    size: Annotated[
        str, typer.Option(metavar="WxH", help="Bring frames to this size first; empty: as they are.")
    ] = "640x480",
    threads: Annotated[
        int, typer.Option(min=1, help="Threads per inference; with --models, 1 up to this number.")
    ] = 1,
    models_only: Annotated[
        bool, typer.Option("--models", help="Time each model of the bundle alone, with 1..threads threads.")
    ] = False,
    gate: Annotated[
        bool, typer.Option("--gate", help="What the motion gate saves on SOURCE, a clip of an empty scene.")
    ] = False,
    config: ConfigOption = None,
    settings: SetOption = None,
    machine: JsonOption = False,
) -> None:
    """Time every stage on this machine."""
    if models_only:
        _bench_models(_layers(config, settings, OFFLINE_VERB), threads, steps, machine)
        return
    if gate:
        assignments = [f"runtime.threads={threads}", *(settings or [])]
        _bench_gate(_layers(config, assignments, OFFLINE_VERB), source, steps, machine)
        return
    from oahega_edge.service.assembly import make_camera, make_identity, make_stamp
    from oahega_edge.service.engine import Engine
    from oahega_edge.service.setup import read_setup
    from oahega_edge.stopwatch import Stopwatch
    from oahega_edge.tools.bench import as_table, run_bench
    from oahega_edge.tools.demo_clip import write_demo_clip

    layers = _layers(config, [f"runtime.threads={threads}", *(settings or [])], OFFLINE_VERB)
    setup = read_setup(layers)
    with ExitStack() as stack:
        if source is None:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="oahega-bench-"))
            source = str(write_demo_clip(Path(folder) / "demo.mp4"))
        camera = make_camera(setup.settings, source)
        engine = stack.enter_context(Engine(setup, Stopwatch()))
        stamp = make_stamp(make_identity(setup.settings), engine.bundle)
        result = run_bench(camera, engine.pipeline, stamp, steps=steps, size=_size(size))
    _show(as_table(result), result.as_json(), machine)


def _bench_gate(layers: Layers, source: str | None, steps: int, machine: bool) -> None:
    from oahega_edge.bundles.models import Models
    from oahega_edge.chain.motion import MotionGate, OpenGate
    from oahega_edge.service.assembly import make_camera
    from oahega_edge.service.chains import make_pipeline
    from oahega_edge.service.engine import runtime_options
    from oahega_edge.service.setup import read_setup
    from oahega_edge.stopwatch import Stopwatch
    from oahega_edge.tools.bench_gate import bench_gate

    if source is None:
        raise typer.BadParameter("--gate needs a SOURCE: a clip of the empty scene")
    setup = read_setup(layers)
    gates = MotionGate(setup.settings.motion.look_every_ms / 1000), OpenGate()
    with Models(setup.bundle, runtime_options(setup)) as models:

        def new_pipeline() -> Pipeline:
            return make_pipeline(setup.bundle, models, setup.settings, Stopwatch())

        times = bench_gate(make_camera(setup.settings, source), new_pipeline, gates, steps=steps)
    _show(times.as_text(), times.as_json(), machine)


def _bench_models(layers: Layers, threads: int, runs: int, machine: bool) -> None:
    from oahega_edge.service.setup import read_setup
    from oahega_edge.tools.bench_models import as_table, described, int8_instructions, kernels, time_models

    setup = read_setup(layers)
    wanted = setup.settings.runtime.accelerator
    accelerator = "cpu" if wanted == "auto" else wanted
    times = list(time_models(setup.bundle, threads, accelerator, runs))
    table = f"{as_table(times)}\n{kernels(int8_instructions())}"
    _show(table, described(setup.bundle, times, oahega_edge.__version__), machine)


@app.command()
def check(
    camera: Annotated[
        bool | None,
        typer.Option(
            "--camera/--no-camera",
            help="Show what the camera gives, line by line, until Ctrl-C; or leave it closed.",
            show_default="one frame",
        ),
    ] = None,
    broker: Annotated[bool, typer.Option(help="Connect to the broker.")] = True,
    seconds: Annotated[float, typer.Option(min=0, help="End --camera after this long; 0: never.")] = 0,
    config: ConfigOption = None,
    settings: SetOption = None,
    instance: OwnInstanceOption = None,
    machine: JsonOption = False,
) -> None:
    """Check settings, bundle, models, camera and broker, without publishing anything."""
    from oahega_edge.service.assembly import state_of
    from oahega_edge.service.setup import read_setup
    from oahega_edge.tools.checks import Checkup, Finding, check_camera

    layers = _layers(config, settings, instance=instance)
    setup = read_setup(layers, state=state_of(layers, os.environ))
    _log_to_stderr(setup.settings)
    people = _for_people(machine)

    def say(finding: Finding) -> None:
        columns = shutil.get_terminal_size().columns
        print(finding.as_row(columns) if people else json.dumps(finding.as_json()), flush=True)
        if not people:
            print(finding.as_line(), file=sys.stderr)

    checkup = Checkup(setup, os.environ, say)
    checkup.models()
    if camera:
        with stopped_by_signals() as stop:
            for sight in checkup.mounting(check_camera(setup, seconds or float("inf"), stop)):
                print(sight.as_line() if people else json.dumps(sight.as_json()), flush=True)
    elif camera is None:
        checkup.camera(instance)
    else:
        checkup.leave_out("camera")
    if broker:
        checkup.broker()
    else:
        checkup.leave_out("broker")
    print(checkup.finish(), file=sys.stderr)


@app.command()
def tune(
    pictures: Annotated[
        Path | None,
        typer.Option(help="A folder of pictures per expression, instead of people in front of the camera."),
    ] = None,
    state: Annotated[
        Path | None,
        typer.Option(help="The device's state folder.", show_default="store.path, or systemd's"),
    ] = None,
    seconds: Annotated[float, typer.Option(min=1, help="How long an expression is to be shown.")] = 3,
    anyway: Annotated[bool, typer.Option(help="Also if faces held back are not read better.")] = False,
    undo: Annotated[bool, typer.Option(help="Go back to the bundle's own answers; the faces stay.")] = False,
    forget: Annotated[bool, typer.Option(help="Delete the faces that were kept.")] = False,
    config: ConfigOption = None,
    settings: SetOption = None,
    instance: OwnInstanceOption = None,
    machine: JsonOption = False,
) -> None:
    """Fit the answers to this place with faces of people who agree; no picture is kept."""
    from oahega_edge.tools.tune import TuneWish, run_tune

    as_it_reads = ["trigger.labels=[]", "trigger.min_group=0", "trigger.sensitivity=0"]
    layers = _layers(config, [*(settings or []), *as_it_reads], OFFLINE_VERB, instance=instance)
    wish = TuneWish(pictures, seconds, anyway, undo, forget)
    result = run_tune(wish, layers, state, os.environ, instance, _input, _say)
    _give(result, machine)


@app.command(name="config")
def show_config(
    config: ConfigOption = None,
    settings: SetOption = None,
    instance: OwnInstanceOption = None,
    machine: JsonOption = False,
) -> None:
    """Print every setting with where it comes from."""
    from oahega_edge.errors import SettingsError
    from oahega_edge.service.setup import read_setup

    layers = _layers(config, settings, instance=instance)
    unanswered: SettingsError | None = None
    try:
        setup = read_setup(layers)
    except SettingsError as error:
        if not str(error).startswith(NOT_ANSWERED) or "\n" in str(error):
            raise
        unanswered = error
        setup = read_setup(_layers(config, settings, OFFLINE_VERB, instance=instance))
    values = setup.settings.model_dump(mode="json")
    origins = setup.layers.with_suggestions(setup.bundle.manifest).merged()
    described = {
        section: {key: {"value": value, "from": origins[section][key][1]} for key, value in keys.items()}
        for section, keys in values.items()
    }
    if unanswered is not None:
        described["deployment"]["context"] = {"value": None, "from": "not set"}
    if not _for_people(machine):
        print(json.dumps(described))
    else:
        for section, keys in described.items():
            for key, entry in keys.items():
                print(
                    f"{section}.{key} = {json.dumps(entry['value'], ensure_ascii=False)}  ({entry['from']})"
                )
    if unanswered is not None:
        raise unanswered


@app.command()
def page(config: ConfigOption = None, settings: SetOption = None, instance: OwnInstanceOption = None) -> None:
    """Serve the device's own page, which shows what the running daemon sees."""
    from oahega_edge.child import bare_environment
    from oahega_edge.page.command import page_command
    from oahega_edge.service.setup import settings_without_bundle

    chosen = settings_without_bundle(_layers(config, settings, instance=instance))
    command = page_command(chosen, os.environ, instance)
    # Another program in this process: without the models and settings it takes half of the memory.
    os.execve(command[0], command, bare_environment())


@app.command()
def listen(
    broker: Annotated[str, typer.Argument(metavar="BROKER", help="host, host:port or mqtts://host.")],
    root: Annotated[str, typer.Option(help="Beginning of the topics.")] = "oahega/v1",
    device: Annotated[str, typer.Option(help="One device; + for all.")] = "+",
    machine: JsonOption = False,
    seconds: Annotated[float | None, typer.Option(min=0, help="End after this long.")] = None,
    username: Annotated[str, typer.Option(help="To be let in.")] = "",
    password_file: Annotated[Path | None, typer.Option(help="Holds the password.")] = None,
    ca_file: Annotated[Path | None, typer.Option(help="Trust only this authority.")] = None,
) -> None:
    """Show what a subscriber receives from a broker."""
    from oahega_edge.errors import PublishError
    from oahega_edge.tools.listen import Listener, view_for
    from oahega_edge.tools.listen import listen as listen_to

    options = _broker(broker, f"oahega-listen-{os.getpid()}", username, password_file, ca_file)
    logging.basicConfig(level="INFO", format="%(message)s", stream=sys.stderr)
    with Listener(options, root, device) as listener:
        summary = listen_to(listener, view_for(sys.stdout, lines_for_machines=machine), seconds=seconds)
    if not listener.was_connected:
        raise PublishError(
            f"never connected to {options.address}: {listener.problem or 'it did not answer in time'}"
        )
    for sentence in summary.sentences():
        print(sentence, file=sys.stderr)


@app.command()
def status(instance: InstanceOption = None, machine: JsonOption = False) -> None:
    """Ask the running daemon how it does; of several, one object with their names as keys."""
    from oahega_edge.tools.status import as_lines

    answers = _ask("status", instance)
    if _for_people(machine):
        print("\n\n".join("\n".join(as_lines(answer)) for answer in answers.values()))
    else:
        print(json.dumps(_answered(answers)))


@app.command()
def mute(instance: InstanceOption = None, machine: JsonOption = False) -> None:
    """Close the camera now; holds over restarts until `unmute`."""
    _tell("muted", _ask("mute", instance), machine)


@app.command()
def unmute(instance: InstanceOption = None, machine: JsonOption = False) -> None:
    """Open the camera again."""
    _tell("unmuted", _ask("unmute", instance), machine)


@app.command()
def showing(
    content: Annotated[
        str, typer.Argument(metavar="CONTENT", help='A name of it, e.g. poster-7; "": nothing.')
    ],
    instance: InstanceOption = None,
    machine: JsonOption = False,
) -> None:
    """Tell the daemon what the screen beside it shows now; subscribers get it as a message of the device."""
    _tell(
        f"the screen shows {content!r}" if content else "the screen shows nothing",
        _ask("showing", instance, content),
        machine,
    )


@app.command()
def mount(
    minutes: Annotated[float, typer.Option(min=0, max=60, help="For how long; 0 ends it.")] = 5,
    instance: InstanceOption = None,
    machine: JsonOption = False,
) -> None:
    """Show the camera's picture on the page, on this device only, for whoever mounts it. Mute ends it."""
    told = f"the page shows the camera's picture on this device for {minutes:g} min, or until mute"
    _tell(told if minutes else "the page shows no picture", _ask("mount", instance, minutes), machine)


@app.command()
def relearn(instance: InstanceOption = None, machine: JsonOption = False) -> None:
    """Accept how faces look now: forget the first days, learn them anew, and compare with these."""
    _tell("the first days are learned anew", _ask("relearn", instance), machine)


@app.command()
def sample(
    label: Annotated[str, typer.Argument(help="The expression that is shown, a label of the bundle.")],
    instance: InstanceOption = None,
    machine: JsonOption = False,
) -> None:
    """Keep one picture of a face, of a person who agreed in writing and is alone in view; prints a code."""
    answers = _ask("sample-record", instance, {"label": label})
    if _for_people(machine):
        for name, kept in answers.items():
            whose = f"{name}: " if len(answers) > 1 else ""
            print(f"{whose}kept until {kept['goes_on']}; the code that withdraws it is {kept['code']}")
    _give(_answered(answers), machine)


@app.command()
def samples(
    withdraw: Annotated[
        str | None, typer.Option(metavar="CODE", help="Delete the sample with this code.")
    ] = None,
    forget: Annotated[bool, typer.Option(help="Delete all samples of this device.")] = False,
    state: Annotated[
        Path | None,
        typer.Option(help="Where no daemon runs: its state folder, e.g. /var/lib/oahega-edge."),
    ] = None,
    instance: InstanceOption = None,
    machine: JsonOption = False,
) -> None:
    """How many samples lie on the device and until when; withdraw one, or delete all."""
    from oahega_edge.samples.desk import as_table, ask_folder

    if withdraw is not None and forget:
        raise typer.BadParameter("give --withdraw or --forget, not both")
    request, value = "samples", None
    if withdraw is not None:
        request, value = "samples-withdraw", {"code": withdraw}
    elif forget:
        request = "samples-forget"
    answers = _ask(request, instance, value) if state is None else {"": ask_folder(state, request, value)}
    if withdraw is not None:
        _tell("the sample is deleted", answers, machine)
    elif forget:
        _tell("all samples are deleted", answers, machine)
    elif _for_people(machine):
        print("\n\n".join(as_table(name, answer) for name, answer in answers.items()))
    else:
        _give(_answered(answers), machine)


def _no_password(store: str) -> str:
    """A user's name is no secret; a password also hides in the address's options."""
    named, _, options = store.partition("?")
    if ":" in named.partition("://")[2].rpartition("@")[0] or "password" in options.lower():
        raise typer.BadParameter(
            "a password in a command line can be read by every user; write it into ~/.pgpass or PGPASSFILE"
        )
    return store


def _archive_name(name: str) -> str:
    if re.fullmatch(r"[a-z0-9-]{1,40}", name) is None:
        raise typer.BadParameter(
            f"expected up to 40 small letters, digits and hyphens, got {name!r}; it becomes part of topics"
        )
    return name


StoreArgument = Annotated[
    str,
    typer.Argument(
        metavar="STORE", help="duckdb:FILE or postgresql://USER@HOST/DATABASE.", callback=_no_password
    ),
]


@app.command()
def archive(
    broker: Annotated[str, typer.Argument(metavar="BROKER", help="host, host:port or mqtts://host.")],
    to: Annotated[
        str,
        typer.Option(
            metavar="STORE", help="duckdb:FILE or postgresql://USER@HOST/DATABASE.", callback=_no_password
        ),
    ],
    worker: Annotated[
        int, typer.Option(min=1, help="Number of this worker; the first also reads what is retained.")
    ] = 1,
    name: Annotated[
        str,
        typer.Option(
            help="Of this archive, another one for each store that listens to the same broker: workers of "
            "one name share the events.",
            callback=_archive_name,
        ),
    ] = "archive",
    client_id: Annotated[
        str,
        typer.Option(
            help="Name of this worker's session at the broker, where the broker asks for a certain one; "
            "usually made from name and number."
        ),
    ] = "",
    leave: Annotated[
        bool,
        typer.Option(
            "--leave",
            help="Give up this worker's session: take what the broker has put aside for it, and end. The "
            "other workers get all that comes.",
        ),
    ] = False,
    root: Annotated[str, typer.Option(help="Beginning of the topics.")] = "oahega/v1",
    metrics: Annotated[
        int, typer.Option(min=0, max=65_535, help="Port of an OpenMetrics page; 0: none.")
    ] = 0,
    username: Annotated[str, typer.Option(help="To be let in.")] = "",
    password_file: Annotated[Path | None, typer.Option(help="Holds the password.")] = None,
    ca_file: Annotated[Path | None, typer.Option(help="Trust only this authority.")] = None,
    machine: JsonOption = False,
) -> None:
    """Take what all devices publish into a store, each event once, until stopped."""
    from oahega_edge.archive.address import connect
    from oahega_edge.archive.store import Store
    from oahega_edge.archive.subscription import SessionBroken, Subscription
    from oahega_edge.archive.worker import Worker

    logging.basicConfig(level="INFO", format="%(message)s", stream=sys.stderr)
    session = client_id or f"oahega-{name}-{worker}"
    options = _broker(broker, session, username, password_file, ca_file)
    with ExitStack() as stack:
        stop = stack.enter_context(stopped_by_signals())
        source = Subscription(options, root, retained=worker == 1, archive=name, gives_up=leave)
        work = Worker(source, lambda: Store(connect(to)), root, stop)
        if metrics:
            from oahega_edge.archive.metrics import Endpoint

            stack.enter_context(Endpoint(work.figures, metrics))
        work.prepare()  # tables first: a store that will never fit is found before anything arrives
        stack.enter_context(source)
        work.run()
    _say(work.figures.sentence())
    _give(asdict(work.figures), machine)
    if leave and not source.is_over:
        raise SessionBroken(f"stopped before the broker had sent all of session {session}; use --leave again")


@app.command()
def forget(
    store: StoreArgument,
    device: Annotated[str, typer.Argument(help="Name of the device.")],
    machine: JsonOption = False,
) -> None:
    """Delete everything of one device from a store."""
    from oahega_edge.archive.address import connect
    from oahega_edge.archive.store import Store

    opened = Store(connect(store))
    count = opened.forget(device)
    opened.close()
    nothing = f"nothing of {device} is in the store"
    _say(nothing if count is None else f"{device} is deleted, with {count} events")
    _give({"device": device, "events": count or 0}, machine)


@app.command()
def retain(
    store: StoreArgument,
    days: Annotated[int, typer.Option(min=1, max=36_500, help="Events and summaries older than this go.")],
    machine: JsonOption = False,
) -> None:
    """Delete old events and summaries from a store; the hourly figures stay."""
    from datetime import UTC, datetime

    from oahega_edge.archive.address import connect
    from oahega_edge.archive.store import Store

    opened = Store(connect(store))
    count = opened.retain(days, datetime.now(UTC))
    opened.close()
    _say(f"{count} events older than {days} days are deleted")
    _give({"days": days, "events": count}, machine)


@app.command()
def place(
    store: StoreArgument,
    device: Annotated[str, typer.Argument(help="Name of the device.")],
    site: Annotated[str, typer.Argument(help="Name of the place where it stands.")],
    machine: JsonOption = False,
) -> None:
    """Say at which site a device stands; figures are given by site."""
    from oahega_edge.archive.address import connect
    from oahega_edge.archive.store import Store

    opened = Store(connect(store))
    opened.place(device, site)
    opened.close()
    _say(f"{device} stands at {site}")
    _give({"device": device, "site": site}, machine)


@app.command()
def insight(
    store: StoreArgument,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the page and the tables.")],
    zone: Annotated[str, typer.Option(help="Time zone of days and hours, e.g. Europe/Berlin.")] = "UTC",
    machine: JsonOption = False,
) -> None:
    """Write a page about a store, and its views as CSV and Parquet."""
    from oahega_edge.insight.report import write_report

    written = write_report(store, out, zone)
    _say(f"wrote {written}")
    _give({"page": str(written)}, machine)


def _broker(
    broker: str, client_id: str, username: str, password_file: Path | None, ca_file: Path | None
) -> BrokerOptions:
    from oahega_edge.publishers.broker import BrokerOptions, read_address

    try:
        address = read_address(broker)
    except ValueError as error:
        raise typer.BadParameter(f"the broker's address {error}") from error
    return BrokerOptions(
        host=address.host,
        port=address.port,
        tls="on" if address.encrypted or ca_file else "auto",
        client_id=client_id,
        username=username or None,
        password=read_password(password_file, "--password-file") if password_file else None,
        ca_file=str(ca_file) if ca_file else None,
    )


def _complain(error: EdgeError) -> None:
    for line in str(error).splitlines():
        print(f"oahega-edge: {masked(line)}", file=sys.stderr)


def _ask(request: str, instance: str | None, value: object = None) -> dict[str, dict[str, Any]]:
    from oahega_edge.control.client import ask_all

    return ask_all(os.environ, request, instance, value)


def _tell(done: str, answers: dict[str, dict[str, Any]], machine: bool) -> None:
    """One line per daemon, with what it could not remember; programs get the answers as well."""
    for name, answer in answers.items():
        whose = f"{name}: " if len(answers) > 1 else ""
        problem = f"; {answer['problem']}" if "problem" in answer else ""
        _say(f"{whose}{done}{problem}")
    _give(_answered(answers), machine)


def _answered(answers: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The answer of the only daemon, or one object with the names of several as keys."""
    return next(iter(answers.values())) if len(answers) == 1 else answers


def _layers(
    config: Path | None, assignments: list[str] | None, *weaker: str, instance: str | None = None
) -> Layers:
    """`weaker` assignments give way to the user's own."""
    return read_layers(config, os.environ, [*weaker, *(assignments or [])], instance=instance)


def _for_people(machine: bool) -> bool:
    """People on a terminal get lines and tables, programs get JSON, one object a line."""
    return sys.stdout.isatty() and not machine


def _say(line: str) -> None:
    """To people, beside what programs read."""
    print(line, file=sys.stderr, flush=True)


def _input(question: str) -> str:
    """An answer from the terminal; standard output is for the result."""
    print(question, end="", file=sys.stderr, flush=True)
    try:
        return input()
    except EOFError:
        raise EdgeError("nobody answers; start `tune` on a terminal, or give --pictures") from None


def _give(figures: object, machine: bool) -> None:
    """The result to programs; people were told it in a sentence."""
    if not _for_people(machine):
        print(json.dumps(figures))


def _show(table: str, figures: object, machine: bool) -> None:
    """One result: a table on a terminal; in a pipe JSON, and the table beside it on standard error."""
    if _for_people(machine):
        print(table)
        return
    print(table, file=sys.stderr)
    print(json.dumps(figures))


def _size(text: str) -> tuple[int, int] | None:
    if not text:
        return None
    width, by, height = text.lower().partition("x")
    if not (by and width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        raise typer.BadParameter(f"invalid size {text!r}: expected WIDTHxHEIGHT, e.g. 640x480")
    return int(width), int(height)


def _log_to_stderr(settings: Settings) -> None:
    from oahega_edge.service.journal import configure

    configure(settings.logging.level, os.environ)
