// Bundles the page, shows it to Chromium and takes the picture: node draw.js PROMETHEUS MINUTES PICTURE. The page gets everything from
// here, Prometheus' answers by way of the same address, and nothing from anywhere else. CHROMIUM names the browser.
import { writeFile } from "node:fs/promises";
import { build } from "esbuild";
import { chromium } from "playwright-core";
import { PNG } from "pngjs";

const [prometheus, minutes, picture] = process.argv.slice(2);
const WIDTH_PX = 1600;
const ORIGIN = "http://dashboard.invalid";
const HTML = `<!doctype html><link rel="stylesheet" href="/built/panels.css"><body style="margin: 0"><div id="page"></div>
  <script type="module" src="/built/panels.js"></script>`;

// Where Grafana's server would have its files from, under the paths that the components ask for.
const FILES = [
  [/^\/built\/(.*)/, "built/$1"],
  [/^\/public\/build\/(.*)/, "node_modules/@grafana/ui/dist/public/$1"],
  [/^\/public\/fonts\/inter\/Inter-Regular.woff2/, "node_modules/@fontsource/inter/files/inter-latin-400-normal.woff2"],
  [/^\/public\/fonts\/inter\/Inter-Medium.woff2/, "node_modules/@fontsource/inter/files/inter-latin-500-normal.woff2"],
];

async function answer(route) {
  const { pathname, search } = new URL(route.request().url());
  if (pathname === "/") return route.fulfill({ contentType: "text/html", body: HTML });
  const file = FILES.find(([asked]) => asked.test(pathname));
  if (file) return route.fulfill({ path: pathname.replace(...file) });
  const found = await fetch(prometheus + pathname + search);
  return route.fulfill({ status: found.status, contentType: "application/json", body: await found.text() });
}

async function screenshot(browser) {
  const page = await browser.newPage({ viewport: { width: WIDTH_PX, height: 1000 } });
  page.on("console", message => message.type() === "error" && console.error(message.text(), message.location().url));
  page.on("pageerror", error => console.error(error.stack));
  await page.route(`${ORIGIN}/**`, answer);
  const to = Date.now();
  await page.goto(`${ORIGIN}/?from=${to - minutes * 60_000}&to=${to}`);
  await page.waitForFunction(() => document.title === "failed" || document.querySelector("canvas"));
  if (await page.title() === "failed") throw new Error("the page could not draw the dashboard");
  // A table draws the rows that are in sight.
  await page.setViewportSize({ width: WIDTH_PX, height: await page.evaluate(() => document.body.scrollHeight) });
  await page.waitForLoadState("networkidle");
  return page.screenshot({ fullPage: true });
}

await build({
  entryPoints: ["panels.jsx"], outdir: "built", bundle: true, format: "esm", splitting: true, jsx: "automatic", logLevel: "error",
  external: ["monaco-editor"], // an editor, which would be loaded when it is needed
  define: { "process.env.NODE_ENV": '"production"' },
});
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM || "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});
try {
  // Chromium packs in haste.
  const shot = PNG.sync.read(await screenshot(browser));
  await writeFile(picture, PNG.sync.write(shot, { colorType: 2, filterType: 0, deflateLevel: 9, deflateStrategy: 0 }));
} finally {
  await browser.close();
}
