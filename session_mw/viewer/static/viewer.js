// Comfort only: every page is complete without it.
const filter = document.getElementById("q")
const typing = (target) => target.closest("input, textarea, select, [contenteditable]") !== null

filter?.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault()
    filter.form.requestSubmit()
  }
})

const rows = [...document.querySelectorAll("table:is(.sessions, .groups) tbody th a")]

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
  for (const button of document.querySelectorAll("button[data-copy], button[data-copy-link]")) {
    button.hidden = false
    button.addEventListener("click", async () => {
      const {copy, copyLink} = button.dataset
      await navigator.clipboard.writeText(copy ?? new URL(copyLink, location.href).href)
      button.textContent = "Copied"
    })
  }
}

// A menu closes when somebody goes on elsewhere.
const menus = [...document.querySelectorAll("details.menu")]
const close = (event) => menus.filter((menu) => !menu.contains(event.target)).forEach((menu) => { menu.open = false })
document.addEventListener("pointerdown", close)
document.addEventListener("focusin", close)
document.addEventListener("keydown", (event) => {
  const menu = event.key === "Escape" && menus.find((one) => one.open)
  if (!menu) return
  menu.open = false
  menu.querySelector("summary").focus()
})

// Whether there is anything new is asked only while somebody can see the page; what is new is shown only when asked for.
function follow(news) {
  const again = news.parentElement.querySelector(".again")
  const usual = news.dataset.every * 1000
  let wait = usual, asking = false, known = "", timer
  async function ask() {
    clearTimeout(timer)
    if (document.hidden || asking) return
    asking = true
    try {
      const {changes, tag} = news.dataset
      const answer = await fetch(changes, tag ? {headers: {"If-None-Match": tag}} : {})
      if (answer.status !== 304) {
        if (!answer.ok) throw new Error(answer.status)
        known = (await answer.json()).text
        news.dataset.tag = answer.headers.get("etag") ?? ""
      }
      wait = usual
      tell(known)
    } catch {
      wait = Math.min(2 * wait, 60000)
      tell(`No answer; asked again in ${wait / 1000} s`)
    }
    asking = false
    timer = setTimeout(ask, wait)
  }
  function tell(text) {
    if (news.textContent !== text) news.textContent = text  // each change is read out
    again.textContent = known ? "Show" : "Refresh"
  }
  document.addEventListener("visibilitychange", ask)
  timer = setTimeout(ask, wait)
}

document.querySelectorAll("[data-changes]").forEach(follow)
