// Numbers, times and charts, in words too.

const $ = (id) => document.getElementById(id);
const whole = new Intl.NumberFormat("en");
function number(value, digits) {
  if (value === undefined || Number.isNaN(value)) return "–";
  if (value === Infinity) return "∞";
  return digits === undefined ? whole.format(value) : value.toFixed(digits);
}

function write(element, text) { if (element.textContent !== text) element.textContent = text; }

function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function length(seconds) {
  const s = Math.max(0, Math.round(seconds)), two = (big, a, small, b) => big + " " + a + (small ? " " + small + " " + b : "");
  if (s < 60) return s + " s";
  if (s < 3600) return two(Math.floor(s / 60), "min", s < 600 ? s % 60 : 0, "s");
  if (s < 86400) return two(Math.floor(s / 3600), "h", Math.floor(s / 60) % 60, "min");
  return two(Math.floor(s / 86400), "d", Math.floor(s / 3600) % 24, "h");
}

const days = new Intl.DateTimeFormat("en-GB", { timeZone: "UTC", weekday: "short", day: "numeric", month: "short" });
const times = new Intl.DateTimeFormat("en-GB", { timeZone: "UTC", hour: "2-digit", minute: "2-digit" });
const stamp = (date) => days.format(date).replace(",", "") + ", " + times.format(date);

// row finds or makes the row of a list that stands for one value of a label.
function row(list, name, why) {
  for (const li of list.children) if (li.dataset.name === name) return li;
  const li = element("li");
  li.dataset.name = name;
  li.append(element("code", "", name), element("span", "why", why), element("data"));
  if (list.classList.contains("bars")) {
    const bar = element("span", "bar");
    bar.append(element("i"));
    bar.setAttribute("aria-hidden", "true"); // the number says it
    li.append(bar);
  }
  list.append(li);
  return li;
}

function fill(li, value, share) {
  const data = li.querySelector("data");
  data.value = String(value);
  write(data, number(value));
  li.querySelector(".bar i")?.style.setProperty("width", 100 * share + "%");
}

function line(list, name, text, mood = "") {
  let div = [...list.children].find((d) => d.firstChild.textContent === name);
  if (!div) {
    div = element("div");
    div.append(element("dt", "", name), element("dd"));
    list.append(div);
  }
  div.lastChild.className = mood;
  write(div.lastChild, text);
}

// spark draws values from 0, or from least, up to most. The text says the same.
function spark(box, values, { least = 0, most, name, unit, digits }) {
  const drawn = values.map((v, i) => [i, v]).filter(([, v]) => v !== undefined);
  if (drawn.length < 2) return;
  const top = Math.max(most ?? Math.max(...drawn.map(([, v]) => v)), least + 1e-9), width = kept - 2;
  const at = ([i, v]) => ((i + width - values.length + 1) / width * 100).toFixed(2) + "," + (38 - 36 * (Math.max(v, least) - least) / (top - least)).toFixed(2);
  const points = drawn.map(at), first = points[0].split(",")[0], last = points[points.length - 1].split(",")[0];
  let svg = box.querySelector("svg");
  if (!svg) {
    const ns = "http://www.w3.org/2000/svg";
    svg = document.createElementNS(ns, "svg");
    svg.setAttribute("viewBox", "0 0 100 40");
    svg.setAttribute("preserveAspectRatio", "none");
    svg.append(document.createElementNS(ns, "polygon"), document.createElementNS(ns, "polyline"));
    box.append(svg);
  }
  svg.firstChild.setAttribute("points", first + ",40 " + points.join(" ") + " " + last + ",40");
  svg.lastChild.setAttribute("points", points.join(" "));
  const all = drawn.map(([, v]) => v), say = (v) => v.toFixed(digits) + unit;
  box.setAttribute("aria-label", `${name} over the last ${length((values.length) * pace / 1000)}: ` +
    `now ${say(all[all.length - 1])}, least ${say(Math.min(...all))}, most ${say(Math.max(...all))}`);
}
