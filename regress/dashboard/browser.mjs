// Chromium of the system, driven by playwright-core from the build folder (scripts/prepare.sh puts it there).
import { createRequire } from "node:module";
import path from "node:path";

const build = process.env.ROWMESH_BUILD || path.resolve(import.meta.dirname || path.dirname(new URL(import.meta.url).pathname), "../../build");
const require = createRequire(path.join(build, "tools/dashboard/package.json"));
const { chromium } = require("playwright-core");

export const launch = () =>
  chromium.launch({
    executablePath: process.env.ROWMESH_CHROMIUM || "/usr/bin/chromium",
    args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
  });

export const looks = {
  light: { colorScheme: "light", viewport: { width: 1280, height: 860 } },
  dark: { colorScheme: "dark", viewport: { width: 1280, height: 860 } },
  tablet: { colorScheme: "light", viewport: { width: 860, height: 1100 } },
  phone: { colorScheme: "light", viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true, deviceScaleFactor: 2 },
};
