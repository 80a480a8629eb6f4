import type { Plan, Reason } from './types'

/** A template as the server tells it. */
export interface Template {
  template_id: string
  title: string
  kind: string
  wanted: number
  available: number
  standing: string
}

/**
 * Fills one dialog. Those asked for longest ago come first, so that the next tap begins with what this
 * one leaves over; the first decides the kind, because WeChat takes one kind a call. `avoid` says why
 * a template should be left alone whatever the others are.
 */
export function choose(templates: Template[], avoid: (t: Template) => Reason | false, lastAsked: { [id: string]: number }, limit: number): Plan {
  const left: Plan['left'] = []
  const age = (t: Template) => lastAsked[t.template_id] || 0
  const chosen: Template[] = []
  templates
    .slice()
    .sort((a, b) => age(a) - age(b))
    .forEach((t) => {
      const reason =
        avoid(t) ||
        (chosen[0] && chosen[0].kind !== t.kind && 'other_kind') ||
        (t.title && chosen.some((other) => other.title === t.title) && 'same_title') ||
        (chosen.length >= limit && 'limit')
      if (reason) left.push({ id: t.template_id, reason })
      else chosen.push(t)
    })
  return { ids: chosen.map((t) => t.template_id), left }
}
