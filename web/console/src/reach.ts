// How many people a template reaches, and what the server says to data before it is sent.
import { api, of, type Schemas } from './api'

export type Reach = Schemas['Reach']
export type Grant = Schemas['GrantBadge']
export type Verdict = Schemas['DataVerdict']

export async function readReach(appid: string, ref: string): Promise<Reach> {
  return of(api.GET('/v1/apps/{appid}/templates/{ref}/reach', { params: { path: { appid, ref } } }))
}

/** What the server would say to this data, and to this person if one is named. It sends nothing. */
export async function checkData(appid: string, ref: string, body: Schemas['DataCheck']): Promise<Verdict> {
  return of(api.POST('/v1/apps/{appid}/templates/{ref}/validate', { params: { path: { appid, ref } }, body }))
}
