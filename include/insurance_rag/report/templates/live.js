
// ---- in Airflow: news every two seconds while the run works, and a rerun of what failed

const page = document.body.dataset;

const parse = (html) => new DOMParser().parseFromString(html, "text/html");

function swap(fresh) {
  for (const part of fresh.querySelectorAll("[data-part]")) {
    label(part);
    if (part.id !== "questions" && byId(part.id)?.outerHTML !== part.outerHTML) byId(part.id)?.replaceWith(document.adoptNode(part));
  }
}

async function refreshAll() {
  const fresh = parse(await (await fetch(location.pathname)).text());
  const before = byId("data").textContent;
  const after = fresh.getElementById("data").textContent;
  if (before !== after) {
    byId("questions").replaceWith(document.adoptNode(fresh.getElementById("questions")));
    byId("data").textContent = after;
    load();
  }
  swap(fresh);
  page.version = fresh.body.dataset.version;
}

async function news() {
  let wait = 10000;
  try {
    const response = await fetch(page.live);
    if (!response.ok) throw new Error(response.status);
    const got = await response.json();
    if (got.version !== page.version) await refreshAll();
    swap(parse(got.parts));
    if (got.running) wait = 2000;
  } catch {
    if (byId("pulse")) byId("pulse").textContent = text("offline");
  }
  setTimeout(news, document.hidden ? 30000 : wait);
}

async function clearFailed(dry) {
  const response = await fetch(page.clear, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ dry_run: dry, dag_run_id: page.run, only_failed: true }),
  });
  if (response.status === 403) throw new Error(text("retry_forbidden"));
  if (!response.ok) throw new Error(`${text("retry_error")} (${response.status})`);
  return (await response.json()).task_instances;
}

function say(message, tasks = []) {
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
      say(text(tasks.length ? "retry_which" : "retry_none"), tasks);
      byId(tasks.length ? "rerun-yes" : "rerun-no").focus();
    }
    if (id === "rerun-yes") { await clearFailed(false); say(text("retry_done")); }
  } catch (error) { say(error.message); }
});

setTimeout(news, 1000);
