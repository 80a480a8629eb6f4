// The unmodified package; http.baseURL is a setting of its own.
import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import easywechat from 'node-easywechat'
import { appid, base, secret, serve, tokenDied } from './line.mjs'

const cache = process.env.WECHAT_CACHE ?? mkdtempSync(join(tmpdir(), 'node-easywechat-'))
const settings = { app_id: appid, secret, http: { baseURL: base + '/' }, file_cache: { path: cache } }
const app = new easywechat.MiniApp(settings)
const stable = new easywechat.MiniApp({ ...settings, use_stable_access_token: true })
const answer = (response) => response.toObject()

await serve('node-easywechat', {
  login: (_, code) => app.getUtils().codeToSession(code),
  token: () => app.getAccessToken().getToken(),
  stable_token: () => stable.getAccessToken().getToken(),
  gettemplate: async () => answer(await app.getClient().get('wxaapi/newtmpl/gettemplate')),
  addtemplate: async (_, tid, kids, sceneDesc) =>
    answer(await app.getClient().postJson('wxaapi/newtmpl/addtemplate', { tid, kidList: kids.split(',').map(Number), sceneDesc })),
  async send(state, touser, template_id, data) {
    const call = async () => answer(await app.getClient().postJson('cgi-bin/message/subscribe/send', { touser, template_id, data: JSON.parse(data) }))
    const first = await call()
    if (!tokenDied(first)) return first
    // It keeps a dead token until it expires; refresh() is how its user gets another.
    state.refreshed = true
    await app.getAccessToken().refresh()
    return call()
  },
})
