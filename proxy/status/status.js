// The parts of the page, drawn anew every two seconds while somebody looks.

const demo = { client: document.querySelector("meta[name=demo]").content, speed: Number(document.querySelector("meta[name=demo]").dataset.speed) };

function ratioOf(mints, all) { return all > 0 ? 100 * (1 - mints / all) : undefined; }

function drawHeroes() {
  const series = newest().series, all = gained("tokens_served_total"), mints = gained("tokens_served_total", { source: "mint" });
  const recent = ratioOf(mints, all), ever = ratioOf(sum(series, "tokens_served_total", { source: "mint" }), sum(series, "tokens_served_total"));
  write($("ratio"), number(recent ?? ever, 1));
  write($("ratio-note"), "Tokens handed out without a mint" + (ever === undefined ? "" : "; since the start " + ever.toFixed(1) + " %"));
  write($("rate"), samples.length > 1 ? number(gained("http_request_duration_seconds_count") / span(), 1) : "–");
  write($("rate-note"), "To the data API, whatever the answer; since the start " + number(sum(series, "http_request_duration_seconds_count") ?? 0));
  const ratios = [], rates = [];
  for (let i = 1; i < samples.length; i++) { // of ten seconds each: fewer requests tell little
    const from = Math.max(0, i - 5), over = (name, wanted) => gainedBetween(from, i, name, wanted);
    ratios.push(ratioOf(over("tokens_served_total", { source: "mint" }), over("tokens_served_total")));
    rates.push(over("http_request_duration_seconds_count") / (samples[i].at - samples[from].at));
  }
  const least = Math.min(90, ...ratios.filter((r) => r !== undefined).map((r) => 10 * Math.floor(r / 10)));
  spark($("ratio-spark"), ratios, { name: "Hit ratio", unit: " %", digits: 1, most: 100, least });
  spark($("rate-spark"), rates, { name: "Requests per second", unit: "", digits: 1 });
}

const sources = { cache: "it was there, and long enough", refresh: "Portal extended it for this caller", mint: "Portal made a new one" };
const reasons = { absent: "none was cached", idle_expired: "it went idle", window_closed: "its window was over", rejected: "Portal refused it", ahead: "its window was about to close" };

function drawServed(series) {
  const values = by(series, "tokens_served_total", "source"), all = [...values.values()].reduce((a, b) => a + b, 0);
  const bar = $("served-bar"), parts = [];
  for (const name of Object.keys(sources)) {
    const li = row($("served"), name, sources[name]), value = values.get(name) ?? 0;
    if (!li.querySelector(".swatch")) li.querySelector("code").prepend(element("i", "swatch c-" + name));
    fill(li, value);
    let part = bar.querySelector(".c-" + name);
    if (!part) bar.append(part = element("i", "c-" + name));
    part.style.setProperty("flex", value + " 0 0");
    if (all) parts.push(name + " " + (100 * value / all).toFixed(1) + " %");
  }
  if (all) bar.setAttribute("aria-label", "Of all tokens handed out: " + parts.join(", "));
}

function drawBars(list, values, words) {
  const most = Math.max(1, ...values.values());
  for (const [name, value] of values) if (words || value > 0 || list.querySelector(`[data-name="${name}"]`)) fill(row(list, name, words?.[name] ?? ""), value, value / most);
}

function drawBudget(series, kind, name) {
  const left = sum(series, "budget_left", { class: kind }), limit = sum(series, "budget_limit", { class: kind });
  const waiting = sum(series, "budget_waiting", { class: kind }), pause = sum(series, "budget_paused_seconds", { class: kind });
  let box = $("budget-" + kind);
  if (!box) {
    box = element("div", "budget");
    box.id = "budget-" + kind;
    const head = element("p"), bar = element("div", "bar");
    head.append(element("span", "name", name), element("span", "amount"));
    bar.setAttribute("role", "meter");
    bar.setAttribute("aria-label", name + " left in this minute");
    bar.setAttribute("aria-valuemin", "0");
    bar.append(element("i"));
    box.append(head, bar, element("p", "fine"));
    $("budgets").append(box);
  }
  const bar = box.querySelector(".bar"), free = limit === Infinity;
  const text = free ? "no limit" : left === undefined || limit === undefined ? "–" : `${number(Math.floor(left))} of ${number(limit)} left`;
  const share = free ? 1 : left === undefined || !limit ? 0 : Math.min(1, left / limit);
  write(box.querySelector(".amount"), text);
  box.dataset.left = String(left);
  bar.firstChild.style.setProperty("width", 100 * share + "%");
  bar.classList.toggle("low", share < 0.25);
  bar.setAttribute("aria-valuemax", String(free || !limit ? 1 : limit));
  bar.setAttribute("aria-valuenow", String(free || left === undefined ? share : Math.floor(left)));
  bar.setAttribute("aria-valuetext", text);
  write(box.querySelector(".fine"), number(waiting) + " waiting · " + (pause > 0 ? "paused for " + length(pause) : pause === 0 ? "no pause" : "pause –"));
}

function drawPortal(series) {
  const list = $("portal"), valid = sum(series, "portal_key_valid"), last = sum(series, "portal_key_last_success_timestamp_seconds");
  const [word, mood] = { 1: ["accepted", "good"], 0: ["refused", "bad"], "-1": ["not known yet", ""] }[valid] ?? ["–", ""];
  line(list, "Portal API Key", word, mood);
  line(list, "Last accepted", last === undefined ? "–" : last === 0 ? "not yet" : length(newest().at - last) + " ago");
  const counts = [...by(series, "portal_requests_total", "outcome").keys()].map((outcome) => [outcome, gained("portal_requests_total", { outcome })]);
  const some = counts.filter(([, n]) => n > 0).sort((a, b) => b[1] - a[1]);
  const failed = some.some(([outcome]) => !["ok", "not_found", "rejected"].includes(outcome));
  line(list, "Answers, last minute", some.map(([outcome, n]) => number(n) + " " + outcome).join(", ") || "none", some.length ? failed ? "warn" : "good" : "");
  const sum0 = (name) => gained(name) && gained("portal_request_duration_seconds_sum") / gained(name);
  const mean = sum0("portal_request_duration_seconds_count");
  line(list, "Mean answer time", mean ? number(mean * 1000, mean < 0.01 ? 1 : 0) + " ms" : "–");
}

function drawRedis(series) {
  const list = $("redis"), up = sum(series, "redis_up");
  if (up === undefined) {
    line(list, "State", "not used");
    line(list, "Tokens are kept", "in this process");
    return;
  }
  line(list, "State", up === 1 ? "answers" : "does not answer", up === 1 ? "good" : "bad");
  const state = [...by(series, "redis_breaker", "state")].find(([, v]) => v === 1)?.[0];
  line(list, "Breaker", state?.replace("_", " ") ?? "–", { closed: "good", half_open: "warn", open: "bad" }[state] ?? "");
  line(list, "Replicas that share it", number(sum(series, "fleet_replicas")));
  line(list, "Our clock ahead of its", number(sum(series, "clock_skew_seconds"), 3) + " s");
}

function drawBuild(series) {
  write($("version"), series.get("cstproxy_build_info")?.[0].labels.version || "–");
  const since = series.get("process_start_time_seconds")?.[0].value;
  write($("uptime"), since ? length(newest().at - since) : "–");
  write($("asof"), new Date(newest().at * 1000).toLocaleTimeString("en-GB"));
}

async function askMetrics() {
  const response = await fetch("/metrics", { headers: { Accept: "text/plain" }, cache: "no-store", signal: AbortSignal.timeout(10000) });
  if (!response.ok) throw new Error("status " + response.status);
  const text = await response.text();
  samples.push({ at: Date.now() / 1000, series: parse(text) });
  if (samples.length > kept) samples.shift();
}

function draw() {
  const series = newest().series;
  drawBuild(series);
  drawHeroes();
  drawServed(series);
  drawBars($("mints"), by(series, "mints_total", "reason"), reasons);
  drawBudget(series, "mint", "Mints");
  drawBudget(series, "probe", "Refreshes");
  drawPortal(series);
  drawRedis(series);
  drawBars($("errors"), by(series, "token_errors_total", "code"));
  $("no-errors").hidden = $("errors").children.length > 0;
  const [, state, title, advice] = verdicts.find(([holds]) => holds(series));
  judge(state, title, advice);
}

let timer = 0;
let round = 0;

// poll asks, and asks again when it was answered: one round at a time, and none while nobody looks.
async function poll() {
  clearTimeout(timer);
  const mine = ++round;
  try {
    await askMetrics();
    if (mine !== round) return;
    document.body.classList.remove("stale");
    draw();
    await askLife();
  } catch {
    if (mine !== round) return;
    document.body.classList.add("stale");
    judge("bad", "This page has lost the proxy.", samples.length ? `What is shown is as of ${$("asof").textContent}. It is asked again every two seconds.` : "It is asked again every two seconds.");
  }
  if (mine !== round || document.hidden) return;
  timer = setTimeout(poll, pace);
  document.body.dataset.round = String(mine); // it is over, and the next is due
}

function introduce() {
  if (!demo.speed) return;
  $("demo").hidden = false;
  write($("demo"), "This is a demo: Portal is simulated, and so is who asks. " + (demo.speed === 1 ? "Time runs at its own pace." :
    `Time runs ${number(demo.speed)} times as fast as yours: a week passes in ${length(7 * 86400 / demo.speed)}.`));
  $("client").value = demo.client;
  watch(demo.client);
}

$("watch").addEventListener("submit", (event) => {
  event.preventDefault();
  watch($("client").value.trim());
});
$("stop").addEventListener("click", () => {
  unwatch();
  $("client").focus();
});
document.addEventListener("visibilitychange", () => {
  round++;
  clearTimeout(timer);
  if (!document.hidden) poll();
});

introduce();
if (!document.hidden) poll();
