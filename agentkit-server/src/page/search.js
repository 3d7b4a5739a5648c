// The search view: finds passages, and shows for each why it was found.

import { inCollection, send } from "./api.js";
import { announce, button, byId, make, problemBox } from "./dom.js";
import { read } from "./panel.js";
import { flowing, place } from "./text.js";

const PAGE = 10;
/** Hits that can be paged through; all pages are cut out of one ranking of this length. */
const MOST = 100;
const PLANS = {
  both: undefined,
  meaning: { dense: { candidates: MOST } },
  words: { lexical: { candidates: MOST } },
};
const LEGS = { dense: ["Meaning", "cosine"], lexical: ["Words", "BM25"] };
const state = { query: "", how: "both", offset: 0, generation: null, running: null };

export function startSearch() {
  byId("search-form").addEventListener("submit", (event) => {
    event.preventDefault();
    const query = byId("search-query").value.trim();
    if (query) location.hash = `#/search?q=${encodeURIComponent(query)}&how=${how()}`;
    // The same address is no navigation, but the question was asked again.
    if (query === state.query && how() === state.how) search(query, how());
  });
  byId("search-more").addEventListener("click", page);
}

const how = () => new FormData(byId("search-form")).get("how") ?? "both";

/** Searches for what the address says. */
export function showSearch(parameters) {
  const query = parameters.get("q") ?? "";
  const wanted = parameters.get("how") in PLANS ? parameters.get("how") : "both";
  byId("search-query").value = query;
  for (const choice of byId("search-form").querySelectorAll("input[name=how]")) choice.checked = choice.value === wanted;
  if (query && (query !== state.query || wanted !== state.how)) search(query, wanted);
}

function search(query, wanted) {
  Object.assign(state, { query, how: wanted, offset: 0, generation: null });
  byId("hits").replaceChildren();
  return page();
}

async function page() {
  state.running?.abort();
  const controller = new AbortController();
  state.running = controller;
  const notes = byId("search-notes");
  notes.replaceChildren(make("p", { class: "soft" }, "Searching"));
  byId("search-more").hidden = true;
  try {
    const request = { query: state.query, top_k: PAGE, offset: state.offset, plan: PLANS[state.how] };
    if (state.generation !== null) request.generation = state.generation;
    const response = await send("/search", { method: "POST", json: inCollection(request), signal: controller.signal });
    show(await response.json());
  } catch (problem) {
    if (controller.signal.aborted) return;
    if (problem.status === 409) problem.advice = "The documents have changed. Search again to begin with the first page.";
    notes.replaceChildren(problemBox(problem, () => (problem.status === 409 ? search(state.query, state.how) : page())));
  }
}

function show({ hits, generation }) {
  state.generation = generation;
  const first = state.offset;
  byId("hits").append(...hits.map((hit, index) => card(hit, first + index + 1)));
  state.offset += hits.length;
  const none = "Nothing was found. Try other words, or the search by meaning.";
  const text = state.offset === 0 ? none : state.offset === 1 ? "The best passage" : `The best ${state.offset} passages`;
  byId("search-notes").replaceChildren(make("p", { class: "soft" }, text));
  byId("search-more").hidden = hits.length < PAGE || state.offset >= MOST;
  announce(text);
  if (first > 0) byId("hits").children[first]?.querySelector("button").focus();
}

function card(hit, rank) {
  const open = button("", () => read(hit.document_id, { at: hit.span, locator: hit.locator }), { class: "hit-title", dir: "auto" });
  open.append(hit.title || hit.document_id);
  return make("li", { class: "hit" },
    make("div", { class: "hit-head" }, make("span", { class: "number" }, String(rank)), make("h2", {}, open), make("span", { class: "score", title: "Score" }, shortened(hit.score))),
    make("p", { class: "place", dir: "auto" }, [hit.title ? hit.document_id : "", place(hit.locator)].filter(Boolean).join(" · ")),
    excerpt(flowing(hit.text)), why(hit));
}

/** Longest text of a hit that is shown at once. */
const EXCERPT = 420;

function excerpt(text) {
  const element = make("div", { class: "passage" }, text);
  if (text.length <= EXCERPT) return element;
  const end = text.slice(0, EXCERPT).replace(/\s+\S*$/, "");
  element.textContent = `${end} … `;
  const all = button("Show all", () => { element.textContent = text; element.tabIndex = -1; element.focus(); }, { class: "plain" });
  element.append(all);
  return element;
}

const shortened = (number) => number.toLocaleString("en", { maximumSignificantDigits: 3 });

function why(hit) {
  const { legs = [], derivation } = hit.explanation ?? {};
  const most = Math.max(...legs.map((leg) => Math.abs(leg.contribution)), 1e-9);
  const rows = legs.map((leg) => {
    const [name, measure] = LEGS[leg.leg] ?? [leg.leg, "score"];
    return make("tr", {},
      make("th", { scope: "row", dir: "auto" }, name),
      make("td", {}, `rank ${leg.rank}`),
      make("td", {}, `${measure} ${shortened(leg.score)}`),
      make("td", { class: "adds" }, bar(Math.abs(leg.contribution) / most), `adds ${shortened(leg.contribution)}`));
  });
  const table = make("table", { class: "why" }, make("caption", { class: "hidden" }, "Why this passage was found"), make("tbody", {}, ...rows));
  const whole = derivation && make("details", {}, make("summary", {}, "The whole computation"), tree(derivation));
  return make("div", {}, rows.length > 0 && table, whole);
}

function bar(share) {
  const inner = make("span");
  inner.style.width = `${Math.round(share * 100)}%`;
  return make("span", { class: "bar", "aria-hidden": "true" }, inner);
}

/** A nested list of whatever a derivation says; new kinds of nodes need no change here. */
function tree(value, depth = 0) {
  if (value === null || typeof value !== "object" || depth > 20) {
    return make("span", { class: "value", dir: "auto" }, typeof value === "number" ? shortened(value) : String(value));
  }
  const items = Object.entries(value).map(([name, inner]) => {
    const label = Array.isArray(value) ? `${Number(name) + 1}` : name.replaceAll("_", " ");
    return make("li", {}, make("span", { class: "name" }, label), " ", tree(inner, depth + 1));
  });
  return make("ul", { class: "tree" }, ...items);
}
