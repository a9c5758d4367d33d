"use strict";
// The page works without this script, as a document. Nothing here makes markup of text: only textContent and attributes.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const root = document.documentElement;
  const query = window.matchMedia("(prefers-color-scheme: dark)");
  const dark = () => root.dataset.theme === "dark";

  // --- figures ---

  const config = (room) => {
    const [ink, quiet, line] = dark() ? ["#e8eaed", "#a3a8b0", "#363a43"] : ["#1c1e21", "#5f6368", "#dcdfe4"];
    return {
      background: "transparent",
      view: { stroke: null },
      axis: { labelColor: quiet, titleColor: ink, gridColor: line, domainColor: quiet, tickColor: quiet, titleFontWeight: "normal" },
      legend: { labelColor: ink, titleColor: ink, columns: Math.max(1, Math.min(5, Math.floor(room / 240))) },
      title: { color: ink, fontSize: 12 },
      font: "system-ui, sans-serif",
    };
  };

  const open = (run) => {
    const target = document.getElementById("run-" + run);
    if (!target) return;
    target.hidden = false;
    target.open = true;
    target.scrollIntoView({ block: "start" });
    target.querySelector("summary").focus({ preventScroll: true });
  };

  // As many panels beside each other as there is room for, and none wider than it; the style sheet scales what is still
  // too wide.
  const AXIS = 75, GAP = 24;
  const fitted = (spec, room) => {
    const concat = spec.concat.map((one) => ({ ...one, width: Math.min(one.width, Math.max(200, room - AXIS)) }));
    const widest = Math.max(0, ...concat.map((one) => one.width)) + AXIS;
    return { ...spec, concat, columns: Math.max(1, Math.min(spec.columns, Math.floor((room + GAP) / (widest + GAP)))) };
  };

  const draw = (element, spec) => {
    // ast: expressions are interpreted, so that the page's policy need not allow eval
    const options = { actions: false, ast: true, renderer: "svg", config: config(element.clientWidth), tooltip: { theme: dark() ? "dark" : "light" } };
    const onDark = (_, value) => (Object.hasOwn(data.on_dark, value) ? data.on_dark[value] : value);
    const sized = fitted(spec, element.clientWidth);
    const recoloured = dark() ? JSON.parse(JSON.stringify(sized), onDark) : sized;
    window.vegaEmbed(element, { $schema: "https://vega.github.io/schema/vega-lite/v6.json", ...recoloured }, options).then(({ view }) => {
      element.dataset.drawn = "yes";
      view.addEventListener("click", (_, item) => {
        const run = item && item.datum && item.datum.r;
        if (run) { history.replaceState(null, "", "#run-" + run); open(run); }
      });
    });
  };

  // Series come packed: [x, y, lo, hi] for each mark, and labels and runs once where all marks share them.
  const unpacked = ({ p, l, r, c, ...look }, g) => p.map(([x, y, lo, hi], i) => ({
    ...look, g, x, y, lo, hi, l: Array.isArray(l) ? l[i] : l, r: Array.isArray(r) ? r[i] : r, c: c.includes(i),
  }));
  const figure = (name) => {
    const spec = data.figures[name];
    return { ...spec, concat: spec.concat.map((one) => ({ ...one, data: { values: one.data.lines.flatMap(unpacked) } })) };
  };
  const curves = (run) => ({
    columns: 3,
    concat: data.figures.training.concat.flatMap(({ title, data: { lines } }) => lines.filter(({ r }) => r === run)
      .map((line) => ({ ...data.curve, title, data: { values: unpacked(line, 0) } }))),
  });

  const wanted = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      wanted.unobserve(target);
      draw(target, target.dataset.figure ? figure(target.dataset.figure) : curves(target.dataset.curves));
    }
  }, { rootMargin: "400px" });
  const drawAll = () => document.querySelectorAll(".chart").forEach((element) => wanted.observe(element));

  let width = window.innerWidth, later;
  window.addEventListener("resize", () => {
    if (window.innerWidth === width) return; // a phone's bar that hides
    width = window.innerWidth;
    clearTimeout(later);
    later = setTimeout(drawAll, 200);
  });

  const setTheme = (name) => { root.dataset.theme = name; drawAll(); };
  document.getElementById("theme").addEventListener("click", () => setTheme(dark() ? "light" : "dark"));
  query.addEventListener("change", () => setTheme(query.matches ? "dark" : "light"));

  // --- tables ---

  const key = (cell) => { const text = cell.dataset.v; return text === "" ? null : isNaN(text) ? text : Number(text); };
  const compare = (a, b) => (typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b)));

  for (const table of document.querySelectorAll("table.sortable")) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => head.firstElementChild.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const body = table.tBodies[0];
      const rows = [...body.rows].map((row) => [key(row.cells[column]), row]);
      rows.sort(([a], [b]) => a === null ? (b === null ? 0 : 1) : b === null ? -1 : (down ? -1 : 1) * compare(a, b));
      body.append(...rows.map(([, row]) => row));
    }));
  }

  for (const input of document.querySelectorAll("input[data-filters]")) {
    const target = document.getElementById(input.dataset.filters);
    const rows = [...(target.tBodies ? target.tBodies[0].rows : target.children)];
    const texts = rows.map((row) => (row.querySelector("summary") || row).textContent.replace(/\s+/g, " ").toLowerCase());
    const named = rows.map((row) => (row.cells ? [...row.cells].filter((cell) => cell.tagName === "TH").map((cell, i) =>
      " " + target.tHead.rows[0].cells[i].textContent.trim() + "=" + cell.textContent.trim()).join("") : "").toLowerCase());
    const count = document.getElementById(input.dataset.filters + "-count");
    const apply = () => {
      const terms = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      rows.forEach((row, i) => {
        row.hidden = !terms.every((term) => term.includes("=") && row.cells ? (named[i] + " ").includes(" " + term + " ") : texts[i].includes(term));
        shown += !row.hidden;
      });
      count.textContent = `${shown} of ${rows.length}`;
    };
    input.addEventListener("input", apply);
    apply();
  }

  const follow = () => { if (location.hash.startsWith("#run-")) open(location.hash.slice(5)); };
  window.addEventListener("hashchange", follow);
  document.addEventListener("toggle", (event) => {
    if (event.target.open) event.target.querySelectorAll(".chart:not([data-drawn])").forEach((element) => wanted.observe(element));
  }, true);
  setTheme(query.matches ? "dark" : "light");
  follow();
})();
