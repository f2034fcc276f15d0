// The page: photos come in, wait for their turn, are cut out, compared and kept.

import { ApiError, limits, readiness } from "./api.js";
import { takePhotos } from "./drop.js";
import { Jobs, Photo } from "./jobs.js";
import { List } from "./list.js";
import { Settings } from "./settings.js";
import { Stage } from "./stage.js";
import * as words from "./words.js";
import { zip } from "./zip.js";

const $ = (id) => document.getElementById(id);
const photos = [];
let picked = null;
let maxBytes = Infinity;

const settings = new Settings(refresh);
const stage = new Stage();
const list = new List(pick, remove);
const jobs = new Jobs(photoChanged);

function stateOf(photo) {
  switch (photo.state) {
    case "waiting":
      return jobs.paused ? "Waits for the server" : "Waits its turn";
    case "uploading":
      return `Uploading, ${Math.floor(photo.uploaded * 100)} %`;
    case "working":
      return "Cutting out …";
    case "busy":
      return `The server is busy: again in ${Math.round(photo.wait / 1000)} s`;
    case "failed":
      return photo.error.message;
    default:
      return photo.result.meta.warnings.includes("no_subject") ? "Done: no subject was found" : "Done";
  }
}

function say(text) {
  $("live").textContent = text;
}

function add(files) {
  const fresh = files.map((file) => new Photo(file));
  for (const photo of fresh) {
    photos.push(photo);
    list.add(photo);
    start(photo);
  }
  if (fresh.length === 0) return;
  if (fresh.length > 1) say(`${words.photos(fresh.length)} added.`);
  if (picked === null) {
    pick(fresh[0]);
    $("stage-name").focus();
  }
  refresh();
}

function start(photo) {
  photo.reset();
  if (photo.file.size > maxBytes) {
    const message = `This file has ${words.size(photo.file.size)}; the server takes up to ${words.size(maxBytes)}.`;
    jobs.set(photo, { state: "failed", error: new ApiError(message) });
  } else {
    jobs.set(photo, { state: "waiting" });
    jobs.cut(photo, () => settings.toSee);
  }
}

function pick(photo) {
  picked = photo;
  list.mark(photo);
  stage.show(photo, photo && stateOf(photo));
}

function remove(photo) {
  const at = photos.indexOf(photo);
  photo.leaving.abort();
  photos.splice(at, 1);
  list.delete(photo);
  const next = photos[Math.min(at, photos.length - 1)] ?? null;
  if (picked === photo) pick(next);
  refresh();
  if (next) list.focus(next);
  else $("choose").focus();
}

function photoChanged(photo) {
  list.update(photo, stateOf(photo));
  if (photo === picked) stage.show(photo, stateOf(photo));
  if (photo.state === "done") say(`${photo.name}: done. ${progressOfAll()}`);
  if (photo.state === "failed") {
    say(`${photo.name}: ${photo.error.message}`);
    if (photo.error.needsKey) askForKey(photo.error.message);
    if (["model_unavailable", "quality_not_installed", "unreachable"].includes(photo.error.code)) watch();
  }
  refresh();
}

function progressOfAll() {
  const done = photos.filter((photo) => photo.state === "done").length;
  return photos.length > 1 ? `${done} of ${photos.length} photos are done.` : "";
}

/** Photos whose cut-out was made with another quality or mode than chosen now. */
function outdated() {
  const look = JSON.stringify(settings.look);
  return photos.filter((photo) => {
    if (photo.state !== "done") return false;
    const { output: _, ...seen } = photo.result.options;
    return JSON.stringify(seen) !== look;
  });
}

function refresh() {
  stage.backdrop(settings.backdrop);
  $("empty").hidden = photos.length > 0;
  $("list-card").hidden = photos.length === 0;
  const working = photos.filter((photo) => !["done", "failed"].includes(photo.state)).length;
  $("list-title").textContent = working ? `${words.photos(photos.length)}, ${working} to go` : words.photos(photos.length);
  $("download-all").hidden = photos.filter((photo) => photo.result).length < 2;
  const old = outdated().length;
  $("redo").hidden = old === 0;
  $("redo").textContent = `Cut ${words.photos(old)} out again with this`;
}

function save(blob, name) {
  const url = URL.createObjectURL(blob);
  Object.assign(document.createElement("a"), { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}

const fileOf = (photo) => jobs.make(photo, settings.toKeep(photo.result.options));

async function download() {
  const photo = picked;
  try {
    const name = settings.fileName(photo.name);
    save(await fileOf(photo), name);
    say(`${name} was handed to your downloads.`);
  } catch (error) {
    notMade(photo, error);
  }
}

async function downloadAll() {
  $("download-all").disabled = true;
  try {
    const ready = photos.filter((photo) => photo.state === "done");
    const names = ready.map((photo) => settings.fileName(photo.name));
    const blobs = await Promise.allSettled(ready.map(fileOf));
    const files = blobs.flatMap(({ value }, i) => (value ? [{ name: names[i], blob: value }] : []));
    blobs.forEach(({ reason }, i) => reason && notMade(ready[i], reason));
    save(await zip(files), "cutouts.zip");
    say(`${words.photos(files.length)} were handed to your downloads, as one ZIP.`);
  } catch (error) {
    notice(error.message);
  } finally {
    $("download-all").disabled = false;
  }
}

function notMade(photo, error) {
  if (error.name === "AbortError") return;
  notice(`${photo.name} could not be made: ${error.message}`);
  if (error.needsKey) askForKey(error.message);
}

function notice(text) {
  $("notice").textContent = text;
  $("notice").hidden = !text;
}

function askForKey(message) {
  $("key-error").textContent = jobs.key ? message : "";
  if (!$("key-form").hidden) return;
  $("key-form").hidden = false;
  $("key").focus();
}

function useKey(event) {
  event.preventDefault();
  jobs.key = $("key").value.trim();
  $("key-form").hidden = true;
  notice("");
  photos.filter((photo) => photo.error?.needsKey).forEach(start);
}

let watching = false;

/** Asks what the server can do, until it can do something; the queue waits so long. */
async function watch() {
  if (watching) return;
  watching = true;
  for (let asked = 0; ; asked++) {
    const state = await readiness();
    settings.offer(state.qualities);
    if (state.ready) break;
    jobs.paused = true;
    const reason = state.reason ? ` ${state.reason}` : "";
    notice(state.reachable ? `No quality is ready yet; photos wait until one is.${reason}` : state.reason);
    photos.filter((photo) => photo.state === "waiting").forEach((photo) => list.update(photo, stateOf(photo)));
    await new Promise((resolve) => setTimeout(resolve, Math.min(1000 * (asked + 1), 5000)));
  }
  if (jobs.paused) notice("");
  watching = false;
  jobs.resume();
  refresh();
}

takePhotos($("files"), [$("choose"), $("add")], add);
$("download").addEventListener("click", download);
$("download-all").addEventListener("click", downloadAll);
$("again").addEventListener("click", () => start(picked));
$("redo").addEventListener("click", () => outdated().forEach(start));
$("clear").addEventListener("click", () => [...photos].forEach(remove));
$("key-form").addEventListener("submit", useKey);
document.addEventListener("visibilitychange", () => document.hidden || watch());

refresh();
watch();
limits().then((known) => {
  maxBytes = known.max_bytes ?? Infinity;
  jobs.timeoutMs = Math.floor((known.max_timeout_s ?? 0) * 1000); // a person waits rather than starts again
  const pixels = known.max_pixels ? ` and ${Math.floor(known.max_pixels / 1e6)} megapixels` : "";
  const most = known.max_bytes ? ` Up to ${words.size(known.max_bytes)}${pixels} each.` : "";
  $("limits").textContent = `JPEG, PNG, WebP, HEIC, AVIF, TIFF, BMP or GIF.${most} Photos go to this server only.`;
});
