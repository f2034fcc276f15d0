// Photos and the work on them: a bounded number of requests at once, and patience with a busy server.

import { ApiError, cutOut } from "./api.js";

const AT_ONCE = 3;
const ATTEMPTS = 6;

/** One photo. `state`: waiting, uploading, working, busy, done, failed. */
export class Photo {
  static #count = 0;
  constructor(file) {
    this.id = ++Photo.#count;
    this.file = file;
    this.name = file.name || "photo.png";
    this.leaving = new AbortController();
    this.reset();
  }
  reset() {
    Object.assign(this, { state: "waiting", uploaded: 0, error: null, took: 0 });
    // result: {blob, meta, options} of what is shown; file that is downloaded: `made`, the same or made later.
    Object.assign(this, { result: null, made: null });
  }
}

export class Jobs {
  #running = 0;
  #queue = [];
  key = "";
  timeoutMs = 0; // how long the server may take; 0 for its own choice

  /** `changed(photo)` is called after each change of a photo. */
  constructor(changed) {
    this.changed = changed;
    this.paused = true;
  }

  set(photo, values) {
    Object.assign(photo, values);
    if (!photo.leaving.signal.aborted) this.changed(photo);
  }

  resume() {
    this.paused = false;
    this.#next();
  }

  /** Cuts `photo` out with the options that `options()` tells when its turn comes. */
  async cut(photo, options) {
    try {
      const wanted = await this.#turn(options);
      const began = performance.now();
      try {
        const result = await this.#send(photo, wanted);
        const made = { blob: result.blob, key: JSON.stringify(wanted) };
        this.set(photo, { state: "done", result: { ...result, options: wanted }, made, took: performance.now() - began });
      } finally {
        this.#done();
      }
    } catch (error) {
      if (error.name !== "AbortError") this.set(photo, { state: "failed", error });
    }
  }

  /** The file of a photo that is done, made with `options`: what is there already, or asked for now. */
  async make(photo, options) {
    const key = JSON.stringify(options);
    if (photo.made.key === key) return photo.made.blob;
    await this.#turn(() => options);
    try {
      const { blob } = await this.#send(photo, options);
      photo.made = { blob, key };
      return blob;
    } finally {
      this.#done();
      this.set(photo, { state: "done" });
    }
  }

  /** Waits for a free place; resolves to what `options()` says then. */
  #turn(options) {
    return new Promise((resolve) => {
      this.#queue.push(() => resolve(options()));
      this.#next();
    });
  }

  #next() {
    while (!this.paused && this.#running < AT_ONCE && this.#queue.length) {
      this.#running++;
      this.#queue.shift()();
    }
  }

  #done() {
    this.#running--;
    this.#next();
  }

  async #send(photo, options) {
    const { signal } = photo.leaving;
    for (let attempt = 1; ; attempt++) {
      signal.throwIfAborted();
      this.set(photo, { state: "uploading", uploaded: 0 });
      try {
        return await cutOut(photo.file, options, {
          key: this.key,
          timeoutMs: this.timeoutMs,
          signal,
          onProgress: (share) => this.set(photo, share < 1 ? { uploaded: share } : { state: "working", uploaded: 1 }),
        });
      } catch (error) {
        if (!(error instanceof ApiError && error.retryable) || attempt === ATTEMPTS) throw error;
        const wait = Math.max(error.retryAfter, attempt) * 1000;
        this.set(photo, { state: "busy", uploaded: 0, wait });
        await pause(wait, signal);
      }
    }
  }
}

function pause(ms, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => (clearTimeout(timer), resolve()), { once: true });
  });
}
