// What the explorables share: elements, buttons, and a drawing that is made anew where its room changes.
const make = space => (tag, attributes = {}, ...children) => {
  const node = document.createElementNS(space, tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value); else node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
};
const html = make("http://www.w3.org/1999/xhtml"), svg = make("http://www.w3.org/2000/svg");
const sum = values => values.reduce((a, b) => a + b, 0);
const whole = value => Math.round(value).toLocaleString("en-US");
const percent = value => `${Math.round(100 * value)} %`;
const ink = colour => `color-mix(in srgb, ${colour} 50%, currentColor)`; // for words: dark on light, light on dark
const signed = (value, digits) => (value < 0 ? "−" : "+") + Math.abs(value).toFixed(digits);

// A row of buttons of which one is pressed: [words, value], ...; change is told the value.
function choice(words, options, start, change) {
  const row = html("div", {class: "choice", role: "group", "aria-label": words}, html("span", {}, words));
  const buttons = options.map(([text, value]) => {
    const button = html("button", {onclick: () => { press(value); change(value); }}, text);
    row.append(button);
    return [button, value];
  });
  const press = value => buttons.forEach(([button, own]) => button.setAttribute("aria-pressed", own === value));
  press(start);
  row.press = press;
  return row;
}

// A number with a button on each side, which walks through options; change is told the new one.
function stepper(words, options, start, change) {
  let place = options.indexOf(start);
  const shown = html("output", {}, start);
  const step = by => () => {
    if (!(place + by in options)) return;
    row.set(options[place + by]);
    change(options[place]);
  };
  const row = html("div", {class: "stepper", role: "group", "aria-label": words}, html("span", {}, words),
    html("button", {"aria-label": "less", onclick: step(-1)}, "−"), shown,
    html("button", {"aria-label": "more", onclick: step(1)}, "+"));
  row.set = value => { place = options.indexOf(value); shown.textContent = value; };
  return row;
}

// A menu of words; change is told the chosen ones.
function menu(words, options, start, change) {
  const list = html("select", {onchange: () => change(list.value)}, ...options.map(text => html("option", {value: text}, text)));
  const label = html("label", {}, `${words} `, list);
  label.set = value => { list.value = value; };
  label.set(start);
  return label;
}

// Calls draw(width) now and whenever the width changes; returns a function that calls it again.
function drawn(root, draw) {
  let width = 0;
  const again = () => width && draw(width);
  new ResizeObserver(([entry]) => {
    const found = Math.floor(entry.contentRect.width);
    if (found !== width) { width = found; again(); }
  }).observe(root);
  return again;
}

// Numbers under their names; whoever listens to the page hears which have changed.
function tell(facts, told) {
  facts.setAttribute("aria-live", "polite");
  facts.replaceChildren(...told.map(([name, value]) => html("div", {}, html("dt", {}, name), html("dd", {}, value))));
}

// Horizontal bars: rows of {name, parts: [[value, colour], ...], words}; `most` fills the width.
function bars(rows, most, mark) {
  return html("div", {class: "bars"}, ...rows.map(({name, parts, words}) => html("div", {class: "bar"}, html("span", {}, name),
    html("div", {class: "track"}, ...parts.map(([value, colour]) =>
      html("i", {style: `width:${100 * value / most}%;background:${colour}`})),
      ...(mark ? [html("u", {style: `left:${100 * mark / most}%`})] : [])), html("b", {}, words))));
}
