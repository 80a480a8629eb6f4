// The unmodified package; what its constructor sets is set again, which is all that changes.
import WechatAPI from 'co-wechat-api'
import { appid, base, secret, serve } from './line.mjs'

const api = new WechatAPI(appid, secret)
api.prefix = base + '/cgi-bin/'
api.snsPrefix = base + '/sns/'

// Its own store for tokens, which also shows when it throws one away.
let stored
let thrownAway = false
api.getToken = async () => stored
api.saveToken = async (token) => {
  thrownAway ||= token === null
  stored = token ?? undefined
}

const json = (body) => ({ method: 'POST', headers: { 'Content-Type': 'application/json' }, dataType: 'json', data: JSON.stringify(body) })

// For what it has no method for: its request function with its own token.
async function call(path, options) {
  const { accessToken } = await api.ensureAccessToken()
  return api.request(`${base}${path}?access_token=${accessToken}`, options)
}

await serve('co-wechat-api', {
  login: (_, code) => api.code2Session(code),
  token: () => api.getAccessToken(),
  stable_token: () => api.request(base + '/cgi-bin/stable_token', json({ grant_type: 'client_credential', appid, secret })),
  gettemplate: () => call('/wxaapi/newtmpl/gettemplate', { dataType: 'json' }),
  addtemplate: (_, tid, kids, sceneDesc) => call('/wxaapi/newtmpl/addtemplate', json({ tid, kidList: kids.split(',').map(Number), sceneDesc })),
  async send(state, openid, template, data) {
    thrownAway = false
    try {
      return await api.sendSubscribeMessage(openid, template, undefined, JSON.parse(data))
    } finally {
      state.refreshed = thrownAway
    }
  },
})
