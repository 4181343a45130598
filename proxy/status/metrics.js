// What /metrics says, and what it said a moment ago. It is the one source of what the page shows.

const pace = 2000;
const kept = 60; // samples: two minutes of them
const minute = 60;

// parse returns a map: name of a series → [{labels, value}]. Buckets are of no use here.
function parse(text) {
  const series = new Map();
  for (const line of text.split("\n")) {
    const found = /^([A-Za-z_:][\w:]*)(?:\{(.*)\})? (\S+)/.exec(line);
    if (!found || found[1].endsWith("_bucket")) continue;
    const labels = {};
    for (const [, name, value] of (found[2] ?? "").matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)) labels[name] = value;
    if (!series.has(found[1])) series.set(found[1], []);
    series.get(found[1]).push({ labels, value: found[3] === "+Inf" ? Infinity : Number(found[3]) });
  }
  return series;
}

const fits = (labels, wanted) => Object.entries(wanted).every(([name, value]) => labels[name] === value);

// sum adds up what fits; undefined if nothing does, as with a series that this version does not have.
function sum(series, name, wanted = {}) {
  const found = (series.get("cstproxy_" + name) ?? []).filter((s) => fits(s.labels, wanted));
  return found.length ? found.reduce((all, s) => all + s.value, 0) : undefined;
}

// by returns the values of a series by one label, in the order of /metrics.
function by(series, name, label) {
  const values = new Map();
  for (const s of series.get("cstproxy_" + name) ?? []) values.set(s.labels[label], (values.get(s.labels[label]) ?? 0) + s.value);
  return values;
}

let samples = []; // {at (s), series}, the newest last
const newest = () => samples[samples.length - 1];

// step is what a counter gained between two samples. One that fell began anew with its process.
function step(before, after, name, wanted) {
  const now = sum(after.series, name, wanted) ?? 0, then = sum(before.series, name, wanted) ?? 0;
  return now < then ? now : now - then;
}

function gainedBetween(first, last, name, wanted) {
  let all = 0;
  for (let i = first + 1; i <= last; i++) all += step(samples[i - 1], samples[i], name, wanted);
  return all;
}

const minuteBegan = () => samples.findIndex((s) => s.at >= newest().at - minute);

// gained is what a counter gained within the last minute.
const gained = (name, wanted) => gainedBetween(minuteBegan(), samples.length - 1, name, wanted);

// span is how much of the last minute the samples cover, in seconds.
const span = () => newest().at - samples[minuteBegan()].at;
