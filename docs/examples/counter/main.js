import { faces } from "/oahega.js";

const counts = new Map();
faces.on("event", ({ phase, emotion }) => {
  if (phase !== "new") return;
  counts.set(emotion, (counts.get(emotion) ?? 0) + 1);
  const items = [...counts].map(([name, count]) => {
    const item = document.createElement("li");
    item.textContent = `${name}: ${count}`;
    return item;
  });
  document.getElementById("counts").replaceChildren(...items);
});
