// Asks Prometheus for what a panel of the dashboard shows, and makes of the answers the data frames that Grafana's own data source would
// make: the same step and $__rate_interval, a frame for each series, one for a table. It does not know how they are drawn.
import { FieldType, rangeUtil, renderLegendFormat } from "@grafana/data";

// Of the data source; docker-compose.yml gives Grafana the same.
const SCRAPE_S = 5;

const seconds = ms => Math.round(ms / 1000);

async function ask(what, parameters) {
  const answer = await (await fetch(`/api/v1/${what}?${new URLSearchParams(parameters)}`)).json();
  if (answer.status !== "success") throw new Error(`${parameters.query}: ${answer.error}`);
  return answer.data.result;
}

// "All" of each variable, and what Grafana itself puts in.
function filledIn(query, variables, step_s) {
  const rate_s = Math.max(step_s + SCRAPE_S, 4 * SCRAPE_S);
  const filled = variables.reduce((text, { name, allValue }) => text.replaceAll(`$${name}`, allValue), query.replaceAll("$__rate_interval", `${rate_s}s`));
  if (filled.includes("$")) throw new Error(`a variable is left: ${filled}`);
  return filled;
}

function seriesFrame(target, step_s, { metric, values }) {
  const time = { name: "Time", type: FieldType.time, config: { interval: step_s * 1000 }, values: values.map(([at]) => at * 1000) };
  const name = target.legendFormat ? renderLegendFormat(target.legendFormat, metric) : undefined;
  const numbers = values.map(([, value]) => Number(value)).map(value => Number.isFinite(value) ? value : null);
  const value = { name: "Value", type: FieldType.number, labels: metric, config: { displayNameFromDS: name }, values: numbers };
  return { refId: target.refId, fields: [time, value], length: values.length };
}

function tableFrame(target, result) {
  const labels = [...new Set(result.flatMap(({ metric }) => Object.keys(metric)))].sort();
  const column = (name, type, of) => ({ name, type, config: {}, values: result.map(of) });
  const fields = [
    column("Time", FieldType.time, ({ value }) => value[0] * 1000),
    ...labels.map(label => column(label, FieldType.string, ({ metric }) => metric[label] ?? "")),
    column("Value", FieldType.number, ({ value }) => Number(value[1])),
  ];
  return { refId: target.refId, fields, length: result.length };
}

// The frames of a panel that is so many pixels wide, none where Prometheus has nothing.
export async function framesOf(panel, range, variables, width_px) {
  const step_s = seconds(rangeUtil.calculateInterval(range, Math.round(width_px), `${SCRAPE_S}s`).intervalMs);
  const frames = await Promise.all(panel.targets.map(async target => {
    const query = filledIn(target.expr, variables, step_s);
    const [start, end] = [range.from, range.to].map(at => Math.floor(seconds(at.valueOf()) / step_s) * step_s);
    if (!target.instant) return (await ask("query_range", { query, start, end, step: step_s })).map(series => seriesFrame(target, step_s, series));
    const result = await ask("query", { query, time: seconds(range.to.valueOf()) });
    return result.length ? [tableFrame(target, result)] : [];
  }));
  return frames.flat();
}
