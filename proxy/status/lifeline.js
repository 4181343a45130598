// The life of one client's token, as the proxy tells it, and what was seen of it meanwhile.

const actions = {
  "serve live": "A fetch now gets it from the cache.",
  "serve due": "A fetch now gets it from the cache, and has it refreshed in the background.",
  "serve ahead": "A fetch now gets it from the cache, and has the next one minted in the background.",
  "refresh short": "A fetch now has Portal extend it first: too little of its life is left, or Portal may have ended it.",
  "mint absent": "A fetch now mints: no token is cached.",
  "mint idle_expired": "A fetch now mints: the token went idle.",
  "mint window_closed": "A fetch now mints: use extends this token no longer.",
  "mint rejected": "A fetch now mints: Portal refused the token.",
};
const states = { live: "live", ended: "at its end", absent: "none cached" };

let watched = null; // the client id; null while nothing is watched
let life = null; // the last life seen: dates, and the slides seen of it
const date = (text) => new Date(text);

function happened(at, text) {
  const li = element("li"), time = element("time", "", stamp(at));
  time.dateTime = at.toISOString();
  li.append(time, element("span", "", text));
  $("events").prepend(li);
  while ($("events").children.length > 6) $("events").lastChild.remove();
}

// learn takes in what the proxy told, and notes what is new.
function learn(told) {
  const now = date(told.now);
  if (!told.mintedAt) {
    if (life && !life.over) finish(now);
    else if (!life && !$("events").children.length) happened(now, "no token is cached");
    return;
  }
  const minted = date(told.mintedAt), active = date(told.activeAt);
  if (!life || life.minted.getTime() !== minted.getTime()) {
    if (life && !life.over) finish(minted);
    happened(minted, "minted");
    life = { minted, active: minted, slides: [], over: false };
  }
  if (active > life.active) {
    life.slides.push(active);
    happened(active, "extended by use");
  }
  Object.assign(life, { active, idle: date(told.idleDeadline), wall: date(told.refreshableUntil), until: new Date(date(told.expiresAt) - 1000 * told.safetyMargin) });
  if (told.state === "ended") finish(now);
}

// finish says how a life ended: at its wall, idle, or before either, as after a logout.
function finish(now) {
  if (life.over) return;
  life.over = true;
  if (now < life.until) happened(now, "dropped before its end");
  else happened(life.until, life.idle < life.wall ? "went idle: nobody used it" : "reached its wall: use extends it no longer");
}

function place(id, share, property = "left") { $(id).style.setProperty(property, 100 * Math.min(1, Math.max(0, share)) + "%"); }

function drawLife(told) {
  const now = date(told.now), pill = $("life-state");
  pill.dataset.state = told.state;
  write(pill, states[told.state] ?? told.state);
  write($("life-next"), actions[told.next.action + " " + told.next.reason] ?? `A fetch now: ${told.next.action} (${told.next.reason}).`);
  $("lifeline").hidden = false;
  $("lifeline").dataset.now = told.now;
  fact("f-now", now);
  $("track").hidden = !life;
  if (!life) {
    for (const id of ["f-minted", "f-active", "f-idle", "f-wall", "f-until"]) write($(id), "–");
    return;
  }
  const { minted, active, idle, wall, until } = life, x = (moment) => (moment - minted) / (wall - minted);
  const track = $("track"), anew = track.dataset.minted !== minted.toISOString();
  track.classList.toggle("moving", !anew && !life.over);
  track.classList.toggle("over", life.over);
  track.dataset.minted = minted.toISOString();
  const end = life.over ? Math.min(now, until) : now, deadline = Math.min(idle, wall);
  place("x-lived", x(end), "width");
  place("x-left", x(end));
  place("x-left", life.over ? 0 : x(deadline) - x(end), "width");
  for (const [id, moment] of [["x-needle", now], ["x-now", now], ["x-idle", deadline], ["x-use", active], ["x-deadline", deadline]]) place(id, x(moment));
  $("x-deadline").classList.toggle("near", x(deadline) > 0.5);
  $("x-deadline").firstChild.textContent = idle < wall ? "idle deadline" : "lives until the wall";
  drawSlides(x);
  drawDays(wall - minted);
  const window = length((wall - minted) / 1000).replace(" d", "-day");
  write($("wall-name"), window + " wall");
  fact("f-minted", minted, now);
  fact("f-active", active, now);
  fact("f-idle", idle, now);
  fact("f-wall", wall, now);
  fact("f-until", until, now);
  track.setAttribute("aria-label", `Time line of the token, from its mint to its ${window} wall. Minted ${stamp(minted)}. ` +
    `Extended ${life.slides.length} times while watched, last used ${stamp(active)}. Idle deadline ${stamp(idle)}. Wall ${stamp(wall)}. Now ${stamp(now)}` +
    (life.over ? ", when it is over." : "."));
}

function drawSlides(x) {
  const box = $("slides"), before = life.slides.slice(0, -1);
  while (box.children.length > before.length) box.lastChild.remove();
  before.forEach((moment, i) => {
    if (!box.children[i]) box.append(element("i", "slide"));
    box.children[i].style.setProperty("left", 100 * x(moment) + "%");
  });
}

function drawDays(window) {
  const box = $("days"), day = 86400e3, count = Math.min(14, Math.floor(window / day)), unit = count ? day : window;
  if (box.dataset.window === String(window)) return;
  box.dataset.window = String(window);
  box.replaceChildren();
  for (let i = 0; i * unit <= window && i <= Math.max(1, count); i++) {
    const tick = element("span", "", i === 0 ? "minted" : count ? i + " d" : length(window / 1000));
    if (i * unit < window) tick.style.setProperty("left", 100 * i * unit / window + "%");
    box.append(tick);
  }
  box.lastChild.textContent += " · wall";
}

function fact(id, moment, now) {
  const dd = $(id), away = now === undefined ? "" : moment >= now ? " in " + length((moment - now) / 1000) : " " + length((now - moment) / 1000) + " ago";
  if (!dd.querySelector("small")) dd.replaceChildren(element("time"), element("small"));
  dd.firstChild.dateTime = moment.toISOString();
  write(dd.firstChild, stamp(moment));
  write(dd.lastChild, away);
}

// askLife has the proxy tell of the client's token. The id goes in the body: URLs are kept by too many.
async function askLife() {
  if (watched === null) return;
  const client = watched, response = await fetch("/lifeline", {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ clientId: client }), cache: "no-store",
    signal: AbortSignal.timeout(10000),
  });
  const told = await response.json();
  if (watched !== client) return; // another was typed in meanwhile
  if (!response.ok) return complain(told);
  complain(null);
  learn(told);
  drawLife(told);
}

function complain(problem) {
  const final = problem !== null && !problem.retryable;
  write($("complaint"), problem === null ? "" : sentence(problem.detail ?? "The proxy gave no reason"));
  $("client").setAttribute("aria-invalid", String(final));
  if (final) unwatch();
}

const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1) + ".";

function watch(client) {
  watched = client;
  life = null;
  $("events").replaceChildren();
  write($("complaint"), "");
  $("stop").hidden = false;
  askLife().catch(() => {}); // the page's own round says that the proxy is gone
}

function unwatch() {
  watched = null;
  $("stop").hidden = true;
  $("lifeline").hidden = true;
}
