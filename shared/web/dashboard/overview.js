// ---------- overview
function headline() {
  const { node, servers, health } = state.overview;
  const of = (name) => servers.filter((server) => server.state === name).map((server) => server.name);
  const waiting = servers.filter((server) => server.state !== "disabled").reduce((sum, server) => sum + server.queued, 0);
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
// What there is to do about a server in this state.
function nextStep(server) {
  const [what, words] = server.state === "needs copy" ? ["copy", "Copy \u2026"] : !server.enabled ? ["enable", "Enable"] : ["test", "Test"];
  return h("button", { class: `btn${what === "copy" ? " main" : ""}`, "data-do": what, "data-server": server.name }, words);
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
    h("div", { class: "actions" }, nextStep(server),
      h("div", { class: "menu" }, h("button", { class: "btn icon", "data-do": "menu", "data-server": server.name, "aria-haspopup": "menu", "aria-expanded": String(open), "aria-label": `More for ${server.name}` }, icon(icons.more)),
        open ? h("div", { role: "menu" }, item("copy", "Copy tables \u2026"), can("verify") ? item("verify", "Compare rows") : null, can("repair") ? item("repair", "Make rows equal \u2026") : null, nextStep(server).dataset.do !== "test" ? item("test", "Test the connection") : null, item("edit", "Edit \u2026"), server.enabled ? item("disable", "Disable") : item("enable", "Enable"), item("remove", "Remove \u2026", "danger")) : null)),
    server.last_error && server.state !== "disabled" ? h("div", { class: `wide note ${tone[server.state] === "bad" ? "bad" : "warn"}` }, plainError(server)) : null,
    server.state === "copying" ? h("div", { class: "wide" }, h("div", { class: "row wrap small soft" }, h("span", { class: "grow" }, `Copy: ${server.progress || "beginning"}`), copy?.left ? h("span", {}, `about ${duration(copy.left)} left`) : null),
      h("progress", copy && copy.now > 0 ? { max: 1, value: copy.now, "aria-label": "Copy" } : { "aria-label": "Copy" })) : null,
    server.state !== "copying" && server.progress ? h("div", { class: `wide note ${/^not |; see conflicts/.test(server.progress) ? "warn" : "info"}` }, server.progress[0].toUpperCase() + server.progress.slice(1)) : null,
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
