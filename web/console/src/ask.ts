// Questions before something is undone or destroyed, in proportion.
import { ElMessage, ElMessageBox } from 'element-plus'

import { Problem } from './api'
import { i18n } from './i18n'
import common from './texts/common'

function word(key: keyof typeof common, args: Record<string, string> = {}): string {
  const text: string = common[key][i18n.global.locale.value === 'zh' ? 0 : 1]
  return text.replace(/\{(\w+)\}/g, (_, k: string) => args[k] ?? '')
}

/** Asks; type: what must be typed before it may be done, for what cannot be undone. */
export async function ask(q: { title: string; text: string; yes: string; type?: string; danger?: boolean }): Promise<boolean> {
  const common = {
    confirmButtonText: q.yes,
    cancelButtonText: word('cancel'),
    confirmButtonType: q.danger ? ('danger' as const) : ('primary' as const),
    autofocus: true,
  }
  try {
    if (q.type) {
      const typed = q.type
      await ElMessageBox.prompt(`${q.text} ${word('typeToConfirm', { text: typed })}`, q.title, {
        ...common,
        inputValidator: (v: string) => v?.trim() === typed || word('typeToConfirm', { text: typed }),
      })
    } else {
      await ElMessageBox.confirm(q.text, q.title, common)
    }
    return true
  } catch {
    return false
  }
}

/** Does something that a click asked for; what goes wrong is said where the reader looks. */
export async function attempt(does: () => Promise<unknown>, done?: string): Promise<boolean> {
  try {
    await does()
    if (done) ElMessage.success(done)
    return true
  } catch (e) {
    const text = e instanceof Problem ? [e.body.title, e.body.hint || e.body.detail].join(': ') : String(e)
    ElMessage.error({ message: text, duration: 8000, showClose: true })
    return false
  }
}
