// Screenshots of the page in canned states, without a node: node look.mjs FOLDER [STATE...]. For whoever changes how it looks.
import fs from "node:fs";
import { launch, looks } from "./browser.mjs";
import { fake } from "./fake_node.mjs";

const [folder, ...chosen] = process.argv.slice(2);
fs.mkdirSync(folder, { recursive: true });
const browser = await launch();
let port = 21390;
for (const state of chosen.length ? chosen : ["new", "login", "empty", "busy", "broken"]) {
  const node = fake(state, ++port);
  for (const [look, options] of Object.entries(looks)) {
    const context = await browser.newContext(options), page = await context.newPage();
    page.on("console", (message) => message.type() === "error" && console.log(`${state} ${look}: ${message.text()}`));
    page.on("pageerror", (error) => console.log(`${state} ${look}: ${error}`));
    const views = state === "new" || state === "login" ? ["overview"] : state === "empty" && look !== "light" ? ["overview"] : ["overview", "tables", "conflicts", "quarantine"];
    for (const view of views) {
      await page.goto(`http://127.0.0.1:${port}/dashboard#/${view}`);
      await page.waitForSelector(state === "new" || state === "login" ? ".login" : ".headline");
      await page.waitForTimeout(400);
      await page.screenshot({ path: `${folder}/${state}-${view}-${look}.png`, fullPage: true });
    }
    await context.close();
  }
  node.close();
}
await browser.close();
