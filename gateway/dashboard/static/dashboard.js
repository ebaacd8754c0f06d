"use strict";

/* What the pages need beyond links and forms: refreshing, keys, theme, sorting, copying. */
(() => {
  const AUTO_REFRESH_MS = 30000;
  const AUTO_KEY = "brain_auto_refresh";

  const view = () => document.getElementById("view");

  const refresh = () =>
    htmx.ajax("GET", location.pathname + location.search, {
      target: "#view",
      select: "#view",
      swap: "outerHTML show:none",
    });

  const switchTheme = () => {
    const root = document.documentElement;
    const isDark = root.dataset.theme
      ? root.dataset.theme === "dark"
      : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = isDark ? "light" : "dark";
    document.cookie = `brain_theme=${root.dataset.theme}; path=/admin/analytics; max-age=31536000; samesite=strict`;
  };

  const copy = async (button) => {
    const source = document.getElementById(button.dataset.from);
    await navigator.clipboard.writeText(source.href ?? source.textContent);
    button.textContent = "Copied";
  };

  const sort = (button) => {
    const header = button.closest("th");
    const table = header.closest("table");
    const column = header.cellIndex;
    const rising = header.getAttribute("aria-sort") === "descending";
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", rising ? "ascending" : "descending");
    const key = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent.trim();
    const compare = (a, b) =>
      header.classList.contains("number") ? Number(key(a)) - Number(key(b)) : key(a).localeCompare(key(b));
    const rows = [...table.tBodies[0].rows].sort((a, b) => (rising ? compare(a, b) : compare(b, a)));
    table.tBodies[0].append(...rows);
  };

  const help = () => document.getElementById("help").showModal();
  const search = () => document.getElementById("search").focus();
  const openTab = (place) => document.querySelectorAll(".tabs a")[place - 1]?.click();

  const acts = { refresh, theme: switchTheme, help, copy, sort };
  const keys = { r: refresh, t: switchTheme, "?": help, "/": search };

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-act]");
    if (button) acts[button.dataset.act](button);
    for (const open of document.querySelectorAll("details[data-closes][open]")) {
      if (!open.contains(event.target)) open.open = false;
    }
  });

  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") {
      for (const open of document.querySelectorAll("details[data-closes][open]")) {
        open.open = false;
        open.querySelector("summary").focus();
      }
    }
    const isTyping = event.target.closest("input:not([type=checkbox]), select, textarea, dialog");
    if (isTyping || event.ctrlKey || event.metaKey || event.altKey) return;
    if (/^[1-6]$/.test(event.key)) openTab(Number(event.key));
    else if (keys[event.key]) keys[event.key]();
    else return;
    event.preventDefault();
  });

  document.addEventListener("change", (event) => {
    if (event.target.id === "auto-refresh") sessionStorage.setItem(AUTO_KEY, event.target.checked ? "1" : "");
    const form = event.target.closest("form.auto");
    /* A break-down by property waits for the property's name. */
    const waits = event.target.id === "by" && event.target.value === "property";
    if (waits) document.getElementById("property").focus();
    else if (form) form.requestSubmit();
  });

  /* What cannot be undone asks first. Without script the form is simply sent. */
  document.addEventListener("submit", (event) => {
    const question = event.target.dataset.confirm;
    if (!question) return;
    event.preventDefault();
    const dialog = document.getElementById("confirm");
    dialog.querySelector("h2").textContent = question;
    dialog.querySelector("[value=yes]").textContent = event.submitter?.textContent ?? "Yes";
    dialog.returnValue = "no";
    dialog.onclose = () => {
      if (dialog.returnValue === "yes") event.target.submit();
    };
    dialog.showModal();
  });

  /* Whoever has searched reads what was found, and the keys work again. */
  document.addEventListener("submit", (event) => {
    if (event.target.matches(".search")) view().focus();
  });

  /* These ask for themselves; the rest of the page is not waiting. */
  const isPart = (event) => ["feed", "customers"].includes(event.detail.target?.id);

  document.addEventListener("htmx:beforeRequest", (event) => {
    if (!isPart(event)) view().setAttribute("aria-busy", "true");
  });

  document.addEventListener("htmx:afterRequest", () => view()?.removeAttribute("aria-busy"));

  const markStale = () => {
    document.getElementById("stale").hidden = false;
    view().classList.add("stale");
  };

  document.addEventListener("htmx:responseError", (event) => {
    /* A page that says what is wrong with its address says it better than a banner. */
    if (event.detail.boosted) location.assign(event.detail.pathInfo.finalRequestPath);
    else markStale();
  });
  document.addEventListener("htmx:sendError", markStale);
  document.addEventListener("htmx:timeout", markStale);

  const restoreAutoRefresh = () => {
    const box = document.getElementById("auto-refresh");
    if (box) box.checked = sessionStorage.getItem(AUTO_KEY) === "1";
  };
  document.addEventListener("htmx:afterSettle", restoreAutoRefresh);
  restoreAutoRefresh();

  setInterval(() => {
    const isRead = document.hidden || document.querySelector("#view details[open]");
    if (sessionStorage.getItem(AUTO_KEY) === "1" && !isRead) refresh();
  }, AUTO_REFRESH_MS);
})();
