// People in front of the camera show one expression after another; whoever has the token asks them.
import { faces } from "/oahega.js";

const texts = JSON.parse(document.body.dataset.texts);
const $ = (id) => document.getElementById(id);
const sentence = (key, values) => texts[key].replace(/\{(\w+)\}/g, (_, name) => values[name]);
const word = (emotion) => texts[`emotion_${emotion}`] ?? emotion;
const percent = (share) => Math.round(100 * share);
const points = (share) => (100 * share).toFixed(1);
let token = null;
let figures = null;
/** Expressions that are still to be shown; the first one is asked for. */
let wanted = [];
let looking = false;
/** Faces that are still due in this month. */
let due = 0;

/** The daemon's answer, or null after what went wrong was said in an element. */
async function ask(path, place, body = {}) {
  let answer;
  try {
    answer = await fetch(`/tune/${path}`, { method: "POST", body: JSON.stringify({ token, ...body }), cache: "no-store" });
  } catch {
    place.textContent = texts.failed;
    return null;
  }
  if (answer.ok) return answer.json();
  const reason = answer.status === 409 ? (await answer.json()).reason : answer.status === 403 ? "wrong_token" : null;
  place.textContent = texts[`tune_${reason}`] ?? texts.failed;
  return null;
}

function show(...ids) {
  for (const id of ["consent", "agree", "wanted", "ready", "skip", "person", "time", "end"]) $(id).hidden = !ids.includes(id);
}

faces.on("connection", ({ daemon }) => {
  $("away").hidden = daemon;
});

faces.on("health", ({ drift }) => {
  if (!drift?.asked) return;
  tellDue(drift.asked.due);
  const { faces: all, right, interval } = drift.asked;
  $("round").textContent = all ? sentence("tune_round", { right, faces: all, low: percent(interval[0]), high: percent(interval[1]) }) : "";
});

function tellDue(left) {
  due = left;
  $("due").textContent = due ? sentence("tune_due", { due }) : "";
}

/** After `fit` and `undo` the daemon says by itself when it answers otherwise. */
faces.on("info", () => {
  if (token !== null && !looking) refresh($("result"));
});

$("lock").addEventListener("submit", async (event) => {
  event.preventDefault();
  token = $("token").value.trim();
  $("locked").textContent = "";
  if (await refresh($("locked"))) {
    $("token").value = "";
    $("lock").hidden = true;
    $("asking").hidden = $("fitting").hidden = false;
    rest();
  } else token = null;
});

async function refresh(place) {
  const told = await ask("status", place);
  if (!told) return false;
  figures = told;
  $("total").textContent = sentence("tune_total", figures);
  $("kept").replaceChildren(...Object.entries(figures.labels).map(([label, count]) => {
    const [entry, name, number] = ["div", "dt", "dd"].map((tag) => document.createElement(tag));
    [name.textContent, number.textContent] = [word(label), count];
    entry.append(name, number);
    return entry;
  }));
  $("tuned").textContent = figures.tuned ? sentence("tune_tuned", figures.tuned) : texts.tune_untuned;
  $("fit").disabled = figures.faces < figures.least;
  $("undo").disabled = !figures.tuned;
  $("forget").disabled = !figures.faces;
  return true;
}

/** Nobody is asked now. */
function rest() {
  show("consent", "agree");
  $("agree").focus();
}

function next() {
  if (wanted.length === 0) {
    rest();
    return;
  }
  $("wanted").textContent = word(wanted[0]);
  show("wanted", "ready", "skip", "person", "end");
  $("ready").focus();
}

function shuffled(list) {
  const rest = [...list];
  const mixed = [];
  while (rest.length) mixed.push(...rest.splice(Math.floor(Math.random() * rest.length), 1));
  return mixed;
}

/** Every expression once; of a month's dozen, as often as is due, and all as evenly as can be. */
function turn() {
  const labels = Object.keys(figures.labels);
  const list = shuffled(labels);
  while (list.length < due) list.push(...shuffled(labels));
  return due ? list.slice(0, due) : list;
}

$("agree").addEventListener("click", () => {
  if (wanted.length === 0) wanted = turn();
  $("said").textContent = "";
  next();
});

$("ready").addEventListener("click", async () => {
  show("wanted", "time", "end");
  $("said").textContent = texts.tune_look;
  $("end").focus();
  looking = true;
  const began = performance.now();
  const clock = setInterval(() => {
    $("time").value = (performance.now() - began) / (1000 * figures.seconds);
  }, 100);
  const kept = await ask("face", $("said"), { label: wanted[0] });
  clearInterval(clock);
  $("time").value = 0;
  looking = false;
  if (kept) {
    wanted.shift();
    tellDue(Math.max(0, due - 1));
    $("said").textContent = wanted.length ? texts.tune_kept : texts.tune_thanks;
    await refresh($("result"));
  }
  next();
});

$("skip").addEventListener("click", () => {
  wanted.shift();
  $("said").textContent = "";
  next();
});

/** What is left is asked of somebody else, who is told first what is kept. */
$("person").addEventListener("click", () => {
  $("said").textContent = "";
  rest();
});

$("end").addEventListener("click", async () => {
  wanted = [];
  if (looking) await ask("stop", $("said"));
  else rest();
});

async function decide(path, tell) {
  $("result").textContent = texts.tune_working;
  const answer = await ask(path, $("result"));
  if (!answer) return;
  $("result").textContent = tell(answer);
  await refresh($("result"));
}

const gain = ({ before, after, interval: [low, high] }) => ({
  before: points(before),
  after: points(after),
  gain: points(after - before),
  low: points(low),
  high: points(high),
});

$("fit").addEventListener("click", () => decide("fit", (fit) => sentence(fit.tuned ? "tune_better" : "tune_no_better", gain(fit))));
$("undo").addEventListener("click", () => decide("undo", () => texts.tune_undone));
$("forget").addEventListener("click", () => {
  if (confirm(texts.tune_sure)) decide("forget", () => texts.tune_forgotten);
});

addEventListener("pagehide", () => {
  if (looking) navigator.sendBeacon("/tune/stop", JSON.stringify({ token }));
});
