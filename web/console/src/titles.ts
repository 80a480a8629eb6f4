// The templates of apps, read once for each app, so that lists can say titles for ids.
import { reactive } from 'vue'

import { api, of, type Schemas } from './api'

type Template = Schemas['Template']

const known = reactive(new Map<string, Template[]>())
const asked = new Set<string>()

async function read(appid: string) {
  asked.add(appid)
  try {
    known.set(appid, (await of(api.GET('/v1/apps/{appid}/templates', { params: { path: { appid } } }))).items)
  } catch {
    asked.delete(appid) // ids stand where titles would; the next page asks again
  }
}

export function useTitles() {
  const of = (appid: string): Template[] => {
    if (appid && !asked.has(appid)) void read(appid)
    return known.get(appid) ?? []
  }
  return {
    of,
    find: (appid: string, id: string) => of(appid).find((t) => t.template_id === id || t.alias === id),
    title: (appid: string, id: string) => of(appid).find((t) => t.template_id === id)?.title ?? id,
    /** Reads an app's anew, after they changed. */
    again: read,
  }
}
