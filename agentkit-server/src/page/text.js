// Text as the service counts it, in bytes of UTF-8, and as the browser does, in units of UTF-16.

/** The bytes that a character takes in UTF-8. */
function width(codePoint) {
  if (codePoint < 0x80) return 1;
  if (codePoint < 0x800) return 2;
  return codePoint < 0x10000 ? 3 : 4;
}

/** Where each of some byte offsets lies in `text`; the offsets ascend. One within a character counts as its end. */
export function utf16Offsets(text, byteOffsets) {
  const found = [];
  let [at, bytes] = [0, 0];
  for (const wanted of byteOffsets) {
    while (at < text.length && bytes < wanted) {
      const codePoint = text.codePointAt(at);
      bytes += width(codePoint);
      at += codePoint > 0xffff ? 2 : 1;
    }
    found.push(at);
  }
  return found;
}

/** Byte ranges in order and without overlaps. */
export function merged(spans) {
  const result = [];
  for (const span of [...spans].sort((a, b) => a.start - b.start)) {
    const last = result[result.length - 1];
    if (last && span.start <= last.end) last.end = Math.max(last.end, span.end);
    else result.push({ ...span });
  }
  return result;
}

/** The pieces of `text`, those within the byte ranges marked: `{ text, start, marked }`, with `start` in bytes. */
export function pieces(text, spans) {
  const ranges = merged(spans.filter((span) => span.end > span.start));
  const offsets = utf16Offsets(text, ranges.flatMap((span) => [span.start, span.end]));
  const result = [];
  let from = 0;
  ranges.forEach((span, index) => {
    const [start, end] = offsets.slice(index * 2, index * 2 + 2);
    if (start > from) result.push({ text: text.slice(from, start), marked: false });
    if (end > start) result.push({ text: text.slice(start, end), marked: true, start: span.start });
    from = end;
  });
  if (from < text.length) result.push({ text: text.slice(from), marked: false });
  return result;
}

/** Where a passage or quotation stands, in words. */
export function place(locator) {
  const { heading_path: headings = [], page, row } = locator ?? {};
  return [headings.join(" › "), page ? `page ${page}` : "", row ? `row ${row}` : ""].filter(Boolean).join(" · ");
}

/** A line this long was broken for its length, not for its sense. */
const WRAPPED = 60;

/** Text with the breaks within its paragraphs made spaces, so that it fills whatever width there is. Every offset stays as it was. */
export function flowing(text) {
  return text.replace(/^(.*)\n(?= {0,3}[\p{L}\p{N}`"'“„«(])/gmu, (all, line) => (line.length > WRAPPED && !/^\s*\||[;{},>|]$/.test(line) ? `${line} ` : all));
}
