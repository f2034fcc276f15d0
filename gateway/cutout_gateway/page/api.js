// The service's HTTP API, as this page needs it. Addresses are relative: the service may stand under a proxy's path.

/** An answer that is no result; `message` is the service's own sentence. */
export class ApiError extends Error {
  constructor(message, { status = 0, code = "", retryable = false, retryAfter = 0, requestId = "" } = {}) {
    super(message);
    Object.assign(this, { status, code, retryable, retryAfter, requestId });
  }
  get needsKey() {
    return this.status === 401 || this.status === 403;
  }
}

const UNREACHABLE = "The server could not be reached. Is it running, and are you connected?";

/** {ready, qualities: [names that are ready], reason, reachable}. */
export async function readiness() {
  try {
    const body = await (await fetch("readyz", { cache: "no-store" })).json();
    const qualities = Object.keys(body.qualities ?? {}).filter((name) => body.qualities[name]);
    return { ready: body.ready && qualities.length > 0, qualities, reason: body.reason, reachable: true };
  } catch {
    return { ready: false, qualities: [], reason: UNREACHABLE, reachable: false };
  }
}

/** The limits of /info, or {} where they are not told. */
export async function limits() {
  try {
    const response = await fetch("info");
    return response.ok ? ((await response.json()).limits ?? {}) : {};
  } catch {
    return {};
  }
}

/**
 * Sends `file`, resolves to {blob, meta}. `onProgress` gets the uploaded share 0..1. Rejects with an ApiError, or with
 * an AbortError where `signal` fired. It is an XMLHttpRequest because fetch does not tell how far an upload is.
 */
export function cutOut(file, options, { key, timeoutMs, signal, onProgress }) {
  const form = new FormData();
  for (const [name, value] of Object.entries(options)) form.append(name, value);
  form.append("image", file, file.name || "photo");
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    const abort = () => request.abort();
    request.open("POST", "v1/cutouts");
    request.responseType = "blob";
    if (timeoutMs) request.setRequestHeader("X-Cutout-Timeout-Ms", String(timeoutMs));
    if (key) request.setRequestHeader("X-Api-Key", key);
    request.upload.onprogress = (event) => event.lengthComputable && onProgress(event.loaded / event.total);
    request.upload.onload = () => onProgress(1);
    request.onload = () =>
      request.status === 200 ? resolve({ blob: request.response, meta: metaOf(request) }) : errorOf(request).then(reject);
    request.onerror = () => reject(new ApiError(UNREACHABLE, { code: "unreachable" }));
    request.onabort = () => reject(new DOMException("removed", "AbortError"));
    request.onloadend = () => signal.removeEventListener("abort", abort);
    if (signal.aborted) return reject(new DOMException("removed", "AbortError"));
    signal.addEventListener("abort", abort);
    request.send(form);
  });
}

function metaOf(request) {
  const header = (name) => request.getResponseHeader(`X-Cutout-${name}`);
  return {
    width: Number(header("Width")),
    height: Number(header("Height")),
    quality: header("Quality"),
    mode: header("Mode"),
    confidence: header("Confidence") === null ? null : Number(header("Confidence")),
    warnings: header("Warnings")?.split(",") ?? [],
  };
}

async function errorOf(request) {
  const told = {
    status: request.status,
    retryAfter: Number(request.getResponseHeader("Retry-After")) || 0,
    requestId: request.getResponseHeader("X-Request-Id") ?? "",
  };
  try {
    const { message, code, retryable } = JSON.parse(await request.response.text()).error;
    return new ApiError(message, { ...told, code, retryable });
  } catch {
    return new ApiError(`The server answered with status ${request.status}.`, told);
  }
}
