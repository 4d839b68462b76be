import { faces } from "/oahega.js";

const SLIDES = 5;
const EVERY_MS = 4000;
const slide = document.getElementById("slide");
setInterval(() => {
  if (faces.state?.faces) return;
  slide.textContent = String((Number(slide.textContent) % SLIDES) + 1);
}, EVERY_MS);
