"use strict";
(function () {
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const figures = [];

  function ink(printing) {
    const style = getComputedStyle(document.documentElement);
    const text = printing ? "#1b1f24" : style.getPropertyValue("--ink").trim();
    const line = printing ? "#d5d9de" : style.getPropertyValue("--line").trim();
    const card = printing ? "#ffffff" : style.getPropertyValue("--card").trim();
    return { text: text, line: line, card: card };
  }

  function dress(layout, printing) {
    const colours = ink(printing);
    const change = {
      "font.color": colours.text,
      "hoverlabel.bgcolor": colours.card, "hoverlabel.bordercolor": colours.line, "hoverlabel.font.color": colours.text
    };
    Object.keys(layout).filter(function (key) { return /^[xy]axis/.test(key); }).forEach(function (axis) {
      change[axis + ".gridcolor"] = colours.line;
      change[axis + ".linecolor"] = colours.line;
      change[axis + ".zeroline"] = false;
      change[axis + ".automargin"] = true;
    });
    return change;
  }

  function redress(printing) {
    figures.forEach(function (element) { Plotly.relayout(element, dress(element.layout, printing)); });
  }

  document.querySelectorAll("script[data-figure]").forEach(function (source) {
    const element = document.getElementById(source.dataset.figure);
    const figure = JSON.parse(source.textContent);
    if (element.clientWidth < 600 && figure.layout.showlegend !== false) {
      const entries = figure.data.filter(function (trace) { return trace.showlegend !== false; }).length;
      figure.layout.legend.font = { size: 11 };  // one entry a line: make room for them
      figure.layout.height += 18 * entries;
    }
    Plotly.newPlot(element, figure.data, figure.layout, { responsive: true, displaylogo: false, displayModeBar: false })
      .then(function () { figures.push(element); return Plotly.relayout(element, dress(element.layout, false)); });
  });
  dark.addEventListener("change", function () { redress(false); });
  let opened = [];
  window.addEventListener("beforeprint", function () {
    opened = Array.from(document.querySelectorAll("details:not([open]):not(.astable)"));  // paper can't be clicked
    opened.forEach(function (details) { details.open = true; });
    redress(true);
  });
  window.addEventListener("afterprint", function () {
    opened.forEach(function (details) { details.open = false; });
    redress(false);
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
