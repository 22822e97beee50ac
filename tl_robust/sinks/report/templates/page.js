const { specs, panels } = JSON.parse(document.getElementById("charts").textContent);
const ink = { labelColor: "currentColor", titleColor: "currentColor", gridColor: "currentColor", gridOpacity: 0.15,
  domainColor: "currentColor", domainOpacity: 0.5, tickColor: "currentColor", tickOpacity: 0.5 };
const config = { background: "transparent", axis: { ...ink, labelFontSize: 11, titleFontSize: 12, titleFontWeight: "normal" },
  view: { stroke: null }, font: "system-ui, 'DejaVu Sans', sans-serif" };
const options = { renderer: "svg", tooltip: { theme: "custom" },
  actions: { export: true, source: false, compiled: false, editor: false } };
const filled = (box, width) => {
  const { spec, label, lines, thin = [] } = panels[box.dataset.panel];
  const { chart, xs, strips, strategies, compared } = specs[spec];
  const place = { description: label, config, width, height: chart.height ?? 240, autosize: { type: "fit-x", contains: "padding" } };
  if (!strips) { // a chart that is not of rows has places of its own on its axis
    const points = lines.flatMap(([strategy, at, value, low, high]) => at.map((x, i) =>
      ({ x, strategy: strategies[strategy], value: value[i], low: low[i], high: high[i] })));
    return { ...chart, datasets: { ...chart.datasets, points }, ...place };
  }
  const none = Object.fromEntries(strategies.map((_, place) => [`s${place}`, "-"]));
  const hover = strips.map((strip) => ({ ...strip, ...none }));
  const drawn = (packed, said) => packed.flatMap(([strategy, places, value, low, high, text, n]) =>
    places.map((place, i) => {
      hover[place][`s${strategy}`] = said(hover[place][`s${strategy}`], `${text[i]}, n ${n[i] ?? n}`);
      return { x: xs[place], strategy: strategies[strategy], value: value[i], low: low[i], high: high[i] };
    }));
  const points = drawn(lines, (_, own) => own);
  const datasets = { ...chart.datasets, points, hover, thin: drawn(thin, (before, other) => `${before}; ${compared} ${other}`) };
  return { ...chart, datasets, ...place };
};
const draw = async (box, width = "container") => { // in microtasks alone, so nothing waits for a timer
  await vegaEmbed(box, filled(box, width), options).catch(console.error);
  box.querySelector("summary")?.setAttribute("aria-label", "Save this chart");
  for (const link of box.querySelectorAll(".vega-actions a")) { // its address is made on mousedown: let a keyboard do that
    link.addEventListener("focus", () => link.dispatchEvent(new MouseEvent("mousedown")));
  }
};
const boxes = [...document.querySelectorAll(".chart")], paper = 335, patience = 2000; // pixels, milliseconds
const near = new IntersectionObserver((seen) => {
  for (const { isIntersecting, target } of seen) {
    if (isIntersecting) { near.unobserve(target); draw(target); }
  }
}, { rootMargin: "1000px" }); // of a large bench most charts are drawn when the reader comes near them
let folds = [];
addEventListener("beforeprint", () => { // a browser prints after these microtasks
  folds = [...document.querySelectorAll("details:not([open]):not(.chart details)")];
  for (const fold of folds) fold.open = true;
  for (const box of boxes) draw(box, paper);
});
addEventListener("afterprint", () => {
  for (const fold of folds) fold.open = false;
  for (const box of boxes) { box.replaceChildren(); near.observe(box); }
});
const start = performance.now();
for (const box of boxes) { // before the page counts as loaded: a browser without a screen prints it then
  if (performance.now() - start < patience) await draw(box); else near.observe(box);
}
