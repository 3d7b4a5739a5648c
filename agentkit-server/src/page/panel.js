// The panel beside the views: the sources of an answer, or a document opened at a quotation.

import { documentPath, get } from "./api.js";
import { announce, button, byId, counted, icon, make, problemBox } from "./dom.js";
import { flowing, merged, pieces, place, utf16Offsets } from "./text.js";

/** Characters of a document that are shown at first before and behind the quotation, and with each "more". */
const WINDOW = 24_000;
/** Kinds of documents whose lines mean something. */
const AS_WRITTEN = new Set(["code", "table", "json"]);
const narrow = matchMedia("(max-width: 70rem)");

const panel = () => byId("panel");
let opener = null;
let shown = null;
let reading = null;

// ---- opening and closing ------------------------------------------------------------------------------------

export function panelIsOpen() { return document.body.classList.contains("with-panel"); }

function open(title) {
  byId("panel-title").textContent = title;
  if (!panel().contains(document.activeElement)) opener = document.activeElement;
  document.body.classList.add("with-panel");
  panel().hidden = false;
  settle();
}

/** Where the panel covers everything, what lies under it is out of reach. */
function settle() {
  const covers = panelIsOpen() && narrow.matches;
  for (const id of ["side", "main", "top"]) byId(id).toggleAttribute("inert", covers);
  if (covers && !panel().contains(document.activeElement)) byId("panel-close").focus();
}
narrow.addEventListener("change", settle);

export function closePanel() {
  if (!panelIsOpen()) return;
  reading?.abort();
  document.body.classList.remove("with-panel");
  panel().hidden = true;
  settle();
  if (opener?.isConnected) opener.focus({ preventScroll: true });
}

/** Closes the panel where it covers the view; says whether it did. */
export function closePanelThatCovers() {
  const covers = panelIsOpen() && narrow.matches;
  if (covers) closePanel();
  return covers;
}

/** Puts the sources of a turn into the panel; opens it only where there is room beside the answer, or on demand. */
export function showSources(turn, demanded = false) {
  shown = turn;
  if (!demanded && narrow.matches) return;
  reading?.abort();
  open("Sources");
  byId("panel-back").hidden = true;
  const sorted = [...turn.sources].sort((a, b) => a.number - b.number);
  byId("panel-body").replaceChildren(make("ol", { class: "cards" }, ...sorted.map((source) => card(turn, source))));
}

export function backToSources() {
  if (!shown) return;
  showSources(shown, true);
  byId("panel-title").focus();
}

/** Forgets the turn that is shown, as when another conversation begins. */
export function clearPanel() {
  shown = null;
  closePanel();
}

// ---- the sources --------------------------------------------------------------------------------------------

function card(turn, source) {
  const citations = turn.citations.filter((citation) => citation.number === source.number);
  const summary = make("summary", {},
    make("span", { class: citations.length > 0 ? "number cited" : "number" }, make("span", { class: "hidden" }, "Source "), String(source.number)),
    make("span", { class: "title", dir: "auto" }, source.title || source.document_id),
    make("span", { class: "place", dir: "auto" }, [source.title ? source.document_id : "", place(source.locator)].filter(Boolean).join(" · ")));
  const read = button("Open document", () => openDocument(turn, source, citations[0]), { class: "plain" });
  const details = make("details", { open: citations.length > 0 }, summary, passage(source, citations), make("div", { class: "row card-foot" }, read));
  return make("li", { class: "card", "data-number": source.number }, details);
}

/** The passage with what is quoted of it marked. */
export function passage(source, citations) {
  const spans = citations
    .filter((citation) => citation.document_id === source.document_id)
    .map(({ span }) => ({ start: span.start - source.span.start, end: span.end - source.span.start }))
    .filter((span) => span.start >= 0 && span.end <= source.span.end - source.span.start);
  const parts = pieces(flowing(source.text), spans).map((piece) => (piece.marked ? make("mark", {}, piece.text) : piece.text));
  return make("div", { class: "passage" }, ...parts);
}

// ---- a document ---------------------------------------------------------------------------------------------

/** Opens a citation's document at its quotation; the answer's other quotations of it are marked as well. */
export function openDocument(turn, source, citation) {
  shown = turn;
  const id = (citation ?? source).document_id;
  const others = turn.citations.filter((other) => other.document_id === id).map((other) => other.span);
  return read(id, { at: (citation ?? source).span, others, locator: (citation ?? source).locator, back: true });
}

/** Opens a document, at `at` if given; `others` are further ranges to mark. */
export async function read(id, { at = null, others = [], locator = null, back = false } = {}) {
  reading?.abort();
  const controller = new AbortController();
  reading = controller;
  open("Document");
  byId("panel-back").hidden = !back;
  const body = byId("panel-body");
  body.replaceChildren(make("p", { class: "soft" }, "Opening the document"));
  byId("panel-title").focus({ preventScroll: true });
  try {
    const document = await get(documentPath(id), { signal: controller.signal });
    if (!controller.signal.aborted) showDocument(document, at, others, locator);
  } catch (problem) {
    if (controller.signal.aborted) return;
    body.replaceChildren(problemBox(problem, () => read(id, { at, others, locator, back })));
  }
}

function showDocument(found, at, others, locator) {
  byId("panel-title").textContent = found.title || found.id;
  const text = AS_WRITTEN.has(found.kind) ? found.source_text : flowing(found.source_text);
  const about = [found.title ? found.id : "", found.kind, counted(found.chunks, "passage"), place(locator)];
  const head = make("div", { class: "document-head" },
    make("h3", { dir: "auto" }, found.title || found.id),
    make("p", { class: "place", dir: "auto" }, about.filter(Boolean).join(" · ")));
  const fields = metadata(found.metadata ?? {});
  const content = make("div", { class: found.kind === "code" ? "reader code" : "reader", tabindex: 0, role: "region", "aria-label": "Text of the document" });
  const [start, end] = at ? utf16Offsets(text, [at.start, at.end]) : [0, 0];
  const shown = { from: lineBefore(text, start - WINDOW), to: lineAfter(text, end + WINDOW) };
  const spans = merged(others.filter((span) => !at || span.end <= at.start || span.start >= at.end));
  const draw = () => {
    const marked = parts(text, at, spans).map((part) => clipped(part, shown)).filter(Boolean);
    content.replaceChildren(...marked.map(({ text: piece, kind }) => (kind ? make("mark", { class: kind }, piece) : piece)));
    earlier.hidden = shown.from === 0;
    later.hidden = shown.to === text.length;
  };
  const earlier = button("Show earlier text", () => {
    const height = content.scrollHeight;
    shown.from = lineBefore(text, shown.from - WINDOW);
    draw();
    byId("panel-body").scrollTop += content.scrollHeight - height;
  }, { class: "plain" });
  const later = button("Show later text", () => { shown.to = lineAfter(text, shown.to + WINDOW); draw(); }, { class: "plain" });
  draw();
  byId("panel-body").replaceChildren(head, ...fields, earlier, content, later);
  content.querySelector("mark.current")?.scrollIntoView({ block: "center" });
  announce(at ? "The document is open at the quotation" : "The document is open");
}

/** The whole text as parts: `{ start, text, kind }`, in UTF-16 units. */
function parts(text, at, spans) {
  const all = [...spans.map((span) => [span, "other"]), ...(at && at.end > at.start ? [[at, "current"]] : [])];
  all.sort((a, b) => a[0].start - b[0].start);
  const offsets = utf16Offsets(text, all.flatMap(([span]) => [span.start, span.end]));
  const result = [];
  let from = 0;
  all.forEach(([, kind], index) => {
    const [start, end] = offsets.slice(index * 2, index * 2 + 2);
    result.push({ start: from, text: text.slice(from, start), kind: "" }, { start, text: text.slice(start, end), kind });
    from = end;
  });
  result.push({ start: from, text: text.slice(from), kind: "" });
  return result;
}

function clipped(part, { from, to }) {
  const [start, end] = [Math.max(part.start, from), Math.min(part.start + part.text.length, to)];
  return start < end ? { text: part.text.slice(start - part.start, end - part.start), kind: part.kind } : null;
}

/** The beginning of a line not far before, so that no line and no character is cut. */
function lineBefore(text, at) {
  if (at <= 0) return 0;
  const line = text.lastIndexOf("\n", at);
  return whole(text, at - line < 2000 ? line + 1 : at);
}

function lineAfter(text, at) {
  if (at >= text.length) return text.length;
  const line = text.indexOf("\n", at);
  return whole(text, line >= 0 && line - at < 2000 ? line + 1 : at);
}

function whole(text, at) {
  const unit = text.charCodeAt(at);
  return unit >= 0xdc00 && unit <= 0xdfff ? at - 1 : at;
}

function metadata(fields) {
  const names = Object.keys(fields);
  if (names.length === 0) return [];
  const rows = names.map((name) => make("div", {}, make("dt", { dir: "auto" }, name), make("dd", { dir: "auto" }, [fields[name]].flat().join(", "))));
  return [make("details", { class: "fields" }, make("summary", {}, counted(names.length, "field")), make("dl", {}, ...rows))];
}

byId("panel-close").addEventListener("click", closePanel);
byId("panel-back").addEventListener("click", backToSources);
byId("panel-back").prepend(icon("back"));
