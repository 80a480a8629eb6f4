// What the chart of the last 24 hours draws, and how each line is told from the others.
import type { Schemas } from '../../api'

export type HourRow = { at: number; submitted: number; accepted: number; delivered: number; failed: number }

export type Line = { key: Exclude<keyof HourRow, 'at'>; color: string; bars?: boolean; dash?: number[] }

export const lines: Line[] = [
  { key: 'submitted', color: '--hy-brand', bars: true },
  { key: 'accepted', color: '--hy-brand' },
  { key: 'delivered', color: '--hy-note', dash: [6, 3] },
  { key: 'failed', color: '--hy-bad', dash: [2, 3] },
]

export function hourRows(hours: Schemas['StatsItem'][]): HourRow[] {
  return hours.map((h) => ({
    at: new Date(h.hour ?? 0).getTime(),
    submitted: h.submitted,
    accepted: h.accepted,
    delivered: h.delivered,
    failed: h.failed + h.undelivered,
  }))
}
