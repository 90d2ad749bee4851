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
  update_truncated: "Changed here while the whole table was emptied elsewhere", update_quarantined: "Changed here while another change of the row waited in quarantine",
  differs: "The two servers have different values, and no change is on its way", missing: "Only the other server has this row", only_here: "Only this server has this row",
};
const resolutionWords = { apply_remote: "the other server's was kept", keep_local: "this server's was kept", hidden: "one row waits, hidden, and comes back when the value is free", held: "one row waits its turn",
  keep_delete: "the row stays deleted", skip: "it stays gone", merged: "both became one row", renumbered: "the younger one has a new number", copied_over: "the copy took its place", none: "nothing was changed" };
