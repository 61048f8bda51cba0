"use strict";
const $ = id => document.getElementById(id);
const number = value => value == null ? "" : value.toLocaleString("en", {maximumFractionDigits: value < 10 ? 1 : 0});
const bytes = value => value < 1e6 ? number(value / 1e3) + " kB" : value < 1e9 ? number(value / 1e6) + " MB" : number(value / 1e9) + " GB";
const span = seconds => seconds < 1 ? "less than a second" : seconds < 120 ? number(seconds) + " s" : seconds < 7200 ? number(seconds / 60) + " min" : number(seconds / 3600) + " h";
const counted = (...counts) => counts.filter(([count]) => count).map(([count, label]) => `${number(count)} ${label}`).join(", ");
const list = counts => Object.entries(counts || {}).filter(([, count]) => count).map(([name, count]) => `${name} ${number(count)}`).join(", ");

function tile(id, kind, text, detail) {
  const [strong, p] = [$(id).querySelector("strong"), $(id).querySelector("p")];
  strong.textContent = text; strong.className = kind; p.textContent = detail;
}

// Makes text nodes only, so data of callers is never interpreted as HTML.
function table(id, columns, rows, none) {
  const row = (cells, tag) => {
    const tr = document.createElement("tr");
    cells.forEach(([text, kind]) => { const cell = document.createElement(tag); cell.textContent = text; if (kind) cell.className = kind; tr.append(cell); });
    return tr;
  };
  $(id).replaceChildren(...(rows.length ? [row(columns, "th"), ...rows.map(cells => row(cells, "td"))] : [row([[none, "text soft"]], "td")]));
}

// The steps between the ticks of an axis: whole numbers, whole seconds.
const COUNTS = [...Array(12).keys()].flatMap(power => [1, 2, 5].map(step => step * 10 ** power));
const SECONDS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21600, 43200, 86400, 172800, 604800];
const age = value => value < 1 ? "0 s" : span(value);
const short = value => value.toLocaleString("en", {notation: "compact"});
const AXES = {
  records: {label: "records", incrs: COUNTS, tick: short, value: number},
  age: {label: "age", incrs: SECONDS, tick: age, value: age},
  rate: {label: "per second", incrs: COUNTS, tick: short, value: value => `${number(value)} /s`},
};
const COLOURS = ["soft", "one", "two"];
const colour = name => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`);
const clock = (seconds, more) => new Date(seconds * 1000).toLocaleTimeString("en-GB", {hour: "2-digit", minute: "2-digit", ...more});

// Makes a plot of the last hour. Each line has a column of the history, an axis and a label. All plots share one cursor. The legend
// shows the values under the cursor, or the latest values without one. Returns the function that draws a new history.
function plot(id, lines) {
  const figure = $(id), names = [...new Set(lines.map(([, axis]) => axis))];
  const ink = axis => () => colour(names.length > 1 ? COLOURS[names.indexOf(axis) + 1] : "soft");
  const grid = {stroke: () => colour("line"), width: 1};
  const axis = name => ({
    scale: name, side: names.indexOf(name) ? 1 : 3, label: AXES[name].label, incrs: AXES[name].incrs, size: 56, labelSize: 18, labelGap: 0,
    values: (_, ticks) => ticks.map(AXES[name].tick), stroke: ink(name), ticks: grid, grid: {...grid, show: !names.indexOf(name)},
  });
  const zone = new Date().toLocaleTimeString("en-GB", {timeZoneName: "short"}).split(" ").pop();
  const it = new uPlot({
    width: figure.clientWidth, height: 220,
    cursor: {y: false, drag: {x: false}, sync: {key: "hour"}},
    legend: {markers: {width: () => 2, dash: (_, line) => line > 1 ? "dashed" : "solid", stroke: (_, line) => `var(--${COLOURS[line]})`, fill: () => ""}},
    scales: {
      x: {range: (_, first, last) => [Math.min(first, last - 300), last]},
      ...Object.fromEntries(names.map(name => [name, {range: (_, least, most) => uPlot.rangeNum(0, Math.max(most, 10), 0.1, true)}])),
    },
    axes: [
      {incrs: [60, 120, 300, 600, 900, 1800, 3600], space: 60, label: `time, ${zone}`, size: 32, labelSize: 18, labelGap: 0, values: (_, ticks) => ticks.map(tick => clock(tick)), stroke: () => colour("soft"), ticks: grid, grid},
      ...names.map(axis),
    ],
    series: [
      {label: "time", value: (_, at) => at == null ? "now" : clock(at, {second: "2-digit"})},
      ...lines.map(([, name, label], index) => ({
        label, scale: name, width: 2, dash: index ? [6, 4] : [], stroke: () => colour(COLOURS[index + 1]),
        value: (plot, value) => AXES[name].value(value ?? plot.data[index + 1].at(-1)),
      })),
    ],
  }, [[], ...lines.map(() => [])], figure);
  it.ctx.canvas.setAttribute("role", "img");
  new ResizeObserver(() => it.setSize({width: figure.clientWidth, height: 220})).observe(figure);
  return history => {
    it.setData([history.at_ms.map(ms => ms / 1000), ...lines.map(([column]) => history[column])]);
    const labels = lines.map(([column, name, label]) => `${label}: at most ${AXES[name].value(Math.max(0, ...history[column]))}`);
    it.ctx.canvas.setAttribute("aria-label", labels.join(", "));
  };
}
const plots = () => [
  plot("depth", [["spool_records", "records", "records"], ["oldest_age_s", "age", "age of the oldest"]]),
  plot("rates", [["accepted_per_s", "rate", "callbacks answered"], ["published_per_s", "rate", "messages published"]]),
];

let draws;

function show(it) {
  $("version").textContent = it.version;
  const failed = list(it.failed_open), refused = list(it.refused);
  if (it.accepting.ok) tile("accepting", "good", "accepting", "each is durable before it is answered");
  else tile("accepting", "bad", "not accepting", it.accepting.message);
  const rebuilds = list(it.kafka.rebuilds);
  tile("kafka", it.kafka.connected ? "good" : "bad", it.kafka.connected ? "connected" : "not connected",
    `${number(it.kafka.published)} messages published${it.kafka.breaker_open ? "; answers do not wait for Kafka, because it was slow" : ""}${rebuilds ? "; producer rebuilt: " + rebuilds : ""}`);
  // The age by the machine's clock, or the time without a delivery. If the clock was set back, the age is too small.
  const late = Math.max(it.spool.oldest_age_s, it.spool.stalled_s), behind = it.spool.records;
  tile("behind", late > 60 ? "bad" : late > 5 ? "warn" : "good", behind ? span(late) : "nothing waits", `${number(behind)} ${behind === 1 ? "record" : "records"}, ${bytes(it.spool.bytes)} in the spool`);
  const times = it.history.at_ms, seconds = (times.at(-1) - times[0]) / 1000;
  $("window").textContent = seconds > 3500 ? "Last hour" : `Since the start, ${span(seconds || 0)}`;
  (draws ??= plots()).forEach(draw => draw(it.history));
  table("commands", [["command"], ["last arrival", ""], ["a second"], ["answered"], ["failed"]],
    it.commands.map(row => [[`${row.provider} ${row.command}`], [row.last_arrival_ms ? span((it.now_ms - row.last_arrival_ms) / 1000) + " ago" : ""], [number(row.per_s)], [number(row.answered)], [number(row.failed), row.failed ? "bad" : ""]]),
    "no callback has arrived yet");
  $("dead-reasons").textContent = list(it.dead_letters) || "none since the start";
  table("dead", [["when"], ["command", "text"], ["reason", "text"], ["bytes"], ["sample", "text"]],
    (it.latest_dead_letters || []).map(row => [[span((it.now_ms - row.at_ms) / 1000) + " ago"], [`${row.provider} ${row.command || ""}`, "text"], [row.reason, "text"], [number(row.bytes)], [row.sample, "long text"]]),
    "no sample");
  const refusals = list(it.refused_by_kafka);
  $("refusals").textContent = refusals ? "refused by Kafka, and now dead letters: " + refusals : "";
  $("sequence").textContent = counted([it.sequence.gaps, "numbers missing"], [it.sequence.disorder, "out of order"], [it.duplicates_dropped, "repeated deliveries dropped"]);
  table("groups", [["group"], ["command", "text"], ["expected"], ["received"], ["when"]],
    (it.groups || []).map(row => [[row.group], [row.command, "text"], [String(row.expected)], [String(row.got)], [span((it.now_ms - row.at_ms) / 1000) + " ago"]]),
    "none");
  const missing = list(it.left_out);
  $("also").textContent = [missing && "not shown here: " + missing, refused && "refused: " + refused, failed && "allowed although not durable: " + failed, counted([it.unmapped_fields, "values in fields that no schema declares"], [it.spool.commit_errors, "failed commits"])].filter(Boolean).join("; ") || "nothing";
}

async function ask() {
  try {
    const answer = await fetch("status.json", {cache: "no-store"});
    if (!answer.ok) throw new Error(answer.status);
    show(await answer.json());
    $("live").textContent = "live"; $("live").className = "good";
  } catch (cause) {
    $("live").textContent = "no answer from the bridge"; $("live").className = "bad";
  }
  setTimeout(ask, 2000);
}
ask();
