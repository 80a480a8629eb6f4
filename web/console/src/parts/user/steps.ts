// A subscription's history: what was entered, and the messages that used grants, in one order.
import type { Schemas } from '../../api'

export type Step = { id: string; at: string; recorded: string; source: string; change: number; choice?: string; ref?: string; message?: string }

const spending = ['accepted', 'delivered', 'undelivered']

/** Newest first. */
export function stepsOf(entries: Schemas['Entry'][], messages: Schemas['Message'][]): Step[] {
  const steps: Step[] = entries.map((e) => {
    const ofMessage = e.ref?.startsWith('msg_')
    return {
      id: e.id,
      at: e.at,
      recorded: e.recorded_at,
      source: e.source,
      change: (e.granted ?? 0) - (e.voided ?? 0) - (e.spent ?? 0),
      choice: e.choice,
      ref: ofMessage ? undefined : e.ref,
      message: ofMessage ? e.ref : undefined,
    }
  })
  for (const m of messages) {
    if (m.reserved === 0 || !spending.includes(m.status)) continue
    steps.push({ id: m.id, at: m.updated_at, recorded: m.updated_at, source: 'message', change: -m.reserved, message: m.id })
  }
  return steps.sort((a, b) => b.at.localeCompare(a.at))
}
