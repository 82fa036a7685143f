
// ---- only in Airflow: update the page while the run is active, and rerun failed tasks

const page = document.body.dataset;
const ACTIVE_MS = 2000; // between two updates while a stage is running
const IDLE_MS = 10000;
const HIDDEN_MS = 30000; // while the browser tab is hidden

const parse = (html) => new DOMParser().parseFromString(html, "text/html");

// Replace every part of the page that differs from `fresh`, except the questions, which the script draws.
function replaceParts(fresh) {
  for (const part of fresh.querySelectorAll("[data-part]")) {
    label(part);
    if (part.id !== "questions" && byId(part.id)?.outerHTML !== part.outerHTML) byId(part.id)?.replaceWith(document.adoptNode(part));
  }
}

async function reloadResults() {
  const fresh = parse(await (await fetch(location.pathname)).text());
  const before = byId("data").textContent;
  const after = fresh.getElementById("data").textContent;
  if (before !== after) {
    byId("questions").replaceWith(document.adoptNode(fresh.getElementById("questions")));
    byId("data").textContent = after;
    load();
  }
  replaceParts(fresh);
  page.version = fresh.body.dataset.version;
}

async function update() {
  let wait = IDLE_MS;
  try {
    const response = await fetch(page.updates);
    if (!response.ok) throw new Error(response.status);
    const got = await response.json();
    if (got.version !== page.version) await reloadResults();
    replaceParts(parse(got.parts));
    // Keep an open dialog, even if its tasks are running again.
    byId("rerun").hidden = !got.can_rerun && byId("rerun-panel").hidden;
    if (got.running) wait = ACTIVE_MS;
  } catch {
    if (byId("pulse")) byId("pulse").textContent = text("offline");
  }
  setTimeout(update, document.hidden ? HIDDEN_MS : wait);
}

// Clear the run's failed tasks; with `dry`, only list them.
async function clearFailed(dry) {
  const response = await fetch(page.clear, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ dry_run: dry, dag_run_id: page.run, only_failed: true }),
  });
  if (response.status === 403) throw new Error(text("rerun_forbidden"));
  if (!response.ok) throw new Error(`${text("rerun_error")} (${response.status})`);
  return (await response.json()).task_instances;
}

function showPanel(message, tasks = []) {
  byId("rerun-panel").hidden = false;
  byId("rerun-text").textContent = message;
  byId("rerun-tasks").replaceChildren(...tasks.map((t) =>
    el("li", { textContent: t.task_id + (t.rendered_map_index ? ` · ${t.rendered_map_index}` : t.map_index >= 0 ? ` [${t.map_index}]` : "") })));
  byId("rerun-yes").hidden = tasks.length === 0;
}

document.addEventListener("click", async ({ target }) => {
  const id = target.closest("button")?.id;
  if (!id?.startsWith("rerun-")) return;
  try {
    if (id === "rerun-no") byId("rerun-panel").hidden = true;
    if (id === "rerun-ask") {
      const tasks = await clearFailed(true);
      showPanel(text(tasks.length ? "rerun_which" : "rerun_none"), tasks);
      byId(tasks.length ? "rerun-yes" : "rerun-no").focus();
    }
    if (id === "rerun-yes") { await clearFailed(false); showPanel(text("rerun_done")); }
  } catch (error) { showPanel(error.message); }
});

setTimeout(update, 1000);
