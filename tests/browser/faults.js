// What is wrong with how a widget in JupyterLab looks: what sticks out of its place and cannot be scrolled to, words that
// are cut off, what lies over something else, what is hard to read on the theme's ground.
widget => {
  const place = widget.closest(".jp-OutputArea-output").getBoundingClientRect();
  const told = (fault, nodes) => nodes.map(node => `${fault}: ${node.tagName} ${node.textContent.slice(0, 40)}`);
  const all = [...widget.querySelectorAll("*")].filter(node => node.getClientRects().length);
  const parts = all.filter(node =>
    node.matches("button, select, input, output, dt, dd, .widget-label, .widget-readout, .noUi-base"));

  const scrolls = node => node !== widget &&
    (getComputedStyle(node).overflowX !== "visible" || scrolls(node.parentElement));
  const out = all.filter(node => {
    const {left, right} = node.getBoundingClientRect();
    return (left < place.left - 1 || right > place.right + 1) && !scrolls(node.parentElement);
  });

  const cut = parts.filter(node => node.matches("button, dt, dd, .widget-label") && node.scrollWidth > node.clientWidth + 1);

  const over = parts.filter(one => parts.some(other => {
    if (one.contains(other) || other.contains(one)) return false;
    const a = one.getBoundingClientRect(), b = other.getBoundingClientRect();
    const shared = (from, to) => Math.min(a[to], b[to]) - Math.max(a[from], b[from]);
    return shared("left", "right") > 2 && shared("top", "bottom") > 2;
  }));

  const light = colour => colour.match(/[\d.]+/g).slice(0, 3).reduce((sum, part) => sum + Number(part), 0);
  const ground = light(getComputedStyle(widget.closest(".jp-NotebookPanel")).backgroundColor);
  const pale = parts.filter(node => node.matches("dt, dd, .widget-label") &&
    Math.abs(light(getComputedStyle(node).color) - ground) < 300);

  return [...told("out", out), ...told("cut", cut), ...told("over", over), ...told("pale", pale)];
}
