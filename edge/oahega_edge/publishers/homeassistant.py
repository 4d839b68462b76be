"""Home Assistant discovery: one retained message, from which it creates the device's entities.

https://www.home-assistant.io/integrations/mqtt/#device-discovery-payload
"""

from __future__ import annotations

from oahega_edge.chain.trigger import UNCERTAIN
from oahega_edge.contract.messages import NONE, Discovery, DiscoveryDevice, Entity, Info, Origin, TopicOnly
from oahega_edge.contract.topics import Topics

BIRTH = "online"
IS_NEWS = "value_json.changed and not value_json.delayed"
"""Not heartbeats, the end of a face, or what waited for the broker: automations would act late or twice."""
SMILE = "happy"
"""The emotion that is counted as a smile."""
_COMMAND_ENTITIES = {"frames": "number", "threshold": "number", "mute": "switch", "restart": "button"}


def config_topic(prefix: str, device: str) -> str:
    """Where the description goes."""
    return f"{prefix}/device/{device}/config"


def status_topic(prefix: str) -> str:
    """Where Home Assistant says that it has started."""
    return f"{prefix}/status"


def discovery(info: Info, topics: Topics, state_expiry_s: int, health_expiry_s: int) -> Discovery:
    """The device with all its entities; those for commands only while commands are obeyed."""
    entities = {
        **_seen_entities(info, topics, state_expiry_s),
        **_triggers(info, topics),
        **_day_entities(info, topics),
        **_health_entities(topics, health_expiry_s),
        **(_command_entities(topics) if info.commands else _removed()),
    }
    named = {
        key: entity.model_copy(update={"unique_id": f"oahega-{info.device}-{key}"})
        if entity.name is not None
        else entity
        for key, entity in entities.items()
    }
    return Discovery(
        device=DiscoveryDevice(
            identifiers=(f"oahega-{info.device}",),
            name=info.device,
            manufacturer="OAHEGA edge",
            model=f"{info.bundle.name} {info.bundle.version}",
            sw_version=info.release,
        ),
        origin=Origin(name="oahega-edge", sw_version=info.release),
        availability=(TopicOnly(topic=topics.availability),),
        components=named,
    )


def _seen_entities(info: Info, topics: Topics, expiry_s: int) -> dict[str, Entity]:
    said = (*info.labels, UNCERTAIN)
    return {
        "expression": Entity(
            platform="sensor",
            name="Expression",
            state_topic=topics.state,
            value_template="{{ value_json.emotion }}",
            device_class="enum",
            options=(*said, NONE),
            json_attributes_topic=topics.state,
            expire_after=expiry_s,
        ),
        "confidence": Entity(
            platform="sensor",
            name="Confidence",
            state_topic=topics.state,
            value_template="{{ (value_json.confidence * 100) | round(0) }}",
            unit_of_measurement="%",
            state_class="measurement",
            expire_after=expiry_s,
        ),
        "faces": _counter("Faces", topics.state, "{{ value_json.faces }}", expiry_s),
        "people": _counter("People", topics.state, "{{ value_json.people }}", expiry_s),
        "decision": Entity(
            platform="event",
            name="Decision",
            state_topic=topics.event,
            event_types=said,
            value_template=(
                f"{{% if {IS_NEWS} %}}"
                "{{ {'event_type': value_json.emotion, 'track': value_json.track, "
                "'phase': value_json.phase, 'confidence': value_json.confidence} | tojson }}"
                "{% endif %}"
            ),
        ),
    }


def _day_entities(info: Info, topics: Topics) -> dict[str, Entity]:
    """Visits of the day, and smiles where the bundle knows them; taken away where there are no summaries."""

    def today(name: str, template: str) -> Entity:
        return Entity(
            platform="sensor",
            name=name,
            state_topic=topics.summary,
            value_template=template,
            state_class="total_increasing",
        )

    summary = info.settings.get("summary")
    if isinstance(summary, dict) and not summary.get("interval_s"):
        return {key: Entity(platform="sensor") for key in ("visits_today", "smiles_today")}
    entities = {"visits_today": today("Visits today", "{{ value_json.today.visits }}")}
    if SMILE in info.labels:
        smiles = f"{{{{ value_json.today.dominant['{SMILE}'] | default(0) }}}}"
        entities["smiles_today"] = today("Smiles today", smiles)
    return entities


def _triggers(info: Info, topics: Topics) -> dict[str, Entity]:
    """One for each expression; their keys are numbers, because a label may be a word of any script."""
    return {
        f"shows_{number}": Entity(
            platform="device_automation",
            automation_type="trigger",
            type="expression",
            subtype=label,
            topic=topics.event,
            payload=label,
            value_template=f"{{{{ value_json.emotion if {IS_NEWS} else '' }}}}",
        )
        for number, label in enumerate(info.labels)
    }


def _counter(name: str, topic: str, template: str, expiry_s: int) -> Entity:
    return Entity(
        platform="sensor",
        name=name,
        state_topic=topic,
        value_template=template,
        state_class="measurement",
        expire_after=expiry_s,
    )


def _health_entities(topics: Topics, expiry_s: int) -> dict[str, Entity]:
    def diagnostic(name: str, template: str, unit: str, device_class: str | None = None) -> Entity:
        return Entity(
            platform="sensor",
            name=name,
            state_topic=topics.health,
            value_template=template,
            unit_of_measurement=unit,
            device_class=device_class,
            state_class="measurement",
            entity_category="diagnostic",
            expire_after=expiry_s,
        )

    return {
        "fps": diagnostic("Frame rate", "{{ value_json.fps }}", "fps"),
        "temperature": diagnostic(
            "Processor temperature", "{{ value_json.system.temperature_c }}", "°C", "temperature"
        ),
        "connected": Entity(
            platform="binary_sensor",
            name="Connected",
            state_topic=topics.availability,
            payload_on="online",
            payload_off="offline",
            device_class="connectivity",
            entity_category="diagnostic",
            # Else it would be unavailable just when it has something to say.
            availability=(TopicOnly(topic=topics.availability, value_template="online"),),
        ),
        "drift": Entity(
            platform="binary_sensor",
            name="Drift",
            state_topic=topics.health,
            value_template="{{ 'ON' if (value_json.drift or {}).problem else 'OFF' }}",
            device_class="problem",
            entity_category="diagnostic",
            json_attributes_topic=topics.health,
            json_attributes_template="{{ (value_json.drift or {}) | tojson }}",
            expire_after=expiry_s,
        ),
        "asked": diagnostic(
            "Asked expressions read right",
            "{% set asked = (value_json.drift or {}).asked or {} %}"
            "{{ (100 * asked.right / asked.faces) | round if asked.faces else none }}",
            "%",
        ),
        "degraded": Entity(
            platform="binary_sensor",
            name="Degraded",
            state_topic=topics.health,
            value_template="{{ 'ON' if value_json.accelerator.degraded else 'OFF' }}",
            device_class="problem",
            entity_category="diagnostic",
            expire_after=expiry_s,
        ),
    }


def _command_entities(topics: Topics) -> dict[str, Entity]:
    return {
        "frames": Entity(
            platform="number",
            name="Frames averaged",
            state_topic=topics.info,
            value_template="{{ value_json.adjustable['smoothing.frames'] }}",
            command_topic=topics.command("set"),
            command_template='{"smoothing.frames": {{ value | int }}}',
            min=1,
            max=1000,
            step=1,
            mode="box",
            entity_category="config",
        ),
        "threshold": Entity(
            platform="number",
            name="Threshold",
            state_topic=topics.info,
            value_template="{{ value_json.adjustable['trigger.threshold'] }}",
            command_topic=topics.command("set"),
            command_template='{"trigger.threshold": {{ value }}}',
            min=0,
            max=1,
            step=0.01,
            mode="slider",
            entity_category="config",
        ),
        "mute": Entity(
            platform="switch",
            name="Mute",
            state_topic=topics.info,
            value_template="{{ 'ON' if value_json.muted else 'OFF' }}",
            command_topic=topics.command("mute"),
            payload_on='{"muted": true}',
            payload_off='{"muted": false}',
            state_on="ON",
            state_off="OFF",
        ),
        "restart": Entity(
            platform="button",
            name="Restart",
            command_topic=topics.command("restart"),
            payload_press="{}",
            device_class="restart",
            entity_category="config",
        ),
    }


def _removed() -> dict[str, Entity]:
    """An entity with its platform alone is taken away, should it be there from before."""
    return {key: Entity(platform=platform) for key, platform in _COMMAND_ENTITIES.items()}
