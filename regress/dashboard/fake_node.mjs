// A node's answers without a node, to look at the page in states that are hard to bring about: node fake_node.mjs STATE PORT
import fs from "node:fs";
import http from "node:http";
import path from "node:path";

const sources = path.resolve(path.dirname(new URL(import.meta.url).pathname), "../../shared/web/dashboard");
const read = (name) => fs.readFileSync(path.join(sources, name), "utf8");
const page = () => read("index.html").replace("/*STYLE*/", () => read("style.css")).replace(/\/\*SCRIPT ([^*]*)\*\//, (mark, names) => names.split(" ").map(read).join("\n"));

const wave = (at, base, swing, noise) => Math.max(0, base + swing * Math.sin(at / 57) + noise * (Math.sin(at * 12.9898) * 43758.5453 % 1));
const line = (make) => Array.from({ length: 720 }, (_, at) => +make(at).toFixed(2));

function server(name, more) {
  return { name, url: `http://${name}.example:8080`, direction: "both", enabled: true, state: "streaming", queued: 0, lag_ms: 0, last_success_ms: Date.now() - 900, last_error: "", rows_sent: 184211, rows_received: 90122, conflicts: 0, failures: 0, clock_ahead_ms: 2, progress: "", ...more };
}
const states = {
  empty: { servers: [], tables: [], conflicts: [], quarantine: [], health: "ok" },
  busy: {
    servers: [server("office", { queued: 3, lag_ms: 14 }), server("north", { queued: 12, lag_ms: 41, rows_sent: 180001, progress: "verified: 96231 rows compared, 2 differ, 0 only there, 1 only here; see conflicts for them" }), server("shop-3", { url: "", direction: "pull", state: "copying", progress: "table 3 of 11, 412000 of about 960000 rows" })],
    conflicts: [
      { id: 41, time_ms: Date.now() - 360000, table: "person", key: "(4711)", type: "update_origin_differs", resolution: "apply_remote", restorable: true, restored: "", winner: { id: 4711, name: "Ada Lovelace", city: "London", phone: "+44 20 7946 0001" }, loser: { id: 4711, name: "Ada King", city: "London", phone: null } },
      { id: 40, time_ms: Date.now() - 9000000, table: "note", key: "('a-17')", type: "update_deleted", resolution: "keep_delete", restorable: true, restored: "not restored: it refers to row 17 of person, which is gone; restore that one first", winner: null, loser: { code: "a-17", title: "Call back on Monday", body: "A text that is long enough to need a second line on a phone and perhaps on a desk, too" } },
    ], quarantine: [], health: "ok",
  },
  broken: {
    servers: [server("office", { state: "blocked", queued: 1204, lag_ms: 5400000, last_error: "the secrets of the two servers differ; set the same one on both", failures: 214, last_success_ms: Date.now() - 5400000 }), server("north", { state: "backing off", queued: 48211, lag_ms: 720000, last_error: "connection refused: is the worker running there, and does it listen on this port?", failures: 31, last_success_ms: Date.now() - 720000 }), server("archive", { state: "needs copy", last_error: "it was away longer than its changes are kept here" }), server("shop-3", { enabled: false, state: "disabled" })],
    conflicts: [], health: "failing",
    quarantine: [
      { id: 7, table: "public.person", key: "(4711)", reason: "new row for relation \"person\" violates check constraint \"grown_up\"", code: "23514", payload: { id: 4711, name: "Ada", age: -1 }, since_ms: Date.now() - 500000 },
      { id: 6, table: "public.invoice", key: "('2026-0041')", reason: "value too long for type character varying(20)", code: "22001", payload: { number: "2026-0041", customer: "A customer whose name is longer than what this column can hold", total: "199.90" }, since_ms: Date.now() - 9500000 },
    ],
  },
};
const tables = (state, servers) => (states[state].tables || ["person", "invoice", "invoice_line", "note", "stock"]).map((name, at) => ({ name: `public.${name}`, wire_name: name, key: name === "invoice_line" ? "invoice, position" : "id", merge: at === 2 ? "row" : "column", trouble: state === "broken" && at === 4 ? "public.stock has no primary key any more; add one" : "", rows: [4120, 96231, 1204411, 17, 880][at], rows_exact: at !== 2, quarantined: state === "broken" && at < 2 ? 1 : 0, waiting: at === 3 ? 1 : 0, fits: Object.fromEntries(servers.map((one, index) => [one.name, state === "broken" && at === 1 && index === 1 ? "column 'total' is missing there" : one.url ? "" : null])) }));

export function fake(state, port) {
  const known = states[state], broken = state === "broken";
  const checks = [["database", "ok", "answers"], ["worker", "ok", "at work"], ["queue", broken ? "ok" : "ok", broken ? "48211 changed rows wait for 'north'" : "nothing waits to be shipped"], ["quarantine", broken ? "degraded" : "ok", broken ? "2 rows wait that this database refuses" : "empty"], ["clock", "ok", "agrees with the servers that were heard"], ["disk", broken ? "degraded" : "ok", broken ? "812 MB are free where the database lies" : "182044 MB are free where the database lies"],
    ...known.servers.map((one) => [`server ${one.name}`, one.state === "blocked" || one.state === "needs copy" ? "failing" : one.state === "backing off" ? "degraded" : "ok", one.state + (one.last_error ? `: ${one.last_error}` : "")])].map(([check, status, text]) => ({ check, status, text }));
  const answers = {
    session: { logged_in: state !== "login" && state !== "new", password_set: state !== "new", csrf: "x", engine: "postgresql", name: "app" },
    overview: () => ({ now_ms: Date.now(), servers: known.servers, health: { status: known.health, checks }, node: { id: "5f0c…", name: "app", engine: "postgresql", engine_version: "15.14", functions: ["restore", "verify", "repair"], database: "app", version: "0.1.0", started_ms: Date.now() - 9e6, enabled: true, blocked: "", captured: 1, applied: 1, conflicts: known.conflicts.length, quarantined: known.quarantine.length, unsettled: 4, log_bytes: 4.2e6, database_bytes: 8.1e9, disk_free_bytes: broken ? 8.1e8 : 1.8e11 } }),
    history: () => ({ step_ms: 5000, until_ms: Date.now(), captured: state === "empty" ? line(() => 0) : line((at) => wave(at, 120, 80, 60)), applied: state === "empty" ? line(() => 0) : line((at) => wave(at + 200, 60, 30, 30)), servers: Object.fromEntries(known.servers.map((one, index) => [one.name, { sent: line((at) => wave(at + 90 * index, 120, 80, 60)), received: line((at) => wave(at, 20, 20, 10)), lag_ms: line((at) => (broken && at > 500 ? (at - 500) * 900 * (index + 1) : wave(at + 50 * index, 20, 9, 12))), queued: line((at) => wave(at, 5, 4, 4)) }])) }),
    tables: () => ({ tables: tables(state, known.servers) }), conflicts: () => ({ conflicts: known.conflicts }), quarantine: () => ({ quarantine: known.quarantine }),
    nodes: () => ({ nodes: state === "busy" ? [{ node: "a", name: "app", address: "127.0.0.1:1", here: true }, { node: "b", name: "warehouse", address: "127.0.0.1:2", here: false }] : [{ node: "a", name: "app", here: true }] }),
    test: () => ({ checks: [["reach", true, "answered", 3], ["TLS", true, "not used: what is shipped can be read on the way", 0], ["rowmesh", true, "version 0.1.0", 0], ["another node", true, "node 5f0c", 0], ["secret", false, "the secrets of the two servers differ; set the same one on both", 4]].map(([check, ok, detail, ms]) => ({ check, ok, detail, ms })) }),
  };
  return http.createServer((request, response) => {
    const url = new URL(request.url, "http://x");
    if (url.pathname === "/dashboard") { response.setHeader("content-type", "text/html; charset=utf-8"); return response.end(page()); }
    const what = answers[url.pathname.split("/").at(-1)];
    response.setHeader("content-type", "application/json");
    response.end(JSON.stringify(typeof what === "function" ? what() : what || {}));
  }).listen(port, "127.0.0.1");
}
if (process.argv[1] === new URL(import.meta.url).pathname) fake(process.argv[2] || "busy", +(process.argv[3] || 21399));
states.login = states.new = states.empty;
