/** Types of `/oahega.js`. All messages are those of the MQTT contract, version 1. */

export interface State {
  /** A label of the bundle, `uncertain`, or `none` without a face. */
  emotion: string;
  /** Averaged probability of that expression, 0 to 1. */
  confidence: number;
  faces: number;
  people: number;
  muted: boolean;
  camera: "live" | "muted" | "stalled" | "absent";
  /** UTC, RFC 3339. */
  time: string;
}

export interface FaceEvent {
  id: string;
  time: string;
  /** One face as long as it is seen; says nothing about who it is. */
  track: string;
  phase: "new" | "update" | "end";
  emotion: string;
  confidence: number;
  scores: Record<string, number>;
  /** Left, top, width, height in shares of the picture. */
  box: [number, number, number, number];
}

export interface Sight {
  width: number;
  height: number;
  faces: { box: [number, number, number, number]; height_px: number; emotion: string }[];
  people: number;
  brightness: number;
  sharpness: number;
  /** Whether `oahega-edge mount` shows the camera's picture on the device's own page. */
  picture: boolean;
  advice: ("dark" | "bright" | "blurred" | "far")[];
}

export interface Showing {
  /** Name of what the screen shows, or null. */
  content: string | null;
  /** Since when, UTC, RFC 3339. */
  time: string;
}

export interface Minute {
  time: string;
  /** Seconds for which each expression was dominant. */
  seconds: Record<string, number>;
  faces: number;
}

export interface Faces {
  readonly state: State | null;
  on(name: "nobody" | "state", handler: (state: State) => void): () => void;
  on(name: "event", handler: (event: FaceEvent) => void): () => void;
  on(name: "connection", handler: (connection: { daemon: boolean }) => void): () => void;
  on(name: "sight", handler: (sight: Sight) => void): () => void;
  on(name: "showing", handler: (showing: Showing) => void): () => void;
  on(name: "history", handler: (minutes: Minute[]) => void): () => void;
  on(name: "info" | "health", handler: (message: Record<string, unknown>) => void): () => void;
  /** An expression by its label. Called for each event that names it, but not for the last of a face. */
  on(expression: string, handler: (event: FaceEvent) => void): () => void;
}

export const faces: Faces;

/**
 * Tell the device what this screen shows now: a name of up to 64 printable characters, or null for nothing.
 * The device publishes it. Rejects with a RangeError for what is no name.
 */
export function showing(content: string | null): Promise<void>;
