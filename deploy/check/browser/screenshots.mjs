// Takes the pictures of README.md: node screenshots.mjs DIRECTORY. A demo runs for as long as makes a picture worth it.
import { join } from "node:path";
import { startBrowser, startDemo, until } from "./demo.mjs";

const [directory, seconds = "140"] = process.argv.slice(2);
const views = {
  "status-light": { colorScheme: "light", width: 1120, height: 1000, fullPage: true },
  "status-dark": { colorScheme: "dark", width: 1120, height: 1000, fullPage: true },
  "status-phone": { colorScheme: "light", width: 360, height: 900 },
};
const demo = await startDemo();
const browser = await startBrowser();
try {
  const pages = {};
  for (const [name, view] of Object.entries(views)) pages[name] = await browser.open(demo.admin + "/", view);
  await new Promise((resolve) => setTimeout(resolve, 1000 * Number(seconds)));
  for (const [name, page] of Object.entries(pages)) {
    await until("a life to show", () => page.locator("#life-state[data-state=live]").count(), 60000);
    await page.screenshot({ path: join(directory, name + ".png"), fullPage: views[name].fullPage });
  }
} finally {
  await browser.close();
  await demo.close();
}
