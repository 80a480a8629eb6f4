// A dialog within the phone: it takes the focus, keeps it, and gives it back.
import { nextTick, onMounted, onUnmounted, type Ref } from 'vue'

const reachable = 'button:not([disabled]), [href], input:not([disabled]), select, [tabindex="0"]'

export function useTrap(box: Ref<HTMLElement | null>, leave: () => void) {
  const before = document.activeElement as HTMLElement | null
  function onKey(e: KeyboardEvent) {
    if (e.key === 'Escape') {
      e.stopPropagation()
      leave()
      return
    }
    if (e.key !== 'Tab' || !box.value) return
    const all = [...box.value.querySelectorAll<HTMLElement>(reachable)]
    const first = all[0]
    const last = all.at(-1)
    const at = document.activeElement
    if (e.shiftKey && (at === first || at === box.value)) {
      e.preventDefault()
      last?.focus()
    } else if (!e.shiftKey && at === last) {
      e.preventDefault()
      first?.focus()
    }
  }
  onMounted(() => {
    box.value?.addEventListener('keydown', onKey)
    box.value?.focus()
  })
  onUnmounted(() => {
    // What opened it may be gone with it: then the phone's screen takes the focus.
    void nextTick(() => (before?.isConnected && before !== document.body ? before : document.querySelector<HTMLElement>('#phone-screen'))?.focus())
  })
}
