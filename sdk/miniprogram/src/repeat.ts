import type { Emit } from './outbox'
import type { Phone } from './phone'
import type { Server } from './server'

/**
 * Runs `round` one at a time: a call during one runs it once more after it. A round that fails is
 * repeated with growing waits, and not before the server wants to hear from us. Never rejects.
 */
export function repeat(phone: Phone, server: Server, emit: Emit, round: () => Promise<void>): () => Promise<void> {
  let running: Promise<void> | undefined
  let again = false
  let failures = 0
  let timer = 0

  function run(): Promise<void> {
    again = false
    const mine = ++timer
    return round()
      .then(
        () => {
          failures = 0
        },
        (f) => {
          emit('error', f)
          const backOff = Math.min(300000, 2000 * Math.pow(2, failures++)) * (0.5 + Math.random())
          phone.later(() => mine === timer && start(), Math.min(3600000, Math.max(backOff, server.rest())))
        },
      )
      .then(() => {
        if (again) return run()
        running = undefined
        return undefined
      })
  }

  function start(): Promise<void> {
    again = true
    return running || (running = run())
  }
  return start
}
