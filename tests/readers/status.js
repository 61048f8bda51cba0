// Looks at the status page as people do: in Chromium, light and dark, on a desk and on a phone. Prints one JSON object for each
// of the four; with a folder it leaves pictures there. NODE_PATH leads to playwright-core and axe-core, CHROMIUM names the browser.
// The pictures of the documents are light on a desk and dark on a phone, of a bridge that has run for a while and lost its Kafka:
//   NODE_PATH=target/node/node_modules node tests/readers/status.js http://127.0.0.1:9464/ FOLDER
"use strict";

const { chromium } = require("playwright-core");
const { source: axe } = require("axe-core");

const SIZES = { desk: { width: 1200, height: 900 }, phone: { width: 360, height: 740 } };
const [url, folder] = process.argv.slice(2);

// What is drawn on a canvas is in no document: it is written down as it is drawn.
function overhear() {
  const fillText = CanvasRenderingContext2D.prototype.fillText;
  window.drawn = new Set();
  CanvasRenderingContext2D.prototype.fillText = function (text, ...where) { window.drawn.add(text); return fillText.call(this, text, ...where); };
}

// The hour before: a record more in the spool and a second more of age every ten seconds, and as many answered as numbers.
function hour(status) {
  const points = [...Array(360).keys()];
  status.history = {
    at_ms: points.map(index => status.now_ms - (359 - index) * 10000),
    spool_records: points, oldest_age_s: points, accepted_per_s: points, published_per_s: points.map(index => index * 2),
  };
  // What did not happen, with a number all the same.
  Object.assign(status, { refused: { no_request: 0 }, failed_open: { spool_full: 0 }, refused_by_kafka: { "im.a": 0 }, left_out: { groups: 0 } });
  return status;
}

// What the legends say with nothing under the cursor, and with it in the middle of a known hour in the first plot.
async function hover(page) {
  await page.mouse.move(0, 0);
  const legends = () => page.$$eval(".u-legend", tables => tables.map(table => [...table.rows].map(row => row.cells[0].textContent + ": " + row.cells[1].textContent).join(", ")));
  await page.route("**/status.json", async route => route.fulfill({ json: hour(await (await route.fetch()).json()) }));
  await page.waitForFunction(() => document.getElementById("window").textContent === "Last hour" && document.querySelector(".u-legend").innerText.includes("359"), null, { timeout: 20000 });
  const latest = await legends();
  // The plots had other times before: those of the next drawing are looked at.
  await page.evaluate(() => { window.drawn.clear(); });
  const isTime = text => /^\d\d:\d\d$/.test(text);
  await page.waitForFunction(() => window.drawn.size > 0, null, { timeout: 20000 });
  const times = (await page.evaluate(() => [...window.drawn])).filter(isTime);
  await page.hover("#depth .u-over");
  const counted = await page.evaluate(() => ["dead-reasons", "refusals", "sequence", "also"].map(id => document.getElementById(id).textContent));
  return { latest, times, counted, hovered: await legends(), named: await page.$$eval("canvas", all => all.map(canvas => canvas.getAttribute("aria-label"))) };
}

async function look(browser, colorScheme, size) {
  const context = await browser.newContext({ colorScheme, viewport: SIZES[size] });
  const page = await context.newPage();
  await page.addInitScript(overhear);
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
    const words = [...document.querySelectorAll("strong, td, th, p, figcaption, .soft")].filter(element => element.textContent.trim());
    const tile = id => document.querySelector(`#${id} strong`).textContent;
    return {
      tiles: { accepting: tile("accepting"), kafka: tile("kafka"), behind: tile("behind") },
      text: document.body.innerText,
      drawn: [...window.drawn],
      background: luminance(getComputedStyle(document.body).backgroundColor),
      least_contrast: Math.min(...words.map(contrast)),
      overflow_px: document.documentElement.scrollWidth - innerWidth,
      scripts_run: document.querySelectorAll("table script, table img").length,
    };
  });
  await page.hover("#depth .u-over");
  if (folder) await page.screenshot({ path: `${folder}/status-${colorScheme}-${size}.png`, fullPage: true });
  await page.evaluate(axe);
  const violations = await page.evaluate(async () => (await axe.run()).violations.map(({ id, nodes }) => `${id}: ${nodes.map(node => node.html)}`));
  const plots = await hover(page);
  await context.close();
  return { colorScheme, size, faults, violations, hosts: [...hosts], ...seen, ...plots };
}

(async () => {
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM || "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
  });
  for (const scheme of ["light", "dark"]) for (const size of Object.keys(SIZES)) console.log(JSON.stringify(await look(browser, scheme, size)));
  await browser.close();
})().catch(error => { console.error(error); process.exit(1); });
