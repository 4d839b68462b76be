"""Each message with its topic, QoS, retain flag and expiry."""

from __future__ import annotations

from oahega_edge.contract import defaults
from oahega_edge.contract.cloudevents import cloud_event_attributes
from oahega_edge.contract.events import Event
from oahega_edge.contract.messages import Health, Info, Response, Showing, State
from oahega_edge.contract.summary import IntervalSummary
from oahega_edge.publishers.broker import MqttOptions
from oahega_edge.publishers.homeassistant import config_topic, discovery
from oahega_edge.publishers.wire import Outgoing


class Envelopes:
    """Addresses the messages of one device."""

    def __init__(self, options: MqttOptions) -> None:
        self._options = options
        self._topics = options.topics

    def availability(self, word: str) -> Outgoing:
        """online or offline; retained."""
        return Outgoing(topic=self._topics.availability, payload=word, retain=True, content_type="text/plain")

    def info(self, info: Info) -> Outgoing:
        """Retained."""
        return Outgoing(topic=self._topics.info, payload=info.to_json(), retain=True)

    def state(self, state: State) -> Outgoing:
        """Retained; the broker forgets it after the expiry, so that it cannot go stale."""
        return Outgoing(
            topic=self._topics.state,
            payload=state.to_json(),
            retain=True,
            expiry_s=self._options.state_expiry_s,
        )

    def showing(self, showing: Showing) -> Outgoing:
        """Retained; expires as the state does."""
        return Outgoing(
            topic=self._topics.showing,
            payload=showing.to_json(),
            retain=True,
            expiry_s=self._options.state_expiry_s,
        )

    def health(self, health: Health) -> Outgoing:
        """Retained with an expiry, QoS 0."""
        return Outgoing(
            topic=self._topics.health,
            payload=health.to_json(),
            qos=0,
            retain=True,
            expiry_s=self._options.health_expiry_s,
        )

    def discovery(self, info: Info) -> Outgoing:
        """Home Assistant's description of the device; retained."""
        options = self._options
        description = discovery(info, self._topics, options.state_expiry_s, options.health_expiry_s)
        topic = config_topic(options.discovery_prefix, options.device)
        return Outgoing(topic=topic, payload=description.to_json(), retain=True)

    def event(self, event: Event) -> Outgoing:
        """One decision, its envelope as user properties."""
        return Outgoing(
            topic=self._topics.event,
            payload=event.to_json(),
            expiry_s=self._options.event_expiry_s,
            user_properties=cloud_event_attributes(event),
        )

    def summary(self, summary: IntervalSummary) -> Outgoing:
        """Many visits together; the broker keeps it for a day, because it is a figure and no news."""
        return Outgoing(
            topic=self._topics.summary, payload=summary.to_json(), expiry_s=defaults.SUMMARY_EXPIRY_S
        )


def answer(topic: str, correlation: bytes | None, response: Response) -> Outgoing:
    """The response to a command."""
    return Outgoing(topic=topic, payload=response.to_json(), correlation=correlation)
