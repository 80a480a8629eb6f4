import type { Texts } from '../i18n'

export default {
  send: ['发送订阅消息', 'Send subscription messages'],
  token: ['获取 access_token', 'Fetch access tokens'],
  templates: ['查询模板列表', 'List templates'],
  addTemplate: ['添加模板', 'Add a template'],
  login: ['登录（code2Session）', 'Login (code2Session)'],
  used: ['今日已用 {used} / {limit}', '{used} of {limit} used today'],
  remain: ['剩余 {n}', '{n} left'],
  rate: ['频率限制：{seconds} 秒内 {calls} 次', 'At most {calls} calls in {seconds} s'],
  midnight: ['北京时间零点重新计算。', 'It begins anew at midnight, Beijing time.'],
  none: ['微信没有给出这个接口的每日额度。', 'WeChat named no daily quota for this API.'],
  again: ['重新查询', 'Read again'],
} satisfies Texts
