// Reads Prometheus' text format as far as the operator's view needs it.

const SAMPLE = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})?\s+(\S+)/;
const LABEL = /([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"/g;
/** Samples that are read; what comes behind them is left out. */
const MOST = 20_000;

/** The families of a text: `{ name, type, samples: [{ labels, value }] }`, in the text's order. */
export function families(text) {
  const types = new Map();
  const found = new Map();
  let count = 0;
  for (const line of text.split("\n")) {
    const [hash, keyword, name, type] = line.split(" ");
    if (hash === "#") { if (keyword === "TYPE") types.set(name, type); continue; }
    const sample = line.match(SAMPLE);
    if (!sample || !Number.isFinite(Number(sample[3]))) continue;
    count += 1;
    if (count > MOST) break;
    const family = found.get(sample[1]) ?? { name: sample[1], type: types.get(sample[1]), samples: [] };
    const labels = Object.fromEntries([...(sample[2] ?? "").matchAll(LABEL)].map(([, label, value]) => [label, value.replace(/\\(.)/g, (_, c) => (c === "n" ? "\n" : c))]));
    family.samples.push({ labels, value: Number(sample[3]) });
    found.set(family.name, family);
  }
  return [...found.values()];
}

export const sum = (family) => family.samples.reduce((total, { value }) => total + value, 0);

/** The sums over samples with the same values of these labels, the largest first. */
export function sums(family, labels) {
  const groups = new Map();
  for (const sample of family.samples) {
    const values = labels.map((label) => sample.labels[label] ?? "");
    const key = JSON.stringify(values);
    const group = groups.get(key) ?? { labels: values, value: 0 };
    group.value += sample.value;
    groups.set(key, group);
  }
  return [...groups.values()].sort((a, b) => b.value - a.value);
}
