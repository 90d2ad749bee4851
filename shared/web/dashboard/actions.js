// ---------- what buttons do, keys and pointer, login, start
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
  repair: (data) => repairDialog(data.server),
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
