// Draws the dashboard with the components that Grafana's own panels are made of, where its gridPos puts each, in the dark theme.
// What those panels add around the components - their defaults, the grid, the rows - is written here; it does not know Prometheus.
import {
  applyFieldOverrides, cacheFieldDisplayNames, createTheme, dateTime, fieldMatchers, FieldType, getDisplayValueAlignmentFactors,
  getFieldDisplayValues, Registry, standardTransformers, standardTransformersRegistry, ThemeContext, transformDataFrame,
} from "@grafana/data";
import { initPluginTranslations } from "@grafana/i18n";
import { BigValue, GlobalStyles, Icon, PanelChrome, TimeSeries, VizRepeater } from "@grafana/ui";
import { TableNG } from "@grafana/ui/unstable";
import { set } from "lodash";
import { flushSync } from "react-dom";
import { createRoot } from "react-dom/client";
import { lastValueFrom } from "rxjs";
import dashboard from "../imbridge.json";
import { framesOf } from "./frames.js";

const [CELL_PX, GAP_PX, MARGIN_PX, HEAD_PX, COLUMNS] = [30, 8, 16, 56, 24];
const theme = createTheme({ colors: { mode: "dark" } });
const timeZone = "utc";

// What Grafana's panels take where the dashboard says nothing.
const COLOR = { timeseries: "palette-classic", stat: "thresholds", table: "thresholds" };
const THRESHOLDS = { mode: "absolute", steps: [{ color: "green", value: null }, { color: "red", value: 80 }] };
const LINES = { drawStyle: "line", lineInterpolation: "linear", lineWidth: 1, fillOpacity: 0, gradientMode: "none", showPoints: "auto", pointSize: 5,
  spanNulls: false, axisPlacement: "auto", axisGridShow: true, axisCenteredZero: false, scaleDistribution: { type: "linear" } };

// The panel's fieldConfig on each field of its frames.
function configured(panel, frames) {
  const { defaults, overrides } = panel.fieldConfig;
  const custom = { ...(panel.type === "timeseries" && LINES), ...defaults.custom };
  for (const field of frames.flatMap(frame => frame.fields).filter(field => field.type !== FieldType.time)) {
    field.config = { color: { mode: COLOR[panel.type] }, ...defaults, ...field.config, custom: structuredClone(custom), thresholds: defaults.thresholds ?? THRESHOLDS };
  }
  for (const { matcher, properties } of overrides) {
    const matches = fieldMatchers.get(matcher.id).get(matcher.options);
    for (const frame of frames) for (const field of frame.fields) {
      if (matches(field, frame, frames)) properties.forEach(({ id, value }) => set(field.config, id, value));
    }
  }
  const fieldConfig = { defaults: {}, overrides: [] };
  const shown = applyFieldOverrides({ data: frames, fieldConfig, fieldConfigRegistry: new Registry(() => []), replaceVariables: text => text, theme, timeZone });
  cacheFieldDisplayNames(shown);
  return shown;
}

function Stat({ panel, frames, width, height }) {
  const { reduceOptions, ...options } = panel.options;
  const getValues = () => getFieldDisplayValues({ fieldConfig: panel.fieldConfig, reduceOptions, replaceVariables: text => text, theme, data: frames,
    sparkline: options.graphMode !== "none", timeZone });
  const renderValue = ({ value, ...place }) => <BigValue {...options} {...place} value={value.display} sparkline={value.sparkline} theme={theme} />;
  return <VizRepeater {...{ getValues, renderValue, width, height }} getAlignmentFactors={getDisplayValueAlignmentFactors}
    source={frames} renderCounter={0} autoGrid orientation="auto" />;
}

function Lines({ panel, frames, range, width, height }) {
  return <TimeSeries {...{ frames, width, height, timeZone }} timeRange={range} legend={{ showLegend: true, ...panel.options.legend }} options={panel.options} />;
}

function Cells({ panel, frames, range, width, height }) {
  return <TableNG data={frames[0]} {...{ width, height }} timeRange={range} sortBy={panel.options.sortBy} noValue={panel.fieldConfig.defaults.noValue}
    fieldConfig={panel.fieldConfig} cellHeight="sm" enableVirtualization={false} />;
}

const DRAWN_BY = { stat: Stat, timeseries: Lines, table: Cells };

function Panel({ panel, frames, range, width, height }) {
  const Drawn = DRAWN_BY[panel.type];
  const nothing = { height: "100%", display: "flex", alignItems: "center", justifyContent: "center" };
  return <PanelChrome title={panel.title} description={panel.description} {...{ width, height }}>
    {(width, height) => frames.length ? <Drawn {...{ panel, frames, range, width, height }} />
      : <div style={nothing}>{panel.fieldConfig.defaults.noValue ?? "No data"}</div>}
  </PanelChrome>;
}

function Row({ title }) {
  return <div style={{ display: "flex", alignItems: "center", gap: 8, height: "100%", fontWeight: 500 }}><Icon name="angle-down" />{title}</div>;
}

function place({ x, y, w, h }, column_px) {
  const along = (cells, cell_px) => cells * (cell_px + GAP_PX);
  return { left: MARGIN_PX + along(x, column_px), top: HEAD_PX + along(y, CELL_PX), width: along(w, column_px) - GAP_PX, height: along(h, CELL_PX) - GAP_PX };
}

function Dashboard({ drawn, range }) {
  const height = Math.max(...drawn.map(({ box }) => box.top + box.height)) + MARGIN_PX;
  const times = [range.from, range.to].map(at => at.utc().format("YYYY-MM-DD HH:mm:ss")).join(" to ");
  const head = { position: "absolute", left: MARGIN_PX, right: MARGIN_PX, height: HEAD_PX, display: "flex", alignItems: "center", justifyContent: "space-between" };
  return <div style={{ position: "relative", height, background: theme.colors.background.canvas }}>
    <div style={head}><span style={theme.typography.h4}>{dashboard.title}</span><span>{times} UTC</span></div>
    {drawn.map(({ panel, frames, box }) => <div key={panel.id} style={{ position: "absolute", ...box }}>
      {panel.type === "row" ? <Row {...panel} /> : <Panel {...{ panel, frames, range }} width={box.width} height={box.height} />}
    </div>)}
  </div>;
}

function Page({ children }) {
  return <ThemeContext.Provider value={theme}><GlobalStyles />{children}</ThemeContext.Provider>;
}

async function draw() {
  await initPluginTranslations("imbridge");
  const organize = standardTransformers.organizeFieldsTransformer;
  standardTransformersRegistry.setInit(() => [{ ...organize, transformation: () => Promise.resolve(organize) }]);
  const [from, to] = ["from", "to"].map(name => dateTime(Number(new URLSearchParams(location.search).get(name))));
  const range = { from, to, raw: { from, to } };
  const variables = dashboard.templating.list.filter(variable => variable.allValue);
  const column_px = (innerWidth - 2 * MARGIN_PX - (COLUMNS - 1) * GAP_PX) / COLUMNS;
  const drawn = await Promise.all(dashboard.panels.map(async panel => {
    const box = place(panel.gridPos, column_px);
    if (panel.type === "row") return { panel, box };
    const found = await framesOf(panel, range, variables, box.width);
    const shaped = await lastValueFrom(transformDataFrame(panel.transformations ?? [], found, { interpolate: text => text }));
    return { panel, box, frames: configured(panel, shaped) };
  }));
  // Axes are as wide as their labels were in the font that was there first, so it has to be Grafana's.
  const root = createRoot(document.getElementById("page"));
  flushSync(() => root.render(<Page />));
  await Promise.all([400, 500].map(weight => document.fonts.load(`${weight} 12px Inter`)));
  root.render(<Page><Dashboard {...{ drawn, range }} /></Page>);
}

draw().catch(error => { document.title = "failed"; console.error(error); });
