import type { Config, Context, Plan, Reason, Result, Target } from './types'
import { choose, type Template } from './choose'
import { fault } from './fault'
import type { Outbox } from './outbox'
import type { Phone } from './phone'
import type { Settings } from './settings'

interface Scene {
  name: string
  templates: Template[]
}

/** What to ask for: scenes as the server last told them, what was refused lately, whose turn it is. */
export function openScenes(config: Config, phone: Phone, outbox: Outbox, settings: Settings) {
  const { cooldownHours = 24 } = config
  const asked: { [id: string]: number } = {} // when
  const refusals: { [id: string]: number } = phone.load('refusals', {}) // when
  let scenes: Scene[] = phone.load('scenes', [])
  let limit = config.maxPerCall || 3

  /** What is known of a template that the page names itself. */
  function find(id: string): Template {
    const all: Template[] = []
    return all.concat(...scenes.map((s) => s.templates)).find((t) => t.template_id === id) || ({ template_id: id, kind: 'unknown' } as Template)
  }

  function avoid({ template_id: id, standing }: Template): Reason | false {
    const word = Object(settings.remembered())[id]
    const since = phone.now() - refusals[id] // negative if the clock went back
    return (
      ((word === 'ban' || standing === 'ban') && 'banned') ||
      (word === 'reject' && 'refused') ||
      (since >= 0 && since < cooldownHours * 3600000 && 'cooling_down')
    )
  }

  function enough({ template_id, kind, standing, available, wanted }: Template): Reason | false {
    const accepts = outbox.accepts(template_id)
    return (kind === 'long_term' ? standing === 'accept' || accepts > 0 : available + accepts >= wanted) && 'enough'
  }

  return {
    plan(target: Target, context?: Context): Plan {
      const { force } = Object(context)
      const explicit = Array.isArray(target)
      const templates = explicit ? [...new Set(target)].map(find) : Object(scenes.find((s) => s.name === Object(target).scene)).templates
      if (!templates || (explicit && !target.length)) return { ids: [], left: [], error: fault(explicit ? 'empty_ids' : 'unknown_scene') }
      return choose(templates, (t) => (!explicit && enough(t)) || (!force && avoid(t)), asked, limit)
    },

    /** Learns from what WeChat said when it was asked for ids. */
    learn(ids: string[], { accepted, rejected, error }: Result, tap: number): void {
      ids.forEach((id) => (asked[id] = tap))
      if (error && error.code === 'too_many') limit = 3
      accepted.forEach((id) => delete refusals[id])
      rejected.forEach((id) => (refusals[id] = tap))
      phone.store('refusals', refusals)
    },

    set(items: Scene[] = []): void {
      scenes = items
      phone.store('scenes', scenes)
    },
  }
}
