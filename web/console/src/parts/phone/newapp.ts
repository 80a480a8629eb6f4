// A mini program from nothing: made at the sandbox, added here, with two templates, and its
// events pushed to us. Every step goes the way of every integrator.
import { api, idempotencyKey, of } from '../../api'
import { relay } from './sandbox'

/** Titles of the sandbox's library, with the keywords chosen: paid, and shipped. */
const titles = [
  { tid: '2001', kids: [1, 2, 3, 4, 11] },
  { tid: '1458', kids: [2, 3, 5, 8, 12] },
]

export async function makeApp(name: string): Promise<string> {
  const made = await relay<{ appid: string; secret: string; name: string }>('POST', 'apps', { body: { name } })
  const { appid } = made
  const params = { path: { appid } }
  const header = () => ({ 'Idempotency-Key': idempotencyKey() })
  await of(api.POST('/v1/apps', {
    params: { header: header() },
    body: { appid, name, secret: made.secret, settings: { history: 'new' } }, // nobody has grants from before
  }))
  for (const body of titles) await of(api.POST('/v1/apps/{appid}/templates', { params: { ...params, header: header() }, body }))
  await of(api.POST('/v1/apps/{appid}/templates/sync', { params }))
  const keys = await of(api.PUT('/v1/apps/{appid}/callback', { params, body: {} }))
  await relay('PUT', `apps/${encodeURIComponent(appid)}/push`, {
    body: { url: location.origin + keys.path, token: keys.token, encoding_aes_key: keys.encoding_aes_key },
  })
  await relay('POST', 'users', { body: { appid, count: 2 } })
  return appid
}
