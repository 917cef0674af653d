// The dashboard's page. It asks the kernel by small messages, { id, ask, … }, and draws what comes back; all text enters the page as text, never as HTML.
// Chapter "The dashboard" (nbs/06d_workbench.ipynb) holds the other half: a function for each `ask`.

const SVG = "http://www.w3.org/2000/svg"

function fill(el, props, children) {
  for (const [k, v] of Object.entries(props || {})) {
    if (v === null || v === undefined || v === false) continue
    if (k.startsWith("on")) el.addEventListener(k.slice(2), v)
    else if (k === "class") el.setAttribute("class", v)
    else if (["value", "checked", "indeterminate", "hidden", "disabled", "selected"].includes(k)) el[k] = v
    else el.setAttribute(k, v === true ? "" : v)
  }
  el.append(...children.flat(9).filter(c => c !== null && c !== undefined && c !== false))
  return el
}
const h = (tag, props, ...children) => fill(document.createElement(tag), props, children)
const s = (tag, props, ...children) => fill(document.createElementNS(SVG, tag), props, children)
function put(el, ...children) { el.textContent = ""; return fill(el, null, children) }
const later = globalThis.requestIdleCallback?.bind(globalThis) ?? (f => setTimeout(f, 30))
let serial = 0
const unique = () => `mlpb-${++serial}`

// --- words and numbers ---------------------------------------------------------------------------------------------------
const many = (n, word) => `${n.toLocaleString("en")} ${word}${n === 1 ? "" : "s"}`
const scored = x => x === null ? "–" : x.toFixed(4)
function lasting(t) {
  if (t === null) return "–"
  return t < 1e-3 ? `${Math.round(t * 1e6)} µs` : t < 1 ? `${Math.round(t * 1e3)} ms` : t < 100 ? `${t.toFixed(1)} s` : t < 6000 ? `${Math.round(t / 60)} min` : `${(t / 3600).toFixed(1)} h`
}
function ago(ms) {
  const t = (Date.now() - ms) / 1000
  return t < 60 ? "just now" : t < 3600 ? `${Math.floor(t / 60)} min ago` : t < 86400 ? `${Math.floor(t / 3600)} h ago` : `${many(Math.floor(t / 86400), "day")} ago`
}
const weighing = b => b < 1e3 ? `${b} bytes` : b < 1e6 ? `${(b / 1e3).toFixed(0)} kB` : `${(b / 1e6).toFixed(1)} MB`
const tick = x => Math.abs(x) >= 1e4 || (x !== 0 && Math.abs(x) < 1e-3) ? x.toExponential(0) : String(+x.toFixed(4))

// --- charts: lines, bands and points in SVG ---------------------------------------------------------------------------------
function ticks(lo, hi, most = 5) {
  const raw = (hi - lo) / most, size = 10 ** Math.floor(Math.log10(raw)), step = [1, 2, 5, 10].map(k => k * size).find(k => k >= raw)
  const found = []
  for (let v = Math.ceil(lo / step - 1e-9) * step; v <= hi + 1e-9 * step; v += step) found.push(Math.abs(v) < 1e-12 ? 0 : v)
  return found
}
function extent(arrays, fixed) {
  const all = arrays.flat().filter(Number.isFinite)
  let lo = fixed?.[0] ?? Math.min(...all), hi = fixed?.[1] ?? Math.max(...all)
  if (!(hi > lo)) { lo -= 0.5; hi = lo + 1 }
  return fixed ? [lo, hi] : [lo - 0.04 * (hi - lo), hi + 0.04 * (hi - lo)]
}
const W = 440, H = 300, L = 50, R = 10, T = 8, B = 42
const colour = i => `var(--c${i % 5})`
const DASHES = ["", "7 3", "2 2.5", "9 3 2 3", "4 4"]

// spec: a `Chart` of mlp_bench/figures.py: { title, alt, x, y: axis names, xlim, ylim, lines: [{ name, x, y, lo, hi, joined, points, style, faint }] }
function chart(spec) {
  const lines = spec.lines, [x0, x1] = extent(lines.map(l => l.x), spec.xlim), [y0, y1] = extent(lines.flatMap(l => [l.y, l.lo || [], l.hi || []]), spec.ylim)
  const X = v => L + (v - x0) / (x1 - x0) * (W - L - R), Y = v => H - B - (v - y0) / (y1 - y0) * (H - T - B)
  const at = (xs, ys) => xs.map((x, i) => ys[i] === null ? null : `${X(x).toFixed(1)},${Y(ys[i]).toFixed(1)}`).filter(Boolean)
  const parts = [ticks(x0, x1, 6).map(v => [s("line", { class: "grid", x1: X(v), x2: X(v), y1: T, y2: H - B }), s("text", { x: X(v), y: H - B + 16, "text-anchor": "middle" }, tick(v))]),
    ticks(y0, y1).map(v => [s("line", { class: "grid", x1: L, x2: W - R, y1: Y(v), y2: Y(v) }), s("text", { x: L - 7, y: Y(v) + 4, "text-anchor": "end" }, tick(v))]),
    s("text", { x: (L + W - R) / 2, y: H - 6, "text-anchor": "middle", class: "axis" }, spec.x), s("text", { class: "axis", "text-anchor": "middle", transform: `translate(12 ${(T + H - B) / 2}) rotate(-90)` }, spec.y)]
  for (const l of lines) if (l.lo) parts.push(s("path", { class: "band", style: `fill:${colour(l.style)}`, d: `M${at(l.x, l.lo).join("L")}L${at(l.x, l.hi).reverse().join("L")}Z` }))
  for (const l of lines) {
    const points = at(l.x, l.y), ink = `stroke:${colour(l.style)}`
    if (l.joined !== false && points.length) parts.push(s("path", { class: l.style === null ? "chance" : l.faint ? "line faint" : "line", style: l.style === null ? null : ink, "stroke-dasharray": l.style === null ? null : DASHES[(l.dash ?? l.style) % 5], "data-points": points.length, d: `M${points.join("L")}` }))
    if (l.points) parts.push(points.map(p => s("circle", { class: "point", style: `fill:${colour(l.style)}`, cx: p.split(",")[0], cy: p.split(",")[1], r: 3.2 })))
  }
  const cross = s("line", { class: "cross", y1: T, y2: H - B, visibility: "hidden" }), read = h("div", { class: "readout", hidden: true, "aria-hidden": "true" })
  const drawing = s("svg", { viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": spec.alt }, s("clipPath", { id: spec.id = unique() }, s("rect", { x: L, y: T - 3, width: W - L - R + 3, height: H - T - B + 6 })), parts, cross)
  drawing.querySelectorAll("path").forEach(p => p.setAttribute("clip-path", `url(#${spec.id})`))
  drawing.addEventListener("pointermove", e => {
    const box = drawing.getBoundingClientRect(), want = x0 + ((e.clientX - box.left) / box.width * W - L) / (W - L - R) * (x1 - x0)
    const said = lines.filter(l => l.name && l.x.length).map(l => [l, l.x.reduce((best, x, i) => Math.abs(x - want) < Math.abs(l.x[best] - want) ? i : best, 0)])
    if (!said.length || want < x0 || want > x1) return
    cross.setAttribute("x1", X(want)); cross.setAttribute("x2", X(want)); cross.setAttribute("visibility", "visible")
    read.hidden = false
    put(read, h("span", {}, `${spec.x} ${tick(said[0][0].x[said[0][1]])}`), ...said.map(([l, i]) => h("span", { class: "mark", style: `--mark:${colour(l.style)}` }, l.y[i] === null ? "–" : l.y[i].toFixed(3))))
  })
  drawing.addEventListener("pointerleave", () => { cross.setAttribute("visibility", "hidden"); read.hidden = true })
  const named = lines.filter(l => l.name)
  return h("figure", {}, h("h3", {}, spec.title), named.length > 1 || spec.legend ? h("ul", { class: "legend" }, named.map(l => h("li", {}, sample(l), l.name))) : null, h("div", { class: "plot" }, drawing, read), h("figcaption", {}, spec.alt))
}
const sample = l => s("svg", { width: 26, height: 10, "aria-hidden": "true" }, l.joined === false ? s("circle", { cx: 13, cy: 5, r: 3.5, style: `fill:${colour(l.style)}` })
  : s("path", { class: l.faint ? "line faint" : "line", d: "M1,5L25,5", style: `stroke:${colour(l.style)}`, "stroke-dasharray": DASHES[(l.dash ?? l.style) % 5] }))

// every run a line across the settings that differ; its colour is its score
function parallel(axes, rows, score, title, alt) {
  const PW = Math.max(900, 112 * axes.length), PH = 300, top = 34, low = PH - 30, X = i => 60 + i * (PW - 120) / Math.max(1, axes.length - 1)
  const scales = axes.map(a => {
    const values = rows.map(r => r[a.at]), number = values.every(v => typeof v === "number" || v === null)
    const levels = number ? [] : [...new Set(values.map(String))].sort(), [lo, hi] = number ? extent([values.filter(v => v !== null)], [Math.min(...values), Math.max(...values)]) : [0, Math.max(1, levels.length - 1)]
    return { levels, number, lo, hi, y: v => low - ((number ? v : levels.indexOf(String(v))) - lo) / (hi - lo) * (low - top) }
  })
  const scores = rows.map(score).filter(Number.isFinite), worst = Math.min(...scores), best = Math.max(...scores)
  const path = r => "M" + axes.map((a, i) => `${X(i).toFixed(1)},${scales[i].y(r[a.at]).toFixed(1)}`).join("L")
  const share = r => best > worst ? (score(r) - worst) / (best - worst) : 1
  const lines = [...rows].sort((a, b) => score(a) - score(b)).map(r => s("path", { class: "run", d: path(r), style: `--share:${(100 * share(r)).toFixed(0)}%` }, s("title", {}, axes.map(a => `${a.title} ${a.show(r[a.at])}`).join(", "))))
  const marks = axes.map((a, i) => [s("line", { class: "pole", x1: X(i), x2: X(i), y1: top, y2: low }), s("text", { class: "axis", x: X(i), y: 16, "text-anchor": i ? i === axes.length - 1 ? "end" : "middle" : "start" }, a.title),
    (scales[i].number ? [scales[i].lo, scales[i].hi] : scales[i].levels.slice(0, 8)).map(v => s("text", { x: X(i) + (i === axes.length - 1 ? -6 : 6), y: scales[i].y(v) + (scales[i].number ? v === scales[i].lo ? 14 : -4 : -3), "text-anchor": i === axes.length - 1 ? "end" : "start" }, scales[i].number ? a.show(v) : v))])
  return h("figure", { class: "wide" }, h("h3", {}, title), h("div", { class: "plot scroll", tabindex: 0, role: "group", "aria-label": title }, s("svg", { viewBox: `0 0 ${PW} ${PH}`, role: "img", "aria-label": alt, class: "parallel", style: `min-width:${Math.min(PW, Math.max(640, 80 * axes.length))}px` }, lines, marks)), h("figcaption", {}, alt))
}

// --- a labelled input, built from its description -------------------------------------------------------------------------------
function field(f, onchange) {
  const id = unique(), about = unique(), common = { id, "aria-describedby": f.help ? about : null, onchange, name: f.name }
  let input, list = null
  if (f.kind === "choice") input = h("select", common, f.options.map(([v, text]) => h("option", { value: v, selected: v === f.value }, text)))
  else if (f.kind === "flag") input = h("input", { ...common, type: "checkbox", checked: f.value })
  else if (f.kind === "number") input = h("input", { ...common, type: "number", min: f.min, max: f.max, step: f.step ?? "any", value: f.value, inputmode: "decimal" })
  else {
    list = f.options ? h("datalist", { id: unique() }, f.options.map(([v]) => h("option", { value: v }))) : null
    input = h("input", { ...common, type: "text", value: f.value ?? "", placeholder: f.hint, list: list?.id, spellcheck: "false", autocomplete: "off" })
  }
  const label = h("label", { for: id }, f.label), help = f.help ? h("div", { class: "help", id: about }, f.help) : null
  const box = h("div", { class: `field ${f.kind} ${f.wide ? "wide" : ""}` }, f.kind === "flag" ? [h("div", { class: "flagline" }, input, label), help] : [label, input, help], list)
  return { f, box, input, get value() { return f.kind === "flag" ? input.checked : f.kind === "number" ? input.value === "" ? null : Number(input.value) : input.value },
    set value(v) { if (f.kind === "flag") input.checked = v; else input.value = v ?? "" } }
}
const button = (text, onclick, kind = "", props = {}) => h("button", { type: "button", class: `button ${kind}`, onclick, ...props }, text)

// --- the table of runs: sort, filter, tick, star, annotate -----------------------------------------------------------------------
const PAGE = 15
class Runs {
  constructor(app) {
    this.app = app; this.columns = []; this.rows = []; this.page = 0; this.metric = "roc_auc"; this.sort = null; this.open = null  // the note being written: { id, text, was }
    const redo = () => { this.page = 0; this.draw() }
    this.search = h("input", { type: "search", id: unique(), placeholder: "words, such as keras 0.05", oninput: redo, autocomplete: "off" })
    this.data = h("select", { id: unique(), onchange: redo }); this.model = h("select", { id: unique(), onchange: redo }); this.by = h("select", { id: unique(), onchange: () => { this.metric = this.by.value; this.sort = null; redo(); app.compare() } })
    this.starred = h("input", { type: "checkbox", id: unique(), onchange: redo })
    const tool = (text, input) => h("div", { class: "tool" }, h("label", { for: input.id }, text), input)
    this.tools = h("div", { class: "tools" }, tool("Rank by", this.by), tool("Filter", this.search), tool("Data", this.data), tool("Model", this.model), h("div", { class: "tool check" }, this.starred, h("label", { for: this.starred.id }, "Starred only")))
    this.body = h("div", { class: "runs" }); this.count = h("p", { class: "mute", role: "status" }); this.pager = h("div", { class: "row pager" })
    this.el = h("section", { class: "card", "aria-label": "Runs" }, h("h2", {}, "Runs"), this.tools, this.body, h("div", { class: "row between" }, this.count, this.pager))
  }
  load({ columns, rows }) {
    this.columns = columns; this.rows = rows; this.at = Object.fromEntries(columns.map((c, i) => [c.name, i]))
    const keep = (select, options) => { const old = select.value; put(select, ...options.map(([v, t]) => h("option", { value: v }, t))); if (options.some(([v]) => v === old)) select.value = old }
    const levels = name => [...new Set(rows.map(r => r[this.at[name]]))].sort().map(v => [v, v])
    keep(this.data, [["", "all"], ...levels("dataset")]); keep(this.model, [["", "all"], ...levels("model")])
    keep(this.by, columns.filter(c => c.rank).map(c => [c.name, c.title])); this.by.value = this.metric
    for (const id of [...this.app.chosen]) if (!rows.some(r => r[0] === id)) this.app.chosen.delete(id)
    this.draw()
    this.spell(rows, 0)
  }
  spell(rows, from) {  // what the filter looks through, written out while nobody waits
    if (rows !== this.rows || from >= rows.length) return
    later(() => { for (const r of rows.slice(from, from + 400)) this.text(r); this.spell(rows, from + 400) })
  }
  get(row, name) { return row[this.at[name]] }
  better(name) { return this.columns[this.at[name]].lower ? (a, b) => a - b : (a, b) => b - a }
  ranked() {  // places are counted separately for each table, target and plan
    if (this.places?.rows === this.rows && this.places.metric === this.metric) return this.places.place
    const order = this.better(this.metric), groups = new Map(), place = new Map(), of = r => this.get(r, this.metric)
    for (const r of this.rows) { const k = `${this.get(r, "dataset")}\0${this.get(r, "target")}\0${this.get(r, "plan")}`; groups.has(k) ? groups.get(k).push(r) : groups.set(k, [r]) }
    for (const g of groups.values()) g.filter(r => of(r) !== null).sort((a, b) => order(of(a), of(b))).forEach((r, i) => place.set(r, i + 1))
    this.places = { rows: this.rows, metric: this.metric, place }
    return place
  }
  shown() {
    const words = this.search.value.toLowerCase().split(/\s+/).filter(Boolean)
    return this.rows.filter(r => (!this.data.value || this.get(r, "dataset") === this.data.value) && (!this.model.value || this.get(r, "model") === this.model.value)
      && (!this.starred.checked || this.get(r, "star")) && (!words.length || words.every(w => this.text(r).includes(w))))
  }
  text(r) { return r.text ??= this.columns.map((c, i) => c.kind === "when" ? "" : this.show(c, r[i])).join(" ").toLowerCase() }
  show(c, v) { return c.kind === "score" ? scored(v) : c.kind === "lasting" ? lasting(v) : c.kind === "when" ? ago(v) : v === null || v === undefined ? "" : String(v) }
  draw() {  // whoever was at a control in the table, or its pages, is there again afterwards, with what was typed
    const at = document.activeElement, key = this.el.contains(at) ? at.dataset.key : null, [from, to] = at?.type === "text" ? [at.selectionStart, at.selectionEnd] : [], aside = this.body.firstChild?.scrollLeft
    this.redrawing = true; this.redraw(); this.redrawing = false
    if (aside && this.body.firstChild) this.body.firstChild.scrollLeft = aside
    const there = key && this.el.querySelector(`[data-key="${key}"]`)
    if (there && there !== document.activeElement) { (there.disabled ? this.pager.querySelector("button:enabled") : there)?.focus({ preventScroll: true }); if (from !== undefined) there.setSelectionRange(from, to) }
  }
  redraw() {
    const place = this.ranked(), sort = this.sort ?? { name: "rank", down: false }
    const seen = this.shown(), key = sort.name === "rank" ? r => place.get(r) ?? Infinity : r => this.get(r, sort.name)
    const group = r => sort.name === "rank" ? this.get(r, "dataset") + " " + this.get(r, "plan") : ""
    const sign = sort.down ? -1 : 1, keyed = seen.map(r => [group(r), key(r), r])
    this.seen = keyed.sort(([g, x], [k, y]) => g < k ? -1 : g > k ? 1 : x === y ? 0 : x === null ? 1 : y === null ? -1 : sign * (x > y ? 1 : -1)).map(([, , r]) => r)
    const pages = Math.max(1, Math.ceil(seen.length / PAGE)); this.page = Math.min(this.page, pages - 1)
    this.counted(); clearTimeout(this.pause); this.pause = setTimeout(() => this.app.lines(), 400)  // hundreds of lines wait for a pause between clicks
    put(this.pager, ...(pages > 1 ? [button("Previous", () => { this.page--; this.draw() }, "small", { disabled: this.page === 0, "data-key": "previous" }), h("span", {}, `page ${this.page + 1} of ${pages}`), button("Next", () => { this.page++; this.draw() }, "small", { disabled: this.page === pages - 1, "data-key": "next" })] : []))
    this.tools.hidden = !this.rows.length
    if (!this.rows.length) return put(this.body, h("div", { class: "empty" }, "No runs yet. Press Train: with NumPy and the heart data it takes a few seconds."))
    const columns = this.columns.filter(c => c.kind !== "hidden" && (!c.extra || c.name === this.metric)), head = c => {
      const on = sort.name === c.name, flip = () => { this.sort = { name: c.name, down: on ? !sort.down : c.rank ? !c.lower : false }; if (c.rank && c.name !== this.metric) { this.metric = c.name; this.by.value = c.name; this.app.compare() } this.page = 0; this.draw() }
      return h("th", { scope: "col", class: c.kind, "aria-sort": on ? sort.down ? "descending" : "ascending" : null }, h("button", { type: "button", onclick: flip, "data-key": `sort-${c.name}` }, c.title, h("span", { class: "arrow", "aria-hidden": "true" }, on ? sort.down ? "▼" : "▲" : "")))
    }
    const page = this.seen.slice(this.page * PAGE, (this.page + 1) * PAGE)
    put(this.body, h("div", { class: "scroll", tabindex: 0, role: "group", "aria-label": "Table of runs" }, h("table", {}, h("thead", {}, h("tr", {}, h("th", { scope: "col", class: "tick" }, h("span", { class: "sr" }, "Choose")), h("th", { scope: "col", class: "tick" }, h("span", { class: "sr" }, "Star")),
      head({ name: "rank", title: "Rank", kind: "count" }), columns.map(head), h("th", { scope: "col", class: "words" }, "Note"))), h("tbody", {}, page.map(r => this.line(r, columns, place))))))
  }
  counted() { this.count.textContent = this.rows.length ? `${many(this.seen.length, "run")}${this.seen.length < this.rows.length ? ` of ${this.rows.length.toLocaleString("en")}` : ""}, ${this.app.chosen.size} chosen` : "" }
  line(r, columns, place) {
    const id = r[0], on = this.app.chosen.has(id), short = id.slice(0, 8), name = `${this.get(r, "model")} ${short}`
    const box = h("input", { type: "checkbox", checked: on, "aria-label": `Choose ${name}`, onchange: () => { box.closest("tr").classList.toggle("chosen", box.checked); this.app.choose(id, box.checked) }, "data-id": id, "data-key": `tick-${id}` })
    const star = h("button", { type: "button", class: "star", "data-key": `star-${id}`, "aria-pressed": String(!!this.get(r, "star")), "aria-label": `Star ${name}`, onclick: () => this.mark(r, { star: !this.get(r, "star") }) }, this.get(r, "star") ? "★" : "☆")
    const cell = c => h("td", { class: c.kind, "data-label": c.title }, h("span", {}, c.name === "run" ? h("code", {}, short) : c.name === this.metric ? h("b", {}, this.show(c, this.get(r, c.name))) : this.show(c, this.get(r, c.name)), c.spread && c.name === this.metric && this.get(r, c.spread) !== null ? h("small", {}, ` ± ${this.get(r, c.spread).toFixed(3)}`) : null))
    return h("tr", { class: on ? "chosen" : "" }, h("td", { class: "tick" }, box), h("td", { class: "tick" }, star), h("td", { class: "count", "data-label": "Rank" }, String(place.get(r) ?? "–")), columns.map(cell), h("td", { class: "words note", "data-label": "Note" }, this.note(r, name)))
  }
  note(r, name) {  // opened and closed in its own cell: a click that ends it is still a click on what it hit
    const id = r[0], text = this.get(r, "note"), swap = to => put(to.closest("td"), this.note(r, name)).firstChild.focus()
    if (this.open?.id !== id) return h("button", { type: "button", class: "plain", "data-key": `note-${id}`, "aria-label": `${text ? "Change" : "Write"} the note of ${name}${text ? ": " + text : ""}`, onclick: e => { if (this.open) this.close(true); this.open = { id, text, was: text }; swap(e.target) } }, text || "add")
    const close = keep => this.open?.id === id && !this.redrawing && this.close(keep)
    const input = h("input", { type: "text", value: this.open.text, maxlength: 500, "data-key": `note-${id}`, "aria-label": `Note of ${name}`, oninput: () => { this.open.text = input.value },
      onkeydown: e => { if ((e.key === "Enter" || e.key === "Escape") && close(e.key === "Enter")) { e.preventDefault(); swap(input) } },  // prevented, or Enter would press the button that comes
      onblur: () => { if (close(true) && input.isConnected) put(input.closest("td"), this.note(r, name)) } })
    return input
  }
  close(keep) {  // the note being written, wherever its row is now
    const { id, text, was } = this.open, row = this.rows.find(r => r[0] === id)
    this.open = null
    if (keep && row && text.trim() !== was) this.mark(row, { note: text.trim() })
    return true
  }
  async mark(r, change) {  // one after another: what was wanted last is written last
    const [name, value] = Object.entries(change)[0], old = this.get(r, name), before = this.writing
    r[this.at[name]] = value; r.text = null
    if (name === "star") this.draw()
    const mine = this.writing = (async () => { try { await before } catch {} return this.app.ask("mark", { run: r[0], ...change }) })()
    try { await mine } catch (e) {
      r[this.at[name]] = old
      if (name === "note" && !this.open) this.open = { id: r[0], text: value, was: old }  // what was written is there to be tried again
      this.draw(); this.app.say(e.message, true)
    }
    if (this.writing === mine) this.writing = null
  }
}

// --- the page ----------------------------------------------------------------------------------------------------------------------
class App {
  constructor(model, el) {
    this.model = model; this.chosen = new Set(); this.waiting = new Map(); this.number = 0; this.stamp = null; this.silent = 0
    this.name = crypto.getRandomValues(new Uint32Array(2)).join("-")  // several views may show one widget, and each hears every answer
    this.hear = m => this.heard(m)
    model.on("msg:custom", this.hear)
    this.el = h("main", { class: "mlpb" }); el.append(this.el)
    this.status = h("div", { class: "status", role: "status", "aria-live": "polite" }); this.alarm = h("div", { class: "status error", role: "alert" })
    this.runs = new Runs(this)
    this.start()
  }
  ask(what, rest = {}, buffers = [], patience = 120000) {
    const id = `${this.name}-${++this.number}`
    this.model.send({ id, ask: what, ...rest }, undefined, buffers)
    return new Promise((done, fail) => { this.waiting.set(id, { done, fail }); setTimeout(() => this.waiting.delete(id) && fail(new Error("The kernel does not answer.")), patience) })
  }
  heard(m) {
    this.silent = 0; this.lost(false)
    const w = this.waiting.get(m.id)
    if (!w) return
    this.waiting.delete(m.id)
    m.error ? w.fail(new Error(m.error)) : w.done(m.answer)
  }
  end() { this.ended = true; clearInterval(this.looking); this.model.off("msg:custom", this.hear) }
  say(text, error = false) {  // written only if it is new, for those who hear it
    for (const [el, words] of [[this.alarm, error ? text : ""], [this.status, error ? "" : text]]) if (el.textContent !== words) el.textContent = words
  }
  lost(yes) { if (this.warning) this.warning.hidden = !yes }
  async start() {
    try { this.facts = await this.ask("hello") } catch (e) { return put(this.el, h("p", { class: "status error", role: "alert" }, e.message)) }
    this.warning = h("div", { class: "warning", role: "alert", hidden: true }, "The kernel behind this page has stopped answering. Stored runs are safe, and a training in progress goes on by itself: ", h("a", { href: "" }, "load the page again"), ".")
    this.tabs = [["train", "Train"], ["compare", "Compare"], ["row", this.facts.row_title], ["clean", "Clean up"]].map(([name, title], i) => ({ name, panel: h("div", { role: "tabpanel", id: unique(), hidden: i > 0, "aria-label": title, tabindex: -1 }), title }))
    for (const t of this.tabs) t.button = h("button", { type: "button", role: "tab", id: unique(), "aria-controls": t.panel.id, "aria-selected": "false", tabindex: -1, onclick: () => this.show(t.name), onkeydown: e => this.arrow(e, t) }, t.title)
    put(this.el, h("header", {}, h("div", {}, h("h1", {}, "mlp_bench"), h("p", { class: "mute" }, this.facts.lead)), h("span", { class: "notice" }, this.facts.caution)), this.warning, h("div", { role: "tablist", "aria-label": "What to do", class: "tabs" }, this.tabs.map(t => t.button)), this.tabs.map(t => t.panel))
    this.training(); this.comparing(); this.rowing(); this.cleaning()
    this.stamp = this.facts.stamp; this.runs.load(this.facts.table)
    this.show("train"); this.compare()
    if (this.ended) return
    this.looking = setInterval(() => this.look(), 2500)
    if (this.facts.job) this.poll()
  }
  panel(name) { return this.tabs.find(t => t.name === name).panel }
  arrow(e, t) {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[e.key]
    if (step) { const next = this.tabs[(this.tabs.indexOf(t) + step + this.tabs.length) % this.tabs.length]; this.show(next.name); next.button.focus() }
  }
  show(name) {
    this.tab = name
    for (const t of this.tabs) { t.panel.hidden = t.name !== name; t.button.setAttribute("aria-selected", String(t.name === name)); t.button.tabIndex = t.name === name ? 0 : -1 }
    if (name === "train") this.side.append(this.runs.el)
    if (name === "compare") { this.panel(name).prepend(this.runs.el); this.lines() }
    if (name === "clean") { this.panel(name).prepend(this.runs.el); this.doomed() }
    if (name === "row") this.rowStart()
  }
  async look() {  // is the kernel there, and is there something new in the store?
    if (document.hidden) return
    if (++this.silent > 5) this.lost(true)
    try {
      const news = await this.ask("look", { seen: this.stamp })
      if (news.job && !this.polling) this.poll()  // begun by another view, or lost from sight by an answer that did not come
      if (news.table && !this.runs.writing) { this.stamp = news.stamp; this.runs.load(news.table); this.compare(); if (this.tab === "clean" && !this.deleting) this.doomed() }
    } catch (e) { if (this.warning.hidden) this.say(e.message, true) }
  }
  async choose(id, yes) {
    yes ? this.chosen.add(id) : this.chosen.delete(id)
    this.runs.counted()
    if (this.tab === "clean") this.doomed()
    await this.compare()
  }

  // --- train ---
  training() {
    const { fields, presets } = this.facts
    this.fields = Object.fromEntries(fields.map(f => [f.name, field(f, () => this.changed(f.name))]))
    this.preset = field({ name: "preset", kind: "choice", label: "Preset", help: "plain: the textbook's network; tuned: what the evidence chapter chose", options: Object.keys(presets).map(p => [p, p]), value: "plain" }, () => this.presetChosen())
    const box = name => this.fields[name].box, main = fields.filter(f => !f.more).map(f => box(f.name)), more = fields.filter(f => f.more).map(f => box(f.name))
    this.file = h("input", { type: "file", accept: ".csv,.parquet,.tsv,.txt", class: "sr", id: unique(), onchange: () => this.upload(this.file.files[0]), tabindex: -1, "aria-label": "A CSV or Parquet file to upload" })
    const upload = button("Upload a table …", () => this.file.click(), "small")
    this.fields.data.box.append(h("div", { class: "row" }, upload, this.file))
    this.go = button("Train", () => this.train(), "primary"); this.halt = button("Stop", () => this.stop(), "", { disabled: true })
    this.progress = h("progress", { max: 1, value: 0, "aria-label": "Training progress", hidden: true })
    this.live = h("div", { class: "figures live" })
    const form = h("form", { class: "card train", novalidate: true, onsubmit: e => { e.preventDefault(); if (!this.go.disabled) this.train() } }, h("h2", {}, "Train"), h("div", { class: "grid-fields" }, main.slice(0, 4), this.preset.box, main.slice(4)), h("details", {}, h("summary", {}, "More settings"), h("div", { class: "grid-fields" }, more)), h("button", { type: "submit", hidden: true, tabindex: -1 }, "Train"))  // hidden, for the Enter key
    this.side = h("div", { class: "stack" }, h("section", { class: "card now", "aria-label": "Training now" }, h("div", { class: "row" }, this.go, this.halt, h("div", { class: "grow" }, this.status, this.alarm), this.left = h("span", { class: "mute" })), this.progress, this.live))
    this.panel("train").append(h("div", { class: "columns" }, form, this.side))
    for (const sign of ["pointermove", "keydown"]) this.el.addEventListener(sign, () => this.warm())
    this.say("Ready.")
  }
  warm() { if (!this.warmed) { this.warmed = true; this.ask("warm").catch(() => {}) } }
  presetChosen() {
    for (const [name, value] of Object.entries(this.facts.presets[this.preset.value])) this.fields[name].value = value
    this.say(`Preset ${this.preset.value}: settings filled in; what you change from here on wins.`)
  }
  async changed(name) {
    if (name !== "data") return
    const data = this.fields.data.value, typed = this.fields.target.value
    try {
      const found = await this.ask("columns", { data })
      if (data !== this.fields.data.value) return  // written over meanwhile
      const target = this.fields.target, list = h("datalist", { id: unique() }, found.targets.map(t => h("option", { value: t })))
      this.targets?.remove(); this.targets = list
      target.box.append(list); target.input.setAttribute("list", list.id)
      if (target.value === typed) target.value = found.target ?? (found.targets.length === 1 ? found.targets[0] : "")
      this.say(found.said)
    } catch (e) { this.say(e.message, true) }
  }
  async upload(file) {
    if (!file) return
    const most = this.facts.upload_limit
    if (file.size > most) { this.file.value = ""; return this.say(`${file.name} has ${weighing(file.size)}, and an upload may have ${weighing(most)}: put the file beside the dashboard and write its path.`, true) }
    try {
      const piece = 2 ** 20
      let path
      for (let at = 0; at < Math.max(1, file.size); at += piece) {
        path = await this.ask("upload", { name: file.name, at, last: at + piece >= file.size }, [await file.slice(at, at + piece).arrayBuffer()])
        this.say(`Uploading ${file.name}: ${Math.round(100 * Math.min(1, (at + piece) / file.size))} %`)
      }
      this.fields.data.value = path
      await this.changed("data")
    } catch (e) { this.say(e.message, true) }
    this.file.value = ""
  }
  settings() { return Object.fromEntries(Object.entries(this.fields).map(([n, f]) => [n, f.value])) }
  async train() {
    this.go.disabled = true; put(this.live); this.say("Starting …")
    try {
      const begun = await this.ask("train", { settings: this.settings() })
      this.follow(begun)
      if (begun.running) return this.poll()
    } catch (e) { this.say(e.message, true) }
    this.go.disabled = false
  }
  follow(job) {
    this.say(job.text, !!job.error)
    this.left.textContent = job.running && Number.isFinite(job.left) ? `${lasting(job.left)} left` : ""  // beside what is read aloud, which would never end
    this.progress.hidden = job.share === null; this.progress.value = job.share ?? 0
    this.go.disabled = job.running; this.halt.disabled = !job.running
    if (job.charts) put(this.live, ...job.charts.map(chart))
    if (!job.running && job.done?.length) { if (this.tab !== "clean") this.chosen = new Set(job.done); this.stamp = job.stamp; this.runs.load(job.table); this.compare() }
  }
  async poll() {
    if (this.polling) return
    this.polling = true; this.go.disabled = true; this.halt.disabled = false
    try {
      for (let job = { running: true }; job.running && !this.ended;) {
        this.follow(job = await this.ask("poll"))
        if (job.running) await new Promise(r => setTimeout(r, 150))
      }
    } catch (e) { this.say(e.message, true); this.go.disabled = false; this.halt.disabled = true; this.progress.hidden = true }  // `look` asks whether it goes on
    this.polling = false
  }
  async stop() {
    this.halt.disabled = true; this.say("Stopping …")
    try { this.follow(await this.ask("stop")) } catch (e) { this.say(e.message, true); this.halt.disabled = false }
  }

  // --- compare ---
  comparing() {
    this.verdicts = h("div", { "aria-live": "polite" }); this.drawn = h("div", { class: "figures" }); this.across = h("div", {}); this.differ = h("div", {})
    const some = () => this.chosen.size ? [...this.chosen] : this.runs.seen.map(r => r[0])
    this.saved = h("span", { class: "mute", role: "status" })
    this.panel("compare").append(h("section", { class: "card", "aria-label": "Comparison" }, h("div", { class: "row between" }, h("h2", {}, "Comparison"), h("div", { class: "row" }, this.saved, button("Download CSV", () => this.save("csv", { runs: some() }, "runs.csv", "text/csv"), "small"), button("Download report", () => this.save("report", { runs: [...this.chosen] }, "report.html", "text/html"), "small"))), this.verdicts, this.differ, this.drawn, this.across))
  }
  async save(what, rest, name, type) {
    this.saved.textContent = "Preparing …"
    try {
      await this.runs.writing  // a note just written belongs to it
      const link = h("a", { href: URL.createObjectURL(new Blob([await this.ask(what, rest)], { type })), download: name })
      link.click(); setTimeout(() => URL.revokeObjectURL(link.href), 60000); this.saved.textContent = `${name} is ready.`
    } catch (e) { this.saved.textContent = e.message }
  }
  async compare() {
    const runs = [...this.chosen].slice(0, 5), turn = this.turn = (this.turn || 0) + 1
    if (!runs.length) { put(this.verdicts); put(this.differ); return put(this.drawn, h("div", { class: "empty" }, "Tick runs in the table: one is drawn, two and more are compared, five at most.")) }
    try {
      const told = await this.ask("compare", { runs, metric: this.runs.metric })
      if (turn !== this.turn) return  // another click came meanwhile
      put(this.verdicts, ...told.verdicts.map(v => h("p", { class: "verdict" }, v)), this.chosen.size > 5 ? h("p", { class: "mute" }, "The first five are drawn.") : "")
      put(this.differ, matrix(told.table))
      put(this.drawn, ...told.charts.map(chart))
    } catch (e) {
      if (turn !== this.turn) return
      put(this.differ); put(this.drawn); put(this.verdicts, h("p", { class: "status error", role: "alert" }, e.message))
    }
  }
  lines() {  // across the settings of the runs in the table, drawn when somebody can see it
    if (this.tab !== "compare") return
    const { runs } = this, rows = runs.seen.slice(0, 400), axes = runs.columns.map((c, at) => ({ ...c, at, show: v => runs.show(c, v) })).filter(a => (a.varies || a.name === "model") && new Set(rows.map(r => r[a.at])).size > 1)
    const metric = { ...runs.columns[runs.at.roc_auc], ...runs.columns[runs.at[runs.metric]], at: runs.at[runs.metric] }
    if (rows.length < 3 || !axes.length) return put(this.across)
    const sign = metric.lower ? -1 : 1, shown = rows.filter(r => r[metric.at] !== null && axes.every(a => r[a.at] !== null))
    if (shown.length < 3) return put(this.across)
    put(this.across, parallel([...axes, { ...metric, show: v => runs.show(metric, v) }], shown, r => sign * r[metric.at], "What goes with a good score", `Each line is one of ${many(shown.length, "run")} of the table above: its settings from left to right, and ${metric.title} at the end. The stronger the colour, the better.`))
  }

  // --- one row ---
  rowing() {
    this.rowForm = h("form", { class: "card", onsubmit: e => e.preventDefault() }); this.rowSaid = h("section", { class: "card", "aria-label": "What the networks say" })
    this.panel("row").append(h("p", { class: "notice big" }, this.facts.caution), h("div", { class: "columns" }, this.rowForm, this.rowSaid))
  }
  async rowStart(choice = null, at = null) {
    try {
      const start = await this.ask("row", { runs: choice, chosen: [...this.chosen] })
      if (!start.runs.length) { put(this.rowForm, h("div", { class: "empty" }, start.said)); return put(this.rowSaid) }
      if (!choice && this.row && JSON.stringify(this.row.runs) === JSON.stringify(start.runs)) return
      const same = this.row?.title === start.title && this.row.said === start.said, old = same ? Object.fromEntries(this.rowFields.map(f => [f.f.name, f.value])) : {}
      this.row = start  // another network, asked about the same row
      this.rowFields = start.fields.map(f => f.name in old ? { ...f, value: old[f.name] } : f).map(f => { const made = field(f, () => this.rowAnswer()); made.input.addEventListener("input", () => this.rowAnswer()); if (f.kind === "number") this.slider(made, f); return made })
      const pick = start.choices.map((options, i) => field({ name: `run${i}`, kind: "choice", label: start.backends[i], options, value: start.runs[i], wide: true }, () => this.rowStart(picks.map(p => p.value), i))), picks = pick
      put(this.rowForm, h("h2", {}, start.title), h("p", { class: "mute" }, start.said), h("div", { class: "grid-fields" }, pick.map(p => p.box)), h("hr", {}), h("div", { class: "grid-fields" }, this.rowFields.map(f => f.box)))
      if (at !== null) pick[at].input.focus()
      await this.rowAnswer()
    } catch (e) { put(this.rowSaid, h("p", { class: "status error", role: "alert" }, e.message)) }
  }
  slider(made, f) {
    const bar = h("input", { type: "range", min: f.min, max: f.max, step: f.step, value: f.value, "aria-label": `${f.label}, slider`, oninput: () => { made.input.value = bar.value; this.rowAnswer() } })
    made.input.addEventListener("input", () => { bar.value = made.input.value })
    made.box.append(bar)
  }
  async rowAnswer() {
    if (this.asking) { this.again = true; return }  // one question at a time; the last one counts
    this.asking = true
    try {
      const told = await this.ask("predict", { runs: this.row.runs, values: Object.fromEntries(this.rowFields.map(f => [f.f.name, f.value])) })
      put(this.rowSaid, h("h2", {}, told.title), h("p", { class: "mute" }, this.facts.caution), h("div", { class: "gauges", "aria-live": "polite" }, told.networks.map(gauge)), told.networks.length > 1 ? h("p", {}, told.apart) : null, h("h3", {}, "Which inputs push it"), h("p", { class: "mute" }, told.how), pushes(told))
    } catch (e) { put(this.rowSaid, h("p", { class: "status error", role: "alert" }, e.message)) }
    this.asking = false
    if (this.again) { this.again = false; this.rowAnswer() }
  }

  // --- clean up ---
  cleaning() {
    this.doom = h("section", { class: "card", "aria-label": "Clean up" })
    this.panel("clean").append(this.doom)
  }
  async doomed(said = "") {
    const ids = [...this.chosen], head = h("h2", {}, "Clean up"), status = h("p", { role: "status" }, said)
    if (!ids.length) return put(this.doom, head, status, h("div", { class: "empty" }, "Tick the runs to delete in the table above. Nothing is deleted before you have seen what it is and confirmed it."))
    try {
      const { items, total } = await this.ask("doomed", { runs: ids })
      const sure = button(`Delete ${many(items.length, "run")} for good`, () => this.remove(items.map(i => i.run_id), sure), "danger")
      put(this.doom, head, status, h("p", {}, h("b", {}, `Delete ${many(items.length, "run")} for good? `), total), h("ul", {}, items.map(i => h("li", {}, `${i.name} `, h("code", {}, i.run_id), ` – ${i.said}`))), h("div", { class: "row" }, sure, button("Keep them", () => { this.chosen.clear(); this.runs.draw(); this.compare(); this.doomed() })))
    } catch (e) { put(this.doom, head, h("p", { class: "status error", role: "alert" }, e.message)) }
  }
  async remove(runs, sure) {
    sure.disabled = true; sure.textContent = "Deleting …"; this.deleting = true
    let said
    try {
      const gone = await this.ask("delete", { runs })
      said = gone.said; this.chosen.clear(); this.stamp = gone.stamp; this.runs.load(gone.table); this.compare()
    } catch (e) { said = e.message }
    this.deleting = false
    this.doomed(said)
  }
}

function matrix({ head, rows }) {
  return h("div", { class: "scroll", tabindex: 0, role: "group", "aria-label": "Settings and measures" }, h("table", { class: "matrix" }, h("thead", {}, h("tr", {}, h("th", { scope: "col" }, ""), head.map((t, i) => h("th", { scope: "col" }, h("span", { class: "mark", style: `--mark:${colour(i)}` }, t))))),
    h("tbody", {}, rows.map(([name, cells, differs]) => h("tr", { class: differs ? "differs" : "" }, h("th", { scope: "row" }, name), cells.map(c => h("td", {}, c)))))))
}
function gauge(n, i) {
  const percent = v => `${(100 * v).toFixed(1)}%`
  return h("div", { class: "gauge" }, h("div", { class: "row between" }, h("b", {}, n.name), h("span", { class: "p" }, percent(n.p))), h("div", { class: "track" }, n.lo === null ? null : h("div", { class: "spread", style: `left:${percent(n.lo)};width:${percent(Math.max(0.004, n.hi - n.lo))};--mark:${colour(i)}` }), h("div", { class: "base", style: `left:${percent(n.base)}`, title: "share in the table" }), h("div", { class: "needle", style: `left:${percent(n.p)};--mark:${colour(i)}` })), h("div", { class: "mute" }, n.said))
}
function pushes({ networks }) {
  const most = Math.max(0.01, ...networks.flatMap(n => n.pushes.map(p => Math.abs(p.by))))
  return h("div", { class: "pushes" }, networks.map((n, i) => h("div", {}, networks.length > 1 ? h("h3", {}, n.name) : null, h("table", { class: "matrix" }, h("tbody", {}, n.pushes.map(p => h("tr", {}, h("th", { scope: "row" }, p.name), h("td", {}, p.value), h("td", { class: "bar" }, h("div", { class: `push ${p.by < 0 ? "less" : "more"}`, style: `--size:${(50 * Math.abs(p.by) / most).toFixed(1)}%;--mark:${colour(i)}` })), h("td", { class: "count" }, `${p.by < 0 ? "−" : "+"}${(100 * Math.abs(p.by)).toFixed(1)}`))))))))
}

export default { render({ model, el }) { const app = new App(model, el); return () => app.end() } }
