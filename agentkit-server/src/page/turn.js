// One question with its answer: what is known of it, and the elements that show it.

import { button, icon, make, problemBox, toast } from "./dom.js";
import { feedback } from "./feedback.js";
import { markdown } from "./markdown.js";
import { openDocument, showSources } from "./panel.js";
import { place } from "./text.js";

/** A turn and its elements; `known` holds what is already there of an older turn. */
export function newTurn(question, session, known = {}) {
  const turn = { question, session, raw: "", sources: [], citations: [], outcome: null, trace: null, rating: null, ...known };
  turn.text = make("div", { class: "text" });
  turn.notes = make("div");
  turn.foot = make("div", { class: "foot" });
  const asked = make("div", { class: "question", dir: "auto" }, question);
  const answer = make("article", { class: "answer", "aria-label": "Answer" }, turn.text, turn.notes, turn.foot);
  turn.item = make("li", { class: "turn" }, make("span", { class: "hidden" }, "You asked: "), asked, answer);
  return turn;
}

/** Takes an event of the stream into the turn. */
export function take(turn, event) {
  switch (event.type) {
    case "started": turn.trace = event.trace_id; break;
    case "retrieved": turn.sources = event.sources; break;
    case "delta": turn.raw += event.text; render(turn); break;
    // A citation supports the text so far, so the number it belongs to stands before this place.
    case "citation": turn.citations.push({ ...event, at: turn.raw.length }); break;
    case "tool_called": note(turn, `Uses the tool ${event.name}`); break;
    case "deferred": note(turn, "Waits for somebody outside"); break;
    case "done": turn.outcome = event.outcome; break;
  }
}

let frames = new Set();
/** Shows the text at the next frame, however many pieces come until then. */
function render(turn) {
  if (frames.size === 0) requestAnimationFrame(() => { const due = frames; frames = new Set(); for (const each of due) renderText(each); });
  frames.add(turn);
}

function renderText(turn) {
  const follow = turn.following?.() ?? false;
  turn.text.replaceChildren(...markdown(turn.raw, (number, behind) => mark(turn, number, behind)));
  turn.text.classList.toggle("running", turn.outcome === null && !turn.failed);
  if (follow) turn.follow();
}

/** The button for source `number` where it stands in the text, or null if there is no such source. */
function mark(turn, number, behind) {
  const source = turn.sources.find((other) => other.number === number);
  if (!source) return null;
  const citations = turn.citations.filter((citation) => citation.number === number);
  const citation = citations.find((other) => other.at >= behind) ?? citations[citations.length - 1];
  const where = [source.title || source.document_id, place((citation ?? source).locator)].filter(Boolean).join(", ");
  return button(String(number), (event) => choose(turn, source, citation, event.currentTarget), {
    class: "cite", "aria-label": `Source ${number}: ${where}. Opens the document.`, title: citation?.quote?.slice(0, 300) ?? where,
  });
}

function choose(turn, source, citation, chosen) {
  for (const other of document.querySelectorAll('.cite[aria-current="true"]')) other.removeAttribute("aria-current");
  chosen.setAttribute("aria-current", "true");
  openDocument(turn, source, citation);
}

function note(turn, text) { turn.notes.append(make("p", { class: "note", dir: "auto" }, text)); }

const OUTCOMES = {
  refused: "Not in the documents", truncated: "Cut off at the length limit", stopped: "Stopped, not kept in the conversation",
  waiting: "Waits for somebody outside",
};

/** Shows the turn as it is when nothing more comes. */
export function finish(turn) {
  renderText(turn);
  turn.text.hidden = turn.raw === "";
  turn.text.classList.remove("running");
  turn.foot.replaceChildren();
  if (OUTCOMES[turn.outcome]) turn.foot.append(make("span", { class: "tag" }, OUTCOMES[turn.outcome]));
  if (turn.sources.length > 0) turn.foot.append(sourcesButton(turn));
  if (turn.raw && navigator.clipboard) turn.foot.append(copyButton(turn));
  if (turn.trace && !turn.failed && turn.outcome !== "stopped") {
    const { thumbs, more } = feedback(turn);
    turn.foot.append(make("span", { class: "thumbs" }, ...thumbs));
    turn.foot.after(more);
  }
}

function sourcesButton(turn) {
  const cited = new Set(turn.citations.map((citation) => citation.number)).size;
  const label = cited > 0 ? `${cited} of ${turn.sources.length} sources cited` : `${turn.sources.length} passages found`;
  const element = button("", () => showSources(turn, true), { class: "with-icon" });
  element.append(icon("sources"), label);
  return element;
}

function copyButton(turn) {
  const element = button("", async () => {
    try { await navigator.clipboard.writeText(turn.raw); toast("The answer is copied"); } catch { toast("The browser does not allow copying", true); }
  }, { class: "with-icon" });
  element.append(icon("copy"), "Copy");
  return element;
}

/** Shows what went wrong; `again` asks once more. */
export function fail(turn, problem, again) {
  turn.failed = true;
  turn.notes.append(problemBox({ title: problem.title, detail: problem.detail, advice: problem.advice, trace: problem.trace ?? turn.trace }, again));
}

/** What is kept of a turn in this tab. */
export function kept({ question, session, raw, sources, citations, outcome, trace, rating }) {
  return { question, session, raw, sources, citations, outcome, trace, rating };
}
