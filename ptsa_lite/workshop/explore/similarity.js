// A similarity matrix, measured in other ways. data: tasks, colours; frames, the numbers of frames to choose from; most, where
// the scale of colours ends; start, {reading, pairs, stage, frames}; measured, by "READING PAIRS FRAMES" a list by stage (0: the
// whole backbone) of [matrix, errors], which are null where there is none.
const n = data.tasks.length, chosen = {...data.start};
const stages = Object.values(data.measured)[0].map((_, s) => [s || "all", s]);
const take = name => value => { chosen[name] = value; show(); };
const table = html("table", {class: "cells"}), facts = html("dl", {class: "facts"});
root.replaceChildren(
  html("div", {class: "row"}, choice("stage", stages, chosen.stage, take("stage")), choice("frames", data.frames.map(f => [f, f]), chosen.frames, take("frames"))),
  html("div", {class: "row"}, ...[["reading", ["plain", "elementwise"]], ["pairs", ["same", "different"]]].map(([name, words]) =>
    choice(name, words.map(word => [word, word]), chosen[name], take(name)))), html("div", {style: "overflow-x:auto"}, table), facts);

const shades = {"-1": ["#f7f7f7", "#d6604d", "#67001f"], 1: ["#f7f7f7", "#4393c3", "#053061"]}; // as in the figures
function cell(value, error) {
  const share = 2 * Math.min(Math.abs(value) / data.most, 1), half = Math.min(Math.floor(share), 1), [from, to] = shades[value < 0 ? -1 : 1].slice(half);
  const style = `background:color-mix(in srgb, ${to} ${100 * (share - half)}%, ${from});color:${share > 1 ? "#fff" : "#1d2730"}`;
  return html("td", {style}, value.toFixed(2).replace("-", "−"), ...(error === null ? [] : [html("br"), html("small", {}, `±${error.toFixed(2)}`)]));
}

function show() {
  const [matrix, errors] = data.measured[`${chosen.reading} ${chosen.pairs} ${chosen.frames}`][chosen.stage];
  const head = (i, scope) => html("th", {scope, style: `color:${ink(data.colours[i])}`}, html("span", {}, ...data.tasks[i].split(/(?<=_)/).flatMap(part => [part, html("wbr")])));
  table.replaceChildren(html("tr", {}, html("td"), ...data.tasks.map((_, i) => head(i, "col"))),
    ...matrix.map((row, i) => html("tr", {}, head(i, "row"), ...row.map((value, j) => cell(value, i === j ? null : errors[i][j])))));
  const couples = data.tasks.flatMap((_, i) => data.tasks.flatMap((_, j) => i < j ? [[i, j]] : []));
  const value = ([i, j]) => matrix[i][j], error = ([i, j]) => errors[i][j];
  const best = couples.reduce((a, b) => value(b) > value(a) ? b : a);
  tell(facts, [[`most alike: ${best.map(i => data.tasks[i]).join(" with ")}`, `${signed(value(best), 2)} ± ${error(best).toFixed(2)}`],
    ["pairs further than two errors from zero", `${couples.filter(c => Math.abs(value(c)) > 2 * error(c)).length} of ${couples.length}`],
    ["error of a pair, mean", (sum(couples.map(error)) / couples.length).toFixed(3)]]);
}
show();
