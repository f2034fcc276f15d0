// The large picture: before and after under a slider, and what is known about the result.

import { draw } from "./pictures.js";
import { facts, seconds, size, trust, warning } from "./words.js";

const EDGE = 1600;
const $ = (id) => document.getElementById(id);

export class Stage {
  #photo = null;
  #drawn = null; // the result that is on the canvas
  #canRead = false;

  constructor() {
    $("slider").addEventListener("input", () => this.#split($("slider").valueAsNumber));
  }

  #split(percent) {
    $("frame").style.setProperty("--split", `${percent}%`);
    $("slider").setAttribute("aria-valuetext", `${percent} % before, ${100 - percent} % after`);
  }

  /** The colour behind the cut-out; empty for a checkerboard. */
  backdrop(color) {
    $("after").classList.toggle("checker", !color);
    $("after").style.setProperty("--picked", color || "transparent");
  }

  /** Shows `photo` as it is now; null for none. */
  async show(photo, stateWords) {
    $("stage").hidden = photo === null;
    const isNew = photo !== this.#photo;
    this.#photo = photo;
    if (photo === null) return this.#empty();
    if (isNew) {
      this.#empty();
      $("stage-name").textContent = photo.name;
      this.#split(($("slider").value = 50));
      draw(photo.file, $("before"), EDGE, () => this.#photo === photo).then((canRead) => {
        if (this.#photo !== photo) return;
        this.#canRead = canRead;
        this.#layOut();
      });
    }
    $("stage-note").textContent = photo.state === "done" ? "" : stateWords;
    this.#tell(photo);
    const { result } = photo;
    if (result !== this.#drawn) {
      this.#drawn = result;
      if (result) await draw(result.blob, $("after"), EDGE, () => this.#drawn === result);
    }
    if (this.#drawn === result) this.#layOut();
  }

  #empty() {
    for (const canvas of [$("before"), $("after")]) canvas.width = canvas.height = 0;
    this.#drawn = null;
    this.#canRead = false;
    $("frame").hidden = true;
    $("compare").className = "compare waiting";
  }

  #layOut() {
    const photo = this.#photo;
    if (!photo) return;
    const box = $("compare").classList;
    const after = $("after");
    if (!photo.result) {
      // The frame has the size of `after`; until there is one it takes that of the photo.
      if (after.width !== $("before").width) after.width = $("before").width;
      if (after.height !== $("before").height) after.height = $("before").height;
    }
    $("frame").hidden = (!photo.result && !this.#canRead) || after.width === 0;
    box.toggle("waiting", !photo.result);
    box.toggle("no-before", Boolean(photo.result) && !this.#canRead);
    box.toggle("failed", photo.state === "failed");
  }

  #tell(photo) {
    const { meta, blob } = photo.result ?? {};
    $("facts").textContent = meta ? `${facts(meta)} · ${size(blob.size)} · ${seconds(photo.took)}` : size(photo.file.size);
    $("trust").textContent = meta && meta.confidence !== null ? trust(meta.confidence) : "";
    const lines = (meta?.warnings ?? []).map(warning);
    $("warnings").replaceChildren(...lines.map((text) => Object.assign(document.createElement("li"), { textContent: text })));
    $("download").hidden = !meta;
    $("download").disabled = photo.state !== "done";
    $("again").hidden = photo.state !== "failed";
  }
}
