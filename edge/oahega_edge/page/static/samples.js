// A visitor gives a picture of their face and takes it back. The picture is on the canvas only, until the choice is made.
import { faces } from "/oahega.js";

const texts = JSON.parse(document.body.dataset.texts);
const $ = (id) => document.getElementById(id);
const ON_THE_DEVICE = ["localhost", "127.0.0.1", "[::1]"].includes(location.hostname);
const OFFER_MS = 60000;
let token = null;
let end = 0;

const word = (emotion) => texts[`emotion_${emotion}`] ?? emotion;
const sentence = (key, values) => texts[key].replace(/\{(\w+)\}/g, (_, name) => values[name]);

function say(text) {
  $("sample-said").textContent = text;
}

faces.on("info", (info) => {
  const off = info.settings.samples?.consent !== "asked-at-the-device";
  $("samples").hidden = $("samples-notice").hidden = off;
  $("giving").hidden = !ON_THE_DEVICE;
});

faces.on("state", ({ muted }) => {
  if (muted && token !== null) {
    close();
    say(texts.sample_muted);
  }
});

/** The daemon's answer, or null after what went wrong was said. */
async function ask(path, body) {
  let answer;
  try {
    answer = await fetch(path, { method: "POST", body: JSON.stringify(body), cache: "no-store" });
  } catch {
    say(texts.failed);
    return null;
  }
  if (answer.ok) return answer.json();
  const reason = answer.status === 409 ? (await answer.json()).reason : null;
  say(texts[`sample_${reason}`] ?? texts.failed);
  return null;
}

async function show(offer) {
  const bytes = Uint8Array.from(atob(offer.picture), (character) => character.charCodeAt(0));
  const picture = await createImageBitmap(new Blob([bytes], { type: "image/png" }));
  const canvas = $("face");
  [canvas.width, canvas.height] = [picture.width, picture.height];
  canvas.getContext("2d").drawImage(picture, 0, 0);
  picture.close();
  const choices = [new Option("…", ""), ...offer.labels.map((label) => new Option(word(label), label))];
  $("shown").replaceChildren(...choices);
  token = offer.token;
  $("offer").hidden = false;
  $("shown").focus();
  end = setTimeout(discard, OFFER_MS);
}

/** Forget the picture and its token. */
function close() {
  clearTimeout(end);
  const canvas = $("face");
  canvas.getContext("2d").clearRect(0, 0, canvas.width, canvas.height);
  if ($("offer").contains(document.activeElement)) $("sample").focus();
  $("offer").hidden = true;
  token = null;
}

async function discard() {
  const used = token;
  close();
  if (await ask("/sample/discard", { token: used })) say(texts.sample_discarded);
}

$("sample").addEventListener("click", async () => {
  close();
  $("sample").disabled = true;
  say(texts.sample_wait);
  const offer = await ask("/sample", {});
  $("sample").disabled = false;
  if (offer) {
    say("");
    await show(offer);
  } else $("sample").focus();
});

$("offer").addEventListener("submit", async (event) => {
  event.preventDefault();
  const used = token;
  const label = $("shown").value;
  close();
  const kept = await ask("/sample/keep", { token: used, label });
  if (!kept) return;
  const day = new Intl.DateTimeFormat(document.documentElement.lang, { dateStyle: "long", timeZone: "UTC" });
  say(sentence("sample_kept", { code: kept.code, day: day.format(new Date(kept.goes_on)) }));
});

$("discard").addEventListener("click", discard);

$("withdraw").addEventListener("submit", async (event) => {
  event.preventDefault();
  if (await ask("/sample/withdraw", { code: $("code").value })) {
    $("code").value = "";
    say(texts.sample_withdrawn);
  }
});

addEventListener("pagehide", () => {
  if (token !== null) navigator.sendBeacon("/sample/discard", JSON.stringify({ token }));
});
