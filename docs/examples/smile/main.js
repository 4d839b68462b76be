import { faces } from "/oahega.js";

const sign = document.getElementById("sign");
faces.on("happy", () => (sign.textContent = ":)"));
faces.on("nobody", () => (sign.textContent = ":|"));
