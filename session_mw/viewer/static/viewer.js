// Comfort only: every page is complete without it.
const filter = document.getElementById("q")
const typing = (target) => target.closest("input, textarea, select, [contenteditable]") !== null

filter?.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault()
    filter.form.requestSubmit()
  }
})

const rows = [...document.querySelectorAll("table.sessions tbody th a")]

function step(by) {
  const at = rows.indexOf(document.activeElement)
  rows[at < 0 ? 0 : Math.max(0, Math.min(rows.length - 1, at + by))]?.focus()
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target)) return
  if (event.key === "/" && filter) {
    event.preventDefault()
    filter.focus()
    filter.setSelectionRange(filter.value.length, filter.value.length)
  } else if (event.key === "j") step(1)
  else if (event.key === "k") step(-1)
})

if (navigator.clipboard) {
  for (const button of document.querySelectorAll("button[data-copy]")) {
    button.hidden = false
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(button.dataset.copy)
      button.textContent = "Copied"
    })
  }
}
