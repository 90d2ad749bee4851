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
