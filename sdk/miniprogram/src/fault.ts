import type { Fault } from './types'

/**
 * Every code with its hint in Chinese and English. What stands before it is WeChat's errCode, or words
 * of its errMsg; a dash where only we use the code.
 */
const table = `10001|empty_ids|没有模板 id|No template id
10002|list_failed|网络不通，请再点一次|No network: tap again
10003|submit_failed|未能提交，请再点一次|Not submitted: tap again
10004|invalid_ids|模板 id 格式有误|Bad template id
10005|in_background|小程序在后台，不能弹窗|No dialog in the background
20001|unknown_template|模板 id 有误或已删除|Wrong or deleted template id
20002|mixed_kinds|一次性与长期模板不能混用|One-time and long-term do not mix
20003|too_many|模板过多，旧版微信最多 3 个|Too many: old WeChat takes 3
20004|main_switch_off|用户关了总开关，请引导 openSetting()|User turned all off: offer openSetting()
20005|app_banned|小程序被封禁此能力|App is banned from this
20013|device_template|设备模板另有接口|Device template: other call
TAP|no_gesture|须在点击或支付回调中直接调用|Call it in a tap or payment callback, no await first
not ended|busy|上一个弹窗未结束|Last dialog still open
-|unknown_scene|无此场景，或须先 init()|No such scene, or init() first
-|login_failed|登录失败|Login failed
-|network|网络不通，或域名不合法|No network, or domain not allowed
-|storage|存储失败|Storage failed
|unknown|见 message|See message`
  .split('\n')
  .map((row) => row.split('|'))

/** The fault of a code; one that is not in the table, such as a server's, has the last hint. */
export function fault(code: string, message?: string): Fault {
  const [, , zh, en] = table.find((row) => row[1] === code) || table[table.length - 1]
  return { code, message: message || en, hint: { zh, en } }
}

/** What a failure of wx.requestSubscribeMessage means. */
export function refusal(err: any): Fault {
  const { errCode } = Object(err)
  const message = words(err) || String(err)
  const row = table.find((r) => (errCode + message).indexOf(r[0]) >= 0)!
  return Object.assign(fault(row[1], message), errCode && { errCode })
}

/** What WeChat or JavaScript say of a failure. */
export function words(err: any): string | undefined {
  return Object(err).errMsg || Object(err).message
}
