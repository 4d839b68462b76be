/**
 * React to faces: what the device sees, as it sees it. Types are in oahega.d.ts.
 *
 *     import { faces } from "/oahega.js";
 *     faces.on("happy", ({ confidence }) => smile(confidence));
 *     faces.on("nobody", () => sleep());
 */

const KINDS = ["connection", "info", "state", "showing", "health", "event", "sight", "history"];

class Faces {
  #handlers = new Map();
  #state = null;
  #seen = null;

  /** What is seen now, or null while nothing is known. */
  get state() {
    return this.#state;
  }

  /** Call `handler` for an expression, "nobody", or a kind of message; returns a function that ends it. */
  on(name, handler) {
    const handlers = this.#handlers.get(name) ?? new Set();
    this.#handlers.set(name, handlers.add(handler));
    return () => handlers.delete(handler);
  }

  /** For the transport: one message of the device. */
  receive(kind, data) {
    if (kind === "connection" && !data.daemon) this.#state = this.#seen = null;
    if (kind === "state") this.#look(data);
    this.#tell(kind, data);
    if (kind === "event" && data.phase !== "end" && !data.delayed) this.#tell(data.emotion, data);
  }

  #look(state) {
    this.#state = state;
    const nobody = state.emotion === "none" && state.camera === "live";
    if (nobody && this.#seen !== "nobody") this.#tell("nobody", state);
    this.#seen = nobody ? "nobody" : state.emotion;
  }

  #tell(name, data) {
    for (const handler of this.#handlers.get(name) ?? []) {
      try {
        handler(data);
      } catch (error) {
        reportError(error);
      }
    }
  }
}

export const faces = new Faces();

let shown;

/**
 * Tell the device what this screen shows now, for later analysis: a name such as "poster-7"; null for nothing.
 * Said again by itself when the device comes back. Rejects with what is wrong with the name.
 */
export async function showing(content) {
  shown = content;
  const answer = await fetch("/showing", { method: "POST", body: JSON.stringify({ content }) }).catch(() => null);
  if (answer?.status === 400) {
    shown = undefined;
    throw new RangeError((await answer.text()).trim());
  }
}

faces.on("connection", ({ daemon }) => {
  if (daemon && shown !== undefined) showing(shown);
});

/** Messages for `receive`; a browser comes back by itself, but not after an answer like 503. */
function listen() {
  const source = new EventSource("/events");
  for (const kind of KINDS) source.addEventListener(kind, (event) => faces.receive(kind, JSON.parse(event.data)));
  source.onerror = () => {
    faces.receive("connection", { daemon: false });
    if (source.readyState === EventSource.CLOSED) setTimeout(listen, 2000);
  };
}

/** All tabs of a browser share one stream, because it opens at most six to one host. */
function share() {
  const worker = new SharedWorker("/stream.js", { type: "module" });
  worker.port.onmessage = ({ data: [kind, data] }) => faces.receive(kind, data);
  worker.port.start();
  addEventListener("pagehide", () => worker.port.postMessage("bye"));
}

if (typeof SharedWorker === "function") share();
else listen();
