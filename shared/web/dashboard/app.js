"use strict";
// One page, no library. Every view is a function from the last answers to a tree of elements; morph() brings what is on the screen in
// line with it and leaves alone what did not change, so that focus, open menus and selections stay. Text only ever comes in as text nodes.

// ---------- elements
const SVG = "http://www.w3.org/2000/svg";
function make(space, tag, attributes, children) {
  const element = space ? document.createElementNS(space, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    element.setAttribute(name, value === true ? "" : String(value));
  }
  for (const child of children.flat(9)) if (child !== null && child !== undefined && child !== false) element.append(child instanceof Node ? child : String(child));
  return element;
}
const h = (tag, attributes, ...children) => make(null, tag, attributes, children);
const s = (tag, attributes, ...children) => make(SVG, tag, attributes, children);

function morph(old, fresh) {
  if (old.nodeType !== fresh.nodeType || old.nodeName !== fresh.nodeName || (old.dataset && old.dataset.key !== fresh.dataset.key)) { old.replaceWith(fresh); return; }
  if (old.nodeType === Node.TEXT_NODE) { if (old.data !== fresh.data) old.data = fresh.data; return; }
  for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name)) old.removeAttribute(name);
  for (const { name, value } of [...fresh.attributes]) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  const before = [...old.childNodes], after = [...fresh.childNodes];
  after.forEach((child, at) => (at < before.length ? morph(before[at], child) : old.append(child)));
  before.slice(after.length).forEach((child) => child.remove());
}

const icon = (path) => s("svg", { viewBox: "0 0 24 24", fill: "none", stroke: "currentColor", "stroke-width": 1.8, "stroke-linecap": "round", "stroke-linejoin": "round", "aria-hidden": "true" }, s("path", { d: path }));
const icons = {
  overview: "M3 12l4-7 5 14 4-9 2 4h3", tables: "M4 5h16v14H4zM4 10h16M10 10v9", conflicts: "M6 4v6a4 4 0 0 0 4 4h8M18 4v2a4 4 0 0 1-4 4M15 11l3 3-3 3M6 20v-4",
  quarantine: "M12 4l8 14H4zM12 10v4M12 16.5v.1", more: "M5 12h.01M12 12h.01M19 12h.01", theme: "M20 14.5A8 8 0 1 1 9.5 4a6.5 6.5 0 0 0 10.5 10.5z", out: "M10 4H5v16h5M14 8l4 4-4 4M18 12H9",
};
const brand = () => h("div", { class: "brand" }, s("svg", { viewBox: "0 0 32 32", "aria-hidden": "true" }, s("path", { d: "M8 9 24 9 16 24Z", fill: "none", stroke: "currentColor", "stroke-width": 2.5 }),
  [[8, 9], [24, 9], [16, 24]].map(([x, y]) => s("circle", { cx: x, cy: y, r: 4.5, fill: "currentColor" }))), h("span", {}, "rowmesh"));

// ---------- words
const number = (value) => Math.round(value).toLocaleString("en-US").replaceAll(",", "\u2009");
const rate = (value) => (value >= 100 ? number(value) : value >= 10 ? value.toFixed(0) : value > 0 ? value.toFixed(1) : "0");
function duration(ms) {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  const seconds = ms / 1000;
  if (seconds < 60) return `${seconds < 10 ? seconds.toFixed(1) : Math.floor(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 172800) return `${Math.floor(seconds / 3600)} h`;
  return `${Math.floor(seconds / 86400)} days`;
}
function bytes(value) {
  if (value >= 2 ** 60) return "unknown";
  const units = ["B", "KB", "MB", "GB", "TB"];
  let at = 0;
  while (value >= 1000 && at < units.length - 1) { value /= 1024; at++; }
  return `${value >= 100 || at === 0 ? Math.round(value) : value.toFixed(1)} ${units[at]}`;
}
const plural = (count, one, many) => `${number(count)} ${count === 1 ? one : many}`;
const ago = (ms) => (ms ? (now() - ms < 2000 ? "just now" : `${duration(Math.max(0, now() - ms))} ago`) : "never");
const clockTime = (ms) => new Date(ms).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" });
const joined = (names) => (names.length < 3 ? names.join(" and ") : `${names.slice(0, -1).join(", ")} and ${names.at(-1)}`);
const tone = { streaming: "ok", "catching up": "ok", copying: "warn", "backing off": "warn", blocked: "bad", "needs copy": "bad", disabled: "off" };
const meaning = {
  streaming: "changes flow as they happen", "catching up": "it is being sent what it missed", copying: "a copy is under way", "backing off": "it does not answer; it is tried again by itself",
  blocked: "a person must mend something", "needs copy": "it was away too long; start a copy", disabled: "switched off",
};
const directions = { both: ["\u21c4", "both ways"], push: ["\u2192", "we only send"], pull: ["\u2190", "we only take"] };
const conflictWords = {
  update_origin_differs: "The same column was changed on two servers", insert_exists: "The same row was made on two servers", update_deleted: "Changed here, deleted there",
  delete_origin_differs: "Deleted while it was changed elsewhere", multiple_unique: "Two rows with one unique value", update_missing: "Changed, but the row is gone", delete_missing: "Deleted twice",
};
const resolutionWords = { apply_remote: "the other server's was kept", keep_local: "this server's was kept", hidden: "one row waits, hidden", held: "one row waits its turn" };

// ---------- what is known
const state = { session: null, overview: null, history: null, tables: null, conflicts: null, quarantine: null, nodes: [], node: "", lost: false, menu: "", skew: 0, copies: {}, conflictsEnd: false };
const now = () => Date.now() + state.skew;
const view = () => (location.hash.match(/^#\/(\w+)/) || [, "overview"])[1];
const views = { overview: "Overview", tables: "Tables", conflicts: "Conflicts", quarantine: "Quarantine" };

class Refused extends Error {
  constructor(status, answer) { super(answer.text || `the node answered ${status}`); this.status = status; this.code = answer.error; }
}
async function ask(path, { method = "GET", body, home = false } = {}) {
  const options = { method, headers: {}, credentials: "same-origin", cache: "no-store" };
  if (method !== "GET") { options.headers["content-type"] = "application/json"; options.headers["x-rowmesh-csrf"] = state.session?.csrf || ""; options.body = JSON.stringify(body || {}); }
  const base = home || !state.node ? "/api/v1/" : `/api/v1/nodes/${state.node}/`;
  const response = await fetch(base + path, options);
  const answer = await response.json().catch(() => ({}));
  if (response.ok) return answer;
  if (response.status === 401 && !path.startsWith("login")) { state.session = { ...state.session, logged_in: false }; start(); }
  throw new Refused(response.status, answer);
}

function toast(text, bad = false) {
  const one = h("div", { class: `toast${bad ? " bad" : ""}` }, text);
  document.getElementById("toasts").append(one);
  setTimeout(() => one.remove(), bad ? 9000 : 4000);
}
async function act(words, path, options) {
  try { await ask(path, { method: "POST", ...options }); toast(words); await refresh(true); return true; } catch (error) { toast(error.message, true); return false; }
}

// ---------- live
const wanted = { overview: { overview: 1000, history: 5000, nodes: 15000 }, tables: { overview: 2000, tables: 5000, nodes: 15000 }, conflicts: { overview: 2000, conflicts: 3000, nodes: 15000 }, quarantine: { overview: 2000, quarantine: 2000, nodes: 15000 } };
const asked = {};
let busy = false;
async function refresh(all = false) {
  if (busy || !state.session?.logged_in) { if (all) setTimeout(() => refresh(true), 80); return; }
  busy = true;
  const node = state.node;
  try {
    for (const [what, every] of Object.entries(wanted[view()] || wanted.overview)) {
      if (!all && Date.now() - (asked[what] || 0) < every) continue;
      asked[what] = Date.now();
      const answer = await ask(what === "conflicts" ? "conflicts?limit=30" : what === "quarantine" ? "quarantine?limit=100" : what, { home: what === "nodes" });
      if (node !== state.node) break;
      if (what === "overview") { state.overview = answer; state.skew = answer.now_ms - Date.now(); noteCopies(); }
      else if (what === "history") state.history = answer;
      else if (what === "conflicts") mergeConflicts(answer.conflicts);
      else state[what] = answer[what];
    }
    state.lost = false;
  } catch (error) {
    if (!(error instanceof Refused)) state.lost = true;
    else if (error.status !== 401) state.lost = error.message;
  }
  busy = false;
  draw();
}
setInterval(() => { if (!document.hidden) refresh(); }, 250);
document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(true); });
window.addEventListener("resize", () => draw());
window.addEventListener("hashchange", () => { state.menu = ""; draw(); refresh(true); window.scrollTo(0, 0); });

function mergeConflicts(fresh) {
  const older = (state.conflicts || []).filter((one) => fresh.length && one.id < fresh.at(-1).id);
  state.conflicts = [...fresh, ...older];
  if (!older.length) state.conflictsEnd = fresh.length < 30;
}
// For the remaining time: when each copy was first seen, and how far it was.
function noteCopies() {
  const running = {};
  for (const server of state.overview.servers) {
    const words = server.progress.match(/table (\d+) of (\d+), (\d+)(?: of about (\d+))? rows/);
    if (!words) continue;
    const [, table, tables, rows, expected] = words.map(Number);
    const share = expected ? rows / expected : (table - 1) / tables;
    const first = state.copies[server.name] || { time: Date.now(), share };
    const left = share > first.share ? ((Date.now() - first.time) / (share - first.share)) * (1 - share) : 0;
    running[server.name] = { ...first, now: Math.min(share, 1), left };
  }
  state.copies = running;
}

// ---------- the frame
function frame() {
  const overview = state.overview, current = view();
  const counts = { conflicts: overview?.node.conflicts, quarantine: overview?.node.quarantined };
  const tabs = Object.entries(views).map(([name, title]) => h("a", { href: `#/${name}`, "aria-current": name === current ? "page" : null }, icon(icons[name]), title,
    counts[name] ? h("span", { class: `count${name === "quarantine" ? " warn" : ""}` }, number(counts[name])) : null));
  const pick = state.nodes.length > 1 ? h("select", { class: "nodes", "data-change": "node", "aria-label": "Database" }, state.nodes.map((one) =>
    h("option", { value: one.here ? "" : one.node, selected: (one.here ? "" : one.node) === state.node, disabled: !one.here && !one.address }, one.name))) : h("b", { class: "nowrap" }, overview?.node.name || state.session.name || "");
  return h("div", {},
    h("header", { class: "top" }, h("div", { class: "bar" }, brand(), pick, h("nav", { class: "tabs", "aria-label": "Views" }, tabs), h("div", { class: "grow" }),
      h("button", { class: "btn quiet icon", "data-do": "theme", "aria-label": "Light or dark", title: "Light or dark" }, icon(icons.theme)),
      h("button", { class: "btn quiet icon", "data-do": "logout", "aria-label": "Log out", title: "Log out" }, icon(icons.out)))),
    h("main", { id: "main", tabindex: "-1", class: state.lost ? "stale" : null },
      state.lost ? h("div", { class: "note bad" }, state.lost === true ? "This node does not answer. What you see is what was last heard; it is asked again every second." : state.lost) : null,
      overview ? drawers[current in drawers ? current : "overview"]() : h("p", { class: "soft" }, "Loading \u2026")));
}
function draw() {
  if (!state.session?.logged_in) return;
  const app = document.getElementById("app"), fresh = frame();
  document.title = `${state.overview ? { ok: "", degraded: "(!) ", failing: "(!!) " }[state.overview.health.status] : ""}${state.overview?.node.name || "rowmesh"} \u00b7 rowmesh`;
  if (app.firstElementChild?.tagName === "DIV" && app.firstElementChild.dataset.view === "frame") { fresh.dataset.view = "frame"; morph(app.firstElementChild, fresh); } else { fresh.dataset.view = "frame"; app.replaceChildren(fresh); }
}

// ---------- overview
function headline() {
  const { node, servers, health } = state.overview;
  const of = (name) => servers.filter((server) => server.state === name).map((server) => server.name);
  const waiting = Math.max(0, ...servers.filter((server) => server.state !== "disabled").map((server) => server.queued));
  const [blocked, away, needy, copying, behind] = [of("blocked"), of("backing off"), of("needs copy"), of("copying"), of("catching up")];
  const active = servers.filter((server) => server.state !== "disabled");
  let title = "Everything is in step";
  if (node.blocked) title = "This node stands still";
  else if (!node.enabled) title = "Replication is switched off";
  else if (!servers.length) title = "No other server yet";
  else if (needy.length + blocked.length + away.length > 1 && [needy, blocked, away].filter((one) => one.length).length > 1) title = `${plural(needy.length + blocked.length + away.length, "server is", "servers are")} not in step`;
  else if (needy.length) title = `${joined(needy)} ${needy.length > 1 ? "need" : "needs"} a new copy`;
  else if (blocked.length) title = `${joined(blocked)} ${blocked.length > 1 ? "need" : "needs"} your attention`;
  else if (away.length) title = `${joined(away)} ${away.length > 1 ? "do" : "does"} not answer`;
  else if (copying.length) title = `A copy with ${joined(copying)} is under way`;
  else if (behind.length || waiting > 1000) title = "Catching up";
  else if (!active.length) title = "All servers are switched off";
  else if (node.quarantined) title = `In step, but ${plural(node.quarantined, "row waits", "rows wait")} in quarantine`;
  const notes = [];
  if (node.blocked) notes.push(node.blocked);
  else if (!node.enabled) notes.push("Changes are still noted and will be shipped when you switch it on again.");
  else if (!servers.length) notes.push("Add the server that is to have the same data. What is written here is noted already.");
  else {
    const well = active.filter((server) => server.state === "streaming").length;
    notes.push(`${well} of ${plural(active.length, "server", "servers")} in step`, waiting ? `${plural(waiting, "change waits", "changes wait")} to be confirmed` : "nothing waits");
  }
  const lamp = node.blocked || needy.length || blocked.length ? "failing" : health.status;
  return h("div", { class: "headline" }, h("span", { class: `lamp ${!servers.length && lamp === "ok" ? "" : lamp}`, role: "img", "aria-label": `Health: ${health.status}` }), h("h1", {}, title), h("p", {}, notes.join(" \u00b7 ")),
    h("div", { class: "actions row" }, node.enabled ? h("button", { class: "btn", "data-do": "switch-off" }, "Switch off") : h("button", { class: "btn main", "data-do": "switch-on" }, "Switch on"),
      h("button", { class: `btn${node.enabled ? " main" : ""}`, "data-do": "add-server" }, "Add a server")));
}
const last = (list) => (list?.length ? list.at(-1) : 0);
function figures() {
  const { node, servers } = state.overview;
  const active = servers.filter((server) => server.state !== "disabled");
  const lag = Math.max(0, ...active.map((server) => server.lag_ms)), queue = active.reduce((sum, server) => sum + server.queued, 0);
  const figure = (title, value, small) => h("div", { class: "figure" }, h("dt", {}, title), h("dd", {}, value, small ? h("small", {}, " ", small) : null));
  return h("dl", { class: "card figures" }, figure("Written here", rate(last(state.history?.captured)), "changes/s"), figure("Taken from others", rate(last(state.history?.applied)), "changes/s"),
    figure("Oldest unconfirmed", queue ? duration(lag) : "none"), figure("Waiting", number(queue), queue === 1 ? "change" : "changes"),
    figure("Conflicts", number(node.conflicts), "since start"), figure("Database", bytes(node.database_bytes), `${bytes(node.disk_free_bytes)} free`));
}
function spark(server) {
  const line = state.history?.servers[server.name];
  const values = (line ? line.sent.map((value, at) => value + line.received[at]) : []).slice(-120), top = Math.max(1, ...values);
  const path = values.map((value, at) => `${at ? "L" : "M"}${((120 - values.length + at) * 150) / 119},${(32 - (value / top) * 29).toFixed(1)}`).join("");
  return s("svg", { class: "spark chart", viewBox: "0 0 150 34", role: "img", "aria-label": "Changes per second, last ten minutes" }, values.length > 1 ? [s("path", { class: "area k1", d: `${path}V34H${((120 - values.length) * 150) / 119}Z` , opacity: .13 }), s("path", { class: "k1", d: path, fill: "none", "stroke-width": 1.5 })] : null);
}
// What the network library says, for people; the rest comes as sentences already.
function plainError({ last_error: text, url }) {
  const words = [[/refused/i, `Nothing listens at ${url}. Is that server running, and is this its port?`], [/timed? ?out|no answer for/i, `${url} does not answer in time. Is the network between the two in order?`],
    [/resolve host/i, `There is no computer of that name: ${url}`], [/no route|unreachable/i, `There is no way through the network to ${url}`]].find(([pattern]) => pattern.test(text));
  return words ? [words[1], h("div", { class: "small" }, text)] : text;
}
function serverRow(server) {
  const value = (title, content) => h("dl", { class: "value" }, h("dt", {}, title), h("dd", {}, content));
  const open = state.menu === server.name, copy = state.copies[server.name], [arrow, way] = directions[server.direction] || ["", server.direction];
  const item = (what, title, more = "") => h("button", { class: `btn ${more}`, "data-do": what, "data-server": server.name, role: "menuitem" }, title);
  return h("div", { class: "server", "data-key": server.name },
    h("div", { class: "who" }, h("div", { class: "row wrap" }, h("span", { class: "name" }, server.name), h("span", { class: `chip ${tone[server.state] || "off"}`, title: meaning[server.state] }, server.state)),
      h("div", { class: "url" }, h("span", { title: way, "aria-label": way }, arrow), " ", server.url || "it comes to us")),
    value("Waiting", number(server.queued)), value("Behind", server.queued ? duration(server.lag_ms) : "0 ms"), value("Sent", number(server.rows_sent)), value("Received", number(server.rows_received)),
    spark(server),
    h("div", { class: "actions" }, h("button", { class: "btn", "data-do": "test", "data-server": server.name }, "Test"),
      h("div", { class: "menu" }, h("button", { class: "btn icon", "data-do": "menu", "data-server": server.name, "aria-haspopup": "menu", "aria-expanded": String(open), "aria-label": `More for ${server.name}` }, icon(icons.more)),
        open ? h("div", { role: "menu" }, item("copy", "Copy tables \u2026"), can("verify") ? item("verify", "Compare rows") : null, item("edit", "Edit \u2026"), server.enabled ? item("disable", "Disable") : item("enable", "Enable"), item("remove", "Remove \u2026", "danger")) : null)),
    server.last_error && server.state !== "disabled" ? h("div", { class: `wide note ${tone[server.state] === "bad" ? "bad" : "warn"}` }, plainError(server)) : null,
    server.state === "copying" ? h("div", { class: "wide" }, h("div", { class: "row wrap small soft" }, h("span", { class: "grow" }, `Copy: ${server.progress || "beginning"}`), copy?.left ? h("span", {}, `about ${duration(copy.left)} left`) : null),
      h("progress", copy && copy.now > 0 ? { max: 1, value: copy.now, "aria-label": "Copy" } : { "aria-label": "Copy" })) : null,
    h("div", { class: "wide small faint" }, `last answer ${ago(server.last_success_ms)}`, server.failures ? ` \u00b7 ${plural(server.failures, "failed request", "failed requests")} since start` : "", server.conflicts ? ` \u00b7 ${plural(server.conflicts, "conflict", "conflicts")}` : ""));
}
function serverList() {
  const { servers } = state.overview;
  return h("section", { class: "card", "aria-label": "Servers" }, h("div", { class: "head" }, h("h2", {}, "Servers")), servers.length ? h("div", {}, servers.map(serverRow)) :
    empty("M5 7h14M5 7l7 11M19 7l-7 11", "Nothing to keep equal with yet", "Give the address of another rowmesh node and the secret that both share. Then add the same there.", h("button", { class: "btn main", "data-do": "add-server" }, "Add a server")));
}
function empty(path, title, text, more) { return h("div", { class: "empty" }, icon(path), h("h2", {}, title), h("p", {}, text), more); }

// Four samples become one: their mean, or of a lag the worst.
function thinned(values, worst) {
  const points = [];
  for (let at = values.length; at > 0; at -= 4) { const four = values.slice(Math.max(0, at - 4), at); points.unshift(worst ? Math.max(...four) : four.reduce((sum, value) => sum + value, 0) / four.length); }
  return points;
}
// lines: [{name, values}], newest last
function chart(id, title, lines, unit, words) {
  // Drawn in the pixels that there are, so that letters are not stretched; four samples are one point.
  const shown = document.querySelector(`[data-chart="${id}"] svg`), width = shown?.clientWidth || 560, height = shown?.clientHeight || 190, left = 50, bottom = 22, top = 10;
  // As long as there is less than an hour, what there is.
  const samples = Math.max(...lines.map((line) => line.values.length)), base = state.history?.step_ms || 5000;
  const [minutes, marks] = samples <= 60 ? [5, [5, 4, 3, 2, 1, 0]] : samples <= 180 ? [15, [15, 10, 5, 0]] : [60, [60, 45, 30, 15, 0]];
  const thin = minutes === 60, most = thin ? 180 : (minutes * 60000) / base, step = thin ? 4 * base : base;
  if (thin) lines = lines.map((line) => ({ name: line.name, values: thinned(line.values, unit === "ms") }));
  const peak = Math.max(...lines.map((line) => Math.max(0, ...line.values)), unit === "ms" ? 10 : 1);
  const nice = [1, 1.5, 2, 3, 4, 5, 6, 8, 10].map((one) => one * 10 ** Math.floor(Math.log10(peak))).find((one) => one >= peak) || peak;
  const x = (at, count) => left + ((most - count + at) / (most - 1)) * (width - left - 4), y = (value) => top + (1 - value / nice) * (height - top - bottom);
  const parts = [0, .5, 1].map((share) => [s("line", { class: "grid", x1: left, x2: width, y1: y(nice * share), y2: y(nice * share) }), s("text", { x: left - 8, y: y(nice * share) + 4, "text-anchor": "end" }, words(nice * share))]);
  marks.filter((one, at) => width >= 420 || at % 2 === 0 || one === 0).forEach((one) => parts.push(s("text", { x: x(most - 1 - (one * 60000) / step, most), y: height - 4, "text-anchor": one === minutes ? "start" : one ? "middle" : "end" }, one ? `\u2212${one} min` : "now")));
  lines.forEach((line, at) => {
    if (line.values.length < 2) return;
    const path = line.values.map((value, index) => `${index ? "L" : "M"}${x(index, line.values.length).toFixed(1)},${y(value).toFixed(1)}`).join("");
    if (lines.length <= 2) parts.push(s("path", { class: `area k${(at % 5) + 1}`, d: `${path}V${height - bottom}H${x(0, line.values.length).toFixed(1)}Z` }));
    parts.push(s("path", { class: `line k${(at % 5) + 1}`, d: path }));
  });
  const hover = state.hover?.id === id ? state.hover.at : null;
  let tip = null;
  if (hover !== null) {
    const behind = Math.round((1 - hover) * (most - 1));
    const there = lines.map((line) => [line.name, line.values[line.values.length - 1 - behind]]).filter(([, value]) => value !== undefined);
    if (there.length) {
      const at = left + hover * (width - left - 4);
      parts.push(s("line", { class: "cursor", x1: at, x2: at, y1: top, y2: height - bottom }));
      tip = h("div", { class: "tip", "data-side": hover > .5 ? "left" : "right" }, h("div", { class: "faint" }, behind ? `${duration(behind * step)} ago` : "now"), there.map(([name, value]) => h("div", {}, `${name}: ${words(value)}${unit === "ms" ? "" : " " + unit}`)));
    }
  }
  return h("section", { class: "card" }, h("div", { class: "head" }, h("h2", { class: "grow" }, title), h("div", { class: "legend" }, lines.map((line, at) => h("span", {}, h("i", { class: `k${(at % 5) + 1}` }), line.name)))),
    h("div", { class: "body" }, h("div", { class: "chart", "data-chart": id }, s("svg", { viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", role: "img", "aria-label": `${title}. ${lines.map((line) => `${line.name}: now ${words(last(line.values))}`).join(", ")}` }, parts), tip)));
}
function charts() {
  const history = state.history || { captured: [], applied: [], servers: {} };
  const servers = Object.entries(history.servers);
  if (!servers.length && !history.captured.some((value) => value > 0)) return null;
  return h("div", { class: "two" }, chart("rate", "Changes per second", [{ name: "written here", values: history.captured }, { name: "taken from others", values: history.applied }], "changes/s", rate),
    chart("lag", "How far others are behind", servers.length ? servers.map(([name, line]) => ({ name, values: line.lag_ms })) : [{ name: "no server", values: [] }], "ms", duration));
}
function healthList() {
  const { health, node } = state.overview;
  return h("section", { class: "card", "aria-label": "Health" }, h("div", { class: "head" }, h("h2", { class: "grow" }, "Health"), h("span", { class: `chip ${{ ok: "ok", degraded: "warn", failing: "bad" }[health.status]}` }, health.status)),
    h("div", { class: "body" }, h("ul", { class: "checks" }, health.checks.map((check) => h("li", { "data-key": check.check }, h("span", { class: `dot ${check.status}`, role: "img", "aria-label": check.status }), h("b", {}, check.check), h("span", {}, check.text)))),
      h("p", { class: "small faint" }, h("br"), `${node.engine === "sqlite" ? "SQLite" : "PostgreSQL"} ${node.engine_version} \u00b7 ${node.database} \u00b7 rowmesh ${node.version} \u00b7 worker up ${duration(now() - node.started_ms)} \u00b7 log ${bytes(node.log_bytes)} \u00b7 node ${node.id}`)));
}

// ---------- tables
const plain = (name) => name.replace(/^public\./, "");
function fitWords(table) {
  const misfit = Object.entries(table.fits).filter(([, fit]) => fit).map(([server]) => server), fits = Object.values(table.fits).filter((fit) => fit === "").length;
  return [fits ? `fits on ${plural(fits, "server", "servers")}` : "", misfit.length ? `does not fit on ${joined(misfit)}` : ""].filter(Boolean).join(", ");
}
const can = (name) => (state.overview.node.functions || []).includes(name);
const dot = (fit) => (fit === null ? ["none", "not heard yet"] : fit === "" ? ["ok", "fits"] : ["failing", fit]);
function tablesView() {
  const list = state.tables, servers = state.overview.servers;
  if (!list) return h("p", { class: "soft" }, "Loading \u2026");
  const misfits = list.flatMap((table) => [...(table.trouble ? [[table.name, "", table.trouble]] : []), ...Object.entries(table.fits).filter(([, fit]) => fit).map(([server, fit]) => [table.name, server, fit])]);
  return [h("div", { class: "headline" }, h("span", { class: `lamp ${misfits.length ? "degraded" : list.length ? "ok" : ""}` }), h("h1", {}, list.length ? plural(list.length, "table is replicated", "tables are replicated") : "No table is replicated yet"),
    h("p", {}, misfits.length ? `${plural(misfits.length, "thing does not fit", "things do not fit")}; the other tables flow` : list.length ? `${list.length === 1 ? "It fits" : "All of them fit"} wherever that is known` : "Choose tables, or all of them, also those to come"),
    h("div", { class: "actions" }, h("button", { class: "btn main", "data-do": "add-table" }, "Replicate a table"))),
  list.length ? h("section", { class: "card scroll" }, h("table", {}, h("thead", {}, h("tr", {}, h("th", {}, "Table"), h("th", { class: "right" }, "Rows"), h("th", { class: "wide-only" }, "Key"), h("th", { class: "wide-only" }, "Merges by"), servers.map((server) => h("th", { class: "wide-only" }, server.name)), h("th", {}))),
    h("tbody", {}, list.map((table) => h("tr", { "data-key": table.wire_name }, h("td", {}, h("b", {}, plain(table.name)), table.wire_name !== plain(table.name) ? h("div", { class: "small faint" }, `as ${table.wire_name}`) : null,
      table.quarantined ? h("div", {}, h("a", { href: "#/quarantine", class: "small" }, plural(table.quarantined, "row in quarantine", "rows in quarantine"))) : null, table.waiting ? h("div", { class: "small soft" }, plural(table.waiting, "row waits its turn", "rows wait their turn")) : null,
      h("div", { class: "small soft narrow-only" }, fitWords(table))),
    h("td", { class: "right nowrap" }, table.rows_exact ? number(table.rows) : `about ${number(table.rows)}`), h("td", { class: "mono wide-only" }, table.key), h("td", { class: "wide-only" }, table.merge),
    servers.map((server) => { const fit = table.fits[server.name] ?? null, [kind] = dot(fit); return h("td", { class: "wide-only" }, h("span", { class: "row small nowrap" }, h("span", { class: `dot ${kind}` }), fit === "" ? "fits" : fit === null ? h("span", { class: "faint" }, "not heard") : "does not fit")); }),
    h("td", { class: "right" }, h("button", { class: "btn quiet danger", "data-do": "remove-table", "data-table": table.name, "aria-label": `Stop replicating ${table.name}` }, "Stop"))))))) : h("section", { class: "card" }, empty(icons.tables, "Nothing is replicated yet", "A table needs a primary key. From the moment you add it, every change of it is noted.", h("button", { class: "btn main", "data-do": "add-table" }, "Replicate a table"))),
  misfits.length ? h("section", { class: "card" }, h("div", { class: "head" }, h("h2", {}, "What does not fit")), h("div", {}, misfits.map(([table, server, why]) => h("div", { class: "entry" }, h("div", {}, h("b", {}, plain(table)), server ? ` on ${server}` : ""), h("div", { class: "note warn" }, why))))) : null];
}

// ---------- conflicts
function valueNode(value) { return value === null ? h("span", { class: "null" }, "null") : typeof value === "object" ? JSON.stringify(value) : String(value); }
function image(title, kind, values, other) {
  const rows = values && typeof values === "object" ? Object.entries(values) : null;
  return h("div", { class: `image ${kind}` }, h("h3", {}, title), rows ? h("dl", { class: "mono" }, rows.map(([name, value]) => {
    const differs = other && typeof other === "object" && name in other && JSON.stringify(other[name]) !== JSON.stringify(value);
    return [h("dt", { class: differs ? "differs" : null }, name), h("dd", { class: differs ? "differs" : null }, valueNode(value))];
  })) : h("dl", {}, h("dd", { class: "soft" }, values === null ? "the row is deleted" : String(values))));
}
function conflictsView() {
  const list = state.conflicts;
  if (!list) return h("p", { class: "soft" }, "Loading \u2026");
  return [h("div", { class: "headline" }, h("span", { class: "lamp" }), h("h1", {}, list.length ? "Conflicts" : "No conflicts"), h("p", {}, list.length ? "Two servers changed the same thing before they heard of each other. All servers decided alike; nothing is lost: what lost is here." : "Whenever two servers change the same thing at once, what lost is listed here")),
    h("section", { class: "card" }, list.length ? list.map((one) => h("article", { class: "entry", "data-key": one.id }, h("div", { class: "row wrap" }, h("b", { class: "grow" }, `${one.table} `, h("span", { class: "mono" }, one.key)), h("span", { class: "small soft" }, clockTime(one.time_ms)), can("restore") ? h("button", { class: "btn", "data-do": "restore", "data-id": one.id }, "Restore what lost") : null),
      h("div", { class: "small soft" }, `${conflictWords[one.type] || one.type}; ${resolutionWords[one.resolution] || one.resolution}.`), h("div", { class: "images" }, image("Kept", "kept", one.winner, one.loser), image("Lost", "lost", one.loser, one.winner)))) :
      empty("M5 13l4 4L19 7", "Nobody got in anybody's way", "Edits of different columns of one row are no conflict: both are kept.")),
    list.length && !state.conflictsEnd ? h("div", { class: "row" }, h("button", { class: "btn", "data-do": "more-conflicts" }, "Show older ones")) : null];
}

// ---------- quarantine
function quarantineView() {
  const list = state.quarantine;
  if (!list) return h("p", { class: "soft" }, "Loading \u2026");
  return [h("div", { class: "headline" }, h("span", { class: `lamp ${list.length ? "degraded" : "ok"}` }), h("h1", {}, list.length ? plural(state.overview.node.quarantined || list.length, "row waits in quarantine", "rows wait in quarantine") : "The quarantine is empty"),
    h("p", {}, list.length ? "This database refused these rows. Everything else flows. Mend the reason and retry, or discard: then the row as it is here goes to all servers." : "A row that this database refuses waits here with its reason, and everything else flows on"), list.length ? h("div", { class: "actions" }, h("button", { class: "btn main", "data-do": "retry-all" }, "Retry all")) : null),
    h("section", { class: "card" }, list.length ? list.map((one) => h("article", { class: "entry", "data-key": one.id }, h("div", { class: "row wrap" }, h("b", { class: "grow" }, `${plain(one.table)} `, h("span", { class: "mono" }, one.key)), h("span", { class: "small soft" }, `since ${clockTime(one.since_ms)}`),
      h("button", { class: "btn", "data-do": "retry", "data-id": one.id }, "Retry"), h("button", { class: "btn danger", "data-do": "discard", "data-id": one.id, "data-what": `${one.table} ${one.key}` }, "Discard \u2026")),
    h("div", { class: "note warn" }, one.reason, one.code ? h("span", { class: "faint" }, ` (${one.code})`) : ""), image("The row as it came", "", one.payload))) : empty("M5 13l4 4L19 7", "Nothing waits", "This database took everything that came.")),
  ];
}
const drawers = { overview: () => [headline(), figures(), serverList(), charts(), healthList()], tables: tablesView, conflicts: conflictsView, quarantine: quarantineView };

// ---------- dialogs
function dialog(title, content, submit) {
  const box = h("dialog", { "aria-label": title }, h("form", { method: "dialog", novalidate: true }, h("h2", {}, title), content));
  box.querySelector("form").addEventListener("submit", async (event) => {
    event.preventDefault();
    if (!submit || (await submit(Object.fromEntries(new FormData(box.querySelector("form"))), box))) box.close();
  });
  box.addEventListener("close", () => box.remove());
  box.addEventListener("click", (event) => { if (event.target === box || event.target.dataset.close) box.close(); });
  document.body.append(box);
  box.showModal();
  return box;
}
const buttons = (text, danger = false) => h("div", { class: "buttons" }, h("button", { type: "button", class: "btn", "data-close": "1" }, "Cancel"), h("button", { class: `btn main`, type: "submit" }, text));
const problem = (box, text) => { const place = box.querySelector(".problem"); place.className = "problem note bad"; place.textContent = text; };
const field = (name, title, hint, attributes) => h("label", {}, title, h("input", { name, type: "text", autocomplete: "off", ...attributes }), hint ? h("small", {}, hint) : null);
const choices = (name, title, list, chosen) => h("fieldset", {}, h("legend", {}, title), list.map(([value, words, hint]) => h("label", { class: "choice" }, h("input", { type: "radio", name, value, checked: value === chosen }), words, hint ? h("small", {}, hint) : null)));
const ways = [["both", "Both ways", "Every server may write"], ["push", "We only send", "It takes our changes and we take nothing from it"], ["pull", "We only take", "We follow it and send it nothing"]];
async function send(box, words, path, options) {
  try { await ask(path, { method: "POST", ...options }); toast(words); refresh(true); return true; } catch (error) { problem(box, error.message); return false; }
}
function serverDialog(server) {
  dialog(server ? `Edit ${server.name}` : "Add a server", [
    server ? null : field("name", "Name", "What you call it here: office, north, shop-3", { required: true, autofocus: true }),
    field("url", "Address", "As http://host:port. Leave it empty if that server cannot be reached and comes to us instead.", { type: "url", value: server?.url || "", placeholder: "http://10.0.0.5:8080" }),
    field("secret", server ? "New secret" : "Secret", server ? "Leave it empty to keep the one it has." : "The same text on both servers, a long one. It is never shown again.", { type: "password", autocomplete: "new-password" }),
    choices("direction", "Direction", ways, server?.direction || "both"), h("div", { class: "problem" }), buttons(server ? "Save" : "Add the server")],
  (values, box) => {
    const body = { direction: values.direction };
    if (!server) Object.assign(body, { name: values.name.trim(), url: values.url.trim() || null, secret: values.secret });
    else { if (values.url.trim() !== server.url) body.url = values.url.trim(); if (values.secret) body.secret = values.secret; }
    return server ? send(box, "Saved", `servers/${encodeURIComponent(server.name)}`, { method: "PATCH", body }) : send(box, `${body.name} was added`, "servers", { body });
  });
}
async function testDialog(name) {
  const list = h("ul", { class: "steps", "aria-live": "polite" }, h("li", {}, h("span", { class: "mark soft" }, "\u2026"), `Asking ${name}`));
  const box = dialog(`Connection to ${name}`, [list, h("div", { class: "buttons" }, h("button", { type: "button", class: "btn", "data-close": "1" }, "Close"))]);
  try {
    const { checks } = await ask(`servers/${encodeURIComponent(name)}/test`, { method: "POST" });
    list.replaceChildren(...checks.map((check) => h("li", {}, h("span", { class: `mark ${check.ok ? "good" : "poor"}`, role: "img", "aria-label": check.ok ? "well" : "not well" }, check.ok ? "\u2713" : "\u2717"), h("b", {}, check.check), h("span", { class: "faint small" }, check.ms ? `${check.ms} ms` : ""), h("p", {}, check.detail))));
    if (checks.every((check) => check.ok)) list.append(h("li", {}, h("span", {}), h("b", { class: "good" }, "All is well")));
  } catch (error) { list.replaceChildren(h("li", {}, h("span", { class: "mark poor" }, "\u2717"), h("span", {}, error.message))); }
  box.querySelector("[data-close]").focus();
}
function copyDialog(name) {
  const tables = state.tables || [];
  dialog(`Copy with ${name}`, [choices("direction", "Which way", [["push", `Ours to ${name}`, "It gets the rows that are here"], ["pull", `${name}\u2019s to us`, "We get the rows that are there"]], "push"),
    h("label", {}, "Tables", h("select", { name: "table" }, h("option", { value: "" }, "All that both replicate"), tables.map((table) => h("option", { value: table.name }, plain(table.name))))),
    choices("on_existing", "If the receiving side has rows of its own", [["fail", "Stop and say so", "Nothing is changed unless both are the same"], ["source", "Make it like the source", "Rows that only the receiver has are removed"], ["newer", "Keep the newer row", "And send back what only the receiver has"]], "fail"),
    h("div", { class: "problem" }), buttons("Start the copy")],
  (values, box) => { const body = { direction: values.direction, on_existing: values.on_existing }; if (values.table) body.table = values.table; return send(box, "The copy begins", `servers/${encodeURIComponent(name)}/copy`, { body }); });
}
function confirmDialog(title, text, button, run) {
  dialog(title, [h("p", { class: "soft" }, text), h("div", { class: "problem" }), buttons(button)], (values, box) => run(box));
}
function tableDialog() {
  dialog("Replicate a table", [field("table", "Table", "Its name, or * for all tables, also those that come later. It needs a primary key.", { autofocus: true, placeholder: "person" }),
    choices("merge", "When two servers change one row", [["column", "Merge column by column", "Two people who edit different columns both keep their edit"], ["row", "The later row wins as a whole", "For rows whose columns must fit together"]], "column"), h("div", { class: "problem" }), buttons("Replicate it")],
  (values, box) => send(box, `${values.table} is replicated from now on`, "tables", { body: { table: values.table.trim(), merge: values.merge } }));
}

const serverOf = (name) => state.overview.servers.find((server) => server.name === name);
const path = (data, what) => `servers/${encodeURIComponent(data.server)}${what ? "/" + what : ""}`;
const deeds = {
  theme: () => setTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark"),
  logout: async () => {
    state.session.logged_in = false;   // nothing is asked for any more, and what was asked comes back before the session ends
    while (busy) await new Promise((done) => setTimeout(done, 30));
    try { await ask("logout", { method: "POST", home: true }); } catch { /* it is over in any case */ }
    start();
  },
  menu: (data) => { state.menu = state.menu === data.server ? "" : data.server; draw(); document.querySelector(".menu [role=menuitem]")?.focus(); },
  "add-server": () => serverDialog(null), edit: (data) => serverDialog(serverOf(data.server)), test: (data) => testDialog(data.server), "add-table": tableDialog,
  copy: async (data) => { if (!state.tables) state.tables = (await ask("tables")).tables; copyDialog(data.server); },
  verify: (data) => act("The comparison begins", path(data, "verify")),
  enable: (data) => act(`${data.server} is enabled`, path(data, "enable")), disable: (data) => act(`${data.server} is disabled; changes wait for it`, path(data, "disable")),
  remove: (data) => confirmDialog(`Remove ${data.server}?`, "Nothing is shipped to it any more and nothing is taken from it. Rows stay as they are on both sides. To bring it back later it needs a copy.", "Remove the server", (box) => send(box, `${data.server} was removed`, path(data), { method: "DELETE" })),
  "remove-table": (data) => confirmDialog(`Stop replicating ${data.table}?`, "Its rows stay as they are, here and elsewhere. Changes of it are noted no more.", "Stop replicating", (box) => send(box, `${data.table} is replicated no more`, `tables/${encodeURIComponent(data.table)}`, { method: "DELETE" })),
  "switch-on": () => act("Replication is on", "enable"),
  "switch-off": () => confirmDialog("Switch replication off?", "Nothing is shipped and nothing is taken until you switch it on again. Changes are still noted; none is lost.", "Switch off", (box) => send(box, "Replication is off", "disable")),
  retry: (data) => act("It is tried again", `quarantine/${data.id}/retry`), "retry-all": () => act("All are tried again", "quarantine/retry"),
  discard: (data) => confirmDialog(`Discard the change of ${data.what}?`, "The row as it is in this database (or that it is not there) becomes the newest state and goes to all servers. The refused change is gone.", "Discard the change", (box) => send(box, "Discarded", `quarantine/${data.id}/discard`)),
  restore: (data) => act("What lost is written back as a new change", `conflicts/${data.id}/restore`),
  "more-conflicts": async () => { const more = (await ask(`conflicts?limit=30&before=${state.conflicts.at(-1).id}`)).conflicts; state.conflictsEnd = more.length < 30; state.conflicts.push(...more); draw(); },
};
document.addEventListener("click", (event) => {
  const target = event.target.closest("[data-do]");
  if (state.menu && !(target && target.dataset.do === "menu")) { state.menu = ""; draw(); }
  if (target) deeds[target.dataset.do](target.dataset);
});
document.addEventListener("keydown", (event) => {
  if (!state.menu) return;
  const items = [...document.querySelectorAll(".menu [role=menuitem]")], at = items.indexOf(document.activeElement);
  if (event.key === "Escape") { const name = state.menu; state.menu = ""; draw(); [...document.querySelectorAll('[data-do="menu"]')].find((one) => one.dataset.server === name)?.focus(); }
  if (event.key === "ArrowDown" || event.key === "ArrowUp") { event.preventDefault(); items[(at + (event.key === "ArrowDown" ? 1 : items.length - 1)) % items.length]?.focus(); }
});
document.addEventListener("change", (event) => {
  if (event.target.dataset.change !== "node") return;
  Object.assign(state, { node: event.target.value, overview: null, history: null, tables: null, conflicts: null, quarantine: null, lost: false });
  draw(); refresh(true);
});
document.addEventListener("pointermove", (event) => {
  const place = event.target.closest?.("[data-chart]");
  if (!place) { if (state.hover) { state.hover = null; draw(); } return; }
  const box = place.getBoundingClientRect(), left = 50;
  state.hover = { id: place.dataset.chart, at: Math.min(1, Math.max(0, (event.clientX - box.left - left) / (box.width - left - 4))) };
  draw();
  const tip = place.querySelector(".tip");
  if (tip) { const at = left + state.hover.at * (box.width - left); tip.style.left = `${state.hover.at > .5 ? at - tip.offsetWidth - 12 : at + 12}px`; }
});

// ---------- light, dark, login
function setTheme(theme, keep = true) { document.documentElement.dataset.theme = theme; if (keep) try { localStorage.setItem("rowmesh-theme", theme); } catch { /* private window */ } }
let chosen = null;
try { chosen = localStorage.getItem("rowmesh-theme"); } catch { /* private window */ }
const dark = matchMedia("(prefers-color-scheme: dark)");
setTheme(chosen || (dark.matches ? "dark" : "light"), false);
dark.addEventListener("change", () => { if (!chosen) setTheme(dark.matches ? "dark" : "light", false); });

function loginPage() {
  const set = state.session.password_set, sql = state.session.engine === "sqlite" ? "SELECT rowmesh_set_dashboard_password('a long one');" : "SELECT rowmesh.set_dashboard_password('a long one');";
  const form = h("form", { class: "card", novalidate: true }, brand(), set ? [
    h("label", {}, "Password", h("input", { name: "password", type: "password", autocomplete: "current-password", autofocus: true })), h("div", { class: "problem" }), h("button", { class: "btn main", type: "submit" }, "Log in")] : [
    h("h2", {}, "No password is set yet"), h("p", { class: "soft" }, "Nobody can log in until one is. In the database, run:"), h("code", {}, sql), h("p", { class: "soft small" }, "Then load this page again.")]);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    try { const answer = await ask("login", { method: "POST", body: { password: form.password.value }, home: true }); state.session = { ...state.session, ...answer, logged_in: true }; start(); } catch (error) { problem(form, error.message); form.password.select(); }
  });
  document.title = "Log in \u00b7 rowmesh";
  document.getElementById("app").replaceChildren(h("div", { class: "login" }, form));
  form.querySelector("input")?.focus();
}
async function start() {
  try {
    if (!state.session) state.session = await ask("session", { home: true });
    if (!state.session.logged_in) { Object.assign(state, { node: "", overview: null, history: null, tables: null, conflicts: null, quarantine: null }); return loginPage(); }
    draw();
    refresh(true);
  } catch (error) {
    document.getElementById("app").replaceChildren(h("div", { class: "login" }, h("div", { class: "card" }, brand(), h("p", {}, "This node does not answer yet. Trying again \u2026"))));
    setTimeout(start, 1500);
  }
}
start();
