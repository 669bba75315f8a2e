// The console: follows a topic or pattern through the browser's own EventSource, publishes, and
// shows the hub's numbers. Everything that comes from outside reaches the page as text, through
// textContent, never as markup.

import { SNIPPETS } from "./snippets.js";

const HUB = new URL(".", location.href); // the hub may live under a path of a proxy
const EVENTS = new URL("events", HUB);
const METRICS = new URL("metrics", HUB);

const ROWS_MAX = 500;
const DATA_CHARS_MAX = 32_768; // kept of each event's data, so that ROWS_MAX large ones fit
const PREVIEW_CHARS_MAX = 400;
const DRAW_MS_MAX = 250;
const METRICS_MS = 2_000;
const METRICS_HIDDEN_MS = 10_000;
const SAMPLES_MAX = 60;
const SLOW_CONNECT_MS = 5_000;
const RETRY_MS_MAX = 30_000;
const CONTROL_TYPES = ["tidings.gap", "tidings.end"];

const $ = (id) => document.getElementById(id);

function start() {
  $("origin").textContent = HUB.href.replace(/\/$/, "");
  readHash();
  wireFollow();
  wireView();
  wirePublish();
  wireSnippets();
  $("theme").addEventListener("change", () => {
    showTheme();
    writeHash();
  });
  addEventListener("hashchange", () => {
    const before = chosen().url;
    readHash();
    if (chosen().url !== before) follow();
  });
  showTheme();
  follow();
  pollMetrics();
}

// --- What is chosen, and the address that remembers it ---------------------------------------

/// `kind` follows the text until someone picks it by hand.
let kindPicked = false;

function chosen() {
  const kind = $("kind").value;
  const topic = $("topic").value.trim();
  const from = $("from").value.trim();
  const query = `${kind}=${encode(topic)}` + (from ? `&from=${encode(from)}` : "");
  const types = [...new Set($("types").value.split(",").map((type) => type.trim()))].filter(Boolean);
  return { kind, topic, from, types, url: `${EVENTS.href}?${query}` };
}

/// Percent-encoding that leaves readable what a query may hold.
function encode(text) {
  const encoded = encodeURIComponent(text.toWellFormed?.() ?? text);
  return encoded.replace(/%(2F|3A|40|2C)/g, decodeURIComponent).replaceAll("'", "%27");
}

function guessKind() {
  if (kindPicked) return;
  $("kind").value = /[*{]|(^|\/):\w/.test($("topic").value) ? "pattern" : "topic";
}

function choose(kind, topic) {
  $("topic").value = topic;
  kindPicked = false;
  guessKind();
  kindPicked = $("kind").value !== kind;
  $("kind").value = kind;
}

function showKind() {
  $("topic-label").textContent = $("kind").value === "pattern" ? "Pattern" : "Topic";
}

function readHash() {
  const fields = new Map();
  for (const part of location.hash.slice(1).split("&").filter(Boolean)) {
    const [name, value = ""] = part.split(/=(.*)/s);
    try {
      fields.set(name, decodeURIComponent(value));
    } catch {
      // Not percent-encoding: the field is left as it is in the page.
    }
  }
  for (const kind of ["topic", "pattern"]) {
    if (!fields.has(kind)) continue;
    choose(kind, fields.get(kind));
    if (kind === "topic") $("publish-topic").value = fields.get(kind);
  }
  if (fields.has("topic") || fields.has("pattern")) $("from").value = fields.get("from") ?? "";
  if (fields.has("types")) $("types").value = fields.get("types");
  if (fields.has("theme")) $("theme").value = fields.get("theme");
  if ($("theme").selectedIndex < 0) $("theme").value = "";
  showKind();
}

function writeHash() {
  const { kind, topic, from, types } = chosen();
  const fields = { [kind]: topic, from, types: types.join(","), theme: $("theme").value };
  const parts = Object.entries(fields).filter(([, value]) => value);
  history.replaceState(null, "", "#" + parts.map(([name, value]) => `${name}=${encode(value)}`).join("&"));
}

function showTheme() {
  document.documentElement.dataset.theme = $("theme").value;
}

// --- Following -------------------------------------------------------------------------------

let source = null;
let opened = 0;
let lastId = "";
let failures = 0;
let retryTimer = 0;
let slowTimer = 0;
const listening = new Set();

function wireFollow() {
  $("follow-form").addEventListener("submit", (event) => {
    event.preventDefault();
    follow();
  });
  $("stop").addEventListener("click", () => {
    disconnect();
    showState("stopped here; Follow starts again");
  });
  $("kind").addEventListener("change", () => {
    kindPicked = true;
    showKind();
    showSnippets();
  });
  let topicBefore = $("topic").value;
  $("topic").addEventListener("input", () => {
    guessKind();
    showKind();
    // The publish form goes along until it has a topic of its own.
    const own = ![topicBefore, $("publish-topic").defaultValue].includes($("publish-topic").value);
    if (!own && $("kind").value === "topic") {
      $("publish-topic").value = $("topic").value;
    }
    topicBefore = $("topic").value;
  });
  $("types").addEventListener("change", () => {
    listen();
    writeHash();
  });
  for (const id of ["topic", "from", "types"]) $(id).addEventListener("input", () => showSnippets());
  addEventListener("pageshow", (event) => event.persisted && connect());
}

/// Begins anew: another topic, another start, an empty view.
function follow() {
  guessKind();
  showKind();
  clearView();
  lastId = "";
  $("last-event-id").textContent = "–";
  failures = 0;
  opened = 0;
  writeHash();
  showSnippets();
  document.title = `${chosen().topic} · Tidings`;
  connect();
}

/// Connects, and resumes if anything was seen. The browser's own reconnects do not come by here.
function connect() {
  disconnect();
  const resume = lastId && `&last_event_id=${encode(lastId)}`;
  const mine = new EventSource(chosen().url + resume);
  source = mine;
  mine.onopen = () => {
    opened += 1;
    failures = 0;
    clearTimeout(slowTimer);
    showState(opened === 1 ? "" : `reconnected ${opened - 1} ×, resumed after the last event ID`);
  };
  mine.onerror = (event) => {
    // An event whose type is "error" arrives here too; it is not a failure.
    if (event instanceof MessageEvent || mine !== source) return;
    clearTimeout(slowTimer);
    if (mine.readyState === EventSource.CLOSED) explain(mine);
    else showState("connection lost; the browser reconnects and resumes by itself");
  };
  listen();
  showProblem($("follow-problem"), null);
  showState("");
  slowTimer = setTimeout(() => {
    showState("still waiting; a browser allows one HTTP/1.1 server six connections, so other tabs may hold them all");
  }, SLOW_CONNECT_MS);
}

function disconnect() {
  clearTimeout(retryTimer);
  clearTimeout(slowTimer);
  source?.close();
  source = null;
  listening.clear();
}

/// Named events reach only listeners for their name.
function listen() {
  const wanted = new Set(["message", ...CONTROL_TYPES, ...chosen().types]);
  for (const type of listening) if (!wanted.has(type)) source?.removeEventListener(type, receive);
  for (const type of wanted) source?.addEventListener(type, receive);
  listening.clear();
  for (const type of wanted) listening.add(type);
}

/// EventSource does not say why it gave up, so ask again in a way that does. What may pass is tried
/// again from here, because the browser will not.
async function explain(refused) {
  showState("");
  const abort = new AbortController();
  let response = null;
  try {
    response = await fetch(refused.url, { headers: { Accept: "text/event-stream" }, signal: abort.signal });
    if (refused !== source) return;
    if (response.status === 204) return showState("the hub asked not to come back (204)");
    if (!response.ok && response.status < 500 && response.status !== 429) {
      const problem = await readProblem(response);
      if (refused === source) showProblem($("follow-problem"), problem);
      return;
    }
  } catch {
    // No answer at all: the same as a refusal that passes.
  } finally {
    abort.abort();
  }
  if (refused !== source) return;
  failures += 1;
  const asked = Number(response?.headers.get("Retry-After")) * 1_000;
  const wait = asked || Math.min(RETRY_MS_MAX, 500 * 2 ** failures) * (0.5 + Math.random() / 2);
  const why = response && !response.ok ? `the answer was ${response.status}` : "no answer from the hub";
  showState(`${why}; trying again in ${Math.ceil(wait / 1_000)} s`);
  retryTimer = setTimeout(connect, wait);
}

function showState(detail) {
  const state = ["connecting", "live", "closed"][source?.readyState ?? EventSource.CLOSED];
  const shown = $("connection-state");
  if (shown.textContent !== state) shown.textContent = state;
  shown.dataset.state = state;
  $("connection-detail").textContent = detail;
  $("stop").disabled = source === null;
  showEmpty();
}

// --- The view: a bounded list, drawn in batches ----------------------------------------------

// A record is {id, type, data, cut, at, matches, row}. `pending` waits for the next frame of the
// browser, or for the end of a pause; in a hidden tab there are no frames, and it stays bounded.
let pending = [];
let shown = [];
let received = 0;
let dropped = 0;
let paused = false;
let frameAsked = false;
let drawAgainAt = 0;
let drawn = 0; // of `received`, at the last frame
let atEnd = true;
let filter = "";
const mineIds = new Set();

function receive(event) {
  received += 1;
  lastId = event.lastEventId;
  const long = event.data.length > DATA_CHARS_MAX;
  const record = {
    id: event.lastEventId,
    type: event.type,
    // A slice would keep the whole string alive; a copy by way of JSON does not.
    data: long ? JSON.parse(JSON.stringify(event.data.slice(0, DATA_CHARS_MAX))) : event.data,
    chars: event.data.length,
    at: Date.now(),
    matches: true,
    row: null,
  };
  record.matches = matches(record);
  pending.push(record);
  if (pending.length >= 2 * ROWS_MAX) pending = trim(pending);
  askForFrame();
}

function matches(record) {
  if (!filter || CONTROL_TYPES.includes(record.type)) return true;
  return `${record.data}\n${record.type}\n${record.id}`.toLowerCase().includes(filter);
}

/// Keeps ROWS_MAX records: those that the filter hides leave first, then the oldest.
function trim(records) {
  let over = records.length - ROWS_MAX;
  const leave = (goes) => {
    if (over <= 0) return;
    records = records.filter((record) => {
      if (over <= 0 || !goes(record)) return true;
      over -= 1;
      if (record.row) removeRow(record.row);
      else dropped += 1;
      return false;
    });
  };
  leave((record) => !record.matches);
  leave(() => true);
  return records;
}

function removeRow(row) {
  // The keyboard stays in the list when its row leaves.
  if (row.contains(document.activeElement)) $("scroller").focus({ preventScroll: true });
  row.remove();
}

/// Below some 500 events a second every frame of the browser is drawn; above, where nobody can
/// read along, four a second are, and drawing takes a quarter of the time at the most.
function askForFrame() {
  if (frameAsked) return;
  frameAsked = true;
  const wait = drawAgainAt - performance.now();
  if (wait > 0) setTimeout(requestAnimationFrame, wait, draw);
  else requestAnimationFrame(draw);
}

function draw() {
  frameAsked = false;
  const began = performance.now();
  if (!paused) drawPending();
  showCounts();
  const id = $("last-event-id");
  if (lastId && id.textContent !== lastId) id.textContent = lastId;
  const now = performance.now();
  drawAgainAt = now + Math.max(3 * (now - began), Math.min(DRAW_MS_MAX, 2 * (received - drawn)));
  drawn = received;
}

function drawPending() {
  if (!pending.length) return;
  shown = trim(shown.concat(pending));
  pending = [];
  const rows = document.createDocumentFragment();
  for (const record of shown) {
    if (record.row) continue;
    record.row = newRow(record);
    rows.append(record.row);
  }
  $("tail").append(rows);
  showEmpty();
  if (atEnd) toEnd();
}

function toEnd() {
  $("scroller").scrollTop = $("scroller").scrollHeight;
}

function showCounts() {
  const visible = filter ? shown.filter((record) => record.matches).length : shown.length;
  const parts = [];
  if (paused) parts.push(`paused, ${number(pending.length)} waiting`);
  parts.push(filter ? `${number(visible)} of ${number(shown.length)} match` : `${number(visible)} in view`);
  parts.push(`${number(received)} received`);
  if (dropped) parts.push(`${number(dropped)} dropped from view`);
  $("counts").textContent = parts.join(" · ");
  $("counts").title = `The view keeps ${ROWS_MAX} events. What is dropped from view is still in the hub's log.`;
}

function showEmpty() {
  $("empty").hidden = shown.length > 0;
  const live = source?.readyState === EventSource.OPEN;
  $("empty").textContent = live ? "Nothing yet. Publish an event, and it appears here." : "No events.";
}

function clearView() {
  pending = [];
  shown = [];
  received = 0;
  drawn = 0;
  dropped = 0;
  atEnd = true;
  mineIds.clear();
  $("tail").replaceChildren();
  $("newest").hidden = true;
  showEmpty();
  showCounts();
}

function wireView() {
  $("pause").addEventListener("click", () => {
    paused = !paused;
    $("pause").setAttribute("aria-pressed", String(paused));
    $("pause").textContent = paused ? "Resume" : "Pause";
    askForFrame();
  });
  $("clear").addEventListener("click", clearView);
  $("newest").addEventListener("click", () => {
    toEnd();
    $("scroller").focus({ preventScroll: true });
  });
  $("filter").addEventListener("input", () => {
    filter = $("filter").value.trim().toLowerCase();
    for (const record of [...shown, ...pending]) {
      record.matches = matches(record);
      if (record.row) record.row.hidden = !record.matches;
    }
    if (atEnd) toEnd();
    showCounts();
  });
  const scroller = $("scroller");
  scroller.addEventListener("scroll", () => {
    atEnd = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < 30;
    $("newest").hidden = atEnd;
  }, { passive: true });
  new ResizeObserver(() => atEnd && toEnd()).observe(scroller);
  $("tail").addEventListener("click", (event) => {
    const data = event.target.closest(".data");
    if (data) toggleRow(data);
  });
  scroller.addEventListener("keydown", moveByKey);
}

/// Rows are not tab stops, five hundred would be too many: the arrow keys go through them.
function moveByKey(event) {
  if (event.target.closest(".whole")) return;
  const rows = shown.filter((record) => record.row && record.matches).map((record) => record.row);
  const at = rows.indexOf(event.target.closest("li"));
  const down = at < 0 ? 0 : at + 1;
  const up = at < 0 ? rows.length - 1 : at - 1;
  const to = { ArrowDown: down, ArrowUp: up, Home: 0, End: rows.length - 1 }[event.key];
  if (to === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  rows[to]?.querySelector(".data").focus();
}

// --- One row ---------------------------------------------------------------------------------

const records = new WeakMap(); // row -> record
const blankRow = element("li", {}, [
  element("span", { className: "time" }),
  element("span", { className: "id" }, [element("span", { className: "epoch" }), element("span", { className: "place" })]),
  element("span", { className: "type" }),
  element("button", { className: "data", type: "button", tabIndex: -1, ariaExpanded: "false" }),
]);

function element(name, properties = {}, children = []) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

function newRow(record) {
  const row = blankRow.cloneNode(true);
  const [time, id, type, data] = row.children;
  time.textContent = clock(record.at);
  const colon = /^[a-z][a-z0-9]*:\d+$/i.test(record.id) ? record.id.indexOf(":") : 0;
  id.firstChild.textContent = record.id.slice(0, colon);
  id.lastChild.textContent = record.id.slice(colon);
  type.textContent = record.type;
  if (record.type === "message") type.dataset.default = "";
  data.textContent = record.data.slice(0, PREVIEW_CHARS_MAX).replaceAll("\n", " ↵ ") || "(empty)";
  row.dataset.id = record.id;
  row.dataset.type = record.type;
  if (CONTROL_TYPES.includes(record.type)) {
    row.className = "control";
    data.textContent = controlText(record);
  } else if (mineIds.has(record.id)) {
    row.className = "mine";
  }
  row.hidden = !record.matches;
  records.set(row, record);
  return row;
}

function controlText({ type, data }) {
  try {
    const { from, to, reason } = JSON.parse(data);
    if (type === "tidings.gap") return `not delivered (${reason}): after ${from}, up to ${to}`;
    return `stream ends (${reason}); the browser comes back by itself`;
  } catch {
    return data;
  }
}

function clock(at) {
  const date = new Date(at);
  const two = (value) => String(value).padStart(2, "0");
  const ms = String(date.getMilliseconds()).padStart(3, "0");
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}.${ms}`;
}

function toggleRow(button) {
  const row = button.closest("li");
  const whole = row.querySelector(".whole");
  button.setAttribute("aria-expanded", String(!whole));
  if (whole) return whole.remove();
  const { id, at, data, chars } = records.get(row);
  const copy = element("button", { type: "button", textContent: "Copy data" });
  copy.addEventListener("click", () => copyText(copy, data));
  const size = chars > data.length
    ? `the first ${number(data.length)} of ${number(chars)} characters`
    : `${number(chars)} characters`;
  const facts = ["id " + id, "received " + new Date(at).toISOString(), size];
  const head = element("p", {}, [...facts.map((textContent) => element("span", { textContent })), copy]);
  row.append(element("div", { className: "whole" }, [head, element("pre", { textContent: pretty(data) })]));
  row.scrollIntoView({ block: "nearest" });
}

/// Numbers beyond 2^53 would change on their way through JSON.parse: such data is shown as it is.
function pretty(data) {
  if (!/^\s*[[{]/.test(data) || /\d{16}/.test(data)) return data;
  try {
    return JSON.stringify(JSON.parse(data), null, 2);
  } catch {
    return data;
  }
}

// --- Publishing ------------------------------------------------------------------------------

function wirePublish() {
  const form = $("publish-form");
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    publish();
  });
  form.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    form.requestSubmit();
  });
  form.addEventListener("input", () => showSnippets());
}

function publishBody() {
  const event = $("publish-event").value.trim();
  return { topic: $("publish-topic").value.trim(), data: $("publish-data").value, ...(event && { event }) };
}

async function publish() {
  const body = publishBody();
  if (body.event) listenAlsoFor(body.event);
  $("publish-submit").disabled = true;
  const began = performance.now();
  try {
    const response = await fetch(EVENTS, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
    });
    if (!response.ok) return showProblem($("publish-result"), await readProblem(response));
    const { id } = await response.json();
    showReceipt(id, performance.now() - began, body.topic);
  } catch {
    const detail = "Is it still running? The event may or may not have been stored.";
    showProblem($("publish-result"), { title: "No answer from the hub", detail });
  } finally {
    $("publish-submit").disabled = false;
  }
}

function listenAlsoFor(type) {
  if (listening.has(type) || type.includes(",")) return;
  $("types").value = [...chosen().types, type].join(", ");
  listen();
  writeHash();
  showSnippets();
}

function showReceipt(id, ms, topic) {
  const said = element("p", { className: "done" }, [
    "Stored as ",
    element("code", { textContent: id }),
    ` in ${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms. `,
  ]);
  const { kind, topic: followed } = chosen();
  if (kind === "topic" && followed !== topic) {
    const button = element("button", { type: "button", textContent: `Follow ${topic}` });
    button.addEventListener("click", () => {
      choose("topic", topic);
      follow();
    });
    said.append(button);
  }
  $("publish-result").replaceChildren(said);
  mineIds.add(id);
  if (mineIds.size > ROWS_MAX) mineIds.delete(mineIds.values().next().value);
  shown.findLast((record) => record.id === id)?.row?.classList.add("mine");
}

/// RFC 9457, or whatever else a proxy in between may have answered.
async function readProblem(response) {
  const text = await response.text().catch(() => "");
  const after = response.headers.get("Retry-After");
  const retry = after ? ` (Retry-After: ${after})` : "";
  try {
    const { title, detail } = JSON.parse(text);
    return { title: title ?? `Status ${response.status}`, detail: (detail ?? "") + retry };
  } catch {
    return { title: `Status ${response.status}`, detail: text.slice(0, 500) + retry };
  }
}

function showProblem(place, problem) {
  if (place.id === "follow-problem") place.hidden = !problem;
  if (!problem) return place.replaceChildren();
  const parts = [element("strong", { textContent: problem.title }), problem.detail && ": ", problem.detail];
  if (place.id === "follow-problem") place.replaceChildren(...parts);
  else place.replaceChildren(element("p", { className: "problem" }, parts));
}

// --- Numbers ---------------------------------------------------------------------------------

let reading = null;
const samples = { subscribers: [], published: [], delivered: [] };

async function pollMetrics() {
  try {
    const response = await fetch(METRICS, { cache: "no-store", signal: AbortSignal.timeout(METRICS_HIDDEN_MS) });
    if (!response.ok) throw new Error(`status ${response.status}`);
    const next = { at: performance.now(), values: parseMetrics(await response.text()) };
    showNumbers(reading, next);
    reading = next;
  } catch {
    reading = null;
    document.querySelector(".stats").classList.add("stale");
    $("sub-subscribers").textContent = "no answer from /metrics";
    for (const name of ["published", "delivered", "commits"]) $(`stat-${name}`).textContent = "–";
  }
  setTimeout(pollMetrics, document.hidden ? METRICS_HIDDEN_MS : METRICS_MS);
}

/// The Prometheus text format. Series of one name that differ in labels are added up.
function parseMetrics(text) {
  const values = new Map();
  for (const line of text.split("\n")) {
    const found = /^(\w+)(?:\{.*\})?\s+(\S+)/.exec(line);
    if (found) values.set(found[1], (values.get(found[1]) ?? 0) + Number(found[2]));
  }
  return values;
}

function showNumbers(before, now) {
  const value = (name) => now.values.get(`tidings_${name}`) ?? 0;
  const rate = (name) => {
    const change = value(name) - (before?.values.get(`tidings_${name}`) ?? NaN);
    // A counter that went back: the hub was restarted in between.
    return change >= 0 ? (change * 1_000) / (now.at - before.at) : NaN;
  };
  const say = (id, text) => ($(id).textContent = text);
  document.querySelector(".stats").classList.remove("stale");

  say("stat-subscribers", number(value("subscribers")));
  say("sub-subscribers", count(value("connections"), "connection"));
  for (const name of ["published", "delivered"]) {
    say(`stat-${name}`, rateText(rate(`${name}_events_total`)));
    say(`sub-${name}`, `${number(value(`${name}_events_total`))} total · ${bytes(rate(`${name}_bytes_total`))}/s`);
  }
  const commits = rate("commits_total");
  const each = rate("published_events_total") / commits;
  say("stat-commits", rateText(commits));
  say("sub-commits", Number.isFinite(each) ? `${each.toFixed(1)} events each` : "one write and sync each");
  say("stat-log", number(value("log_events")));
  say("sub-log", `${bytes(value("log_bytes"))} · ${count(value("log_segments"), "segment")}`);
  say("stat-gaps", number(value("gaps_total")));
  say("sub-gaps", `window ${bytes(value("window_bytes"))}`);

  sample("subscribers", value("subscribers"));
  sample("published", rate("published_events_total"));
  sample("delivered", rate("delivered_events_total"));
  $("log-failed").hidden = !value("log_failed");
  const failed = "The log has failed and takes no more events. See the hub's own log for the cause, mend it, and restart the hub.";
  if (value("log_failed") && !$("log-failed").textContent) say("log-failed", failed);
}

function sample(name, value) {
  const kept = samples[name];
  if (!Number.isFinite(value)) return;
  kept.push(value);
  if (kept.length > SAMPLES_MAX) kept.shift();
  if (kept.length < 5) return; // less is a scratch, not a line
  const top = Math.max(...kept, 1e-9);
  const points = kept.map((each, at) => `${SAMPLES_MAX - kept.length + at},${(19 - (each / top) * 18).toFixed(2)}`);
  $(`spark-${name}`).firstElementChild.setAttribute("points", points.join(" "));
}

const grouped = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });

function number(value) {
  return grouped.format(value);
}

function count(value, noun) {
  return `${number(value)} ${noun}${value === 1 ? "" : "s"}`;
}

function rateText(value) {
  if (!Number.isFinite(value)) return "–";
  return value > 0 && value < 10 ? value.toFixed(1) : number(value);
}

function bytes(value) {
  if (!Number.isFinite(value)) return "–";
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) [value, unit] = [value / 1024, unit + 1];
  return `${value < 10 && unit > 0 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}

// --- Snippets --------------------------------------------------------------------------------

let language = "curl";

function wireSnippets() {
  const tabs = [...document.querySelectorAll("[role=tab]")];
  const pick = (tab) => {
    language = tab.dataset.language;
    for (const each of tabs) {
      each.setAttribute("aria-selected", String(each === tab));
      each.tabIndex = each === tab ? 0 : -1;
    }
    $("snippet-panel").setAttribute("aria-labelledby", tab.id);
    showSnippets();
  };
  for (const [at, tab] of tabs.entries()) {
    tab.addEventListener("click", () => pick(tab));
    tab.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      const next = tabs.at((at + step) % tabs.length);
      next.focus();
      pick(next);
    });
  }
  for (const button of document.querySelectorAll(".copy")) {
    button.addEventListener("click", () => copyText(button, $(button.dataset.copies).textContent));
  }
  pick(tabs[0]);
}

function showSnippets() {
  const { url, types } = chosen();
  const { note, follow, publish } = SNIPPETS[language];
  $("snippet-note").textContent = note;
  $("snippet-follow").textContent = follow(url, types);
  $("snippet-publish").textContent = publish(EVENTS.href, publishBody());
}

/// The clipboard is closed to pages without TLS that are not on loopback: there, select the text.
async function copyText(button, text) {
  const label = button.firstChild;
  const before = (button.dataset.label ??= label.textContent);
  try {
    await navigator.clipboard.writeText(text);
    label.textContent = "Copied";
  } catch {
    const pre = button.parentElement.parentElement.querySelector("pre");
    getSelection().selectAllChildren(pre);
    label.textContent = "Selected: press Ctrl+C";
  }
  setTimeout(() => (label.textContent = before), 1_500);
}

start();
