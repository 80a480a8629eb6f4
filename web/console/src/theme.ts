// Light or dark: as the reader chose, else as the system is.
import { ref, watchEffect } from 'vue'

export type Theme = 'auto' | 'light' | 'dark'

const stored = 'hongyan.theme'
const system = matchMedia('(prefers-color-scheme: dark)')
const systemDark = ref(system.matches)
system.addEventListener('change', (e) => (systemDark.value = e.matches))

const chosen = localStorage.getItem(stored)
export const theme = ref<Theme>(chosen === 'light' || chosen === 'dark' ? chosen : 'auto')
export const dark = ref(false)

watchEffect(() => {
  dark.value = theme.value === 'dark' || (theme.value === 'auto' && systemDark.value)
  document.documentElement.classList.toggle('dark', dark.value)
  localStorage.setItem(stored, theme.value)
})
