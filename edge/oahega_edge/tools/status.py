"""`status` for people: how a running daemon does, in ten lines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any


def as_lines(snapshot: Mapping[str, Any]) -> Iterator[str]:
    """The answer of the control socket to `status`, one line per subject, and what is wrong at the end."""
    state, health = snapshot["state"], snapshot["health"]
    for name, text in (
        ("device", _device(snapshot)),
        ("camera", _camera(health["camera"])),
        ("seen", _seen(state)),
        ("events", _events(health)),
        ("models", _models(snapshot)),
        ("settings", ", ".join(f"{key} {value}" for key, value in snapshot["settings"].items())),
        ("drift", _drift(health.get("drift"))),
        *_shadow(health.get("shadow")),
        ("broker", _broker(health["delivery"])),
        ("board", _board(health["system"])),
        ("problems", "; ".join(_problems(snapshot)) or "none"),
    ):
        yield f"{name:<10}{text}"


def _device(snapshot: Mapping[str, Any]) -> str:
    health = snapshot["health"]
    up = _duration(health["uptime_s"])
    return f"{health['device']} ({snapshot['context']}), release {health['release']}, up {up}"


def _camera(camera: Mapping[str, Any]) -> str:
    lost = f"lost {camera['stalls']} times" if camera["stalls"] else "never lost"
    left_out = f", {camera['left_out']} pictures left out" if camera["left_out"] else ""
    rate = f"{camera['fps']:.1f} of {camera['expected_fps']:g} frames a second"
    return f"{camera['state']}, {rate}, {lost}{left_out}"


def _seen(state: Mapping[str, Any]) -> str:
    if state["camera"] != "live":
        return "nothing"
    if state["faces"] and not state["confidence"]:
        mood = ", too small to be read so far"
    else:
        mood = f": {state['emotion']} {state['confidence']:.0%}" if state["faces"] else ""
    return f"{state['faces']} faces, {state['people']} people{mood}"


def _events(health: Mapping[str, Any]) -> str:
    if health["last_event"] is None:
        return "none yet"
    age = datetime.fromisoformat(health["time"]) - datetime.fromisoformat(health["last_event"])
    return f"{health['events']}, the last one {_duration(max(0.0, age.total_seconds()))} ago"


def _models(snapshot: Mapping[str, Any]) -> str:
    bundle, accelerator = snapshot["bundle"], snapshot["health"]["accelerator"]
    return f"{bundle['name']} {bundle['version']} on {accelerator['active']}"


def _drift(drift: Mapping[str, Any] | None) -> str:
    if drift is None:
        return "not watched"
    if drift["learning"]:
        return f"learning how faces look here, {drift['learned']} so far"
    if not drift["quantities"]:
        return "no day compared yet"
    return f"since {drift['since']}" if drift["problem"] else "none"


def _shadow(shadow: Mapping[str, Any] | None) -> Iterator[tuple[str, str]]:
    """A line only where a bundle runs in the shadow, or did."""
    if shadow is None:
        return
    bundle, agreement = shadow["bundle"], shadow["agreement"]
    same = "" if agreement is None else f", {agreement:.0%} read alike"
    until = f" until {shadow['until'][:16]}" if shadow["state"] == "running" else ""
    yield (
        "shadow",
        f"{bundle['name']} {bundle['version']} {shadow['state']}{until}, {shadow['faces']} faces{same}",
    )


def _broker(delivery: Mapping[str, Any]) -> str:
    if delivery["connected"] and not delivery["protocol"]:
        return f"none is set, {delivery['published']} events written"
    link = f"connected (MQTT {delivery['protocol']})" if delivery["protocol"] else "not connected"
    return (
        f"{link}, {delivery['published']} sent, {delivery['queued']} waiting, {delivery['dropped']} given up"
    )


def _board(system: Mapping[str, Any]) -> str:
    heat = system["temperature_c"]
    weak = ", supply too weak" if system["undervoltage"] else ""
    slow = ", slowed down" if system["throttled"] else ""
    warm = "temperature unknown" if heat is None else f"{heat:.0f} °C"
    load = "" if system["load"] is None else f", load {system['load']:.1f}"
    memory = "" if system["memory_mb"] is None else f", {system['memory_mb']:.0f} MB"
    return f"{warm}{load}{memory}{weak}{slow}"


def _problems(snapshot: Mapping[str, Any]) -> Iterator[str]:
    state, health = snapshot["state"], snapshot["health"]
    if state["picture_problem"]:
        yield f"the picture is {state['picture_problem']}"
    for problem in (
        state["mute_problem"],
        snapshot["bundle_problem"],
        health["accelerator"]["reason"],
        health["delivery"]["problem"],
        (health.get("drift") or {}).get("problem"),
    ):
        if problem:
            yield problem


def _duration(seconds: float) -> str:
    """`12 s`, `5 min`, `3 h 12 min`, `9 d`."""
    minutes, hours = int(seconds // 60), int(seconds // 3600)
    if seconds < 60:
        return f"{seconds:.0f} s"
    if hours < 1:
        return f"{minutes} min"
    return f"{hours} h {minutes % 60} min" if hours < 48 else f"{hours // 24} d"
