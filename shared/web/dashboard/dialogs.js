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
function repairDialog(name) {
  dialog(`Make rows equal with ${name}`, [h("p", { class: "soft" }, "All tables are compared while both sides go on writing. Where rows differ and no change is on its way, one side's become new changes, for all servers."),
    choices("winner", "Whose rows count", [["there", `${name}\u2019s`, "Ours become like those there"], ["here", "Ours", "Those there become like ours"]], "there"), h("div", { class: "problem" }), buttons("Compare and make equal")],
  (values, box) => send(box, "The comparison begins; the result is shown with the server", `servers/${encodeURIComponent(name)}/repair`, { body: { winner: values.winner } }));
}
function confirmDialog(title, text, button, run) {
  dialog(title, [h("p", { class: "soft" }, text), h("div", { class: "problem" }), buttons(button)], (values, box) => run(box));
}
function tableDialog() {
  dialog("Replicate a table", [field("table", "Table", "Its name, or * for all tables, also those that come later. It needs a primary key.", { autofocus: true, placeholder: "person" }),
    choices("merge", "When two servers change one row", [["column", "Merge column by column", "Two people who edit different columns both keep their edit"], ["row", "The later row wins as a whole", "For rows whose columns must fit together"]], "column"), h("div", { class: "problem" }), buttons("Replicate it")],
  (values, box) => send(box, `${values.table} is replicated from now on`, "tables", { body: { table: values.table.trim(), merge: values.merge } }));
}
