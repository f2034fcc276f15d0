// Files as small pictures on a canvas. A large photo is decoded once, one at a time, scaled down, and let go.

let last = Promise.resolve();

/** Draws `blob` into `canvas`, at most `edge` pixels wide and high. False where the browser cannot read the format. */
export function draw(blob, canvas, edge, stillWanted = () => true) {
  const turn = last.then(async () => {
    if (!stillWanted()) return false;
    let bitmap;
    try {
      bitmap = await createImageBitmap(blob);
    } catch {
      return false;
    }
    const scale = Math.min(1, edge / Math.max(bitmap.width, bitmap.height));
    if (stillWanted()) {
      canvas.width = Math.max(1, Math.round(bitmap.width * scale));
      canvas.height = Math.max(1, Math.round(bitmap.height * scale));
      const context = canvas.getContext("2d");
      context.imageSmoothingQuality = "high";
      context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
    }
    bitmap.close();
    return true;
  });
  last = turn.catch(() => {});
  return turn;
}

/** Draws `blob` as a square of `edge` pixels, its middle filling it. */
export async function drawThumbnail(blob, canvas, edge) {
  const whole = document.createElement("canvas");
  if (!(await draw(blob, whole, edge * 2))) return;
  const side = Math.min(whole.width, whole.height);
  const place = [(whole.width - side) / 2, (whole.height - side) / 2, side, side];
  canvas.width = canvas.height = edge;
  canvas.getContext("2d").drawImage(whole, ...place, 0, 0, edge, edge);
}
