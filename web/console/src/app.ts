// The app that the pages speak of: in the query (?app=), else the one looked at last.
import { computed, reactive } from 'vue'
import { useRoute, useRouter, type RouteLocationNormalized } from 'vue-router'

import { api, of, type Schemas } from './api'

const stored = 'hongyan.app'

const state = reactive<{ apps: Schemas['App'][]; loaded: boolean }>({ apps: [], loaded: false })

export async function loadApps() {
  state.apps = (await of(api.GET('/v1/apps'))).items
  state.loaded = true
}

/** A page about an app was looked at; pages that name none go on with it. */
export function looksAt(route: RouteLocationNormalized) {
  const asked = String(route.query.app ?? route.params.appid ?? '')
  if (asked) localStorage.setItem(stored, asked)
}

export function useApps() {
  const route = useRoute()
  const router = useRouter()
  const appid = computed({
    get: () => {
      const asked = String(route.query.app ?? route.params.appid ?? '')
      if (asked) return asked
      const last = localStorage.getItem(stored)
      return state.apps.find((a) => a.appid === last)?.appid ?? state.apps[0]?.appid ?? ''
    },
    set: (id: string) => {
      void router.replace({ query: { ...route.query, app: id, cursor: undefined } })
    },
  })
  return {
    apps: computed(() => state.apps),
    loaded: computed(() => state.loaded),
    appid,
    app: computed(() => state.apps.find((a) => a.appid === appid.value)),
  }
}
