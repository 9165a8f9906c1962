'use strict';
// Joins the pictures of a report: what belongs to a step is shown wherever it is. All that names come through is textContent.
(() => {
  const facts = JSON.parse(document.getElementById('facts').textContent);
  const detail = document.getElementById('detail');
  const all = (selector, root = document) => Array.from(root.querySelectorAll(selector));
  const element = (tag, text) => {
    const made = document.createElement(tag);
    if (text !== undefined) made.textContent = text;
    return made;
  };
  all('.script, .zoom, #theme').forEach(each => { each.hidden = false; });

  document.getElementById('theme').addEventListener('click', () => {
    const root = document.documentElement;
    const dark = root.dataset.theme ? root.dataset.theme === 'dark' : matchMedia('(prefers-color-scheme: dark)').matches;
    root.dataset.theme = dark ? 'light' : 'dark';
  });

  // ---- one step

  const rate = (amount, ms, unit) => (ms > 0 ? (amount / ms / unit).toPrecision(3) : '-');
  const size = bytes => (bytes >= 1e6 ? (bytes / 1e6).toPrecision(3) + ' MB' : bytes >= 1e3 ? (bytes / 1e3).toPrecision(3) + ' kB' : bytes + ' B');

  function describe(number) {
    const step = facts.steps[number], list = element('dl'), floor = Math.max(step.moving_ms, step.products_ms);
    const rows = [
      ['result', step.name], ['computed by', step.tactic], ['launches', step.launches],
      ['time', step.ms.toPrecision(4) + ' ms, predicted ' + step.predicted_ms.toPrecision(3)],
      ['floor', floor.toPrecision(3) + ' ms, by ' + (step.products_ms > step.moving_ms ? 'compute' : 'memory')],
      ['arithmetic', (step.flops / 1e6).toPrecision(3) + ' MFLOP, ' + rate(step.flops, step.ms, 1e6) + ' GFLOP/s'],
      ['memory', size(step.bytes) + ', ' + rate(step.bytes, step.ms, 1e6) + ' GB/s'],
    ];
    for (const [name, value] of rows) list.append(element('dt', name), element('dd', value));
    const from = element('ul'), rules = element('p', step.rules.join(', ') || 'none');
    for (const [name, type] of step.from) from.append(element('li', name + ' (' + type + ')'));
    if (!step.from.length) from.append(element('li', 'nothing of the model\'s: a copy that what reads it needs'));
    detail.replaceChildren(element('h3', 'step ' + number + ': ' + step.op), list, element('b', 'from ' + step.from.length + ' ONNX nodes'), from,
      element('b', 'rules that applied there'), rules, element('b', 'site'), element('p'));
    detail.lastChild.append(element('code', step.site));
    detail.scrollTop = 0;
  }

  function centre(view, node) {
    const box = node.getBoundingClientRect(), frame = view.getBoundingClientRect();
    view.scrollTop += box.top - frame.top - (frame.height - box.height) / 2;
    view.scrollLeft += box.left - frame.left - (frame.width - box.width) / 2;
  }

  function show(number, from) {
    all('.on').forEach(each => each.classList.remove('on'));
    all('[data-s="' + number + '"]').forEach(each => each.classList.add('on'));
    for (const view of all('.view')) {
      const nodes = all('g.on[data-n]', view);
      for (const node of nodes)
        all('path[data-a="' + node.dataset.n + '"], path[data-b="' + node.dataset.n + '"]', view).forEach(each => each.classList.add('on'));
      if (nodes.length && !view.contains(from)) centre(view, nodes[0]);
    }
    describe(number);
  }

  document.addEventListener('click', event => {
    const at = event.target.closest('[data-s]');
    if (at && !dragged) show(Number(at.dataset.s), at);
  });

  // ---- looking around in a graph

  let dragged = false;

  function look(view) {
    const picture = view.querySelector('svg'), width = picture.viewBox.baseVal.width, height = picture.viewBox.baseVal.height;
    let scale = 1;
    const zoom = (to, x, y) => {
      to = Math.min(4, Math.max(0.02, to));
      const before = scale, left = view.scrollLeft + x, top = view.scrollTop + y;
      scale = to;
      picture.setAttribute('width', width * scale);
      picture.setAttribute('height', height * scale);
      view.scrollLeft = left * scale / before - x;
      view.scrollTop = top * scale / before - y;
    };
    const middle = to => zoom(to, view.clientWidth / 2, view.clientHeight / 2);
    const fit = () => middle(Math.min(view.clientWidth / width, view.clientHeight / height));
    const buttons = all('[data-for="' + view.id + '"] button');
    [() => middle(scale / 1.4), () => middle(scale * 1.4), fit].forEach((act, i) => {
      buttons[i].addEventListener('click', event => { event.preventDefault(); act(); });
    });
    view.addEventListener('wheel', event => {
      if (!event.ctrlKey) return;
      event.preventDefault();
      const frame = view.getBoundingClientRect();
      zoom(scale * Math.exp(-event.deltaY / 300), event.clientX - frame.left, event.clientY - frame.top);
    }, { passive: false });
    let held = null;
    view.addEventListener('pointerdown', event => {
      if (event.button === 0 && event.pointerType === 'mouse') held = [event.clientX, event.clientY, view.scrollLeft, view.scrollTop];
      dragged = false;
    });
    view.addEventListener('pointermove', event => {
      if (!held) return;
      const x = event.clientX - held[0], y = event.clientY - held[1];
      if (Math.abs(x) + Math.abs(y) > 4) dragged = true;
      view.classList.toggle('grab', dragged);
      view.scrollLeft = held[2] - x;
      view.scrollTop = held[3] - y;
    });
    for (const end of ['pointerup', 'pointerleave'])
      view.addEventListener(end, () => { held = null; view.classList.remove('grab'); });
    if (width > view.clientWidth) zoom(Math.max(view.clientWidth / width, 0.8), 0, 0);
    view.scrollLeft = (view.scrollWidth - view.clientWidth) / 2;
  }
  all('.view').forEach(look);

  if (facts.steps.length) {
    const dearest = facts.steps.reduce((best, step, i) => (step.ms > facts.steps[best].ms ? i : best), 0);
    show(dearest, null);
  }
})();
