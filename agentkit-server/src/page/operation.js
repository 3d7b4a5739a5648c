// The operator's view: health, the index, jobs, usage, recent records and errors, feedback. What this role may not see, or this
// service does not offer, is left out with a word about it.

import { get, send, within } from "./api.js";
import { button, bytesText, byId, counted, make, problemBox, toast } from "./dom.js";
import { families, sum, sums } from "./metrics.js";

/** Audit records that are looked at. */
const RECORDS = 500;
/** Pages of documents that are counted. */
const COUNTED = 10;

/** Shows everything for someone of this role. */
export async function showOperation(role) {
  byId("operation-at").textContent = `As of ${new Date().toLocaleTimeString()}`;
  const admin = role === "admin";
  await Promise.all([
    fill("operation-health", health),
    fill("operation-index", admin ? index : null),
    fill("operation-metrics", metrics),
    fill("operation-jobs", admin ? jobs : null),
    fill("operation-audit", audit),
    fill("operation-feedback", admin ? feedback : null),
  ]);
}

async function fill(id, content) {
  const card = byId(id);
  card.hidden = content === null;
  if (content === null) return;
  const body = card.querySelector(".card-body");
  try {
    body.replaceChildren(...(await content()));
  } catch (problem) {
    body.replaceChildren(absent(problem) ?? problemBox(problem, () => fill(id, content)));
  }
}

/** A word about what is not there for this service or this role, which is no fault. */
function absent({ status, detail }) {
  const texts = { 404: "This service does not offer it.", 403: `This key may not see it: ${detail}.` };
  return texts[status] ? make("p", { class: "soft", dir: "auto" }, texts[status]) : null;
}

function figures(pairs) {
  return make("dl", { class: "figures" }, ...pairs.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value))));
}

function table(caption, heads, rows) {
  const head = make("tr", {}, ...heads.map((text) => make("th", { scope: "col" }, text)));
  const body = rows.map((cells) => make("tr", {}, ...cells.map((cell) => (cell instanceof Node ? make("td", {}, cell) : make("td", { dir: "auto" }, String(cell))))));
  return make("div", { class: heads.length > 3 ? "table broad" : "table", tabindex: 0, role: "region", "aria-label": caption },
    make("table", {}, make("caption", { class: "hidden" }, caption), make("thead", {}, head), make("tbody", {}, ...body)));
}

// ---- health and index ---------------------------------------------------------------------------------------

async function health() {
  let report;
  try {
    report = await get("/health/ready");
  } catch (problem) {
    if (problem.status !== 503) throw problem;
    report = { status: problem.detail, dependencies: problem.document?.dependencies ?? [] };
  }
  const ready = report.status === "ready";
  const state = make("p", { class: ready ? "state good" : "state bad" }, ready ? "Ready" : `Not ready: ${report.status}`);
  const items = (report.dependencies ?? []).map(({ name, status, detail }) =>
    make("li", { class: status === "ok" ? "good" : "bad" }, make("strong", {}, name), " ", make("span", { class: "soft", dir: "auto" }, [status, detail].filter(Boolean).join(", "))));
  return [state, make("ul", { class: "dependencies" }, ...items)];
}

async function index() {
  const total = { documents: 0, chunks: 0, bytes: 0 };
  let after = "";
  for (let page = 0; page < COUNTED; page += 1) {
    const { documents, next } = await get(within(`/documents?limit=1000${after}`));
    total.documents += documents.length;
    for (const { chunks, bytes } of documents) { total.chunks += chunks; total.bytes += bytes; }
    if (!next) { after = ""; break; }
    after = `&after=${encodeURIComponent(next)}`;
  }
  const least = after ? "at least " : "";
  return [figures([
    ["Documents", least + total.documents.toLocaleString("en")],
    ["Passages", least + total.chunks.toLocaleString("en")],
    ["Text", least + bytesText(total.bytes)],
  ])];
}

// ---- metrics ------------------------------------------------------------------------------------------------

async function metrics() {
  const all = families(await (await send("/metrics", { accept: "text/plain" })).text());
  const find = (ending) => all.find(({ name }) => name.endsWith(ending));
  const more = all.filter(({ type }) => type === "counter" || type === "gauge");
  return [
    figures(summary(find)),
    make("h3", {}, "Requests since the start"), table("Requests since the start", ["Request", "Number", "Refused or failed", "Mean time"], requests(find)),
    make("details", {}, make("summary", {}, "All counters and gauges"), table("All counters and gauges", ["Name", "Total"], more.map((family) => [family.name, figure(sum(family))]))),
  ];
}

const figure = (number) => number.toLocaleString("en", { maximumFractionDigits: 2 });
const duration = (seconds) => (seconds < 1 ? `${figure(seconds * 1000)} ms` : `${figure(seconds)} s`);

/** What stands at the top, as far as this service counts it. */
function summary(find) {
  const ofKind = (family, kind) => family.samples.filter(({ labels }) => labels.kind === kind).reduce((total, { value }) => total + value, 0);
  const known = [
    ["Running since", "process_start_time_seconds", (family) => time(new Date(sum(family) * 1000).toISOString())],
    ["Memory", "process_resident_memory_bytes", (family) => bytesText(sum(family))],
    ["Requests in flight", "http_requests_in_flight", (family) => figure(sum(family))],
    ["Tokens read by models", "model_tokens_total", (family) => figure(ofKind(family, "input"))],
    ["Tokens written", "model_tokens_total", (family) => figure(ofKind(family, "output"))],
  ];
  return known.filter(([, name]) => find(name)).map(([label, name, value]) => [label, value(find(name))]);
}

function requests(find) {
  const counted = find("http_requests_total");
  if (!counted) return [];
  const by = ["method", "route"];
  const mean = (labels) => {
    const [total, count] = ["sum", "count"].map((part) => {
      const family = find(`http_request_duration_seconds_${part}`);
      return family && sums(family, by).find((group) => group.labels.join() === labels.join())?.value;
    });
    return count ? duration(total / count) : "";
  };
  const failed = (labels) => counted.samples
    .filter((sample) => by.every((label, index) => (sample.labels[label] ?? "") === labels[index]) && /^[45]/.test(sample.labels.status ?? ""))
    .reduce((total, { value }) => total + value, 0);
  return sums(counted, by).map(({ labels, value }) => [labels.join(" "), figure(value), figure(failed(labels)), mean(labels)]);
}

// ---- jobs ---------------------------------------------------------------------------------------------------

async function jobs() {
  const { jobs: known } = await get("/jobs?limit=20");
  if (known.length === 0) return [make("p", { class: "soft" }, "Nobody has sent many documents at once yet.")];
  const rows = known.map((job) => {
    const { documents, stored, unchanged, failed } = job.progress;
    return [time(job.created), job.collection, jobStatus(job), documents, stored + unchanged, failed];
  });
  return [table("Jobs", ["Begun", "Collection", "Status", "Documents", "Stored", "Failed"], rows)];
}

function jobStatus({ id, status, progress }) {
  const over = status !== "waiting" && status !== "running";
  const bad = status === "interrupted" || progress.failed > 0;
  const shown = make("span", { class: over ? (bad ? "outcome bad" : "outcome good") : "" }, over ? status : `${status}, ${progress.ended} of ${progress.documents}`);
  if (over) return shown;
  return make("span", { class: "row" }, shown, button("Stop", () => stopJob(id), { class: "plain", "aria-label": `Stop the job ${id}` }));
}

async function stopJob(id) {
  try {
    await send(`/jobs/${id}/cancel`, { method: "POST" });
    toast("The job is told to stop");
  } catch (problem) { toast(`${problem.title}: ${problem.detail}`, true); }
  await fill("operation-jobs", jobs);
}

// ---- the audit trail ----------------------------------------------------------------------------------------

async function audit() {
  const { records } = await get(`/audit?newest=true&limit=${RECORDS}`);
  records.reverse();
  if (records.length === 0) return [make("p", { class: "soft" }, "Nothing is recorded yet.")];
  const failed = records.filter(({ outcome }) => outcome >= 400 && outcome !== 499);
  const shown = failed.slice(0, 20);
  return [
    figures([
      ["Requests", records.length.toLocaleString("en")],
      ["Refused or failed", failed.length.toLocaleString("en")],
      ["People", new Set(records.map(({ actor }) => actor)).size.toLocaleString("en")],
      ["Since", time(records[records.length - 1].at)],
    ]),
    make("h3", {}, "Usage"), table("Usage by action", ["Action", "Requests", "Failed"], usage(records)),
    make("h3", {}, "Recent errors"),
    shown.length > 0 ? recordTable("Recent errors", shown) : make("p", { class: "soft" }, "None among these records."),
    make("h3", {}, "Recent records"), recordTable("Recent records", records.slice(0, 30)),
  ];
}

function usage(records) {
  const actions = new Map();
  for (const { action, outcome } of records) {
    const entry = actions.get(action) ?? [action, 0, 0];
    entry[1] += 1;
    if (outcome >= 400 && outcome !== 499) entry[2] += 1;
    actions.set(action, entry);
  }
  return [...actions.values()].sort((a, b) => b[1] - a[1]);
}

function recordTable(caption, records) {
  const outcome = (status) => make("span", { class: status >= 400 ? "outcome bad" : "outcome good" }, String(status));
  return table(caption, ["Time", "Action", "Target", "Outcome", "Actor", "Role"],
    records.map((record) => [time(record.at), record.action, record.target ?? "", outcome(record.outcome), record.actor, record.role ?? ""]));
}

function time(text) {
  const date = new Date(text);
  if (Number.isNaN(date.getTime())) return text;
  const today = date.toDateString() === new Date().toDateString();
  return today ? date.toLocaleTimeString() : date.toLocaleString();
}

// ---- feedback -----------------------------------------------------------------------------------------------

async function feedback() {
  const { feedback: given, next } = await get("/feedback?limit=1000");
  if (given.length === 0) return [make("p", { class: "soft" }, "Nobody has said anything yet.")];
  const up = given.filter(({ rating }) => rating === "up").length;
  given.sort((a, b) => (a.at < b.at ? 1 : -1));
  const rows = given.slice(0, 30).map(({ at, rating, reason, comment, turn }) => [time(at), rating === "up" ? "Good" : "Bad", reason ?? "", comment ?? "", turn]);
  return [
    figures([["Good answers", up.toLocaleString("en")], ["Bad answers", (given.length - up).toLocaleString("en")], ["Good", `${Math.round((100 * up) / given.length)} %`]]),
    next ? make("p", { class: "soft" }, `Of the first ${counted(given.length, "opinion")}.`) : "",
    table("Feedback", ["Time", "Answer was", "Reason", "Comment", "Trace"], rows),
  ];
}
