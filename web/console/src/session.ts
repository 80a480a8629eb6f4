// Who is signed in, and what that one may do.
import { computed, reactive, readonly } from 'vue'

import { api, of, Problem, type Schemas } from './api'

export type Session = Schemas['Session']

const state = reactive<{ session: Session | null; asked: boolean }>({ session: null, asked: false })

/** Asks once who is signed in. */
export async function knowSession(): Promise<Session | null> {
  if (!state.asked) {
    try {
      state.session = await of(api.GET('/v1/session'))
    } catch (e) {
      if (!(e instanceof Problem) || e.status !== 401) throw e
      state.session = null
    }
    state.asked = true
  }
  return state.session
}

export function setSession(s: Session | null) {
  state.session = s
  state.asked = true
}

export async function signOut() {
  await of(api.DELETE('/v1/session'))
  setSession(null)
}

export function useSession() {
  return {
    session: computed(() => readonly(state).session),
    /** Whether the member may change things. */
    may: (scope: string) => state.session?.scopes.includes(scope as never) ?? false,
  }
}
