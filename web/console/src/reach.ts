// How many people a template reaches, and what the server says to data before it is sent.
import { onScopeDispose, watch } from 'vue'

import { api, of, type Schemas } from './api'
import { useLive, type Topic } from './api/live'
import { useLoad } from './load'

export type Reach = Schemas['Reach']
export type Grant = Schemas['GrantBadge']
export type Verdict = Schemas['DataVerdict']

/** Among many users counting takes a while; meanwhile it is asked again every so many ms. */
const again = 3000
/** Numbers older than this say from when they are. */
export const oldReach = 10_000

/** How many people a template reaches, kept up to date. */
export function useReach(target: () => { app: string; ref: string }, topics: Topic[]) {
  const load = useLoad(() => readReach(target().app, target().ref), [() => target().app, () => target().ref])
  useLive(topics, load.reload)
  let waiting: ReturnType<typeof setTimeout> | undefined
  const stop = () => clearTimeout(waiting)
  watch(load.data, (r?: Reach) => {
    stop()
    if (r?.at_least) waiting = setTimeout(load.reload, again)
  })
  onScopeDispose(stop)
  return load
}

async function readReach(appid: string, ref: string): Promise<Reach> {
  return of(api.GET('/v1/apps/{appid}/templates/{ref}/reach', { params: { path: { appid, ref } } }))
}

/** What the server would say to this data, and to this person if one is named. It sends nothing. */
export async function checkData(appid: string, ref: string, body: Schemas['DataCheck']): Promise<Verdict> {
  return of(api.POST('/v1/apps/{appid}/templates/{ref}/validate', { params: { path: { appid, ref } }, body }))
}
