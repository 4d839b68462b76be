import { faces } from "/oahega.js";

const texts = JSON.parse(document.body.dataset.texts);
const $ = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";
let labels = [];
let hasBroker = true;

function svg(name, attributes, text) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

function html(name, text, attributes = {}) {
  const element = document.createElement(name);
  element.textContent = text;
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  return element;
}

/** Writes only what changed: a screen reader speaks each change. */
function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

const sentence = (key, values) => texts[key].replace(/\{(\w+)\}/g, (_, name) => values[name]);
const percent = (share) => `${Math.round(100 * share)} %`;

function word(emotion) {
  if (emotion === "none") return texts.nobody;
  if (emotion === "uncertain") return texts.uncertain;
  return texts[`emotion_${emotion}`] ?? emotion;
}

function colour(emotion) {
  const index = labels.indexOf(emotion);
  return index < 0 ? emotion : `c${index % 7}`;
}

faces.on("connection", ({ daemon }) => {
  $("away").hidden = daemon;
  if (!daemon) showState({ emotion: null, confidence: 0, faces: "–", people: "–", muted: false, camera: "absent" });
});

faces.on("state", showState);

function showState(state) {
  const seen = state.muted ? texts.muted : state.camera === "live" ? word(state.emotion) : state.emotion === null ? "…" : texts.no_picture;
  say($("emotion"), seen);
  $("confidence").value = state.confidence;
  say($("percent"), state.confidence ? percent(state.confidence) : "–");
  say($("faces"), String(state.faces));
  say($("people"), String(state.people));
  $("mute").setAttribute("aria-pressed", String(state.muted));
  say($("mute"), state.muted ? texts.unmute : texts.mute);
  if (state.camera !== "live") {
    $("sight").replaceChildren();
    showPicture(false);
  }
}

faces.on("info", (info) => {
  labels = info.labels;
  hasBroker = info.settings.mqtt?.host !== "";
  show("threshold", info.adjustable["trigger.threshold"], percent);
  show("frames", info.adjustable["smoothing.frames"], String);
});

$("tuning").hidden = !document.body.dataset.tuning;

function show(id, value, worded) {
  const slider = $(id);
  if (value > Number(slider.max)) slider.max = value;
  if (document.activeElement !== slider || !slider.dataset.moving) slider.value = value;
  say($(`${id}-value`), worded(Number(slider.value)));
}

function slide(id, key, worded) {
  const slider = $(id);
  slider.addEventListener("input", () => {
    slider.dataset.moving = "yes";
    say($(`${id}-value`), worded(Number(slider.value)));
  });
  slider.addEventListener("change", async () => {
    delete slider.dataset.moving;
    await post("/set", { [key]: Number(slider.value) });
  });
}

slide("threshold", "trigger.threshold", percent);
slide("frames", "smoothing.frames", String);

$("mute").addEventListener("click", () => post($("mute").getAttribute("aria-pressed") === "true" ? "/unmute" : "/mute", {}));

async function post(path, body) {
  let done = false;
  try {
    const answer = await fetch(path, { method: "POST", body: JSON.stringify(body) });
    done = answer.ok;
  } catch {
    // the page's own process is away
  }
  $("failed").hidden = done;
}

faces.on("history", (minutes) => {
  const emotions = [...labels, "uncertain", "none"].filter((emotion) => minutes.some((minute) => minute.seconds[emotion]));
  $("nothing").hidden = emotions.length > 0;
  chart(minutes, emotions);
  $("legend").replaceChildren(...emotions.map((emotion) => {
    const item = html("li", "");
    const mark = svg("svg", { viewBox: "0 0 1 1", "aria-hidden": "true" });
    mark.append(svg("rect", { width: 1, height: 1, class: colour(emotion) }));
    item.append(mark, word(emotion));
    return item;
  }));
  table(minutes, emotions);
});

function chart(minutes, emotions) {
  const last = Math.floor(Date.now() / 60000);
  const bars = [];
  for (const minute of minutes) {
    const column = 59 - (last - Math.floor(Date.parse(minute.time) / 60000));
    let top = 160;
    for (const emotion of [...emotions].reverse()) {
      const height = (160 * (minute.seconds[emotion] ?? 0)) / 60;
      top -= height;
      bars.push(svg("rect", { x: 10 * column + 0.5, y: top, width: 9, height, class: colour(emotion) }));
    }
  }
  $("chart").replaceChildren(...bars);
}

function table(minutes, emotions) {
  const time = new Intl.DateTimeFormat(document.documentElement.lang, { hour: "2-digit", minute: "2-digit" });
  const head = document.createElement("thead");
  const titles = document.createElement("tr");
  titles.append(...[texts.minute, ...emotions.map(word), texts.most_faces].map((title) => html("th", title, { scope: "col" })));
  head.append(titles);
  const body = document.createElement("tbody");
  for (const minute of [...minutes].reverse()) {
    const row = document.createElement("tr");
    row.append(html("th", time.format(new Date(minute.time)), { scope: "row" }));
    row.append(...emotions.map((emotion) => html("td", `${Math.round(minute.seconds[emotion] ?? 0)} s`)));
    row.append(html("td", minute.faces));
    body.append(row);
  }
  $("table").replaceChildren(head, body);
}

faces.on("health", (health) => {
  const { camera, delivery, system } = health;
  const rows = [
    [texts.camera, sentence(`camera_${camera.state}`, { fps: Math.round(health.fps) })],
    [texts.broker, brokerInWords(delivery)],
    [texts.computer, computerInWords(system)],
    [texts.bundle, health.bundle_problem ?? texts.well],
  ];
  const due = health.drift?.asked?.due;
  say($("due"), due ? sentence("tune_due", { due }) : "");
  $("health").replaceChildren(...rows.flatMap(([name, text]) => [html("dt", name), html("dd", text)]));
});

/** Beside the middle `x` (0 to 1) of a box, on the side that leaves it room. */
function caption(x, y, width, size, text) {
  return svg("text", { x: x * width, y, "font-size": size, "text-anchor": x < 0.25 ? "start" : x > 0.75 ? "end" : "middle" }, text);
}

function brokerInWords(delivery) {
  if (!hasBroker) return texts.broker_none;
  if (delivery.problem) return delivery.problem;
  return delivery.connected ? texts.broker_connected : sentence("broker_away", { queued: delivery.queued });
}

function computerInWords({ temperature_c, throttled }) {
  const state = throttled ? texts.throttled : texts.well;
  return temperature_c === null ? state : `${state}, ${sentence("degrees", { degrees: Math.round(temperature_c) })}`;
}

const ON_THE_DEVICE = ["localhost", "127.0.0.1", "[::1]"].includes(location.hostname);
let failedAt = 0;

/** The camera's picture below the drawing, for the minutes of `oahega-edge mount`, on the device itself only. */
function showPicture(shown) {
  const image = $("picture");
  if (shown && ON_THE_DEVICE && Date.now() - failedAt > 2000) image.src = `/picture?${Date.now()}`;
  else image.removeAttribute("src");
  image.hidden = !image.hasAttribute("src");
  say($("drawing"), image.hidden ? texts.drawing : texts.picture);
}

$("picture").addEventListener("error", () => {
  failedAt = Date.now();
  showPicture(false);
});

faces.on("sight", (sight) => {
  showPicture(sight.picture);
  const drawing = $("sight");
  drawing.setAttribute("viewBox", `0 0 ${sight.width} ${sight.height}`);
  const size = sight.height / 20;
  drawing.replaceChildren(...sight.faces.flatMap(({ box: [x, y, width, height], height_px, emotion }) => [
    svg("rect", { x: x * sight.width, y: y * sight.height, width: width * sight.width, height: height * sight.height }),
    caption(x + width / 2, Math.max(size, y * sight.height - size / 3), sight.width, size, `${height_px} px, ${word(emotion)}`),
  ]));
  say($("brightness"), String(Math.round(sight.brightness)));
  say($("sharpness"), String(Math.round(sight.sharpness)));
  say($("advice"), sight.advice.length ? sight.advice.map((key) => texts[key]).join(" ") : texts.good);
});
