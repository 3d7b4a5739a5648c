// Speaks to the service: requests with the credential, problem documents, streams of events, uploads.

import { collection, credential } from "./store.js";

/** What to do about a problem, where its detail does not say it already. */
const ADVICE = {
  0: "Check that it is running and that you are connected, then try again.",
  403: "Ask an administrator for a key with the role this needs.",
  404: "It may have been deleted, or it belongs to another collection.",
  413: "Send something shorter.",
  500: "This is a fault of the service. Give its administrator the trace below.",
  502: "The administrator has to check the settings of the chat model.",
  504: "Try again, or ask something simpler.",
  507: "The administrator has to make room.",
};

/** Something that the service refused or could not do. */
export class Problem extends Error {
  constructor(status, title, detail, { retryAfter = null, trace = null } = {}) {
    super(`${title}: ${detail}`);
    Object.assign(this, { status, title, detail, retryAfter, trace, advice: ADVICE[status] ?? "" });
  }

  /** Whether the same request may succeed by itself a little later. */
  get passes() {
    return this.status === 429 || (this.status === 503 && this.retryAfter !== null);
  }
}

let whenUnauthorized = () => {};
/** Is called with the problem whenever the service does not accept the credential. */
export function onUnauthorized(listener) { whenUnauthorized = listener; }

function seconds(header) {
  if (header === null || header === undefined || header === "") return null;
  const number = Number(header);
  return Number.isFinite(number) ? Math.min(Math.max(number, 1), 3600) : null;
}

function problemFrom(status, text, retryAfter) {
  let document = {};
  try { document = JSON.parse(text) ?? {}; } catch { /* a proxy answered in its own words */ }
  const title = typeof document.title === "string" ? document.title : `Status ${status}`;
  const detail = typeof document.detail === "string" ? document.detail : "The service gave no reason.";
  const problem = new Problem(status, title, detail, { retryAfter: seconds(retryAfter), trace: document.trace_id });
  problem.document = document;
  if (status === 401) whenUnauthorized(problem);
  return problem;
}

function unreachable() {
  return new Problem(0, "The service cannot be reached", "");
}

function headers(more) {
  const key = credential();
  return { ...(key ? { authorization: `Bearer ${key}` } : {}), ...more };
}

/** Sends a request and gives the response if it succeeded. */
export async function send(path, { method = "GET", json, accept = "application/json", signal } = {}) {
  const body = json === undefined ? undefined : JSON.stringify(json);
  const type = body === undefined ? {} : { "content-type": "application/json" };
  let response;
  try {
    response = await fetch(path, { method, body, signal, headers: headers({ accept, ...type }), cache: "no-store" });
  } catch (error) {
    throw signal?.aborted ? error : unreachable();
  }
  if (response.ok) return response;
  throw problemFrom(response.status, await response.text().catch(() => ""), response.headers.get("retry-after"));
}

export async function get(path, options) {
  return (await send(path, options)).json();
}

/** The path with the collection that is used, where it is not the usual one. */
export function within(path) {
  const name = collection();
  if (name === "default") return path;
  return `${path}${path.includes("?") ? "&" : "?"}collection=${encodeURIComponent(name)}`;
}

/** The member of a request that names the collection. */
export function inCollection(request) {
  const name = collection();
  return name === "default" ? request : { ...request, collection: name };
}

/** Slashes may stand as they are, except where an address with them would be shortened on its way. */
export function documentPath(id) {
  const encoded = encodeURIComponent(id);
  const shortens = id.split("/").some((part) => part === "" || part === "." || part === "..");
  return within(`/documents/${shortens ? encoded : encoded.replaceAll("%2F", "/")}`);
}

export function sessionPath(id, more = "") {
  return `/sessions/${encodeURIComponent(id)}${more}`;
}

/** Longest event in characters; more is not what the service sends. */
const MAX_EVENT = 8_000_000;

/** The data of each event of a stream; comments and unknown fields are passed over. */
export async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let buffer = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      // A proxy may end lines in its own way.
      buffer += value.replaceAll("\r", "");
      if (buffer.length > MAX_EVENT) throw new Error("an event is too long");
      let end;
      while ((end = buffer.indexOf("\n\n")) >= 0) {
        const data = dataOf(buffer.slice(0, end));
        buffer = buffer.slice(end + 2);
        if (data) yield JSON.parse(data);
      }
    }
  } finally {
    // Whoever reads no further shall not keep the service working.
    reader.cancel().catch(() => {});
  }
}

function dataOf(event) {
  const data = event.split("\n").filter((line) => line.startsWith("data:"));
  return data.map((line) => line.slice(5).trimStart()).join("\n");
}

/** Stores a document; `progress` is told the share that is sent. Only this kind of request tells how far it is. */
export function upload(id, body, type, { progress, signal }) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("PUT", documentPath(id));
    for (const [name, value] of Object.entries(headers({ "content-type": type }))) request.setRequestHeader(name, value);
    request.upload.addEventListener("progress", (event) => progress(event.lengthComputable ? event.loaded / event.total : 0));
    request.addEventListener("error", () => reject(unreachable()));
    request.addEventListener("abort", () => reject(new DOMException("stopped", "AbortError")));
    request.addEventListener("load", () => {
      if (request.status >= 200 && request.status < 300) resolve(JSON.parse(request.responseText));
      else reject(problemFrom(request.status, request.responseText, request.getResponseHeader("retry-after")));
    });
    signal.addEventListener("abort", () => request.abort());
    request.send(body);
  });
}

/** Waits so many seconds; `tick` is told how many are left. Ends early, with an error, when `signal` is aborted. */
export function wait(secondsToWait, signal, tick = () => {}) {
  return new Promise((resolve, reject) => {
    const until = Date.now() + secondsToWait * 1000;
    const look = () => {
      const left = Math.ceil((until - Date.now()) / 1000);
      tick(Math.max(left, 0));
      if (left <= 0) { clearInterval(timer); resolve(); }
    };
    const timer = setInterval(look, 250);
    signal.addEventListener("abort", () => { clearInterval(timer); reject(new DOMException("stopped", "AbortError")); });
    look();
  });
}
