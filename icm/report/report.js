// What a reader can do with report.html: ask, sort, filter, point, choose, download. The page is whole without it.
(() => {
"use strict";

const data = JSON.parse(document.getElementById("data").textContent);
const {points, series, subjects, measures} = data;
const $ = (id) => document.getElementById(id);
const all = (selector, root = document) => [...root.querySelectorAll(selector)];
const MINUS = "\u2212", DASH = "\u2013", PAGE = 8;
const state = {
  measure: data.privacy[0], recogniser: 0, rate: data.start, attack: "", utility: 0, hidden: new Set(), point: null,
  order: "exposed", first: 0,
};

// Elements and numbers ------------------------------------------------------------------------------------------------

function make(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "style") node.style.cssText = value;
    else if (value !== null && value !== false) node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null));
  return node;
}
const el = (tag, attributes = {}, ...children) => make(document.createElement(tag), attributes, children);
const svg = (tag, attributes = {}, ...children) =>
  make(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);

// As Python writes it: a true minus sign, and an exact half goes to the even digit.
function fmt(x, digits, sign = false) {
  if (x === null || x === undefined) return DASH;
  let text = Math.abs(x).toFixed(digits);
  const scaled = Math.abs(x) * 10 ** digits;
  if (scaled % 1 === 0.5 && (x * 2 ** (digits + 1)) % 1 === 0) {
    text = (2 * Math.round(scaled / 2) / 10 ** digits).toFixed(digits);
  }
  return (x < 0 || Object.is(x, -0) ? MINUS : sign ? "+" : "") + text;
}
const interval = (low, high, digits, sign) =>
  low === null || high === null ? "" : `[${fmt(low, digits, sign)}, ${fmt(high, digits, sign)}]`;
const rateText = (bpp) => bpp.toFixed(3).replace(/0+$/, "").replace(/\.$/, "");
const listed = (names) =>
  names.length === 1 ? names[0] : `${names.slice(0, -1).join(", ")} and ${names[names.length - 1]}`;
const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);

function fill(select, options, chosen) {
  select.replaceChildren(...options.map(([value, text]) => el("option", {value}, text)));
  select.value = chosen;
  if (select.selectedIndex < 0) select.selectedIndex = 0;
  select.closest("label").hidden = options.length < 2;
}

function swatch(index) {
  return el("span", {class: "swatch", style: `background:${series[index].color}`});
}

// The answer ----------------------------------------------------------------------------------------------------------

const answersOf = (measure, recogniser) => (data.answers[measure] || {})[recogniser] || [];

// The same words as icm/report/findings.py.
function answer(places) {
  const {title, digits, lower} = measures[state.measure];
  let head = `At ${rateText(data.rates[state.rate])} bpp`;
  if (!places.length) return `${head}, no codec was measured.`;
  if (data.severalAttacks) head += " and against the strongest attack";
  const [first, next] = places, name = (place) => series[place[0]].name, who = data.recognisers[state.recogniser];
  const limits = interval(first[3], first[4], digits);
  const shown = `${title} ${fmt(first[2], digits)}${limits && ` ${limits}`}${who && ` under ${who}`}`;
  if (!next) return `${head}, only ${name(first)} was measured: ${shown}.`;
  if (areSame(places, digits)) return `${head}, no codec can be told from another: ${shown}, for every one.`;
  const word = lower ? "lower" : "higher";
  let gap = `${word} (${next[8]})`;
  if (next[5] !== null) {
    const turned = next.slice(5, 8).map((x) => (x === null ? null : (lower ? x : -x) + 0));
    const [low, high] = lower ? turned.slice(1) : turned.slice(1).reverse();
    gap = `${fmt(turned[0], digits)} ${interval(low, high, digits) || "(no interval)"} ${word}`;
  }
  const best = `${head}, ${name(first)} protects best: ${shown}, ${gap} than ${name(next)}, the next.`;
  const tied = places.slice(1).filter(isTied).map(name);
  return tied.length ? `${best} ${listed(tied)} cannot be told apart from it.` : best;
}

const isTied = (place) => place[6] !== null && place[6] <= 0 && place[7] >= 0;

function agreement() {
  const ranked = Object.values(data.answers[state.measure] || {}).map((found) => found[state.rate]).filter((p) => p.length);
  if (ranked.length < 2) return "";
  const first = ranked[0][0][0], count = ranked.filter((places) => places[0][0] === first).length;
  return `${series[first].name} is first under ${count} of ${ranked.length} recognisers.`;
}

const areSame = (places, digits) => places.length > 1 && new Set(places.map((place) => fmt(place[2], digits))).size === 1;

function silent() {
  return data.privacy.filter((m) => m !== state.measure && data.headlines.includes(m)).map((m) => {
    const {title, digits} = measures[m], places = answersOf(m, state.recogniser)[state.rate] || [];
    return areSame(places, digits) ? `${capital(title)} is ${fmt(places[0][2], digits)} for every codec here.` : "";
  }).filter(Boolean).join(" ");
}

function drawAnswer() {
  if (!$("ranking")) return;
  const {digits, title} = measures[state.measure];
  const places = (answersOf(state.measure, state.recogniser)[state.rate]) || [];
  $("sentence").textContent = answer(places);
  $("agreement").textContent = [agreement(), silent()].filter(Boolean).join(" ");
  $("ranking-measure").textContent = title;
  $("rate").setAttribute("aria-valuetext", `${rateText(data.rates[state.rate])} bits per pixel`);
  $("ranking").tBodies[0].replaceChildren(...places.map((place, index) => {
    const [of, subject, value, low, high, gap, gapLow, gapHigh, reason] = place;
    const verdict = index === 0 ? el("span", {class: "best"}, "first")
      : gapLow === null ? "no interval" : isTied(place) ? el("span", {class: "same"}, "no") : "yes";
    return el("tr", {},
      el("td", {}, swatch(of), series[of].name),
      el("td", {}, fmt(value, digits), el("small", {}, interval(low, high, digits))),
      data.severalAttacks ? el("td", {}, subjects[subject].attackTitle) : null,
      index === 0 || gap === null ? el("td", {}, reason || "")
        : el("td", {}, fmt(gap, digits, true), el("small", {}, interval(gapLow, gapHigh, digits, true))),
      el("td", {class: "text"}, verdict));
  }), ...unrated().map(({title, subject, found}, index) => el("tr", index ? {} : {class: "first"},
    el("td", {}, title),
    el("td", {}, fmt(found[0], digits), el("small", {}, interval(found[1], found[2], digits))),
    data.severalAttacks ? el("td", {}, subjects[subject].attackTitle) : null, el("td"), el("td", {class: "text"}))));
}

// As icm.report.equal_rate.unrated.
function unrated() {
  const sign = measures[state.measure].lower ? 1 : -1;
  return points.flatMap((point, index) => {
    if (!point.ceiling) return [];
    const best = strongest(state.measure, index, () => true);
    return best ? [{title: point.title, subject: best[0], found: best[1]}] : [];
  }).sort((a, b) => sign * (a.found[0] - b.found[0]));
}

function nearestRate(bpp) {
  const gaps = data.rates.map((rate) => Math.abs(Math.log(rate / bpp)));
  return gaps.indexOf(Math.min(...gaps));
}

// What a point has ----------------------------------------------------------------------------------------------------

const estimate = (measure, subject, point) =>
  measure === null ? null : ((data.estimates[measure][subject] || [])[point] || null);

// The subjects that are the chosen recogniser under the chosen attack; under all of them for the strongest.
function chosen(measure) {
  return subjects.map((subject, index) => index).filter((index) => data.estimates[measure][index]
    && subjects[index].recogniser === state.recogniser && (!state.attack || subjects[index].attack === state.attack));
}

// [subject, [value, low, high]] under the attack that does best against a point; null without a number.
function strongest(measure, point, kept) {
  const sign = measures[measure].lower ? 1 : -1;
  const found = subjects.flatMap((subject, s) => {
    const each = subject.recogniser === state.recogniser && kept(subject) ? estimate(measure, s, point) : null;
    return each ? [[s, each]] : [];
  });
  return found.reduce((best, each) => (best && sign * each[1][0] <= sign * best[1][0] ? best : each), null);
}

const exposure = (measure, point) => strongest(measure, point, ({attack}) => !state.attack || attack === state.attack);

const visible = (point) => !state.hidden.has(points[point].series);
const better = (measure) => `${measures[measure].lower ? "lower" : "higher"} is ${measures[measure].private ? "more private" : "more useful"}`;

// Plots ---------------------------------------------------------------------------------------------------------------

const MARKERS = {
  o: (r) => `M${-r} 0a${r} ${r} 0 1 0 ${2 * r} 0a${r} ${r} 0 1 0 ${-2 * r} 0z`,
  s: (r) => `M${-r * .9} ${-r * .9}h${r * 1.8}v${r * 1.8}h${-r * 1.8}z`,
  D: (r) => `M0 ${-r * 1.2}L${r * 1.2} 0L0 ${r * 1.2}L${-r * 1.2} 0z`,
  "^": (r) => `M0 ${-r * 1.15}L${r * 1.1} ${r * .9}H${-r * 1.1}z`,
  v: (r) => `M0 ${r * 1.15}L${r * 1.1} ${-r * .9}H${-r * 1.1}z`,
  P: (r) => `M${-r * .4} ${-r * 1.1}h${r * .8}v${r * .7}h${r * .7}v${r * .8}h${-r * .7}v${r * .7}h${-r * .8}v${-r * .7}h${-r * .7}v${-r * .8}h${r * .7}z`,
  "*": (r) => [...Array(10).keys()].map((k) => {
    const a = Math.PI * (k / 5 - .5), q = k % 2 ? r * .55 : r * 1.35;
    return `${k ? "L" : "M"}${(q * Math.cos(a)).toFixed(2)} ${(q * Math.sin(a)).toFixed(2)}`;
  }).join("") + "z",
  X: (r) => `M${-r} ${-r * .5}L${-r * .5} ${-r}L0 ${-r * .5}L${r * .5} ${-r}L${r} ${-r * .5}L${r * .5} 0L${r} ${r * .5}L${r * .5} ${r}L0 ${r * .5}L${-r * .5} ${r}L${-r} ${r * .5}L${-r * .5} 0z`,
};
const tickText = (x) => (x !== 0 && Math.abs(x) < .001 ? x.toExponential(0) : String(x)).replace("-", MINUS);
const dashes = (index) => series[index].dashes.map((length) => length * 1.6).join(" ") || null;

function niceTicks(low, high, count) {
  const raw = (high - low) / count, unit = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((factor) => factor * unit).find((size) => size >= raw);
  const ticks = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + step * 1e-9; k++) ticks.push(Number((k * step).toPrecision(6)));
  return ticks;
}

function logTicks(low, high, count) {
  let ticks = [];
  for (const factors of [[1, 2, 3, 5], [1, 2, 5], [1, 3], [1]]) {
    ticks = [];
    for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++) {
      for (const factor of factors) ticks.push(Number((factor * 10 ** power).toPrecision(3)));
    }
    ticks = ticks.filter((tick) => tick >= low * .999 && tick <= high * 1.001);
    if (ticks.length <= count) break;
  }
  return ticks;
}

function scale(values, log, from, to, room) {
  const map = log ? Math.log : (x) => x;
  let low = Math.min(...values.map(map)), high = Math.max(...values.map(map));
  const margin = (high - low || Math.abs(high) * .1 || 1) * .06;
  low -= margin; high += margin;
  const at = (x) => from + (map(x) - low) / (high - low) * (to - from);
  const count = Math.max(2, Math.floor(Math.abs(to - from) / room));
  at.ticks = log ? logTicks(Math.exp(low), Math.exp(high), count) : niceTicks(low, high, count);
  return at;
}

// lines: [{series, xy: [[x, y]...], dash, area, dots: [{point, x, y, low, high, text}]}]; ceilings: [{series, y}]; at: an x.
function chart(figure, {x, y, lines, ceilings = [], front = [], at = null, empty = "No number for this choice."}) {
  const box = figure.querySelector(".drawn");
  const xs = lines.flatMap((line) => line.xy.map(([a]) => a)), ys = lines.flatMap((line) => line.xy.map(([, b]) => b));
  for (const line of lines) for (const dot of line.dots || []) ys.push(dot.low, dot.high);
  for (const ceiling of ceilings) ys.push(ceiling.y);
  if (!xs.length) {
    box.replaceChildren(el("p", {class: "note"}, empty));
    return;
  }
  const width = Math.max(260, box.clientWidth || 400), height = Math.round(Math.min(330, Math.max(230, width * .68)));
  ys.push(...(y.include || []));
  const right = width - 10, top = 10, bottom = height - 40, sy = scale(ys, y.log, bottom, top, 38);
  const left = 30 + 7 * Math.max(...sy.ticks.map((tick) => tickText(tick).length), 2), sx = scale(xs, x.log, left, right, 58);
  const picture = svg("svg", {class: "chart", viewBox: `0 0 ${width} ${height}`, role: "group",
                              "aria-label": `${y.label} against ${x.label}`});
  for (const tick of sy.ticks) {
    picture.append(svg("line", {class: "grid", x1: left, x2: right, y1: sy(tick), y2: sy(tick)}),
                   svg("text", {x: left - 6, y: sy(tick) + 4, "text-anchor": "end"}, tickText(tick)));
  }
  for (const tick of sx.ticks.filter((value) => !x.whole || Number.isInteger(value))) {
    picture.append(svg("line", {class: "axis", x1: sx(tick), x2: sx(tick), y1: bottom, y2: bottom + 4}),
                   svg("text", {x: sx(tick), y: bottom + 17, "text-anchor": "middle"}, tickText(tick)));
  }
  picture.append(svg("line", {class: "axis", x1: left, x2: right, y1: bottom, y2: bottom}),
    svg("text", {x: (left + right) / 2, y: height - 5, "text-anchor": "middle"}, x.label),
    svg("text", {x: 12, y: (top + bottom) / 2, "text-anchor": "middle", transform: `rotate(-90 12 ${(top + bottom) / 2})`}, y.label));
  if (at !== null && sx(at) >= left && sx(at) <= right) {
    picture.append(svg("line", {class: "at", x1: sx(at), x2: sx(at), y1: top, y2: bottom}));
  }
  if (front.length > 1) {
    const steps = front.map(([a, b], k) => (k ? `V${sy(b)}H${sx(a)}` : `M${sx(a)} ${sy(b)}`)).join("");
    picture.append(svg("path", {class: "pareto", d: steps}));
  }
  for (const {series: of, y: at} of ceilings) {
    picture.append(svg("line", {x1: left, x2: right, y1: sy(at), y2: sy(at), stroke: series[of].color, "stroke-dasharray": "5 4"},
                       svg("title", {}, series[of].name)));
  }
  for (const line of lines) {
    const color = series[line.series].color;
    const path = line.xy.map(([a, b], k) => `${k ? "L" : "M"}${sx(a).toFixed(1)} ${sy(b).toFixed(1)}`).join("");
    picture.append(svg("path", {d: path, fill: line.area ? color : "none", "fill-opacity": .18, stroke: color, "stroke-width": 1.8,
                                "stroke-dasharray": line.dash === undefined ? dashes(line.series) : line.dash},
                       svg("title", {}, line.title || series[line.series].name)));
    for (const dot of line.dots || []) {
      if (dot.high > dot.low) {
        picture.append(svg("path", {d: `M${sx(dot.x)} ${sy(dot.low)}V${sy(dot.high)}m-3 0h6M${sx(dot.x) - 3} ${sy(dot.low)}h6`,
                                    stroke: color, "stroke-width": 1.2, fill: "none"}));
      }
    }
  }
  // Dots last, so that nothing covers them.
  for (const line of lines) for (const dot of line.dots || []) picture.append(dotOf(line, dot, sx(dot.x), sy(dot.y)));
  box.replaceChildren(picture);
}

function dotOf(line, dot, cx, cy) {
  const node = svg("path", {
    d: MARKERS[series[line.series].marker](5), transform: `translate(${cx.toFixed(1)} ${cy.toFixed(1)})`,
    fill: series[line.series].color, tabindex: 0, role: "button", "data-p": dot.point,
    "aria-label": dot.text.replace(/\n/g, ", "),
    class: `dot${dot.front ? " front" : ""}${state.point === dot.point ? " picked" : ""}`,
  });
  const show = () => { highlight(dot.point); tip(node, dot.text); };
  const hide = () => { highlight(null); $("tip").hidden = true; };
  node.addEventListener("pointerenter", show);
  node.addEventListener("focus", show);
  node.addEventListener("pointerleave", hide);
  node.addEventListener("blur", hide);
  node.addEventListener("click", () => pick(dot.point));
  node.addEventListener("keydown", (event) => {
    if (event.key === "Enter" || event.key === " ") { event.preventDefault(); pick(dot.point); }
    if (event.key === "Escape") hide();
  });
  return node;
}

function tip(node, text) {
  const box = node.getBoundingClientRect(), shown = $("tip");
  shown.textContent = text;
  shown.hidden = false;
  const x = Math.min(Math.max(4, box.x + box.width / 2 - shown.offsetWidth / 2), innerWidth - shown.offsetWidth - 4);
  const above = box.y - shown.offsetHeight - 8;
  shown.style.left = `${x}px`;
  shown.style.top = `${above > 4 ? above : box.y + box.height + 8}px`;
}

function highlight(point) {
  for (const node of all("[data-p]")) node.classList.toggle("on", node.getAttribute("data-p") === String(point));
}

const utilities = measures.flatMap((measure, m) => (measure.private ? [] : subjects
  .map((subject, s) => ({m, s, text: [measure.title, subject.title].filter(Boolean).join(", ")}))
  .filter(({s}) => data.estimates[m][s])));

function numberText(measure, found) {
  const {title, digits} = measures[measure];
  return `${title} ${fmt(found[0], digits)} ${interval(found[1], found[2], digits)}`.trim();
}

function pointText(point, exposed, useful) {
  const lines = [points[point].title, `${fmt(points[point].bpp, 3)} bpp`];
  if (exposed) lines.push(`${numberText(state.measure, exposed[1])}, ${subjects[exposed[0]].title}`);
  if (useful) lines.push(numberText(utilities[state.utility].m, useful));
  return lines.join("\n");
}

function drawPlots() {
  const m = state.measure, utility = utilities[state.utility];
  const rows = points.map((point, index) => ({
    index, point, exposed: m === undefined ? null : exposure(m, index), useful: utility ? estimate(utility.m, utility.s, index) : null,
  })).filter(({index}) => visible(index));
  const front = paretoFront(rows);
  const lines = (value, x, kept) => series.map((_, of) => {
    const own = rows.filter((row) => row.point.series === of && value(row) && kept(row));
    const dots = own.map((row) => {
      const [y, low, high] = value(row);
      return {point: row.index, x: x(row), y, low: low === null ? y : low, high: high === null ? y : high,
              text: pointText(row.index, row.exposed, row.useful), front: front.includes(row)};
    });
    return {series: of, dots, xy: dots.map((dot) => [dot.x, dot.y])};
  }).filter((line) => line.dots.length);
  const ceilings = (value) => rows.filter((row) => row.point.ceiling && value(row))
    .map((row) => ({series: row.point.series, y: value(row)[0]}));
  const exposed = (row) => row.exposed && row.exposed[1], useful = (row) => row.useful, bpp = (row) => row.point.bpp;
  const coded = (row) => !row.point.ceiling;
  const rate = {label: "bits per pixel", log: true}, at = $("ranking") ? data.rates[state.rate] : null;
  const named = (figure, text) => { figure.querySelector("figcaption").textContent = text; };
  const who = data.recognisers[state.recogniser];
  if ($("plot-privacy")) {
    named($("plot-privacy"), `${capital(measures[m].title)}${who && `, ${who}`} (${better(m)})`);
    chart($("plot-privacy"), {x: rate, at, y: {label: measures[m].axis}, lines: lines(exposed, bpp, coded), ceilings: ceilings(exposed)});
  }
  if ($("plot-utility") && utility) {
    named($("plot-utility"), `${capital(utility.text)} (${better(utility.m)})`);
    chart($("plot-utility"), {x: rate, at, y: {label: measures[utility.m].axis}, lines: lines(useful, bpp, coded), ceilings: ceilings(useful)});
  }
  if ($("plot-both") && utility) {
    named($("plot-both"), `${capital(measures[m].title)} against ${utility.text}`);
    chart($("plot-both"), {
      x: {label: measures[utility.m].axis}, y: {label: measures[m].axis},
      lines: lines(exposed, (row) => row.useful[0], (row) => row.useful),
      front: front.map((row) => [row.useful[0], row.exposed[1][0]]).sort((a, b) => a[0] - b[0]),
    });
  }
  drawRecognition();
}

// As icm.report.equal_rate.pareto_front.
function paretoFront(rows) {
  const utility = utilities[state.utility];
  if (!utility || state.measure === undefined) return [];
  const good = (measure, value) => (measures[measure].lower ? -value : value);
  const goods = rows.filter((row) => !row.point.ceiling && row.exposed && row.useful)
    .map((row) => ({row, p: good(state.measure, row.exposed[1][0]), u: good(utility.m, row.useful[0])}));
  return goods.filter(({p, u}) => !goods.some((o) => o.p >= p && o.u >= u && (o.p !== p || o.u !== u))).map(({row}) => row);
}

// DET, CMC and distributions of the chosen point, and of each codec's point nearest to the rate of the answer.
function drawRecognition() {
  const wanted = new Set(state.point === null ? [] : [state.point]);
  for (let of = 0; of < series.length; of++) {
    const own = points.map((_, index) => index).filter((p) => points[p].series === of && visible(p) && !points[p].ceiling);
    const far = (p) => Math.abs(Math.log(points[p].bpp / (data.rates[state.rate] || 1)));
    if (own.length) wanted.add(own.reduce((a, b) => (far(b) < far(a) ? b : a)));
  }
  // The strongest attack may be another one for each point: by default the plain one, the first measured.
  const subject = state.measure === undefined ? -1 : chosen(state.measure)[0];
  const shown = data.curves.filter((curve) => wanted.has(curve.point) && curve.subject === subject);
  $("recognition").hidden = !data.curves.length;
  const of = (curve) => ({series: points[curve.point].series, title: points[curve.point].title});
  const zip = (curve) => curve.x.map((x, k) => [x, curve.y[k]]);
  const positive = (xy) => xy.filter(([x, y]) => x > 0 && y > 0);
  if (!data.curves.length) return;
  const det = shown.filter((c) => c.kind === "det");
  chart($("plot-det"), {x: {label: "false match rate", log: true}, y: {label: "false non-match rate", log: true},
    empty: det.length ? "Not one comparison is wrong at any threshold: there is no error to draw." : undefined,
    lines: det.map((c) => ({...of(c), xy: positive(zip(c))})).filter((line) => line.xy.length)});
  chart($("plot-cmc"), {x: {label: "rank", whole: true}, y: {label: "identification rate", include: [0, 1]},
    lines: shown.filter((c) => c.kind === "cmc").map((c) => ({...of(c), xy: zip(c)}))});
  const single = state.point !== null ? state.point : shown.length ? shown[0].point : null;
  const stairs = (c) => c.y.flatMap((y, k) => [[c.x[k], y], [c.x[k + 1], y]]);
  const closed = (xy) => [[xy[0][0], 0], ...xy, [xy[xy.length - 1][0], 0]];
  chart($("plot-scores"), {x: {label: "similarity"}, y: {label: "density"},
    lines: shown.filter((c) => c.point === single && (c.kind === "genuine" || c.kind === "impostor")).map((c) => ({
      ...of(c), title: `${points[c.point].title}, ${c.kind}`, xy: closed(stairs(c)), area: c.kind === "genuine",
      dash: c.kind === "genuine" ? null : "3 3"}))});
  $("plot-scores").querySelector("figcaption").textContent =
    `Genuine (filled) and impostor similarities${single === null ? "" : `: ${points[single].title}`}`;
}

// Faces ---------------------------------------------------------------------------------------------------------------

const cells = points.length + 1;
function picture(face, cell, text) {
  const shown = data.faces[face].shown[cell];
  return el("div", shown ? {
    class: `pic s${face}`, role: "img", "aria-label": text,
    style: `background-size:${cells * 100}% 100%;background-position:${(100 * cell / (cells - 1)).toFixed(4)}% 0`,
  } : {class: "pic none"}, shown ? "" : "no crop");
}

const faceName = (face) => [data.faces[face].image, " ", el("span", {}, `face ${data.faces[face].number}`)];

// A face's own value at a point, under the attack that exposes it most among the chosen ones.
function faceScore(face, point) {
  if (data.faceMeasure === null) return null;
  const lower = measures[data.faceMeasure].lower;
  const found = chosen(data.faceMeasure).map((s) => (data.scores[s][point] || [])[face]).filter((v) => v !== null && v !== undefined);
  return found.length ? (lower ? Math.max(...found) : Math.min(...found)) / 10 ** measures[data.faceMeasure].digits : null;
}
const scoreText = (face, point) => (data.faceMeasure === null ? "" : fmt(faceScore(face, point), measures[data.faceMeasure].digits));

// Faces from the most exposed to the best protected, at one point or over all visible ones.
function exposedFirst(point) {
  const over = point !== null ? [point] : points.map((_, p) => p).filter((p) => visible(p) && !points[p].ceiling);
  const sign = data.faceMeasure !== null && !measures[data.faceMeasure].lower ? -1 : 1;
  const mean = data.faces.map((_, face) => {
    const found = over.map((p) => faceScore(face, p)).filter((value) => value !== null);
    return found.length ? sign * found.reduce((a, b) => a + b, 0) / found.length : -Infinity;
  });
  return data.faces.map((_, face) => face).sort((a, b) => mean[b] - mean[a] || a - b);
}

function drawFaces() {
  if (!$("gallery") || !data.faces.length) return;
  let order = data.faces.map((_, face) => face);
  if (state.order !== "file") order = exposedFirst(state.point);
  if (state.order === "protected") order.reverse();
  const page = order.slice(state.first, state.first + PAGE);
  const shown = points.map((_, p) => p).filter(visible);
  $("gallery").replaceChildren(...page.map((face) => el("article", {class: "face", "data-face": face},
    el("h3", {}, ...faceName(face)),
    el("div", {class: "crops", tabindex: 0},
      el("div", {class: "crop original"}, picture(face, 0, "original face"), el("b", {}, "Original")),
      ...shown.map((p) => el("div", {class: `crop${p === state.point ? " picked" : ""}`},
        picture(face, p + 1, `face coded by ${points[p].title}`),
        el("b", {}, swatch(points[p].series), points[p].title), `${fmt(points[p].bpp, 3)} bpp`, el("br"), scoreText(face, p)))))));
  $("where").textContent = `${state.first + 1}${DASH}${state.first + page.length} of ${order.length}`;
  $("back").disabled = state.first === 0;
  $("forward").disabled = state.first + PAGE >= order.length;
}

function pick(point) {
  state.point = state.point === point ? null : point;
  state.first = 0;
  drawPicked();
  drawPlots();
  drawFaces();
  if (state.point !== null) $("picked").scrollIntoView({block: "nearest"});
}

function drawPicked() {
  const box = $("picked"), point = state.point;
  box.hidden = point === null;
  if (point === null) return;
  const utility = utilities[state.utility];
  const lines = pointText(point, state.measure === undefined ? null : exposure(state.measure, point),
                          utility ? estimate(utility.m, utility.s, point) : null).split("\n");
  const order = exposedFirst(point), ends = [...new Set([...order.slice(0, 4), ...order.slice(-4)])];
  const close = el("button", {type: "button"}, "Close");
  close.addEventListener("click", () => pick(point));
  box.replaceChildren(
    el("div", {class: "head", style: "margin-top:0"}, el("h3", {}, swatch(points[point].series), lines[0]), close),
    el("p", {class: "note"}, lines.slice(1).join("; "), data.faces.length ? ". The most exposed faces and the best protected, original and coded:" : ""),
    el("div", {class: "pairs"}, ...ends.map((face) => el("div", {class: "pair", "data-face": face},
      el("div", {}, picture(face, 0, "original face"), picture(face, point + 1, `face coded by ${points[point].title}`)),
      `${scoreText(face, point)} `, ...faceName(face)))));
}

// Tables --------------------------------------------------------------------------------------------------------------

function sortable(table) {
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    const button = el("button", {type: "button"}, ...head.childNodes);
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const key = (row) => {
        const cell = row.cells[column], text = cell.firstChild ? cellText(cell) : "";
        const value = cell.dataset.v !== undefined ? Number(cell.dataset.v) : Number.parseFloat(text.replace(MINUS, "-").replace("+", ""));
        return head.classList.contains("text") || column === 0 ? text : Number.isNaN(value) ? null : value;
      };
      const rows = [...table.tBodies[0].rows].map((row) => [key(row), row]);
      // What has no number stands last either way.
      rows.sort(([a], [b]) => (a === null || b === null ? (a === null) - (b === null)
        : (typeof a === "string" ? a.localeCompare(b, "en", {numeric: true}) : a - b) * (down ? -1 : 1)));
      table.tBodies[0].append(...rows.map(([, row]) => row));
    });
  });
}

function cellText(cell) {
  return [...cell.childNodes].filter((node) => node.nodeName !== "SMALL").map((node) => node.textContent).join("").trim();
}

function filterTables() {
  const [task, measure, recogniser, attack] = ["task", "measure", "recogniser", "attack"].map((name) => $(`filter-${name}`).value);
  for (const section of all(".measure")) {
    section.hidden = Boolean((task && section.dataset.task !== task) || (measure && section.dataset.measure !== measure));
  }
  for (const table of all("#tables table")) {
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      const off = Boolean((recogniser && head.dataset.recogniser && head.dataset.recogniser !== recogniser)
        || (attack && head.dataset.attack && head.dataset.attack !== attack));
      head.hidden = off;
      for (const row of table.tBodies[0].rows) row.cells[column].hidden = off;
    });
    for (const row of table.tBodies[0].rows) {
      row.hidden = Boolean(state.hidden.has(Number(row.dataset.series)) || (measure && row.dataset.measure && row.dataset.measure !== measure));
    }
  }
}

const quoted = (text) => (/[",\n\r]/.test(text) ? `"${text.replace(/"/g, '""')}"` : text);

// What a table shows, its numbers with six decimals, an interval in columns of its own.
function csvOf(table) {
  const rows = [...table.tBodies[0].rows].filter((row) => !row.hidden);
  const columns = [...table.tHead.rows[0].cells].flatMap((head, index) => {
    if (head.hidden) return [];
    const more = ["total", "low", "high"].filter((name) => rows.some((row) => row.cells[index].dataset[name] !== undefined));
    const small = !more.length && table.id === "table-images" && index > 2 ? ["psnr"] : [];
    const title = cellText(head.querySelector("button") || head);
    return [[title, (cell) => cell.dataset.v ?? cellText(cell).replace(MINUS, "-")],
            ...more.map((name) => [`${title} ${name}`, (cell) => cell.dataset[name] ?? ""]),
            ...small.map((name) => [`${title} ${name}`, (cell) => cell.querySelector("small")?.textContent ?? ""])]
      .map(([name, read]) => [name, (row) => read(row.cells[index])]);
  });
  const lines = [columns.map(([name]) => name), ...rows.map((row) => columns.map(([, read]) => read(row).replace(DASH, "")))];
  return lines.map((line) => line.map(quoted).join(",") + "\n").join("");
}

function download(name, text) {
  const link = el("a", {href: URL.createObjectURL(new Blob([text], {type: "text/csv"})), download: name});
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

// Controls ------------------------------------------------------------------------------------------------------------

function recognisersOf(measure) {
  const found = new Set(subjects.filter((_, s) => data.estimates[measure][s]).map((subject) => subject.recogniser));
  return [...found].map((index) => [index, data.recognisers[index] || measures[measure].title]);
}

function drawAttacks() {
  if (state.measure === undefined) return;
  const own = subjects.filter((subject, s) => data.estimates[state.measure][s] && subject.recogniser === state.recogniser);
  const attacks = own.map((subject) => [subject.attack, subject.attackTitle]);
  fill($("attack"), attacks.length > 1 ? [["", "the strongest of each"], ...attacks] : attacks, state.attack);
  state.attack = attacks.length > 1 ? $("attack").value : "";
}

function draw() {
  drawAnswer();
  drawAttacks();
  drawPlots();
  drawPicked();
  drawFaces();
}

function listen(id, event, change) {
  if ($(id)) $(id).addEventListener(event, () => { change($(id)); draw(); });
}

function start() {
  document.documentElement.classList.add("js");
  if (state.measure !== undefined) {
    state.recogniser = Number(recognisersOf(state.measure)[0][0]);
    if ($("question")) {
      fill($("measure"), data.privacy.map((m) => [m, measures[m].title]), state.measure);
      fill($("recogniser"), recognisersOf(state.measure), state.recogniser);
      $("rate").value = state.rate;
    }
  }
  for (const form of all("form")) form.addEventListener("submit", (event) => event.preventDefault());
  listen("rate", "input", (rate) => { state.rate = Number(rate.value); $("bpp").value = rateText(data.rates[state.rate]); });
  listen("bpp", "change", (bpp) => {
    if (Number(bpp.value) > 0) state.rate = nearestRate(Number(bpp.value));
    bpp.value = rateText(data.rates[state.rate]);
    $("rate").value = state.rate;
  });
  listen("measure", "change", (select) => {
    state.measure = Number(select.value);
    fill($("recogniser"), recognisersOf(state.measure), state.recogniser);
    state.recogniser = Number($("recogniser").value);
  });
  listen("recogniser", "change", (select) => { state.recogniser = Number(select.value); });
  listen("attack", "change", (select) => { state.attack = select.value; });
  listen("utility", "change", (select) => { state.utility = Number(select.value); });
  fill($("utility"), utilities.map(({text}, index) => [index, text]), state.utility);

  $("codecs").append(...series.map(({name, color, marker}, index) => {
    const box = el("input", {type: "checkbox", value: index});
    box.checked = true;
    box.addEventListener("change", () => {
      state.hidden[box.checked ? "delete" : "add"](index);
      state.first = 0;
      if (state.point !== null && !visible(state.point)) state.point = null;
      draw();
      filterTables();
    });
    const ceiling = points.every((point) => point.series !== index || point.ceiling);
    return el("label", {class: "chip"}, box, svg("svg", {viewBox: "0 0 34 14", "aria-hidden": "true"},
      svg("line", {x1: 0, x2: 34, y1: 7, y2: 7, stroke: color, "stroke-width": 2, "stroke-dasharray": ceiling ? "5 4" : dashes(index)}),
      svg("path", {d: MARKERS[marker](5), fill: color, transform: "translate(17 7)"})), name);
  }));

  const any = (noun) => ["", `every ${noun}`];
  const unique = (values) => [...new Set(values.filter(Boolean))];
  const shown = all(".measure").map((section) => section.dataset);
  fill($("filter-task"), [any("task"), ...unique(shown.map(({task}) => task)).map((task) => [task, task])], "");
  const offered = () => {
    const own = shown.filter(({task}) => !$("filter-task").value || task === $("filter-task").value).map(({measure}) => measure);
    return [any("measure"), ...measures.filter(({key}) => own.includes(key)).map(({key, title}) => [key, title])];
  };
  // Many tables at once are no help: one is shown, the others are offered.
  fill($("filter-measure"), offered(), shown.length > 3 && data.privacy.length ? measures[data.privacy[0]].key : "");
  fill($("filter-recogniser"), [any("recogniser"), ...unique(subjects.map((s) => s.embedder || s.model)).map((name) => {
    const subject = subjects.find((s) => (s.embedder || s.model) === name);
    return [name, data.recognisers[subject.recogniser]];
  })], "");
  fill($("filter-attack"), [any("attack"), ...unique(subjects.map((s) => s.attack)).map((name) =>
    [name, subjects.find((s) => s.attack === name).attackTitle])], "");
  $("filter-task").addEventListener("change", () => fill($("filter-measure"), offered(), ""));
  for (const name of ["task", "measure", "recogniser", "attack"]) $(`filter-${name}`).addEventListener("change", filterTables);
  all("table.sortable").forEach(sortable);
  for (const button of all("[data-csv]")) {
    button.addEventListener("click", () => download(`${button.dataset.csv}.csv`, csvOf($(button.dataset.csv))));
  }
  $("table-csv").addEventListener("click", () => download("table.csv", data.table));

  if ($("gallery")) {
    const turn = (by) => { state.first = Math.max(0, state.first + by); drawFaces(); };
    $("back").addEventListener("click", () => turn(-PAGE));
    $("forward").addEventListener("click", () => turn(PAGE));
    listen("order", "change", (select) => { state.order = select.value; state.first = 0; });
  }
  let waiting = 0;
  addEventListener("resize", () => { cancelAnimationFrame(waiting); waiting = requestAnimationFrame(drawPlots); });
  draw();
  filterTables();
}

start();
})();
