// The one event stream of all tabs of a browser. A new tab is told first what holds.

const KINDS = ["connection", "info", "state", "showing", "health", "event", "sight", "history"];
const REMEMBERED = ["connection", "info", "state", "showing", "health", "history"];
const ports = new Set();
const newest = new Map();

function tell(kind, data) {
  if (REMEMBERED.includes(kind)) newest.set(kind, data);
  if (kind === "connection" && !data.daemon) newest.delete("state");
  for (const port of ports) port.postMessage([kind, data]);
}

function listen() {
  const source = new EventSource("/events");
  for (const kind of KINDS) source.addEventListener(kind, (event) => tell(kind, JSON.parse(event.data)));
  source.onerror = () => {
    tell("connection", { daemon: false });
    if (source.readyState === EventSource.CLOSED) setTimeout(listen, 2000);
  };
}

onconnect = ({ ports: [port] }) => {
  for (const [kind, data] of newest) port.postMessage([kind, data]);
  ports.add(port);
  port.onmessage = () => ports.delete(port);
};

listen();
