// The list of photos: a thumbnail, the name, the state in words, a bar while work is under way.

import { drawThumbnail } from "./pictures.js";

const EDGE = 96;
const $ = (id) => document.getElementById(id);

function element(tag, values, ...children) {
  const made = Object.assign(document.createElement(tag), values);
  made.append(...children);
  return made;
}

export class List {
  #rows = new Map();

  /** `pick(photo)` and `remove(photo)` are called when the user does so. */
  constructor(pick, remove) {
    this.pick = pick;
    this.remove = remove;
  }

  add(photo) {
    const thumbnail = element("canvas", { width: EDGE, height: EDGE });
    thumbnail.setAttribute("aria-hidden", "true");
    const state = element("span", { className: "state" });
    const words = element("span", { className: "words" }, element("span", { className: "name", textContent: photo.name }), state);
    const button = element("button", { type: "button", className: "pick" }, thumbnail, words);
    const bar = element("progress", { max: 1, hidden: true });
    bar.setAttribute("aria-label", `Progress of ${photo.name}`);
    const cross = element("button", { type: "button", className: "remove", textContent: "×" });
    cross.setAttribute("aria-label", `Remove ${photo.name}`);
    button.addEventListener("click", () => this.pick(photo));
    cross.addEventListener("click", () => this.remove(photo));
    const row = element("li", {}, button, cross, bar);
    this.#rows.set(photo, { row, button, bar, state, thumbnail, drawn: null });
    $("list").append(row);
    drawThumbnail(photo.file, thumbnail, EDGE);
  }

  update(photo, stateWords) {
    const { row, bar, state, thumbnail, drawn } = this.#rows.get(photo);
    state.textContent = stateWords;
    row.classList.toggle("bad", photo.state === "failed");
    bar.hidden = photo.state !== "uploading" && photo.state !== "working";
    if (photo.state === "uploading") bar.value = photo.uploaded;
    else bar.removeAttribute("value");
    const blob = photo.result?.blob;
    if (blob && blob !== drawn) {
      this.#rows.get(photo).drawn = blob;
      thumbnail.classList.add("checker");
      drawThumbnail(blob, thumbnail, EDGE);
    }
  }

  mark(picked) {
    for (const [photo, { button }] of this.#rows) {
      if (photo === picked) button.setAttribute("aria-current", "true");
      else button.removeAttribute("aria-current");
    }
  }

  focus(photo) {
    this.#rows.get(photo)?.button.focus();
  }

  delete(photo) {
    this.#rows.get(photo).row.remove();
    this.#rows.delete(photo);
  }
}
