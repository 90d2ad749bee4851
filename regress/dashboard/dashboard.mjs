// A person with a browser: logs in, adds a server, sees a change arrive, breaks the peer, sees the state, repairs it, retries a quarantined row. Told
// what to do with the databases by dashboard.py over stdin and stdout: it writes {"please": WHAT}, gets a line back when that is done.
// Screenshots of every view in every look go to the folder. Ends with 0 if all went as it should and nothing was said on the console.
import fs from "node:fs";
import readline from "node:readline";
import { launch, looks } from "./browser.mjs";

const { folder, url, password, peer } = JSON.parse(process.argv[2]);
fs.mkdirSync(folder, { recursive: true });
const answers = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();
async function please(what) {
  process.stdout.write(JSON.stringify({ please: what }) + "\n");
  const { value } = await answers.next();
  return JSON.parse(value);
}
const step = (text) => process.stdout.write(JSON.stringify({ step: text }) + "\n");

const complaints = [];
const browser = await launch();
let context, page;
async function open(look) {
  context = await browser.newContext(looks[look]);
  page = await context.newPage();
  page.setDefaultTimeout(60000);
  page.on("console", (message) => ["error", "warning"].includes(message.type()) && complaints.push(`${look}: ${message.text()}`));
  page.on("pageerror", (error) => complaints.push(`${look}: ${error}`));
  page.on("request", (request) => request.url().startsWith(url) || request.url().startsWith("data:") || complaints.push(`asked another host: ${request.url()}`));
  await page.goto(`${url}/dashboard`);
}
const see = (text, where = "main") => page.locator(where).getByText(text).first().waitFor();
const press = (name, where = "main") => page.locator(where).getByRole("button", { name, exact: true }).first().click();
const shot = (name) => page.screenshot({ path: `${folder}/${name}.png`, fullPage: true });
async function log_in() {
  await page.getByLabel("Password").fill(password);
  await page.keyboard.press("Enter");
  await page.locator("main .headline").waitFor();
}
async function every_view(name) {
  for (const look of Object.keys(looks)) {
    await context.close();
    await open(look);
    await log_in();
    for (const view of ["overview", "tables", "conflicts", "quarantine"]) {
      await page.goto(`${url}/dashboard#/${view}`);
      await page.locator("main .headline").waitFor();
      await page.locator("main .card").first().waitFor();
      const wider = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
      if (wider > 0) complaints.push(`${name} ${view} ${look}: the page is ${wider} pixels wider than the window`);
      await shot(`${name}-${view}-${look}`);
    }
  }
  await context.close();
  await open("light");
  await log_in();
}

try {
  step("no password is set: the page says what to do");
  await open("light");
  await see("No password is set yet", "body");
  await shot("no-password-light");
  await please("set the password");
  await context.close();

  step("a wrong password is refused, the right one lets in");
  await open("light");
  await page.getByLabel("Password").fill("not this one");
  await page.keyboard.press("Enter");
  await see("this is not the password", "body");
  complaints.length = 0; // Chromium reports the 401 itself
  await shot("login-light");
  await log_in();
  await see("No other server yet");
  await every_view("empty");

  step("add a server, by keyboard alone");
  await page.locator("main").getByRole("button", { name: "Add a server" }).first().focus();
  await page.keyboard.press("Enter");
  await page.keyboard.type(peer.name);
  await page.keyboard.press("Tab");
  await page.keyboard.type(peer.url);
  await page.keyboard.press("Tab");
  await page.keyboard.type(peer.secret);
  await shot("add-server-light");
  await page.keyboard.press("Enter");
  await see("streaming", ".server");
  await see("Everything is in step");

  step("test the connection");
  await press("Test");
  await see("All is well", "dialog");
  await shot("test-light");
  await page.keyboard.press("Escape");
  await page.locator("dialog").waitFor({ state: "detached" });

  step("a change arrives");
  const rows = () => page.locator(".server .value", { hasText: "Received" }).locator("dd").innerText();
  const before = await rows();
  await please("write a row on the peer");
  await page.waitForFunction((old) => [...document.querySelectorAll(".server .value")].find((one) => one.textContent.includes("Received"))?.querySelector("dd").textContent !== old, before);
  await please("write some on both sides");
  await every_view("busy");

  step("the menu and its dialogs");
  await page.getByRole("button", { name: `More for ${peer.name}` }).click();
  for (let i = 0; i < 3; i++) await page.keyboard.press("ArrowDown");
  await page.keyboard.press("Enter");
  await see(`Edit ${peer.name}`, "dialog");
  await shot("edit-server-light");
  await page.keyboard.press("Escape");
  await page.locator("dialog").waitFor({ state: "detached" });
  await page.getByRole("button", { name: `More for ${peer.name}` }).click();
  await page.getByRole("menuitem", { name: "Copy tables" }).click();
  await see(`Copy with ${peer.name}`, "dialog");
  await shot("copy-light");
  await page.keyboard.press("Escape");
  await page.locator("dialog").waitFor({ state: "detached" });

  step("rows are compared, and the result stays to be read");
  await page.getByRole("button", { name: `More for ${peer.name}` }).click();
  await page.getByRole("menuitem", { name: "Compare rows" }).click();
  await see("0 differ", ".server");

  step("a row is refused, and waits with its reason");
  await please("write a row that is refused here");
  await page.goto(`${url}/dashboard#/quarantine`);
  await see("1 row waits in quarantine");
  await see("grown_up");

  step("break the peer, see the state");
  await please("stop the peer");
  await page.goto(`${url}/dashboard#/overview`);
  await see(`${peer.name} does not answer`);
  await see("backing off", ".server");
  await every_view("broken");

  step("repair it");
  await please("start the peer");
  await see("streaming", ".server");

  step("retry: still refused; mend the reason and retry");
  await page.goto(`${url}/dashboard#/quarantine`);
  await see("1 row waits in quarantine");
  await press("Retry");
  await see("It is tried again", "#toasts");
  await see("1 row waits in quarantine");
  await please("mend the reason");
  await press("Retry all");
  await see("The quarantine is empty");
  await page.goto(`${url}/dashboard#/overview`);
  await see("Everything is in step");

  step("a conflict is shown with both sides, and the difference marked");
  await please("make a conflict");
  await page.goto(`${url}/dashboard#/conflicts`);
  await page.locator(".image .differs").first().waitFor();
  await shot("conflict-light");
  await press("Restore what lost");
  await see("Restored; it replaced");
  await please("see what was restored on the peer");
  await shot("restored-light");

  step("switch off and on");
  await page.goto(`${url}/dashboard#/overview`);
  await press("Switch off");
  await press("Switch off", "dialog");
  await see("Replication is switched off");
  await press("Switch on");
  await see("Everything is in step");

  step("another database of this machine is in the same page");
  await please("make another database here");
  await page.reload();
  await page.locator("select.nodes option:not([disabled])", { hasText: "second" }).waitFor({ state: "attached" });
  await page.getByLabel("Database").selectOption({ label: "second" });
  await see("No other server yet");
  await page.goto(`${url}/dashboard#/tables`);
  await see("second_only");
  await shot("another-database-light");
  await page.goto(`${url}/dashboard#/overview`);
  await page.getByLabel("Database").selectOption({ label: "app" });
  await see("Everything is in step");

  step("remove the server, log out");
  await page.getByRole("button", { name: `More for ${peer.name}` }).click();
  await page.getByRole("menuitem", { name: "Remove" }).click();
  await press("Remove the server", "dialog");
  await see("No other server yet");
  await page.getByRole("button", { name: "Log out" }).click();
  await page.getByLabel("Password").waitFor();
  if ((await (await fetch(`${url}/api/v1/overview`)).json()).error !== "login") complaints.push("the API answers without a login");
} catch (error) {
  complaints.push(String(error));
  await shot("failed").catch(() => {});
}
await browser.close();
process.stdout.write(JSON.stringify({ complaints }) + "\n");
process.exit(complaints.length ? 1 : 0);
