// A client is driven over lines: an operation and its arguments, parted by tabs, come in; a
// JSON object goes out with what the client made of the answer, as it would give it to the
// program that uses it.
import { createInterface } from 'node:readline'

export const { WECHAT_BASE: base, WECHAT_APPID: appid, WECHAT_SECRET: secret } = process.env

export async function serve(client, operations) {
  for await (const line of createInterface({ input: process.stdin })) {
    const [operation, ...args] = line.split('\t')
    const state = { refreshed: false }
    let result
    try {
      result = { returned: await operations[operation](state, ...args) }
    } catch (err) {
      result = { thrown: { name: err.name, code: err.code, message: err.message } }
    }
    console.log(JSON.stringify({ client, operation, result, refreshed: state.refreshed }))
  }
}

/** What WeChat says about a token that is dead. */
export const tokenDied = (answer) => answer.errcode === 40001 || answer.errcode === 42001
