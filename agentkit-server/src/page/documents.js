// The documents: a list to read and delete from, and the uploads of those who may change them.

import { documentPath, get, send, upload, wait, within } from "./api.js";
import { announce, button, byId, bytesText, confirmed, counted, iconButton, make, problemBox, toast } from "./dom.js";
import { read } from "./panel.js";

const PAGE = 100;
/** Most bytes that the service takes of one document. */
const MAX_BYTES = 32 * 1024 * 1024;
/** Uploads at the same time; the service embeds one after the other anyway. */
const AT_ONCE = 2;
/** Uploads that are listed; the oldest that are over go first. */
const LISTED = 500;

/** What browsers say of a file's type differs, so its name decides. */
const TYPES = {
  txt: "text/plain", text: "text/plain", log: "text/plain", rst: "text/x-rst", org: "text/org", adoc: "text/asciidoc",
  md: "text/markdown", markdown: "text/markdown", html: "text/html", htm: "text/html", xhtml: "application/xhtml+xml",
  csv: "text/csv", tsv: "text/tab-separated-values", jsonl: "application/x-ndjson", ndjson: "application/x-ndjson",
  pdf: "application/pdf", epub: "application/epub+zip",
  docx: "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
};
const CODE = new Set("c cc cpp cs css go h hpp java js json kt lua mjs php py rb rs scala sh sql swift toml ts tsx xml yaml yml".split(" "));

const list = { documents: [], next: null, writable: false };
const waiting = [];
let active = 0;
let reads = 0;

export function startDocuments() {
  byId("documents-more").addEventListener("click", more);
  byId("files").addEventListener("change", (event) => { add(event.target.files); event.target.value = ""; });
  byId("choose").addEventListener("click", () => byId("files").click());
  byId("uploads-clear").addEventListener("click", clearUploads);
  startDropping();
}

/** Shows the documents; `writable` says whether they may be changed. */
export async function showDocuments(writable) {
  list.writable = writable;
  byId("drop").hidden = !writable;
  await refresh();
}

// ---- the list -----------------------------------------------------------------------------------------------

export async function refresh() {
  await readPage([], null);
}

const more = () => readPage(list.documents, list.next);

/** Reads the next page behind those that are there already; only what was asked for last is shown. */
async function readPage(before, next) {
  reads += 1;
  const number = reads;
  const after = next ? `&after=${encodeURIComponent(next)}` : "";
  try {
    const page = await get(within(`/documents?limit=${PAGE}${after}`));
    if (number !== reads) return;
    list.documents = [...before, ...page.documents];
    list.next = page.next ?? null;
    draw();
  } catch (problem) {
    if (number === reads) byId("documents-notes").replaceChildren(problemBox(problem, refresh));
  }
}

function draw() {
  const { documents, next } = list;
  const none = list.writable ? "There are no documents yet. Drop some files above." : "There are no documents yet. An editor can add some.";
  const text = documents.length === 0 ? none : `${counted(documents.length, "document")}${next ? " and more" : ""}`;
  byId("documents-notes").replaceChildren(make("p", { class: "soft" }, text));
  byId("documents-table").hidden = documents.length === 0;
  byId("documents").replaceChildren(...documents.map(row));
  byId("documents-more").hidden = next === null;
}

function row(entry) {
  const open = button(entry.title || entry.id, () => read(entry.id), { class: "row-title", dir: "auto" });
  const name = make("td", { class: "wide" }, open, entry.title && make("span", { class: "place", dir: "auto" }, entry.id));
  const element = make("tr", {}, name, make("td", { class: "number-cell" }, bytesText(entry.bytes)), make("td", { class: "number-cell" }, String(entry.chunks), make("span", { class: "unit" }, entry.chunks === 1 ? " passage" : " passages")));
  const actions = make("td", { class: "actions-cell" });
  if (list.writable) actions.append(iconButton("delete", `Delete ${entry.title || entry.id}`, () => remove(entry)));
  element.append(actions);
  return element;
}

async function remove(entry) {
  const name = entry.title || entry.id;
  if (!(await confirmed("Delete the document?", `“${name}” is removed, and no answer will rest on it any more.`, "Delete"))) return;
  try {
    await send(documentPath(entry.id), { method: "DELETE" });
  } catch (problem) {
    if (problem.status !== 404) { toast(`${problem.title}: ${problem.detail}`, true); return; }
  }
  toast(`“${name}” is deleted`);
  await refresh();
}

// ---- uploads ------------------------------------------------------------------------------------------------

function startDropping() {
  const drop = byId("drop");
  const view = byId("view-documents");
  view.addEventListener("dragover", (event) => { if (list.writable) { event.preventDefault(); drop.classList.add("over"); } });
  view.addEventListener("dragleave", (event) => { if (!view.contains(event.relatedTarget)) drop.classList.remove("over"); });
  view.addEventListener("drop", (event) => {
    if (!list.writable) return;
    event.preventDefault();
    drop.classList.remove("over");
    add(event.dataTransfer.files);
  });
}

/** Takes files in, to be sent one after the other. */
export function add(files) {
  for (const file of files) {
    const job = { file, id: file.webkitRelativePath || file.name, controller: new AbortController() };
    job.status = make("span", { class: "upload-status" }, "Waiting");
    job.bar = make("progress", { max: 1, value: 0, "aria-label": `Upload of ${job.id}` });
    job.stop = iconButton("close", `Stop the upload of ${job.id}`, () => job.controller.abort());
    job.item = make("li", { class: "upload" }, make("span", { class: "upload-name", dir: "auto" }, job.id), make("span", { class: "place" }, bytesText(file.size)), job.bar, job.status, job.stop);
    byId("uploads").prepend(job.item);
    waiting.push(job);
  }
  while (byId("uploads").children.length > LISTED) byId("uploads").lastElementChild.remove();
  byId("uploads-box").hidden = byId("uploads").children.length === 0;
  announce(`${counted(files.length, "file")} to be uploaded`);
  next();
}

function next() {
  while (active < AT_ONCE && waiting.length > 0) {
    active += 1;
    run(waiting.shift()).finally(() => {
      active -= 1;
      next();
      if (active === 0) over();
    });
  }
}

function over() {
  const failed = byId("uploads").querySelectorAll(".upload.failed").length;
  announce(failed > 0 ? `The uploads are over, ${counted(failed, "file")} failed` : "The uploads are over");
  refresh();
}

async function run(job) {
  try {
    ended(job, outcome(await attempt(job)), "stored");
  } catch (problem) {
    if (job.controller.signal.aborted) ended(job, "Stopped", "stopped");
    else ended(job, `${problem.title ?? "The file cannot be read"}: ${problem.detail ?? problem.message}`, "failed");
  }
}

async function attempt(job) {
  const { body, type } = await prepared(job.file);
  const signal = job.controller.signal;
  for (let tries = 0; ; tries += 1) {
    signal.throwIfAborted();
    try {
      return await upload(job.id, body, type, { signal, progress: (share) => progress(job, share) });
    } catch (problem) {
      if (!problem.passes || tries === 3) throw problem;
      await wait(problem.retryAfter ?? 5, signal, (left) => { job.status.textContent = `${problem.title}, goes on in ${left} s`; });
    }
  }
}

function progress(job, share) {
  job.bar.value = share;
  job.status.textContent = share < 1 ? `Sending, ${Math.floor(share * 100)} %` : "Indexing";
  // How long embedding takes nobody knows beforehand.
  if (share >= 1) job.bar.removeAttribute("value");
}

const outcome = ({ unchanged, chunks, embedded }) =>
  unchanged > 0 ? "Unchanged, it was stored already" : `Stored, ${counted(chunks, "passage")}${embedded < chunks ? `, ${embedded} of them new` : ""}`;

function ended(job, text, how) {
  job.bar.remove();
  job.stop.remove();
  job.item.classList.add(how);
  job.status.textContent = text;
  if (how === "stored") return;
  const again = button("Try again", () => { job.item.remove(); add([job.file]); }, { class: "plain" });
  job.item.append(again);
}

function clearUploads() {
  for (const item of byId("uploads").querySelectorAll(".stored, .stopped, .failed")) item.remove();
  byId("uploads-box").hidden = byId("uploads").children.length === 0;
}

/** The body of a file and its type; files of unknown types are sent if they are text. */
async function prepared(file) {
  if (file.size > MAX_BYTES) throw new Error(`it has ${bytesText(file.size)}, at most ${bytesText(MAX_BYTES)} are taken`);
  const extension = file.name.includes(".") ? file.name.split(".").pop().toLowerCase() : "";
  if (Object.hasOwn(TYPES, extension)) return { body: file, type: TYPES[extension] };
  const bytes = await file.arrayBuffer();
  let text;
  try { text = new TextDecoder("utf-8", { fatal: true }).decode(bytes); } catch { throw new Error("this kind of file is not known, and it is no text in UTF-8"); }
  const kind = extension === "json" ? "json" : CODE.has(extension) ? "code" : "text";
  return { body: JSON.stringify({ text, title: file.name, kind }), type: "application/json" };
}
