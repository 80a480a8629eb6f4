// A list on its way: every row checked by the server without sending, then the good ones submitted.
import { computed, onScopeDispose, ref, shallowRef } from 'vue'

import { api, idempotencyKey, of, Problem } from './api'
import type { Row } from './upload'

const together = 6
const chunk = 100

export type Result = { accepted: number; duplicates: number; refused: Row[] }

export const isBad = (r: Row) => r.trouble.length > 0

/** What the server found, in its words. Details are for programmers, and in English alone. */
function wordsOf(e: Problem['body']): string {
  return e.code === 'no_grant' ? e.title : [e.title, e.hint || e.detail].filter(Boolean).join(' ')
}

export function useUploading() {
  const rows = shallowRef<Row[]>([])
  const step = ref<'' | 'checking' | 'sending' | 'stuck' | 'done'>('')
  const progress = ref(0)
  const problem = shallowRef<unknown>()
  const result = shallowRef<Result>({ accepted: 0, duplicates: 0, refused: [] })
  let turn = 0
  let todo: { key: string; rows: Row[] }[] = []

  const good = computed(() => rows.value.filter((r) => r.checked && !isBad(r)))
  const bad = computed(() => rows.value.filter(isBad))
  onScopeDispose(() => turn++)

  function reset(next: Row[] = []) {
    turn++
    rows.value = next
    step.value = ''
    problem.value = undefined
  }

  async function checkRow(r: Row): Promise<Row> {
    if (isBad(r)) return { ...r, checked: true }
    // With its dedup key a row that was sent before would be answered without being looked at.
    const { dedup_key: _, ...body } = r.submission
    try {
      const m = await of(api.POST('/v1/messages', { body: { ...body, dry_run: true } }))
      return { ...r, checked: true, warnings: m.warnings ?? [] }
    } catch (e) {
      if (!(e instanceof Problem) || e.status === 401 || e.status === 429 || e.status >= 500) throw e
      return { ...r, checked: true, trouble: [{ kind: 'refused', text: wordsOf(e.body), faults: e.body.errors }] }
    }
  }

  /** Checks all rows, some at a time. */
  async function check(next: Row[]) {
    reset(next)
    const mine = turn
    const checked = [...next]
    let at = 0
    progress.value = 0
    step.value = 'checking'
    const worker = async () => {
      while (at < next.length && mine === turn) {
        const i = at++
        checked[i] = await checkRow(next[i])
        if (mine === turn) progress.value++
      }
    }
    try {
      await Promise.all(Array.from({ length: together }, worker))
      if (mine === turn) rows.value = checked
    } catch (e) {
      if (mine === turn) [problem.value, turn] = [e, turn + 1]
      step.value = ''
      return
    }
    if (mine === turn) step.value = ''
  }

  /** Submits the good rows. Each part has a key, so that going on after a failure repeats nothing. */
  async function send() {
    const all = good.value
    todo = []
    for (let i = 0; i < all.length; i += chunk) todo.push({ key: idempotencyKey(), rows: all.slice(i, i + chunk) })
    result.value = { accepted: 0, duplicates: 0, refused: [] }
    progress.value = 0
    await goOn()
  }

  async function goOn() {
    if (step.value === 'sending') return
    step.value = 'sending'
    problem.value = undefined
    const mine = turn
    while (todo.length > 0 && mine === turn) {
      const part = todo[0]
      try {
        const body = { mode: 'permissive' as const, messages: part.rows.map((r) => r.submission) }
        const { items } = await of(api.POST('/v1/messages/batch', { params: { header: { 'Idempotency-Key': part.key } }, body }))
        take(part.rows, items)
      } catch (e) {
        if (mine === turn) [problem.value, step.value] = [e, 'stuck']
        return
      }
      todo.shift()
      progress.value += part.rows.length
    }
    if (mine === turn) step.value = 'done'
  }

  function take(sent: Row[], items: { message?: { duplicate?: boolean }; error?: Problem['body'] }[]) {
    const r = result.value
    const duplicates = items.filter((i) => i.message?.duplicate).length
    const refused = items.flatMap((i, n) => (i.error ? [{ ...sent[n], trouble: [{ kind: 'refused' as const, text: wordsOf(i.error), faults: i.error.errors }] }] : []))
    result.value = {
      accepted: r.accepted + items.length - duplicates - refused.length,
      duplicates: r.duplicates + duplicates,
      refused: r.refused.concat(refused),
    }
  }

  return { rows, good, bad, step, progress, problem, result, reset, check, send, goOn, stop: () => reset() }
}
