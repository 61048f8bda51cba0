// Looks at the status page as people do: in Chromium, light and dark, on a desk and on a phone. Prints one JSON object for each
// of the four; with a folder it leaves pictures there. NODE_PATH leads to playwright-core, CHROMIUM names the browser.
"use strict";

const { chromium } = require("playwright-core");

const SIZES = { desk: { width: 1200, height: 900 }, phone: { width: 360, height: 740 } };
const [url, folder] = process.argv.slice(2);

async function look(browser, colorScheme, size) {
  const context = await browser.newContext({ colorScheme, viewport: SIZES[size] });
  const page = await context.newPage();
  const faults = [];
  const hosts = new Set();
  page.on("console", message => message.type() === "error" && faults.push(message.text()));
  page.on("pageerror", error => faults.push(String(error)));
  page.on("request", request => request.url().startsWith("http") && hosts.add(new URL(request.url()).host));
  await page.goto(url);
  await page.waitForFunction(() => document.getElementById("live").textContent === "live", null, { timeout: 20000 });
  const seen = await page.evaluate(() => {
    const channels = color => color.match(/[\d.]+/g).slice(0, 3).map(Number);
    const luminance = color => {
      const [r, g, b] = channels(color).map(value => value / 255).map(value => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
      return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const contrast = element => {
      const behind = getComputedStyle(element.closest("section, .tile") || document.body).backgroundColor;
      const [a, b] = [luminance(getComputedStyle(element).color), luminance(behind)];
      return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    };
    const words = [...document.querySelectorAll("strong, td, th, p, figcaption b, .soft")].filter(element => element.textContent.trim());
    const tile = id => document.querySelector(`#${id} strong`).textContent;
    return {
      tiles: { accepting: tile("accepting"), kafka: tile("kafka"), behind: tile("behind") },
      text: document.body.innerText,
      points: document.querySelector("#depth polyline").getAttribute("points").split(" ").length,
      background: luminance(getComputedStyle(document.body).backgroundColor),
      least_contrast: Math.min(...words.map(contrast)),
      overflow_px: document.documentElement.scrollWidth - innerWidth,
      scripts_run: document.querySelectorAll("table script, table img").length,
    };
  });
  if (folder) await page.screenshot({ path: `${folder}/status-${process.env.KIND}-${colorScheme}-${size}.png`, fullPage: true });
  await context.close();
  return { colorScheme, size, faults, hosts: [...hosts], ...seen };
}

(async () => {
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM || "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
  });
  for (const scheme of ["light", "dark"]) for (const size of Object.keys(SIZES)) console.log(JSON.stringify(await look(browser, scheme, size)));
  await browser.close();
})().catch(error => { console.error(error); process.exit(1); });
