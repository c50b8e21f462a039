"use strict";
(function () {
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const drawn = new Map();
  const brighter = { "#0072B2": "#4FA8E0", "#D55E00": "#F0803C", "#009E73": "#22C298", "#8A8F98": "#A3ABB5", "#56B4E9": "#BFE3FA" };  // on dark ground

  function ink(printing) {
    const style = getComputedStyle(document.documentElement);
    const taken = function (name, onPaper) { return printing ? onPaper : style.getPropertyValue(name).trim(); };
    return { text: taken("--ink", "#1b1f24"), line: taken("--line", "#d5d9de"), card: taken("--card", "#ffffff") };
  }

  function dress(layout, printing) {
    const colours = ink(printing);
    layout.font.color = colours.text;
    layout.hoverlabel = { bgcolor: colours.card, bordercolor: colours.line, font: { color: colours.text }, align: "left" };
    ["xaxis", "yaxis"].forEach(function (axis) { layout[axis] = layout[axis] || {}; });
    Object.keys(layout).filter(function (key) { return /^[xy]axis/.test(key); }).forEach(function (axis) {
      Object.assign(layout[axis], { gridcolor: colours.line, linecolor: colours.line, zeroline: false, automargin: true });
    });
  }

  function draw(element, source, printing) {
    let text = source.textContent;
    if (dark.matches && !printing) {
      Object.keys(brighter).forEach(function (colour) { text = text.split(colour).join(brighter[colour]); });
    }
    const figure = JSON.parse(text);
    if (element.clientWidth < 600 && figure.layout.showlegend !== false) {
      const entries = figure.data.filter(function (trace) { return trace.showlegend !== false; }).length;
      figure.layout.legend.font = { size: 11 };  // one entry a line: make room for them
      figure.layout.height += 18 * entries;
    }
    dress(figure.layout, printing);
    waiting.delete(element);
    drawn.set(element, source);
    return Plotly.react(element, figure.data, figure.layout, { responsive: true, displaylogo: false, displayModeBar: false });
  }

  function redraw(printing) {
    drawn.forEach(function (source, element) { draw(element, source, printing); });
  }

  // Figures are drawn when they come near: a page of dozens opens at once, on a phone too.
  const waiting = new Map();
  const near = new IntersectionObserver(function (entries) {
    entries.forEach(function (entry) {
      if (entry.isIntersecting && waiting.has(entry.target)) { near.unobserve(entry.target); draw(entry.target, waiting.get(entry.target), false); }
    });
  }, { rootMargin: "800px" });
  document.querySelectorAll("script[data-figure]").forEach(function (source) {
    const element = document.getElementById(source.dataset.figure);
    waiting.set(element, source);
    near.observe(element);
  });
  dark.addEventListener("change", function () { redraw(false); });
  let opened = [];
  window.addEventListener("beforeprint", function () {
    opened = Array.from(document.querySelectorAll("details:not([open]):not(.screen)"));  // paper can't be clicked
    opened.forEach(function (details) { details.open = true; });
    new Map(waiting).forEach(function (source, element) { drawn.set(element, source); });
    redraw(true);
    document.querySelectorAll(".figure .main-svg").forEach(function (svg) {  // so that it shrinks to the paper's width
      svg.setAttribute("viewBox", "0 0 " + svg.getAttribute("width") + " " + svg.getAttribute("height"));
    });
  });
  window.addEventListener("afterprint", function () {
    opened.forEach(function (details) { details.open = false; });
    document.querySelectorAll(".figure .main-svg").forEach(function (svg) { svg.removeAttribute("viewBox"); });
    redraw(false);
  });

  document.querySelectorAll("button[data-copy]").forEach(function (button) {
    button.addEventListener("click", function () {
      const source = document.getElementById(button.dataset.copy);
      const word = button.textContent;
      const done = function () { button.textContent = "Copied"; setTimeout(function () { button.textContent = word; }, 1500); };
      const select = function () { window.getSelection().selectAllChildren(source); document.execCommand("copy"); done(); };
      if (navigator.clipboard) { navigator.clipboard.writeText(source.textContent).then(done, select); } else { select(); }
    });
  });
})();
