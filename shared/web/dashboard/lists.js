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
      table.trouble ? h("div", { class: "row small" }, h("span", { class: "dot degraded" }), "something is wrong: see below") : null,
      table.quarantined ? h("div", {}, h("a", { href: "#/quarantine", class: "small" }, plural(table.quarantined, "row in quarantine", "rows in quarantine"))) : null, table.waiting ? h("div", { class: "small soft" }, plural(table.waiting, "row waits its turn", "rows wait their turn")) : null,
      h("div", { class: "small soft narrow-only" }, fitWords(table))),
    h("td", { class: "right nowrap" }, table.rows_exact ? number(table.rows) : `about ${number(table.rows)}`), h("td", { class: "mono wide-only" }, table.key), h("td", { class: "wide-only" }, table.merge),
    servers.map((server) => { const fit = table.fits[server.name] ?? null, [kind] = dot(fit); return h("td", { class: "wide-only" }, table.trouble ? h("span", { class: "small faint" }, "\u2014") : h("span", { class: "row small nowrap" }, h("span", { class: `dot ${kind}` }), fit === "" ? "fits" : fit === null ? h("span", { class: "faint" }, "not heard") : "does not fit")); }),
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
    h("section", { class: "card" }, list.length ? list.map((one) => h("article", { class: "entry", "data-key": one.id }, h("div", { class: "row wrap" }, h("b", { class: "grow" }, `${plain(one.table)} `, h("span", { class: "mono" }, one.key)), h("span", { class: "small soft" }, clockTime(one.time_ms)), one.restorable ? h("button", { class: "btn", "data-do": "restore", "data-id": one.id }, "Restore what lost") : null),
      h("div", { class: "small soft" }, `${conflictWords[one.type] || one.type}; ${resolutionWords[one.resolution] || one.resolution}.`), h("div", { class: "images" }, image("Kept", "kept", one.winner, one.loser), image("Lost", "lost", one.loser, one.winner)),
      one.restored ? h("div", { class: `note ${one.restored.startsWith("not") ? "warn" : "info"}`, role: "status" }, one.restored[0].toUpperCase() + one.restored.slice(1)) : null)) :
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
