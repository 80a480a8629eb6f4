// No SDK: what Node has.
import { appid, base, secret, serve, tokenDied } from './line.mjs'

let token = ''
const query = (o) => new URLSearchParams(o).toString()
const get = async (path, params) => (await fetch(`${base}${path}?${query(params)}`)).json()
const post = async (path, body) =>
  (await fetch(base + path, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) })).json()

const credentials = { grant_type: 'client_credential', appid, secret }

async function keep(answer) {
  token = answer.access_token ?? ''
  return answer
}

async function send(state, touser, template_id, data) {
  const call = () => post(`/cgi-bin/message/subscribe/send?${query({ access_token: token })}`, { touser, template_id, data: JSON.parse(data) })
  const answer = await call()
  if (!tokenDied(answer)) return answer
  state.refreshed = true
  await keep(await get('/cgi-bin/token', credentials))
  return call()
}

await serve('fetch', {
  login: (_, js_code) => get('/sns/jscode2session', { appid, secret, js_code, grant_type: 'authorization_code' }),
  token: async () => keep(await get('/cgi-bin/token', credentials)),
  stable_token: async () => keep(await post('/cgi-bin/stable_token', credentials)),
  gettemplate: () => get('/wxaapi/newtmpl/gettemplate', { access_token: token }),
  addtemplate: (_, tid, kids, sceneDesc) =>
    post(`/wxaapi/newtmpl/addtemplate?${query({ access_token: token })}`, { tid, kidList: kids.split(',').map(Number), sceneDesc }),
  send,
})
