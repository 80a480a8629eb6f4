// How many people a template reaches, and what one person's grants allow.
import { api, of, type Schemas } from './api'

export type Reach = {
  users_known: number
  reachable: number
  with_grants: { '1': number; '2': number; '3+': number }
  long_term_on: number
  refused: number
  banned: number
  unknown_baseline: number
  at_least?: boolean
}

export type Grant = { available: number; baseline: 'unknown' | 'exact'; standing: string; outcome: 'reserved' | 'tried' | 'held' | 'refused' }

export type Verdict = Schemas['DataVerdict'] & { grant?: Grant }

export async function readReach(appid: string, ref: string): Promise<Reach> {
  const get = api.GET as unknown as (path: string, init: object) => Promise<{ data?: Reach }>
  return of(get('/v1/apps/{appid}/templates/{ref}/reach', { params: { path: { appid, ref } } }))
}

type Check = Schemas['DataCheck'] & { openid?: string; on_no_grant?: 'fail' | 'send' | 'hold' }

/** What the server would say to this data, and to this person if one is named. It sends nothing. */
export async function checkData(appid: string, ref: string, body: Check): Promise<Verdict> {
  return of(api.POST('/v1/apps/{appid}/templates/{ref}/validate', { params: { path: { appid, ref } }, body }))
}
