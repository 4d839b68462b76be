const $ = (id) => document.getElementById(id);

function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function say(text) {
  $("said").textContent = text;
}

async function judge(name, label) {
  try {
    const answer = await fetch("/judge", { method: "POST", body: JSON.stringify({ name, label }) });
    if (!answer.ok) say(await answer.text());
    return answer.ok;
  } catch {
    say("That did not work. Does `review` still run?");
    return false;
  }
}

function card(sample, labels, thrown) {
  const id = `label-${sample.name}`;
  const select = element("select", { id });
  for (const label of labels) select.append(new Option(label, label, false, label === sample.label));
  const keep = element("button", { type: "button" }, "Confirm");
  const away = element("button", { type: "button", class: "throw" }, "Throw away");
  const told = `Told: ${sample.told}. The bundle says ${sample.answer} (${Math.round(100 * sample.confidence)} %).`;
  const item = element(
    "li",
    sample.reviewed ? { class: "done" } : {},
    element("img", { src: `/picture/${sample.name}`, alt: `A face, told to show ${sample.told}` }),
    element("p", {}, [told, sample.day, sample.device].filter(Boolean).join(" ")),
    element("label", { for: id }, "It shows"),
    select,
    element("div", { class: "buttons" }, keep, away),
  );
  select.addEventListener("change", () => {
    keep.textContent = select.value === sample.label ? "Confirm" : "Correct";
  });
  keep.addEventListener("click", async () => {
    if (!(await judge(sample.name, select.value))) return;
    sample.label = select.value;
    keep.textContent = "Confirm";
    item.classList.add("done");
    say(`Kept as ${select.value}.`);
  });
  away.addEventListener("click", async () => {
    if (!(await judge(sample.name, thrown))) return;
    const next = item.nextElementSibling ?? item.previousElementSibling;
    item.remove();
    say("Thrown away.");
    next?.querySelector("select").focus();
  });
  return item;
}

const { labels, thrown, samples } = await (await fetch("/samples")).json();
$("samples").replaceChildren(...samples.map((sample) => card(sample, labels, thrown)));
say(samples.length ? `${samples.length} samples.` : "There is no sample here.");
