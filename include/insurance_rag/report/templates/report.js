"use strict";
// Strings from the run are inserted only through textContent, never as markup.

const PAGE = 40; // questions drawn at a time; the answers to a question are drawn when it is opened
const WORDS = 5; // with more models, the list shows signs without words
const LONG = 4000; // characters of a text that are shown before the reader asks for more
const root = document.documentElement;
let data, lang, shown, matching;

const byId = (id) => document.getElementById(id);
const text = (key, values = {}) =>
  (data.texts[key]?.[lang] ?? key).replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
const typeName = (type) => data.texts["type_" + type]?.[lang] ?? type;
const checkName = (check) => data.checks[check]?.[lang] ?? check;
const problemName = (kind) => data.problems[kind]?.[lang] ?? kind;

function el(tag, properties = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

// ---- language and theme; the choice is stored if the browser allows it

function remember(key, value) {
  try { localStorage.setItem("report." + key, value); } catch { /* a file:// page may have no storage; the choice is then lost */ }
}
function remembered(key) {
  try { return localStorage.getItem("report." + key); } catch { return null; }
}

function speak(language) {
  lang = root.lang = root.dataset.lang = language;
  label(document);
  drawFilters();
}

function label(scope) {
  for (const node of scope.querySelectorAll("[data-t-label]")) node.setAttribute("aria-label", text(node.dataset.tLabel));
}

// Inside Airflow, the page follows Airflow's theme and language; elsewhere, those of the browser.
const airflow = (() => {
  try { return parent === window ? null : parent.document.documentElement; } catch { return null; }
})();

function chooseTheme() {
  const around = ["dark", "light"].find((name) => airflow?.classList.contains(name));
  const theme = remembered("theme") ?? around;
  if (theme) root.dataset.theme = theme;
}

// ---- the list of questions

const selected = (name) => byId("filters").elements[name].value;

// Pairs of name and number of answers with it, most frequent first. `names` returns the names in one answer.
function frequent(names) {
  const found = new Map();
  for (const { answers } of data.questions)
    for (const answer of answers) for (const name of new Set(names(answer))) found.set(name, (found.get(name) ?? 0) + 1);
  return [...found].sort((a, b) => b[1] - a[1]);
}

function drawFilters() {
  const form = byId("filters");
  if (!form || !data.questions) return;
  const unique = (values) => [...new Set(values)].filter(Boolean).sort().map((value) => [value, value]);
  const options = {
    model: data.models.map((name) => [name, name]),
    type: unique(data.questions.map((q) => q.type)).map(([value]) => [value, typeName(value)]),
    product: unique(data.questions.map((q) => q.product)),
    correct: [
      ...["wrong", "correct", "unjudged", "differ"].map((state) => [state, text("state_is_" + state)]),
      ...frequent((a) => a.problems.map((p) => p.kind)).map(([kind, n]) => ["problem:" + kind, `${problemName(kind)} (${n})`]),
    ],
    finding: [
      ["any", text("any_finding")], ["none", text("no_finding")], ["refused", text("refused")],
      ...frequent((a) => a.findings.map((f) => f.check)).map(([check, n]) => ["check:" + check, `${checkName(check)} (${n})`]),
    ],
    sort: [["wrong", text("sort_wrong")], ["findings", text("sort_findings")]],
  };
  for (const [name, values] of Object.entries(options)) {
    const select = form.elements[name];
    const before = select.value;
    select.replaceChildren(...[["", text("all")], ...values].map(([value, label]) => el("option", { value, textContent: label })));
    if (name === "sort") select.options[0].textContent = text("sort_file");
    select.value = values.some(([value]) => value === before) ? before : "";
  }
  drawList();
}

// correct, wrong or unjudged
const state = ({ correct }) => (correct === null ? "unjudged" : correct ? "correct" : "wrong");

function correctMatches(answer, wanted) {
  if (!wanted || wanted === "differ") return true;
  return state(answer) === wanted || answer.problems.some(({ kind }) => "problem:" + kind === wanted);
}

function findingMatches(answer, finding) {
  if (!finding) return true;
  if (finding === "any") return answer.findings.length > 0;
  if (finding === "none") return answer.findings.length === 0;
  if (finding === "refused") return answer.refusal !== "none";
  return answer.findings.some(({ check }) => "check:" + check === finding);
}

function visibleAnswers(question) {
  const model = selected("model");
  return question.answers.filter((answer) => !model || answer.model === model);
}

function questionMatches(question) {
  const [type, product, correct, finding, words] = ["type", "product", "correct", "finding", "text"].map(selected);
  if ((type && question.type !== type) || (product && question.product !== product)) return false;
  const answers = visibleAnswers(question);
  if (!answers.some((answer) => correctMatches(answer, correct) && findingMatches(answer, finding))) return false;
  if (correct === "differ" && !["correct", "wrong"].every((wanted) => question.answers.some((a) => state(a) === wanted))) return false;
  const wanted = words.trim().toLowerCase();
  return !wanted || [question.id, question.question, ...answers.map((a) => a.answer)].some((s) => s.toLowerCase().includes(wanted));
}

function drawList() {
  matching = data.questions.filter(questionMatches);
  const count = { wrong: (a) => state(a) === "wrong", findings: (a) => a.findings.length > 0 }[selected("sort")];
  if (count) { // questions with equally many such answers stay in the order of the file
    const many = new Map(matching.map((question) => [question, visibleAnswers(question).filter(count).length]));
    matching.sort((a, b) => many.get(b) - many.get(a));
  }
  shown = 0;
  byId("list").replaceChildren();
  drawMore();
}

function drawMore() {
  const next = matching.slice(shown, shown + PAGE);
  byId("list").append(...next.map(drawQuestion));
  shown += next.length;
  byId("more").hidden = shown >= matching.length;
  byId("questions").classList.toggle("many", data.models.length > WORDS && !selected("model"));
  const models = selected("model") ? [selected("model")] : data.models;
  byId("count").replaceChildren(
    el("span", { textContent: matching.length ? text("shown", { n: data.questions.length, shown: matching.length }) : text("nothing_found") }),
    el("span", { className: "marks" }, ...models.map((name) => el("span", { textContent: name, title: name }))),
  );
}

const SIGNS = { correct: "✓", wrong: "✕", unjudged: "?" };

// What the list shows of an answer: whether it is correct, and its findings or refusal.
function mark(answer) {
  if (!answer) return el("span", {});
  const [sign, key] = answer.findings.length ? [answer.hallucinated ? "●" : "◐", "mark_fault"]
    : answer.refusal !== "none" ? ["–", "mark_refusal"] : ["", "mark_clean"];
  const is = state(answer), word = text("state_" + is);
  const names = [...answer.problems.map(({ kind }) => problemName(kind)), ...answer.findings.map(({ check }) => checkName(check))];
  const label = [word, text(key), ...new Set(names)].join(" · ");
  const node = el("span", { className: is, title: label },
    el("b", { textContent: SIGNS[is] }), el("span", { className: "word", textContent: word }), el("i", { textContent: sign }));
  node.setAttribute("aria-label", `${answer.model} ${label}`);
  node.setAttribute("role", "img");
  return node;
}

function drawQuestion(question) {
  const models = selected("model") ? [selected("model")] : data.models;
  const about = [typeName(question.type), question.product].filter(Boolean).join(" · ");
  const details = el("details", { className: "question" },
    el("summary", {},
      el("span", { className: "id", textContent: question.id }),
      el("span", {}, el("bdi", { lang: "ko", textContent: question.question }), el("span", { className: "about", textContent: about })),
      el("span", { className: "marks" }, ...models.map((name) => mark(question.answers.find((a) => a.model === name))))));
  details.addEventListener("toggle", () => {
    if (details.open && details.children.length === 1) details.append(drawDetail(question));
  });
  return details;
}

function drawDetail(question) {
  const answers = visibleAnswers(question);
  const reference = question.reference && el("div", { className: "reference" },
    el("h4", { textContent: text("reference") }), el("div", { className: "text", lang: "ko", textContent: question.reference }));
  const evidence = answers.flatMap(({ findings }) => findings.map((f) => f.evidence)).filter(Boolean);
  const chunks = [...question.retrieved, ...question.gold.filter((id) => !question.retrieved.includes(id))];
  const model = selected("model");
  const gold = question.gold_answers.filter((answer) => !model || answer.model === model);
  return el("div", { className: "detail" },
    el("div", {}, reference, ...answers.map(drawAnswer),
      gold.length ? el("details", {}, el("summary", { textContent: text("gold_answers") }), ...gold.map(drawAnswer)) : null),
    el("div", { className: "chunks" }, el("h4", { textContent: text("retrieved") }),
      ...chunks.map((id, place) => drawChunk(id, question, evidence, place === 0))));
}

function drawAnswer(answer) {
  const refused = { full: "mark_refusal", partial: "mark_partial" }[answer.refusal];
  const refusal = refused ? el("span", { className: "chip", textContent: text(refused) }) : null;
  const body = el("div", { className: "text", lang: "ko" });
  const findings = [...new Map(answer.findings.map((finding) => [finding.check + finding.span, finding])).values()];
  const spans = findings.map(({ span }) => span);
  fill(body, answer.answer, spans, "fault");
  const is = state(answer);
  const chip = el("span", { className: "state " + is }, el("b", { textContent: SIGNS[is] }), " " + text("state_" + is));
  const node = el("div", { className: "answer" },
    el("h4", {}, answer.model, chip, refusal), body,
    answer.unjudged === null ? null : el("p", { className: "muted unjudged", textContent: text(answer.unjudged) }),
    el("ul", { className: "findings" }, ...answer.problems.map(drawProblem), ...findings.map(({ check, span, evidence }) => el("li", {},
      el("b", { textContent: "● " + checkName(check) }), span ? " — " : null, span ? el("bdi", { textContent: clip(span, 160) }) : null,
      evidence ? ` · ${text("evidence")}: ` : null, evidence ? el("bdi", { textContent: clip(evidence, 240) }) : null))));
  if (answer.raw !== null)
    node.append(el("details", {}, el("summary", { textContent: text("raw") + (answer.cut ? ` (${text("cut_at")} “${answer.cut}”)` : "") }),
      el("div", { className: "text", lang: "ko", textContent: clip(answer.raw, LONG) })));
  return node;
}

const drawProblem = ({ kind, text: why }) => el("li", {},
  el("b", { textContent: "✕ " + problemName(kind) }), why ? " — " : null, why ? el("bdi", { textContent: clip(why, 240) }) : null);

// The first chunk, gold chunks and chunks quoted by a finding are open; other chunks show only their titles.
function drawChunk(id, question, evidence, first) {
  const chunk = data.chunks[id] ?? { text: "", title: id };
  const gold = question.gold.includes(id);
  const chip = gold ? el("span", { className: "chip", textContent: text(question.retrieved.includes(id) ? "gold" : "gold_missed") }) : null;
  const body = el("div", { className: "text", lang: "ko" });
  fill(body, chunk.text, evidence, "");
  return el("details", { className: "chunk", open: first || gold || evidence.some((quote) => chunk.text.includes(quote)) },
    el("summary", {}, el("bdi", { textContent: chunk.title }), " ", chip), body);
}

const clip = (value, length) => (value.length > length ? value.slice(0, length) + "…" : value);

// Write `value` into `node`, with the first occurrence of each span inside a <mark>.
function fill(node, value, spans, className, limit = LONG) {
  if (!value) { node.append(el("span", { className: "muted", textContent: text("no_answer") })); return; }
  const places = spans.filter(Boolean).map((span) => [value.indexOf(span), span.length]).filter(([start]) => start >= 0)
    .map(([start, length]) => [start, start + length]).sort((a, b) => a[0] - b[0]);
  const end = Math.min(value.length, limit);
  let at = 0;
  for (const [start, stop] of places) {
    if (start < at || start >= end) continue;
    node.append(value.slice(at, start), el("mark", { className, textContent: value.slice(start, Math.min(stop, end)) }));
    at = Math.min(stop, end);
  }
  node.append(value.slice(at, end));
  if (end < value.length) {
    const button = el("button", { type: "button", textContent: text("show_all", { n: value.length.toLocaleString() }) });
    button.addEventListener("click", () => { node.replaceChildren(); fill(node, value, spans, className, Infinity); });
    node.append("… ", button);
  }
}

// ---- start

function load() {
  data = JSON.parse(byId("data").textContent);
  speak(remembered("lang") ?? ((airflow?.lang || navigator.language).startsWith("ko") ? "ko" : "en"));
}

document.addEventListener("click", ({ target }) => {
  const button = target.closest("button");
  if (button?.id === "more") drawMore();
  if (button?.id === "language") { remember("lang", lang === "ko" ? "en" : "ko"); speak(lang === "ko" ? "en" : "ko"); }
  if (button?.id === "theme") {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    remember("theme", root.dataset.theme);
  }
});
document.addEventListener("input", ({ target }) => { if (target.form?.id === "filters") drawList(); });
document.addEventListener("submit", (event) => { if (event.target.id === "filters") event.preventDefault(); });
document.addEventListener("keydown", (event) => { // j and k or the arrow keys move through the list, / starts a search
  if (event.target.matches("input, select, textarea") || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "/" && byId("filters")) { event.preventDefault(); byId("filters").elements.text.focus(); return; }
  const step = { j: 1, ArrowDown: 1, k: -1, ArrowUp: -1 }[event.key];
  const here = document.activeElement?.closest?.(".question");
  if (!step || !here) return;
  if (step > 0 && !here.nextElementSibling && !byId("more").hidden) drawMore();
  const next = step > 0 ? here.nextElementSibling : here.previousElementSibling;
  if (next) { event.preventDefault(); next.querySelector("summary").focus(); }
});
addEventListener("beforeprint", () => { while (matching && shown < matching.length) drawMore(); });

if (airflow) new MutationObserver(chooseTheme).observe(airflow, { attributeFilter: ["class"] });
chooseTheme();
load();
