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
  const base = home || !state.node ? "api/v1/" : `api/v1/nodes/${state.node}/`;
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
