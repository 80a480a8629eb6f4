// Canceling several messages, one by one. Each is asked for by itself, so that one that has gone
// meanwhile holds none of the others back.
import { ref, shallowRef } from 'vue'

import { api, of, Offline, Problem, type Schemas } from '../../api'

export type Message = Schemas['Message']

/** As the server has it: whether it is too late is decided there. */
export const cancelable = (m: Message) => m.status === 'held' || m.status === 'scheduled' || m.status === 'queued'

export type Outcome = {
  /** How many there were, and with how many it is over. */
  all: number
  done: number
  canceled: number
  /** Stopped, but an earlier attempt of theirs is unclear. */
  uncertain: number
  /** Sent, ended or deleted before. */
  gone: number
  failed: number
}

const gone = (e: unknown) => e instanceof Problem && ['too_late', 'already_final', 'not_found'].includes(e.code)
// Whoever may not, or reaches nobody, need not ask about the next one.
const hopeless = (e: unknown) => e instanceof Offline || (e instanceof Problem && (e.status === 401 || e.status === 403))

export function useCanceling(changed: (m: Message) => void) {
  const outcome = shallowRef<Outcome>()
  const running = ref(false)
  const problem = shallowRef<unknown>()
  let stopped = false

  async function cancel(id: string): Promise<keyof Outcome> {
    const params = { path: { id } }
    try {
      const m = await of(api.POST('/v1/messages/{id}/cancel', { params }))
      changed(m)
      return m.status === 'canceled' ? 'canceled' : 'uncertain'
    } catch (e) {
      if (!gone(e)) throw e
      const now = await of(api.GET('/v1/messages/{id}', { params })).catch(() => undefined)
      if (now) changed(now)
      return 'gone'
    }
  }

  async function run(ids: string[]) {
    if (running.value) return
    running.value = true
    stopped = false
    problem.value = undefined
    const o: Outcome = { all: ids.length, done: 0, canceled: 0, uncertain: 0, gone: 0, failed: 0 }
    outcome.value = { ...o }
    for (const id of ids) {
      if (stopped) break
      try {
        o[await cancel(id)]++
      } catch (e) {
        problem.value ??= e
        if (hopeless(e)) break
        o.failed++
      }
      o.done++
      outcome.value = { ...o }
    }
    running.value = false
  }

  return { outcome, running, problem, run, stop: () => void (stopped = true), forget: () => (outcome.value = problem.value = undefined) }
}
