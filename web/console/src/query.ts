// What a page's address holds: filters in the query, ids in the path. A page that is being
// left keeps what it had, so that nothing is read anew on the way out.
import { computed } from 'vue'
import { useRoute, useRouter } from 'vue-router'

/** Filters of a list; several values stand in one, with commas between. */
export function useFilters() {
  const route = useRoute()
  const router = useRouter()
  const mine = route.name
  let kept = route.query
  const query = computed(() => {
    if (route.name === mine) kept = route.query
    return kept
  })
  const text = (key: string) => String(query.value[key] ?? '')
  return {
    text,
    list: (key: string) => text(key).split(',').filter(Boolean),
    /** Changes filters; what is empty leaves the address. */
    set: (patch: Record<string, string | string[] | undefined>) => {
      const next = { ...route.query }
      for (const [k, v] of Object.entries(patch)) {
        const one = Array.isArray(v) ? v.join(',') : v
        if (one) next[k] = one
        else delete next[k]
      }
      return router.replace({ query: next })
    },
    /** Everything but the app. */
    clear: () => router.replace({ query: route.query.app ? { app: route.query.app } : {} }),
  }
}

/** A part of the path. */
export function useParam(name: string) {
  const route = useRoute()
  const mine = route.name
  let kept = String(route.params[name] ?? '')
  return computed(() => {
    if (route.name === mine) kept = String(route.params[name] ?? '')
    return kept
  })
}
