// Shows the Markdown that chat models write, as elements made one by one: no markup of the text is ever parsed as HTML, and
// links stay text, because nobody has checked where they lead.

import { make } from "./dom.js";

/** A line this long was broken for its length, so the next one goes on in the same paragraph. */
const WRAPPED = 60;
/** Lists and quotations within each other; what lies deeper is shown as it is written. */
const DEEPEST = 6;
const BLOCK = /^\s*(```|~~~|#{1,6}\s|[-*+]\s|\d{1,9}[.)]\s|>)/;

/** Elements that show `text`; `mark` makes the element for a source's number, given the number and the place behind it. */
export function markdown(text, mark) {
  const lines = text.split("\n");
  let offset = 0;
  const starts = lines.map((line) => { const start = offset; offset += line.length + 1; return start; });
  return blocks(lines.map((line, index) => ({ text: line, start: starts[index] })), mark);
}

function blocks(lines, mark, depth = 0) {
  const made = [];
  let at = 0;
  while (at < lines.length) {
    const line = lines[at].text;
    if (line.trim() === "") { at += 1; continue; }
    const [, show] = depth < DEEPEST ? KINDS.find(([pattern]) => pattern.test(line)) : [null, paragraph];
    const [element, next] = show(lines, at, mark, depth + 1);
    made.push(element);
    at = next;
  }
  return made;
}

const KINDS = [
  [/^\s*(```|~~~)/, fence],
  [/^\s{0,3}#{1,6}\s/, heading],
  [/^\s*>/, quotation],
  [/^\s*([-*+]|\d{1,9}[.)])\s+/, list],
  [/^\s*\|.*\|\s*$/, table],
  [/^/, paragraph],
];

function fence(lines, from) {
  const mark = lines[from].text.trim().slice(0, 3);
  let to = from + 1;
  while (to < lines.length && !lines[to].text.trim().startsWith(mark)) to += 1;
  const code = lines.slice(from + 1, to).map((line) => line.text).join("\n");
  return [make("pre", { tabindex: 0, "aria-label": "Code" }, make("code", {}, code)), to + 1];
}

function heading(lines, from, mark) {
  const [all] = lines[from].text.match(/^\s*#+\s+/);
  const element = make("p", { class: "heading", dir: "auto" });
  inline(element, [cut(lines[from], all.length)], mark);
  return [element, from + 1];
}

function quotation(lines, from, mark, depth) {
  let to = from;
  while (to < lines.length && /^\s*>/.test(lines[to].text)) to += 1;
  const inner = lines.slice(from, to).map((line) => cut(line, line.text.match(/^\s*>\s?/)[0].length));
  return [make("blockquote", { dir: "auto" }, ...blocks(inner, mark, depth)), to];
}

function list(lines, from, mark, depth) {
  const ordered = /^\s*\d/.test(lines[from].text);
  const first = lines[from].text.match(/^\s*(\d+)?/);
  const element = make(ordered ? "ol" : "ul", { class: "list", start: ordered && first[1] !== "1" ? first[1] : null });
  const item = ordered ? /^(\s*)\d{1,9}[.)]\s+/ : /^(\s*)[-*+]\s+/;
  const indent = lines[from].text.match(/^\s*/)[0].length;
  let at = from;
  while (at < lines.length) {
    const found = lines[at].text.match(item);
    if (!found || found[1].length > indent + 1) break;
    const inner = [cut(lines[at], found[0].length)];
    at += 1;
    const belongs = (line) => line.text.trim() !== "" && (/^\s/.test(line.text) && line.text.match(/^\s*/)[0].length > indent || !BLOCK.test(line.text));
    while (at < lines.length && belongs(lines[at])) { inner.push(lines[at]); at += 1; }
    while (at + 1 < lines.length && lines[at].text.trim() === "" && item.test(lines[at + 1].text)) at += 1;
    const content = blocks(inner, mark, depth);
    // A lone paragraph needs no element of its own within the item.
    const lone = content.length > 0 && content[0].tagName === "P" && !content[0].className;
    element.append(make("li", { dir: "auto" }, ...(lone ? [...content[0].childNodes, ...content.slice(1)] : content)));
  }
  return [element, at];
}

function table(lines, from, mark) {
  let to = from;
  while (to < lines.length && /^\s*\|.*\|\s*$/.test(lines[to].text)) to += 1;
  const rule = /^\s*\|(\s*:?-+:?\s*\|)+\s*$/;
  if (to - from < 2 || !rule.test(lines[from + 1].text)) return paragraph(lines, from, mark);
  const row = (line, tag) => {
    const element = make("tr");
    let at = line.text.indexOf("|") + 1;
    for (const cell of line.text.slice(at, line.text.lastIndexOf("|")).split("|")) {
      const made = make(tag, { dir: "auto" });
      inline(made, [{ text: cell.trim(), start: line.start + at + cell.length - cell.trimStart().length }], mark);
      element.append(made);
      at += cell.length + 1;
    }
    return element;
  };
  const head = make("thead", {}, row(lines[from], "th"));
  const body = make("tbody", {}, ...lines.slice(from + 2, to).map((line) => row(line, "td")));
  return [make("div", { class: "table", tabindex: 0, role: "region", "aria-label": "Table" }, make("table", {}, head, body)), to];
}

function paragraph(lines, from, mark) {
  let to = from + 1;
  while (to < lines.length && lines[to].text.trim() !== "" && !BLOCK.test(lines[to].text)) to += 1;
  const element = make("p", { dir: "auto" });
  inline(element, lines.slice(from, to), mark);
  return [element, to];
}

const cut = (line, length) => ({ text: line.text.slice(length), start: line.start + length });

const INLINE = /`([^`\n]+)`|\*\*(\S(?:.*?\S)?)\*\*|\*([^\s*](?:[^*]*[^\s*])?)\*|\[(\d{1,3})\]/g;

function inline(element, lines, mark) {
  lines.forEach((line, index) => {
    if (index > 0) element.append(lines[index - 1].text.length > WRAPPED ? " " : make("br"));
    span(element, line.text, line.start, mark);
  });
}

function span(element, text, start, mark) {
  let from = 0;
  for (const found of text.matchAll(INLINE)) {
    element.append(text.slice(from, found.index));
    const [all, code, strong, emphasis, number] = found;
    const at = start + found.index;
    if (code !== undefined) element.append(make("code", {}, code));
    else if (strong !== undefined) element.append(nested("strong", strong, at + 2, mark));
    else if (emphasis !== undefined) element.append(nested("em", emphasis, at + 1, mark));
    else element.append(mark(Number(number), at + all.length) ?? all);
    from = found.index + all.length;
  }
  element.append(text.slice(from));
}

function nested(tag, text, start, mark) {
  const element = make(tag);
  span(element, text, start, mark);
  return element;
}
