// Pages read again when the server says that something changed (GET /v1/live), at most twice a
// second, and not while nobody looks at them.
import { onScopeDispose } from 'vue'

import { drawing } from '../load'

export type Topic = 'messages' | 'grants' | 'callbacks' | 'apps' | 'templates' | 'webhooks'

type Listener = { topics: ReadonlySet<Topic>; poke: () => void }

const listeners = new Set<Listener>()
let source: EventSource | undefined
let again: ReturnType<typeof setTimeout> | undefined

// At most twice a second, and drawing takes at most a fiftieth of the time.
const least = 500
const share = 50

function open() {
  if (source || listeners.size === 0) return
  source = new EventSource('/v1/live')
  source.addEventListener('changed', (e) => {
    const { topics } = JSON.parse((e as MessageEvent<string>).data) as { topics: Topic[] }
    for (const l of listeners) if (topics.some((t) => l.topics.has(t))) l.poke()
  })
  // A browser goes on by itself after a lost connection, but not after a refusal.
  source.onerror = () => {
    if (source?.readyState !== EventSource.CLOSED) return
    close()
    again = setTimeout(open, 5000)
  }
}

function close() {
  source?.close()
  source = undefined
  clearTimeout(again)
}

document.addEventListener('visibilitychange', () => {
  if (document.hidden) {
    close()
    return
  }
  for (const l of listeners) l.poke()
  open()
})

/** Calls read when one of the topics changed: one at a time, at most twice a second. */
export function useLive(topics: Topic[], read: () => Promise<unknown> | unknown) {
  let last = 0
  let wait = least
  let waiting: ReturnType<typeof setTimeout> | undefined
  let busy = false
  let missed = false
  const run = async () => {
    waiting = undefined
    busy = true
    last = Date.now()
    try {
      await read()
      wait = Math.max(least, share * drawing.ms)
    } finally {
      busy = false
      if (missed) {
        missed = false
        poke()
      }
    }
  }
  const poke = () => {
    if (document.hidden || waiting) return
    if (busy) {
      missed = true
      return
    }
    waiting = setTimeout(run, Math.max(0, last + wait - Date.now()))
  }
  const me: Listener = { topics: new Set(topics), poke }
  listeners.add(me)
  open()
  onScopeDispose(() => {
    listeners.delete(me)
    clearTimeout(waiting)
    if (listeners.size === 0) close()
  })
}
