// The form of settings, and what it means as options of the API.

import { QUALITIES } from "./words.js";

const SUFFIXES = { png: ".png", webp: ".webp", jpeg: ".jpg", mask: "-mask.png" };
const $ = (id) => document.getElementById(id);

export class Settings {
  #form = $("settings");

  /** `changed()` is called after each change by the user. */
  constructor(changed) {
    this.#form.addEventListener("submit", (event) => event.preventDefault());
    this.#form.addEventListener("input", () => {
      this.#refresh();
      changed();
    });
    this.#refresh();
  }

  #value(name) {
    return this.#form.elements[name]?.value ?? "";
  }

  /** Offers these qualities only; the choice stays where it is still there. */
  offer(names) {
    const offered = [...this.#form.querySelectorAll("[name=quality]")].map((input) => input.value);
    if (offered.join() === names.join()) return;
    const chosen = this.#value("quality");
    const choice = [chosen, "standard", names[0]].find((name) => names.includes(name));
    $("qualities").replaceChildren(
      ...names.map((name) => {
        const label = document.createElement("label");
        const input = Object.assign(document.createElement("input"), { type: "radio", name: "quality", value: name });
        input.checked = name === choice;
        const words = document.createElement("span");
        words.textContent = QUALITIES[name]?.[0] ?? name;
        label.append(input, words);
        return label;
      }),
    );
    this.#refresh();
  }

  /** The colour behind the cut-out, as CSS; empty for transparent. JPEG has no transparency. */
  get backdrop() {
    const choice = this.#value("background");
    if (choice === "color") return $("color").value;
    return choice === "white" || this.#value("output") === "jpeg" ? "#ffffff" : "";
  }

  /** What decides how the cut-out looks: quality and mode. Fast has no modes. */
  get look() {
    const quality = this.#value("quality") || "standard";
    return quality === "fast" ? { quality } : { quality, mode: $("mode").value };
  }

  /** Options of a first request: always transparent, so that every background can be shown behind it. */
  get toSee() {
    return { ...this.look, output: this.#value("output") === "webp" ? "webp" : "png" };
  }

  /** Options of the file to download of a cut-out that looks as `seen`, the options of its first request. */
  toKeep(seen) {
    const { output: _, ...look } = seen;
    const output = this.#value("output");
    const background = output === "mask" ? "" : this.backdrop;
    return { ...look, output, ...(background && { background }) };
  }

  fileName(name) {
    return `${name.replace(/\.[^.]*$/, "")}-cutout${SUFFIXES[this.#value("output")]}`;
  }

  #refresh() {
    const output = this.#value("output");
    const quality = this.#value("quality");
    $("color-row").hidden = this.#value("background") !== "color";
    $("swatch").style.setProperty("--picked", $("color").value);
    $("mode").disabled = quality === "fast";
    $("quality-hint").textContent = QUALITIES[quality]?.[1] ?? "No quality is ready yet.";
    $("output-hint").textContent = {
      png: "",
      webp: "Without loss, smaller than PNG.",
      jpeg: this.#value("background") === "transparent" ? "JPEG has no transparency: the background becomes white." : "",
      mask: "A grey picture: white is subject, black is background.",
    }[output];
  }
}
