"""How the page looks. The palette is that of Okabe and Ito: also those can tell it apart who don't see some colours."""

from __future__ import annotations

from pathlib import Path

COLOURS = {
    "ready": "#0072B2",
    "leased": "#E69F00",
    "delayed": "#CC79A7",
    "done": "#009E73",
    "failed": "#D55E00",
    "cancelled": "#808890",
}
ICONS = {
    "ready": "hourglass_empty",
    "leased": "play_arrow",
    "delayed": "schedule",
    "done": "check_circle",
    "failed": "error",
    "cancelled": "block",
}
"""A shape for each state, beside its colour and its name."""
FAVICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="7" fill="#0b5f96"/>'
    '<path d="M7 9h18M7 16h12M7 23h6" stroke="#fff" stroke-width="3.4" stroke-linecap="round"/></svg>'
)
RELOAD_SCRIPT = """<script>
addEventListener("error", function again({target}) {
  if (!(target instanceof HTMLScriptElement)) return;
  removeEventListener("error", again, true);
  const tried = JSON.parse(sessionStorage.getItem("taskyard-tried") || "[]").filter((at) => Date.now() - at < 60000);
  if (tried.length >= 5) return;
  sessionStorage.setItem("taskyard-tried", JSON.stringify([...tried, Date.now()]));
  setTimeout(() => location.reload(), 200 * 2 ** tried.length);
}, true);
</script>"""
"""Loads a page again of which a script did not come, a few times: without any of them it would stay empty. Chromium breaks off
what it loads when a network comes or goes, as with each container that starts beside it."""
THEME_SCRIPT = """<script>
window.taskyardTheme = (next) => {
  if (next !== undefined) localStorage.setItem("taskyard-theme", next);
  const chosen = localStorage.getItem("taskyard-theme") || "auto";
  if (window.Quasar) Quasar.Dark.set({dark: true, light: false}[chosen] ?? "auto");
  for (const one of document.querySelectorAll("[data-theme]")) one.setAttribute("aria-pressed", one.dataset.theme === chosen);
  return chosen;
};
new MutationObserver((_, me) => {
  if (window.Quasar && document.querySelector("[data-theme]")) { me.disconnect(); taskyardTheme(); }
}).observe(document, {childList: true, subtree: true});
</script>"""
"""The choice between dark and light is the browser's, and stays there."""
STYLE = Path(__file__).with_name("look.css")
