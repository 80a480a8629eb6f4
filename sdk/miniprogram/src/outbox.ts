import type { Dropped, Events, Report } from './types'
import type { Phone } from './phone'
import { failure, type Failure, type Server } from './server'

const most = 200
const batchSize = 50
const oldest = 30 * 24 * 3600000 // the server takes no older ones

export type Emit = <E extends keyof Events>(event: E, value: Events[E]) => void

export type Outbox = ReturnType<typeof openOutbox>

/** Reports on their way to the server: in storage before they are posted, out of it when they were taken. */
export function openOutbox(phone: Phone, server: Server, emit: Emit) {
  let reports = ([] as Report[]).concat(phone.load('reports', []))

  function keep(kept: Report[]): void {
    reports = kept
    phone.store('reports', kept)
  }

  function remove(gone: Report[]): void {
    if (gone.length) keep(reports.filter((r) => gone.indexOf(r) < 0))
  }

  function drop(gone: Report[], reason: Dropped['reason'], error?: Failure): void {
    remove(gone)
    gone.forEach((report) => emit('dropped', { report, reason, error }))
  }

  function post(size = batchSize): Promise<void> {
    const now = phone.now()
    drop(
      reports.filter((r) => now - r.tap > oldest),
      'expired',
    )
    const batch = reports.slice(0, size)
    if (!batch.length) return Promise.resolve()
    const wire = batch.map((r) => {
      const w: Partial<Report> = Object.assign({ age_ms: Math.max(0, now - r.tap) }, r)
      delete w.tap
      return w
    })
    return server.request('POST', 'grants', { reports: wire }).then(
      ({ items }) => {
        if (!items) throw failure(0, 'bad_answer')
        remove(batch)
        emit('reported', items)
        return post(size)
      },
      (f) => {
        const bad = refused(f, batch)
        if (!bad) throw f
        drop(bad, 'refused', f)
        return post(bad.length ? batchSize : 1)
      },
    )
  }

  return {
    /** Posts until nothing waits. Rejects with the Failure that stopped it; what was not taken stays. */
    post,

    add(more: Report[]): void {
      if (more.length) keep(reports.concat(more))
      drop(reports.slice(0, -most), 'full')
    },

    /** Accepts of a template that the server has not counted yet. */
    accepts: (id: string) => reports.filter((r) => r.template === id && isAccept(r.choice)).length,
  }
}

/** Every word that begins so is an agreement: acceptWithAudio and its like. */
export function isAccept(choice: unknown): boolean {
  return /^accept/.test(String(choice))
}

/**
 * Which reports the server will never take. None ([]) if it is one of several and nobody said which:
 * they go one by one until it is found. Undefined if the failure is not about reports: 403 to 405
 * without a pointer speak of the app or the address.
 */
function refused({ status, pointers }: Failure, batch: Report[]): Report[] | undefined {
  if (!/^4(?!01|08|29)/.test(String(status))) return undefined
  const named = batch.filter((_, i) => pointers.some((p) => p.indexOf('/reports/' + i + '/') === 0))
  if (named.length) return named
  if (/40[345]/.test(String(status))) return undefined
  return batch.length > 1 ? [] : batch
}
