// One deed, one key: however often it is tried, the server does it once.
import { idempotencyKey } from './api'

export type Deed<T> = { key: string; body: T }

/**
 * The key and the body of what a form asks for. Both stay as they are until the form changes, so that a
 * second click, or a try after a lost connection, is the same request to the byte.
 */
export function useDeed<F, T>(form: () => F, bodyOf: (form: F) => T): () => Deed<T> {
  let asked = ''
  let deed: Deed<T> | undefined
  return () => {
    const now = JSON.stringify(form())
    if (!deed || now !== asked) {
      asked = now
      deed = { key: idempotencyKey(), body: bodyOf(form()) }
    }
    return deed
  }
}
